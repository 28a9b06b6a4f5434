"""What this machine has for replicas: cores and memory from control groups and affinity, gpus from their driver."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from greenroom_hub.core.ledger import Capacity

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class BadCapacity(ValueError):
    """A capacity setting that cannot be read."""

    def __init__(self, text: str, part: str) -> None:
        super().__init__(text, part)
        self.text, self.part = text, part

    def __str__(self) -> str:
        return f"capacity {self.text!r}: cannot read {self.part!r}; expected something like cpu=8,mem=32Gi,gpu=1"


def measure(setting: str = "") -> Capacity:
    """What replicas may use together: the setting's parts, the machine's where it is silent.

    Raises:
        BadCapacity: The setting cannot be read.
    """
    told = _read_setting(setting)
    return Capacity(
        cpu=told.get("cpu", _cores()),
        memory=int(told.get("mem", _memory())),
        gpu=int(told["gpu"]) if "gpu" in told else _gpus(),
        devices=_devices(),
    )


def _read_setting(setting: str) -> dict[str, float]:
    told: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in setting.split(","))):
        match = re.fullmatch(r"(cpu|mem|gpu)=([0-9.]+)([a-zA-Z]*)", part)
        unit = match[3].lower().removesuffix("b") if match else ""
        if match is None or unit not in _UNITS or (match[1] != "mem" and unit):
            raise BadCapacity(setting, part)
        told[match[1]] = float(match[2]) * _UNITS[unit]
    return told


def _cores() -> float:
    cores = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 1)
    quota = _cpu_quota()
    return min(cores, quota) if quota else cores


def _cpu_quota() -> float | None:
    """Cores by the tightest quota of the own control group and those above it; None without one."""
    quotas = []
    for folder in _groups("", _ROOT):
        told = (_read(folder / "cpu.max") or "max").split()
        if len(told) == 2 and told[0].isdigit():
            quotas.append(int(told[0]) / int(told[1]))
    for folder in _groups("cpu", _ROOT / "cpu"):
        quota_us, period_us = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota_us and period_us and int(quota_us) > 0:
            quotas.append(int(quota_us) / int(period_us))
    return min(quotas, default=None)


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read(folder / "memory.max") for folder in _groups("", _ROOT)]
    limits += [_read(folder / "memory.limit_in_bytes") for folder in _groups("memory", _ROOT / "memory")]
    return min([total, *(int(limit) for limit in limits if limit and limit.isdigit())])


_ROOT: Final = Path("/sys/fs/cgroup")


def _groups(controller: str, root: Path) -> list[Path]:
    """The own control group's folder and those of all groups above: each one's limits hold.

    A container sees its own group as the root, whatever its path is called outside; the root is always among them.
    """
    group = root / _own_group(controller)
    return [group, *(above for above in group.parents if above == root or root in above.parents)]


def _own_group(controller: str) -> str:
    """The control group that this process is in, relative to its controller's root."""
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.strip("/")
    return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _devices() -> tuple[str, ...]:
    """The gpus that the hub itself was given; empty where it may use all."""
    return tuple(filter(None, (name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))))


def _gpus() -> int:
    """Gpus of this machine, less those that the hub's own environment hides."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return min(len(_devices()), _gpus_of_driver())
    return _gpus_of_driver()


def _gpus_of_driver() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(1 for line in told.stdout.splitlines() if line.startswith("GPU "))
