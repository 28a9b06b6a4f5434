"""What one call did with the actor cache, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from greenroom.caching.calls import Call
    from greenroom.caching.entry import Entry
    from greenroom.caching.errors import EntryChanged


class Failed(NamedTuple):
    """A load that raised."""

    loader: str
    preview: str
    seconds: float


class CallTelemetry:
    """What a call touched; rows are made when they are asked for, since most hits are only counted."""

    __slots__ = ("call", "errors")

    def __init__(self, call: Call, errors: list[EntryChanged]) -> None:
        self.call = call
        self.errors = errors
        """Frozen entries that the call changed: it must fail with them."""

    def rows(self) -> list[dict[str, Any]]:
        """A row for each entry.

        It has `loader`, `key`, `preview`, `outcome` and `bytes`; for a miss also what it took and where it came from.
        Loads that failed have `outcome` `failed` and no key. Entries that had to go are in the last row's `evicted`.
        """
        rows = [row_of(entry, outcome) for entry, outcome in self.call.touched.items() if outcome != "held"]
        rows += [
            {"loader": one.loader, "key": "", "preview": one.preview, "outcome": "failed", "load_ms": _ms(one.seconds)}
            for one in self.call.failed
        ]
        if self.call.evicted:
            if not rows:
                rows.append({"loader": "", "key": "", "outcome": "none"})
            rows[-1]["evicted"] = [list(one) for one in self.call.evicted]
        return rows


def row_of(entry: Entry, outcome: str) -> dict[str, Any]:
    """One entry in one call."""
    row: dict[str, Any] = {
        "loader": entry.family.key,
        "key": entry.digest,
        "preview": entry.preview,
        "outcome": outcome,
        "hits": int(outcome == "hit"),
        "misses": int(outcome == "miss"),
        "waits": int(outcome == "wait"),
        "bytes": entry.bytes,
        "gpu_bytes": entry.gpu_bytes,
    }
    if outcome == "miss":
        row.update(loaded(entry))
    return row


def loaded(entry: Entry) -> dict[str, Any]:
    """What is told once, when an entry has been loaded."""
    row: dict[str, Any] = {
        "load_ms": _ms(entry.load_s),
        "loaded_by": entry.loaded_by,
        "depends": list(entry.depends),
        "provenance": entry.provenance,
    }
    if entry.changed:
        row["changed"] = list(entry.changed)
    if entry.recipe is not None:
        row["recipe"] = entry.recipe
    return row


def described(entry: Entry, now: float) -> Mapping[str, Any]:
    """One entry as `replicas` and `cache` show it."""
    return {
        "loader": entry.family.key,
        "key": entry.digest,
        "preview": entry.preview,
        "bytes": entry.bytes,
        "gpu_bytes": entry.gpu_bytes,
        "load_ms": _ms(entry.load_s),
        "hits": entry.hits,
        "idle_s": round(max(0.0, now - entry.last), 3),
        "saved_s": round(entry.hits * entry.load_s, 3),
        "loaded_by": entry.loaded_by,
        "depends": list(entry.depends),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
