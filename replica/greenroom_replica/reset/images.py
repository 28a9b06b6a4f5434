"""Memory images: the words of an object that change whenever the object does.

The hot path of a reset asks one question of a hundred objects: has a call changed you? Asked in Python that costs 25
ns an element, and asked with ``==`` it runs the user's code. An interpreter already keeps the answer in memory, so it
is read there: a dict's version tag (PEP 509), a list's length and items pointer, a cell's reference. One
``bytes.join`` over views of those words and one compare tell that nothing has changed, at 15 to 25 ns an object
whatever its size, and run nobody's code.

Memory is read, never written. A view is made only of an object that its owner keeps alive, and the items of a list or
set are read only after its header was found unchanged, so that a view never looks at freed memory. Layouts are
checked against living objects when the module is loaded (`LAYOUT`); where one is not as expected (another
interpreter, a free-threaded build), there is no view and the caller compares in Python instead. From 3.13 on dicts
have no version: there a dict's table is its body, as a list's items are.
"""

from __future__ import annotations

import array
import ctypes
import gc
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

Word = memoryview
"""A view of some bytes of an object's memory."""

_CHAR = ctypes.c_char
NARROW = 4096
"""Bytes; up to here a body is copied by the join, above it is compared in place by memcmp."""


def view(address: int, size: int) -> Word:
    """Look at `size` bytes of memory; whoever calls keeps the object that they belong to alive."""
    return memoryview((_CHAR * size).from_address(address)).cast("B")


_word_at = ctypes.c_uint64.from_address


def _pointer(address: int) -> int:
    return _word_at(address).value


class Layout:
    """What is known of this interpreter's objects: each field is True where the layout is as expected."""

    def __init__(self) -> None:
        sound = sys.implementation.name == "cpython" and sys.maxsize > 2**32 and sys.byteorder == "little"
        gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
        sound = sound and gil()
        self.versions = sound and sys.version_info < (3, 13) and _holds(_dict_has_version)
        self.tables = sound and _holds(_dict_table_as_expected)
        self.lists = sound and _holds(_list_as_expected)
        self.sets = sound and _holds(_set_as_expected)
        self.deques = sound and _holds(_deque_as_expected)
        self.ordered = sound and _holds(_ordered_as_expected)
        self.buffers = sound and _holds(_buffers_as_expected)
        self.cells = sound and _holds(_cell_as_expected)
        self.functions = sound and _holds(_function_as_expected)
        self.randoms = _random_offset() if sound else 0
        """Offset of the Mersenne Twister's state in a ``random.Random``, 0 where it was not found."""


def _holds(probe: Callable[[], bool]) -> bool:
    try:
        return probe()
    except Exception:
        return False


def _dict_has_version() -> bool:
    probe: dict[str, object] = {"a": 1}
    seen = {bytes(view(id(probe) + 24, 8))}
    changes: tuple[Callable[[], object], ...] = (
        lambda: probe.update(a=2),
        lambda: probe.pop("a"),
        lambda: probe.update(b=3),
        lambda: probe.clear(),
    )
    for change in changes:
        before = len(seen)
        change()
        seen.add(bytes(view(id(probe) + 24, 8)))
        if len(seen) == before:
            return False
    probe.get("a")
    return bytes(view(id(probe) + 24, 8)) in seen


def _dict_table_as_expected() -> bool:
    class Probe:
        def __init__(self) -> None:
            self.first, self.second = object(), object()

    named: dict[object, object] = {f"name{place}": object() for place in range(20)}
    mixed: dict[object, object] = {place: object() for place in range(20)}
    split: dict[Any, Any] = vars(Probe())
    probes: tuple[dict[Any, Any], ...] = (named, mixed, split)
    for probe in probes:
        body = bytes(view(*dict_body(probe, versions=False)))  # type: ignore[misc]
        if not all(id(value).to_bytes(8, "little") in body for value in probe.values()):
            return False
        if _pointer(id(probe) + 16) != len(probe):
            return False
        probe[next(iter(probe))] = None
        if bytes(view(*dict_body(probe, versions=False))) == body:  # type: ignore[misc]
            return False
    return True


def _list_as_expected() -> bool:
    items: list[object] = [object(), object(), object()]
    return _pointer(id(items) + 16) == 3 and _pointer(_pointer(id(items) + 24) + 8) == id(items[1])


def _set_as_expected() -> bool:
    item = object()
    probe = {item}
    table = bytes(view(_pointer(id(probe) + 40), 16 * (_pointer(id(probe) + 32) + 1)))
    return _pointer(id(probe) + 24) == 1 and id(item).to_bytes(8, "little") in table


def _deque_as_expected() -> bool:
    probe: deque[object] = deque([object(), object()])
    before = bytes(deque_heads(probe, True)[0])
    body = deque_body(probe)
    if body is None or bytes(view(*body)) != b"".join(id(item).to_bytes(8, "little") for item in probe):
        return False
    probe.rotate(1)
    probe.rotate(-1)
    return bytes(deque_heads(probe, True)[0]) != before and deque_body(deque(range(100))) is None


def _ordered_as_expected() -> bool:
    probe: OrderedDict[str, int] = OrderedDict(a=1, b=2)
    links = view(id(probe) + 48, OrderedDict.__basicsize__ - 48)
    before = bytes(links)
    unmoved = probe["a"] == 1 and bytes(links) == before
    probe.move_to_end("a")
    moved = bytes(links)
    probe.move_to_end("b")
    return unmoved and len({before, moved, bytes(links)}) == 3


def _buffers_as_expected() -> bool:
    mutable, numbers = bytearray(b"some bytes"), array.array("d", (1.5, 2.5))
    sizes = _pointer(id(mutable) + 16) == 10 and _pointer(id(numbers) + 16) == 2
    places = (
        _pointer(id(numbers) + 24) == numbers.buffer_info()[0]
        and bytes(view(_pointer(id(mutable) + 40), 10)) == mutable
    )
    return sizes and places


def _cell_as_expected() -> bool:
    content = object()
    return (
        _pointer(id(CellType(content)) + 16) != 0
        and _pointer(id(probe := CellType(content)) + 16) == id(content)
        and bool(probe)
    )


def _function_as_expected() -> bool:
    def probe(a: object = object(), *, b: object = _CHAR) -> object:
        return a, b, _holds

    probe.mark = 1  # type: ignore[attr-defined]  # So that it has a __dict__.
    made = FunctionType(
        probe.__code__, {}, "made", probe.__defaults__, (CellType(1),) * len(probe.__code__.co_freevars)
    )
    words = [_pointer(id(probe) + at) for at in (48, 56, 64, 88)]
    wanted = [id(probe.__code__), id(probe.__defaults__), id(probe.__kwdefaults__), id(probe.__dict__)]
    return words == wanted and _pointer(id(made) + 88) == 0


def _random_offset() -> int:
    try:
        probe = random.Random(7)
        body = bytes(view(id(probe) + 16, random.Random.__basicsize__ - 16))
        state = probe.getstate()[1]
        at = body.find(b"".join(word.to_bytes(4, "little") for word in state[:-1]))
        index_at = at - 4 if at >= 4 else -1
        if index_at < 0 or int.from_bytes(body[index_at : index_at + 4], "little") != state[-1]:
            return 0
        return 16 + index_at
    except Exception:
        return 0


def dict_heads(target: dict[Any, Any]) -> list[Word]:
    """A dict's version, which is new after every change of a key or a value's identity; else its size and table."""
    if LAYOUT.versions:
        return [view(id(target) + 24, 8)]
    return [view(id(target) + 16, 32)] if LAYOUT.tables else []


def dict_body(target: dict[Any, Any], versions: bool | None = None) -> tuple[int, int] | None:
    """Address and size of a dict's table where there are no versions, to be read only while its head is unchanged."""
    if versions if versions is not None else LAYOUT.versions:
        return None
    table, values = _pointer(id(target) + 32), _pointer(id(target) + 40)
    if values:  # The table of names is shared between instances; the values are this one's.
        return values, 8 + 8 * (view(values, 1)[0] if sys.version_info >= (3, 13) else len(target))
    index_bytes, kind = view(table + 9, 2)
    entries = _pointer(table + 24)
    # From the counts of free and used entries (after the version, which moves by itself) to the last entry.
    return table + 16, 16 + (1 << index_bytes) + entries * (24 if kind == 0 else 16)


def list_heads(target: list[Any]) -> list[Word]:
    """A list's length and where its items are; the items themselves are its body."""
    return [view(id(target) + 16, 16)] if LAYOUT.lists else []


def list_body(target: list[Any]) -> tuple[int, int]:
    """Address and size of a list's items, to be read only while its head is unchanged."""
    return _pointer(id(target) + 24), 8 * list.__len__(target)


def set_heads(target: set[Any]) -> list[Word]:
    """The size of a set's table and where it is; what the table holds is its body."""
    return [view(id(target) + 32, 16)] if LAYOUT.sets else []


def set_body(target: set[Any]) -> tuple[int, int]:
    """Address and size of a set's table (hash and reference of each place)."""
    return _pointer(id(target) + 40), 16 * (_pointer(id(target) + 32) + 1)


def deque_heads(target: deque[Any], sound: bool | None = None) -> list[Word]:
    """A deque's length, where its ends are, and a count of their moves; what it holds is its body, up to one block."""
    return [view(id(target) + 16, 48)] if (LAYOUT.deques if sound is None else sound) else []


def deque_body(target: deque[Any]) -> tuple[int, int] | None:
    """Address and size of a deque's items, None where they are not in one block."""
    size, block, last, left = (_pointer(id(target) + at) for at in (16, 24, 32, 40))
    return (block + 8 + 8 * left, 8 * size) if block == last else None


def ordered_heads(target: OrderedDict[Any, Any]) -> list[Word]:
    """An OrderedDict's version as a dict, and what it keeps besides: among it a count of the changes of its order."""
    heads = dict_heads(target)
    return [*heads, view(id(target) + 48, OrderedDict.__basicsize__ - 48)] if heads and LAYOUT.ordered else []


def buffer_heads(target: bytearray | array.array[Any]) -> list[Word]:
    """The length of a bytearray or an array, and where its bytes are; the bytes are its body."""
    return [view(id(target) + 16, 32)] if LAYOUT.buffers else []


def buffer_body(target: bytearray | array.array[Any]) -> tuple[int, int]:
    """Address and size of the bytes."""
    if isinstance(target, bytearray):
        return _pointer(id(target) + 40), bytearray.__len__(target)
    address, size = array.array.buffer_info(target)
    return address, size * target.itemsize


def object_heads(target: object) -> list[Word]:
    """All of a small object of C: whatever it keeps in itself."""
    return [view(id(target) + 16, type(target).__basicsize__ - 16)] if LAYOUT.cells else []


def cell_heads(target: CellType) -> list[Word]:
    """The reference that a closure's cell holds."""
    return [view(id(target) + 16, 8)] if LAYOUT.cells else []


def function_heads(target: FunctionType) -> list[Word]:
    """A function's code, defaults, keyword defaults, closure, doc and the place of its attributes."""
    return [view(id(target) + 48, 48)] if LAYOUT.functions else []


def has_attributes(target: FunctionType) -> bool:
    """Tell whether a function has a ``__dict__`` already; asking the function would make one."""
    return not LAYOUT.functions or _pointer(id(target) + 88) != 0


def random_heads(target: random.Random) -> list[Word]:
    """The Mersenne Twister's whole state: drawing, seeding and setting it show here."""
    return [view(id(target) + LAYOUT.randoms, 4 * 625)] if LAYOUT.randoms else []


def class_space(target: type) -> dict[Any, Any] | None:
    """Find the dict behind a class's read-only ``__dict__``, or None where it cannot be had."""
    found = gc.get_referents(type.__getattribute__(target, "__dict__"))
    return found[0] if len(found) == 1 and type(found[0]) is dict else None


def instance_heads(target: object, space: dict[Any, Any]) -> list[Word]:
    """An instance's class, the place of its ``__dict__`` and that dict's version; none where the place is not found."""
    heads = dict_heads(space)
    if not heads:
        return []
    kind = type(target)
    wanted = id(space)
    # Flag 1 << 4: the interpreter keeps the dict's place in front of the object (managed dict), else it is in its body.
    places = range(-32, -16, 8) if kind.__flags__ & (1 << 4) else range(16, kind.__basicsize__, 8)
    for at in places:
        if _pointer(id(target) + at) == wanted:
            return [view(id(target) + 8, 8), view(id(target) + at, 8), *heads]
    return []


def body_heads(target: object) -> list[Word]:
    """An instance's class and all its slots."""
    kind = type(target)
    sound = LAYOUT.cells and kind.__itemsize__ == 0
    return [view(id(target) + 8, kind.__basicsize__ - 8)] if sound else []


def _make_memcmp() -> Callable[[int, int, int], int]:
    function = ctypes.PyDLL(None).memcmp  # PyDLL keeps the GIL: nothing may move what is being compared.
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_int
    return function


memcmp = _make_memcmp()

LAYOUT = Layout()
