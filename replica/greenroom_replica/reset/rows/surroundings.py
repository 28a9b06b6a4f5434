"""Where the process stands: folder, umask, locale, decimal context, limits, affinity, priority."""

from __future__ import annotations

import _locale
import decimal  # Here and not when user code does: what it keeps must be known before any call.
import locale
import os
import posix
import resource
from typing import Any

from greenroom_replica.reset.images import Word, object_heads
from greenroom_replica.reset.rows.base import Fields, Row, RowFailure, same
from greenroom_replica.reset.tripwires import Tripwires


class Files(Row):
    """The working folder and the umask: asked only when a function that sets them was called."""

    name = "cwd"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        tripwires.lay_all((os, posix), "chdir fchdir umask", self.name)
        self._set_mask = tripwires.plain(os, "umask")
        self._enter = tripwires.plain(os, "chdir")

    def read(self) -> Fields:
        mask = self._set_mask(0)
        self._set_mask(mask)
        return {"cwd": _folder(), "umask": mask}

    def write(self, base: Fields) -> None:
        self.use(base)
        self._set_mask(base["umask"])
        if base["cwd"] is not None:
            try:
                self._enter(base["cwd"])
            except OSError as error:
                raise RowFailure(
                    f"the working folder {base['cwd']} cannot be entered again: {error.strerror}"
                ) from error


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


class Locale(Row):
    """The C library's locale."""

    name = "locale"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        tripwires.lay(_locale, "setlocale", self.name)
        tripwires.lay(locale, "_setlocale", self.name)
        self._set = tripwires.plain(_locale, "setlocale")

    def read(self) -> Fields:
        return {"locale": self._set(_locale.LC_ALL)}

    def write(self, base: Fields) -> None:
        self._set(_locale.LC_ALL, base["locale"])
        self.use(base)


class Decimal(Row):
    """The decimal context of the main thread, and those that new ones are copied from: in place, by their own names."""

    name = "decimal context"

    def __init__(self) -> None:
        super().__init__()
        self.held: Any = None
        self.current = decimal.getcontext

    def _contexts(self) -> dict[str, Any]:
        shared = {f"decimal.{name}": getattr(decimal, name) for name in _SHARED_CONTEXTS}
        return {self.name: decimal.getcontext(), **shared}

    def read(self) -> Fields:
        fields: Fields = {}
        for name, context in self._contexts().items():
            plain = (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp)
            traps = {signal: bool(on) for signal, on in context.traps.items()}
            flags = {signal: bool(on) for signal, on in context.flags.items()}
            fields |= {name: plain, f"{name} traps": traps, f"{name} flags": flags, f"{name} object": context}
        return fields

    def use(self, base: Fields) -> None:
        super().use(base)
        self.held = base.get(f"{self.name} object")

    def quick(self) -> bool:
        return self.held is None or self.current() is self.held

    def heads(self) -> list[Word]:
        """See `Watched.heads`: a context keeps all that it is in itself."""
        heads = [object_heads(context) for name, context in self.base.items() if name.endswith(" object")]
        return [head for found in heads for head in found] if all(heads) else []

    def body(self) -> None:
        """See `Watched.body`."""

    def changed(self) -> bool:
        """See `Watched.changed`."""
        return any(not same(value, self.base.get(name)) for name, value in self.read().items())

    @property
    def row(self) -> Row:
        """The row to ask when its memory moved: itself."""
        return self

    def differs(self) -> list[str]:
        return [name for name in super().differs() if not name.endswith(" flags")]  # Any rounding sets a flag.

    def write(self, base: Fields) -> None:
        self.use(base)
        for name in [name for name in base if f"{name} object" in base]:
            context = base[f"{name} object"]
            context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp = base[name]
            context.traps.update(base[f"{name} traps"])
            context.flags.update(base[f"{name} flags"])
        if base:
            decimal.setcontext(self.held)


_SHARED_CONTEXTS = ("DefaultContext", "BasicContext", "ExtendedContext")


class Limits(Row):
    """Resource limits, processor affinity and priority: asked only when a function that sets them was called."""

    name = "limits"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        for module, name in ((resource, "setrlimit"), (resource, "prlimit"), (os, "sched_setaffinity"), (os, "nice")):
            tripwires.lay(module, name, self.name)
        tripwires.lay(os, "setpriority", self.name)
        self._set_limit = tripwires.plain(resource, "setrlimit")
        self._set_affinity = tripwires.plain(os, "sched_setaffinity")
        self._set_priority = tripwires.plain(os, "setpriority")
        self._kinds = {name: kind for name, kind in vars(resource).items() if name.startswith("RLIMIT_")}

    def read(self) -> Fields:
        fields: Fields = {name: resource.getrlimit(kind) for name, kind in self._kinds.items()}
        if hasattr(os, "sched_getaffinity"):
            fields["processor affinity"] = frozenset(os.sched_getaffinity(0))
        fields["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
        return fields

    def write(self, base: Fields) -> None:
        self.use(base)
        now = self.read()
        for name in [name for name, value in base.items() if now.get(name) != value]:
            try:
                if name in self._kinds:
                    self._set_limit(self._kinds[name], base[name])
                elif name == "nice":
                    self._set_priority(os.PRIO_PROCESS, 0, base[name])
                else:
                    self._set_affinity(0, base[name])
            except (OSError, ValueError) as error:
                raise RowFailure(f"{name} was {base[name]}, is {now[name]} and cannot be set back: {error}") from error
