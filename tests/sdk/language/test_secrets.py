"""Secrets: where a value is looked for, and what it travels under."""

from __future__ import annotations

import pytest

from greenroom.definition_errors import BadArgument
from greenroom.secrets import MountType, Secret, find, places, resolve

SECRET = Secret(group="my-group", key="api.key")


@pytest.mark.parametrize("variable", ["_FSEC_MY_GROUP_API_KEY", "_UNION_MY_GROUP_API_KEY", "MY_GROUP_API_KEY"])
def test_is_found_in_the_environment(variable):
    """
    With the prefixes that programs know, and without.
    """
    assert find(SECRET, {variable: "s3cret"}, "/nowhere") == "s3cret"


def test_prefixes_are_tried_in_order():
    """
    The explicit prefix wins over the bare name.
    """
    assert find(SECRET, {"MY_GROUP_API_KEY": "2", "_FSEC_MY_GROUP_API_KEY": "1"}, "/nowhere") == "1"


def test_its_own_variable_comes_first():
    """
    `env_var` is where it is looked for first, and what it travels under.
    """
    secret = Secret(key="token", env_var="HF_TOKEN")

    assert find(secret, {"HF_TOKEN": "1", "_FSEC_TOKEN": "2"}, "/nowhere") == "1"
    assert secret.variable == "HF_TOKEN"
    assert SECRET.variable == "_FSEC_MY_GROUP_API_KEY"


def test_is_found_as_a_file(tmp_path):
    """
    Else as `<group>/<key>` below the folder of secrets, in lower case.
    """
    (tmp_path / "my-group").mkdir()
    (tmp_path / "my-group" / "api.key").write_text("s3cret\n")

    assert find(SECRET, {}, str(tmp_path)) == "s3cret"


def test_a_name_cannot_lead_out_of_the_folder(tmp_path):
    """
    A path in a name is no way to read other files.
    """
    (tmp_path / "file").write_text("x")

    assert None is find(Secret(group="..", key="file"), {}, str(tmp_path / "secrets"))
    assert None is find(Secret(key="../file"), {}, str(tmp_path / "secrets"))


def test_what_is_missing_is_left_out():
    """
    Only what was found travels; the hub fails the node that asked for the rest.
    """
    assert resolve([Secret(key="a"), Secret(key="b")], {"A": "1"}) == {"_FSEC_A": "1"}


def test_group_alone_or_key_alone():
    """
    A group is optional, and so is a key beside a group.
    """
    assert "_FSEC_A" == Secret(group="a").variable == Secret(key="a").variable
    assert Secret("g", "k", "v2").variable == "_FSEC_G_V2_K"


@pytest.mark.parametrize(
    "fields", [{}, {"key": "a", "mount_requirement": "env"}, {"key": "a", "env_var": "A B"},
               {"key": "a", "env_var": "A", "mount_requirement": MountType.FILE}]
)  # fmt: skip
def test_refuses_what_is_no_secret(fields):
    """
    A secret has a name, a known mount, and a variable that can exist.
    """
    with pytest.raises(BadArgument, match="Secret"):
        Secret(**fields)


def test_places_are_told():
    """
    Errors can say where was looked.
    """
    assert list(places(Secret(key="token"))) == ["_FSEC_TOKEN", "_UNION_TOKEN", "TOKEN", "token"]
    assert Secret.ENV_VAR is Secret.MountType.ENV_VAR is MountType.ENV_VAR
