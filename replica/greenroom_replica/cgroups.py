"""Limits by control groups, version 1 or 2, where this process may make groups below its own."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import Final

_ROOT: Final = "/sys/fs/cgroup"


@cache
def _homes() -> dict[str, str]:
    """The folder of this process's own group, for each controller that can be used; empty where there is none."""
    homes: dict[str, str] = {}
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return homes
    for line in lines:
        _, names, path = line.split(":", 2)
        if names:
            for name in names.split(","):
                home = f"{_ROOT}/{name}{path}".rstrip("/")
                if name in ("memory", "pids") and os.access(home, os.W_OK):
                    homes[name] = home
        else:
            homes.update(_unified(f"{_ROOT}{path}".rstrip("/")))
    return homes


def _unified(home: str) -> dict[str, str]:
    """Version 2: only controllers that the group already hands on to its children."""
    try:
        with open(f"{home}/cgroup.subtree_control") as file:
            handed_on = file.read().split()
    except OSError:
        return {}
    return {name: home for name in ("memory", "pids") if name in handed_on and os.access(home, os.W_OK)}


class ControlGroup:
    """The groups of one runner."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = folders
        self.limits_memory = "memory" in folders
        self.limits_pids = "pids" in folders

    @classmethod
    def make(cls, name: str, memory: int | None, pids: int | None) -> ControlGroup | None:
        """Make groups with these limits; None where nothing can be limited so."""
        folders: dict[str, str] = {}
        for controller, limit in (("memory", memory), ("pids", pids)):
            home = _homes().get(controller)
            if limit and home:
                folder = f"{home}/{name}"
                with contextlib.suppress(OSError):
                    os.makedirs(folder, exist_ok=True)
                    if _limit(folder, controller, limit):
                        folders[controller] = folder
                    else:
                        os.rmdir(folder)
        return cls(folders) if folders else None

    def add(self, pid: int) -> bool:
        """Put a process in; what it forks from now on is in as well."""
        try:
            for folder in self._folders.values():
                _write(f"{folder}/cgroup.procs", str(pid))
        except OSError:
            self.remove()
            return False
        return True

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed something in here."""
        folder = self._folders.get("memory")
        if folder is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(f"{folder}/{name}") as file:
                    counts = dict(line.split() for line in file.read().splitlines())
            except (OSError, ValueError):
                continue
            return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """Remove the groups, if what was in them has ended; otherwise the zygote does, once it has."""
        for folder in self._folders.values():
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def group_name(replica: str, runner: int) -> str:
    """What a runner's groups are called."""
    return f"{_PREFIX}{replica}.{runner}"


def remove_left(replica: str | None = None) -> bool:
    """Remove groups that nobody is in any more: a replica's, or those of all replicas that ever were.

    Returns:
        Whether none is left.
    """
    prefix = _PREFIX if replica is None else f"{_PREFIX}{replica}."
    is_clean = True
    for home in set(_homes().values()):
        try:
            names = [name for name in os.listdir(home) if name.startswith(prefix)]
        except OSError:
            continue
        for name in names:
            try:
                os.rmdir(f"{home}/{name}")
            except FileNotFoundError:
                continue
            except OSError:  # Something in it is still ending, or lives.
                is_clean = False
    return is_clean


_PREFIX: Final = "greenroom-"


def own_oom_kills() -> int:
    """How often the kernel has killed something in this process's own group for lack of memory.

    In a container that is the container; elsewhere it may be more than this replica.
    """
    for folder in _own_folders():
        for name in ("memory.events", "memory.oom_control"):
            try:
                with open(f"{folder}/{name}") as file:
                    counts = dict(line.split() for line in file.read().splitlines())
                return int(counts["oom_kill"])
            except (OSError, ValueError, KeyError):
                continue
    return 0


def _own_folders() -> list[str]:
    """Where the own group's files may be: a container sees its group as the root, whatever its path is called."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = [line.split(":", 2) for line in file.read().splitlines()]
    except OSError:
        return []
    paths = {("memory" if "memory" in names.split(",") else names): path for _, names, path in lines}
    found = []
    if "memory" in paths:
        found += [f"{_ROOT}/memory{paths['memory']}", f"{_ROOT}/memory"]
    if "" in paths:
        found += [f"{_ROOT}{paths['']}", _ROOT]
    return [folder.rstrip("/") for folder in found]


def _limit(folder: str, controller: str, limit: int) -> bool:
    files = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}[controller]
    for name in files:
        try:
            _write(f"{folder}/{name}", str(limit))
        except OSError:
            continue
        for swap, value in (("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", str(limit))):
            if controller == "memory" and os.path.exists(f"{folder}/{swap}"):
                with contextlib.suppress(OSError):
                    _write(f"{folder}/{swap}", value)
        return True
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
