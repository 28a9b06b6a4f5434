# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""Memory images tell of every change, and of nothing else that matters."""

from __future__ import annotations

import array
import collections
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenroom_replica.reset import images
from greenroom_replica.reset.nodes import (
    ArrayNode,
    BytesNode,
    DequeNode,
    ListNode,
    MappingNode,
    NamespaceNode,
    Node,
    OrderedNode,
    SetNode,
)
from greenroom_replica.reset.objects import InstanceNode, space_of
from greenroom_replica.reset.watch import Watch

KEYS = st.integers(-3, 3) | st.text(max_size=1) | st.booleans() | st.none()
STEPS = st.lists(st.tuples(st.integers(0, 9), KEYS, KEYS), max_size=8)


class Thing:
    """An instance of a user's class."""


def change_list(target: list[Any], step: int, key: Any, value: Any) -> None:
    choices: list[Callable[[], Any]] = [
        lambda: target.append(value), lambda: target.insert(0, value), target.clear, target.reverse, lambda: target.extend([key] * 70),
        lambda: target.pop(), lambda: target.__setitem__(0, value), lambda: target.sort(key=id), lambda: target.remove(key), target.copy,
    ]  # fmt: skip
    choices[step]()


def change_dict(target: Any, step: int, key: Any, value: Any) -> None:
    choices: list[Callable[[], Any]] = [
        lambda: target.__setitem__(key, value), lambda: target.pop(key), target.clear, lambda: target.setdefault(key, value),
        target.popitem, lambda: target.update(dict.fromkeys(range(100), value)), lambda: target.__setitem__(key, target.pop(key)),
        lambda: target.get(key), lambda: target.update({key: value}), lambda: target.__delitem__(key),
    ]  # fmt: skip
    choices[step]()


def change_set(target: set[Any], step: int, key: Any, value: Any) -> None:
    choices: list[Callable[[], Any]] = [
        lambda: target.add(key), lambda: target.discard(key), target.clear, lambda: target.update(range(100)), target.pop,
        lambda: target.remove(value), lambda: target.symmetric_difference_update([key, value]), target.copy,
        lambda: (target.discard(key), target.add(key)), lambda: key in target,
    ]  # fmt: skip
    choices[step]()


def change_deque(target: Any, step: int, key: Any, value: Any) -> None:
    choices: list[Callable[[], Any]] = [
        lambda: target.append(value), lambda: target.appendleft(key), target.clear, target.reverse, lambda: target.rotate(1),
        target.pop, lambda: target.__setitem__(0, value), lambda: target.extend([key] * 70), target.popleft, target.copy,
    ]  # fmt: skip
    choices[step]()


def change_numbers(target: Any, step: int, key: Any, value: Any) -> None:
    number = len(repr(value)) % 100
    choices: list[Callable[[], Any]] = [
        lambda: target.append(number), lambda: target.__setitem__(0, number), target.pop, target.reverse, lambda: target.extend(target),
        lambda: target.remove(number), lambda: target.insert(0, number), lambda: target.__delitem__(slice(None)), lambda: target[0],
        lambda: target.count(number),
    ]  # fmt: skip
    choices[step]()


def change_instance(target: Any, step: int, key: Any, value: Any) -> None:
    choices: list[Callable[[], Any]] = [
        lambda: setattr(target, "a", value), lambda: delattr(target, "a"), lambda: setattr(target, f"k{key}", value),
        lambda: vars(target).clear(), lambda: setattr(target, "__dict__", {"a": value}), lambda: target.a,
        lambda: vars(target).update(b=value), lambda: vars(target).pop("b"), lambda: vars(target).setdefault("c", value),
        lambda: setattr(target, "__class__", type("Other", (Thing,), {})),
    ]  # fmt: skip
    choices[step]()


def make_thing() -> Thing:
    thing = Thing()
    thing.a = 1  # type: ignore[attr-defined]
    return thing


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Node], Callable[..., None], Callable[[Any], Any]]] = {
    "list": (lambda: [1, "a", None], lambda x: ListNode(x, None, "x"), change_list, lambda x: [(type(i), i) for i in x]),
    "dict": (lambda: {1: 1, "a": 2}, lambda x: MappingNode(x, None, "x"), change_dict, lambda x: [*map(repr, x.items())]),
    "dict of names": (lambda: {"a": 1, "b": 2}, lambda x: MappingNode(x, None, "x"), change_dict, lambda x: [*map(repr, x.items())]),
    "namespace": (lambda: {"a": 1, "b": 2}, lambda x: NamespaceNode(x, None, "x"), change_dict, lambda x: sorted(map(repr, x.items()))),
    "set": (lambda: {1, 2, "a"}, lambda x: SetNode(x, None, "x"), change_set, lambda x: sorted(map(repr, x))),
    "deque": (lambda: collections.deque([1, 2]), lambda x: DequeNode(x, None, "x"), change_deque, lambda x: [*map(repr, x)]),
    "OrderedDict": (lambda: collections.OrderedDict(a=1, b=2), lambda x: OrderedNode(x, None, "x"), change_dict, lambda x: [*map(repr, x.items())]),
    "bytearray": (lambda: bytearray(b"abc"), lambda x: BytesNode(x, None, "x"), change_numbers, bytes),
    "array": (lambda: array.array("i", [1, 2]), lambda x: ArrayNode(x, None, "x"), change_numbers, list),
    "instance": (make_thing, lambda x: InstanceNode(x, space_of(x) or {}, None, "x"), change_instance, lambda x: (type(x), [*map(repr, vars(x).items())])),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["images", "tables", "asked"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(histories=st.lists(STEPS, min_size=1, max_size=3))
def test_every_history_is_seen_and_undone(kind: str, layout: str, histories: list[Any]) -> None:
    """
    After any changes a watch is clean only if the object is as it was, and a restore makes it so; again and again.
    """
    with layout_of(layout):
        make, node_of, change, look = KINDS[kind]
        target = make()
        node = node_of(target)
        watch = Watch([node])
        first = look(target)
        assert watch.clean()

        for history in histories:
            for step in history:
                try:
                    change(target, *step)
                except (KeyError, IndexError, ValueError, AttributeError, TypeError):
                    pass
            assert look(target) == first or not watch.clean()
            dirty = watch.dirty() if not watch.clean() else []
            assert dirty == [] or [node] == dirty
            if dirty:
                node.settle()
            watch.rearm(dirty)

            assert first == look(target)
            assert watch.clean()


class layout_of:
    """Look at memory as another interpreter would allow."""

    def __init__(self, layout: str) -> None:
        off = {"images": (), "tables": ("versions",), "asked": tuple(vars(images.LAYOUT))}[layout]
        self._kept = {name: getattr(images.LAYOUT, name) for name in off}

    def __enter__(self) -> None:
        for name in self._kept:
            setattr(images.LAYOUT, name, False)

    def __exit__(self, *exc: object) -> None:
        for name, value in self._kept.items():
            setattr(images.LAYOUT, name, value)


def test_this_interpreters_memory_is_as_expected() -> None:
    """
    On the CPython versions that are supported, all layouts are found.
    """
    found = dict(vars(images.LAYOUT))
    found.pop("versions")  # Gone from 3.13 on, where tables stand in.

    assert all(found.values()), found


def test_only_what_changed_is_found_among_many() -> None:
    """
    Of a thousand objects the few that changed are named, whichever way they changed.
    """
    lists: list[list[int]] = [[n] for n in range(500)]
    dicts: list[dict[int, int]] = [{n: n} for n in range(500)]
    nodes: list[Node] = [ListNode(item, None, "list") for item in lists]
    nodes += [MappingNode(item, None, "dict") for item in dicts]
    watch = Watch(nodes)

    lists[3].append(1)
    lists[7][0] = -1
    dicts[9][1] = 1

    assert [lists[3], lists[7], dicts[9]] == sorted(
        (node.target for node in watch.dirty()), key=lambda x: (isinstance(x, dict), len(str(x)) < 6)
    )


def test_large_lists_are_compared_in_place() -> None:
    """
    A list of a million elements is compared without a copy, and one changed element is found.
    """
    target: list[Any] = [None] * 1_000_000
    watch = Watch([ListNode(target, None, "x")])
    assert watch.clean()

    target[654_321] = 0

    assert not watch.clean()
    assert len(watch.dirty()) == 1
