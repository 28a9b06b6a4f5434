"""How objects that are no plain builtin are written to a content key: by library, by class, or by identity."""

from __future__ import annotations

import copyreg
import enum
from dataclasses import fields
from functools import partial
from pathlib import PurePath
from types import FunctionType
from typing import Any, Final

from greenroom.keys import Encoder, ObjectKey, Unkeyable, loaded

MAX_STATE: Final = 2_000
"""Objects in the state of one that has a hash of its own, which are only read for other processes to know it by."""

MAX_PARTS: Final = 100_000
"""Parts of one object's state that are followed when it has no hash of its own."""


def put_object(encoder: Encoder, value: Any) -> None:
    """Write an object that no exact type decides.

    Raises:
        Unkeyable: where its class compares by value but gives neither a hash nor a state that can be written.
    """
    library = type(value).__module__.partition(".")[0]
    writer = _LIBRARIES.get(library)
    if writer is not None and writer(encoder, value):
        return
    for kind, write in _KINDS:
        if isinstance(value, kind):
            write(encoder, value)
            return
    if _is_plain_dataclass(value):
        _put_dataclass(encoder, value)
    elif equal_by_identity(type(value)):
        encoder.identity(value)
    elif type(value).__hash__ is None:
        _put_state(encoder, value)
    else:
        _put_by_equality(encoder, value)


def equal_by_identity(cls: type) -> bool:
    """Whether objects of a class are only equal to themselves."""
    return getattr(cls, "__eq__", None) is object.__eq__


def _put_by_equality(encoder: Encoder, value: Any) -> None:
    """Keep the object aside: its own `__hash__` and `__eq__` decide."""
    token = encoder.ports.class_token(type(value))
    try:
        side = ObjectKey(value, token, _stable(value, encoder))
    except TypeError:  # A frozen dataclass with a list in it: hashable by class, not by content.
        _put_state(encoder, value)
        return
    except Exception as fault:
        raise Unkeyable(f"{type(value).__qualname__}.__hash__ raised {type(fault).__name__}", str(fault)) from fault
    encoder.tag("equal " + token)
    encoder.sides.append(side)


def _stable(value: Any, encoder: Encoder) -> bytes | None:
    """The digest of the object's state, the same in every process; None where its state cannot be written."""
    inner = Encoder(encoder.ports, most=min(encoder.left, MAX_STATE))
    inner.depth = encoder.depth
    before = inner.left
    try:
        _put_state(inner, value)
    except Exception:  # A `__reduce__` of the user's that fails says nothing about the hash that he gave.
        return None
    finally:
        encoder.left -= before - max(0, inner.left)
    if inner.held or any(side.stable is None for side in inner.sides):
        return None
    return inner.digest() + b"".join(side.stable or b"" for side in inner.sides)


def _put_state(encoder: Encoder, value: Any) -> None:
    """Write an object by its class and what pickle would keep of it, without pickling."""
    cls = type(value)
    encoder.tag("state " + encoder.ports.class_token(cls))
    if hasattr(cls, "__pydantic_fields__"):
        # `__pydantic_fields_set__` says who set a field, which does not make two models different.
        encoder.put(dict(vars(value)))
        encoder.put(getattr(value, "__pydantic_extra__", None))
        encoder.put(getattr(value, "__pydantic_private__", None))
        return
    try:
        reduced = value.__reduce_ex__(4)
    except Exception as fault:
        raise Unkeyable(
            cls.__qualname__, f"it compares by value, but has no hash and cannot be copied ({fault})"
        ) from fault
    if isinstance(reduced, str):
        encoder.tag("global " + reduced)
        return
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if make is not copyreg.__newobj__:  # type: ignore[attr-defined]  # It is there, and undocumented.
        encoder.put(make)
    encoder.put(arguments[1:] if arguments and arguments[0] is cls else arguments)
    encoder.put(state)
    _put_items(encoder, "items", items)
    if pairs is not None:
        found = dict(pairs)
        encoder.put(list(found.items()) if isinstance(value, _ordered()) else found)


def _put_items(encoder: Encoder, tag: str, items: Any) -> None:
    if items is None:
        return
    encoder.tag(tag)
    for count, item in enumerate(items):
        if count >= MAX_PARTS:
            raise Unkeyable("an object", f"its state has more than {MAX_PARTS:,} parts")
        encoder.put(item)


def _ordered() -> type:
    from collections import OrderedDict

    return OrderedDict


def _is_plain_dataclass(value: Any) -> bool:
    """Whether a dataclass compares by its fields alone: an `__eq__` that a person wrote is asked instead."""
    cls = type(value)
    parameters = cls.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.eq:
        return False
    equal = cls.__dict__.get("__eq__")
    if not isinstance(equal, FunctionType):
        return False
    return equal.__code__.co_filename == "<string>" or "__create_fn__" in equal.__qualname__


def _put_dataclass(encoder: Encoder, value: Any) -> None:
    encoder.tag("dataclass " + encoder.ports.class_token(type(value)))
    for field in fields(value):
        if field.compare:
            encoder.tag(field.name)
            encoder.put(getattr(value, field.name, NotImplemented))


def _put_enum(encoder: Encoder, value: enum.Enum) -> None:
    encoder.tag(f"enum {encoder.ports.class_token(type(value))} {value.name}")


def _put_path(encoder: Encoder, value: PurePath) -> None:
    encoder.tag(f"path {encoder.ports.path(value)}")


def _put_partial(encoder: Encoder, value: partial[Any]) -> None:
    encoder.put_all("partial", (value.func, value.args, value.keywords))


def _put_tuple(encoder: Encoder, value: tuple[Any, ...]) -> None:
    """A named tuple: its class and its items, unless its class compares in a way of its own."""
    if type(value).__eq__ is tuple.__eq__:
        encoder.put_all("tuple " + encoder.ports.class_token(type(value)), value)
    else:
        _put_by_equality(encoder, value)


def _put_exception(encoder: Encoder, value: BaseException) -> None:
    encoder.put_all("error " + encoder.ports.class_token(type(value)), value.args)


_KINDS: Final[tuple[tuple[type, Any], ...]] = (
    (enum.Enum, _put_enum),
    (PurePath, _put_path),
    (partial, _put_partial),
    (tuple, _put_tuple),
    (BaseException, _put_exception),
)


def _put_numpy(encoder: Encoder, value: Any) -> bool:
    array, scalar = loaded("numpy", "ndarray"), loaded("numpy", "generic")
    if array is None:
        return False
    if type(value) is array or type(value).__name__ == "memmap":
        encoder.tag(f"array {value.dtype.descr if value.dtype.names else value.dtype.str} {value.shape}")
        if value.dtype.hasobject:
            encoder.put(value.tolist())
        else:
            contiguous = loaded("numpy", "ascontiguousarray")(value)
            encoder.raw(contiguous.reshape(-1).view("u1") if contiguous.size else b"")
        return True
    if isinstance(value, scalar):
        encoder.tag(f"scalar {value.dtype.str} {value.dtype!r}")
        encoder.raw(value.tobytes())
        return True
    if isinstance(value, loaded("numpy", "dtype")):
        encoder.tag(f"dtype {value!r}")
        return True
    return False


def _put_pandas(encoder: Encoder, value: Any) -> bool:
    frame, series, index = (loaded("pandas", name) for name in ("DataFrame", "Series", "Index"))
    if frame is None or not isinstance(value, frame | series | index):
        return False
    hash_object = loaded("pandas.util", "hash_pandas_object")
    encoder.tag("pandas " + encoder.ports.class_token(type(value)))
    try:
        if isinstance(value, frame):
            encoder.put(list(value.columns))
            encoder.put([str(dtype) for dtype in value.dtypes])
            encoder.put(list(value.index.names))
        else:
            encoder.put((str(value.dtype), value.name))
        encoder.put(hash_object(value, index=True).to_numpy())
    except TypeError:  # Cells that pandas cannot hash, such as lists: written one by one.
        encoder.put(value.reset_index().to_dict("list") if isinstance(value, frame) else value.tolist())
    return True


def _put_torch(encoder: Encoder, value: Any) -> bool:
    tensor = loaded("torch", "Tensor")
    if tensor is None or not isinstance(value, tensor):
        return False
    plain = value.detach().cpu()
    encoder.tag(f"tensor {plain.dtype} {tuple(plain.shape)} {value.device.type}")
    encoder.raw(plain.contiguous().view(-1).view(loaded("torch", "uint8")).numpy() if plain.numel() else b"")
    return True


_LIBRARIES: Final = {"numpy": _put_numpy, "pandas": _put_pandas, "torch": _put_torch}
