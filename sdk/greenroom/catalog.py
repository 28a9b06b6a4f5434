"""What a client asks its hub about registered entities and launch plans, without I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgpack

from greenroom.http import MSGPACK, Request
from greenroom.hub_errors import Refused, refused
from greenroom.link import Operation
from greenroom.operations import SMALL_PROGRAM, checked, get, post
from greenroom_core.entities import Kind, Registration
from greenroom_core.wire import to_wire


def register(registration: Registration, program: bytes) -> Operation[dict[str, Any]]:
    """Have an entity kept; the program goes along where the hub does not have it."""
    wire = to_wire(registration)
    along = len(program) <= SMALL_PROGRAM
    answer = yield Request("POST", "/api/entities", _body(wire, program if along else None), MSGPACK)
    if answer.status == 404 and not along and refused(answer.status, answer.body).code == "unknown_program":
        answer = yield Request("POST", "/api/entities", _body(wire, program), MSGPACK)
    checked(answer)
    told: dict[str, Any] = json.loads(answer.body)
    return told


def _body(wire: Any, program: bytes | None) -> bytes:
    body: bytes = msgpack.packb({"registration": wire, "program": program}, unicode_errors="surrogatepass")
    return body


def entity(kind: Kind, name: str, version: str = "", project: str = "") -> Operation[dict[str, Any]]:
    """What was registered under a name; the newest version unless one is given."""
    asked = urlencode({key: value for key, value in (("version", version), ("project", project)) if value})
    path = f"/api/entities/{kind.value}/{quote(name, safe='')}"
    told: dict[str, Any] = yield from get(f"{path}?{asked}" if asked else path)
    return told


def find(name: str, version: str = "", kind: str = "", project: str = "") -> Operation[dict[str, Any]]:
    """What was registered under a name: a workflow, else a task, else a launch plan, unless the kind is given."""
    kinds = [Kind(kind.replace(" ", "_").replace("-", "_"))] if kind else [Kind.WORKFLOW, Kind.TASK, Kind.LAUNCH_PLAN]
    for one in kinds[:-1]:
        try:
            return (yield from entity(one, name, version, project))
        except Refused as fault:
            if fault.code != "unknown_entity":
                raise
    return (yield from entity(kinds[-1], name, version, project))


def entities(kind: str = "", name: str = "", project: str = "", limit: int = 100) -> Operation[list[dict[str, Any]]]:
    """Versions that were registered, the newest first."""
    asked = {"kind": kind, "name": name, "project": project, "limit": str(limit)}
    answer = yield from get(f"/api/entities?{urlencode({key: value for key, value in asked.items() if value})}")
    rows: list[dict[str, Any]] = answer["entities"]
    return rows


def plans() -> Operation[list[dict[str, Any]]]:
    """Launch plans, with what their schedules do."""
    answer = yield from get("/api/launch-plans")
    rows: list[dict[str, Any]] = answer["launch_plans"]
    return rows


def activate(name: str, told: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """Have a launch plan run by itself; `told` as `docs/api.md` says."""
    return _shown((yield from post(f"/api/launch-plans/{quote(name, safe='')}/activate", told)))


def deactivate(name: str, told: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """Have a launch plan run no more by itself."""
    return _shown((yield from post(f"/api/launch-plans/{quote(name, safe='')}/deactivate", told)))


def _shown(answer: Any) -> dict[str, Any]:
    shown: dict[str, Any] = answer
    return shown
