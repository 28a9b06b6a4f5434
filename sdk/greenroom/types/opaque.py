"""Everything that has no form of its own on the wire: pickled whole, shown by a preview."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import NotPicklable, NotReadable, TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given, type_name
from greenroom.types.spec import TypeSpec
from greenroom_core.values import INLINE_LIMIT, Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

_PREVIEW: Final = 120
"""Characters of an object's own text that are kept for people."""

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class PickleCodec(Codec):
    """Instances of a class that nobody has registered; or, without a class, whatever a pickle holds."""

    natives = frozenset({int(Ext.PICKLE)})
    uploads = True

    def __init__(self, annotation: Any, of: type | None) -> None:
        self._of = of
        self.name = type_name(of if of is not None else annotation)
        self.classes = () if of is None else (of,)
        # Of protocols and abstract classes, what belongs to them is not known from names.
        self._open = of is None or bool(getattr(of, "_is_protocol", False) or hasattr(of, "_abc_impl"))

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """The pickle, with the class's name and a preview."""
        if not self._fits(obj):
            raise TypeMismatch(self.name, given(obj))
        return pickled(obj, store)

    def _fits(self, obj: Any) -> bool:
        if self._of is None:
            return True
        try:
            return isinstance(obj, self._of) or any(type_name(base) == self.name for base in type(obj).__mro__)
        except TypeError:  # A protocol that isinstance refuses to look at.
            return True

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The object of the pickle."""
        if type(plain) is not ExtType or plain.code != Ext.PICKLE:
            return self._unlike(plain, store)
        obj = unpickled(plain, store)
        if not self._fits(obj):
            raise TypeMismatch(self.name, given(obj))
        return obj

    def _unlike(self, plain: Plain, store: BlobStore) -> Any:
        """What was not pickled where it comes from, because its type has a form of its own there."""
        from greenroom.types.guess import read_plain

        obj = read_plain(plain, store)
        if self._of is not None and not self._fits(obj):
            raise TypeMismatch(self.name, given(obj))
        return obj

    def describe(self) -> TypeSpec:
        """The type as plain data, with its bases' names."""
        bases = [] if self._of is None else [type_name(base) for base in self._of.__mro__ if base is not object]
        return TypeSpec("pickle", self.name, options={"bases": bases, "open": self._open})

    def from_json(self, json: Any) -> Any:
        """Refused: JSON says nothing about objects of arbitrary classes."""
        raise TypeMismatch(self.name, given(json), "objects of this class can only be made by Python code")

    def from_text(self, text: str) -> Any:
        """Refused, as JSON is."""
        raise TypeMismatch(self.name, repr(text), "objects of this class can only be made by Python code")


def pickled(obj: Any, store: BlobStore) -> Plain:
    """The extension that holds an object's pickle; files in the object are uploaded, a large pickle is a blob.

    Raises:
        NotPicklable: It holds what belongs to this process: a lock, a socket, an open file, a generator, ...
    """
    import cloudpickle

    from greenroom.files import pickling

    held: list[str] = []
    token = pickling.set((store, held))
    try:
        data = cloudpickle.dumps(obj)
    except RecursionError:
        raise NotPicklable(type_name(type(obj)), "it is nested too deep for pickle") from None
    except Exception as fault:  # Whatever its class's own code raises.
        raise NotPicklable(type_name(type(obj)), _one_line(fault)) from fault
    finally:
        pickling.reset(token)
    content = [type_name(type(obj)), preview_of(obj), data, None]
    if len(data) > INLINE_LIMIT:
        content[2:] = [None, store.put(data)]
    return extension(Ext.PICKLE, [*content, held] if held else content)


def unpickled(plain: Any, store: BlobStore) -> Any:
    """The object of a pickle.

    Raises:
        NotReadable: Its module is missing here, or its class is not what it was.
    """
    import pickle

    from greenroom.files import use_store

    name, _, data, sha256, *_ = unpack(plain.data)
    if data is None:
        data = store.get(sha256)
    before = use_store(store)
    try:
        return pickle.loads(data)
    except Exception as fault:
        raise NotReadable(name, _one_line(fault)) from fault
    finally:
        use_store(before)


def preview_of(obj: Any) -> str:
    """A line that shows an object to people, without addresses in memory."""
    if getattr(type(obj), "__repr__", None) is object.__repr__:
        return type_name(type(obj))
    try:
        text = repr(obj)
    except Exception:  # Somebody's __repr__.
        return type_name(type(obj))
    text = _ADDRESS.sub("", " ".join(text[: 4 * _PREVIEW].split()))
    return text if len(text) <= _PREVIEW else text[: _PREVIEW - 3] + "..."


def _one_line(fault: BaseException) -> str:
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__
