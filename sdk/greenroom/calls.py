"""Calls of tasks, workflows and plans while a workflow is being defined: arguments to nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from greenroom.building import Builder, DictOf, ListOf, Wire
from greenroom.definition_errors import MissingArgument, PromiseMisuse, TooManyArguments, UnknownArgument
from greenroom.errors import TypeMismatch, ValueProblem
from greenroom.inlining import Given
from greenroom.interfaces import part_annotation
from greenroom.promises import Done, Promise, promises_in
from greenroom.types import TypeSpec, codec_for
from greenroom.types.codec import endless
from greenroom.types.spec import ANY

if TYPE_CHECKING:
    from greenroom.types import Codec, Interface


def arguments(
    name: str, interface: Interface, args: Sequence[object], kwargs: Mapping[str, object], line: str = ""
) -> dict[str, object]:
    """What each input gets, defaults included, in the order of the inputs.

    Raises:
        TooManyArguments: More by position than there are inputs.
        UnknownArgument: One that there is none for, or that is given twice.
        MissingArgument: An input without a default gets none.
    """
    known = list(interface.inputs)
    if len(args) > len(known):
        raise TooManyArguments(name, len(args), known).at(line)
    given = dict(zip(known, args, strict=False))
    for key, value in kwargs.items():
        if key not in interface.inputs or key in given:
            raise UnknownArgument(name, key, known).at(line)
        given[key] = value
    missing = [key for key, parameter in interface.inputs.items() if key not in given and parameter.required]
    if missing:
        raise MissingArgument(name, missing).at(line)
    return {key: given.get(key, parameter.default) for key, parameter in interface.inputs.items()}


def wires(builder: Builder, name: str, interface: Interface, given: Mapping[str, object], line: str) -> dict[str, Wire]:
    """Where each input of a node comes from.

    Raises:
        ValueProblem: A constant does not fit its input.
        PromiseMisuse: A promise of another workflow, or one that is hidden in an object.
    """
    return {
        key: wire(builder, value, interface.inputs[key].annotation, f"{name}, input {key!r}", line)
        for key, value in given.items()
    }


def wire(builder: Builder, value: object, annotation: Any, where: str, line: str) -> Wire:
    """Where one input comes from: a promise, a constant, or a list or dict of such."""
    try:
        try:
            return _wire(builder, value, annotation, line)
        except RecursionError:
            raise endless(codec_for(annotation).name, value) from None
    except ValueProblem as problem:
        problem.of(where)
        if line:
            problem.add_note(f"at {line}")
        raise


def _wire(builder: Builder, value: object, annotation: Any, line: str) -> Wire:
    if isinstance(value, Promise):
        builder.own(value, line)
        _check_type(value, codec_for(annotation))
        return value
    if isinstance(value, Done):
        remedy = "annotate what it returns, if it should be handed on; to order calls write a >> b"
        raise PromiseMisuse(f"{value!r}, which has no output,", "it is passed as an argument", remedy).at(line)
    if not any(True for _ in promises_in(value)):
        return constant(value, codec_for(annotation))
    if isinstance(value, (list, tuple)):
        _check_shape(_A_LIST, codec_for(annotation), value)
        items = enumerate(value)
        return ListOf(tuple(_wire(builder, item, part_annotation(annotation, index), line) for index, item in items))
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return _record(builder, value, annotation, line)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _record(builder, fields, annotation if annotation is not Any else type(value), line)
    promise = next(promises_in(value))
    remedy = "pass it as an argument of its own, or inside a list or a dict with text as keys"
    raise PromiseMisuse(repr(promise), f"it is hidden in a {type(value).__name__}", remedy).at(line)


_A_LIST: Final = TypeSpec("list", "a list of promises", (ANY,))
_A_DICT: Final = TypeSpec("dict", "a dict of promises", (TypeSpec("str", "str"), ANY))


def _check_shape(shape: TypeSpec, codec: Codec, value: object) -> None:
    if (problem := codec.accepts(shape)) is not None:
        raise TypeMismatch(codec.name, repr(value), problem)


def _record(builder: Builder, fields: Mapping[str, object], annotation: Any, line: str) -> DictOf:
    _check_shape(_A_DICT, codec_for(annotation), fields)
    return DictOf({key: _wire(builder, item, part_annotation(annotation, key), line) for key, item in fields.items()})


def _check_type(promise: Promise, codec: Codec) -> None:
    if promise._type is not None and (problem := codec.accepts(promise._type)) is not None:
        raise TypeMismatch(codec.name, f"{promise!r} of type {promise._type.name}", problem)


def constant(value: object, codec: Codec) -> Given:
    """A constant; what does not fit is found now, unless that would cost an upload.

    Raises:
        ValueProblem: It does not fit.
    """
    if not codec.uploads:
        codec.to_plain(value, NoStore())
    return Given(value, codec)


class NoStore:
    """A blob store for values that need none."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a plain value asks the blob store for {name}")


def check(value: object, codec: Codec, where: str) -> None:
    """Refuse a value that does not fit, as far as that can be seen without an upload.

    Raises:
        ValueProblem: It does not fit.
    """
    try:
        constant(value, codec)
    except ValueProblem as problem:
        problem.of(where)
        raise
