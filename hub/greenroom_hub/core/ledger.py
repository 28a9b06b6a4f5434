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
    devices: tuple[str, ...] = ()
    """Names of the gpus, as their driver takes them in `CUDA_VISIBLE_DEVICES`; empty for `0`, `1`, ..."""

    def gpus(self) -> tuple[str, ...]:
        """The names of all gpus."""
        return self.devices[: self.gpu] or tuple(str(number) for number in range(self.gpu))

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
        self._gpus: dict[str, tuple[str, ...]] = {}
        """By replica: the devices that are its alone."""

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

    def take(self, replica: str, asks: Resources, gpus: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Promise resources to a replica; the gpus that are its own from now on.

        Args:
            replica: Its id.
            asks: What it is promised.
            gpus: Those that it has already, where it was started by an earlier hub.
        """
        self._taken[replica] = asks
        if gpus is None:
            given = {name for names in self._gpus.values() for name in names}
            gpus = tuple(name for name in self.capacity.gpus() if name not in given)[: asks.gpu or 0]
        if gpus:
            self._gpus[replica] = gpus
        return gpus

    def give_back(self, replica: str) -> None:
        """A replica has ended."""
        self._taken.pop(replica, None)
        self._gpus.pop(replica, None)

    def holders(self, lacking: str) -> list[str]:
        """Replicas that were promised some of what is lacking (`gpu=1`, `cpu=2`, `mem=...`)."""
        word = lacking.split("=")[0]
        field = {"gpu": "gpu", "cpu": "cpu", "mem": "memory"}[word]
        return [replica for replica, taken in self._taken.items() if getattr(taken, field)]
