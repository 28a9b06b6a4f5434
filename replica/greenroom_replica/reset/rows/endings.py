"""What happens at a process's end or behind its back: atexit callbacks, faulthandler, event loops."""

from __future__ import annotations

import atexit
import faulthandler
import sys
from collections.abc import Callable
from typing import Any

from greenroom_replica.reset.objects import space_of
from greenroom_replica.reset.rows.base import Fields, Row
from greenroom_replica.reset.tripwires import Tripwires
from greenroom_replica.reset.usercode import Territory

Callback = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Exits:
    """Callbacks for ``atexit`` that calls register: run at the end of their call, last first, as a process's end would.

    One that a library registers for itself, or that an import registers, waits for the process's end. One that a loader
    registers waits for the eviction of its entry.
    """

    def __init__(self, territory: Territory) -> None:
        self._territory = territory
        self._register = atexit.register
        self.pending: list[Callback] = []
        """Registered by user code in a call, to be run after it."""
        self.noting = False
        """Whether a call is running, and no import inside it."""

    def install(self) -> None:
        """Note who registers what."""

        def register(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
            if self.noting and self._territory.owns_space(sys._getframe(1).f_globals):
                self.pending.append((func, args, kwargs))
                return func
            return self._register(func, *args, **kwargs)

        self._unregister = atexit.unregister

        def unregister(func: Callable[..., Any], /) -> None:
            self.pending[:] = [item for item in self.pending if item[0] != func]
            self._unregister(func)

        for function, name in ((register, "register"), (unregister, "unregister")):
            function.__name__ = function.__qualname__ = name
            function.__module__ = "atexit"
        atexit.register, atexit.unregister = register, unregister

    def uninstall(self) -> None:
        """Put the functions back."""
        atexit.register, atexit.unregister = self._register, self._unregister

    def run(self, callbacks: list[Callback] | None = None) -> list[str]:
        """Run callbacks, last first; return a sentence for each that raised."""
        pending = self.pending if callbacks is None else callbacks
        failures = []
        while pending:
            func, args, kwargs = pending.pop()
            try:
                func(*args, **kwargs)
            except BaseException as error:
                name = getattr(func, "__qualname__", type(func).__qualname__)
                failures.append(f"the atexit callback {name} raised {type(error).__name__}: {_text(error)}")
        return failures


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its __str__ raises)"


class Faults(Row):
    """Whether ``faulthandler`` is on; a traceback that a call had scheduled is cancelled."""

    name = "faulthandler"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        tripwires.lay_all((faulthandler,), "dump_traceback_later enable disable", self.name)
        self._enable = tripwires.plain(faulthandler, "enable")
        self._disable = tripwires.plain(faulthandler, "disable")

    def read(self) -> Fields:
        return {"faulthandler": faulthandler.is_enabled()}

    def differs(self) -> list[str]:
        faulthandler.cancel_dump_traceback_later()
        return super().differs()

    def write(self, base: Fields) -> None:
        if faulthandler.is_enabled() is not base["faulthandler"]:
            try:
                (self._enable if base["faulthandler"] else self._disable)()
            except (OSError, ValueError, RuntimeError):
                pass  # No usable stderr: nothing to write tracebacks to.
        self.use(base)


class Loops(Row):
    """The event loop policy, and the loop that the main thread would get."""

    name = "event loop policy"

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []
        """Loops that belong to cache entries."""

    def _policy(self) -> Any:
        events = sys.modules.get("asyncio.events")
        return getattr(events, "_event_loop_policy", None)

    def read(self) -> Fields:
        policy = self._policy()
        local = getattr(policy, "_local", None)
        return {
            "event loop policy": policy,
            "event loop": getattr(local, "_loop", None),
            "event loop set": bool(getattr(local, "_set_called", False)),
        }

    def quick(self) -> bool:
        return not super().differs()

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        events = sys.modules.get("asyncio.events")
        local = getattr(self._policy(), "_local", None)
        found = (vars(events) if events is not None else None, space_of(local) if local is not None else None)
        return [space for space in found if space is not None]

    def differs(self) -> list[str]:
        # asyncio.run makes a policy, and leaves the main thread without a loop: that is how it is used.
        names = super().differs()
        made_by_use = self.base["event loop policy"] is None and type(self._policy()).__module__.startswith("asyncio.")
        return [] if made_by_use else [name for name in names if name != "event loop set"]

    def write(self, base: Fields) -> None:
        left = self.read()["event loop"]
        self.use(base)
        events = sys.modules.get("asyncio.events")
        if events is not None and self._policy() is not base["event loop policy"]:
            events._event_loop_policy = base["event loop policy"]  # type: ignore[attr-defined]
        local = getattr(base["event loop policy"], "_local", None)
        if local is not None:
            local._loop, local._set_called = base["event loop"], base["event loop set"]
        if left is None or left is base["event loop"] or any(left is loop for loop in self.kept):
            return
        if not left.is_running() and not left.is_closed():
            left.close()
