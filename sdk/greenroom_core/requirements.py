"""Requirements, as pip takes them, beside what is installed somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

PRESENT: Final = frozenset({"union", "unionai", "flytekit", "flytekitplugins-pod", "greenroom"})
"""Packages that Greenroom serves or is."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*((?:[<>=!~][^;@]*)?)(@[^;]*)?(;.*)?")
_CLAUSE = re.compile(r"(===|==|>=|<=|!=|~=|>|<)\s*([^\s,]+)")
_SEPARATORS = re.compile(r"[-_.]+")


class Lacking(NamedTuple):
    """A requirement that is not met."""

    name: str
    """As it was written."""
    wanted: str
    """Its version specifier; empty for any version."""
    have: str | None
    """The version that is there; None for none."""

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"{self.name}{self.wanted}"


def lacking(requirements: Iterable[str], have: Mapping[str, str]) -> Iterator[Lacking]:
    """What of `requirements` is not met. A URL or a path is passed over: pip knows what it is, a name it has not.

    Args:
        requirements: As pip takes them.
        have: Installed distributions: normalised name to version.
    """
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None:
            continue
        name, wanted = found[1], found[2].strip()
        if normalised(name) in PRESENT or not _applies(found[4]):
            continue
        version = have.get(normalised(name))
        if version is None or (wanted and not fits(version, wanted)):
            yield Lacking(name, wanted, version)


def normalised(name: str) -> str:
    """A distribution's name as all its spellings are compared."""
    return _SEPARATORS.sub("-", name).lower()


def _applies(marker: str | None) -> bool:
    """Whether a requirement is meant for this Python; one that cannot be read is."""
    if not marker:
        return True
    try:
        from packaging.markers import InvalidMarker, Marker
    except ImportError:
        return True
    try:
        return bool(Marker(marker.lstrip("; ")).evaluate())
    except InvalidMarker:
        return True


def fits(version: str, wanted: str) -> bool:
    """Whether an installed version is one that a specifier allows; what cannot be read counts as allowed."""
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        return all(_holds(version, sign, limit) for sign, limit in _CLAUSE.findall(wanted))
    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _holds(version: str, sign: str, limit: str) -> bool:
    """One clause, for plain versions, where `packaging` is not installed."""
    ours, theirs = _numbers(version), _numbers(limit)
    if limit.endswith(".*"):
        prefix = _numbers(limit[:-2])
        return (ours[: len(prefix)] == prefix) == (sign != "!=")
    width = max(len(ours), len(theirs))
    left, right = ours + (0,) * (width - len(ours)), theirs + (0,) * (width - len(theirs))
    if sign == "~=":
        return left >= right and ours[: len(theirs) - 1] == theirs[:-1]
    held = {
        "==": left == right,
        "===": version == limit,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
    }
    return held[sign]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0]))
