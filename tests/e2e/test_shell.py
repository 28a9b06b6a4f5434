"""What a shell and a terminal see of a hub that was not there before. No sleeps but for one of 0.3 s."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import Person, visiting

LOUD = """
import os
import greenroom

print("module level")
os.write(1, b"from below\\n")

@greenroom.task
def hello(name: str) -> str:
    print("in the task")
    return f"hello {name}"

@greenroom.workflow
def wf(name: str = "you") -> str:
    return hello(name=name)
"""

DEAD = "http://127.0.0.1:9"


def test_a_result_in_a_variable(person: Person) -> None:
    """
    `out=$(greenroom run ...)` with no hub yet, with prints of the module and a dead proxy: it returns when the
    execution has ended, with the JSON alone; the hub holds none of the shell's descriptors.
    """
    person.write("loud.py", LOUD)
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), DEAD)

    done = person.shell('out=$(greenroom run loud.py wf --name Bob 2>err.txt); echo "[$?]$out"', env=proxies)

    assert done.out == '[0]"hello Bob"\n', (person.work / "err.txt").read_text()
    assert "module level" in (person.work / "err.txt").read_text()
    holds = [path.readlink() for path in Path(f"/proc/{person.record['pid']}/fd").iterdir() if path.is_symlink()]
    assert not [path for path in holds if str(path).startswith(str(person.work))]


def test_an_ephemeral_hub(person: Person) -> None:
    """Where `CI` is set the hub starts and ends with the command, and leaves nothing."""
    person.write("loud.py", LOUD)

    done = person.greenroom("run", "loud.py", env={"CI": "true"})

    assert done.value == "hello you", done.err
    assert not person.state.exists()
    assert list(person.tmp.iterdir()) == []


def test_a_state_folder_with_a_long_path(tmp_path: Path) -> None:
    """Unix sockets have short paths, people's folders have not: all works, is found again and cleaned up."""
    state = tmp_path / ("a long name " * 6) / ("and another one " * 6) / "state"
    with visiting(tmp_path / "person", state) as person:
        person.write("loud.py", LOUD)

        assert person.run("loud.py") == "hello you"
        person.kill_hub()
        before = zygotes(person)
        assert person.run("loud.py") == "hello you"

        assert zygotes(person) == before
        assert len(before) == 1


def zygotes(person: Person) -> list[int]:
    """The oldest process of each family that a hub's launcher has started."""
    found = [int(line.split()[0]) for line in person.processes() if "greenroom_replica.zygote" in line]
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in found}
    return sorted(pid for pid in found if parents[pid] not in found)


def test_two_first_runs_at_once(person: Person) -> None:
    """Two commands that both find no hub start one."""
    person.write("loud.py", LOUD)

    runs = [person.start("run", "loud.py", "wf", "--name", name) for name in ("a", "b")]
    values = [running.wait().value for running in runs]

    assert values == ["hello a", "hello b"]
    assert len([line for line in person.processes() if "greenroom_hub" in line]) == 1


@pytest.fixture
def tidy(person: Person) -> Person:
    """Somebody whose hub removes blobs at once when nothing needs them, instead of a minute later."""
    person.env["GREENROOM_HUB_BLOB_SPARE_S"] = "0"
    return person


def test_clean(person: Person) -> None:
    """`clean` says what would go, takes what ended long enough ago, and leaves what still runs."""
    person.write("loud.py", LOUD)
    person.write(
        "slow.py", "import time, greenroom\n@greenroom.task\ndef f() -> int:\n    time.sleep(600)\n    return 1\n"
    )
    assert person.run("loud.py") == "hello you"
    live = person.greenroom("run", "--detach", "slow.py").out.strip()

    kept = person.greenroom("clean", "--older-than", "1h", "--json")
    would = person.greenroom("clean", "--all", "--dry-run", "--json")
    both = [row["id"] for row in person.executions()]
    gone = person.greenroom("clean", "--all", "--json")

    assert {share["kind"]: share["items"] for share in json.loads(kept.out)}["executions"] == 0
    assert {share["kind"]: share["items"] for share in json.loads(would.out)}["executions"] == 1
    assert len(both) == 2
    assert {share["kind"]: share["items"] for share in json.loads(gone.out)}["executions"] == 1, gone.err
    assert [row["id"] for row in person.executions()] == [live]
    assert person.run("loud.py") == "hello you"
    assert person.greenroom("cancel", live).code == 0


def test_clean_gives_the_disk_back(tidy: Person) -> None:
    """Blobs and programs that nothing refers to any more go with their executions; what is still used stays."""
    tidy.write(
        "big.py",
        "import greenroom\n@greenroom.task\ndef f(n: int) -> bytes:\n    return bytes([n]) * (4 << 20)\n",
    )
    slow = "import time, greenroom\n@greenroom.task\ndef f(n: bytes) -> int:\n    time.sleep(600)\n    return 1\n"
    slow += "@greenroom.task\ndef make() -> bytes:\n    return bytes(3 << 20)\n"
    slow += "@greenroom.workflow\ndef wf() -> int:\n    return f(n=make())\n"
    tidy.write("slow.py", slow)
    tidy.greenroom("run", "big.py", "f", "--n", 1)
    tidy.greenroom("run", "big.py", "f", "--n", 2)
    live = tidy.greenroom("run", "--detach", "slow.py").out.strip()
    tidy.wait_until(lambda: [e for e in tidy.events(live) if e["kind"] == "node_started" and e["node"] == "f"], "f")
    before = sum(path.stat().st_size for path in (tidy.state / "blobs").rglob("*") if path.is_file())

    done = tidy.greenroom("clean", "--all")
    after = sum(path.stat().st_size for path in (tidy.state / "blobs").rglob("*") if path.is_file())

    assert done.code == 0, done.err
    assert before > 11 << 20
    assert 3 << 20 < after < 4 << 20
    assert tidy.greenroom("run", "big.py", "f", "--n", 1).code == 0
    assert tidy.greenroom("cancel", live).code == 0


def test_the_hub_hears_signals(person: Person) -> None:
    """SIGHUP does not end a background hub, for a logout is no reason; SIGTERM does, with all its replicas."""
    person.write("loud.py", LOUD)
    assert person.run("loud.py") == "hello you"
    pid = person.record["pid"]

    os.kill(pid, signal.SIGHUP)
    again = person.run("loud.py")
    same = person.record["pid"]
    os.kill(pid, signal.SIGTERM)

    assert (again, same) == ("hello you", pid)
    person.wait_until(lambda: person.processes() == [], "the end of all processes")


def test_a_cut_stream_of_events_goes_on(person: Person) -> None:
    """A reader that comes back with the number of its last event loses none and gets none twice."""
    from websockets.sync.client import connect

    person.write(
        "slow.py",
        "import time, greenroom\n@greenroom.task\ndef f(x: int) -> int:\n    time.sleep(0.02)\n    return x\n"
        "@greenroom.workflow\ndef wf() -> list[int]:\n    return greenroom.map(f)(x=list(range(60)))\n",
    )
    id = person.greenroom("run", "--detach", "slow.py").out.strip()
    url = person.record["url"].replace("http", "ws", 1)
    seen: list[int] = []

    while True:  # Each connection is left after its first message that tells facts.
        path = f"{url}/api/executions/{id}/events?after={seen[-1] if seen else 0}"
        with connect(path, additional_headers={"Authorization": f"Bearer {person.token}"}, proxy=None) as socket:
            facts = []
            while not facts:
                facts = [event for event in json.loads(socket.recv(timeout=20)) if "seq" in event]
        seen += [event["seq"] for event in facts]
        if facts[-1]["kind"] == "execution_ended":
            break

    assert seen == list(range(1, len(seen) + 1))
    assert [event["seq"] for event in person.events(id)] == seen
