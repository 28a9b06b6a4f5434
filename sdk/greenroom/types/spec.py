"""What a type is, as plain data: for help texts, for the API, and for checks while a workflow is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from greenroom.errors import NoSuchPart


class Member(NamedTuple):
    """One named part of a record."""

    name: str
    type: TypeSpec
    required: bool


class TypeSpec(NamedTuple):
    """A type: its kind decides what the rest means."""

    kind: str
    """`none, bool, int, float, str, bytes, datetime, date, time, timedelta, text` (other things that are written as
    text)`, enum, literal, union, list, tuple, set, dict, record, file, directory, table, array, any, pickle, custom`,
    or `ref`: the type of this name that it is part of."""
    name: str
    """As a person writes it: `list[int]`, `flow.Point`."""
    members: tuple[TypeSpec, ...] = ()
    """Of a union its members, of a list or set its item, of a dict key and value, of a tuple each place."""
    fields: tuple[Member, ...] = ()
    """Of a record."""
    options: Mapping[str, Any] = {}
    """`values` and `names` of an enum or literal, `format` of a file, `columns` of a table, `bases` of a class (names),
    `open` of a pickled class that others may belong to, `any_length` of a tuple, `places` of a named tuple."""

    @property
    def nullable(self) -> bool:
        """Whether None is one of its values."""
        return self.kind in ("none", "any") or (self.kind == "union" and any(part.nullable for part in self.members))

    @property
    def opaque(self) -> bool:
        """Whether nothing but its own code can look into it: no attribute, index or condition reaches its parts."""
        return self.kind in ("pickle", "file", "directory", "table", "array", "custom")

    def part(self, step: str | int) -> tuple[str | int, TypeSpec]:
        """Where `promise[step]` or `promise.step` leads.

        Returns:
            The step as the value on the wire has it (a place of a named tuple is a field there), and its type.

        Raises:
            NoSuchPart: Its values have no such part, or none that can be read without their own code.
        """
        return _PARTS.get(self.kind, _no_part)(self, step)

    def to_wire(self) -> list[Any]:
        """Plain data for a message."""
        fields = [[field.name, field.type.to_wire(), field.required] for field in self.fields]
        return [self.kind, self.name, [part.to_wire() for part in self.members], fields, dict(self.options)]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> TypeSpec:
        """Read what `to_wire` gave."""
        kind, name, members, fields, options = wire
        parts = tuple(Member(part, cls.from_wire(of), required) for part, of, required in fields)
        return cls(kind, name, tuple(cls.from_wire(member) for member in members), parts, options)


ANY: Final = TypeSpec("any", "Any")


# Parts --------------------------------------------------------------------------------------------------------------


def _no_part(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    if spec.kind == "pickle":
        known = "it is pickled, so that only Python code can look into it; pass it to a task that returns the part"
    elif spec.opaque:
        known = "pass it to a task that returns the part"
    else:
        known = "it has no parts"
    raise NoSuchPart(spec.name, step, known)


def _part_of_record(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    if isinstance(step, int) and spec.options.get("places") and -len(spec.fields) <= step < len(spec.fields):
        return spec.fields[step].name, spec.fields[step].type
    for field in spec.fields:
        if field.name == step:
            return step, field.type
    raise NoSuchPart(spec.name, step, f"it has {', '.join(field.name for field in spec.fields) or 'no fields'}")


def _part_of_list(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    if not isinstance(step, int):
        raise NoSuchPart(spec.name, step, "its items are reached by number")
    return step, spec.members[0]


def _part_of_tuple(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    if not isinstance(step, int):
        raise NoSuchPart(spec.name, step, "its items are reached by number")
    if spec.options.get("any_length"):
        return step, spec.members[0]
    if not -len(spec.members) <= step < len(spec.members):
        raise NoSuchPart(spec.name, step, f"it has {len(spec.members)} items")
    return step % len(spec.members), spec.members[step]


def _part_of_dict(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    key = TypeSpec("int", "int") if isinstance(step, int) else TypeSpec("str", "str")
    if mismatch(spec.members[0], key) is not None:
        raise NoSuchPart(spec.name, step, f"its keys are {spec.members[0].name}")
    return step, spec.members[1]


def _part_of_union(spec: TypeSpec, step: str | int) -> tuple[str | int, TypeSpec]:
    found, problem = [], None
    for member in spec.members:
        try:
            found.append(member.part(step))
        except NoSuchPart as fault:
            problem = problem or fault if member.kind != "none" else problem
    if not found:
        raise problem or NoSuchPart(spec.name, step, "it has no parts")
    if len(found) == 1:
        return found[0]
    return found[0][0], TypeSpec("union", " | ".join(part.name for _, part in found), tuple(part for _, part in found))


_PARTS: Final[Mapping[str, Callable[[TypeSpec, str | int], tuple[str | int, TypeSpec]]]] = {
    "any": lambda spec, step: (step, ANY),
    "ref": lambda spec, step: (step, ANY),
    "record": _part_of_record,
    "list": _part_of_list,
    "tuple": _part_of_tuple,
    "dict": _part_of_dict,
    "union": _part_of_union,
}


# Whether one fits the other -----------------------------------------------------------------------------------------


def mismatch(expected: TypeSpec, given: TypeSpec) -> str | None:
    """Why no value of `given` can go where `expected` is wanted; None if some can, which each value then shows.

    An int is a float, everything fits Any, X fits `X | None`. Of a union one member that fits is enough: whether a
    value is that member is known when it is there.
    """
    if expected.kind in ("any", "ref", "custom") or given.kind in ("any", "ref", "custom"):
        return None
    if given.kind == "union":
        if expected.kind != "union" and all(part.kind == "none" or mismatch(expected, part) for part in given.members):
            return _sentence(expected, given)
        return None if any(mismatch(expected, part) is None for part in given.members) else _sentence(expected, given)
    if expected.kind == "union":
        fits = any(mismatch(part, given) is None for part in expected.members)
        return None if fits else _sentence(expected, given)
    if given.kind in ("enum", "literal") and expected.kind not in ("enum", "literal", "pickle"):
        values = [_SCALAR_KINDS.get(type(value), "any") for value in given.options.get("values", ())]
        fits = any(mismatch(expected, TypeSpec(kind, kind)) is None for kind in values)
        return None if fits else _sentence(expected, given)
    check = _CHECKS.get(expected.kind, _same_kind)
    return check(expected, given)


_SCALAR_KINDS: Final[Mapping[type, str]] = {
    bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", type(None): "none"
}  # fmt: skip


def _sentence(expected: TypeSpec, given: TypeSpec, why: str = "") -> str:
    if given.kind == "none":
        return f"{expected.name} is expected, but nothing is returned"
    return f"{expected.name} is expected, but this is {given.name}{': ' + why if why else ''}"


def _same_kind(expected: TypeSpec, given: TypeSpec) -> str | None:
    return None if expected.kind == given.kind else _sentence(expected, given)


def _one_of(*kinds: str) -> Callable[[TypeSpec, TypeSpec], str | None]:
    return lambda expected, given: None if given.kind in kinds else _sentence(expected, given)


def _members_fit(expected: TypeSpec, given: TypeSpec) -> str | None:
    for part, other in zip(expected.members, given.members, strict=False):
        if mismatch(part, other) is not None:
            return _sentence(expected, given)
    return None


def _list_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == "tuple":  # It travels as a list.
        fits = all(mismatch(expected.members[0], part) is None for part in given.members)
        return None if fits else _sentence(expected, given)
    return _members_fit(expected, given) if given.kind == "list" else _sentence(expected, given)


def _tuple_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == "list":
        return _list_fits(given, expected) and _sentence(expected, given)
    if given.kind != "tuple":
        return _sentence(expected, given)
    if expected.options.get("any_length") or given.options.get("any_length"):
        one, other = (expected, given) if expected.options.get("any_length") else (given, expected)
        fits = all(mismatch(one.members[0], part) is None for part in other.members)
        return None if fits else _sentence(expected, given)
    if len(expected.members) != len(given.members):
        return _sentence(expected, given, f"{len(expected.members)} items, not {len(given.members)}")
    return _members_fit(expected, given)


def _same_kind_and_members(expected: TypeSpec, given: TypeSpec) -> str | None:
    return _members_fit(expected, given) if expected.kind == given.kind else _sentence(expected, given)


def _dict_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == "record":
        values = all(mismatch(expected.members[1], field.type) is None for field in given.fields)
        return None if values else _sentence(expected, given)
    return _same_kind_and_members(expected, given)


def _record_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == "dict":
        return None
    if given.kind == "record" and expected.name in (given.name, *given.options.get("bases", ())):
        return None
    if given.kind != "record":
        return _sentence(expected, given)
    fields = {field.name: field for field in given.fields}
    for field in expected.fields:
        if field.name not in fields:
            if field.required:
                return _sentence(expected, given, f"it has no {field.name!r}")
        elif (problem := mismatch(field.type, fields[field.name].type)) is not None:
            return _sentence(expected, given, f"{field.name}: {problem}")
    unknown = fields.keys() - {field.name for field in expected.fields}
    if unknown:
        return _sentence(expected, given, f"{sorted(unknown)[0]!r} has no place in it")
    return None


def _choice_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == expected.kind:
        values = given.options.get("values", ())
        if given.name == expected.name or any(value in expected.options.get("values", ()) for value in values):
            return None
        return _sentence(expected, given)
    kinds = {_SCALAR_KINDS.get(type(value), "any") for value in expected.options.get("values", ())}
    return None if given.kind in kinds or given.kind in ("enum", "literal") else _sentence(expected, given)


def _content_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind == "str" or (given.kind == "text" and given.name == "Path"):
        return None
    if given.kind != expected.kind:
        return _sentence(expected, given)
    one, other = expected.options.get("format"), given.options.get("format")
    return None if not one or not other or one == other else _sentence(expected, given)


def _table_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if given.kind != "table":
        return _sentence(expected, given)
    known = given.options.get("columns")
    lacking = [name for name in expected.options.get("columns", ()) if known and name not in known]
    return _sentence(expected, given, f"it has no column {lacking[0]!r}") if lacking else None


def _pickle_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if expected.options.get("open"):  # A protocol, an abstract class, a callable: the value decides.
        return None
    if given.kind != "pickle":
        return _sentence(expected, given)
    fits = given.options.get("open") or expected.name in given.options.get("bases", (given.name,))
    return None if fits else _sentence(expected, given)


def _text_fits(expected: TypeSpec, given: TypeSpec) -> str | None:
    if expected.name == "Path" and given.kind in ("str", "file", "directory"):
        return None
    return None if given.kind == "str" or given.name == expected.name else _sentence(expected, given)


_CHECKS: Final[Mapping[str, Callable[[TypeSpec, TypeSpec], str | None]]] = {
    "int": _one_of("int", "bool"),
    "float": _one_of("float", "int", "bool"),
    "list": _list_fits,
    "tuple": _tuple_fits,
    "set": _same_kind_and_members,
    "dict": _dict_fits,
    "record": _record_fits,
    "enum": _choice_fits,
    "literal": _choice_fits,
    "file": _content_fits,
    "directory": _content_fits,
    "table": _table_fits,
    "pickle": _pickle_fits,
    "text": _text_fits,
}
