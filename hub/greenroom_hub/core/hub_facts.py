"""Facts that belong to no execution: pools, registered entities and their schedules, and when the hub started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from greenroom_core.program import Environment, Interpreter, Resources
from greenroom_core.values import pack, unpack
from greenroom_core.wire import WireFault, from_wire, to_wire
from greenroom_hub.core import plan_facts as p
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


HubFact: TypeAlias = PoolDefined | HubStarted | p.PlanFact
HUB_FACTS: Final = (
    PoolDefined,
    HubStarted,
    p.EntityRegistered,
    p.PlanActivated,
    p.PlanDeactivated,
    p.PlanFired,
    p.PlanSkipped,
    p.PlanFailed,
    p.PlanKept,
    p.NoticeDue,
    p.ArtifactKept,
)
HUB_KINDS: Final[dict[int, type[HubFact]]] = {cls.KIND: cls for cls in HUB_FACTS}
"""Facts of no execution, by the number that their rows carry."""


def pack_hub_fact(fact: HubFact) -> bytes:
    """The bytes that the fact's row holds."""
    return pack(to_wire(fact))


def unpack_hub_fact(kind: int, data: bytes) -> HubFact:
    """Read a row.

    Raises:
        WireFault: Of a kind that this version does not know.
    """
    cls = HUB_KINDS.get(kind)
    if cls is None:
        raise WireFault(f"a hub's fact of unknown kind {kind}: written by a newer version?")
    return from_wire(cls, unpack(data), cls.__name__)
