"""A hub without executions of its own: it speaks the API of docs/api.md over real sockets and follows a script."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from greenroom_protocol.version import PROTOCOL, VERSION


class Asked(NamedTuple):
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def msgpack(self) -> Any:
        return msgpack.unpackb(self.body)


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    type: str = "application/json"


def as_json(data: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(data).encode())


def as_msgpack(data: Any, status: int = 200) -> Answer:
    return Answer(status, msgpack.packb(data), "application/msgpack")


def error(status: int, code: str, message: str) -> Answer:
    return as_json({"error": code, "message": message}, status)


class Run:
    """An execution that the test writes the history of."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.events: list[dict[str, Any]] = []
        self.facts = 0
        self.result: dict[str, Any] = {"id": id, "state": "running", "outputs": None, "failure": None}
        self.shown: dict[str, Any] = {"id": id, "state": "running", "entity": "flow.wf", "nodes": []}
        self.changed = threading.Condition()
        self.cancelled: list[str] = []

    def add(self, kind: str, **fields: Any) -> Run:
        with self.changed:
            event = {"kind": kind, **fields}
            if kind not in ("log", "status"):
                self.facts += 1
                event = {"seq": self.facts, "at": fields.pop("at", 1000.0 + self.facts / 10), **event}
            self.events.append(event)
            self.changed.notify_all()
        return self

    def end(self, outcome: str = "succeeded", outputs: Mapping[str, bytes] | None = None, **fields: Any) -> Run:
        with self.changed:
            self.result.update(state=outcome, outputs=dict(outputs) if outputs is not None else None, **fields)
            self.shown["state"] = outcome
        failure = fields.get("failure")
        return self.add(
            "execution_ended", outcome=outcome, failure=failure, seconds=fields.get("seconds", 0.1), saved_s=0.0
        )

    @property
    def ended(self) -> bool:
        return self.result["state"] != "running"


class FakeHub:
    """Serves on a unix socket and on TCP at once."""

    def __init__(self, state: Path, token: str = "secret") -> None:
        self.state, self.token = state, token
        self.requests: list[Asked] = []
        self.runs: dict[str, Run] = {}
        self.programs: set[str] = set()
        self.submissions: list[dict[str, Any]] = []
        self.blobs: dict[str, bytes] = {}
        self.routes: list[tuple[str, re.Pattern[str], Callable[[Asked], Answer]]] = []
        self.on_submit: Callable[[Run, Any], None] = lambda run, submission: None
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []
        self.stopping = False

    # Life

    def start(self) -> FakeHub:
        state = self.state
        (state / "blobs").mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        (state / "token").write_text(self.token)
        self.socket_path = str(state / "hub.sock")
        unix = socket.socket(socket.AF_UNIX)
        Path(self.socket_path).unlink(missing_ok=True)
        unix.bind(self.socket_path)
        tcp = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        for listener in (unix, tcp):
            listener.listen(64)
            self._listeners.append(listener)
            self._thread(self._accept, listener)
        return self

    def write_record(self, **changed: Any) -> None:
        record = {
            "url": self.url,
            "socket": self.socket_path,
            "pid": os.getpid(),
            "version": VERSION,
            "protocol": PROTOCOL,
            "token_file": str(self.state / "token"),
            "blobs": str(self.state / "blobs"),
            "state": str(self.state),
            "started": time.time(),
            **changed,
        }
        (self.state / "hub.json").write_text(json.dumps(record))

    def stop(self) -> None:
        self.stopping = True
        for listener in self._listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        self.cut()
        for run in self.runs.values():
            with run.changed:
                run.changed.notify_all()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def cut(self) -> None:
        """Break every connection, as a restart or a bad network does."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self) -> FakeHub:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # Script

    def run(self, id: str) -> Run:
        run = self.runs[id] = Run(id)
        return run

    def route(self, method: str, pattern: str, answer: Callable[[Asked], Answer]) -> None:
        self.routes.insert(0, (method, re.compile(pattern), answer))

    def asked(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.requests if asked.method == method and asked.path == path]

    # Serving

    def _thread(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.add(connection)
            self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        try:
            while True:
                line = file.readline().decode()
                if not line:
                    return
                method, target, _ = line.split(" ")
                headers: dict[str, str] = {}
                while (raw := file.readline().decode().strip()) != "":
                    name, _, value = raw.partition(":")
                    headers[name.lower()] = value.strip()
                body = file.read(int(headers.get("content-length", 0)))
                path, _, query = target.partition("?")
                pairs = dict(pair.split("=", 1) for pair in query.split("&") if pair)
                asked = Asked(method, path, pairs, headers, body)
                self.requests.append(asked)
                if headers.get("upgrade") == "websocket":
                    self._stream(connection, asked)
                    return
                self._reply(connection, asked, self._answer(asked))
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)
            file.close()
            connection.close()

    def _reply(self, connection: socket.socket, asked: Asked, answer: Answer) -> None:
        head = (
            f"HTTP/1.1 {answer.status} X\r\nContent-Type: {answer.type}\r\nContent-Length: {len(answer.body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + (answer.body if asked.method != "HEAD" else b""))

    def _answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            return error(401, "unauthorized", "a token is needed: greenroom login")
        for method, pattern, respond in self.routes:
            if method == asked.method and pattern.fullmatch(asked.path):
                return respond(asked)
        for method, text, respond in self._standard():
            if method == asked.method and (match := re.fullmatch(text, asked.path)):
                return respond(asked, *match.groups())
        return error(404, "unknown", f"there is no {asked.path}")

    def _standard(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        return [
            ("GET", "/api/hub", self._hub),
            ("POST", "/api/hub/stop", self._stop),
            ("POST", "/api/executions", self._submit),
            ("GET", "/api/executions", lambda asked: as_json({"executions": [r.shown for r in self.runs.values()]})),
            ("GET", "/api/executions/([^/]+)", self._show),
            ("GET", "/api/executions/([^/]+)/result", self._result),
            ("POST", "/api/executions/([^/]+)/cancel", self._cancel),
            ("GET", "/api/executions/([^/]+)/events", self._page),
            ("POST", "/api/blobs/missing", self._missing),
            ("PUT", "/api/blobs/([0-9a-f]+)", self._put),
            ("GET", "/api/blobs/([0-9a-f]+)", self._get),
            ("HEAD", "/api/blobs/([0-9a-f]+)", self._get),
        ]

    def _hub(self, asked: Asked) -> Answer:
        live = sum(not run.ended for run in self.runs.values())
        return as_json(
            {
                "version": VERSION,
                "protocol": PROTOCOL,
                "epoch": 1,
                "pid": os.getpid(),
                "url": self.url,
                "state": str(self.state),
                "blobs": str(self.state / "blobs"),
                "executions": {"live": live, "ended": len(self.runs) - live},
                "replicas": 0,
                "local": True,
            }
        )

    def _stop(self, asked: Asked) -> Answer:
        (self.state / "hub.json").unlink(missing_ok=True)
        return as_json({}, 202)

    def _submit(self, asked: Asked) -> Answer:
        body = asked.msgpack()
        submission = body["submission"]
        if submission["program"] not in self.programs:
            if body["program"] is None:
                return error(404, "unknown_program", "send the program")
            self.programs.add(hashlib.sha256(body["program"]).hexdigest()[:32])
        run = self.run(submission.get("name") or f"wf-{len(self.runs) + 1:04d}")
        self.submissions.append(submission)
        self.on_submit(run, submission)
        if "wait" in asked.query:
            self._await(run, float(asked.query["wait"]))
            return as_msgpack(run.result)
        return as_json({"id": run.id, "url": f"{self.url}/e/{run.id}", "notes": []}, 201)

    def _known(self, id: str) -> Run | None:
        if id == "last":
            return next(reversed(self.runs.values()), None)
        return self.runs.get(id)

    def _show(self, asked: Asked, id: str) -> Answer:
        run = self._known(id)
        return as_json(run.shown) if run else error(404, "unknown_execution", f"no execution {id}")

    def _await(self, run: Run, seconds: float) -> None:
        with run.changed:
            run.changed.wait_for(lambda: run.ended or self.stopping, seconds)

    def _result(self, asked: Asked, id: str) -> Answer:
        run = self._known(id)
        if run is None:
            return error(404, "unknown_execution", f"no execution {id}")
        self._await(run, float(asked.query.get("wait", 0)))
        return as_msgpack(run.result)

    def _cancel(self, asked: Asked, id: str) -> Answer:
        run = self._known(id)
        if run is None:
            return error(404, "unknown_execution", f"no execution {id}")
        run.cancelled.append(asked.json()["reason"])
        return as_json({}, 202)

    def _page(self, asked: Asked, id: str) -> Answer:
        run = self._known(id)
        assert run is not None
        after = int(asked.query.get("after", 0))
        events = [event for event in run.events if event.get("seq", 0) > after]
        return as_json({"events": events, "next": run.facts})

    def _missing(self, asked: Asked) -> Answer:
        return as_msgpack([sha for sha in asked.msgpack() if sha not in self.blobs])

    def _put(self, asked: Asked, sha: str) -> Answer:
        self.blobs[sha] = asked.body
        return as_json({}, 201)

    def _get(self, asked: Asked, sha: str) -> Answer:
        if sha not in self.blobs:
            return error(404, "unknown_blob", sha)
        return Answer(200, self.blobs[sha], "application/octet-stream")

    # The stream of events

    def _stream(self, connection: socket.socket, asked: Asked) -> None:
        run = self._known(asked.path.split("/")[3])
        if run is None:
            self._reply(connection, asked, error(404, "unknown_execution", "no such execution"))
            return
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        proof = base64.b64encode(hashlib.sha1((asked.headers["sec-websocket-key"] + guid).encode()).digest()).decode()
        connection.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {proof}\r\n\r\n".encode()
        )
        after, sent = int(asked.query.get("after", 0)), 0
        while True:
            with run.changed:
                while len(run.events) == sent and not self.stopping:
                    run.changed.wait(10)
                fresh = [event for event in run.events[sent:] if event.get("seq", after + 1) > after]
                sent = len(run.events)
            if self.stopping:
                return
            if fresh:
                connection.sendall(server_frame(1, json.dumps(fresh).encode()))
            if any(event["kind"] == "execution_ended" for event in fresh):
                connection.sendall(server_frame(8, struct.pack("!H", 1000)))
                connection.settimeout(2)
                connection.recv(100)
                return


def server_frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    head = bytes([(0x80 if final else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + bytes([126]) + struct.pack("!H", len(payload)) + payload
    return head + bytes([127]) + struct.pack("!Q", len(payload)) + payload
