"""From an entity to a registration: what a hub keeps of it under a name and a version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from greenroom import secrets
from greenroom.artifacts import ArtifactQuery
from greenroom.definition_errors import BadArgument
from greenroom.launch_plan import LaunchPlan
from greenroom.notifications import offset_seconds
from greenroom.schedules import CronSchedule, FixedRate
from greenroom.task import Task
from greenroom.workflow import WorkflowBase
from greenroom_core.entities import CatchUp, Kind, Query, Registration, Schedule

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.bundling import Bundle
    from greenroom.compile import CompiledProgram

_SHORT: Final = 16
"""Hex digits of a bundle's hash that make a version."""


@dataclass(frozen=True, slots=True)
class ToRegister:
    """A registration and all that goes along."""

    registration: Registration
    program: bytes
    project: str
    bundle: Bundle | None
    notes: tuple[str, ...] = ()


def kind_of(entity: Any) -> Kind:
    """What a registered entity is.

    Raises:
        BadArgument: It is none that can be registered.
    """
    if isinstance(entity, LaunchPlan):
        return Kind.LAUNCH_PLAN
    if isinstance(entity, WorkflowBase):
        return Kind.WORKFLOW
    if isinstance(entity, Task):
        return Kind.TASK
    raise BadArgument("register", "entity", entity, "a task, workflow or launch plan; is the function decorated?")


def to_register(
    entity: Any,
    compiled: CompiledProgram,
    bundle: Bundle | None,
    blobs: BlobStore,
    *,
    name: str | None,
    version: str | None,
    by: str,
    env: Mapping[str, str],
) -> ToRegister:
    """What a hub is asked to keep.

    Args:
        entity: A task, workflow or launch plan.
        compiled: What it was compiled to.
        bundle: Its code.
        blobs: Takes large defaults.
        name: Its own unless given.
        version: The bundle's hash unless given.
        by: Who registers.
        env: Variables for its calls.
    """
    kind = kind_of(entity)
    derived = (bundle.hash if bundle is not None else compiled.digest)[:_SHORT]
    registration = Registration(
        kind=kind,
        name=name or entity.name,
        version=version or derived,
        program=compiled.digest,
        derived=version is None,
        by=by,
        inputs=_defaults(compiled, blobs),
        fixed=compiled.fixed,
        queries=_queries(compiled),
        labels=compiled.labels,
        env=env,
        secrets=_secrets(compiled),
        schedule=schedule_of(entity) if isinstance(entity, LaunchPlan) else None,
        webhooks=tuple(hook.told() for hook in entity.webhooks) if isinstance(entity, LaunchPlan) else (),
        concurrency=entity.limit if isinstance(entity, LaunchPlan) else None,
        refresh=compiled.refreshes,
    )
    return ToRegister(registration, compiled.packed, compiled.program.project, bundle, compiled.notes)


def _secrets(compiled: CompiledProgram) -> dict[str, str]:
    """The secrets that can be found here."""
    return secrets.resolve(compiled.secrets)


def _defaults(compiled: CompiledProgram, blobs: BlobStore) -> dict[str, bytes]:
    inputs = compiled.interface.inputs
    return {
        name: part.codec.encode(part.default, blobs)
        for name, part in inputs.items()
        if not part.required and name not in compiled.fixed and not isinstance(part.default, ArtifactQuery)
    }


def _queries(compiled: CompiledProgram) -> dict[str, Query]:
    """Inputs that are looked up as artifacts unless they are given."""
    inputs = compiled.interface.inputs
    return {name: part.default.told() for name, part in inputs.items() if isinstance(part.default, ArtifactQuery)}


def schedule_of(plan: LaunchPlan) -> Schedule | None:
    """A plan's schedule, as the hub takes it."""
    told = plan.schedule
    if isinstance(told, CronSchedule):
        return Schedule(
            cron=told.fields,
            offset_s=offset_seconds(told.offset),
            timezone=told.timezone,
            kickoff=told.kickoff_time_input_arg or "",
            catch_up=CatchUp(told.catch_up),
        )
    if isinstance(told, FixedRate):
        every = told.duration // timedelta(seconds=1)
        return Schedule(every_s=every, kickoff=told.kickoff_time_input_arg or "", catch_up=CatchUp(told.catch_up))
    return None
