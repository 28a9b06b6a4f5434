"""Messages between hub and replica, and the frames that carry them.

A frame is one binary WebSocket message: a msgpack array of messages. A message is an array: its kind, then its fields
by position. Each side flushes what has gathered once a turn of its loop, so batches form by themselves under load.
`docs/protocol.md` explains the conversation; this module is its grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

MAX_FRAME: Final = 32 * 1024 * 1024
"""Bytes of the largest frame that either side takes; bigger things travel as blobs."""

Items: TypeAlias = "int | list[int]"
"""Which items a batch holds: the first of neighbours, or each one."""

Attempts: TypeAlias = "int | list[int]"
"""The attempt's number of each call of a batch: one for all, or each one."""


class FrameFault(ValueError):
    """A frame that cannot be understood; the connection that it came from is closed with this reason."""


# Replica -> hub -----------------------------------------------------------------------------------------------------


class Hello(NamedTuple):
    """First message of a connection: who the replica is and what it still holds."""

    protocol: int
    replica: str
    generation: int
    """Raised each time the replica's process starts anew; an older one's messages are void."""
    epoch: int
    """Hub epoch last seen, 0 if none."""
    held: list[list[Any]]
    """`[execution, node, item, attempt]` of each call that waits or runs here."""
    unacked: list[int]
    """Sequence numbers of results that no ack has come for; they follow as `Result`s."""
    definitions: list[bytes]
    """Digests of the definitions that are known here."""
    entries: list[Mapping[str, Any]]
    """The actor cache's entries, as `greenroom_replica.cache` describes them."""
    facts: Mapping[str, Any]
    """About the process: python, packages (digest), pid, host, slots, environment."""


class Started(NamedTuple):
    """A call runs for longer than the hub's threshold (250 ms): sent lazily, never for short calls."""

    execution: str
    node: str
    item: int
    attempt: int
    started_us: int
    """Wall clock, microseconds since the epoch."""


class Result(NamedTuple):
    """Outcomes of a batch of calls of one node; resent until acked. `body` is a packed `Outcomes`, stored verbatim."""

    seq: int
    """Dense per replica generation, from 1."""
    execution: str
    node: str
    body: bytes


class Cache(NamedTuple):
    """What changed in the actor cache outside of calls: entries loaded by prewarm, evicted, lost with a runner."""

    loaded: list[Mapping[str, Any]]
    gone: list[list[str]]
    """`[loader, key digest, why]` of each."""


class Log(NamedTuple):
    """Output of a call."""

    execution: str
    node: str
    item: int
    attempt: int
    stream: int
    """1 stdout, 2 stderr."""
    offset: int
    """Where `data` starts in the call's output on that stream, bytes."""
    data: bytes


class Stats(NamedTuple):
    """Figures of a replica, every few seconds and after changes."""

    figures: Mapping[str, Any]
    """rss, pss, cpu_s, calls, runner_restarts, age_s, entries, ..."""


class Returned(NamedTuple):
    """The answer to `Revoke`: calls given back, which this replica will not run."""

    execution: str
    node: str
    items: list[int]
    attempts: list[int]


class Lost(NamedTuple):
    """Calls that ended without an outcome of their own: their runner died with them, or they were batch-mates."""

    execution: str
    node: str
    items: list[int]
    attempts: list[int]
    charged: bool
    """Whether the loss counts against the call (it was the one that ran) or not (it merely waited beside it)."""
    reason: Mapping[str, Any]
    """A failure, as `greenroom_core.failure.Failure.to_wire` gives it."""


class Ask(NamedTuple):
    """A running call calls others: a graph that is to run as nodes of its execution. Said again until answered."""

    execution: str
    node: str
    item: int
    attempt: int
    number: int
    """Names the question on this replica; the answer carries it."""
    key: str
    """The same for the same question of another attempt: what is known by then is answered at once."""
    body: bytes
    """A packed `greenroom_core.fragments.Fragment`, as a value."""


class Waive(NamedTuple):
    """The answer to a question is not wanted any more: what runs for it ends."""

    execution: str
    node: str
    item: int
    attempt: int
    number: int


class Bye(NamedTuple):
    """The replica leaves on purpose; it holds nothing any more."""

    reason: str


# Hub -> replica -----------------------------------------------------------------------------------------------------


class Welcome(NamedTuple):
    """The answer to `Hello`."""

    protocol: int
    epoch: int
    acked: int
    """Results up to this sequence number are on disk."""
    settings: Mapping[str, Any]
    """`started_after_ms`, `heartbeat_s`, `term_after_s`, `kill_after_s`, `cache_memory`, ..."""


class Define(NamedTuple):
    """Makes a definition known: everything of a call that does not vary, sent once per replica."""

    digest: bytes
    body: bytes
    """A packed `greenroom_protocol.calls.Definition`."""


class Forget(NamedTuple):
    """Lets go of definitions."""

    digests: list[bytes]


class Assign(NamedTuple):
    """Calls to run, in this order. Call k's inputs are `payload[ends[k-1] - base : ends[k] - base]`."""

    definition: bytes
    execution: str
    node: str
    items: Items
    attempts: Attempts
    base: int
    ends: bytes
    """Little-endian u64 each; their count is the batch's."""
    payload: bytes
    context: Mapping[str, Any]
    """What the calls may know of their execution: name, project, labels, ..."""


class Revoke(NamedTuple):
    """Asks for calls back that no runner has begun; answered by `Returned`. An empty list means all of the node's."""

    execution: str
    node: str
    items: list[int]


class Cancel(NamedTuple):
    """Ends calls, running or not. An empty list means all of the node's, an empty node all of the execution's."""

    execution: str
    node: str
    items: list[int]
    reason: str


class Ack(NamedTuple):
    """Results up to `seq` are on disk and need not be kept."""

    seq: int


class Answer(NamedTuple):
    """What became of an `Ask`, once that is on disk."""

    execution: str
    node: str
    item: int
    attempt: int
    number: int
    status: int
    """A `greenroom_protocol.calls.Status`."""
    payload: bytes
    """The graph's outputs, one value after the other; for anything else than a success a packed failure."""


class Drain(NamedTuple):
    """Finish what runs, give back what waits, then say `Bye` and leave."""

    reason: str


class Prewarm(NamedTuple):
    """Load cache entries by recipe before (or beside) calls."""

    definition: bytes
    recipes: list[Mapping[str, Any]]


class Evict(NamedTuple):
    """Drop entries from the actor cache. An empty key means all of the loader's, an empty loader all."""

    loader: str
    key: str


# Both ways ----------------------------------------------------------------------------------------------------------


class Ping(NamedTuple):
    """Proves that the sender's work loop turns; rides the same connection as the work."""

    number: int


class Pong(NamedTuple):
    """The answer to `Ping`."""

    number: int


FromReplica: TypeAlias = (
    Hello | Started | Result | Cache | Log | Stats | Returned | Lost | Bye | Ask | Waive | Ping | Pong
)
FromHub: TypeAlias = (
    Welcome | Define | Forget | Assign | Revoke | Cancel | Ack | Drain | Prewarm | Evict | Answer | Ping | Pong
)
Message: TypeAlias = FromReplica | FromHub

_BOTH: Final[Mapping[int, type[Any]]] = {
    40: Ping,
    41: Pong,
}
REPLICA_KINDS: Final[Mapping[int, type[Any]]] = {
    1: Hello,
    2: Started,
    3: Result,
    4: Cache,
    5: Log,
    6: Stats,
    7: Returned,
    8: Lost,
    9: Bye,
    10: Ask,
    11: Waive,
    **_BOTH,
}
"""What a replica may say, by the number that starts the message."""

HUB_KINDS: Final[Mapping[int, type[Any]]] = {
    20: Welcome,
    21: Define,
    22: Forget,
    23: Assign,
    24: Revoke,
    25: Cancel,
    26: Ack,
    27: Drain,
    28: Prewarm,
    29: Evict,
    30: Answer,
    **_BOTH,
}
"""What a hub may say, by the number that starts the message."""

_NUMBERS: Final = {kind: number for kinds in (REPLICA_KINDS, HUB_KINDS) for number, kind in kinds.items()}


def encode(messages: Iterable[Message]) -> bytes:
    """Build the frame that carries `messages`, in order."""
    frame: bytes = msgpack.packb(
        [(_NUMBERS[type(message)], *message) for message in messages], unicode_errors="surrogatepass"
    )
    return frame


def decode(frame: bytes, kinds: Mapping[int, type[Any]], limit: int = MAX_FRAME) -> list[Any]:
    """Read a frame.

    Args:
        frame: One binary WebSocket message.
        kinds: What the other side may say: `REPLICA_KINDS` or `HUB_KINDS`.
        limit: Bytes above which a frame is refused unread.

    Raises:
        FrameFault: Too large, not msgpack, of an unknown kind, or a message with wrong fields.
    """
    if len(frame) > limit:
        raise FrameFault(f"a frame of {len(frame)} bytes; at most {limit} are taken")
    try:
        raw = msgpack.unpackb(frame, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as fault:
        raise FrameFault(f"a frame that is not msgpack: {type(fault).__name__}: {fault}") from fault
    if not isinstance(raw, list):
        raise FrameFault(f"a frame must be an array of messages, not {type(raw).__name__}")
    return [_message(item, kinds) for item in raw]


def _message(raw: Any, kinds: Mapping[int, type[Any]]) -> Any:
    if not isinstance(raw, list) or not raw or type(raw[0]) is not int:
        raise FrameFault("a message must be an array that starts with its kind")
    kind = kinds.get(raw[0])
    if kind is None:
        raise FrameFault(f"a message of unknown kind {raw[0]}")
    fields = raw[1:]
    shape = _SHAPES[kind]
    if len(fields) != len(shape):
        raise FrameFault(f"a {kind.__name__} message has {len(shape)} fields, got {len(fields)}")
    for name, (expected, inside), field in zip(kind._fields, shape, fields, strict=True):
        if type(field) not in expected:
            raise FrameFault(f"{kind.__name__}.{name} must be {_words(expected)}, got {type(field).__name__}")
        if inside is not None and (wrong := inside(field)) is not None:
            raise FrameFault(f"{kind.__name__}.{name} {wrong}")
    message = kind._make(fields)
    if kind in _PAIRED and len(message.items) != len(message.attempts):
        counts = f"{len(message.items)} items and {len(message.attempts)} attempts"
        raise FrameFault(f"a {kind.__name__} message has {counts}")
    return message


_PAIRED: Final = frozenset({Returned, Lost})


def _words(types: Sequence[type]) -> str:
    return " or ".join(expected.__name__ for expected in types)


# What a field's annotation demands, so that grammar and check cannot differ ---------------------------------------

_Inside: TypeAlias = "Callable[[Any], str | None] | None"
"""Looks into a field of the right type: what is wrong with it, or None."""


def _all(kind: type) -> Callable[[Any], str | None]:
    """Every member of a list is of one type."""
    taken = frozenset({kind})

    def check(field: Sequence[Any]) -> str | None:
        return None if taken.issuperset(map(type, field)) else f"must hold {kind.__name__} alone"

    return check


def _numbers(field: Any) -> str | None:
    """Numbers of items or attempts: one, or a list of them; none below zero."""
    numbers = [field] if type(field) is int else field
    return (
        None if _WHOLE.issuperset(map(type, numbers)) and min(numbers, default=0) >= 0 else "must hold numbers from 0"
    )


def _texts(field: Sequence[Any]) -> str | None:
    """Every member of a list names a cache entry: loader, key, and perhaps more."""
    sound = all(type(member) is list and len(member) > 1 and _TEXT.issuperset(map(type, member)) for member in field)
    return None if sound else "must hold [loader, key, ...]"


def _keys(field: Mapping[Any, Any]) -> str | None:
    return None if _TEXT.issuperset(map(type, field)) else "must have str keys"


def maps(field: Sequence[Any]) -> str | None:
    """Every member of a list is a map with text keys, and what a cache's telemetry counts is a number."""
    for member in field:
        if type(member) is not dict or not _TEXT.issuperset(map(type, member)):
            return "must hold maps with str keys"
        for name in _FIGURES.intersection(member):
            figure = member[name]
            if figure is not None and (type(figure) not in _PLAIN_NUMBERS or not 0 <= figure <= _LARGEST):
                return f"must hold figures: {name} is {figure!r}"
        for name in _LISTS.intersection(member):
            if not isinstance(member[name], (list, NoneType)):
                return f"must hold lists: {name} is {member[name]!r}"
        if (wrong := _texts(member.get("evicted") or ())) is not None:
            return wrong
    return None


_FIGURES: Final = frozenset({"bytes", "gpu_bytes", "hits", "load_ms", "misses", "waits"})
_LISTS: Final = frozenset({"changed", "depends", "evicted"})
_PLAIN_NUMBERS: Final = frozenset({int, float})
_LARGEST: Final = 2.0**62


def _calls(field: Sequence[Any]) -> str | None:
    """Every member of a list names a call: execution, node, item, attempt."""
    sound = all(type(member) is list and list(map(type, member)) == [str, str, int, int] for member in field)
    return None if sound else "must hold [execution, node, item, attempt]"


_WHOLE: Final = frozenset({int})
_TEXT: Final = frozenset({str})
_DEMANDS: Final[Mapping[str, tuple[tuple[type, ...], _Inside]]] = {
    "int": ((int,), None),
    "str": ((str,), None),
    "bytes": ((bytes,), None),
    "bool": ((bool,), None),
    "Items": ((int, list), _numbers),
    "Attempts": ((int, list), _numbers),
    "list[int]": ((list,), _numbers),
    "list[bytes]": ((list,), _all(bytes)),
    "list[list[Any]]": ((list,), _calls),
    "list[list[str]]": ((list,), _texts),
    "list[Mapping[str, Any]]": ((list,), maps),
    "Mapping[str, Any]": ((dict,), _keys),
}


def _shape(kind: type[Any]) -> list[tuple[tuple[type, ...], _Inside]]:
    texts = [str(getattr(text, "__forward_arg__", text)) for text in kind.__annotations__.values()]
    return [_DEMANDS[text] for text in texts]


_SHAPES: Final = {kind: _shape(kind) for kind in _NUMBERS}
