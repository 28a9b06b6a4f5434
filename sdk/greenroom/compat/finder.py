"""Serve `union` and `flytekit` by Greenroom: a finder in front of all others, and modules that look names up late."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from opcode import opmap
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from greenroom.compat.names import (
    DIRECTORY_FORMATS,
    EXACT,
    FORMATS,
    KNOWN,
    MODULES,
    OTHERS,
    PASSED_ON,
    TOPS,
    VERSIONS,
    home_of,
    remedy_for,
)

if TYPE_CHECKING:
    from importlib.abc import Loader as _Loader
else:
    _Loader = object  # The import system wants methods, no class; that module costs a start 10 ms.

_IMPORT_FROM: Final = opmap["IMPORT_FROM"]


class AliasModule(ModuleType):
    """A module of theirs; its names are looked up when they are first used."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return public_names(self.__name__)
        value = _version(self.__name__) if name == "__version__" else self._find(name)
        self.__dict__[name] = value
        return value

    def _find(self, name: str) -> Any:
        if KNOWN.has(self.__name__, name):
            return served(self.__name__, name)
        imported = _imported(self.__name__, name)
        if imported is not None:
            return imported
        if not name.startswith("_") and KNOWN.is_module(f"{self.__name__}.{name}"):
            return importlib.import_module(f"{self.__name__}.{name}")
        raise _unknown(self.__name__, name)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *KNOWN.names(self.__name__)})


def _version(module: str) -> str:
    return VERSIONS.get(module.partition(".")[0], VERSIONS["flytekit"])


def served(module: str, name: str) -> Any:
    """What `name` of `module` is here: ours, or a placeholder that says what to write instead."""
    from greenroom.compat.placeholder import stand_in

    nothing = (module, name) in OTHERS or module.partition(".")[0] in ("flytekitplugins", "flyte")
    if name in PASSED_ON and not nothing:
        return importlib.import_module(PASSED_ON[name])
    if module in MODULES:
        found = getattr(importlib.import_module(MODULES[module]), name, None)
    else:
        found = None if nothing else ours(EXACT.get((module, name), name))
    return stand_in(module, name, remedy_for(module, name)) if found is None else found


def _imported(module: str, name: str) -> Any:
    """What a module of theirs has because it imports it itself: what is served elsewhere under this name."""
    if module.count(".") < 1 or not module.startswith("flytekit.") or not KNOWN.is_theirs(name):
        return None
    return ours(name)


def ours(name: str) -> Any:
    """Our object for a name of theirs; None if there is none."""
    for formats, cls in ((FORMATS, "FlyteFile"), (DIRECTORY_FORMATS, "FlyteDirectory")):
        if name in formats:
            base = ours(cls)
            return None if base is None else base[formats[name]]
    home, own = home_of(name)
    try:
        module = importlib.import_module(home)
    except ModuleNotFoundError as fault:
        if fault.name is not None and home.startswith(fault.name):
            return None  # A part of Greenroom that this installation lacks.
        raise
    return getattr(module, own, None)


def public_names(module: str) -> list[str]:
    """What `from module import *` gives: what is really served; not `map` of flytekit, which would hide Python's."""
    from greenroom.compat.placeholder import Placeholder

    names = [name for name in sorted(KNOWN.names(module)) if not (name == "map" and module == "flytekit")]
    return [name for name in names if not isinstance(served(module, name), Placeholder)]


def _unknown(module: str, name: str) -> Exception:
    """What is raised for a name that even the real package does not have."""
    text = f"module {module!r}, which Greenroom serves here, has no {name!r}"
    if not name.startswith("_"):
        from difflib import get_close_matches

        near = get_close_matches(name, KNOWN.names(module), 2)
        text += f"; did you mean {' or '.join(near)}?" if near else "; --no-alias uses the installed package instead"
        caller = sys._getframe(3)  # `from module import name` would put a text of its own over an AttributeError.
        if caller.f_lasti >= 0 and caller.f_code.co_code[caller.f_lasti] == _IMPORT_FROM:
            return ImportError(text, name=module)
    return AttributeError(text, name=name)


class AliasFinder(_Loader):
    """Finds and loads modules of theirs; in front of all other finders, so that installed ones are not looked at."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if it is one of theirs."""
        if fullname.partition(".")[0] not in TOPS:
            return None
        if not KNOWN.is_module(fullname):
            raise ModuleNotFoundError(
                f"No module named {fullname!r} in what Greenroom serves for it; --no-alias uses the installed package",
                name=fullname,
            )
        return ModuleSpec(fullname, self, origin=__file__, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        module = AliasModule(spec.name, f"{spec.name}, served by Greenroom.")
        module.__file__ = __file__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run: names come when they are used."""

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        """For `importlib.metadata.version("flytekit")`, where the real package is not installed."""
        name = getattr(context, "name", None)
        if not isinstance(name, str) or name not in VERSIONS or any(_installed(name)):
            return ()
        from greenroom.compat.distribution import AliasDistribution

        return (AliasDistribution(name, VERSIONS[name]),)


def _installed(name: str) -> Iterable[Any]:
    from importlib.metadata import DistributionFinder, MetadataPathFinder

    return MetadataPathFinder.find_distributions(DistributionFinder.Context(name=name))


class LastFinder(_Loader):
    """Finds `flyte` (Flyte 2) where it is not installed, so that a file may mention it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module, if nobody else has it."""
        top = fullname.partition(".")[0]
        if top != "flyte" or (fullname != top and not isinstance(sys.modules.get(top), AliasModule)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        return AliasModule(spec.name, f"{spec.name}: not part of Greenroom.")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


FIRST: Final = AliasFinder()
LAST: Final = LastFinder()
_hidden: dict[str, ModuleType] = {}


def _is_theirs(name: str) -> bool:
    return name.partition(".")[0] in TOPS


def install() -> None:
    """From here on `union`, `unionai`, `flytekit` and `flytekitplugins` are Greenroom's, also if they are installed.

    Idempotent. Real ones that were imported before are put aside; who holds one of their objects keeps it.
    """
    for name in [name for name in sys.modules if _is_theirs(name)]:
        if not isinstance(sys.modules[name], AliasModule):
            _hidden[name] = sys.modules.pop(name)
    if FIRST in sys.meta_path:
        sys.meta_path.remove(FIRST)
    sys.meta_path.insert(0, FIRST)
    if LAST not in sys.meta_path:
        sys.meta_path.append(LAST)


def uninstall() -> None:
    """Undo `install`."""
    for finder in (FIRST, LAST):
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
    for name in [name for name, module in sys.modules.items() if isinstance(module, AliasModule)]:
        del sys.modules[name]
    sys.modules.update(_hidden)
    _hidden.clear()


def is_installed() -> bool:
    """Whether the alias is in force in this process."""
    return FIRST in sys.meta_path
