"""What /proc tells about processes: their memory, their time, their children. Never raises for one that has gone."""

from __future__ import annotations

import os
from collections.abc import Iterator

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""
    finally:
        os.close(fd)


def rss(pid: int) -> int:
    """Resident bytes; 0 if the process has gone."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE if len(fields) > 1 else 0


def own_memory(pid: int) -> int:
    """Resident bytes that are not backed by files: what a process itself has taken, shared with its parent or not."""
    fields = _read(f"/proc/{pid}/statm").split()
    return (int(fields[1]) - int(fields[2])) * PAGE if len(fields) > 2 else 0


def status(pid: int, *names: str) -> dict[str, int]:
    """Figures of /proc/PID/status by name (`VmData`, `VmHWM`, ...), bytes; those that are missing are left out."""
    found = {}
    for line in _read(f"/proc/{pid}/status").decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in names and value.split():
            found[name] = int(value.split()[0]) * 1024
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it has reaped."""
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15]) / TICK if len(fields) > 15 else 0.0


def parent(pid: int) -> int:
    """Its parent's pid; 0 if it has gone."""
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else 0


def is_zombie(pid: int) -> bool:
    """Whether it has ended and waits to be reaped (or has gone)."""
    fields = _stat(pid)
    return not fields or fields[0] in (b"Z", b"X")


def is_stopped(pid: int) -> bool:
    """Whether it was stopped by a signal."""
    return _stat(pid)[:1] == [b"T"]


def tracer(pid: int) -> int:
    """Pid of who traces it; 0 if nobody does."""
    found = [line for line in _read(f"/proc/{pid}/status").splitlines() if line.startswith(b"TracerPid:")]
    return int(found[0].split()[1]) if found else 0


def is_without(pid: int, name: str) -> bool:
    """Whether it lives, and maps no file of this name."""
    try:
        with open(f"/proc/{pid}/maps") as file:
            lines = file.readlines()
    except OSError:
        return False
    return bool(lines) and not any(name in line for line in lines)


def command(pid: int) -> bytes:
    """Its command line; empty if it has gone."""
    return _read(f"/proc/{pid}/cmdline")


def threads(pid: int) -> int:
    """How many threads it has; 0 if it has gone."""
    fields = _stat(pid)
    return int(fields[17]) if len(fields) > 17 else 0


def _stat(pid: int) -> list[bytes]:
    text = _read(f"/proc/{pid}/stat")
    return text[text.rfind(b")") + 2 :].split()  # The name before may hold spaces and brackets.


def children(pid: int) -> list[int]:
    """Pids of its children, of all its threads."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        found.extend(int(child) for child in _read(f"/proc/{pid}/task/{task}/children").split())
    return found


def descendants(pid: int) -> Iterator[int]:
    """Pids of all that come from it, parents before children."""
    waiting = children(pid)
    while waiting:
        child = waiting.pop()
        yield child
        waiting.extend(children(child))


def signal(pid: int, number: int) -> bool:
    """Signal a process if it is there; whether it was."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
