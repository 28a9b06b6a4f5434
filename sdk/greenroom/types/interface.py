"""A function's typed interface: its inputs and outputs by name, and the fast way in and out for a runner."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgpack

from greenroom.errors import AnnotationProblem, NotReadable, TypeMismatch, ValueProblem
from greenroom.types.codec import STUMBLES, Codec, given, stumbled, type_name
from greenroom.types.notes import listen, stop_listening
from greenroom.types.registry import codec_in
from greenroom.types.spec import TypeSpec
from greenroom_core.values import NIL, Value, ValueFault, split

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.compat.idl.types import LiteralType

MISSING: Final = inspect.Parameter.empty
"""The default of an input that has none."""

Warn = Callable[[str], None]
Shape = Literal["none", "one", "tuple", "named"]


class Input(NamedTuple):
    """One parameter."""

    name: str
    annotation: Any
    codec: Codec
    default: Any = MISSING

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is MISSING

    @property
    def type(self) -> LiteralType:
        """Its type in Flyte's words."""
        return _in_flytes_words(self.annotation)


class Output(NamedTuple):
    """One of the values that a call gives."""

    name: str
    annotation: Any
    codec: Codec

    @property
    def type(self) -> LiteralType:
        """Its type in Flyte's words."""
        return _in_flytes_words(self.annotation)


def _in_flytes_words(annotation: Any) -> LiteralType:
    from greenroom.compat.engine import TypeEngine

    return TypeEngine.to_literal_type(annotation)


class Interface:
    """What a function takes and gives.

    Attributes:
        name: How errors call the function.
        inputs: By name, in the function's order.
        outputs: By name: `o0`, `o1`, ... or the fields of a named tuple; empty for a function that gives nothing.
        shape: Whether a result is nothing, one value, a tuple, or a named tuple.
        word: What the function is, in errors; whoever makes a workflow of it says so.
    """

    word: str = "task"

    def __init__(
        self, name: str, inputs: Sequence[Input], outputs: Sequence[Output], shape: Shape, named: Any = None
    ) -> None:
        self.name, self.shape, self.named = name, shape, named
        self.inputs: dict[str, Input] = {part.name: part for part in inputs}
        self.outputs: dict[str, Output] = {part.name: part for part in outputs}
        self._decoders: dict[tuple[str, ...], Callable[[bytes, BlobStore], dict[str, Any]]] = {}
        self._codecs = [part.codec for part in outputs]
        self._uploads = any(codec.uploads for codec in self._codecs)

    @classmethod
    def of(cls, function: Callable[..., Any], *, name: str | None = None, pickle_untyped: bool = False) -> Interface:
        """Read the interface of a function, also of a decorated or partial one.

        Args:
            function: The function; its annotations may be text.
            name: How errors call it; module and name unless given.
            pickle_untyped: Whether parameters without annotation take anything.

        Raises:
            AnnotationProblem: An annotation is missing, cannot be resolved, or is no type; or it takes `*args`.
        """
        from greenroom.types.resolve import embed, hints_of

        name = name or type_name(_bare(function))
        hints = hints_of(_bare(function), name)
        embed(function, hints)
        inputs = [
            _input(name, parameter, hints, pickle_untyped)
            for parameter in inspect.signature(function).parameters.values()
        ]
        return cls(name, inputs, *_outputs(name, hints.get("return")))

    # The way in

    def decode_inputs(
        self, payload: bytes | memoryview, store: BlobStore, names: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """The inputs of a call, by name.

        Args:
            payload: Their values, one after the other.
            store: Where blobs are read from.
            names: Which inputs the payload holds, in its order; all unless given.

        Raises:
            ValueProblem: A value is not what its parameter says; the error names both.
        """
        key = tuple(names) if names is not None else tuple(self.inputs)
        decode = self._decoders.get(key)
        if decode is None:
            decode = self._decoders[key] = self.input_decoder(key)
        return decode(bytes(payload), store)

    def input_decoder(self, names: Sequence[str]) -> Callable[[bytes, BlobStore], dict[str, Any]]:
        """`decode_inputs` for these names, prepared: what a runner keeps for a definition."""
        readers = [(name, self._input(name).codec.from_plain) for name in names]
        if len(readers) == 1:
            name, codec = names[0], self._input(names[0]).codec

            def decode_one(payload: bytes, store: BlobStore) -> dict[str, Any]:
                try:
                    return {name: codec.decode(payload, store)}
                except ValueProblem as fault:
                    fault.of(self._place("input", name))
                    raise

            return decode_one
        header = bytes(msgpack.Packer().pack_array_header(len(readers)))

        def decode(payload: bytes, store: BlobStore) -> dict[str, Any]:
            try:
                plains = _unpack(header + payload, strict_map_key=False, unicode_errors="surrogatepass")
            except (ValueError, TypeError, msgpack.UnpackException) as fault:
                raise NotReadable("call's inputs", f"{len(readers)} values are expected: {fault}") from fault
            done: dict[str, Any] = {}
            try:
                for (name, read), plain in zip(readers, plains, strict=True):
                    done[name] = read(plain, store)
            except ValueProblem as fault:
                fault.of(self._place("input", readers[len(done)][0]))
                raise
            except STUMBLES as fault:
                name = readers[len(done)][0]
                problem = stumbled(fault, self._input(name).codec.name)
                problem.of(self._place("input", name))
                raise problem from fault
            except RecursionError:
                return {name: self._input(name).codec.decode(value, store) for name, value in self._cut(payload, names)}
            return done

        return decode

    def _cut(self, payload: bytes, names: Sequence[str]) -> Iterator[tuple[str, Value]]:
        try:
            yield from zip(names, split(payload, len(names)), strict=True)
        except ValueFault as fault:
            raise NotReadable("call's inputs", str(fault)) from fault

    def encode_input(self, name: str, obj: Any, store: BlobStore) -> Value:
        """The value of one input.

        Raises:
            TypeMismatch: The object is not what the parameter's annotation says, or there is no such parameter.
        """
        part = self._input(name)
        with self._telling("input", name):
            return part.codec.encode(obj, store)

    def encode_inputs(self, given_inputs: Mapping[str, Any], store: BlobStore) -> dict[str, Value]:
        """The values of all inputs, defaults included, in the function's order.

        Raises:
            TypeError: One is missing, or not known.
        """
        for name in given_inputs:
            self._input(name)
        values = {}
        for part in self.inputs.values():
            obj = given_inputs.get(part.name, part.default)
            if obj is MISSING:
                raise TypeError(f"{self.name}() missing input {part.name!r}; it takes {self._takes()}")
            values[part.name] = self.encode_input(part.name, obj, store)
        return values

    def _input(self, name: str) -> Input:
        part = self.inputs.get(name)
        if part is None:
            raise TypeError(f"{self.name}() has no input {name!r}; it takes {self._takes()}")
        return part

    def _takes(self) -> str:
        return ", ".join(f"{part.name}: {part.codec.name}" for part in self.inputs.values()) or "none"

    # The way out

    def encode_outputs(self, result: Any, store: BlobStore, warn: Warn | None = None) -> bytes:
        """The values of a call's outputs, one after the other.

        Args:
            result: What the function returned.
            store: Where files and large values go.
            warn: Hears what works but was hardly meant: None where a value is declared, a table that is pickled.

        Raises:
            ValueProblem: An output is not what its annotation says, or cannot be sent; the error names it.
        """
        if self.shape == "one":
            codec = self._codecs[0]
            if not self._uploads and (result is not None or codec.nullable):
                try:
                    return codec.encode(result, store)
                except ValueProblem as fault:
                    fault.of(self._place("output", next(iter(self.outputs))))
                    raise
            results: tuple[Any, ...] = (result,)
        elif self.shape == "none":
            return b""
        else:
            results = self._several(result)
        if not self._uploads:
            return self._encode_each(results, store, warn)
        token = listen(warn) if warn is not None else None
        try:
            with store.batch():
                return self._encode_each(results, store, warn)
        finally:
            if token is not None:
                stop_listening(token)

    def _encode_each(self, results: tuple[Any, ...], store: BlobStore, warn: Warn | None) -> bytes:
        values: list[Value] = []
        try:
            for codec, result in zip(self._codecs, results, strict=True):
                if result is None and not codec.nullable:
                    values.append(self._null(len(values), warn))
                else:
                    values.append(codec.encode(result, store))
        except ValueProblem as fault:
            fault.of(self._place("output", list(self.outputs)[len(values)]))
            raise
        return b"".join(values)

    def _several(self, result: Any) -> tuple[Any, ...]:
        if result is None:
            return (None,) * len(self.outputs)
        expected = f"{len(self.outputs)} values ({', '.join(self.outputs)})"
        if not isinstance(result, tuple):
            fault = TypeMismatch(expected, given(result))
        elif len(result) != len(self.outputs):
            fault = TypeMismatch(expected, f"{len(result)}")
        else:
            return result
        fault.of(f"outputs of {self.name}")
        raise fault

    def _null(self, index: int, warn: Warn | None) -> Value:
        """None where a value is declared counts as null: programs read environment variables that may be unset."""
        if warn is not None:
            name = list(self.outputs)[index]
            warn(f"{self.name} returned None for its output {name}, where {self._codecs[index].name} is declared")
        return NIL

    def decode_output(self, name: str, value: Value, store: BlobStore) -> Any:
        """One output of a call; null where no value was given."""
        part = self.outputs[name]
        if value == NIL:
            return None
        with self._telling("output", name):
            return part.codec.decode(value, store)

    def decode_outputs(self, values: bytes | Mapping[str, Value], store: BlobStore) -> Any:
        """What the call gave: None, a value, a tuple, or the function's named tuple.

        Args:
            values: The outputs' values, by name or one after the other.
            store: Where blobs are read from.
        """
        if not isinstance(values, Mapping):
            values = dict(zip(self.outputs, split(values, len(self.outputs)), strict=True))
        results = [self.decode_output(name, values[name], store) for name in self.outputs]
        if self.shape in ("none", "one"):
            return results[0] if results else None
        return self.named._make(results) if self.shape == "named" else tuple(results)

    # For people

    def describe(self) -> dict[str, Any]:
        """Inputs and outputs as plain data: for help texts, the API, and checks where a promise is bound."""
        return {
            "inputs": [
                {"name": part.name, "type": part.codec.describe().to_wire(), "required": part.required}
                for part in self.inputs.values()
            ],
            "outputs": [{"name": part.name, "type": part.codec.describe().to_wire()} for part in self.outputs.values()],
        }

    def specs(self) -> tuple[dict[str, TypeSpec], dict[str, TypeSpec]]:
        """The types of inputs and of outputs, by name."""
        return (
            {name: part.codec.describe() for name, part in self.inputs.items()},
            {name: part.codec.describe() for name, part in self.outputs.items()},
        )

    def advice(self) -> list[str]:
        """A sentence for each input and output whose class is pickled, and so is opaque to all but Python code."""
        parts = [("input", *part[:3]) for part in self.inputs.values()]
        parts += [("output", *part[:3]) for part in self.outputs.values()]
        return [
            f"{self.name}: {word} {name!r} is a {codec.name}, which is pickled; "
            "a dataclass, or register_transformer(), would keep it readable"
            for word, name, _, codec in parts
            if codec.describe().kind == "pickle"
        ]

    @contextmanager
    def _telling(self, word: str, name: str) -> Iterator[None]:
        try:
            yield
        except ValueProblem as fault:
            fault.of(self._place(word, name))
            raise

    def _place(self, word: str, name: str) -> str:
        return f"{self.word} {self.name!r}, {word} {name!r}"


_unpack: Final = msgpack.unpackb


# Reading a function -------------------------------------------------------------------------------------------------


def _bare(function: Any) -> Any:
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return function


def _input(name: str, parameter: inspect.Parameter, hints: Mapping[str, Any], pickle_untyped: bool) -> Input:
    where = f"{name}, {parameter.name!r}"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
        raise AnnotationProblem(where, f"a task's inputs need names and types; {star}{parameter.name} has neither")
    if parameter.name not in hints:
        if not pickle_untyped:
            raise AnnotationProblem(where, f"has no type; write `{parameter.name}: int`, or pickle_untyped=True")
        return Input(parameter.name, Any, codec_in(Any, where), parameter.default)
    annotation = hints[parameter.name]
    codec = codec_in(annotation, where)
    if parameter.default is None and not codec.nullable:  # `x: int = None`, as people write it.
        annotation = typing.Optional[annotation]  # noqa: UP045
        codec = codec_in(annotation, where)
    return Input(parameter.name, annotation, codec, parameter.default)


def _outputs(name: str, annotation: Any) -> tuple[list[Output], Shape, Any]:
    where = f"{name}, its result"
    if annotation in (None, type(None), typing.NoReturn, typing.Never):
        return [], "none", None
    if isinstance(annotation, tuple):  # `-> (int, str)`, as older programs write it.
        annotation = GenericAlias(tuple, annotation)
    if isinstance(annotation, type) and issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        from greenroom.types.resolve import hints_of

        hints = hints_of(annotation, where)
        fields = typing.cast(Any, annotation)._fields
        outputs = [Output(part, hints.get(part, Any), codec_in(hints.get(part, Any), where)) for part in fields]
        return outputs, "named", annotation
    arguments = typing.get_args(annotation)
    bare = annotation is typing.Tuple  # noqa: UP006
    if typing.get_origin(annotation) is tuple and Ellipsis not in arguments and not bare:
        outputs = [Output(f"o{n}", part, codec_in(part, where)) for n, part in enumerate(arguments) if part != ()]
        return outputs, "tuple" if outputs else "none", None
    return [Output("o0", annotation, codec_in(annotation, where))], "one", None
