"""The walk from a user module's globals to everything of the user's that holds state."""

from __future__ import annotations

import array
import collections
import contextvars
import functools
import gc
import io
import random
import sys
import types
import weakref
from _thread import LockType, RLock, _local
from collections.abc import Callable
from typing import Any

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
    label_of,
)
from greenroom_replica.reset.objects import (
    CellNode,
    ClassNode,
    FunctionNode,
    InstanceNode,
    SlotsNode,
    mro_of,
    slots_of,
    space_of,
)
from greenroom_replica.reset.opaque import LARGEST, MOST_NODES, Opaque, judge, size_of_buffer, too_many, unreadable
from greenroom_replica.reset.special import (
    BufferNode,
    DispatchNode,
    LockNode,
    LruNode,
    NumpyNode,
    WeakNode,
    WeakSetNode,
)
from greenroom_replica.reset.streams import TwisterNode, held_stream
from greenroom_replica.reset.usercode import Territory, is_standard

_ATOMS = frozenset(
    {
        *(int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range, slice, object),
        *(types.BuiltinFunctionType, types.ModuleType, types.CodeType, types.GetSetDescriptorType, types.GenericAlias),
        *(types.MemberDescriptorType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType),
        *(types.ClassMethodDescriptorType, types.UnionType, weakref.ref),
    }
)
"""Types whose objects cannot change, or hold nothing of the user's."""

_PLAIN = {
    ("types", "SimpleNamespace"),
    ("argparse", "Namespace"),
    *(("collections", name) for name in ("UserDict", "UserList", "UserString", "ChainMap")),
    *(("threading", name) for name in ("Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier")),
    *(("queue", name) for name in ("Queue", "LifoQueue", "PriorityQueue")),
}
"""Classes of the standard library that are plain data in Python: looked into like the user's own."""

_LARGEST_BYTEARRAY = 16 * 1024 * 1024
_SKIPPED_GLOBALS = frozenset({"__builtins__", "__spec__", "__loader__", "__cached__"})

Step = tuple[Any, "Node | None", str]


class Walk:
    """Finds nodes, from modules inwards; an object is met once, whatever the number of names for it."""

    def __init__(self, territory: Territory) -> None:
        self.nodes: list[Node] = []
        self.opaque: list[Opaque] = []
        self._territory = territory
        self._met: dict[int, object] = {}
        """Objects by id, held so that no id is given twice."""
        self._stack: list[Step] = []
        self._visits = _visits(self)

    def module(self, name: str, space: dict[str, Any]) -> list[Node]:
        """Walk a module's globals; return the nodes that are new."""
        if id(space) in self._met:
            return []
        first = len(self.nodes)
        root = self._keep(NamespaceNode(space, None, name))
        for label, value in list(space.items()):
            if label not in _SKIPPED_GLOBALS:
                self._root(value, root, f".{label}")
        return self.nodes[first:]

    def root(self, value: object, name: str) -> None:
        """Walk from a value that no module holds."""
        self._root(value, None, name)

    def _root(self, value: object, parent: Node | None, label: str) -> None:
        """Walk from one global; forget all of it where it reaches more than is worth comparing."""
        nodes, met = len(self.nodes), len(self._met)
        self._stack.append((value, parent, label))
        while self._stack:
            item, owner, name = self._stack.pop()
            try:
                self._visit(item, owner, name)
            except Exception as error:  # An object that cannot even be copied is said to be unchecked, not the end.
                self.opaque.append(unreadable(f"{owner.name if owner else ''}{name}", item, error))
            if len(self.nodes) - nodes > MOST_NODES:
                del self.nodes[nodes:]
                for key in list(self._met)[met:]:
                    del self._met[key]
                self._stack.clear()
                self.opaque.append(too_many(f"{parent.name if parent else ''}{label}", value))

    def _keep(self, node: Node) -> Node:
        self.nodes.append(node)
        self._met[id(node.target)] = node.target
        return node

    def _visit(self, value: Any, parent: Node | None, label: str) -> None:
        kind = type(value)
        if kind in _ATOMS or id(value) in self._met:
            return
        self._met[id(value)] = value
        visit = self._visits.get(kind)
        if visit is not None:
            visit(value, parent, label)
        elif issubclass(kind, type):
            if self._territory.owns_class(value):
                self._class(value, parent, label)
        elif self._territory.owns_class(kind) or self._is_plain(kind):
            self._instance(value, parent, label)
        elif (stream := held_stream(value, parent, label)) is not None:
            self.nodes.append(stream)
        elif issubclass(kind, tuple):
            self._items(value, parent, label)
        else:
            self._foreign(value, parent, label)

    def _is_plain(self, kind: type) -> bool:
        return (kind.__module__, kind.__qualname__) in _PLAIN or issubclass(kind, _local)

    # -- Containers ------------------------------------------------------------------------------------------------

    def _mapping(self, value: Any, parent: Node | None, label: str) -> None:
        kind = OrderedNode if issubclass(type(value), collections.OrderedDict) else MappingNode
        self._pairs(self._keep(kind(value, parent, label)))

    def _pairs(self, node: Node) -> None:
        for key, item in node.saved.items():
            self._stack.append((item, node, label_of(key)))
            if type(key) not in _ATOMS:
                self._stack.append((key, node, label_of(key)))

    def _defaultdict(self, value: Any, parent: Node | None, label: str) -> None:
        self._mapping(value, parent, label)
        factory: Any = collections.defaultdict.__dict__["default_factory"]
        self.nodes.append(SlotsNode(value, [factory], parent, f"{label}.default_factory"))
        self._stack.append((value.default_factory, parent, f"{label}.default_factory"))

    def _list(self, value: Any, parent: Node | None, label: str) -> None:
        node = self._keep(ListNode(value, parent, label))
        self._stack += [(item, node, f"[{place}]") for place, item in enumerate(node.saved) if type(item) not in _ATOMS]

    def _deque(self, value: Any, parent: Node | None, label: str) -> None:
        node = self._keep(DequeNode(value, parent, label))
        self._stack += [(item, node, f"[{place}]") for place, item in enumerate(node.saved)]

    def _set(self, value: Any, parent: Node | None, label: str) -> None:
        node = SetNode(value, parent, label)
        self._keep(node)
        self._stack += [(item, node, "{...}") for item in node.order if type(item) not in _ATOMS]

    def _items(self, value: Any, parent: Node | None, label: str) -> None:
        items = tuple.__iter__(value) if issubclass(type(value), tuple) else frozenset.__iter__(value)
        self._stack += [(item, parent, f"{label}[{place}]") for place, item in enumerate(items)]

    def _bytearray(self, value: Any, parent: Node | None, label: str) -> None:
        size = bytearray.__len__(value)
        if size > _LARGEST_BYTEARRAY:
            self._not_checked(Opaque(self._name(parent, label), "bytearray", "large", size))
        else:
            self._keep(BytesNode(value, parent, label))

    def _array(self, value: Any, parent: Node | None, label: str) -> None:
        size = len(value) * value.itemsize
        if size > LARGEST:
            self._not_checked(Opaque(self._name(parent, label), "array.array", "large", size))
        else:
            self._keep(ArrayNode(value, parent, label))

    # -- What user code defines ------------------------------------------------------------------------------------

    def _instance(self, value: Any, parent: Node | None, label: str) -> None:
        kind = type(value)
        first = len(self.nodes)
        for base, visit in _CONTENTS:
            if issubclass(kind, base):
                visit(self, value, parent, label)
                break
        space = space_of(value)
        if space is not None:
            node = InstanceNode(value, space, parent, label)
            self.nodes.append(node)
            self._stack += [(item, node, f".{name}") for name, item in node.saved.items()]
        slots = slots_of(kind)
        if slots:
            slotted = SlotsNode(value, slots, parent, label)
            self.nodes.append(slotted)
            for descriptor, item in zip(slots, slotted.saved, strict=True):
                self._stack.append((item, slotted, f".{descriptor.__name__}"))
        owner = self.nodes[first] if len(self.nodes) > first else parent
        self._stack.append((kind, owner, ".__class__"))

    def _class(self, value: type, parent: Node | None, label: str) -> None:
        node = self._keep(ClassNode(value, self._is_machinery, parent, label))
        enumerated = "_member_map_" in node.saved and "_value2member_map_" in node.saved
        for name, item in node.saved.items():
            # Tables of an Enum are filled as flags are combined: another table would mean other members.
            if not (enumerated and name.startswith("_") and not name.startswith("__")):
                self._stack.append((item, node, f".{name}"))
        if enumerated:
            self._stack += [(item, node, f".{name}") for name, item in node.saved["_member_map_"].items()]
        for base in mro_of(value)[1:]:
            self._stack.append((base, node, ""))
        self._stack.append((type(value), node, ".__class__"))

    def _is_machinery(self, value: object) -> bool:
        """Tell whether a library put this on a user's class as its machinery (an ORM's attribute): it has to stay."""
        kind = type(value)
        if not ("__set__" in dir(kind) and "__get__" in dir(kind)) or self._territory.owns_class(kind):
            return False
        return not is_standard(str(kind.__module__))

    def _function(self, value: Any, parent: Node | None, label: str) -> None:
        if self._territory.owns_function(value):
            self._parts(value, parent, label)

    def _parts(self, value: types.FunctionType, parent: Node | None, label: str) -> None:
        """Walk what a function holds: attributes, defaults, and the variables that it closes over."""
        node = self._keep(FunctionNode(value, parent, label))
        attributes = node.saved[4]
        if "registry" in attributes and "_clear_cache" in attributes:
            self._dispatch(attributes, node)
        self._stack += [(item, node, f".{name}") for name, item in attributes.items()]
        self._stack += [(item, node, f".__defaults__[{place}]") for place, item in enumerate(value.__defaults__ or ())]
        if value.__kwdefaults__:
            self._stack.append((value.__kwdefaults__, node, ".__kwdefaults__"))
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if id(cell) in self._met or variable == "__class__":
                continue
            closed = self._keep(CellNode(cell, node, f".<{variable}>"))
            content = closed.saved
            if (
                type(content) is types.FunctionType
                and "<locals>" in content.__qualname__
                and id(content) not in self._met
            ):
                # Made for this function by a library's decorator: its variables are this function's state.
                self._parts(content, closed, "")
            else:
                self._stack.append((content, closed, ""))

    def _dispatch(self, attributes: dict[str, Any], node: Node) -> None:
        forget = attributes["_clear_cache"]
        cache = getattr(forget, "__self__", None)
        self._met[id(cache)] = cache  # Emptied by `forget`, which is all that it needs.
        for found in gc.get_referents(attributes["registry"]):
            if type(found) is dict and id(found) not in self._met:
                self._pairs(self._keep(DispatchNode(found, forget, node, ".registry")))

    def _wrapper(self, value: Any, parent: Node | None, label: str) -> None:
        """Look behind a descriptor or a partial."""
        for name in ("fget", "fset", "fdel", "__func__", "__self__", "func", "args", "keywords", "dispatcher"):
            item = getattr(value, name, None)
            if item is not None:
                self._stack.append((item, parent, label if name != "__self__" else f"{label}.__self__"))

    def _memo(self, value: Any, parent: Node | None, label: str) -> None:
        function = getattr(value, "__wrapped__", None)
        if type(function) is types.FunctionType and not self._territory.owns_function(function):
            return  # A library's memo table, such as re's: that is kept.
        node = LruNode(value, parent, label)
        self.nodes.append(node)
        self._stack.append((function, node, ""))
        self._stack += [(item, node, "(...)") for item in node.saved.values()]

    # -- The rest --------------------------------------------------------------------------------------------------

    def _weak(self, value: Any, parent: Node | None, label: str) -> None:
        if type(value) is weakref.WeakSet:
            table: Any = vars(value)["data"]
            self.nodes.append(WeakSetNode(table, parent, label))
        else:
            by_key = type(value) is weakref.WeakKeyDictionary
            self.nodes.append(WeakNode(value.data, by_key, parent, label))

    def _twister(self, value: Any, parent: Node | None, label: str) -> None:
        self.nodes.append(TwisterNode(value, parent, label))

    def _lock(self, value: Any, parent: Node | None, label: str) -> None:
        self._keep(LockNode(value, parent, label))

    def _buffer(self, value: Any, parent: Node | None, label: str) -> None:
        self._keep(BufferNode(value, parent, label))

    def _proxy(self, value: Any, parent: Node | None, label: str) -> None:
        self._stack += [(item, parent, label) for item in gc.get_referents(value)]

    def _context_variable(self, value: Any, parent: Node | None, label: str) -> None:
        # The default may be a list that calls append to; only the variable itself knows it.
        self._stack += [(item, parent, f"{label}.default") for item in gc.get_referents(value) if type(item) is not str]

    def _foreign(self, value: Any, parent: Node | None, label: str) -> None:
        """Look at a library's object only for functions and classes of the user's, as a task holds its function."""
        numpy = sys.modules.get("numpy")
        if numpy is not None and type(value) is getattr(numpy, "ndarray", None) and value.nbytes <= LARGEST:
            if value.flags.writeable:
                self._keep(NumpyNode(value, parent, label))
            return
        if type(parent) is NamespaceNode or size_of_buffer(value) > LARGEST:
            found = judge(self._name(parent, label), value)
            if found is not None:
                self._not_checked(found)
        space = space_of(value)
        if space is None or type(value).__module__ == "builtins":
            return
        for name, item in list(space.items()):
            kind = type(item)
            if kind in (types.FunctionType, types.MethodType, functools._lru_cache_wrapper) or issubclass(kind, type):
                self._stack.append(
                    (item, parent, label if name in ("__wrapped__", "fn", "function") else f"{label}.{name}")
                )

    def _not_checked(self, found: Opaque) -> None:
        self.opaque.append(found)

    def _name(self, parent: Node | None, label: str) -> str:
        return f"{parent.name if parent is not None else ''}{label}"


def _visits(walk: Walk) -> dict[type, Callable[[Any, Node | None, str], None]]:
    """How each builtin type is walked."""
    return {
        dict: walk._mapping,
        collections.OrderedDict: walk._mapping,
        collections.Counter: walk._mapping,
        collections.defaultdict: walk._defaultdict,
        list: walk._list,
        set: walk._set,
        tuple: walk._items,
        frozenset: walk._items,
        collections.deque: walk._deque,
        bytearray: walk._bytearray,
        array.array: walk._array,
        types.FunctionType: walk._function,
        **dict.fromkeys((staticmethod, classmethod, property, types.MethodType, functools.partial), walk._wrapper),
        **dict.fromkeys(
            (functools.partialmethod, functools.cached_property, functools.singledispatchmethod), walk._wrapper
        ),
        functools._lru_cache_wrapper: walk._memo,
        **dict.fromkeys((weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary), walk._weak),
        **dict.fromkeys((LockType, RLock), walk._lock),
        **dict.fromkeys((io.StringIO, io.BytesIO), walk._buffer),
        types.MappingProxyType: walk._proxy,
        contextvars.ContextVar: walk._context_variable,
    }


_CONTENTS: tuple[tuple[type, Callable[[Walk, Any, Node | None, str], None]], ...] = (
    (collections.defaultdict, Walk._defaultdict),
    (dict, Walk._mapping),
    (list, Walk._list),
    (set, Walk._set),
    (collections.deque, Walk._deque),
    (bytearray, Walk._bytearray),
    (array.array, Walk._array),
    (tuple, Walk._items),
    (frozenset, Walk._items),
    (random.Random, Walk._twister),
)
"""What an instance of a user's subclass of a builtin holds as such."""
