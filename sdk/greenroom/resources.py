"""What a replica needs: cores, memory, GPUs, disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

from greenroom.definition_errors import BadAmount
from greenroom.quantities import Size, cores, count, size
from greenroom_core.program import Resources as Plain

if TYPE_CHECKING:
    from greenroom.accelerators import BaseAccelerator

Amount: TypeAlias = Size | tuple[Size, Size] | list[Size]
"""An amount, or a pair of request and limit (for `resources=`)."""

_READERS = {"cpu": cores, "mem": size, "gpu": count, "ephemeral_storage": size}


@dataclass(frozen=True)
class Resources:
    """Amounts of what one replica (of a plain task: one call) needs; None for no wish, which counts as nothing.

    Attributes:
        cpu: Cores: `2`, `0.5`, `"500m"`.
        mem: Memory: bytes, or text like `"300Mi"`.
        gpu: Whole GPUs.
        ephemeral_storage: Disk: bytes, or text like `"10Gi"`.

    In `resources=` alone, an amount may be a pair of request and limit: `Resources(cpu=("1", "2"))`.
    """

    cpu: Amount | None = None
    mem: Amount | None = None
    gpu: Amount | None = None
    ephemeral_storage: Amount | None = None

    def __post_init__(self) -> None:
        for name, reader in _READERS.items():
            value = getattr(self, name)
            if isinstance(value, (tuple, list)):
                if len(value) != 2:
                    raise BadAmount(f"Resources({name}=)", value, "one amount, or a pair of request and limit")
                low, high = (reader(part, f"Resources({name}=)") for part in value)
                if low > high:
                    raise BadAmount(f"Resources({name}=)", value, "a request that is no larger than its limit")
            elif value is not None:
                reader(value, f"Resources({name}=)")

    def pairs(self) -> bool:
        """Whether any amount is a pair of request and limit."""
        return any(isinstance(getattr(self, field.name), (tuple, list)) for field in fields(self))

    def split(self) -> tuple[Resources, Resources]:
        """Requests and limits, of resources whose amounts may be pairs; a single amount is the request."""
        parts: list[dict[str, Size]] = [{}, {}]
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (tuple, list)):
                parts[0][field.name], parts[1][field.name] = value
            elif value is not None:
                parts[0][field.name] = value
        return Resources(**parts[0]), Resources(**parts[1])

    def __str__(self) -> str:
        shown = [f"{name}={getattr(self, name)}" for name in _READERS if getattr(self, name) is not None]
        return " ".join(shown) or "nothing"


def plain(resources: Resources | None, accelerator: BaseAccelerator | None = None) -> Plain:
    """Resources in plain units, as programs carry them. An accelerator without a GPU count asks for one."""
    given = resources or Resources()
    gpu = _read("gpu", given.gpu)
    if accelerator is not None and gpu is None:
        gpu = 1
    return Plain(
        cpu=_read("cpu", given.cpu),
        memory=None if (memory := _read("mem", given.mem)) is None else int(memory),
        gpu=None if gpu is None else int(gpu),
        disk=None if (disk := _read("ephemeral_storage", given.ephemeral_storage)) is None else int(disk),
        accelerator=None if accelerator is None else str(accelerator),
    )


def _read(name: str, value: Amount | None) -> float | None:
    if value is None:
        return None
    request = value[0] if isinstance(value, (tuple, list)) else value
    return _READERS[name](request, f"Resources({name}=)")
