"""Which entries a bundle sees: those of equal code and equal files, with their objects in the bundle's own classes."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from greenroom.caching import Epoch, current
from greenroom.caching.entry import Entry, Group
from greenroom.caching.store import Store
from greenroom_replica.cache_files import BundleView, fits
from greenroom_replica.migration import CannotRebind, rebind_instances

if TYPE_CHECKING:
    from greenroom.digest import Digester


class BundledStore(Store):
    """A store whose loaders come from several bundles, one of them active at a time."""

    bundle: BundleView | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._class_hexes: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
        """Digests of the user's classes, taken while they were those of the active bundle."""
        self._volatile: set[tuple[str, str]] = set()

    @property
    def digester(self) -> Digester:
        """The active bundle's."""
        return self.bundle.digester if self.bundle is not None else super().digester

    def switch_bundle(self, bundle: BundleView | None) -> None:
        """The runner has activated another bundle: from now on its code's entries are seen.

        An entry stays visible where the loader's digest is the same in both, and so are the files that its load opened;
        its objects get the classes of the new bundle when it is first asked for. What is not visible to the new bundle
        is kept for the old one.
        """
        self.bundle = bundle
        if bundle is not None:
            bundle.digester.volatile = self._volatile
        self.epoch = Epoch()
        if current.store is self:
            current.epoch = self.epoch

    def forget_bundle(self, id: str) -> None:
        """A bundle no longer lives in this runner: entries that only it could see go."""
        with self._lock:
            for key, group in list(self._groups.items()):
                group.seen_by.discard(id)
                if group.seen_by:
                    continue
                for entry in [*group.entries.values(), *group.hidden]:
                    self._retire(entry, "bundle gone")
                if not group.flights:
                    del self._groups[key]
        self._flush()

    def show(self, group: Group) -> None:
        """Let the active bundle see what it may; each entry is looked at closely when it is asked for."""
        bundle = self.bundle
        candidates = [*group.hidden, *group.entries.values()]
        group.entries.clear()
        group.hidden.clear()
        group.bundle = bundle
        candidates.sort(key=lambda entry: (entry.bundle is bundle, entry.tick))
        for entry in candidates:
            if bundle is not None and not self._may_see(entry, bundle):
                group.hidden.append(entry)
                continue
            entry.plain = entry.bundle is bundle and entry.deadline is None and entry.mark is None
            try:
                self._rebind(objects_in(entry.key))
                before = group.entries.get(entry.key)
                group.entries[entry.key] = entry
            except Exception:  # Keys that cannot be compared, or whose classes have changed.
                group.hidden.append(entry)
                continue
            if before is not None:
                group.hidden.append(before)

    def adopt(self, entry: Entry) -> bool:
        """Give an entry's objects the classes of the active bundle; hide it where that cannot be."""
        bundle = self.bundle
        try:
            self._rebind([entry.value])
        except CannotRebind:
            if bundle is not None:
                entry.verdicts[bundle.id] = False
            entry.group.remove(entry)
            entry.group.hidden.append(entry)
            return False
        entry.bundle = bundle
        entry.plain = entry.deadline is None and entry.mark is None
        return True

    def changed_files(self, entry: Entry) -> list[str]:
        """Files that keep the active bundle from an entry of the same key which another bundle has."""
        bundle = self.bundle
        found: set[str] = set()
        for other in entry.group.hidden if bundle is not None else ():
            try:
                same = other.key == entry.key
            except Exception:  # Keys that compare by the user's code, which fails.
                continue
            if same and bundle is not None:
                found.update(name for name, state in other.files.items() if bundle.state(name) != state)
        return [f"{name} changed" for name in sorted(found)]

    @staticmethod
    def _may_see(entry: Entry, bundle: BundleView) -> bool:
        """Whether a bundle may see an entry, as far as its code, its files and earlier attempts tell."""
        if entry.bundle is bundle:
            return True
        return entry.verdicts.get(bundle.id) is not False and fits(entry.files, bundle)

    def _rebind(self, roots: Iterable[Any]) -> None:
        rebind_instances(roots, self._successor, is_current=self._is_current)

    def _successor(self, cls: type) -> type | None:
        """The active bundle's class of that name, if it does what the given one did."""
        digester = self.digester
        if not digester.is_user_class(cls) and cls not in self._class_hexes:
            return cls
        found = _found(cls.__module__, cls.__qualname__)
        if found is cls or (found is None and "<locals>" in cls.__qualname__ and _module_lives(cls)):
            return cls
        before = self._class_hexes.get(cls)
        if before is None or not isinstance(found, type) or digester.digest(found).hex != before:
            return None
        self._class_hexes[found] = before
        return found

    def _is_current(self, function: FunctionType) -> bool:
        """Whether a function's code is what the active bundle has under its name."""
        module = sys.modules.get(function.__globals__.get("__name__", ""))
        if module is None or vars(module) is function.__globals__:
            return True  # It lives, or it is nobody's that could have been edited.
        if not self.digester.is_user(module.__name__, getattr(module, "__file__", None)):
            return True
        code = _code_like(function.__code__, vars(module))
        from greenroom.digest.bytecode import facts_of_code

        return code is not None and facts_of_code(code).text == facts_of_code(function.__code__).text

    def note_classes(self, classes: Iterable[type]) -> None:
        """Remember what the active bundle's classes do, to compare with when another is active."""
        for cls in classes:
            if cls not in self._class_hexes:
                self._class_hexes[cls] = self.digester.digest(cls).hex


def objects_in(key: Any) -> list[Any]:
    """The objects that a key holds to compare them."""
    return [side.value for side in getattr(key, "sides", ())]


def _found(module: str, qualname: str) -> Any:
    at: Any = sys.modules.get(module)
    for name in qualname.split("."):
        at = getattr(at, name, None)
    return at


def _module_lives(cls: type) -> bool:
    """Whether the module that made a class inside a function is the one that goes by its name now."""
    module = sys.modules.get(cls.__module__)
    spaces = [value.__globals__ for value in vars(cls).values() if isinstance(value, FunctionType)]
    return module is not None and bool(spaces) and all(space is vars(module) for space in spaces)


def _code_like(code: CodeType, names: Mapping[str, Any]) -> CodeType | None:
    """The code of the same qualified name in a module."""
    found: Any = names.get(code.co_qualname.partition(".")[0])
    while callable(getattr(found, "__wrapped__", None)):
        found = found.__wrapped__
    for name in code.co_qualname.split(".")[1:]:
        if isinstance(found, type):
            found = vars(found).get(name)
            found = getattr(found, "__func__", found)
        else:
            break
    start = getattr(found, "__code__", None)
    pending = [start] if isinstance(start, CodeType) else []
    while pending:
        one = pending.pop()
        if one.co_qualname == code.co_qualname:
            return one
        pending.extend(constant for constant in one.co_consts if isinstance(constant, CodeType))
    return None
