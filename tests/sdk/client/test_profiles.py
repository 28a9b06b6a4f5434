"""Hubs by name."""

from __future__ import annotations

import os
import stat

import pytest

from greenroom.hub_errors import NoSuchHub
from greenroom.profiles import Profile, Profiles, UnreadableProfiles, load_profiles, profiles_file, save_profiles

PROD = Profile("prod", "https://hub.example.com", "s3cret")


def test_none_is_no_error():
    """
    Without any login there is only the local hub.
    """
    assert Profiles({}, "local") == load_profiles()


def test_what_is_saved_is_read():
    """
    A login and a use survive.
    """
    save_profiles(Profiles({}).with_hub(PROD).using("prod"))

    assert Profiles({"prod": PROD}, "prod") == load_profiles()


def test_tokens_are_for_this_user_alone():
    """
    The file has mode 0600 from its first byte on.
    """
    save_profiles(Profiles({}).with_hub(PROD))

    assert stat.S_IMODE(os.stat(profiles_file()).st_mode) == 0o600
    assert [os.path.basename(profiles_file())] == os.listdir(os.path.dirname(profiles_file()))


def test_an_unknown_name_tells_the_known_ones():
    """
    A typo is answered with what there is and how to add one.
    """
    with pytest.raises(NoSuchHub) as caught:
        Profiles({"prod": PROD}).using("prdo")

    assert str(caught.value) == (
        "no hub is called 'prdo'; known are local, ephemeral, prod, or a URL; greenroom login URL --as prdo adds it"
    )


def test_the_local_hub_is_always_there():
    """
    `use local` needs no login.
    """
    assert Profiles({"prod": PROD}, "prod").using("local").current == "local"


@pytest.mark.parametrize("text", ["{", "[]", '{"hubs": {"a": {}}}', '{"hubs": []}'])
def test_a_damaged_file_is_named(text):
    """
    What cannot be read is not silently forgotten.
    """
    save_profiles(Profiles({}))
    with open(profiles_file(), "w") as file:
        file.write(text)

    with pytest.raises(UnreadableProfiles, match=r"hubs\.json cannot be read .*: repair it, or remove it"):
        load_profiles()
