"""Which hub is meant, and the local one's life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from greenroom import hubs
from greenroom.http import Request
from greenroom.hub_errors import DidNotStart, ExtraMissing, HubError, NoSuchHub, WrongVersion
from greenroom.profiles import Profile, Profiles, save_profiles
from greenroom.state import alive
from greenroom_protocol.version import VERSION
from tests.sdk.client.conftest import starts
from tests.sdk.client.fake_hub import FakeHub, as_json

PROD = Profile("prod", "https://hub.example.com", "s3cret")


# Choosing


def test_what_is_typed_wins(monkeypatch):
    """
    `--hub`, then GREENROOM_HUB, then the profile in use, then the local one.
    """
    save_profiles(Profiles({"prod": PROD}, "prod"))

    chosen = [hubs.choose("http://a"), hubs.choose()]
    monkeypatch.setenv("GREENROOM_HUB", "http://b")
    chosen.append(hubs.choose())
    save_profiles(Profiles({"prod": PROD}, "local"))
    monkeypatch.delenv("GREENROOM_HUB")
    chosen.append(hubs.choose())

    assert chosen == ["http://a", "prod", "http://b", "local"]


@pytest.mark.parametrize(
    ("ci", "chosen"), [("true", "ephemeral"), ("1", "ephemeral"), ("false", "local"), ("", "local")]
)
def test_in_ci_a_hub_lives_as_long_as_its_command(monkeypatch, ci, chosen):
    """
    Nothing stays behind on a build machine, unless a hub is named.
    """
    monkeypatch.setenv("CI", ci)

    assert (chosen, "local") == (hubs.choose(), hubs.choose("local"))


def test_a_profile_brings_its_token():
    """
    A hub that one logged in to is found by name and by URL, with its token.
    """
    save_profiles(Profiles({"prod": PROD}))

    by_name, by_url = hubs.remote("prod"), hubs.remote("https://hub.example.com")

    assert (by_name.name, by_name.token, str(by_name.endpoint)) == ("prod", "s3cret", "https://hub.example.com")
    assert (by_url.name, by_url.token) == ("https://hub.example.com", "s3cret")


def test_a_token_in_the_environment_wins(monkeypatch):
    """
    GREENROOM_TOKEN is for machines that never log in.
    """
    save_profiles(Profiles({"prod": PROD}))
    monkeypatch.setenv("GREENROOM_TOKEN", "other")

    assert hubs.remote("prod").token == "other"


def test_a_name_that_is_none_is_told():
    """
    Neither a profile nor a URL.
    """
    with pytest.raises(NoSuchHub, match="no hub is called 'prdo'"):
        hubs.remote("prdo")
    with pytest.raises(HubError, match="expected http://HOST:PORT"):
        hubs.remote("ftp://x")


# Starting


def test_the_first_command_starts_a_hub(state):
    """
    It serves when the call returns, by its own token, and the blobs' folder is known.
    """
    said: list[str] = []

    hub = hubs.ensure_local_hub(state, said.append)
    connection = hub.connect()
    answer = connection.request(Request("GET", "/api/hub"))
    connection.close()

    assert answer.status == 200
    assert hub.name == "local hub"
    assert f"{state.path}/blobs" == hub.blobs
    assert said == ["starting the local hub"]


def test_the_second_command_finds_it(state):
    """
    One hub for all, and nothing is said about it.
    """
    said: list[str] = []
    first = hubs.ensure_local_hub(state)

    second = hubs.ensure_local_hub(state, said.append)

    assert (first, [], 1) == (second, said, len(starts(state.path)))


def test_the_hub_keeps_nothing_of_its_caller(state, monkeypatch, tmp_path):
    """
    No descriptor, no session, no folder: `out=$(...)` returns, and a deleted folder does not matter.
    """
    ours = os.open(tmp_path / "held", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(ours, True)
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.chdir(tmp_path)

    hubs.ensure_local_hub(state)
    os.close(ours)

    seen = json.loads(Path(state.path, "seen.json").read_text())
    assert ("/", starts(state.path)[0]) == (seen["cwd"], seen["sid"])
    assert set(seen["fds"]) <= {0, 1, 2, 3}  # 3 is the listing's own.
    assert "PYTHONINSPECT" not in seen["env"]


def test_two_commands_at_once_start_one_hub(state):
    """
    The lock lets one start it, and the others find it.
    """
    code = (
        "import sys; from greenroom import hubs; from greenroom.state import find_state\n"
        f"hubs.hub_command = lambda *a: [sys.executable, {str(Path(__file__).with_name('hub_main.py'))!r}, *a]\n"
        "print(hubs.ensure_local_hub(find_state()).url)"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]

    urls = {run.communicate(timeout=30)[0] for run in runs}

    assert (len(urls), len(starts(state.path))) == (1, 1)


def test_a_hub_that_dies_at_its_start_says_why(state):
    """
    The person reads the hub's own words, not a timeout.
    """
    Path(state.path, "refuse").touch()

    with pytest.raises(DidNotStart) as caught:
        hubs.ensure_local_hub(state)

    assert (
        f"the local hub ended with status 5 (log: {state.path}/hub.log); its last words:\n"
        "database hub.db is from a newer version: upgrade greenroom"
    ) == str(caught.value)


def test_the_record_of_a_killed_hub_does_not_matter(state):
    """
    After kill -9 the next command starts another one.
    """
    hubs.ensure_local_hub(state)
    os.kill(starts(state.path)[0], 9)
    hubs._children[-1].wait(5)

    hubs.ensure_local_hub(state)

    assert len(starts(state.path)) == 2


def test_a_number_that_was_used_again_is_no_hub(state):
    """
    The record's process number may belong to somebody else by now; nothing is sent to it.
    """
    with FakeHub(Path(state.path)) as other:
        other.write_record(started=1000.0)
        other.stop()
        Path(state.path, "hub.sock").unlink()

        hubs.ensure_local_hub(state)

        assert (other.requests, len(starts(state.path))) == ([], 1)


def test_what_the_hub_needs_is_named_when_it_is_missing(state, monkeypatch):
    """
    One sentence says what to install.
    """
    monkeypatch.setattr(hubs, "_NEEDED", ("aiohttp", "no_such_package_here"))

    with pytest.raises(ExtraMissing) as caught:
        hubs.ensure_local_hub(state)

    assert (
        f"a local hub needs no_such_package_here, which {sys.executable} does not have: "
        "pip install 'greenroom[hub]', or choose a hub that runs elsewhere with --hub URL"
    ) == str(caught.value)


# After an upgrade


def test_an_idle_old_hub_makes_room(state):
    """
    It is stopped, the new one starts, and one line says so.
    """
    old = hubs.ensure_local_hub(state)
    record = json.loads(Path(state.path, "hub.json").read_text())
    Path(state.path, "hub.json").write_text(json.dumps({**record, "version": "0.0.1"}))
    said: list[str] = []

    new = hubs.ensure_local_hub(state, said.append)

    assert len(starts(state.path)) == 2
    assert old.url != new.url
    assert [f"the idle hub of version 0.0.1 was stopped; {VERSION} starts", "starting the local hub"] == said


def test_a_busy_old_hub_is_used_if_it_can_be(state):
    """
    Work in progress is not interrupted by an upgrade.
    """
    with FakeHub(Path(state.path)) as old:
        old.write_record(version="0.0.1")
        old.run("wf-1")
        said: list[str] = []

        hub = hubs.ensure_local_hub(state, said.append)

    assert (old.url, []) == (hub.url, starts(state.path))
    assert said == ["the local hub is version 0.0.1 and busy; it is used as it is, and restarted once idle"]


def test_a_busy_old_hub_of_another_tongue_is_named(state):
    """
    With its executions, so that one knows what to wait for.
    """
    with FakeHub(Path(state.path)) as old:
        old.write_record(version="0.0.1", protocol=0)
        old.run("wf-1")

        with pytest.raises(WrongVersion) as caught:
            hubs.ensure_local_hub(state)

    assert (
        f"the running hub is version 0.0.1, this is {VERSION}, and they do not understand each other; "
        "it still runs wf-1: wait for that or cancel it, then the next command restarts the hub"
    ) == str(caught.value)


# Stopping


def test_stopping_waits_until_it_is_gone(state):
    """
    When the call returns, no process is left.
    """
    hub = hubs.ensure_local_hub(state)

    hubs.stop_hub(hub)

    assert not alive(starts(state.path)[0], time.time())
    assert hubs.running_hub(state) is None


def test_a_refusal_to_stop_is_told(state):
    """
    The hub's own sentence reaches the person.
    """
    with FakeHub(Path(state.path)) as fake:
        fake.write_record()
        fake.route("POST", "/api/hub/stop", lambda asked: as_json({"error": "no", "message": "not yours"}, 403))
        hub = hubs.running_hub(state)
        assert hub is not None

        with pytest.raises(HubError, match="not yours"):
            hubs.stop_hub(hub)


def test_an_ephemeral_hub_leaves_nothing(state, monkeypatch, tmp_path):
    """
    It has a folder of its own, is one for the whole process, and goes with it.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    hub, again = hubs.find("ephemeral"), hubs.find("ephemeral")
    assert hub.state is not None
    pids = starts(hub.state.path)
    hubs.end_ephemeral()
    hubs.end_ephemeral()

    assert (hub, "ephemeral hub") == (again, hub.name)
    assert not alive(pids[0], time.time())
    assert [name for name in os.listdir(tmp_path) if name.startswith("greenroom-")] == []
