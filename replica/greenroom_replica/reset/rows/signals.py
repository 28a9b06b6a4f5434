"""Signal handlers, the signal mask, interval timers, the wake-up descriptor."""

from __future__ import annotations

import signal
import sys
from typing import Any

from greenroom_replica.reset.rows.base import Fields, Row
from greenroom_replica.reset.tripwires import Tripwires

_signal: Any = sys.modules["_signal"]  # Where the functions of `signal` look things up; it has no types.

_TIMERS = {
    name: getattr(_signal, name) for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF") if hasattr(_signal, name)
}


class Signals(Row):
    """Asked only when one of the functions that change them was called.

    A timer is no part of what is right: one that a call left running is stopped.
    """

    name = "signals"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        for name in ("signal", "pthread_sigmask"):
            tripwires.lay(_signal, name, self.name)  # The functions of `signal` look these up there.
        for name in ("setitimer", "alarm", "set_wakeup_fd", "siginterrupt"):
            for module in (_signal, signal):
                tripwires.lay(module, name, self.name)
        self._set = tripwires.plain(_signal, "signal")
        self._set_mask = tripwires.plain(_signal, "pthread_sigmask")
        self._set_timer = tripwires.plain(_signal, "setitimer")
        self._set_wakeup = tripwires.plain(_signal, "set_wakeup_fd")

    def read(self) -> Fields:
        fields: Fields = {_signal_name(number): _signal.getsignal(number) for number in _signal.valid_signals()}
        fields["signal mask"] = frozenset(self._set_mask(_signal.SIG_BLOCK, ()))
        for name, which in _TIMERS.items():
            fields[name] = any(_signal.getitimer(which))
        return fields

    def use(self, base: Fields) -> None:
        super().use({**base, **dict.fromkeys(_TIMERS, False)})

    def differs(self) -> list[str]:
        wakeup = self._set_wakeup(-1)
        if wakeup != -1:
            self._set_wakeup(wakeup, warn_on_full_buffer=False)
        return [
            *super().differs(),
            *(["signal wake-up descriptor"] if wakeup != -1 and not self._is_loops(wakeup) else []),
        ]

    def _is_loops(self, descriptor: int) -> bool:
        """Tell whether the descriptor belongs to an event loop that is running: a runner's own, with coroutines."""
        import asyncio

        loop: Any = asyncio._get_running_loop()
        sock = getattr(loop, "_csock", None)
        return sock is not None and sock.fileno() == descriptor

    def write(self, base: Fields) -> None:
        for which in _TIMERS.values():
            if any(_signal.getitimer(which)):
                self._set_timer(which, 0)
        for number in _signal.valid_signals():
            handler = base.get(_signal_name(number))
            if handler is not None and _signal.getsignal(number) is not handler:
                self._set(number, handler)
        self._set_mask(_signal.SIG_SETMASK, base["signal mask"])
        wakeup = self._set_wakeup(-1)
        if wakeup != -1 and self._is_loops(wakeup):
            self._set_wakeup(wakeup, warn_on_full_buffer=False)
        self.use(base)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {int(number)}"
