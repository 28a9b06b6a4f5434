"""What a client asks its hub for, without I/O: each operation yields requests and is sent their answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgpack

from greenroom.http import MSGPACK, Request, Response
from greenroom.hub_errors import HubGone, refused
from greenroom.link import Operation
from greenroom_core.failure import Failure
from greenroom_core.program import Submission, program_digest
from greenroom_core.values import Value
from greenroom_core.wire import to_wire

LIVE: Final = frozenset({"submitted", "queued", "running", "failing", "cancelling", "pending"})
"""States of an execution that has not ended."""

LONGEST_WAIT: Final = 25.0
"""Seconds that one request waits for a result; proxies cut silent connections after 30 or 60."""

SMALL_PROGRAM: Final = 32 * 1024
"""Bytes up to which a program travels along unasked: cheaper than to be told that it is missing."""

PAGE: Final = 20_000
"""Items of a map that are read at once."""


class Submitted(NamedTuple):
    """What the hub made of a submission."""

    id: str
    url: str
    notes: tuple[str, ...]
    result: Result | None = None
    """Where the hub was asked to wait, and the execution ended within that time."""
    replicas: Mapping[str, Mapping[str, int]] | None = None
    """By environment, how many were `ready` and `starting` then."""


class Result(NamedTuple):
    """How far an execution is, and what it gave."""

    id: str
    state: str
    outputs: Mapping[str, Value] | None
    failure: Failure | None
    failed_node: str | None = None
    failed_item: int | None = None
    warnings: tuple[Any, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.state not in LIVE


class Chunk(NamedTuple):
    """Neighbouring results of a map."""

    first: int
    ends: bytes
    """Little-endian u32 each: where the items' bytes end."""
    payload: bytes

    def values(self) -> Iterator[Value]:
        """The items' values, in order; nil for a failed one."""
        start = 0
        for end in memoryview(self.ends).cast("I"):
            yield self.payload[start:end]
            start = end


def path_to(execution: str, *parts: str) -> str:
    """`/api/executions/ID/...`; whatever a node is called, it is one part."""
    return "/".join(("/api/executions", *(quote(part, safe="") for part in (execution, *parts))))


def submit(submission: Submission, program: bytes, *, known: bool = False, wait: float = 0.0) -> Operation[Submitted]:
    """Hand in a submission; the program goes along where the hub does not have it.

    Args:
        submission: With an idempotency key, so that it may be sent twice.
        program: Packed.
        known: Whether the hub had this program the last time.
        wait: Seconds to wait for the result in the same request; 0 to return as soon as the hub has it on disk.
    """
    path = f"/api/executions?wait={wait:g}" if wait else "/api/executions"
    wire = wire_of(submission)
    along = bool(program) and not known and len(program) <= SMALL_PROGRAM
    answer = yield Request("POST", path, _body(wire, program if along else None), MSGPACK, wait=wait)
    if answer.status == 404 and program and not along and refused(answer.status, answer.body).code == "unknown_program":
        answer = yield Request("POST", path, _body(wire, program), MSGPACK, wait=wait)
    checked(answer)
    if answer.headers.get("content-type", "").startswith(MSGPACK):
        result = _result(answer.body)
        return Submitted(result.id, "", (), result if result.ended else None)
    raw = json.loads(answer.body)
    notes = tuple(raw.get("notes") or ())
    return Submitted(raw["id"], raw.get("url") or "", notes, replicas=raw.get("replicas"))


def repeat(execution: str, wish: Mapping[str, Any]) -> Operation[Submitted]:
    """Run an execution once more, with the program, the inputs and the environment that the hub has of it.

    Args:
        execution: Its id.
        wish: `reuse` (nothing, unfailed, succeeded), `key` (so that it may be sent twice), `by`, `name`,
            `cached_results`; what is missing is as it was.
    """
    raw = yield from post(path_to(execution, "rerun"), wish)
    return Submitted(raw["id"], raw.get("url") or "", tuple(raw.get("notes") or ()), replicas=raw.get("replicas"))


def wire_of(submission: Submission) -> dict[str, Any]:
    """What `to_wire` makes of a submission, in a tenth of the time: it walks every variable of the shell."""
    wire: dict[str, Any] = to_wire(replace(submission, env={}, inputs={}, labels={}, secrets={}))
    for name in ("env", "inputs", "labels", "secrets"):
        if held := getattr(submission, name):
            wire[name] = dict(held)  # Texts and bytes only: nothing in there has a wire form of its own.
    return wire


def _body(wire: Any, program: bytes | None) -> bytes:
    body: bytes = msgpack.packb({"submission": wire, "program": program}, unicode_errors="surrogatepass")
    return body


def result(execution: str, wait: float = 0.0) -> Operation[Result]:
    """How far an execution is; waits up to `wait` seconds for its end."""
    wait = min(max(wait, 0.0), LONGEST_WAIT)
    answer = yield Request("GET", f"{path_to(execution, 'result')}?wait={wait:g}", wait=wait)
    checked(answer)
    return _result(answer.body)


def _result(body: bytes) -> Result:
    raw = msgpack.unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")
    failure = raw.get("failure")
    return Result(
        id=raw["id"],
        state=raw["state"],
        outputs=raw.get("outputs"),
        failure=Failure.from_wire(failure) if failure is not None else None,
        failed_node=raw.get("failed_node"),
        failed_item=raw.get("failed_item"),
        warnings=tuple(raw.get("warnings") or ()),
    )


def get(path: str) -> Operation[Any]:
    """What `GET` of a path answers, as JSON data."""
    answer = yield Request("GET", path)
    checked(answer)
    return json.loads(answer.body)


def post(path: str, data: Mapping[str, Any]) -> Operation[Any]:
    """What `POST` of JSON data to a path answers."""
    answer = yield Request("POST", path, json.dumps(data).encode())
    checked(answer)
    return json.loads(answer.body) if answer.body else None


def delete(path: str) -> Operation[Any]:
    """End what stands at a path of the API."""
    answer = yield Request("DELETE", path)
    checked(answer)
    return json.loads(answer.body)


def cancel(execution: str, reason: str) -> Operation[Any]:
    """Ask for an execution's end; returns as soon as the hub knows."""
    return (yield from post(path_to(execution, "cancel"), {"reason": reason}))


def chunks(execution: str, node: str, output: str, start: int, count: int) -> Operation[list[Chunk]]:
    """Results of a map from item `start` on, about `count` of them."""
    path = f"{path_to(execution, 'nodes', node, 'outputs', output)}?start={start}&count={count}"
    answer = yield Request("GET", path)
    checked(answer)
    raw = msgpack.unpackb(answer.body, strict_map_key=False)
    return [Chunk(first, ends, payload) for first, ends, payload in raw]


def failures(execution: str, limit: int = 1000) -> Operation[list[tuple[str, int, Failure]]]:
    """Calls that failed for good: node, item and why, in the order of nodes and items."""
    answer = yield Request("GET", f"{path_to(execution, 'failures')}?limit={limit}")
    checked(answer)
    raw = msgpack.unpackb(answer.body, strict_map_key=False, unicode_errors="surrogatepass")["failures"]
    return [(one["node"], one["item"], Failure.from_wire(one["failure"])) for one in raw]


def checked(answer: Response) -> None:
    """Refuse an answer that is none.

    Raises:
        HubGone: The hub is stopping.
        Refused: It says no.
    """
    if answer.status == 503:
        raise HubGone()
    if answer.status >= 300:
        raise refused(answer.status, answer.body)


def digest(program: bytes) -> str:
    """The name under which the hub keeps a packed program."""
    return program_digest(program)
