"""Names of executions and addresses of calls; versions of the protocol."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_protocol.ids import NAME, Address, execution_id, slug
from greenroom_protocol.version import OLDEST, PROTOCOL, refusal


class TestIds:
    """Short ids that people can type."""

    @pytest.mark.parametrize(
        ("name", "short"),
        [
            ("flow.my_parent_wf", "my-parent-wf"),
            ("My_Flow", "my-flow"),
            ("__x__", "x"),
            ("größe", "gr-e"),
            ("...", "x"),
            ("", "x"),
            ("a" * 40, "a" * 24),
            ("a" * 23 + "_b", "a" * 23),
        ],
    )
    def test_a_slug_keeps_what_can_be_typed(self, name, short):
        """
        The last part of a name, in lower case, with dashes, of bounded length.
        """
        assert slug(name) == short

    @given(st.text(max_size=60), st.binary(min_size=8, max_size=8))
    def test_an_id_is_always_a_name(self, name, entropy):
        """
        Whatever the entity is called, the id fits folders, labels and addresses.
        """
        id = execution_id(name, entropy, 8)

        assert NAME.fullmatch(id)
        assert str(Address.parse(id)) == id

    def test_an_id_is_made_of_the_entropy_that_is_given(self):
        """
        The same entropy gives the same id, so that a replay agrees; letters that people misread do not occur.
        """
        every = "".join(execution_id("wf", bytes([byte]), 1)[-1] for byte in range(32))

        assert execution_id("f.wf", b"\0\1\2\3") == "wf-0123" == execution_id("wf", b"\x20\x21\x22\x23")
        assert len(set(every)) == 32
        assert not set(every) & set("ilou")


class TestAddress:
    """`ID/NODE/ITEM`, everywhere."""

    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("wf-7k2m", Address("wf-7k2m")),
            ("wf-7k2m/classify", Address("wf-7k2m", "classify")),
            ("wf-7k2m/classify/17", Address("wf-7k2m", "classify", 17)),
            ("/wf/n/", Address("wf", "n")),
        ],
    )
    def test_an_address_is_read(self, text, address):
        """
        One, two or three parts; slashes around them do not matter.
        """
        assert Address.parse(text) == address
        assert str(address) == text.strip("/")

    @pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "a/b/c", "a/b/-1", "a/b/1.5", "a/b/²", "a//1"])
    def test_what_is_no_address_is_refused(self, text):
        """
        Too many parts, or an item that is no number, are named.
        """
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            Address.parse(text)


class TestVersion:
    """Both sides must speak one language."""

    def test_the_own_protocol_is_understood(self):
        """
        Every version from the oldest that is spoken to the newest is taken.
        """
        assert [refusal(version, "replica") for version in range(OLDEST, PROTOCOL + 1)] == [None] * (
            PROTOCOL + 1 - OLDEST
        )

    def test_others_are_told_who_has_to_upgrade(self):
        """
        An older peer is to be upgraded, a newer one means that the hub is.
        """
        assert "upgrade greenroom on the replica" in refusal(OLDEST - 1, "replica")
        assert "upgrade greenroom on the hub" in refusal(PROTOCOL + 1, "client")
