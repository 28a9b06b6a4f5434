"""Bad input at every door: a clear refusal, nothing lost, and the hub goes on. No sleeps."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from greenroom_core.program import Program, Submission, program_digest
from greenroom_core.values import pack, unpack
from greenroom_core.wire import to_wire
from greenroom_hub.edge.auth import Auth
from greenroom_protocol import frames
from greenroom_protocol.version import PROTOCOL
from tests.e2e.harness import Answer, Person, visiting

MSGPACK = {"Content-Type": "application/msgpack"}
LARGEST = 1 << 20
"""Bytes of a request that this module's hub takes."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose hub has run one program; whatever happens to it, it must run it again at the end."""
    with visiting(tmp_path_factory.mktemp("doors") / "person") as person:
        person.env["GREENROOM_HUB_MAX_BODY"] = str(LARGEST)
        person.write(
            "flow.py",
            "import greenroom\nactor = greenroom.ActorEnvironment(name='door')\n@actor.task\n"
            "def f(x: int) -> int:\n    return x + 1\n@greenroom.workflow\ndef wf(x: int) -> int:\n    return f(x=x)\n",
        )
        assert person.run("flow.py", "wf", "--x", 1) == 2
        pid = person.record["pid"]
        yield person
        assert person.run("flow.py", "wf", "--x", 2) == 3
        assert person.record["pid"] == pid


def program(person: Person) -> tuple[str, bytes]:
    """Digest and bytes of the program that has run."""
    log = sqlite3.connect(f"file:{person.state / 'log.sqlite'}?mode=ro", uri=True)
    try:
        digest, packed = log.execute("SELECT digest, packed FROM programs LIMIT 1").fetchone()
    finally:
        log.close()
    return digest, packed


def submit(person: Person, digest: str, packed: bytes | None = None, wait: int = 0, **inputs: Any) -> Answer:
    given = {name: pack(value) for name, value in inputs.items()}
    body = pack({"submission": to_wire(Submission(digest, given)), "program": packed})
    return person.ask("POST", f"/api/executions?wait={wait}", body, MSGPACK)


# HTTP -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer nonsense", "Basic dXNlcjpwYXNz", "Bearer replica:x:1:00"])
@pytest.mark.parametrize("path", ["/api/hub", "/api/executions", "/e/last", "/api/replica", "/nowhere"])
def test_no_token_or_a_wrong_one(host: Person, token: str, path: str) -> None:
    """401 with the remedy, on every path, also those that do not exist; the answer tells nothing else."""
    answer = host.ask("GET", path, headers={"Authorization": token})

    assert answer.status == 401
    assert answer.json["error"] == "unauthorized"
    assert "Authorization: Bearer" in answer.json["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
def test_a_foreign_page(host: Person, headers: dict[str, str]) -> None:
    """A rebound name, or a page of another site: 403, even with the right token."""
    answer = host.ask("GET", "/api/hub", headers=headers)

    assert (answer.status, answer.json["error"]) == (403, "forbidden")


def test_a_replicas_token_is_not_the_owners(host: Person) -> None:
    """A replica's own token opens no list and no submission."""
    token = Auth.at(host.state).mint("door-r1", 1)

    for method, path in (("GET", "/api/executions"), ("POST", "/api/executions"), ("POST", "/api/hub/stop")):
        answer = host.ask(method, path, b"", {"Authorization": f"Bearer {token}"})
        assert answer.status == 403, path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"\xc1", 400),
        (b"\x81\xa1", 400),
        (pack([1, 2]), 400),
        (pack({"submission": None}), 400),
        (pack({"submission": {"program": 7}, "program": None}), 400),
        (pack({"submission": {}, "program": None, "more": 1}), 400),
        (b"\xdd\xff\xff\xff\xff", 400),
        (b"\x91" * 5000, 400),
    ],
    ids=lambda part: repr(part[:12]) if isinstance(part, bytes) else str(part),
)
def test_a_body_that_does_not_validate(host: Person, body: bytes, status: int) -> None:
    """A sentence, and no trace."""
    before = host.executions()

    answer = host.ask("POST", "/api/executions", body, MSGPACK)

    assert answer.status == status, answer
    assert answer.json["message"]
    assert "Traceback" not in answer.json["message"]
    assert host.executions() == before


def test_a_body_that_is_too_large(host: Person) -> None:
    """413 with what to do instead, whether its length is told or not."""
    answer = host.ask("POST", "/api/executions", bytes(LARGEST + 1), MSGPACK)

    assert (answer.status, answer.json["error"]) == (413, "too_large")
    assert "blob" in answer.json["message"]
    assert {f"{LARGEST:,}", f"{LARGEST + 1:,}"} <= set(answer.json["message"].split())


def test_programs_that_cannot_be_taken(host: Person) -> None:
    """An unknown one, one whose bytes are others, bytes that are none; inputs that are missing, unknown or no value."""
    digest, packed = program(host)
    garbage = b"no program"

    unknown = submit(host, "0" * 64, x=1)
    others = submit(host, "0" * 64, packed, x=1)
    none = submit(host, program_digest(garbage), garbage, x=1)
    missing = submit(host, digest)
    more = submit(host, digest, x=1, y=2)
    bad = host.ask(
        "POST",
        "/api/executions",
        pack({"submission": to_wire(Submission(digest, {"x": b"\xc1"})), "program": None}),
        MSGPACK,
    )

    assert (unknown.status, unknown.json["error"]) == (404, "unknown_program")
    assert [answer.status for answer in (others, none, missing, more, bad)] == [422] * 5
    assert "'x'" in missing.json["message"]
    assert "'y'" in more.json["message"]


def test_a_value_of_the_wrong_type_fails_its_call(host: Person) -> None:
    """The hub does not know Python's types; the replica refuses in the user's words, and lives on."""
    digest, _ = program(host)

    answer = submit(host, digest, wait=20, x="three")

    told = unpack(answer.body)
    assert told["state"] == "failed"
    assert "x" in str(told["failure"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/executions/nobody-1", 404),
        ("GET", "/api/executions/last/events?after=x", 400),
        ("GET", "/api/executions/last/events?after=-1", 400),
        ("GET", "/api/executions/last/nodes/nope/items/0", 404),
        ("GET", "/api/executions/last/nodes/f/items/7", 404),
        ("GET", "/api/executions/last/nodes/f/items/x", 400),
        ("GET", "/api/executions/last/nodes/f/outputs/nope", 404),
        ("GET", "/api/executions?limit=many", 400),
        ("POST", "/api/executions/last/cancel", 400),
        ("GET", "/api/blobs/..%2f..%2ftoken", 400),
        ("GET", "/api/blobs/" + "0" * 64, 404),
        ("PUT", "/api/blobs/" + "0" * 64, 422),
        ("PUT", "/api/blobs/" + "A" * 64, 400),
        ("DELETE", "/api/hub", 400),
        ("GET", "/api/nothing", 404),
    ],
)
def test_questions_that_make_no_sense(host: Person, method: str, path: str, status: int) -> None:
    """A code and a sentence, never a 500."""
    answer = host.ask(method, path, b"{no json" if method in ("POST", "PUT") else None)

    assert answer.status == status, answer
    assert answer.json["message"]


# Replicas -------------------------------------------------------------------------------------------------------------


def dial(person: Person, token: str) -> ClientConnection:
    url = person.record["url"].replace("http", "ws", 1) + "/api/replica"
    headers = {"Authorization": f"Bearer {token}"}
    return connect(url, additional_headers=headers, proxy=None, compression=None, max_size=None)


def hello(replica: str, generation: int = 1, protocol: int = PROTOCOL, **facts: Any) -> frames.Hello:
    return frames.Hello(protocol, replica, generation, 0, [], [], [], [], facts)


def closed(connection: ClientConnection) -> tuple[int, str]:
    """How the hub ended a conversation."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.recv(timeout=10)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_only_a_replicas_own_token_opens_its_door(host: Person) -> None:
    """Neither nobody's token nor the owner's."""
    for token in ("nonsense", host.token):
        with pytest.raises(InvalidStatus) as caught:
            dial(host, token)
        assert caught.value.response.status_code in (401, 403)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xc1", "frame"),
        (b"no msgpack at all", ""),
        (msgpack.packb([[999, 1, 2]]), "999"),
        (msgpack.packb([[1]]), ""),
        (msgpack.packb({"kind": "hello"}), ""),
        (msgpack.packb([]), "hello"),
        (b"\x91" * 2000, ""),
        ("text", "binary"),
    ],
    ids=repr,
)
def test_frames_that_are_none(host: Person, frame: bytes | str, reason: str) -> None:
    """That one connection is closed with a reason; replicas that work are not disturbed."""
    before = host.warm("door")

    with dial(host, Auth.at(host.state).mint("ghost-r1", 1)) as connection:
        connection.send(frame)
        code, told = closed(connection)

    assert code in (4000, 4002), told
    assert reason in told
    assert host.warm("door") == before


def test_a_frame_that_is_too_large(host: Person) -> None:
    """Its connection is closed while it comes, before it is in memory, and the hub's log says why."""
    with dial(host, Auth.at(host.state).mint("ghost-r1", 1)) as connection, pytest.raises(ConnectionClosed) as caught:
        connection.send(bytes(frames.MAX_FRAME + 1))
        connection.recv(timeout=10)

    close = caught.value.rcvd
    assert close is None or close.code in (1009, 4002)  # None: cut while it was still sending.
    host.wait_until(lambda: str(frames.MAX_FRAME) in (host.state / "hub.log").read_text(), "the reason in the log")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (hello("ghost-r1", protocol=PROTOCOL + 1), "protocol"),
        (hello("ghost-r1", protocol=0), "protocol"),
        (hello("ghost-r1", pool="nobody-0000"), "pool"),
        (hello("other-r1"), "token"),
        (hello("ghost-r1", generation=2), "token"),
    ],
    ids=["newer", "older", "no pool", "another's name", "another generation"],
)
def test_replicas_that_are_not_known(host: Person, said: frames.Hello, reason: str) -> None:
    """Of another version, of no pool, or under a name that its token does not give: closed, and told why."""
    with dial(host, Auth.at(host.state).mint("ghost-r1", 1)) as connection:
        connection.send(frames.encode([said]))
        _, told = closed(connection)

    assert reason in told


def test_a_replica_that_goes_mad(host: Person) -> None:
    """Garbage under the name of a replica that works ends that connection; the replica itself comes back and works."""
    (name,) = host.warm("door")
    pools = host.get("/api/replicas")["environments"]
    pool, one = next((pool, one) for pool in pools for one in pool["replicas"] if one["id"] == name)

    with dial(host, Auth.at(host.state).mint(name, one["generation"])) as connection:
        connection.send(frames.encode([hello(name, one["generation"], pool=pool["pool"])]))
        connection.recv(timeout=10)  # It is welcome: there is no telling it from the real one.
        result = frames.Result(1, "wf-none", "f", b"no outcomes")
        connection.send(frames.encode([result]))
        code, told = closed(connection)

    assert code == 4002, told
    assert host.run("flow.py", "wf", "--x", 40) == 41
    assert list(host.warm("door")) == [name]


# Files ----------------------------------------------------------------------------------------------------------------


def keep(person: Person, data: bytes) -> str:
    """Give the hub a blob."""
    name = hashlib.sha256(data).hexdigest()
    assert person.ask("PUT", f"/api/blobs/{name}", data).status in (201, 204)
    return name


@pytest.mark.parametrize(
    "path", ["../../../evil.py", "/tmp/evil.py", "a/../../evil.py", "a//b.py", ".git/hooks/x", "x\0"]
)
def test_a_bundle_that_climbs_out(host: Person, path: str) -> None:
    """A path that leaves the bundle's folder: the call fails by name, and no such file is written."""
    _, packed = program(host)
    code = b"def f(x):\n    return 0\n"
    digest = hashlib.sha256(code).digest()
    assert keep(host, code) == digest.hex()
    body = msgpack.packb((1, "flow", path, ("",), (), (), [(path, digest, len(code), False)]))
    evil = replace(Program.unpack(packed), bundle=keep(host, body)).pack()
    before = set(host.folder.rglob("evil.py"))

    answer = submit(host, program_digest(evil), evil, wait=20, x=1)

    told = unpack(answer.body)
    assert told["state"] == "failed", told
    assert "bundle" in str(told["failure"])
    assert set(host.folder.rglob("evil.py")) == before
    assert not Path("/tmp/evil.py").exists()


def test_a_link_is_no_file_of_a_bundle(host: Person) -> None:
    """A manifest that says that something is a link is refused whole."""
    _, packed = program(host)
    body = msgpack.packb((1, "flow", "flow.py", ("",), (), (), [("flow.py", bytes(32), 0, "/etc/passwd")]))
    evil = replace(Program.unpack(packed), bundle=keep(host, body)).pack()

    told = unpack(submit(host, program_digest(evil), evil, wait=20, x=1).body)

    assert told["state"] == "failed"
    assert "link" in str(told["failure"])


def test_a_project_with_links(host: Person, tmp_path: Path) -> None:
    """A link out of the project does not travel, and is named; what it points to is not sent."""
    outside = tmp_path / "secret.txt"
    outside.write_text("not for replicas")
    host.write(
        "linked/flow.py",
        "import greenroom\nfrom pathlib import Path\n@greenroom.task\n"
        "def f() -> bool:\n    return Path('s.txt').exists()\n",
    )
    host.write("linked/pyproject.toml", '[project]\nname = "linked"\nversion = "1"\n')
    (host.work / "linked" / "s.txt").symlink_to(outside)

    listed = host.greenroom("bundle", "linked/flow.py")

    assert listed.code == 0, listed.err
    assert f"s.txt, a link out of the project, to {outside}" in listed.out
    assert host.run("linked/flow.py", "f") is False


# The database ---------------------------------------------------------------------------------------------------------


def start_on(person: Person, make: Any) -> tuple[Any, bytes, bytes]:
    """Start a hub on a prepared log; what was said, and the file before and after."""
    person.state.mkdir(parents=True, mode=0o700)
    path = person.state / "log.sqlite"
    make(path)
    before = path.read_bytes()
    done = person.greenroom("hub", "start")
    return done, before, path.read_bytes()


def of_another_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE music (title TEXT)")
    database.commit()
    database.close()


def no_database(path: Path) -> None:
    path.write_text("Dear diary, today I ran a workflow.\n" * 40)


@pytest.mark.parametrize("make", [of_another_program, no_database])
def test_a_database_that_is_not_ours(person: Person, make: Any) -> None:
    """It is left as it is, and a sentence names it; exit code 3."""
    done, before, after = start_on(person, make)

    assert done.code == 3
    assert "log.sqlite" in done.err
    assert "Traceback" not in done.err
    assert after == before


def test_a_database_of_a_newer_version(person: Person) -> None:
    """The same, with what to do."""
    assert person.greenroom("hub", "start").code == 0
    assert person.greenroom("hub", "stop").code == 0
    path = person.state / "log.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 9999")
    database.commit()
    database.close()
    before = path.read_bytes()

    done = person.greenroom("hub", "start")

    assert done.code == 3
    assert "newer" in done.err
    assert "upgrade" in done.err
    assert path.read_bytes() == before
    os.truncate(path, 0)


def test_a_hub_file_that_is_damaged(person: Person) -> None:
    """A `hub.json` that is no JSON, or whose process is a later one now, is of no hub that runs: one is started."""
    person.state.mkdir(parents=True, mode=0o700)
    record = person.state / "hub.json"
    record.write_text("{half")

    first = person.greenroom("hub", "start")
    person.kill_hub()
    told = json.loads(record.read_text())
    with subprocess.Popen(["sleep", "60"]) as later:
        record.write_text(json.dumps({**told, "pid": later.pid, "started": told["started"] - 10}))
        second = person.greenroom("hub", "start")
        later.kill()

    assert (first.code, second.code) == (0, 0), second.err
    assert person.record["pid"] != later.pid
