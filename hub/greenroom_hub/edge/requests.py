"""What a request says: which execution, which numbers, which JSON. Whatever does not fit is refused with its words."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web

from greenroom_core.program import CachedResults, Reuse
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.shell.doorway import Repeat
from greenroom_hub.store.rows import ExecutionRow
from greenroom_hub.store.store import Store

E = TypeVar("E", bound=StrEnum)

_LONGEST_WAIT_S = 300.0


def find_row(store: Store, name: str) -> ExecutionRow:
    """The execution that an id, a unique beginning of one, or `last` means.

    Raises:
        ApiError: None, or more than one.
    """
    if name == "last":
        rows = [row for row in store.executions(20) if row.parent is None]
    else:
        exact = store.execution(name)
        rows = [exact] if exact is not None else store.executions(3, prefix=name)
    if not rows:
        raise ApiError("unknown_execution", f"no execution {name!r} here; see greenroom executions")
    if name != "last" and len(rows) > 1:
        raise ApiError("unknown_execution", f"{name!r} is not unique: {', '.join(row.id for row in rows)}, ...")
    return rows[0]


def seconds_of(request: web.Request) -> float:
    """How long a request may wait for what it asks."""
    text = request.query.get("wait")
    return min(number_of(text, "wait"), _LONGEST_WAIT_S) if text else 0.0


def number_of(text: str, name: str) -> float:
    """A number from outside, not negative."""
    try:
        number = float(text)
    except ValueError:
        raise ApiError("bad_request", f"{name}={text!r}: expected a number") from None
    if not 0 <= number < 1e15:
        raise ApiError("bad_request", f"{name}={text!r}: expected a number from 0 on")
    return number


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty one for none."""
    body = await request.read()
    if not body:
        return {}
    try:
        told = json.loads(body)
    except ValueError as fault:
        raise ApiError("bad_request", f"the body is no JSON: {fault}") from fault
    if not isinstance(told, dict):
        raise ApiError("bad_request", "the body must be a JSON object")
    return told


def repeat_of(told: dict[str, Any]) -> Repeat:
    """How an execution is to be repeated."""
    cached = told.get("cached_results")
    return Repeat(
        reuse=_one_of(Reuse, told.get("reuse", Reuse.NOTHING), "reuse"),
        key=str(told.get("key") or ""),
        by=str(told.get("by") or ""),
        name=str(told["name"]) if told.get("name") else None,
        cached_results=None if cached is None else _one_of(CachedResults, cached, "cached_results"),
    )


def _one_of(kind: type[E], text: object, name: str) -> E:
    try:
        return kind(str(text))
    except ValueError:
        raise ApiError("bad_request", f"{name}={text!r}: expected one of {', '.join(kind)}") from None
