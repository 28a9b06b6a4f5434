"""What Linux offers and Python does not name: subreapers, memory files, holes, descriptors out of the way."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import sys
import tempfile
from typing import Any, Final

from greenroom_replica.procfs import status

LINUX: Final = sys.platform.startswith("linux")

_libc: Any = ctypes.CDLL(None, use_errno=True)
_SET_PDEATHSIG, _SET_NAME, _SET_SUBREAPER = 1, 15, 36
_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02


def become_subreaper() -> None:
    """Adopt orphaned descendants instead of losing them to init."""
    if LINUX:
        _libc.prctl(_SET_SUBREAPER, 1, 0, 0, 0)


def be_first_to_go() -> None:
    """Where memory runs out, the kernel takes this process rather than those that tell of it."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def let_go_on(pid: int, signal_number: int) -> None:
    """Have a stopped child go on: it has stopped itself, or has asked its parent to trace it, which nobody does here.

    Args:
        pid: The child, just told as stopped by `wait`.
        signal_number: What stopped it. A traced one has not got it yet, and does now.
    """
    if LINUX:
        delivered = 0 if signal_number in _STOPPING else signal_number
        _libc.ptrace(_DETACH, pid, ctypes.c_void_p(0), ctypes.c_void_p(delivered))  # Fails where it is not traced.
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGCONT)


_DETACH: Final = 17
_STOPPING: Final = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTRAP)


def set_name(name: str) -> None:
    """The process's name in `ps` and `top`, at most 15 bytes."""
    if LINUX:
        _libc.prctl(_SET_NAME, name.encode()[:15], 0, 0, 0)


def memory_file(name: str, size: int = 0) -> int:
    """A file in memory that lives as long as its descriptors; on other systems an unlinked temporary one."""
    if LINUX:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp()
        os.unlink(path)
    if size:
        os.ftruncate(fd, size)
    return fd


def punch(fd: int, start: int, end: int) -> None:
    """Give back the memory of a memory file between two offsets; what lies there reads as zeros after."""
    start, end = -(-start // 4096) * 4096, end // 4096 * 4096
    if LINUX and end > start:
        _libc.fallocate(fd, _KEEP_SIZE_PUNCH_HOLE, ctypes.c_longlong(start), ctypes.c_longlong(end - start))


def bound_memory(pid: int, limit: int) -> None:
    """Have the kernel refuse a process what goes far beyond its memory limit, where no control group counts for it.

    What is mapped counts here, not what is held: stacks of threads, buffers of libraries that are never filled. So the
    bound leaves room above the limit, which itself is kept by looking; in between two looks nobody fills the machine.
    """
    if LINUX:
        with contextlib.suppress(OSError, ValueError):  # It has gone, or has a lower bound already.
            mapped = status(pid, "VmData").get("VmData", 0)
            bound = mapped + limit + max(limit // 2, _MAPPED_ONLY)
            resource.prlimit(pid, resource.RLIMIT_DATA, (bound, bound))


_MAPPED_ONLY: Final = 256 << 20
"""Bytes that libraries map and do not fill: OpenBLAS alone takes 32 MiB a core."""


def high_base(count: int) -> int:
    """Where descriptors are out of the way of user code that closes "all": above the soft limit if that is small.

    `os.closerange(3, os.sysconf("SC_OPEN_MAX"))` and its kin stop at the soft limit. A descriptor table as large as
    the highest descriptor is copied at each fork, so it must not be huge either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= _HIGHEST and (hard == resource.RLIM_INFINITY or hard >= soft + count):
        return soft
    return min(soft, _USUAL) - count


_HIGHEST: Final = 20_000
_USUAL: Final = 4_096


def move_up(fds: list[int]) -> list[int]:
    """Move descriptors out of the way of user code; returns their new numbers, in order."""
    base = high_base(len(fds))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = base + len(fds) > soft
    if raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (base + len(fds), hard))
    try:
        moved = []
        for index, fd in enumerate(fds):
            os.dup2(fd, base + index, inheritable=False)
            os.close(fd)
            moved.append(base + index)
        return moved
    finally:
        if raised:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def die_with_peer(fd: int) -> None:
    """Have the kernel kill this process when the other end of the socket `fd`, on which nothing is said, is closed.

    It works while user code holds the interpreter, and needs no thread: SIGIO's owner and signal are ours to choose.
    """
    if LINUX:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


_F_SETSIG: Final = 10


def send_with_fds(sock: socket.socket, body: bytes, fds: list[int]) -> None:
    """Send one datagram, and descriptors with it."""
    socket.send_fds(sock, [body], fds)


def receive_with_fds(sock: socket.socket, size: int = 1 << 20, most: int = 8) -> tuple[bytes, list[int]]:
    """Receive one datagram and the descriptors that came with it, marked close-on-exec."""
    body, fds, _, _ = socket.recv_fds(sock, size, most, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    return body, list(fds)
