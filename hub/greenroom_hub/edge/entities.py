"""The HTTP API of registered entities and launch plans, as `docs/api.md` lists it."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

from aiohttp import web

from greenroom_core.entities import Kind, Reference
from greenroom_core.program import Program
from greenroom_core.show import preview
from greenroom_core.values import ValueFault
from greenroom_hub.core import schedule
from greenroom_hub.core.catalog import Version
from greenroom_hub.core.plan_facts import ArtifactKept, Fired
from greenroom_hub.core.plans import Plan
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.requests import number_of, read_json
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.doorway import Unfit
from greenroom_hub.shell.hub import Hub
from greenroom_hub.shell.registrar import Registrar

_SHOWN_TIMES: Final = 3
_MOST_TIMES: Final = 10_000
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")


class Entities:
    """Handlers; each reads only what is on disk already."""

    def __init__(self, hub: Hub, registrar: Registrar, archive: Archive) -> None:
        self._hub, self._registrar, self._archive = hub, registrar, archive

    # Entities ---------------------------------------------------------------------------------------------------------

    async def register(self, request: web.Request) -> web.Response:
        """Keep an entity: msgpack `{"registration", "program"}`."""
        try:
            version, _ = await self._registrar.register(await request.read())
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault
        return web.json_response(self._shown(version), status=201)

    async def list(self, request: web.Request) -> web.Response:
        """Versions of entities, the newest first."""
        await self._hub.settled()
        query = request.query
        kind = _kind(query["kind"]) if query.get("kind") else None
        limit = min(int(number_of(query.get("limit", "100"), "limit")), 1000)
        found = [
            version
            for version in self._hub.state.catalog.all()
            if (kind is None or version.registration.kind is kind)
            and query.get("project") in (None, "", version.project)
            and query.get("name") in (None, "", version.registration.name)
        ]
        found.sort(key=lambda version: version.at_ms, reverse=True)
        return web.json_response({"entities": [_summary(version) for version in found[:limit]]})

    async def get(self, request: web.Request) -> web.Response:
        """One entity: `?project=&version=`; its newest version unless told."""
        await self._hub.settled()
        version = self._find(request, _kind(request.match_info["kind"]))
        return web.json_response(self._shown(version))

    async def program(self, request: web.Request) -> web.Response:
        """A packed program, for who fetches what was registered."""
        digest = request.match_info["digest"]
        program = self._archive.find_program(digest) if _DIGEST.fullmatch(digest) else None
        if program is None:
            raise ApiError("not_found", f"no program {digest[:40]!r} here")
        return web.Response(body=program.pack(), content_type="application/msgpack")

    def _find(self, request: web.Request, kind: Kind) -> Version:
        name, query = request.match_info["name"], request.query
        project = query.get("project") or self._only_project(kind, name)
        try:
            return self._registrar.find(Reference(kind, project, name, query.get("version") or ""))
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault

    def _only_project(self, kind: Kind, name: str) -> str:
        """The project of a name that only one has; who means another one says so."""
        keys = self._hub.state.catalog.entities
        projects = [project for known, project, entity in keys if (known, entity) == (kind, name)]
        if len(projects) > 1:
            told = ", ".join(projects)
            raise ApiError("conflict", f"{kind.words} {name!r} is registered in {told}: say which with ?project=")
        return projects[0] if projects else "default"

    def _shown(self, version: Version) -> dict[str, Any]:
        try:
            program: Program | None = self._archive.program(version.registration.program)
        except ValueFault:
            program = None
        told = version.registration
        return {
            **_summary(version),
            "interface": program.interface if program is not None else {},
            "entity": program.entity if program is not None else told.name,
            "inputs": {name: preview(value) for name, value in told.inputs.items()},
            "fixed": {name: preview(value) for name, value in told.fixed.items()},
            "queries": {name: query.name for name, query in told.queries.items()},
            "secrets": list(told.secrets),
            "labels": dict(told.labels),
            "bundle": program.bundle if program is not None else None,
            "webhooks": len(told.webhooks),
            "concurrency": told.concurrency,
        }

    async def artifacts(self, request: web.Request) -> web.Response:
        """Artifacts: the newest value of each name and partition, newest first; `?name=&project=`."""
        await self._hub.settled()
        query = request.query
        found = [
            one
            for one in self._hub.state.artifacts.values()
            if query.get("name") in (None, "", one.name) and query.get("project") in (None, "", one.project)
        ]
        found.sort(key=lambda one: one.at_ms, reverse=True)
        return web.json_response({"artifacts": [_artifact(one) for one in found[:1000]]})

    # Plans ------------------------------------------------------------------------------------------------------------

    async def plans(self, request: web.Request) -> web.Response:
        """Launch plans: those that were registered, with what their schedules do."""
        await self._hub.settled()
        keys = [key for key in self._hub.state.catalog.entities if key[0] is Kind.LAUNCH_PLAN]
        return web.json_response({"launch_plans": [self._plan(project, name) for _, project, name in keys]})

    async def plan(self, request: web.Request) -> web.Response:
        """One launch plan."""
        await self._hub.settled()
        version = self._find(request, Kind.LAUNCH_PLAN)
        return web.json_response(self._plan(version.project, version.registration.name))

    async def times(self, request: web.Request) -> web.Response:
        """Times of a plan's schedule after one moment and up to another: `?after=&until=`, seconds since the epoch."""
        await self._hub.settled()
        version, query = self._find(request, Kind.LAUNCH_PLAN), request.query
        told = version.registration.schedule
        if told is None:
            raise ApiError("invalid", f"{version.reference} has no schedule")
        after, until = (int(number_of(query.get(name, ""), name) * 1000) for name in ("after", "until"))
        found = await asyncio.to_thread(schedule.times_between, told, 0, after, until, _MOST_TIMES + 1)
        chosen = [moment / 1000 for moment in found]
        if len(chosen) > _MOST_TIMES:
            raise ApiError("invalid", f"more than {_MOST_TIMES} times lie between these: ask for less at once")
        return web.json_response({"times": chosen, "kickoff": told.kickoff})

    async def activate(self, request: web.Request) -> web.Response:
        """Have a launch plan run by itself: JSON `{"version", "project", "by", "env"}`."""
        told = await read_json(request)
        wanted = self._wanted(request, told)
        try:
            version = await self._registrar.activate(wanted, told)
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault
        return web.json_response(self._plan(version.project, version.registration.name))

    async def deactivate(self, request: web.Request) -> web.Response:
        """Have a launch plan run no more by itself: JSON `{"project", "by"}`."""
        told = await read_json(request)
        wanted = self._wanted(request, told)
        try:
            await self._registrar.deactivate(wanted.project, wanted.name, str(told.get("by") or ""))
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault
        return web.json_response(self._plan(wanted.project, wanted.name))

    def _wanted(self, request: web.Request, told: dict[str, Any]) -> Reference:
        name = request.match_info["name"]
        for key in ("project", "version", "by"):
            if not isinstance(told.get(key, ""), str | None):
                raise ApiError("bad_request", f"{key}={told[key]!r}: expected text")
        project = told.get("project") or self._only_project(Kind.LAUNCH_PLAN, name)
        return Reference(Kind.LAUNCH_PLAN, project, name, told.get("version") or "")

    def _plan(self, project: str, name: str) -> dict[str, Any]:
        state = self._hub.state
        newest = state.catalog.find(Reference(Kind.LAUNCH_PLAN, project, name))
        plan = state.plans.get((project, name)) or Plan(project, name)
        active = plan.active
        version = newest
        if active is not None:
            version = state.catalog.find(Reference(Kind.LAUNCH_PLAN, project, name, active.version))
        told = version.registration.schedule
        following: list[int] = []
        if told is not None and active is not None:
            following = schedule.next_times(told, active.since_ms, plan.last_ms, _SHOWN_TIMES)
        return {
            "name": name,
            "project": project,
            "newest": newest.registration.version,
            "active": active.version if active is not None else None,
            "since": active.since_ms / 1000 if active is not None else None,
            "by": active.by if active is not None else newest.registration.by,
            "schedule": schedule.words(told) if told is not None else None,
            "catch_up": str(told.catch_up) if told is not None else None,
            "timezone": told.timezone if told is not None else None,
            "concurrency": version.registration.concurrency,
            "next": [moment / 1000 for moment in following],
            "running": sorted(plan.running),
            "fired": [_fired(fired) for fired in reversed(plan.fired)],
            "skipped": plan.skipped,
            "skipped_why": plan.why,
            "problem": plan.fired[-1].why if plan.fired else "",
        }


def _artifact(one: ArtifactKept) -> dict[str, Any]:
    return {
        "name": one.name,
        "project": one.project,
        "partitions": dict(one.partitions),
        "value": preview(one.value),
        "execution": one.execution,
        "node": one.node,
        "output": one.output,
        "at": one.at_ms / 1000,
        "count": one.number,
    }


def _kind(text: str) -> Kind:
    try:
        return Kind(text.replace("-", "_"))
    except ValueError:
        raise ApiError("bad_request", f"kind {text!r}: choose of {', '.join(Kind)}") from None


def _summary(version: Version) -> dict[str, Any]:
    told = version.registration
    return {
        "kind": str(told.kind),
        "name": told.name,
        "project": version.project,
        "version": told.version,
        "program": told.program,
        "registered": version.at_ms / 1000,
        "by": told.by,
        "schedule": schedule.words(told.schedule) if told.schedule is not None else None,
    }


def _fired(fired: Fired) -> dict[str, Any]:
    told: dict[str, Any] = {"scheduled_at": fired.nominal_ms / 1000, "execution": fired.execution or None}
    return {**told, "problem": fired.why} if fired.why else told
