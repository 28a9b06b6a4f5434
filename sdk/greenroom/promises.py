"""Promises: what calls give while a workflow is being defined, and what may be done with them then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

from greenroom.building import Builder, Draft
from greenroom.conditions import Comparison
from greenroom.definition_errors import PromiseMisuse, WrongPlace
from greenroom.errors import NoSuchPart
from greenroom.inlining import Given
from greenroom_core.conditions import Operator
from greenroom_core.values import Path

if TYPE_CHECKING:
    from greenroom.types.spec import TypeSpec

MARK: Final = "<promise "
"""How a promise looks in text: a string that holds it was formatted from a promise by mistake."""

_IN_TASK: Final = "do this inside a task"


class Chained:
    """Something that has an order among the nodes of a workflow: `a >> b` lets `a` end before `b` starts."""

    __slots__ = ()

    def _drafts(self) -> Iterator[Draft]:
        raise NotImplementedError

    def __rshift__(self, other: Any) -> Any:
        self.runs_before(other)
        return other

    def __lshift__(self, other: Any) -> Any:
        if isinstance(other, Chained):
            other.runs_before(self)
        return other

    def runs_before(self, other: Any) -> None:
        """Let this end before `other` starts, although it hands nothing to it.

        Raises:
            WrongPlace: `other` is no call of the same workflow.
        """
        later = [draft for part in _parts(other) for draft in part._drafts()]
        for draft in self._drafts():
            for after in later:
                after.wait_for(draft)

    def with_overrides(self, node_name: str | None = None, **overrides: Any) -> Any:
        """Treat this one call otherwise than its task says.

        Args:
            node_name: Id of the node.
            **overrides: `name`, `aliases` (of outputs, for `create_node`), `retries`, `timeout`, `queue_timeout`,
                `interruptible`, `cache`, `cache_version`, `cache_serialize`, and of a plain task: `requests`, `limits`,
                `resources`, `container_image`, `environment`, `accelerator`, `shared_memory`, `pod_template`, `labels`,
                `annotations`.

        Raises:
            BadArgument: An override is unknown, or is a promise.
        """
        from greenroom.overrides import override

        for draft in dict.fromkeys(self._drafts()):
            override(draft, node_name, overrides)
        return self


def _parts(other: Any) -> Iterator[Chained]:
    if isinstance(other, Chained):
        yield other
    elif isinstance(other, (tuple, list)) and other and all(isinstance(part, Chained) for part in other):
        yield from other
    else:
        raise WrongPlace(f">> {other!r}", "it orders calls of a workflow: put what a call returned there")


class Promise(Chained):
    """A value that will be there when the workflow runs: an input of it, an output of a call, or a part of one."""

    __slots__ = ("_builder", "_draft", "_output", "_path", "_type")

    def __init__(
        self, builder: Builder, draft: Draft | None, output: str, type_: TypeSpec | None, path: Path = ()
    ) -> None:
        object.__setattr__(self, "_builder", builder)
        object.__setattr__(self, "_draft", draft)
        object.__setattr__(self, "_output", output)
        object.__setattr__(self, "_type", type_)
        object.__setattr__(self, "_path", path)

    _builder: Builder
    _draft: Draft | None
    _output: str
    _type: TypeSpec | None
    _path: Path

    # What may be done ------------------------------------------------------------------------------------------------

    def __getitem__(self, step: str | int) -> Promise:
        """A part of the value: an item of a list, an entry of a dict, a field.

        Raises:
            PromiseMisuse: The step is no constant.
            NoSuchPart: Its type has no such part.
        """
        if isinstance(step, bool) or not isinstance(step, (str, int)):
            self._misused(f"[{step!r}] is no constant index or key", f"{_IN_TASK}, or map over it")
        return self._part(step)

    def __getattr__(self, name: str) -> Promise:
        if name.startswith("_"):  # What tools ask any object for; a field of such a name is reached by p["_name"].
            raise AttributeError(name)
        return self._part(name)

    def _part(self, step: str | int) -> Promise:
        type_ = None
        if self._type is not None:
            try:
                step, type_ = self._type.part(step)
            except NoSuchPart as fault:
                raise PromiseMisuse(repr(self), str(fault), "return the part from a task") from None
        return Promise(self._builder, self._draft, self._output, type_, (*self._path, step))

    def _drafts(self) -> Iterator[Draft]:
        if self._draft is None:
            self._misused("it is an input, which comes before everything", "order the calls of tasks")
        yield self._draft

    def __eq__(self, other: object) -> Comparison:  # type: ignore[override]
        return self._compare(Operator.EQ, other)

    def __ne__(self, other: object) -> Comparison:  # type: ignore[override]
        return self._compare(Operator.NE, other)

    def __lt__(self, other: object) -> Comparison:
        return self._compare(Operator.LT, other)

    def __le__(self, other: object) -> Comparison:
        return self._compare(Operator.LE, other)

    def __gt__(self, other: object) -> Comparison:
        return self._compare(Operator.GT, other)

    def __ge__(self, other: object) -> Comparison:
        return self._compare(Operator.GE, other)

    def is_true(self) -> Comparison:
        """A condition that holds if the value is True."""
        return self._compare(Operator.EQ, True)

    def is_false(self) -> Comparison:
        """A condition that holds if the value is False."""
        return self._compare(Operator.EQ, False)

    def is_none(self) -> Comparison:
        """A condition that holds if the value is None."""
        return self._compare(Operator.EQ, None)

    def _compare(self, operator: Operator, other: object) -> Comparison:
        from greenroom.types import codec_for
        from greenroom.types.spec import mismatch

        if self._type is not None and self._type.opaque:
            self._misused(f"a condition cannot read a {self._type.name}", "compare a plain part or result of it")
        if isinstance(other, Promise):
            return Comparison(self, operator, other)
        codec = codec_for(type(other))
        spec = codec.describe()
        if self._type is not None and other is not None and mismatch(self._type, spec) and mismatch(spec, self._type):
            self._misused(f"it is {self._type.name}, and is compared with {other!r}", "compare it with its own type")
        return Comparison(self, operator, Given(other, codec))

    # What may not be done ---------------------------------------------------------------------------------------------

    def _misused(self, use: str, remedy: str) -> NoReturn:
        raise PromiseMisuse(repr(self), use, remedy)

    def __bool__(self) -> NoReturn:
        self._misused("it is neither true nor false yet", "use conditional(...).if_(...), or decide inside a task")

    def __iter__(self) -> NoReturn:
        remedy = "use map(task)(...) to go over it, p[0] for one item, or a loop in a task or in @dynamic"
        self._misused("it cannot be iterated", remedy)

    def __len__(self) -> NoReturn:
        self._misused("its length is not known", f"{_IN_TASK} or in @dynamic")

    def __contains__(self, item: object) -> NoReturn:
        self._misused("what it contains is not known", f"{_IN_TASK} or in @dynamic")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        self._misused("it cannot be called", _IN_TASK)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        self._misused(f".{name} cannot be assigned", _IN_TASK)

    def __setitem__(self, step: object, value: object) -> NoReturn:
        self._misused(f"[{step!r}] cannot be assigned", _IN_TASK)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        remedy = "pass it as an argument of its own, or inside a list or a dict"
        self._misused("it is packed into another object", remedy)

    def __deepcopy__(self, memo: object) -> Promise:
        return self

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        path = "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in self._path)
        where = self._output if self._draft is None else f"{self._draft.id}.{self._output}"
        return f"{MARK}{where}{path}>"


def _refuse(name: str) -> Any:
    sign = name.strip("_")

    def refuse(self: Promise, *others: object) -> NoReturn:
        self._misused(f"{_SIGNS.get(sign, sign)} cannot be done with it", _IN_TASK)

    return refuse


_SIGNS: Final = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "radd": "+", "rsub": "-", "rmul": "*", "rtruediv": "/", "rfloordiv": "//", "rmod": "%", "rpow": "**",
    "rmatmul": "@", "neg": "-", "pos": "+", "invert": "~", "and": "&", "or": "|", "xor": "^", "rand": "&", "ror": "|",
    "rxor": "^", "int": "int()", "float": "float()", "index": "an index", "abs": "abs()", "round": "round()",
    "complex": "complex()", "divmod": "divmod()", "rdivmod": "divmod()", "enter": "with", "await": "await",
    "fspath": "open()", "bytes": "bytes()", "next": "next()", "reversed": "reversed()", "iadd": "+=",
}  # fmt: skip

for _name in _SIGNS:
    setattr(Promise, f"__{_name}__", _refuse(_name))


class Outputs(Chained, tuple):  # type: ignore[type-arg]
    """The promises of a call with several outputs, or with one that has a name: a named tuple of them."""

    _names: tuple[str, ...] = ()
    __slots__ = ()

    def __getattr__(self, name: str) -> Promise:
        raise AttributeError(f"the call has the outputs {', '.join(self._names)}, not {name!r}")

    def _asdict(self) -> dict[str, Promise]:
        """The promises by the outputs' names."""
        return dict(zip(self._names, self, strict=True))

    @property
    def _fields(self) -> tuple[str, ...]:
        return self._names

    def _drafts(self) -> Iterator[Draft]:
        yield from dict.fromkeys(draft for promise in self for draft in promise._drafts())

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={promise!r}" for name, promise in zip(self._names, self, strict=True))
        return f"{type(self).__name__}({shown})"


class Done(Chained):
    """What a call without outputs gives: something to order other calls by."""

    __slots__ = ("_draft",)

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def _drafts(self) -> Iterator[Draft]:
        yield self._draft

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._misused(f".{name} is not there")

    def __iter__(self) -> NoReturn:
        self._misused("there is nothing to iterate over")

    def __bool__(self) -> bool:
        return False

    def _misused(self, use: str) -> NoReturn:
        remedy = "annotate what it returns, if it should"
        raise PromiseMisuse(f"{self!r}, which has no output,", use, remedy)

    def __repr__(self) -> str:
        return f"{MARK}{self._draft.id}>"


_OURS: Final = frozenset({"runs_before", "with_overrides"})
_CLASSES: dict[tuple[str, tuple[str, ...]], type[Outputs]] = {}


def outputs_of(
    builder: Builder, draft: Draft, types: Mapping[str, TypeSpec | None], tuple_name: str | None
) -> Promise | Outputs | Done:
    """What a call gives back in a workflow.

    Args:
        builder: The graph that it is in.
        draft: Its node.
        types: Its outputs; None where a type is not known.
        tuple_name: Name of the NamedTuple that it returns; None if it returns none.
    """
    promises = [Promise(builder, draft, name, type_) for name, type_ in types.items()]
    if not promises:
        return Done(draft)
    if len(promises) == 1 and tuple_name is None:
        return promises[0]
    key = (tuple_name or "DefaultNamedTupleOutput", tuple(types))
    if key not in _CLASSES:
        # Properties, since a tuple has attributes of its own: an output may be called `count` or `index`.
        parts = {name: property(itemgetter(place)) for place, name in enumerate(key[1]) if name not in _OURS}
        _CLASSES[key] = type(key[0], (Outputs,), {"_names": key[1], "__slots__": (), **parts})
    return tuple.__new__(_CLASSES[key], promises)


# From values to wires -----------------------------------------------------------------------------------------------


def promises_in(value: object) -> Iterator[Promise | Done]:
    """Every promise in a value, at any depth of lists, tuples, dicts and dataclasses."""
    if isinstance(value, (Promise, Done)):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from promises_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from promises_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from promises_in(getattr(value, field.name, None))
    elif isinstance(value, str) and MARK in value:
        remedy = f"its text is not known yet: {_IN_TASK}"
        raise PromiseMisuse(f"a part of {value!r}", "it was formatted into text", remedy)
