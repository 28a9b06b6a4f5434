"""What supervisor and runner, and supervisor and zygote, say to each other on their sockets.

Supervisor and runner speak over a stream: four bytes of length, then a msgpack array that starts with a kind. An
empty message from the runner means: look at the page. Supervisor and zygote speak in datagrams that keep their
bounds, for descriptors travel with them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

from greenroom_protocol.frames import Attempts, Items
from greenroom_replica.core.page import Garbled

LENGTH: Final = struct.Struct("<I")
LONGEST: Final = 2 << 30
"""Bytes of a message: more than any value that travels here."""

_packb, _unpackb = msgpack.packb, msgpack.unpackb  # User code may put something else in their place.

KNOCK: Final = LENGTH.pack(0)
"""The runner's message without words: the page has something new."""


# Supervisor -> runner -----------------------------------------------------------------------------------------------


class Define(NamedTuple):
    """A definition, sent once to each runner."""

    digest: bytes
    body: bytes


class Forget(NamedTuple):
    """Lets go of definitions."""

    digests: list[bytes]


class Run(NamedTuple):
    """Calls to run, under serials from `first` on. Call k's inputs are `payload[ends[k-1] - base : ends[k] - base]`."""

    first: int
    definition: bytes
    execution: str
    node: str
    items: Items
    attempts: Attempts
    base: int
    ends: bytes
    payload: bytes
    context: Mapping[str, Any]


class Prewarm(NamedTuple):
    """Load cache entries by recipe."""

    definition: bytes
    recipes: list[Mapping[str, Any]]


class Evict(NamedTuple):
    """Drop cache entries; answered by `Entries`."""

    loader: str
    key: str


class Stop(NamedTuple):
    """Cancel a coroutine: a concurrent runner's loop takes it from here, a signal would hit another call."""

    serial: int
    why: int
    """A `ladder.Why`."""


class Drop(NamedTuple):
    """Forget every `Run` that was sent before this: it was taken back. Answered by `Cleared`."""

    limit: int


class Answer(NamedTuple):
    """What became of an `Ask`."""

    number: int
    status: int
    payload: bytes


class Leave(NamedTuple):
    """End once everything given before is done."""

    reason: str


# Runner -> supervisor -----------------------------------------------------------------------------------------------


class Large(NamedTuple):
    """An outcome too large for the page."""

    serial: int
    started: int
    duration: int
    status: int
    payload: bytes
    extras: bytes


class Learned(NamedTuple):
    """Libraries that a bundle's import brought: what a template for it should hold."""

    bundle: str
    libraries: list[str]


class Printed(NamedTuple):
    """What a coroutine has printed so far: the runner's output is shared by all that run."""

    serial: int
    segments: list[list[int]]
    """`[stream, start, end]` in the runner's files."""


class Died(NamedTuple):
    """The child that was forked for a call has ended without an outcome."""

    serial: int
    code: int
    """Its exit code; minus the signal's number if one killed it."""


class Moved(NamedTuple):
    """A call that must not run in this process."""

    serial: int
    why: str
    alone: bool
    """Whether it goes to a fresh runner of its own; else this runner is replaced, and the next one takes it."""


class Ask(NamedTuple):
    """A call calls others: as `frames.Ask`, of the call with this serial. From then on it keeps nobody waiting."""

    serial: int
    number: int
    """Unique among all runners of this replica."""
    key: str
    body: bytes


class Waive(NamedTuple):
    """The answer is not wanted any more."""

    number: int


class Waiting(NamedTuple):
    """The call waits for calls of its own: another runner may take the next one meanwhile."""

    serial: int


class Resumed(NamedTuple):
    """The call goes on."""

    serial: int


class Entries(NamedTuple):
    """The actor cache changed outside of calls."""

    loaded: list[Mapping[str, Any]]
    gone: list[list[str]]


class Retire(NamedTuple):
    """This runner should take no more calls: something that outlived its call cannot be ended."""

    why: str


class Cleared(NamedTuple):
    """The answer to `Drop`: what comes from now on is run."""

    limit: int


class Up(NamedTuple):
    """The runner is ready for its first order."""

    figures: Mapping[str, Any]
    """`rss` bytes of a runner that has done nothing yet, ..."""


# Supervisor -> zygote, for runners with libraries --------------------------------------------------------------------


class Fork(NamedTuple):
    """Fork a runner; its descriptors travel with this message. Answered by `Forked` or `Unborn`, later by `Reaped`."""

    runner: int
    """The supervisor's number for it."""
    libraries: list[str]
    """What its template has imported; empty for a runner without a template."""
    env: Mapping[str, str]
    """The environment variables that the template imported under."""
    settings: Mapping[str, Any]
    """A `greenroom_replica.runner.RunnerSettings` as plain data."""


class Template(NamedTuple):
    """Get a template ready, for forks to come. Answered by `Settled`, now or later."""

    libraries: list[str]
    env: Mapping[str, str]


class End(NamedTuple):
    """Kill a runner; safe even if it has ended, for the zygote is who reaps it."""

    runner: int
    signal: int


# Of runners, to the supervisor ----------------------------------------------------------------------------------------


class Forked(NamedTuple):
    """The runner lives."""

    runner: int
    pid: int
    warm: bool
    """Whether it came from a template that holds all libraries asked for."""


class Reaped(NamedTuple):
    """A runner ended; what it left behind is being ended too."""

    runner: int
    pid: int
    code: int
    """Its exit code; minus the signal's number if one killed it."""
    cpu_s: float
    max_rss: int
    """Bytes."""


class Settled(NamedTuple):
    """A template is ready, or cannot be: told by it to the zygote, and by the zygote to who wanted it."""

    libraries: list[str]
    refused: str
    """Why these libraries cannot be forked; empty if they can."""


class Unborn(NamedTuple):
    """A runner that could not be forked."""

    runner: int
    why: str


Order: TypeAlias = Define | Forget | Run | Prewarm | Evict | Stop | Drop | Answer | Leave
Report: TypeAlias = (
    Large | Learned | Printed | Died | Moved | Ask | Waive | Waiting | Resumed | Entries | Retire | Cleared | Up
)
ZygoteMessage: TypeAlias = Fork | Template | End | Forked | Reaped | Unborn | Settled

_KINDS: Final[tuple[type[Any], ...]] = (
    Define, Forget, Run, Prewarm, Evict, Stop, Drop, Answer, Leave,
    Large, Learned, Printed, Died, Moved, Ask, Waive, Waiting, Resumed, Entries, Retire, Cleared, Up,
    Fork, Template, End, Forked, Reaped, Unborn, Settled,
)  # fmt: skip
_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}


def pack(message: Order | Report | ZygoteMessage) -> bytes:
    """A message's body."""
    body: bytes = _packb((_NUMBERS[type(message)], *message), unicode_errors="surrogatepass")
    return body


def frame(message: Order | Report) -> bytes:
    """A message as it goes on the stream between supervisor and runner."""
    body = pack(message)
    return LENGTH.pack(len(body)) + body


def unpack(body: bytes | memoryview) -> Any:
    """Read a message's body. Both ends are ours, of one version, in one process family.

    Raises:
        Garbled: It cannot be read: a bug of ours, or user code has its hands in a runner's socket or libraries.
    """
    try:
        raw = _unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")
        return _KINDS[raw[0]]._make(raw[1:])
    except Exception as fault:
        raise Garbled(f"a message of {len(body)} bytes: {type(fault).__name__}: {fault}") from fault


class Stream:
    """Cuts the bytes of a stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """Take bytes; returns the messages that they completed, None for each knock."""
        buffer = self._buffer
        buffer += data
        messages: list[Any] = []
        at = 0
        while len(buffer) - at >= 4:
            (size,) = LENGTH.unpack_from(buffer, at)
            if size > LONGEST:
                raise Garbled(f"a message of {size} bytes")
            if len(buffer) - at < 4 + size:
                break
            messages.append(unpack(bytes(buffer[at + 4 : at + 4 + size])) if size else None)
            at += 4 + size
        if at:
            del buffer[:at]
        return messages
