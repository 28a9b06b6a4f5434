"""Launch plans that run by themselves: activated, looked at when a time comes, checked, run once for each time.

A time is decided by one fact: it was run (with the submission, in the same batch), skipped, or could not be run. Times
are decided in their order, and the last one that was decided is part of the state: after a restart, and when clocks go
back, none is decided twice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from greenroom_core.entities import Kind, Reference, Registration
from greenroom_core.program import CachedResults, Submission
from greenroom_core.values import Ext, Value, ext, pack
from greenroom_hub.core import plan_facts as f
from greenroom_hub.core import schedule
from greenroom_hub.core.catalog import UnknownEntity, Version
from greenroom_hub.core.commands import CheckPlan, Refusal, Reply
from greenroom_hub.core.schedule import Decision, decide

if TYPE_CHECKING:
    from greenroom_hub.core.events import PlanChecked, PlanStopped, PlanWanted
    from greenroom_hub.core.state import State

_KEPT_FIRINGS: Final = 20
_FACTS_A_STREAM: Final = 500
_LOOK_MS: Final = 20_000
"""A schedule is looked at so often at least: a clock that was set, or a laptop that slept, is noticed by then."""

_HELD_MS: Final = 60_000
"""How long a check of what a plan has pinned may take, before it is asked for again."""


@dataclass(slots=True)
class Plan:
    """A launch plan that was activated at least once."""

    project: str
    name: str
    active: f.Activation | None = None
    last_ms: int = 0
    """Times up to this one are decided."""
    number: int = 1
    """Of its stream."""
    facts: int = 0
    """In that stream."""
    fired: deque[f.Fired] = field(default_factory=lambda: deque(maxlen=_KEPT_FIRINGS))
    """The latest times that were run, or could not be, the oldest first."""
    skipped: int = 0
    """Times that were not run at the last occasion, counted up to 1,000."""
    why: str = ""
    """Why they were not."""
    running: set[str] = field(default_factory=set)
    """Live executions of the plan, whoever started them."""
    checking: tuple[int, int] | None = None
    """The time that is about to be run once what the plan has pinned was seen, and since when (monotonic)."""
    due_ms: int | None = None
    """The next time, if it is known."""

    @property
    def key(self) -> tuple[str, str]:
        """Its project and name."""
        return self.project, self.name

    @property
    def stream(self) -> str:
        """Where its facts go."""
        return f.plan_stream(self.project, self.name, self.number)

    def apply(self, fact: f.PlanFact, at_ms: int) -> None:
        """Fold one fact, live and after a restart alike."""
        self.facts += 1
        if isinstance(fact, f.PlanActivated):
            self.active = f.Activation(fact.version, at_ms, fact.by, fact.sealed)
            self.last_ms = max(self.last_ms, at_ms)
            self.skipped, self.why = 0, ""
        elif isinstance(fact, f.PlanDeactivated):
            self.active = None
        elif isinstance(fact, f.PlanFired):
            self._decided(f.Fired(fact.nominal_ms, fact.execution))
        elif isinstance(fact, f.PlanFailed):
            self._decided(f.Fired(fact.nominal_ms, why=fact.why))
        elif isinstance(fact, f.PlanSkipped):
            self.last_ms = max(self.last_ms, fact.until_ms)
            self.skipped, self.why = fact.count, fact.why
        elif isinstance(fact, f.PlanKept):
            self.active, self.last_ms, self.number, self.facts = fact.active, fact.last_ms, fact.number, 1
            self.fired = deque(fact.fired, maxlen=_KEPT_FIRINGS)
            self.skipped, self.why = fact.skipped, fact.why
        self.due_ms = None

    def _decided(self, fired: f.Fired) -> None:
        self.last_ms = max(self.last_ms, fired.nominal_ms)
        self.fired.append(fired)

    def kept(self) -> f.PlanKept:
        """What it is now, as the first fact of its next stream."""
        number = self.number + 1
        fired = tuple(self.fired)
        return f.PlanKept(self.project, self.name, number, self.last_ms, self.active, fired, self.skipped, self.why)


# Activating -----------------------------------------------------------------------------------------------------------


def unfit(version: Version, inputs: tuple[str, ...]) -> str | None:
    """Why a plan cannot run by itself; None if it can.

    Args:
        version: The plan.
        inputs: Of its graph.
    """
    told = version.registration
    if told.kind is not Kind.LAUNCH_PLAN or told.schedule is None:
        return f"{version.reference} has no schedule: give its LaunchPlan schedule=CronSchedule(...) or FixedRate(...)"
    given = {*told.inputs, *told.fixed, *told.queries, told.schedule.kickoff}
    missing = [name for name in inputs if name not in given]
    if missing:
        return (
            f"{version.reference} has no value for input {missing[0]!r} when its time comes: settle it with "
            "default_inputs or fixed_inputs, or name it as kickoff_time_input_arg"
        )
    return None


def on_plan_wanted(state: State, event: PlanWanted) -> None:
    """Somebody activates a plan; what it has pinned was seen to be there."""
    wanted = Reference(Kind.LAUNCH_PLAN, event.project, event.name, event.version)
    try:
        version = state.catalog.find(wanted)
    except UnknownEntity as fault:
        state.tell(Reply(event.request, error=Refusal("unknown_entity", str(fault))))
        return
    program = state.find_program(version.registration.program)
    why = unfit(version, program.graph.inputs) if program is not None else "its program is gone: register it again"
    if why is not None:
        state.tell(Reply(event.request, error=Refusal("invalid", why)))
        return
    plan = state.plans.setdefault((event.project, event.name), Plan(event.project, event.name))
    plan.running |= running_of(state, plan)
    plan.checking = None
    fact = f.PlanActivated(event.project, event.name, version.registration.version, event.by, event.sealed)
    _record(state, plan, fact)
    state.say("launch plan activated", plan=event.name, version=version.registration.version, by=event.by)
    state.tell(Reply(event.request, event.name))
    look(state, plan)


def on_plan_stopped(state: State, event: PlanStopped) -> None:
    """Somebody deactivates a plan; executions that run go on."""
    plan = state.plans.get((event.project, event.name))
    if plan is None or plan.active is None:
        known = ", ".join(one.name for one in state.plans.values() if one.active is not None) or "none"
        refusal = Refusal("not_active", f"launch plan {event.project}/{event.name} is not active; active are: {known}")
        state.tell(Reply(event.request, error=refusal))
        return
    plan.checking = None
    _record(state, plan, f.PlanDeactivated(event.project, event.name, event.by))
    state.say("launch plan deactivated", plan=event.name, by=event.by)
    state.tell(Reply(event.request, event.name))


def running_of(state: State, plan: Plan) -> set[str]:
    """Live executions of a plan."""
    return {run.id for run in state.runs.values() if run.plan == plan.key}


def _record(state: State, plan: Plan, fact: f.PlanFact) -> None:
    """Put a fact into a plan's stream and fold it; begin a new stream where this one has grown long."""
    state.record_hub(plan.stream, fact)
    plan.apply(fact, state.now.wall_ms)
    if plan.facts >= _FACTS_A_STREAM:
        old, kept = plan.stream, plan.kept()
        plan.apply(kept, state.now.wall_ms)
        state.record_hub(plan.stream, kept)
        state.drop(old)


# When a time comes ----------------------------------------------------------------------------------------------------


def next_look(state: State) -> int | None:
    """When plans are to be looked at, wall clock; None if none is active."""
    times = [plan.due_ms for plan in state.plans.values() if plan.active is not None and plan.due_ms is not None]
    if not times:
        return None
    return min(*times, state.now.wall_ms + _LOOK_MS)


def look_at_plans(state: State) -> None:
    """See to every plan whose time has come."""
    for plan in list(state.plans.values()):
        if plan.active is not None and (plan.due_ms is None or plan.due_ms <= state.now.wall_ms):
            look(state, plan)


def look(state: State, plan: Plan) -> None:
    """See to one plan: run what is due, or note when that will be."""
    active = plan.active
    if active is None or state.draining:
        return
    if plan.checking is not None and state.now.mono_ms - plan.checking[1] < _HELD_MS:
        plan.due_ms = state.now.wall_ms + _LOOK_MS
        return
    version = _version(state, plan, active.version)
    if version is None or version.registration.schedule is None:
        plan.due_ms = None
        return
    told = version.registration
    assert told.schedule is not None
    room = told.concurrency is None or len(plan.running) < told.concurrency
    now = state.now.wall_ms
    made = decide(told.schedule, active.since_ms, plan.last_ms, now, state.settings.on_time_ms, room)
    _carry_out(state, plan, version, made)
    if plan.checking is None and not made.waits:
        following = schedule.next_times(told.schedule, active.since_ms, plan.last_ms)
        plan.due_ms = following[0] if following else None
    else:
        plan.due_ms = now + _LOOK_MS


def _version(state: State, plan: Plan, version: str) -> Version | None:
    try:
        return state.catalog.find(Reference(Kind.LAUNCH_PLAN, plan.project, plan.name, version))
    except UnknownEntity:
        return None


def _carry_out(state: State, plan: Plan, version: Version, made: Decision) -> None:
    if made.skip_to_ms is not None:
        _record(state, plan, f.PlanSkipped(plan.project, plan.name, made.skip_to_ms, made.skipped, made.why))
        state.count("schedule_times_skipped", made.skipped)
        state.say("times of a launch plan are skipped", plan=plan.name, count=made.skipped, why=made.why)
    if made.fire_ms is not None:
        plan.checking = made.fire_ms, state.now.mono_ms
        state.do(CheckPlan(plan.project, plan.name, made.fire_ms, version.registration.program))


def on_plan_checked(state: State, event: PlanChecked) -> None:
    """What a plan has pinned was looked at: it is run for the time that has come, or why it cannot be is recorded."""
    plan = state.plans.get((event.project, event.name))
    if plan is None or plan.active is None or plan.checking is None or plan.checking[0] != event.nominal_ms:
        return  # It was deactivated or activated anew meanwhile.
    plan.checking = None
    version = _version(state, plan, plan.active.version)
    if version is None or state.draining:
        return
    why = event.problem or _fire(state, plan, plan.active, version, event.nominal_ms)
    if why:
        _fail(state, plan, version, event.nominal_ms, why)
    look(state, plan)


def _fail(state: State, plan: Plan, version: Version, nominal_ms: int, why: str) -> None:
    from greenroom_hub.core.webhooks import tell_of_no_start

    _record(state, plan, f.PlanFailed(plan.project, plan.name, nominal_ms, why))
    state.count("schedule_times_failed")
    state.say("launch plan could not be run", plan=plan.name, nominal=nominal_ms, why=why)
    tell_of_no_start(state, version, nominal_ms, why)


def _fire(state: State, plan: Plan, active: f.Activation, version: Version, nominal_ms: int) -> str:
    """Run a plan for one time; why it could not be, if so."""
    from greenroom_hub.core.artifacts import NoArtifact, filled
    from greenroom_hub.core.submissions import begin_scheduled

    execution = execution_of(state, plan, nominal_ms)
    submission = scheduled(version.registration, plan.project, active, nominal_ms)
    try:
        inputs = filled(state, submission, version.registration.queries, plan.project)
    except NoArtifact as fault:
        return str(fault)
    submission = replace(submission, inputs=inputs)
    # The fact comes first: both are in one batch, and whoever folds them knows of the time before the execution.
    fact = f.PlanFired(plan.project, plan.name, nominal_ms, execution)
    return begin_scheduled(
        state, execution, submission, active.sealed or version.sealed, lambda: _record(state, plan, fact)
    )


def execution_of(state: State, plan: Plan, nominal_ms: int) -> str:
    """The id of a plan's execution for one time: the same one whoever computes it."""
    from greenroom_protocol.ids import execution_id

    entropy = hashlib.sha256(f"{plan.project}/{plan.name}@{nominal_ms}".encode()).digest()
    for length in range(8, len(entropy)):
        name = execution_id(plan.name, entropy, length)
        if name not in state.runs:
            return name
    raise AssertionError("32 bytes of entropy were not enough")


def scheduled(told: Registration, project: str, active: f.Activation, nominal_ms: int) -> Submission:
    """The submission of a plan for one time."""
    kickoff = told.schedule.kickoff if told.schedule is not None else ""
    inputs = {**told.inputs, **({kickoff: moment_value(nominal_ms)} if kickoff else {}), **told.fixed}
    return Submission(
        program=told.program,
        inputs=inputs,
        by=active.by or told.by,
        labels=told.labels,
        secrets=dict.fromkeys(told.secrets, ""),
        cached_results=CachedResults.REFRESH if told.refresh else CachedResults.USE,
        key=f"schedule:{project}/{told.name}@{nominal_ms}",
        registered=Reference(Kind.LAUNCH_PLAN, project, told.name, told.version),
        nominal_ms=nominal_ms,
        webhooks=told.webhooks,
    )


def moment_value(moment_ms: int) -> Value:
    """A datetime in UTC, as tasks get it."""
    from datetime import UTC, datetime

    return pack(ext(Ext.TIME, ["datetime", datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat()]))


# Executions of plans --------------------------------------------------------------------------------------------------


def full(state: State, reference: Reference | None) -> str | None:
    """Why a plan may have no further execution now; None if it may."""
    if reference is None or reference.kind is not Kind.LAUNCH_PLAN:
        return None
    entity = state.catalog.entities.get((reference.kind, reference.project, reference.name))
    version = entity.versions.get(reference.version) if entity is not None else None
    limit = version.registration.concurrency if version is not None else None
    running = [run.id for run in state.runs.values() if run.plan == (reference.project, reference.name)]
    if limit is None or len(running) < limit:
        return None
    return f"{reference} allows {limit} executions at a time, and {', '.join(running[:3])} run: wait, or cancel one"


def started(state: State, key: tuple[str, str] | None, execution: str) -> None:
    """An execution of a plan has begun."""
    plan = state.plans.get(key) if key is not None else None
    if plan is not None:
        plan.running.add(execution)


def ended(state: State, key: tuple[str, str] | None, execution: str) -> None:
    """An execution of a plan has ended: another one may begin."""
    plan = state.plans.get(key) if key is not None else None
    if plan is not None and execution in plan.running:
        plan.running.discard(execution)
        plan.due_ms = None
        state.look_at_plans = True


def without_env(told: Registration) -> Registration:
    """A registration as the log holds it: secrets by name only."""
    return replace(told, env={}, secrets=dict.fromkeys(told.secrets, ""))
