"""From one function to all that it refers to: the user's functions, classes, modules and values, each a part.

What is loaded is followed object by object; what a function imports while it runs is followed in the text alone, since
whether it has been imported already must not show in the digest.
"""

from __future__ import annotations

import builtins
import sys
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from types import CellType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom.digest.facts import Chain, Facts
from greenroom.digest.modules import root_of
from greenroom.digest.parts import Cells, Guard, Part
from greenroom.digest.spaces import MISSING, Space, space_of_class, space_of_function, space_of_module
from greenroom.digest.values import Described, describe, mark
from greenroom.keys import own_attribute

if TYPE_CHECKING:
    from greenroom.digest import Digester

Target = FunctionType | type
_SKIPPED: Final = frozenset(
    {"__name__", "__file__", "__doc__", "__spec__", "__package__", "__builtins__", "__path__", "__dict__"}
)
_OUR_MODULES: Final = ("greenroom", "union", "flytekit", "flyte", "unionai")


class _Value(NamedTuple):
    space: Space
    names: Any
    name: str
    value: Any
    label: str


class Walk:
    """One digest in the making."""

    def __init__(self, digester: Digester, since: int | None) -> None:
        self.digester = digester
        self.since = since
        self.is_user = digester.is_user
        self.roots = digester.roots
        self.parts: dict[str, Part] = {}
        self.guards: dict[tuple[int, str], Guard] = {}
        self.state_cells: set[str] = set()
        """Cells of the target that its own code changes."""
        self.static_spaces: dict[str, Space | None] = {}
        self._seen: dict[Any, Any] = {}
        """By identity; holds what it has seen, so that no identity is given twice."""
        self._queue: deque[Callable[[], None]] = deque()
        self._values: deque[_Value] = deque()
        self._described: dict[str, tuple[_Value, Described, int]] = {}
        self._mutated: dict[int, Any] = {}
        self._rebound: set[tuple[int, str]] = set()
        self._stored: set[str] = set()
        self._closed: tuple[CellType, ...] | None = None
        """The closure whose values do not count."""

    def run(self, target: Any, *, cells: bool) -> None:
        """Follow the target to the end.

        Args:
            target: A function, a class, or what wraps one.
            cells: Whether the values that the target itself closes over count; a loader makes them part of its key
                instead. Functions and classes in its closure always count.
        """
        if not self.roots:
            self.roots = _inferred_roots(target)
        if isinstance(target, FunctionType) and not cells:
            self._closed = target.__closure__
        self.add(None, target, ((),))
        while self._queue or self._values:
            while self._queue:
                self._queue.popleft()()
            if self._values:
                self._read_value(self._values.popleft())
        self._finish()

    def _finish(self) -> None:
        """Make the values parts, now that all the code is known that may change them."""
        for label, (value, described, known) in self._described.items():
            if self._is_state(value):
                continue
            if known != len(self._stored):
                described = describe(value.value, self.roots, self.is_user_class, self._stored)
            self.put(label, self._where(value), described.text, described.content)
            stored = frozenset(self._stored)
            guard = Guard(value.names, value.name, value.value, mark(value.value, stored), stored, label)
            self.guards[id(value.names), value.name] = guard

    # What is loaded.

    def add(self, space: Space | None, found: Any, chains: Iterable[Chain], label: str = "") -> bool:
        """Add an object that code refers to; False where it is a plain value, of which the caller knows the name.

        Args:
            space: Where the name of a value is looked up.
            found: The object.
            chains: The attributes that are taken from it, each without the object's own name.
            label: Name of the part, for a value.
        """
        if isinstance(found, FunctionType):
            self._once(self._function, found)
        elif isinstance(found, type):
            self._once(self._class, found)
        elif isinstance(found, ModuleType):
            for chain in sorted(chains):
                self._attribute(found, chain)
        elif isinstance(found, MethodType):
            self.add(space, found.__func__, chains)
            self.add(space, type(found.__self__), ())
        elif isinstance(found, staticmethod | classmethod):
            self.add(space, found.__func__, chains)
        elif isinstance(found, property):
            for accessor in (found.fget, found.fset, found.fdel):
                self.add(space, accessor, ())
        elif isinstance(found, partial):
            for one in (found.func, *found.args, *found.keywords.values()):
                self.add(space, one, ())
            return False
        elif callable(wrapped := own_attribute(found, "__wrapped__")):
            self.add(space, wrapped, chains)
            self.add(space, type(found), ())
        else:
            return False
        return True

    def _once(self, visit: Callable[[Any], None], found: Any) -> None:
        key = (visit.__name__, id(found))
        if key not in self._seen:
            self._seen[key] = found
            self._queue.append(lambda: visit(found))

    def _function(self, function: FunctionType) -> None:
        space = space_of_function(function, self.since, self.is_user)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            self.add(space, wrapped, ())
        if not space.user:
            self._library_function(space, function)
            return
        code = function.__code__
        facts, exact = self.digester.facts_of_code(code, space)
        name = code.co_qualname
        self.put(f"{space.name}:{name}", space.where(code.co_firstlineno), f"#{facts.text[:8]}", facts.text)
        if not exact:
            self._defaults(space, function, name)
        cells = Cells(function)
        closed = function.__closure__ is not None and function.__closure__ is self._closed
        self._note_state(space, facts, cells, closed=closed)
        self._names(space, facts, cells, "" if closed else name)

    def _library_function(self, space: Space, function: FunctionType) -> None:
        """A library's wrapper is not the user's code, but what it closes over may be."""
        held: list[Any] = [*vars(function).values()]
        for name in function.__code__.co_freevars:
            held.append(Cells(function).get(name))
        for one in held:
            for item in one.values() if isinstance(one, dict | MappingProxyType) else (one,):
                if isinstance(item, FunctionType | MethodType | type | partial):
                    self.add(space, item, ())

    def _defaults(self, space: Space, function: FunctionType, name: str) -> None:
        """Defaults of a function without text: those that are plain."""
        for place, value in enumerate(function.__defaults__ or ()):
            self._values.append(_Value(space, {"": value}, "", value, f"{space.name}:{name} default {place}"))

    def _class(self, cls: type) -> None:
        if not self.is_user_class(cls):
            return
        space = space_of_class(cls, self.since, self.is_user)
        for base in (*cls.__mro__[1:], type(cls)):
            if base is not object and base is not type:
                self.add(space, base, ())
        label = f"{space.name}:{cls.__qualname__}"
        facts = self.digester.facts_of_class(cls, space)
        if facts is not None:
            line = space.source.line_of(cls.__qualname__.partition(".")[0]) if space.source is not None else 0
            self.put(label, space.where(line), f"#{facts.text[:8]}", facts.text)
            cells = Cells(*(value for value in vars(cls).values() if isinstance(value, FunctionType)))
            self._note_state(space, facts, cells, closed=False)
            self._names(space, facts, cells, cls.__qualname__)
        else:
            self.put(label, space.where(0), "class", " ".join(sorted(vars(cls))))
        self._attributes(space, cls, label, whole=facts is None)
        if (facts is not None and facts.subclasses) or "__init_subclass__" in vars(cls):
            self._children(space, cls)

    def _children(self, space: Space, cls: type) -> None:
        """Add the subclasses of a class that is asked for them, or that notes them down."""
        children: list[type] = cls.__subclasses__()
        for child in children:
            if _is_current(child):
                self.add(space, child, ())
                self._children(space, child)

    def _attributes(self, space: Space, cls: type, label: str, *, whole: bool) -> None:
        """Values of a class's attributes, which may differ from its text; and its methods, where there is no text."""
        for name, value in sorted(vars(cls).items()):
            if isinstance(value, FunctionType | staticmethod | classmethod | property):
                if whole:
                    self.add(space, value, ())
                continue
            if (
                name.startswith("__")
                or name in ("_abc_impl", "_member_map_", "_value2member_map_")
                or hasattr(value, "__get__")
            ):
                continue
            if isinstance(value, type | ModuleType):
                self.add(space, value, ())
                continue
            self._values.append(_Value(space, vars(cls), name, value, f"{label}.{name}"))

    def _attribute(self, module: ModuleType, chain: Chain) -> None:
        """`module.a.b`: the module itself, where nothing is taken from it or where it makes its attributes up."""
        from greenroom.digest.texts import Texts

        space = space_of_module(module, self.since, self.is_user)
        if not space.user:
            return
        if not chain:
            self.module(space)
            return
        name, rest = chain[0], chain[1:]
        if name not in vars(module):
            Texts(self).attribute(module.__name__, name, {rest}, space)
            return
        self.name(space, vars(module), name, {chain}, f"{space.name}:{name}")

    def module(self, space: Space) -> None:
        """Add all of a module: something in it is found by a name that is made at run time."""
        from greenroom.digest.texts import Texts

        Texts(self).whole(space)

    # Names.

    def _names(self, space: Space, facts: Facts, cells: Cells, label: str) -> None:
        """Add all names that some code looks up; values in its closure only where there is a label for them."""
        from greenroom.digest.texts import Texts

        for name in sorted(facts.names):
            chains = {chain for chain in facts.chains if chain[0] == name}
            if name in cells:
                code = isinstance(cells.get(name), FunctionType | type | ModuleType)
                if (label or code) and name != "__class__":
                    self.name(space, cells, name, chains, f"{space.name}:{label}.{name}")
            elif space.globals is not None:
                self.name(space, space.globals, name, chains, f"{space.name}:{name}")
        if facts.subclasses:
            for name in sorted(facts.names):
                found = self._resolve(space, (name,), cells)
                if isinstance(found, type) and self.is_user_class(found):
                    self._children(space, found)
        for one in facts.imports:
            Texts(self).imported(space, one, facts.chains)
        if facts.anything:
            Texts(self).everything(space)
        for chain in sorted(facts.dynamic):
            self._searched(space, chain, cells)

    def name(self, space: Space, names: Any, name: str, chains: Iterable[Chain], label: str) -> None:
        """Add what a name holds, and guard it."""
        if name in _SKIPPED:
            return
        found = names.get(name, MISSING)
        if found is MISSING:
            if not hasattr(builtins, name):
                self.guards[id(names), name] = Guard(names, name, MISSING, None, frozenset(), label)
            return
        self.guards.setdefault((id(names), name), Guard(names, name, found, None, frozenset(), label))
        if not self.add(space, found, [chain[1:] for chain in chains], label):
            self._values.append(_Value(space, names, name, found, label))

    def _searched(self, space: Space, chain: Chain, cells: Cells | None) -> None:
        """Something is searched by a name made at run time: a module joins whole, a class is whole anyway."""
        found: Any = self._resolve(space, chain, cells) if chain else MISSING
        if isinstance(found, ModuleType):
            self.add(space, found, ((),))
        elif not isinstance(found, type) and (found is MISSING or self.is_user_class(type(found))):
            self.module(space)

    def _resolve(self, space: Space, chain: Chain, cells: Cells | None) -> Any:
        """The object at the end of a chain, as far as modules lead; MISSING where it is not there."""
        found: Any = MISSING
        if cells is not None and chain[0] in cells:
            found = cells.get(chain[0], MISSING)
        elif space.globals is not None:
            found = space.globals.get(chain[0], MISSING)
        for name in chain[1:]:
            if not isinstance(found, ModuleType | type):
                break
            found = vars(found).get(name, MISSING)
        return found

    # State: what the code itself changes is no definition.

    def _note_state(self, space: Space, facts: Facts, cells: Cells, *, closed: bool) -> None:
        self._stored |= facts.stored
        for chain in facts.mutated:
            found = self._resolve(space, chain, cells)
            if found is not MISSING and not isinstance(found, ModuleType):
                self._mutated[id(found)] = found
            if closed and chain[0] in cells:
                self.state_cells.add(chain[0])
        for name in facts.rebound:
            if name in cells:
                self._rebound.add((id(cells.cell(name)), name))
                if closed:
                    self.state_cells.add(name)
            elif space.globals is not None:
                self._rebound.add((id(space.globals), name))

    def _is_state(self, value: _Value) -> bool:
        names = value.names.cell(value.name) if isinstance(value.names, Cells) else value.names
        if isinstance(value.names, MappingProxyType) and value.name in self._stored:
            return True
        if id(value.value) in self._mutated and not isinstance(
            value.value, type(None) | bool | int | float | str | bytes | tuple
        ):
            return True
        return (id(names), value.name) in self._rebound or (value.space.name, value.name) in self.digester.volatile

    def _read_value(self, value: _Value) -> None:
        if value.label in self._described:
            return
        state = self._is_state(value)
        described = describe(value.value, self.roots, self.is_user_class, self._stored)
        for one in described.code:
            self._code_in(value, one, state=state)
        from greenroom.digest.texts import Texts

        if state:
            self.guards.pop((id(value.names), value.name), None)
        elif Texts(self).is_made_anew(value.space, value.name):
            state = True  # Each process has another: what makes it counts.
        else:
            self._described[value.label] = (value, described, len(self._stored))
        if state or described.opaque:
            Texts(self).binding(value.space, value.name, value.label)

    def _code_in(self, value: _Value, found: Any, *, state: bool) -> None:
        """Code in a value: a registry's count even where the program fills it as it goes, classes of state don't."""
        if isinstance(found, ModuleType):
            self.add(value.space, found, ((),))
        elif isinstance(found, FunctionType) or not state or _holds(value.value, found):
            self.add(value.space, found, ())

    def _where(self, value: _Value) -> str:
        source = value.space.source
        line = source.line_of(value.name) if source is not None and value.name else 0
        return value.space.where(line)

    # Shared.

    def put(self, label: str, where: str, text: str, content: str) -> None:
        """Make one definition or value a part of the digest."""
        kept = self.parts.get(label)
        if kept is not None and kept.content != content:
            # Two things of one name, such as two definitions under an `if`: both count, in whatever order they came.
            content = "+".join(sorted({*kept.content.split("+"), content}))
            text = f"#{blake2b(content.encode(), digest_size=4).hexdigest()}"
        self.parts[label] = Part(where, text, content)

    def is_user_class(self, cls: type) -> bool:
        """Whether a class is defined in the user's code."""
        return self.digester.is_user_class(cls)

    def ours(self, space: Space, chain: Chain) -> bool:
        """Whether a decorator is one of Greenroom's, by what its name holds or by how the text imports it."""
        found = self._resolve(space, chain[:1], None)
        if found is MISSING:
            return chain[-1] in ("actor_cache", "task") or chain[0] in _OUR_MODULES
        module = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
        if not isinstance(found, FunctionType | type | ModuleType):
            module = type(found).__module__
        return isinstance(module, str) and module.partition(".")[0] in _OUR_MODULES


def _holds(value: Any, found: Any) -> bool:
    """Whether a container holds a class or function itself, rather than something made of it."""
    items = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, list | tuple | set | frozenset)
        else ()
    )
    return any(item is found for item in items)


def _is_current(cls: type) -> bool:
    """Whether a class is the one that its module has now."""
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def _inferred_roots(target: Any) -> tuple[str, ...]:
    """The folder that the target's module was found in, where nobody said where the code lies."""
    while callable(wrapped := own_attribute(target, "__wrapped__")):
        target = wrapped
    module = sys.modules.get(getattr(target, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    return (root_of(module.__name__, file),) if module is not None and isinstance(file, str) else ()
