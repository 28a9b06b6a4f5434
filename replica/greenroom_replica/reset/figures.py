"""Figures of what calls leave in the process: descriptors, memory, names that they patched in libraries."""

from __future__ import annotations

import os
import sys
from time import perf_counter
from types import FunctionType, MethodType, ModuleType
from typing import Any

from greenroom_replica.reset.images import LAYOUT, Word, dict_heads
from greenroom_replica.reset.report import Report
from greenroom_replica.reset.usercode import Territory, is_standard

_PAGE = os.sysconf("SC_PAGE_SIZE")

FEW_DESCRIPTORS = 16
"""So many more open descriptors are no leak: pools of connections, files that a library keeps open."""


def count_descriptors() -> int:
    """Count the open descriptors; -1 where the platform does not tell."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return -1


def resident_bytes() -> int:
    """Measure the resident memory; 0 where the platform does not tell."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 128).split()[1]) * _PAGE
    finally:
        os.close(descriptor)


class Patches:
    """Looks for functions and classes of user code that were put in place of a library's.

    Only values that user code defined count, so that what libraries do to each other and to themselves is never told.
    """

    def __init__(self, territory: Territory) -> None:
        self._territory = territory
        self._known: set[tuple[str, str]] = set()
        self._left: list[tuple[str, ModuleType]] = []
        self._looked: dict[str, tuple[dict[str, Any], Word, bytes]] = {}
        """Namespaces that were looked through, with their versions then: what has stayed as it was is passed over."""

    def find(self, seconds: float) -> list[str]:
        """Name what is patched and was not before: ``json.dumps (now flow.fake)``.

        Looks for `seconds` at most, and goes on from there the next time: a big program has 30,000 names.
        """
        found: list[str] = []
        deadline = perf_counter() + seconds
        if not self._left:
            self._left = list(sys.modules.items())
        while self._left and perf_counter() < deadline:
            module_name, module = self._left.pop()
            if type(module) is not ModuleType or module_name in self._territory.names:
                continue
            space = vars(module)
            if self._is_as_it_was(module_name, space):
                continue
            if self._territory.owns_space(space) or module_name in ("__main__", "__mp_main__"):
                continue
            for name, value in list(space.items()):
                kind = type(value)
                if (
                    not (kind is FunctionType or kind is type or kind is MethodType)
                    or (module_name, name) in self._known
                ):
                    continue
                owns = self._territory.owns_function if kind is FunctionType else self._territory.owns_callable
                if not owns(value) or (value.__name__ == name and not is_standard(module_name)):
                    continue  # A third-party module that imports the user's function by its name patches nothing.
                self._known.add((module_name, name))
                found.append(f"{module_name}.{name} (now {value.__module__}.{value.__qualname__})")
        return found

    def _is_as_it_was(self, name: str, space: dict[str, Any]) -> bool:
        """Tell whether a namespace was looked through and has not changed since; false where no version says so."""
        if not LAYOUT.versions:
            return False
        looked = self._looked.get(name)
        if looked is None or looked[0] is not space:
            version = dict_heads(space)[0]
            self._looked[name] = (space, version, version.tobytes())
            return False
        version = looked[1]
        if version.tobytes() == looked[2]:
            return True
        self._looked[name] = (space, version, version.tobytes())
        return False


class Descriptors:
    """Counts descriptors, and tells of growth in steps."""

    def __init__(self) -> None:
        self._told = count_descriptors()

    def more(self, owned: int) -> int:
        """Count how many more are open than were when last told, beyond what entries own; 0 for few."""
        now = count_descriptors() - owned
        if now - self._told < FEW_DESCRIPTORS:
            return 0
        grown, self._told = now - self._told, now
        return grown


class Figures:
    """What is counted of a runner, and told where it grows."""

    def __init__(self, territory: Territory) -> None:
        self._descriptors = Descriptors()
        self._patches = Patches(territory)
        self._resident = resident_bytes()

    def count(self, owned: int) -> Report | None:
        """Count descriptors only, for calls too short to pay for more."""
        report = Report()
        self._tell_descriptors(report, owned)
        return report if report else None

    def look(self, report: Report, taken: float, owned: int) -> int:
        """Count what is left open and patched; return by how many bytes the process grew.

        Args:
            report: Where to tell.
            taken: Seconds of the call; a hundredth of it is spent on patches.
            owned: Descriptors that belong to cache entries.
        """
        self._tell_descriptors(report, owned)
        patched = self._patches.find(taken / 100)
        if patched:
            report.leaks["patched"] = len(patched)
            report.sentences.append(
                f"the call patched libraries, which stays for later calls: {', '.join(patched[:5])}"
            )
        now = resident_bytes()
        grown, self._resident = now - self._resident, now
        return max(0, grown)

    def _tell_descriptors(self, report: Report, owned: int) -> None:
        more = self._descriptors.more(owned)
        if more:
            report.leaks["descriptors"] = more
            report.sentences.append(
                f"{more} more descriptors are open than before: files or sockets that calls did not close"
            )
