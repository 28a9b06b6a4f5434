"""What a call is made of: its definition, sent once, and the columns that its outcomes come back in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from greenroom_protocol.frames import Attempts, FrameFault, Items, maps


class Status(IntEnum):
    """How one call ended, as its replica saw it."""

    SUCCEEDED = 0
    FAILED = 1
    """The user's code raised, or its replica ended it (memory, exit, timeout): the failure says which."""
    CANCELLED = 2


class Definition(NamedTuple):
    """Everything of a call that does not vary between the calls of a node. Its digest names it on the wire."""

    task: str
    """For people, and for telemetry: `module.function`."""
    environment: str
    bundle: str | None
    """The bundle's hash; None for a function that travels by value alone."""
    module: str
    qualname: str
    pickled: bytes | None
    """A cloudpickled function, for what no module holds (notebooks, lambdas)."""
    params: list[str]
    """Names of the inputs that vary, in the order in which a call's payload holds them."""
    bound: Mapping[str, bytes]
    """Encoded inputs that are the same for all calls."""
    outputs: list[str]
    """Names of the outputs; empty for none. A successful call's payload holds one value for each."""
    isolation: str
    """`reset`, `fork`, `none`, or `fresh` (a runner for each call)."""
    concurrency: int
    timeout: float | None
    """Seconds an attempt may take; None for no limit."""
    env: Mapping[str, str]
    """Environment variables of the calls, applied around each."""
    secrets: Mapping[str, str]
    """Environment variables that hold secrets: redacted from all output."""
    options: Mapping[str, Any]
    """`alias` (serve union and flytekit), `origin` (the user's root folder), `cwd` (in the bundle), ..."""

    def pack(self) -> bytes:
        """Encode; the same definition always gives the same bytes."""
        body: bytes = msgpack.packb(list(self), unicode_errors="surrogatepass")
        return body

    @classmethod
    def unpack(cls, body: bytes) -> Definition:
        """Read what `pack` made.

        Raises:
            FrameFault: Not msgpack, or not of a definition's shape.
        """
        try:
            raw = msgpack.unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")
            if not isinstance(raw, list):
                raise TypeError(f"expected an array, got {type(raw).__name__}")
            return cls._make(raw)
        except (ValueError, TypeError, msgpack.UnpackException) as fault:
            raise FrameFault(f"a definition that cannot be read: {fault}") from fault


def digest_of(body: bytes) -> bytes:
    """The name of a packed definition on the wire: 16 bytes."""
    return hashlib.sha256(body).digest()[:16]


class Outcomes(NamedTuple):
    """How a batch of calls of one node ended, in columns; the hub keeps the packed form verbatim as one row.

    Call k's payload is `payload[ends[k-1] : ends[k]]`: its outputs' values one after the other if it succeeded, else
    one packed failure.
    """

    items: Items
    attempts: Attempts
    statuses: bytes
    """One `Status` each; a single byte if all are equal."""
    ends: bytes
    """Little-endian u32 each; their count is the batch's."""
    payload: bytes
    base_us: int
    """Wall clock of the batch, microseconds since the epoch, which `started` is measured from."""
    started: bytes
    """Little-endian u32 each: microseconds after `base_us`."""
    durations: bytes
    """Little-endian u32 each: microseconds that the call took, without reset."""
    extras: Mapping[int, Mapping[str, Any]]
    """What only some calls have, by position in the batch: `log`, `warnings`, `leaks`, `blobs`, ..."""
    cache: list[Mapping[str, Any]]
    """Actor cache telemetry of the batch: `loader, key, hits, misses, waits, load_ms, bytes, ...`."""

    def pack(self) -> bytes:
        """Encode as a `Result`'s body."""
        body: bytes = msgpack.packb(list(self), unicode_errors="surrogatepass")
        return body

    @classmethod
    def unpack(cls, body: bytes) -> Outcomes:
        """Read a `Result`'s body and check that its columns agree.

        Raises:
            FrameFault: Not msgpack, or columns that no batch can have.
        """
        try:
            raw = msgpack.unpackb(body, strict_map_key=False, unicode_errors="surrogatepass")
            if not isinstance(raw, list):
                raise TypeError(f"expected an array, got {type(raw).__name__}")
            outcomes = cls._make(raw)
            _check(outcomes)
        except (ValueError, TypeError, msgpack.UnpackException) as fault:
            raise FrameFault(f"a result's body cannot be read: {fault}") from fault
        return outcomes

    @property
    def size(self) -> int:
        """Calls in the batch."""
        return len(self.ends) // 4

    def item_list(self) -> Sequence[int]:
        """The items' numbers, one for each call."""
        return range(self.items, self.items + self.size) if isinstance(self.items, int) else self.items

    def attempt_list(self) -> Sequence[int]:
        """The attempts' numbers, one for each call."""
        return [self.attempts] * self.size if isinstance(self.attempts, int) else self.attempts

    def status_list(self) -> bytes:
        """The statuses, one byte for each call."""
        return self.statuses * self.size if len(self.statuses) == 1 else self.statuses

    def payloads(self) -> Iterator[bytes]:
        """Each call's payload, in order."""
        start = 0
        for end in memoryview(self.ends).cast("I"):
            yield self.payload[start:end]
            start = end

    def payload_of(self, position: int) -> bytes:
        """The payload of the call at `position` in the batch."""
        ends = memoryview(self.ends).cast("I")
        return self.payload[ends[position - 1] if position else 0 : ends[position]]


_LARGEST_BATCH: Final = 1 << 20
_COLUMNS: Final = (
    (int, list), (int, list), (bytes,), (bytes,), (bytes,), (int,), (bytes,), (bytes,), (dict,), (list,)
)  # fmt: skip
_STATUSES: Final = bytes(Status)
_NUMBERS: Final = frozenset({int})
_MAPS: Final = frozenset({dict})


def _check(outcomes: Outcomes) -> None:
    """Refuse columns that do not fit together: whoever reads them later relies on it."""
    for name, column, expected in zip(outcomes._fields, outcomes, _COLUMNS, strict=True):
        if type(column) not in expected:
            raise ValueError(f"{name} must be {expected[-1].__name__}, got {type(column).__name__}")
    n = outcomes.size
    if not 0 < n <= _LARGEST_BATCH or len(outcomes.ends) % 4:
        raise ValueError(f"{n} outcomes in a batch")
    lengths = {
        "items": n if isinstance(outcomes.items, int) else len(outcomes.items),
        "attempts": n if isinstance(outcomes.attempts, int) else len(outcomes.attempts),
        "statuses": n if len(outcomes.statuses) == 1 else len(outcomes.statuses),
        "started": len(outcomes.started) / 4,
        "durations": len(outcomes.durations) / 4,
    }
    for name, length in lengths.items():
        if length != n:
            raise ValueError(f"{name} holds {length:g} of {n} outcomes")
    if outcomes.statuses.translate(None, _STATUSES):
        raise ValueError("statuses hold one that is unknown")
    _check_numbers(outcomes)
    ends = memoryview(outcomes.ends).cast("I").tolist()
    if ends[-1] != len(outcomes.payload) or ends != sorted(ends):
        raise ValueError("the payloads do not follow each other to the end")
    if not _NUMBERS.issuperset(map(type, outcomes.extras)) or not _MAPS.issuperset(map(type, outcomes.extras.values())):
        raise ValueError("extras must be maps by position")
    if (wrong := maps(outcomes.cache)) is not None:
        raise ValueError(f"cache {wrong}")


def _check_numbers(outcomes: Outcomes) -> None:
    for name, numbers in (("items", outcomes.items), ("attempts", outcomes.attempts)):
        told = [numbers] if isinstance(numbers, int) else numbers
        if not _NUMBERS.issuperset(map(type, told)) or min(told) < 0:
            raise ValueError(f"{name} must be numbers from 0")
    if isinstance(outcomes.items, list) and len(set(outcomes.items)) != len(outcomes.items):
        raise ValueError("an item has two outcomes in one batch")
