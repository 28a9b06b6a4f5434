"""Whether this process may be forked: which library owns each thread that Python did not make.

A forked child has only the thread that forked. A library whose worker threads are gone, but who believes that it
still has them, waits for them for ever (OpenMP under scikit-learn and LightGBM, onnxruntime's pools). Some libraries
know about forks and are let pass.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from bisect import bisect_right
from typing import Final

_FORK_SAFE: Final = ("openblas", "libarrow", "jemalloc")
"""Parts of file or thread names. OpenBLAS and Arrow start their pools anew in a child, jemalloc its helper."""

_NOT_OWNERS: Final = ("libc.so", "libc-", "libpthread", "ld-linux", "libstdc++", "libgcc", "libm.so", "[", "libpython")
"""What every thread's stack shows, whoever made it."""

_STACK: Final = 16_384
"""Bytes of a thread's stack that are looked at: a waiting worker's own frames lie near the top."""

_PAUSES: Final = (0.002,) * 20 + (0.02,) * 20
"""Seconds between looks at a running thread. OpenBLAS's spin for 30 ms of processor time before they sleep, which takes
longer where others want the processor too."""


def why_not_fork() -> str | None:
    """The reason for which a fork of this process is unsafe, naming the library; None if it is safe."""
    cuda = _cuda()
    if cuda:
        return cuda
    threads = [int(name) for name in _tasks()]
    if len(threads) == 1:
        return None
    known = {thread.native_id for thread in threading.enumerate()} | {os.getpid()}
    for tid in threads:
        if tid not in known:
            owner = owner_of(tid)
            if owner and not any(name in owner for name in _FORK_SAFE):
                return f"{owner} runs threads of its own here, which a forked child would wait for without end"
    return None


def owner_of(tid: int) -> str:
    """The library whose code a thread of this process runs, by file name; empty if the thread has gone."""
    try:
        with open(f"/proc/self/task/{tid}/comm") as file:
            name = file.read().strip()
        if any(part in name for part in _FORK_SAFE):
            return name
        fields = _where(tid)
    except OSError:
        return ""
    if len(fields) < 3:
        return f"a running thread ({name})"  # Who owns it cannot be seen.
    stack = _read_memory(int(fields[-2], 16), _STACK)
    return _first_library(stack) or f"an unknown library's thread ({name})"


def _where(tid: int) -> list[str]:
    """What a thread waits in, and its stack pointer; `running` if it goes on running. A pool soon falls asleep."""
    fields: list[str] = []
    for pause in _PAUSES:
        with open(f"/proc/self/task/{tid}/syscall") as file:
            fields = file.read().split()
        if len(fields) >= 3:
            break
        time.sleep(pause)
    return fields


def _tasks() -> list[str]:
    try:
        return os.listdir("/proc/self/task")
    except OSError:
        return [str(os.getpid())]


def _cuda() -> str | None:
    """CUDA's state does not survive a fork; torch says whether it was begun."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and getattr(cuda, "is_initialized", bool)():
        return "CUDA is in use here (torch), and does not survive a fork"
    return None


def _read_memory(address: int, size: int) -> memoryview:
    fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, size, address)
    except OSError:  # The stack ends sooner than that.
        try:
            data = os.pread(fd, 4096 - address % 4096, address)
        except OSError:
            data = b""
    finally:
        os.close(fd)
    return memoryview(data[: len(data) // 8 * 8]).cast("Q")


def _first_library(words: memoryview) -> str | None:
    starts, ends, names = _code_segments()
    for word in words:
        index = bisect_right(starts, word) - 1
        if index >= 0 and word < ends[index] and not any(part in names[index] for part in _NOT_OWNERS):
            return names[index]
    return None


def _code_segments() -> tuple[list[int], list[int], list[str]]:
    starts, ends, names = [], [], []
    with open("/proc/self/maps") as file:
        for line in file:
            fields = line.split(None, 5)
            if "x" in fields[1] and len(fields) > 5:
                start, _, end = fields[0].partition("-")
                starts.append(int(start, 16))
                ends.append(int(end, 16))
                names.append(os.path.basename(fields[5].strip()))
    return starts, ends, names
