"""What one machine has, and who uses it: cores, memory and gpus that replicas are started against."""

from __future__ import annotations

from dataclasses import dataclass, replace

from greenroom_core.program import Resources


@dataclass(frozen=True, slots=True)
class Capacity:
    """What all replicas of one launcher can use together."""

    cpu: float
    memory: int
    gpu: int = 0

    def __str__(self) -> str:
        gpus = f", gpu={self.gpu}" if self.gpu else ""
        return f"cpu={self.cpu:g}, mem={show_bytes(self.memory)}{gpus}"


def show_bytes(size: float) -> str:
    """`1536 * 2**20` as `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size != int(size) else f"{int(size)} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def show(asks: Resources) -> str:
    """Resources as a person writes them."""
    parts = [
        f"cpu={asks.cpu:g}" if asks.cpu else "",
        f"mem={show_bytes(asks.memory)}" if asks.memory else "",
        f"gpu={asks.gpu}" if asks.gpu else "",
    ]
    return ", ".join(part for part in parts if part) or "nothing"


class Ledger:
    """Counts what launched replicas were promised. A request that is not made counts as nothing."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._taken: dict[str, Resources] = {}

    def cut(self, asks: Resources) -> Resources:
        """What of a request this machine can ever give."""
        most = self.capacity
        return replace(
            asks,
            cpu=None if asks.cpu is None else min(asks.cpu, most.cpu),
            memory=None if asks.memory is None else min(asks.memory, most.memory),
            gpu=None if asks.gpu is None else min(asks.gpu, most.gpu),
        )

    def ever_fits(self, asks: Resources) -> bool:
        """Whether an empty machine could give it."""
        return self.cut(asks) == asks

    def lacking(self, asks: Resources) -> str | None:
        """What there is not enough of now, in words; None if the request fits."""
        free_cpu = self.capacity.cpu - sum(taken.cpu or 0 for taken in self._taken.values())
        free_memory = self.capacity.memory - sum(taken.memory or 0 for taken in self._taken.values())
        free_gpu = self.capacity.gpu - sum(taken.gpu or 0 for taken in self._taken.values())
        if (asks.gpu or 0) > free_gpu:
            return f"gpu={asks.gpu}"
        if (asks.cpu or 0) > free_cpu + 1e-9:
            return f"cpu={asks.cpu:g}"
        if (asks.memory or 0) > free_memory:
            return f"mem={show_bytes(asks.memory or 0)}"
        return None

    def take(self, replica: str, asks: Resources) -> None:
        """Promise resources to a replica."""
        self._taken[replica] = asks

    def give_back(self, replica: str) -> None:
        """A replica has ended."""
        self._taken.pop(replica, None)

    def holders(self, lacking: str) -> list[str]:
        """Replicas that were promised some of what is lacking (`gpu=1`, `cpu=2`, `mem=...`)."""
        word = lacking.split("=")[0]
        field = {"gpu": "gpu", "cpu": "cpu", "mem": "memory"}[word]
        return [replica for replica, taken in self._taken.items() if getattr(taken, field)]
