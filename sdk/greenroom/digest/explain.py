"""What changed between two digests, in words."""

from __future__ import annotations

from collections.abc import Mapping

Parts = Mapping[str, tuple[str, str]]
"""As `Digest.parts` gives them: `module:name` to (`file:line`, a value, or a mark of some code)."""


def explain(old: Parts, new: Parts) -> list[str]:
    """Say what changed, a line for each definition: `helpers.py:12 MODEL "v1" -> "v2"`."""
    lines = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            lines.append(f"{after[0]} {_short(name)} is new")
        elif after is None and before is not None:
            lines.append(f"{before[0]} {_short(name)} is gone")
        elif before is not None and after is not None and before[1] != after[1]:
            lines.append(f"{after[0]} {_short(name)} {_difference(before[1], after[1])}")
    return lines


def _short(name: str) -> str:
    """`module:make.<locals>.load#ab12 =` as a person calls it: `load`."""
    return name.partition(":")[2].partition("#")[0].removesuffix(" =").rpartition("<locals>.")[2] or name


def _difference(before: str, after: str) -> str:
    if before.startswith("#") or after.startswith("#"):
        return "changed"
    return f"{before} -> {after}"
