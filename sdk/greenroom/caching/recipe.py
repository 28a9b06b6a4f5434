"""A loader and its arguments, as something that can be sent: what `load_model.bind(state=3)` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from greenroom.caching.errors import NotImportable

MAX_BYTES: Final = 64 * 1024
"""Encoded arguments of an entry that is remembered for loading it again."""

_PLAIN: Final = (type(None), bool, int, float, str, bytes)


class Recipe:
    """How to load one entry: the loader's module and name, and its arguments."""

    __slots__ = ("args", "kwargs", "module", "qualname")

    def __init__(self, module: str, qualname: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.module, self.qualname, self.args, self.kwargs = module, qualname, args, dict(kwargs)

    def to_wire(self) -> dict[str, Any]:
        """Plain data for a message: `module`, `qualname` and the encoded `args`.

        Raises:
            NotImportable: The loader has no name that a replica could find it by.
        """
        if "<" in self.qualname:
            raise NotImportable(self.qualname, "it is defined inside a function")
        return {"module": self.module, "qualname": self.qualname, "args": encode(self.args, self.kwargs)}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Recipe:
        """Read what `to_wire` gave. It unpickles: only replicas and programs may do so, never the hub."""
        args, kwargs = decode(wire["args"])
        return cls(str(wire["module"]), str(wire["qualname"]), args, kwargs)

    def loader(self, module: Any = None) -> Callable[..., Any]:
        """Find the loader, in a module that is given or by importing it."""
        if module is None:
            from importlib import import_module

            module = import_module(self.module)
        found: Any = module
        for name in self.qualname.split("."):
            found = getattr(found, name)
        loader: Callable[..., Any] = found
        return loader

    def load(self, module: Any = None) -> Any:
        """Call the loader: its entry is there afterwards. A coroutine, if the loader is one."""
        return self.loader(module)(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        parts = [repr(one) for one in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.qualname.rpartition('.')[2]}.bind({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        mine, its = (self.module, self.qualname, self.args, self.kwargs), (other.module, other.qualname)
        return mine == (*its, other.args, other.kwargs)

    def __hash__(self) -> int:
        return hash((self.module, self.qualname))

    def __reduce__(self) -> Any:
        return Recipe, (self.module, self.qualname, self.args, self.kwargs)


def encode(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Arguments as bytes: msgpack for plain data, else a pickle."""
    import msgpack

    if all(_is_plain(value) for value in (*args, *kwargs.values())):
        try:
            packed: bytes = msgpack.packb([list(args), dict(kwargs)], unicode_errors="surrogatepass")
            return b"m" + packed
        except (OverflowError, ValueError):  # An int beyond 64 bits.
            pass
    try:
        import pickle

        return b"p" + pickle.dumps((args, dict(kwargs)), protocol=4)
    except Exception:
        import cloudpickle  # Lambdas, and classes of `__main__`.

        return b"p" + bytes(cloudpickle.dumps((args, dict(kwargs)), protocol=4))


def decode(data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read what `encode` made."""
    if data[:1] == b"m":
        import msgpack

        args, kwargs = msgpack.unpackb(data[1:], strict_map_key=False, unicode_errors="surrogatepass")
        return tuple(args), kwargs
    import pickle

    args, kwargs = pickle.loads(data[1:])
    return args, kwargs


def _is_plain(value: Any) -> bool:
    """Whether msgpack gives it back as it was: tuples and subclasses would come back as something else."""
    if type(value) in _PLAIN:
        return True
    if type(value) is list:
        return all(_is_plain(item) for item in value)
    return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())


def remember(module: str, qualname: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The recipe of an entry that was just loaded, encoded at once so that no argument is kept alive.

    None where the loader has no name to be found by, or where its arguments are large or cannot be encoded.
    """
    values = (*args, *kwargs.values())
    if "<" in qualname or any(_is_large(value) for value in values):
        return None
    try:
        if all(_is_plain(value) for value in values):
            data = encode(args, kwargs)
        else:
            import pickle

            data = b"p" + pickle.dumps((args, dict(kwargs)), protocol=4)
    except Exception:  # Whatever an argument does when it is pickled, the load went well.
        return None
    return {"module": module, "qualname": qualname, "args": data} if len(data) <= MAX_BYTES else None


def _is_large(value: Any) -> bool:
    size = getattr(value, "nbytes", 0)
    if isinstance(size, int) and size > MAX_BYTES:
        return True
    return isinstance(value, str | bytes | bytearray | list | tuple | dict | set | frozenset) and len(value) > MAX_BYTES
