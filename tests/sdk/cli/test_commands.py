"""Commands other than `run`, in this process, under a hub that makes up what it has."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from greenroom.cli.clicked import main
from greenroom.profiles import load_profiles, profiles_file
from greenroom_core.values import pack
from tests.sdk.client.fake_hub import Answer, FakeHub, as_json


class Typed:
    """Types commands, and reads what they print."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *self._capfd.readouterr())


@pytest.fixture
def typed(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Typed:
    """Commands that find the fake hub as the local one."""
    monkeypatch.setenv("GREENROOM_STATE", str(hub.state))
    hub.write_record()
    return Typed(capfd)


def test_executions(hub, typed):
    """
    A table, JSON for programs, a word where there are none; what is asked for reaches the hub.
    """
    empty = typed("executions")
    hub.run("wf-1")
    table, listed = typed("executions", "--state", "running", "-n", "5"), typed("executions", "--json")

    assert empty == (0, "", "no executions\n")
    assert table[1].splitlines()[1].split()[:3] == ["wf-1", "flow.wf", "running"]
    assert hub.requests[-2].query == {"limit": "5", "state": "running"}
    assert json.loads(listed[1])[0]["id"] == "wf-1"


def test_replicas_and_cache(hub, typed):
    """
    As tables, or a word.
    """
    hub.route("GET", "/api/replicas", lambda asked: as_json({"environments": []}))
    hub.route("GET", "/api/cache", lambda asked: as_json({"entries": []}))

    assert typed("replicas") == (0, "", "no replicas\n")
    assert typed("cache") == (0, "", "no entries\n")
    assert typed("cache", "--json")[1] == "[]\n"


def test_looking_starts_no_hub(monkeypatch, tmp_path, capfd):
    """
    Without a hub there are no replicas, and none is started to say so.
    """
    monkeypatch.setenv("GREENROOM_STATE", str(tmp_path / "s"))
    typed = Typed(capfd)

    assert typed("replicas") == (0, "", "no replicas: the local hub does not run\n")
    assert typed("cache") == (0, "", "no entries: the local hub does not run\n")
    assert typed("hub", "status") == (3, "", f"no local hub runs (state: {tmp_path}/s)\n")
    assert typed("hub", "stop") == (0, "", "no local hub runs\n")


def test_cancel(hub, typed):
    """
    The reason is kept.
    """
    run = hub.run("wf-1")

    code, out, err = typed("cancel", "wf-1", "--reason", "enough")

    assert (code, out, err, run.cancelled) == (0, "", "wf-1 is being cancelled\n", ["enough"])


def test_events(hub, typed):
    """
    All pages, from a number on, as lines or as JSON.
    """
    hub.run("wf-1").add("node_started", node="a", what="task").add("node_ended", node="a", outcome="succeeded").end()

    lines, after = typed("events", "wf-1")[1].splitlines(), typed("events", "wf-1", "--after", "2", "--json")[1]

    assert [line.split()[2] for line in lines] == ["node_started", "node_ended", "execution_ended"]
    assert [json.loads(line)["seq"] for line in after.splitlines()] == [3]


def test_events_can_be_followed(hub, typed):
    """
    To the end.
    """
    run = hub.run("wf-1").add("node_started", node="a")
    run.shown["state"] = "running"
    run.add("execution_ended", outcome="succeeded")

    assert len(typed("events", "last", "-f")[1].splitlines()) == 2


LOGS = [
    {"node": "m", "item": 3, "attempt": 1, "stream": 1, "offset": 0, "text": "one\ntw"},
    {"node": "a", "item": 0, "attempt": 2, "stream": 1, "offset": 0, "text": "again\n"},
    {"node": "m", "item": 3, "attempt": 1, "stream": 1, "offset": 6, "text": "o\nrest"},
]


def test_logs(hub, typed):
    """
    Raw for one call; whole lines with their places for several.
    """
    run = hub.run("wf-1")
    run.shown["nodes"] = [{"id": "m", "what": "map", "total": 9}, {"id": "a", "what": "task", "total": 1}]

    def answer(asked) -> Answer:
        if asked.query["raw"] == "1":
            return Answer(200, b"\xffraw\n", "text/plain")
        return Answer(200, b"".join(json.dumps(record).encode() + b"\n" for record in LOGS), "application/x-ndjson")

    hub.route("GET", "/api/executions/wf-1/logs", answer)

    several = typed("logs", "wf-1")[1]
    typed("logs", "wf-1/m/3", "--attempt", "2", "-f")
    one = hub.requests[-1].query

    assert several.splitlines() == ["m/3 | one", "a (attempt 2) | again", "m/3 | two", "m/3 | rest"]
    assert one == {"follow": "1", "raw": "1", "node": "m", "item": "3", "attempt": "2"}
    assert typed("logs", "wf-1/m/x")[0] == 2


def test_outputs(hub, typed):
    """
    The result of what has ended; a word for what has not.
    """
    hub.run("wf-1")
    hub.run("wf-2").end(outputs={"o0": pack([1, 2])})

    assert typed("outputs", "wf-1") == (3, "", "wf-1 has not ended: greenroom watch wf-1\n")


def test_bundle(typed, tmp_path):
    """
    What travels with a file.
    """
    (tmp_path / "flow.py").write_text("x = 1\n")

    code, out, _ = typed("bundle", str(tmp_path / "flow.py"))

    assert (code, "module flow" in out, "flow.py" in out) == (0, True, True)


def test_clean(hub, typed):
    """
    By kind, with the bytes; nothing goes on a dry run.
    """
    hub.route("POST", "/api/clean", lambda asked: as_json({"kinds": {"executions": {"items": 3, "bytes": 2048}}}))
    old = hub.state / "outputs" / "wf-1" / "o0"
    old.mkdir(parents=True)
    (old / "out.txt").write_bytes(b"x" * 1024)
    os.utime(hub.state / "outputs" / "wf-1", (0, 0))

    dry = typed("clean", "--older-than", "7d", "--dry-run")
    asked = hub.requests[-1].json()
    kept = old.exists()
    done = typed("clean", "--older-than", "7d")

    assert dry[1].splitlines() == ["KIND        ITEMS  BYTES", "executions      3  2 KiB", "outputs         1  1 KiB"]
    assert (asked, kept, dry[2]) == ({"older_than_s": 604800.0, "dry_run": True}, True, "3 KiB would go\n")
    assert (done[2], old.exists()) == ("3 KiB are gone\n", False)


@pytest.mark.parametrize(("text", "code"), [("7", 2), ("d", 2), ("-1d", 2), ("2w", 0)])
def test_ages(hub, typed, text, code):
    """
    A number and a unit.
    """
    hub.route("POST", "/api/clean", lambda asked: as_json({"kinds": {}}))

    assert typed("clean", f"--older-than={text}")[0] == code


def test_login_and_use(hub, typed, monkeypatch, tmp_path):
    """
    The hub is asked before it is remembered; the token is kept for this user alone; `use` chooses.
    """
    (tmp_path / "token").write_text("secret\n")

    login = typed("login", hub.url, "--as", "prod", "--token-file", str(tmp_path / "token"))
    used = typed("use", "prod")
    listed = typed("use")
    here = typed("executions")

    assert login[0] == 0 and f"prod is {hub.url}" in login[2]
    assert used == (0, "", "commands talk to prod from now on; --hub and GREENROOM_HUB go before\n")
    assert listed[1].splitlines() == ["  local  this machine", f"* prod  {hub.url}"]
    assert here[0] == 0
    assert stat.S_IMODE(os.stat(profiles_file()).st_mode) == 0o600


def test_a_login_that_is_refused_is_not_kept(hub, typed, monkeypatch):
    """
    A wrong token, nobody there, or a name that means something else.
    """
    monkeypatch.setenv("GREENROOM_TOKEN", "wrong")

    codes = [
        typed("login", hub.url, "--as", "prod")[0],
        typed("login", "http://127.0.0.1:1", "--as", "prod")[0],
        typed("login", hub.url, "--as", "local")[0],
        typed("login", "prod", "--as", "prod")[0],
        typed("use", "prod")[0],
    ]

    assert codes == [3, 3, 2, 2, 3]
    assert load_profiles().hubs == {}


def test_hub_status(hub, typed):
    """
    Where it is and what it does.
    """
    code, out, _ = typed("hub", "status")

    assert code == 0
    assert out.splitlines()[0] == f"local hub    {hub.url}"
    assert f"state        {hub.state}, " in out


def test_hub_start_finds_the_one_that_runs(hub, typed):
    """
    And prints its address.
    """
    assert typed("hub", "start") == (0, f"{hub.url}\n", "")


def test_doctor(hub, typed, monkeypatch):
    """
    What is fine, what is not, and an exit code for scripts.
    """
    fine = typed("doctor")
    monkeypatch.setenv("GREENROOM_HUB", "prdo")
    bad = typed("doctor")

    assert fine[0] == 0 and " ok  hub         local hub, http://127.0.0.1" in fine[1]
    assert bad[0] == 3 and " !!  hub         no hub is called 'prdo'" in bad[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["exectuions"], "no such command: exectuions; did you mean executions?"),
        (["executions", "--nope"], "No such option"),
        (["watch"], "Missing argument"),
    ],
)
def test_bad_usage(typed, words, sentence):
    """
    Exit code 2 and what is wrong.
    """
    code, out, err = typed(*words)

    assert (code, out, sentence in err) == (2, "", True)


def test_every_command_has_help(typed):
    """
    All names of the list can be imported, and say what they do.
    """
    listed = typed("--help")[1]
    names = [line.split()[0] for line in listed[listed.index("Commands:") :].splitlines()[1:] if line.strip()]

    for name in names:
        if name != "run":
            code, out, _ = typed(name, "--help")
            assert (code, "Usage:" in out) == (0, True), name
    assert len(names) >= 16


def test_a_hub_without_clean_says_so(hub, typed):
    """
    And what removes everything.
    """
    code, _, err = typed("clean")

    assert (code, "greenroom hub stop --purge removes all it has" in err) == (2, True)


def test_the_version(typed):
    """
    Of the distribution; the constant that clients carry is that of pyproject.toml.
    """
    import tomllib

    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["version"]

    assert typed("--version")[1].startswith(f"greenroom {declared} (protocol ")
