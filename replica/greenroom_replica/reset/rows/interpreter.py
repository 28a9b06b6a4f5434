"""The interpreter's own state: names in ``sys`` and ``builtins``, hooks in standard modules, its switches."""

from __future__ import annotations

import _socket
import _thread
import builtins
import gc
import sys
import tempfile
import threading
from types import ModuleType
from typing import Any

from greenroom_replica.reset.rows.base import MISSING, Fields, Row
from greenroom_replica.reset.tripwires import Tripwires

_SYS_NAMES = [
    "path",
    "argv",
    "stdin",
    "stdout",
    "stderr",
    "__stdin__",
    "__stdout__",
    "__stderr__",
    "excepthook",
    "displayhook",
    "unraisablehook",
    "breakpointhook",
    "meta_path",
    "path_hooks",
    "warnoptions",
    "tracebacklimit",
    "dont_write_bytecode",
    "pycache_prefix",
]
_SYS_LISTS = ("path", "argv", "meta_path", "path_hooks")

HOOKS: dict[str, tuple[str, ...]] = {
    "threading": ("excepthook", "_trace_hook", "_profile_hook"),
    tempfile.__name__: ("tempdir",),
    "logging": ("lastResort", "raiseExceptions", "_logRecordFactory", "_loggerClass"),
    "warnings": ("showwarning", "formatwarning", "_showwarnmsg_impl", "defaultaction", "onceregistry", "filters"),
}
"""Names in standard modules that are there to be set, by bundle. What else is replaced `Libraries` sees."""

SYS_NAMES = frozenset(_SYS_NAMES)


class Names(Row):
    """Names in modules that the interpreter or every program goes through: ``sys``, and hooks of standard modules."""

    name = "sys"

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, ModuleType] = {}
        self._lists: dict[int, list[Any]] = {}

    def read(self) -> Fields:
        fields: Fields = {f"sys.{name}": vars(sys).get(name, MISSING) for name in _SYS_NAMES}
        for module_name, names in HOOKS.items():
            module = sys.modules.get(module_name)
            if module is not None:
                space = vars(module)
                fields.update((f"{module_name}.{name}", space.get(name, MISSING)) for name in names)
        for name in _SYS_LISTS:
            value = fields[f"sys.{name}"]
            fields[f"sys.{name}[:]"] = tuple(value) if type(value) is list else value
        fields["gc.callbacks[:]"] = tuple(gc.callbacks)
        return fields

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        modules = [sys, *(sys.modules[name] for name in HOOKS if name in sys.modules)]
        lists = [value for name in _SYS_LISTS if type(value := vars(sys).get(name)) is list]
        return [*map(vars, modules), *lists, gc.callbacks]

    def write(self, base: Fields) -> None:
        for field, value in base.items():
            if field.endswith("[:]"):
                continue
            module_name, _, name = field.rpartition(".")
            space = (
                vars(sys)
                if module_name == "sys"
                else vars(sys.modules[module_name])
                if module_name in sys.modules
                else {}
            )
            if value is MISSING:
                space.pop(name, None)
            elif space.get(name, MISSING) is not value:
                space[name] = value
        for name in _SYS_LISTS:
            content, target = base.get(f"sys.{name}[:]"), vars(sys).get(name)
            if type(target) is list and type(content) is tuple:
                target[:] = content
        gc.callbacks[:] = base.get("gc.callbacks[:]", ())
        self.use(base)


class Builtins(Row):
    """The names in ``builtins``.

    `heal` comes before anything else is restored, since that is written in Python too: it uses no builtin name itself.
    """

    name = "builtins"

    def __init__(self) -> None:
        super().__init__()
        self._space: dict[str, Any] = vars(builtins)
        self._kept: dict[str, Any] = {}
        self._healed: list[str] = []

    def heal(self) -> None:
        """Put back what was rebound or deleted, noting its names."""
        space, kept, missing = self._space, self._kept, MISSING
        differing = [name for name, value in kept.items() if space.get(name, missing) is not value]
        if differing:
            space.update(kept)
            self._healed += differing

    def read(self) -> Fields:
        return {f"builtins.{name}": value for name, value in self._space.items() if name != "_"}

    def use(self, base: Fields) -> None:
        super().use(base)
        self._kept = {field.partition(".")[2]: value for field, value in base.items()}
        self._healed = []

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        return [self._space]

    def differs(self) -> list[str]:
        return [*(f"builtins.{name}" for name in self._healed), *super().differs()]

    def write(self, base: Fields) -> None:
        self.use(base)
        space = self._space
        for name in [name for name in space if name not in self._kept and name != "_"]:
            del space[name]
        self.heal()
        self._healed = []


class Switches(Row):
    """The interpreter's switches: asked only when a function that sets them was called, but for debuggers' two."""

    name = "interpreter"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        names = "setrecursionlimit setswitchinterval set_int_max_str_digits setdlopenflags set_asyncgen_hooks"
        tripwires.lay_all((sys,), f"{names} set_coroutine_origin_tracking_depth", self.name)
        tripwires.lay_all((gc,), "enable disable set_threshold set_debug", self.name)
        tripwires.lay_all((_socket, *_loaded("socket")), "setdefaulttimeout", self.name)
        tripwires.lay_all((threading, _thread), "stack_size", self.name)
        self._plain = tripwires.plain
        self.trace: object = None
        self.profile: object = None

    def read(self) -> Fields:
        return {
            "sys.settrace": sys.gettrace(),
            "sys.setprofile": sys.getprofile(),
            "recursion limit": sys.getrecursionlimit(),
            "switch interval": sys.getswitchinterval(),
            "int digits limit": sys.get_int_max_str_digits(),
            "dlopen flags": sys.getdlopenflags(),
            "async generator hooks": tuple(sys.get_asyncgen_hooks()),
            "coroutine origin tracking": sys.get_coroutine_origin_tracking_depth(),
            "gc.isenabled": gc.isenabled(),
            "gc thresholds": gc.get_threshold(),
            "gc debug flags": gc.get_debug(),
            "socket default timeout": _socket.getdefaulttimeout(),
            "thread stack size": self._plain(_thread, "stack_size")(),
        }

    def use(self, base: Fields) -> None:
        super().use(base)
        self.trace, self.profile = base["sys.settrace"], base["sys.setprofile"]

    def quick(self) -> bool:
        return sys.gettrace() is self.trace and sys.getprofile() is self.profile

    def write(self, base: Fields) -> None:
        self.use(base)
        if sys.gettrace() is not self.trace:
            sys.settrace(base["sys.settrace"])
        if sys.getprofile() is not self.profile:
            sys.setprofile(base["sys.setprofile"])
        set_plainly = self._plain
        set_plainly(sys, "setrecursionlimit")(base["recursion limit"])
        set_plainly(sys, "setswitchinterval")(base["switch interval"])
        set_plainly(sys, "set_int_max_str_digits")(base["int digits limit"])
        set_plainly(sys, "setdlopenflags")(base["dlopen flags"])
        first, last = base["async generator hooks"]
        set_plainly(sys, "set_asyncgen_hooks")(firstiter=first, finalizer=last)
        set_plainly(sys, "set_coroutine_origin_tracking_depth")(base["coroutine origin tracking"])
        set_plainly(gc, "enable" if base["gc.isenabled"] else "disable")()
        set_plainly(gc, "set_threshold")(*base["gc thresholds"])
        set_plainly(gc, "set_debug")(base["gc debug flags"])
        set_plainly(_socket, "setdefaulttimeout")(base["socket default timeout"])
        set_plainly(_thread, "stack_size")(base["thread stack size"])


def _loaded(name: str) -> tuple[ModuleType, ...]:
    return (sys.modules[name],) if name in sys.modules else ()
