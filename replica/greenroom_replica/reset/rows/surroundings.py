"""Where the process stands: folder, umask, locale, decimal context, limits, affinity, priority."""

from __future__ import annotations

import _locale
import locale
import os
import resource
import sys
from typing import Any

from greenroom_replica.reset.rows.base import Fields, Row, RowFailure
from greenroom_replica.reset.tripwires import Tripwires


class Files(Row):
    """The working folder and the umask."""

    name = "cwd"

    def __init__(self) -> None:
        super().__init__()
        self._folder: str | None = None
        self._mask = 0

    def read(self) -> Fields:
        mask = os.umask(0)
        os.umask(mask)
        return {"cwd": _folder(), "umask": mask}

    def use(self, base: Fields) -> None:
        super().use(base)
        self._folder, self._mask = base["cwd"], base["umask"]

    def quick(self) -> bool:
        mask = os.umask(self._mask)
        if mask != self._mask:
            os.umask(mask)  # Left for `write`, so that it is named.
            return False
        try:
            return os.getcwd() == self._folder
        except OSError:
            return self._folder is None

    def write(self, base: Fields) -> None:
        os.umask(base["umask"])
        if base["cwd"] is not None:
            try:
                os.chdir(base["cwd"])
            except OSError as error:
                raise RowFailure(
                    f"the working folder {base['cwd']} cannot be entered again: {error.strerror}"
                ) from error
        self.use(base)


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
    """The decimal context of the main thread, in place: programs keep a name for it."""

    name = "decimal context"

    def _context(self) -> Any:
        module = sys.modules.get("decimal")
        return module.getcontext() if module is not None else None

    def read(self) -> Fields:
        context = self._context()
        if context is None:
            return {}
        traps = {signal: bool(on) for signal, on in context.traps.items()}
        flags = {signal: bool(on) for signal, on in context.flags.items()}
        plain = (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp)
        return {"decimal context": plain, "decimal traps": traps, "flags": flags, "object": context}

    def use(self, base: Fields) -> None:
        super().use(base)
        self._object, self._plain = base.get("object"), base.get("decimal context")
        if self._object is not None:
            # A copy compares its traps and flags at C speed, a dict does not.
            self._copy = self._object.copy()
            self._copy.clear_flags()
            for signal in (signal for signal, on in base["flags"].items() if on):
                self._copy.flags[signal] = True
            for signal, on in base["decimal traps"].items():
                self._copy.traps[signal] = on

    def quick(self) -> bool:
        if not self.base:
            return True  # Not imported yet; an import brings its base with it.
        context: Any = sys.modules["decimal"].getcontext()
        return (
            context is self._object
            and (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp)
            == self._plain
            and context.traps == self._copy.traps
            and context.flags == self._copy.flags
        )

    def differs(self) -> list[str]:
        return [name for name in super().differs() if name != "flags"]  # Any rounding sets a flag.

    def write(self, base: Fields) -> None:
        self.use(base)
        if not base:
            return
        context = base["object"]
        context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp = base[
            "decimal context"
        ]
        for signal, on in base["decimal traps"].items():
            context.traps[signal] = on
        for signal, on in base["flags"].items():
            context.flags[signal] = on
        sys.modules["decimal"].setcontext(context)


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
