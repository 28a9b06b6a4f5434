"""Entities are registered: a version, once it is there, does not change."""

from __future__ import annotations

from dataclasses import replace

from greenroom_core.entities import Registration
from greenroom_hub.core.catalog import Version
from greenroom_hub.core.commands import Refusal, Reply
from greenroom_hub.core.events import Registered
from greenroom_hub.core.plan_facts import EntityRegistered, entity_stream
from greenroom_hub.core.state import State


def on_registered(state: State, event: Registered) -> None:
    """Keep a version of an entity, or refuse it."""
    told, project = event.registration, event.program.project
    version = Version(project, told, state.now.wall_ms, event.sealed)
    entity = state.catalog.entities.get((told.kind, project, told.name))
    known = entity.versions.get(told.version) if entity is not None else None
    why = _conflict(known, told)
    if why is not None:
        state.tell(Reply(event.request, error=Refusal("conflict", f"{version.reference} {why}")))
        return
    if event.packed is not None:
        state.turn.programs.append((told.program, event.packed))
    state.programs.setdefault(told.program, event.program)
    same = known is not None and entity is not None and known is entity.newest and _same(known, version)
    if not same:
        state.catalog.add(version)
        state.record_hub(entity_stream(version.reference), EntityRegistered(project, told, event.sealed))
        state.count("entities_registered")
        state.say("entity registered", entity=str(version.reference), by=told.by)
    state.tell(Reply(event.request, told.version))


def _conflict(known: Version | None, told: Registration) -> str | None:
    """Why a version cannot be registered (again); None if it can."""
    if known is None or told.derived:
        return None
    was = known.registration
    if was.program != told.program:
        return "is registered already, with another program: choose another version"
    differs = [
        name for name in ("inputs", "fixed", "schedule", "concurrency") if getattr(was, name) != getattr(told, name)
    ]
    return f"is registered already, with other {differs[0]}: choose another version" if differs else None


def _same(known: Version, version: Version) -> bool:
    """Whether nothing would change: registering again what is the newest leaves no trace."""
    by = version.registration.by
    return replace(known.registration, by=by) == version.registration and known.sealed == version.sealed
