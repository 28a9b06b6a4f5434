"""One function under `@actor_cache`: its options, its identity, and how its arguments become a key."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from greenroom.caching import current, current_store
from greenroom.caching.view import MISS, Ask, View, finder, quick_key

if TYPE_CHECKING:
    from greenroom.caching.binding import Bind
    from greenroom.caching.entry import CacheInfo, CacheKey
    from greenroom.caching.recipe import Recipe
    from greenroom.caching.store import Store
    from greenroom.digest import Digest, Digester

MAX_DEPENDS: Final = 64
"""Definitions that an entry names as what it depends on."""

_LOOKS: Final = 8
"""Times that code is looked at whose values change meanwhile."""

T = TypeVar("T")

_ASYNC: Final = 0x80 | 0x100
_GENERATOR: Final = 0x20
_ASYNC_GENERATOR: Final = 0x200
_VARIADIC: Final = 0x04 | 0x08

_resolving = RLock()


def _forked() -> None:
    global _resolving
    _resolving = RLock()  # Of a thread that is not here.


os.register_at_fork(after_in_child=_forked)


class Loader:
    """A function and its options. Made when it is decorated, so nothing here looks at signatures or imports much."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        key: Callable[..., Any] | None = None,
        ignore: Sequence[str] = (),
        version: str = "",
        max_entries: int | None = None,
        max_memory: int | None = None,
        ttl: float | None = None,
        on_evict: Callable[[Any], Any] | None = None,
        frozen: bool = False,
    ) -> None:
        self.fn = fn
        self.key, self.ignore, self.version = key, (ignore,) if isinstance(ignore, str) else tuple(ignore), version
        self.max_entries, self.max_memory, self.ttl = max_entries, max_memory, ttl
        self.on_evict, self.frozen = on_evict, frozen
        named = fn
        while not hasattr(named, "__qualname__") and hasattr(named, "func"):
            named = named.func  # A partial is called what its function is.
        self.qualname = getattr(named, "__qualname__", None) or type(fn).__qualname__
        self.module = getattr(named, "__module__", None) or type(fn).__module__
        self.since = time.time_ns()
        """When its module was imported: texts that were written later are not what runs."""
        self.view = View()
        self.state: set[str] = set()
        """Names in its closure that a load was seen to change."""
        self._views: dict[Any, View] = {}
        self._name = ""
        self._warned = False
        self.is_async = _is_coroutine_function(fn)
        self.find = finder(self)
        self.miss = MISS

    def __reduce__(self) -> Any:
        """Sent by value, as a part of a notebook's function: entries and views stay behind."""
        options = {name: getattr(self, name) for name in _OPTIONS}
        return _remade, (self.fn, options)

    @property
    def name(self) -> str:
        """`module:qualname`, as an importer would write it."""
        if not self._name:
            from greenroom.digest import public_name

            self._name = f"{public_name(self.module, getattr(self.fn, '__globals__', None))}:{self.qualname}"
        return self._name

    @property
    def short(self) -> str:
        """What a person calls it: `load_model`, or `Model.load`."""
        return self.qualname.rpartition("<locals>.")[2]

    # Calls that a hit did not answer ----------------------------------------------------------------------------------

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call, the long way."""
        ask = self.ask(args, kwargs)
        if ask is None:
            value = self.fn(*args, **kwargs)
            self.check_result(value)
            return value
        try:
            return ask.view.store.get(ask)
        except Exception as fault:
            if not _is_unkeyable(fault):
                raise
            self._warn_unkeyable(fault)
        return ask.run()

    async def call_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for a coroutine function."""
        ask = self.ask(args, kwargs)
        if ask is None:
            value = await self.fn(*args, **kwargs)
            self.check_result(value)
            return value
        try:
            return await ask.view.store.get_async(ask)
        except Exception as fault:
            if not _is_unkeyable(fault):
                raise
            self._warn_unkeyable(fault)
        return await ask.run_async()

    def ask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ask | None:
        """What is asked for; None, after a warning, where the arguments have no key."""
        view = self.current_view()
        bound = view.bind(*args, **kwargs)
        try:
            return Ask(view, self.key_of_bound(view, bound), bound, args, kwargs)
        except Exception as fault:
            self._warn_unkeyable(fault)
            return None

    def key_of_bound(self, view: View, bound: Any) -> Any:
        """The key that bound values make."""
        values = (bound,) if view.single else bound
        key = quick_key(values, view.single, view.roots)
        if key is MISS:
            from greenroom.keys import key_of

            key, identities = key_of(values, view.ports)
            if identities and not self._warned:
                self._warn_identity(view, values, identities)
        return key

    def _warn_unkeyable(self, fault: Exception) -> None:
        why = str(fault) if _is_unkeyable(fault) else f"an argument could not be looked at ({fault!r})"
        current_store().tell(self.name, "unkeyable", f"{self.short} runs without its cache: {why}")

    def _warn_identity(self, view: View, values: tuple[Any, ...], identities: list[type]) -> None:
        if view.cells:  # What it closes over is the same object for as long as there is the closure.
            from greenroom.keys import key_of

            identities = key_of(values[: -len(view.cells)], view.ports)[1]
        if not identities:
            return
        self._warned = True
        names = ", ".join(sorted({cls.__qualname__.rpartition("<locals>.")[2] for cls in identities}))
        view.store.tell(
            self.name,
            "identity",
            f"{self.short} is given a {names}, which is only equal to itself: such an entry is found again by that "
            f"object alone, and not in the next call. Give {names} __eq__ and __hash__, or the loader key= or ignore=",
        )

    # What it is -------------------------------------------------------------------------------------------------------

    def current_view(self) -> View:
        """The view that fits the store, the bundle and the code of this moment."""
        view = self.view
        if view.epoch is not current.epoch:
            store = current_store()
            known = self._views.get(store.bundle)
            if known is None or known.store is not store:
                return self.resolve()
            view = known
            store.group(self, view.group.digest)
            view.epoch = current.epoch
            self.view = view
        return view if view.holds() else self.resolve()

    def resolve(self) -> View:
        """Look at everything anew, one thread at a time: what is read is kept for all loaders of a bundle."""
        with _resolving:
            return self._resolve()

    def _resolve(self) -> View:
        from greenroom.caching.ports import KeyPorts
        from greenroom.digest import MISSING

        store = current_store()
        digester = store.digester
        view = View()
        view.loader, view.store = self, store
        view.digest = digest = self._digest(store, digester)
        self._set_bind(view, digest)
        view.group = store.group(self, self._group_digest(digester, view))
        view.group.code = digest
        view.entries = view.group.entries
        view.ports = getattr(digester, "ports", None) or KeyPorts(digester)
        view.roots = digester.roots
        view.guards = tuple(
            (guard.names.get, guard.name, MISS if guard.value is MISSING else guard.value)
            for guard in digest.guards
            if guard.mark is None
        )
        view.marked = tuple(guard for guard in digest.guards if guard.mark is not None)
        view.depends = tuple(list(digest.parts)[:MAX_DEPENDS])
        view.epoch = current.epoch
        if len(self._views) > 8:
            self._views.clear()
        self._views[store.bundle] = self.view = view
        return view

    def _digest(self, store: Store, digester: Digester) -> Digest:
        try:
            return _unmoved(lambda: digester.digest(self.fn, since=self._since(store), cells=False))
        except Exception as fault:  # Never the user's call: code that cannot be read counts as new in each process.
            from greenroom.digest import Digest, Part

            store.tell(self.name, "digest", f"the code of {self.short} cannot be read ({fault!r}): edits go unseen")
            return Digest({"unread": Part("", "", f"{id(self.fn)} {self.since}")}, (), ())

    def _since(self, store: Store) -> int | None:
        """When the text on disk stopped being what runs; a bundle's never does."""
        return self.since if store.bundle is None else None

    def _group_digest(self, digester: Digester, view: View) -> str:
        """What has to be equal for two versions of the loader to share entries."""
        how = "" if self.key is None else digester.digest(self.key, since=self._since(view.store)).hex
        return "\0".join((view.digest.hex, self.version, how, *view.names))

    def _set_bind(self, view: View, digest: Digest) -> None:
        if self.key is not None:
            view.bind, view.names, view.single, view.cells = self.key, ("key",), True, []
            return
        raw, names = self._parameters()
        view.cells = cells = self._cells(digest)
        if cells:
            view.bind, names = _with_cells(raw, len(names) == 1, cells), (*names, *(name for name, _ in cells))
        else:
            view.bind = raw
        view.names, view.single = names, len(names) == 1

    def _parameters(self) -> tuple[Bind, tuple[str, ...]]:
        """How its arguments are bound, and the parameters that count."""
        from greenroom.caching.binding import check_names, compiled_bind, parameters, signature_bind

        fn = self.fn
        if isinstance(fn, FunctionType) and not (
            hasattr(fn, "__wrapped__") and fn.__code__.co_flags & _VARIADIC == _VARIADIC
        ):
            known = parameters(fn)
            check_names(self.qualname, self.ignore, known)
            names = tuple(name for name in known if name not in self.ignore)
            return compiled_bind(fn, names), names
        return signature_bind(fn, self.ignore, self.qualname)

    def _cells(self, digest: Digest) -> list[tuple[str, Any]]:
        """What it closes over and does not change: hidden arguments."""
        fn = self.fn
        if isinstance(fn, FunctionType):
            pairs = list(zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False))
        elif hasattr(fn, "__self__") and not isinstance(fn.__self__, type):
            return [("self", _Held(fn.__self__))]
        else:
            return [("callable", _Held(fn))] if not hasattr(fn, "__qualname__") else []
        skip = digest.state_cells | self.state | {"__class__"}
        return [(name, cell) for name, cell in pairs if name not in skip and not _is_code(cell)]

    # For users --------------------------------------------------------------------------------------------------------

    def info(self) -> CacheInfo:
        """`cache_info()`."""
        return current_store().info(self)

    def clear(self) -> None:
        """`cache_clear()`."""
        current_store().clear(self)

    def keys(self) -> list[CacheKey]:
        """`cache_keys()`."""
        return current_store().keys(self)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Recipe:
        """`bind(...)`: refuses arguments that do not fit, so that a mistake shows where it is made."""
        from greenroom.caching.recipe import Recipe
        from greenroom.digest import public_name

        if self.key is None:
            self._parameters()[0](*args, **kwargs)
        module = public_name(self.module, getattr(self.fn, "__globals__", None))
        return Recipe(module, self.qualname, args, kwargs)

    def check_result(self, value: Any) -> None:
        """Refuse what can be used only once.

        Raises:
            OneShotResult: A generator, a coroutine, or an iterator of Python's own.
        """
        if type(value) in _HARMLESS:
            return
        from greenroom.caching.oneshot import refuse

        refuse(self.short, value)


_OPTIONS: Final = ("key", "ignore", "version", "max_entries", "max_memory", "ttl", "on_evict", "frozen")


def _unmoved(look: Callable[[], T]) -> T:
    """Look at values that other threads may be changing: again, where one changed under the look."""
    for _ in range(_LOOKS):
        try:
            return look()
        except RuntimeError as fault:
            if "during iteration" not in str(fault):
                raise
    return look()


def _remade(fn: Callable[..., Any], options: Mapping[str, Any]) -> Loader:
    return Loader(fn, **options)


_HARMLESS: Final = frozenset({int, float, str, bytes, bool, type(None), list, dict, tuple, set, FunctionType})


class _Held:
    """Looks like a cell that holds something."""

    __slots__ = ("cell_contents",)

    def __init__(self, content: Any) -> None:
        self.cell_contents = content


def _is_unkeyable(fault: Exception) -> bool:
    """Whether an error is about a key. Keys are imported late: a program may define loaders and never call one."""
    from greenroom.keys import Unkeyable

    return isinstance(fault, Unkeyable)


def _with_cells(raw: Bind, single: bool, cells: Sequence[tuple[str, Any]]) -> Bind:
    def bind(*args: Any, **kwargs: Any) -> Any:
        bound = raw(*args, **kwargs)
        found = []
        for _, cell in cells:
            try:
                found.append(cell.cell_contents)
            except ValueError:  # Not assigned yet.
                found.append(NotImplemented)
        if single:
            return (bound, *found)
        return (*bound, *found) if bound or len(found) > 1 else found[0]

    return bind


def _is_code(cell: Any) -> bool:
    """Whether a cell holds code, which the digest covers."""
    from types import ModuleType

    try:
        return isinstance(cell.cell_contents, FunctionType | type | ModuleType)
    except ValueError:
        return False


def _is_coroutine_function(fn: Any) -> bool:
    """Whether calling it gives a coroutine, also through decorators that pass it on."""
    while fn is not None:
        code = getattr(fn, "__code__", None)
        if code is not None and code.co_flags & _ASYNC:
            return True
        if code is None and not isinstance(fn, type):
            code = getattr(type(fn).__call__, "__code__", None) if callable(fn) else None
            if code is not None and code.co_flags & _ASYNC:
                return True
        fn = getattr(fn, "__wrapped__", None) or getattr(fn, "func", None)
    return False


def is_generator_function(fn: Any) -> str | None:
    """`generator` or `async generator`, if calling it gives one."""
    code = getattr(fn, "__code__", None)
    if code is None:
        return None
    if code.co_flags & _ASYNC_GENERATOR:
        return "async generator"
    return "generator" if code.co_flags & _GENERATOR else None
