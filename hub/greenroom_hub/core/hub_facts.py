"""Facts that belong to no execution: which pools there are, and when the hub started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from greenroom_core.program import Environment, Interpreter, Resources
from greenroom_core.values import pack, unpack
from greenroom_core.wire import WireFault, from_wire, to_wire
from greenroom_hub.core.pool import Wish

HUB_STREAM: Final = "hub"


def pool_stream(key: str) -> str:
    """The stream of a pool's facts."""
    return f"pool:{key}"


@dataclass(frozen=True, slots=True)
class PoolDefined:
    """A pool exists, or what its last execution wished has changed."""

    KIND: ClassVar[int] = 50
    key: str
    project: str
    environment: Environment
    interpreter: Interpreter | None
    asks: Resources
    slots: int
    wish: Wish


@dataclass(frozen=True, slots=True)
class HubStarted:
    """A hub took over this log."""

    KIND: ClassVar[int] = 51
    epoch: int
    version: str = ""


HubFact: TypeAlias = PoolDefined | HubStarted
_KINDS: Final = {PoolDefined.KIND: PoolDefined, HubStarted.KIND: HubStarted}


def pack_hub_fact(fact: HubFact) -> bytes:
    """The bytes that the fact's row holds."""
    return pack(to_wire(fact))


def unpack_hub_fact(kind: int, data: bytes) -> HubFact:
    """Read a row.

    Raises:
        WireFault: Of a kind that this version does not know.
    """
    cls = _KINDS.get(kind)
    if cls is None:
        raise WireFault(f"a hub's fact of unknown kind {kind}: written by a newer version?")
    fact: HubFact = from_wire(cls, unpack(data), cls.__name__)
    return fact
