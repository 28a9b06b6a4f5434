"""How a function reaches a replica: by name where its module is in the bundle or installed, else by value."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from greenroom.bundling.errors import NotBundled

if TYPE_CHECKING:
    from greenroom.bundling.make import Bundle


_PYTHON = os.path.dirname(os.__file__) + os.sep
"""Folder of Python's own library."""


class ByName(NamedTuple):
    """A function that replicas import."""

    module: str
    qualname: str


class ByValue(NamedTuple):
    """A function that replicas unpickle: from a notebook, an interpreter, or made inside another function."""

    pickled: bytes


Reference: TypeAlias = "ByName | ByValue"


def reference_of(fn: Callable[..., Any], bundle: Bundle | None = None) -> Reference:
    """How replicas get `fn`.

    Raises:
        NotBundled: It can neither be found by name nor be pickled.
    """
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if module and qualname and "<" not in qualname:
        name = module_on_replicas(module, bundle)
        if name and _resolves(sys.modules.get(module), qualname):
            return ByName(name, qualname)
    try:
        return ByValue(dumps(fn, bundle))
    except Exception as fault:
        where = f"{module}.{qualname}" if module and qualname else repr(fn)
        raise NotBundled(
            where,
            f"cannot be sent to a replica: it is not at the top of a module, and pickling it fails ({fault}); move it "
            f"to the top of a module, and pass what it needs as inputs",
        ) from fault


def module_on_replicas(module: str, bundle: Bundle | None) -> str | None:
    """The name under which replicas can import `module`; None if they cannot."""
    if module == "__main__":
        return bundle.module if bundle is not None and is_main(bundle) else None
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None or _is_installed(file):
        return module  # Built in, or a namespace package, or the same on replicas.
    return module if bundle is not None and is_bundled(module, file, bundle) else None


def is_main(bundle: Bundle) -> bool:
    """Whether the running script is the bundle's own file."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if not isinstance(file, str) or not bundle.layout.path:
        return False
    return os.path.realpath(file) == os.path.realpath(f"{bundle.root}/{bundle.layout.path}")


def is_bundled(module: str, file: str, bundle: Bundle) -> bool:
    """Whether the bundle holds the loaded module `module`, whose text is `file`, under this very name."""
    from greenroom.bundling.modules import Modules

    manifest = bundle.manifest
    modules: Modules | None = _MODULES.get(bundle.hash)
    if modules is None:
        roots = (*manifest.roots, *manifest.late_roots)
        modules = Modules(manifest.by_path, roots, entry=manifest.entry, entry_path=manifest.entry_path)
        _MODULES.clear()
        _MODULES[bundle.hash] = modules
    found = modules.find(module)
    return found is not None and bool(found.path) and _same(manifest.origin_of(found.path, bundle.origin), file)


_MODULES: dict[str, Any] = {}  # Of the last bundle: references come in bursts.


def _same(path: str, other: str) -> bool:
    return path == other or os.path.realpath(path) == os.path.realpath(other)


def _is_installed(file: str) -> bool:
    return file.startswith(_PYTHON) or "site-packages" in file or "dist-packages" in file


def _resolves(module: ModuleType | None, qualname: str) -> bool:
    at: Any = module
    for name in qualname.split("."):
        at = getattr(at, name, None)
        if at is None:
            return False
    return True


def dumps(value: Any, bundle: Bundle | None = None) -> bytes:
    """Pickle `value` so that a replica that holds `bundle` can read it.

    What the bundle holds goes by name, also what the running script defines (`__main__` here is a module there); what
    no replica could import goes by value.
    """
    import cloudpickle

    main = bundle.module if bundle is not None and is_main(bundle) else None

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if main and isinstance(obj, type | FunctionType) and getattr(obj, "__module__", None) == "__main__":
                qualname = obj.__qualname__
                if "<" not in qualname and _resolves(sys.modules.get("__main__"), qualname):
                    return named, (main, qualname)
            if type(obj) is CodeType:
                return code_in_its_file(self.dispatch_table[CodeType](obj), obj)
            return super().reducer_override(obj)

    with by_value(bundle), io.BytesIO() as file:
        Pickler(file).dump(value)
        return file.getvalue()


@contextmanager
def by_value(bundle: Bundle | None) -> Iterator[None]:
    """Pickle loaded modules that replicas cannot import by value while this lasts."""
    import cloudpickle

    registered = []
    known = cloudpickle.list_registry_pickle_by_value()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name == "__main__" or name in known or _is_ours(name):
            continue
        if module_on_replicas(name, bundle) is None:
            cloudpickle.register_pickle_by_value(module)
            registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _is_ours(name: str) -> bool:
    from greenroom.bundling.modules import ALIASED, OWN

    top = name.partition(".")[0]
    return top in OWN or top in ALIASED


def code_in_its_file(reduced: tuple[Any, tuple[Any, ...]], code: CodeType) -> tuple[Any, tuple[Any, ...]]:
    """What cloudpickle makes of `code`, with its file put back.

    From 3.1.3 on cloudpickle drops it, so that tracebacks of notebook cells and lambdas would name no place.
    """
    make, parts = reduced
    return make, tuple(code.co_filename if part == _NO_FILE else part for part in parts)


_NO_FILE = "<dynamic-code>"


def named(module: str, qualname: str) -> Any:
    """What `dumps` writes for what a script defines: looked up again where it is read."""
    import importlib

    at: Any = importlib.import_module(module)
    for name in qualname.split("."):
        at = getattr(at, name)
    return at
