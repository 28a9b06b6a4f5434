"""What an ImageSpec asks for, beside what this Python has: processes run on the latter, and a person must hear it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from greenroom_core.program import Environment
from greenroom_core.requirements import PRESENT as PRESENT
from greenroom_core.requirements import fits as fits
from greenroom_core.requirements import lacking


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
    for one in lacking(environment.packages, have):
        asked = f"its image asks for {one.requirement}"
        if one.have is None:
            yield f"{asked}, which is not installed here: pip install '{one.requirement}'"
        else:
            yield f"{asked}, this Python has {one.have}"
