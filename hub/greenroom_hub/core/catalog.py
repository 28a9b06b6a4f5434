"""Registered entities: their versions, and which one a name means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from greenroom_core.entities import Kind, Reference, Registration
from greenroom_core.program import Program


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an entity."""

    project: str
    registration: Registration
    at_ms: int
    sealed: bytes = b""

    @property
    def reference(self) -> Reference:
        """Its full name."""
        return Reference(self.registration.kind, self.project, self.registration.name, self.registration.version)


@dataclass(slots=True)
class Entity:
    """All versions of one name."""

    versions: dict[str, Version] = field(default_factory=dict)
    """The newest last."""

    def add(self, version: Version) -> None:
        """Keep a version; one that is registered again is the newest."""
        self.versions.pop(version.registration.version, None)
        self.versions[version.registration.version] = version

    @property
    def newest(self) -> Version:
        """The version that was registered last."""
        return self.versions[next(reversed(self.versions))]


class UnknownEntity(LookupError):
    """A name, or a version of it, that nothing was registered under."""

    def __init__(self, wanted: Reference, known: tuple[str, ...], close: tuple[str, ...]) -> None:
        super().__init__(wanted, known, close)
        self.wanted, self.known, self.close = wanted, known, close

    def __str__(self) -> str:
        if self.known:
            return f"{self.wanted} is not registered here; versions are {', '.join(self.known)}"
        hint = f"; did you mean {self.close[0]}?" if self.close else ""
        return f"{self.wanted} is not registered here{hint}: register it with greenroom register FILE"


class Catalog:
    """What was registered, by kind, project and name."""

    def __init__(self) -> None:
        self.entities: dict[tuple[Kind, str, str], Entity] = {}

    def add(self, version: Version) -> None:
        """Keep a version of an entity."""
        told = version.registration
        self.entities.setdefault((told.kind, version.project, told.name), Entity()).add(version)

    def find(self, wanted: Reference) -> Version:
        """The version that a reference means.

        Raises:
            UnknownEntity: There is none.
        """
        entity = self.entities.get((wanted.kind, wanted.project, wanted.name))
        if entity is None:
            names = [name for kind, project, name in self.entities if (kind, project) == (wanted.kind, wanted.project)]
            raise UnknownEntity(wanted, (), tuple(get_close_matches(wanted.name, names, 1)))
        if not wanted.version:
            return entity.newest
        version = entity.versions.get(wanted.version)
        if version is None:
            raise UnknownEntity(wanted, tuple(reversed(entity.versions))[:5], ())
        return version

    def all(self) -> Iterator[Version]:
        """Every version, in the order of registration within each name."""
        for entity in self.entities.values():
            yield from entity.versions.values()

    def programs(self) -> set[str]:
        """Digests of the programs that are kept for it."""
        return {version.registration.program for version in self.all()}


def references_of(program: Program) -> Iterator[tuple[str, Reference]]:
    """The registered entities that a program calls, by the keys of its plans."""
    for key, plan in program.plans.items():
        if plan.reference is not None:
            yield key, plan.reference


def misfit(stub: Mapping[str, object], version: Version, program: Program) -> str | None:
    """Why calls that fit a reference's stub do not fit what was registered; None if they do.

    Args:
        stub: The types that the stub says.
        version: What was registered.
        program: Its program.
    """
    if not stub:
        return None
    given, known = _parts(stub.get("inputs")), _parts(program.interface.get("inputs"))
    told = version.registration
    for name, part in given.items():
        if name not in known or name in told.fixed:
            has = ", ".join(name for name in known if name not in told.fixed) or "none"
            return f"it has no input {name!r} that a caller can give; it has {has}"
        if why := _differs(part, known[name]):
            return f"its input {name!r} is {why}"
    for name in known:
        if name not in given and name not in told.inputs and name not in told.fixed:
            return f"it needs input {name!r}, which the reference's function does not take"
    outputs, made = _parts(stub.get("outputs")), _parts(program.interface.get("outputs"))
    if outputs.keys() != made.keys():
        return (
            f"it gives {', '.join(made) or 'nothing'}, the reference's function says {', '.join(outputs) or 'nothing'}"
        )
    return next(
        (f"its output {name!r} is {why}" for name in outputs if (why := _differs(outputs[name], made[name]))), None
    )


def _parts(wire: object) -> dict[str, Mapping[str, object]]:
    """Inputs or outputs of an interface that came from outside, by name."""
    parts = wire if isinstance(wire, Iterable) and not isinstance(wire, (str, bytes)) else ()
    return {str(part["name"]): part for part in parts if isinstance(part, Mapping) and "name" in part}


def _differs(stub: Mapping[str, object], known: Mapping[str, object]) -> str:
    """What two types are called where they differ in kind; names of classes may differ, as a stub has its own."""
    (kind, name), (other, known_name) = _kind(stub), _kind(known)
    loose = {"any", "pickle", "custom", ""}
    if kind == other or loose & {kind, other} or {kind, other} <= {"int", "float"}:
        return ""
    return f"{known_name}, the reference's function says {name}"


def _kind(part: Mapping[str, object]) -> tuple[str, str]:
    told = part.get("type")
    if isinstance(told, (list, tuple)) and len(told) >= 2:
        return str(told[0]), str(told[1])
    return "", ""
