"""What an ImageSpec asks for, beside what this Python has: processes run on the latter, and a person must hear it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from greenroom.bundling.interpreter import normalised
from greenroom_core.program import Environment

PRESENT: Final = frozenset({"union", "unionai", "flytekit", "flytekitplugins-pod", "greenroom"})
"""Packages that Greenroom serves or is."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*((?:[<>=!~][^;@]*)?)(@[^;]*)?(;.*)?")
_CLAUSE = re.compile(r"(===|==|>=|<=|!=|~=|>|<)\s*([^\s,]+)")


def differences(environments: Iterable[Environment], have: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing that environments' images ask for and a process here does not give, each told once.

    Args:
        environments: Of a program.
        have: Installed distributions: normalised name to version.
    """
    told = set()
    for environment in environments:
        notes = [*_of_packages(environment, have), *environment.image_notes]
        for note in notes:
            if note not in told:
                told.add(note)
                yield f"{environment.name}: {note}"


def _of_packages(environment: Environment, have: Mapping[str, str]) -> Iterator[str]:
    for requirement in environment.packages:
        found = _REQUIREMENT.fullmatch(requirement)
        if found is None:
            continue  # A URL or a path: pip knows what it is, a name it has not.
        name, wanted = found[1], found[2].strip()
        if normalised(name) in PRESENT or not _applies(found[4]):
            continue
        version = have.get(normalised(name))
        if version is None:
            yield f"its image asks for {name}{wanted}, which is not installed here: pip install '{name}{wanted}'"
        elif wanted and not fits(version, wanted):
            yield f"its image asks for {name}{wanted}, this Python has {version}"


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
