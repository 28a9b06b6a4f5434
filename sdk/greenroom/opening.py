"""From the values of an execution to Python objects: by the entity's annotations where they are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from greenroom.link import Link
from greenroom.operations import PAGE, chunks
from greenroom_core.values import INLINE_LIMIT, Ext, ListView, Value, ext_bounds, list_length, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.types import Codec, Interface

_ELSEWHERE: Final = frozenset({Ext.BLOB, Ext.MANIFEST, Ext.PICKLE, Ext.TABLE, Ext.ARRAY})
"""What may have to be fetched, or takes long to open."""


class Opener:
    """Opens an execution's outputs."""

    def __init__(self, interface: Interface | None = None) -> None:
        """Open by an interface; without one, values say themselves what they are."""
        self._interface = interface

    def open(self, name: str, value: Value, blobs: BlobStore) -> Any:
        """One output.

        Raises:
            ValueProblem: It cannot be opened here; the error says why.
        """
        if self._interface is not None and name in self._interface.outputs:
            return self._interface.decode_output(name, value, blobs)
        return _any().decode(value, blobs)

    def value(self, opened: Mapping[str, Any]) -> Any:
        """What a call of the entity would have returned: None, a value, a tuple, or its named tuple."""
        names, values = list(opened), list(opened.values())
        named = getattr(self._interface, "named", None)
        if named is not None:
            return named._make(opened[name] for name in named._fields)
        if not names:
            return None
        if names == ["o0"]:
            return values[0]
        if names == [f"o{index}" for index in range(len(names))]:
            return tuple(values)
        from collections import namedtuple

        make: Any = namedtuple  # mypy wants literal names; these are known only now.
        return make("Outputs", names)._make(values)

    def items(self, name: str, value: Value, blobs: BlobStore) -> Iterator[Any]:
        """The items of an output that is a list, decoded one by one.

        Raises:
            TypeError: It is no list.
        """
        codec = self._item_codec(name)
        for item in values_of(value, blobs):
            yield codec.decode(item, blobs)

    def _item_codec(self, name: str) -> Codec:
        """How one item travels: by the list's annotation, where there is one."""
        import typing

        from greenroom.types import codec_for

        output = self._interface.outputs.get(name) if self._interface is not None else None
        annotation = getattr(output, "annotation", Any)
        arguments = typing.get_args(annotation) if typing.get_origin(annotation) is list else ()
        return codec_for(arguments[0]) if arguments else _any()


def values_of(value: Value, blobs: BlobStore) -> Iterable[Value]:
    """The values of a list's items, wherever they are kept.

    Raises:
        TypeError: It is no list.
    """
    bounds = ext_bounds(value)
    code = bounds[0] if bounds is not None else None
    if bounds is not None and code == Ext.MANIFEST:
        execution, node, output, _ = unpack(value[bounds[1] : bounds[1] + bounds[2]])
        return blobs.manifest(execution, node, output)
    if bounds is not None and code == Ext.BLOB:
        return values_of(blobs.get(unpack(value[bounds[1] : bounds[1] + bounds[2]])[0]), blobs)
    if list_length(value) is None:
        from greenroom_core.values import kind_of

        raise TypeError(f"this output is of kind {kind_of(value)}, not a list; .outputs gives it whole")
    return ListView(value)


def _any() -> Codec:
    from greenroom.types import codec_for

    return codec_for(Any)


def opener_of(entity: Any) -> Opener:
    """The opener of an entity's outputs; of None, one that goes by what values say themselves."""
    return Opener(getattr(entity, "interface", None))


def manifests_of(link: Link) -> Callable[[str, str, str], Iterable[Value]]:
    """How a map's results are read from the hub: page by page, never all in memory."""

    def read(execution: str, node: str, output: str) -> Iterator[Value]:
        start = 0
        while page := link.drive(chunks(execution, node, output, start, PAGE)):
            for chunk in page:
                yield from chunk.values()
                start = chunk.first + len(chunk.ends) // 4

    return read


def is_light(value: Value) -> bool:
    """Whether a value is opened in an instant, without asking anybody."""
    if len(value) > INLINE_LIMIT:
        return False
    bounds = ext_bounds(value)
    return bounds is None or bounds[0] not in _ELSEWHERE
