"""What the actor cache asks about memory: of the process, and of GPUs. Small ports, so that tests can stand in."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from types import CellType, FrameType
from typing import Any, Final, Protocol

from greenroom_replica import procfs

NOISE: Final = 1 << 20
"""Bytes below which a difference of the process's memory says nothing about one load."""

VERIFIED: Final = 32 << 20
"""Bytes from which on it is checked that an entry's memory came back."""


class ProcessMemory(Protocol):
    """The memory of this process."""

    def used(self) -> int:
        """Bytes that it has taken and that no file backs; 0 where nobody can tell."""

    def give_back(self) -> None:
        """Collect garbage, and return freed memory to the system."""


class GpuMemory(Protocol):
    """The GPU memory of this process."""

    def used(self) -> int | None:
        """Bytes that it has taken on all GPUs; None where nobody can tell."""

    def give_back(self) -> None:
        """Return what libraries keep for later."""


class OwnMemory:
    """The real one."""

    def __init__(self) -> None:
        self._trim: Callable[[int], int] | None = None
        self._looked = False

    def used(self) -> int:
        """As /proc says; 0 where there is none."""
        return procfs.own_memory(os.getpid())

    def give_back(self) -> None:
        """By `malloc_trim`, where the C library has one."""
        gc.collect()
        if not self._looked:
            self._looked = True
            self._trim = _malloc_trim()
        if self._trim is not None:
            self._trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    import ctypes  # Late: most replicas never need it.

    try:
        trim: Any = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    found: Callable[[int], int] = trim
    return found


class OwnGpuMemory:
    """Asks torch where it is loaded and uses a GPU; else the driver's own tool, where there is a driver."""

    def __init__(self) -> None:
        self._tool: str | None = None
        if os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg"):
            self._tool = shutil.which("nvidia-smi")

    def used(self) -> int | None:
        """Bytes that tensors take, or that the driver counts for this process."""
        cuda = _cuda()
        if cuda is not None:
            return sum(int(cuda.memory_allocated(device)) for device in range(cuda.device_count()))
        return self._ask_driver() if self._tool is not None else None

    def give_back(self) -> None:
        """Empty torch's cache."""
        cuda = _cuda()
        if cuda is not None:
            cuda.empty_cache()

    def _ask_driver(self) -> int | None:
        query = [str(self._tool), "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            self._tool = None  # It will not work the next time either.
            return None
        total = 0
        for line in done.stdout.splitlines():
            pid, _, mebibytes = line.partition(",")
            if pid.strip() == str(os.getpid()) and mebibytes.strip().isdigit():
                total += int(mebibytes) << 20
        return total


def _cuda() -> Any:
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def ran_out(fault: BaseException) -> str | None:
    """`memory` or `gpu memory`, if that is what an error is about."""
    if isinstance(fault, MemoryError):
        return "memory"
    kind = type(fault)
    library = kind.__module__.partition(".")[0]
    if kind.__name__ == "OutOfMemoryError" and library in ("torch", "cupy", "cupy_backends"):
        return "gpu memory"
    text = str(fault)
    if isinstance(fault, RuntimeError) and ("CUDA out of memory" in text or "CUDA_ERROR_OUT_OF_MEMORY" in text):
        return "gpu memory"
    if library in ("jaxlib", "jax", "tensorflow") and "RESOURCE_EXHAUSTED" in text:
        return "gpu memory"
    return None


def holder_of(thing: Any) -> str:
    """Who still refers to an object that should be gone, as well as one can say it; empty where nobody is seen."""
    kind = ""
    for other in gc.get_referrers(thing):
        if isinstance(other, dict) and "__name__" in other and "__builtins__" in other:
            for name, value in other.items():
                if value is thing:
                    return f"{other['__name__']}.{name}"
        elif not isinstance(other, FrameType):
            kind = kind or ("a closure" if isinstance(other, CellType) else f"a {type(other).__qualname__}")
    return kind
