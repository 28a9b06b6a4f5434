"""What this machine has to offer: cores, memory, gpus."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NamedTuple


class Machine(NamedTuple):
    """What a replica offers."""

    cpu: float
    memory: int
    """Bytes."""
    gpu: int
    limit: int | None = None
    """Bytes that it may use; None where nobody said so."""

    @classmethod
    def here(cls, cpu: float | None, memory: int | None, gpu: int | None) -> Machine:
        """This machine, less what was said."""
        return cls(cpu or cores(), memory or memory_of_machine(), gpu if gpu is not None else gpus(), memory)


def gpus() -> int:
    """GPUs of this machine that its environment does not hide."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in told.stdout.splitlines() if line.startswith("GPU "))


def cores() -> float:
    """Cores that this process may use, by its affinity and its control group."""
    found = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    for told in (_words("/sys/fs/cgroup/cpu.max"), [*_words(_CFS + "quota_us"), *_words(_CFS + "period_us")]):
        if len(told) == 2 and told[0].isdigit() and told[1].isdigit():
            found = min(found, int(told[0]) / int(told[1]))
    return found


_CFS = "/sys/fs/cgroup/cpu/cpu.cfs_"


def memory_of_machine() -> int:
    """Bytes of memory that this machine, or this container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_words("/sys/fs/cgroup/memory.max"), _words("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([total, *(int(words[0]) for words in limits if words and words[0].isdigit())])


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
