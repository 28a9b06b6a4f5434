"""A time limit around code that runs in this process, as a replica has one around its calls."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greenroom.context import CallCancelled

TIMED_OUT = "timed out"


class OutOfTime(CallCancelled):
    """The time of a call is over."""

    def __init__(self, reason: str = TIMED_OUT) -> None:
        super().__init__(reason)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Interrupt the block with `OutOfTime` when its time is over.

    In the main thread a signal ends sleeps and system calls too; in other threads Python code is interrupted alone.
    """
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _by_signal(seconds):
            yield
    else:
        with _by_exception(seconds):
            yield


def _interrupt(signum: int, frame: Any) -> None:
    raise OutOfTime


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _interrupt)
    begun = time.monotonic()
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:  # Somebody else's alarm, perhaps that of the call around this one, goes on.
            left = max(outer - (time.monotonic() - begun), 1e-6)
            signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def _by_exception(seconds: float) -> Iterator[None]:
    thread, lock = threading.get_ident(), threading.Lock()
    over = False

    def interrupt() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(OutOfTime))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:  # From here on no exception can come any more.
            over = True
        timer.cancel()
