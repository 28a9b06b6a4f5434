"""Comparisons of promises, and `conditional`: one of several ways through a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from greenroom import building
from greenroom.building import Builder, Draft, Way, Wire
from greenroom.definition_errors import PromiseMisuse, WrongPlace
from greenroom.lines import caller
from greenroom_core.conditions import Join, Operator
from greenroom_core.graph import NodeKind

if TYPE_CHECKING:
    from greenroom.types import TypeSpec

_JOINED: Final = "join conditions with & and |, each side in parentheses: (a > 1) & (b < 2)"


class _Expression:
    """What a branch can be chosen by."""

    __slots__ = ()

    def __and__(self, other: object) -> Conjunction:
        return self._join(Join.AND, other)

    def __or__(self, other: object) -> Conjunction:
        return self._join(Join.OR, other)

    def _join(self, join: Join, other: object) -> Conjunction:
        if not isinstance(other, _Expression):
            sign = "&" if join is Join.AND else "|"
            raise WrongPlace(f"{self!r} {sign} {other!r}: the right side is no comparison", _JOINED)
        return Conjunction(self, join, other)  # type: ignore[arg-type]

    def __bool__(self) -> NoReturn:
        remedy = f"use conditional(...).if_({self!r}), and {_JOINED}"
        raise PromiseMisuse(repr(self), "it is neither true nor false yet", remedy)


class Comparison(_Expression):
    """`left operator right`, of which at least one side is a promise."""

    __slots__ = ("left", "operator", "right")

    def __init__(self, left: Wire, operator: Operator, right: Wire) -> None:
        self.left, self.operator, self.right = left, operator, right

    def __repr__(self) -> str:
        return f"{_shown(self.left)} {self.operator} {_shown(self.right)}"


class Conjunction(_Expression):
    """Two conditions, joined by & or |."""

    __slots__ = ("join", "left", "right")

    def __init__(self, left: Comparison | Conjunction, join: Join, right: Comparison | Conjunction) -> None:
        self.left, self.join, self.right = left, join, right

    def __repr__(self) -> str:
        return f"({self.left!r}) {'&' if self.join is Join.AND else '|'} ({self.right!r})"


def _shown(wire: Wire) -> str:
    from greenroom.inlining import Given

    return repr(wire.value) if isinstance(wire, Given) else repr(wire)


# conditional --------------------------------------------------------------------------------------------------------


def conditional(name: str) -> Conditional:
    """Begin a branch: `conditional("size").if_(n > 5).then(big(n=n)).else_().then(small(n=n))`.

    Every way is compiled, one of them runs. The outputs that all ways have in common are the branch's; a way may end
    the workflow instead, by `.fail("why")`.

    Args:
        name: Id of the node.

    Raises:
        WrongPlace: No workflow is being defined.
    """
    builder = building.current()
    if builder is None:
        raise WrongPlace(
            f"conditional({name!r}) outside of a workflow", "use a plain if here, or call it in a @workflow or @dynamic"
        )
    return Conditional(builder, name)


class Conditional:
    """A branch that has no way yet."""

    __slots__ = ("_builder", "_draft", "name")

    def __init__(self, builder: Builder, name: str) -> None:
        self.name = name
        self._builder = builder
        self._draft = builder.add(Draft(builder, NodeKind.BRANCH, name, line=caller()))

    def if_(self, expression: Comparison | Conjunction) -> Case:
        """The condition of the first way.

        Raises:
            WrongPlace: It is no comparison of a promise.
        """
        return Case(self._builder, self._draft, _checked(expression, "if_"))

    def __repr__(self) -> str:
        return f"conditional({self.name!r})"


class Condition:
    """A branch whose ways are not all named yet."""

    __slots__ = ("_builder", "_draft")

    def __init__(self, builder: Builder, draft: Draft) -> None:
        self._builder, self._draft = builder, draft

    def elif_(self, expression: Comparison | Conjunction) -> Case:
        """The condition of a further way.

        Raises:
            WrongPlace: It is no comparison of a promise.
        """
        return Case(self._builder, self._draft, _checked(expression, "elif_"))

    def else_(self) -> Case:
        """The way that is taken if no condition holds."""
        return Case(self._builder, self._draft, None)

    def __repr__(self) -> str:
        return f"conditional({self._draft.id!r}) without else_()"


class Case:
    """One way whose end is not known yet. What is called from here to `.then` belongs to it."""

    __slots__ = ("_builder", "_draft", "_first", "_when")

    def __init__(self, builder: Builder, draft: Draft, when: Comparison | Conjunction | None) -> None:
        self._builder, self._draft, self._when = builder, draft, when
        self._first = len(builder.drafts)

    def then(self, outputs: object = None) -> Any:
        """What this way does: the promises of a call, a tuple or list of promises, or a constant.

        Returns:
            After `else_()`, the branch's promises; before, the branch, for its further ways.
        """
        self._builder.inside(self._first, self._draft, len(self._draft.ways))
        self._draft.ways.append(Way(self._when, way_outputs(self._builder, outputs)))
        return self._next()

    def fail(self, message: str) -> Any:
        """This way ends the workflow with `ValueError(message)`.

        Returns:
            As `.then` does.
        """
        self._draft.ways.append(Way(self._when, {}, message))
        return self._next()

    def _next(self) -> Any:
        if self._when is not None:
            return Condition(self._builder, self._draft)
        return _finished(self._builder, self._draft)


def _checked(expression: object, method: str) -> Comparison | Conjunction:
    from greenroom.promises import Promise

    if isinstance(expression, (Comparison, Conjunction)):
        return expression
    if isinstance(expression, Promise):
        remedy = f"{method}({expression!r}.is_true()), or compare it with a value"
        raise WrongPlace(f"{method}() takes a comparison, got a promise", remedy)
    taken = "comparisons of promises, joined by & and |; on what is known already, decide by a plain if"
    raise WrongPlace(f"{method}() got {expression!r}", f"it takes {taken}")


def _finished(builder: Builder, draft: Draft) -> Any:
    """The promises of a branch all of whose ways are known."""
    from greenroom.promises import outputs_of

    ways = [way.outputs for way in draft.ways if way.fail is None]
    if ways and all(len(outputs) == 1 for outputs in ways):  # One output each: the same one, whatever it is called.
        names = {name for outputs in ways for name in outputs}
        name = names.pop() if len(names) == 1 else "o0"
        alike: list[dict[str, Wire]] = [{name: next(iter(outputs.values()))} for outputs in ways]
    else:
        alike = [dict(outputs) for outputs in ways]
    common = [name for name in (alike[0] if alike else ()) if all(name in outputs for outputs in alike)]
    kept = iter(alike)
    draft.ways = [way if way.fail is not None else Way(way.when, _only(common, next(kept))) for way in draft.ways]
    draft.outputs = tuple(common)
    types = {name: _type_of([outputs[name] for outputs in alike]) for name in common}
    return outputs_of(builder, draft, types, None)


def way_outputs(builder: Builder, outputs: object) -> dict[str, Wire]:
    """The outputs of one way by name, from what `.then` was given."""
    from greenroom.calls import wire
    from greenroom.nodes import Node
    from greenroom.promises import Done, Outputs, Promise

    if outputs is None or isinstance(outputs, Done):
        return {}
    if isinstance(outputs, Condition):
        missing = f"then({outputs!r})"
        raise WrongPlace(missing, "end the inner branch with .else_().then(...) or .else_().fail(...)")
    if isinstance(outputs, Node):
        parts: Mapping[str, object] = outputs.outputs
    elif isinstance(outputs, Outputs):
        parts = outputs._asdict()
    elif isinstance(outputs, Promise):
        parts = {"o0" if outputs._path or outputs._draft is None else outputs._output: outputs}
    else:
        parts = {f"o{n}": part for n, part in enumerate(outputs)} if isinstance(outputs, tuple) else {"o0": outputs}
    line = caller()
    return {name: wire(builder, part, Any, "a way of the branch", line) for name, part in parts.items()}


def _type_of(wires: list[Wire]) -> TypeSpec | None:
    """The type that all of these have; None if they have different ones, or unknown ones."""
    from greenroom.inlining import Given
    from greenroom.promises import Promise

    types = [
        wire._type if isinstance(wire, Promise) else wire.codec.describe() if isinstance(wire, Given) else None
        for wire in wires
    ]
    return types[0] if all(type_ == types[0] for type_ in types) else None


def _only(names: list[str], outputs: Mapping[str, Wire]) -> dict[str, Wire]:
    return {name: outputs[name] for name in names}


def close(draft: Draft) -> None:
    """Complete a branch that has no `else_()`: if no condition holds, none of its ways is taken."""
    if draft.ways and draft.ways[-1].when is not None:
        draft.ways = [*(Way(way.when, {}, way.fail) for way in draft.ways), Way(None)]
