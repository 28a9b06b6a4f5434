"""Launch plans on the hub: registered, activated, run once for each time, whatever happens to the hub."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from greenroom_core.entities import CatchUp, Kind, Reference, Registration, Schedule, Webhook
from greenroom_core.facts import ExecutionSubmitted
from greenroom_core.graph import Graph, Node, NodeKind
from greenroom_core.program import Plan as CorePlan
from greenroom_core.program import Program, program_digest
from greenroom_core.values import pack, unpack
from greenroom_hub.core import commands as c
from greenroom_hub.core import events as e
from greenroom_hub.core import plan_facts as f
from greenroom_hub.core.plans import Plan
from greenroom_hub.core.state import Turn
from tests.hub.core.driver import HubDriver, task_program

EVERY_MINUTE = Schedule(every_s=60)


class Plans(HubDriver):
    """A hub with a launch plan, and a shell that checks what plans have pinned."""

    def __init__(self, program: Program | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.program = program or task_program()
        self.packed = self.program.pack()
        self.digest = program_digest(self.packed)
        self.programs[self.digest] = self.program
        self.problem = ""
        self.checks: list[c.CheckPlan] = []
        self.fired: list[f.PlanFired] = []
        self.notices: list[c.Notify] = []

    def _note(self, turn: Turn) -> Turn:
        super()._note(turn)
        self.checks += [command for command in turn.do if isinstance(command, c.CheckPlan)]
        self.fired += [row.fact for row in turn.rows if isinstance(row.fact, f.PlanFired)]
        self.notices += [command for command in turn.tell if isinstance(command, c.Notify)]
        return turn

    def register(self, version: str = "v1", schedule: Schedule | None = EVERY_MINUTE, **told: Any) -> Turn:
        settled = {"inputs": {"x": pack(5)}, "kind": Kind.LAUNCH_PLAN, "name": "nightly", **told}
        registration = Registration(version=version, program=self.digest, schedule=schedule, **settled)
        self.requests += 1
        return self.when(e.Registered(self.requests, registration, self.program, self.packed))

    def activate(self, version: str = "") -> Turn:
        self.requests += 1
        return self.when(e.PlanWanted(self.requests, "p", "nightly", version, "me"))

    def deactivate(self) -> Turn:
        self.requests += 1
        return self.when(e.PlanStopped(self.requests, "p", "nightly", "me"))

    def check(self) -> None:
        """The shell has looked at what the plans have pinned."""
        checks, self.checks = self.checks, []
        for told in checks:
            self.when(e.PlanChecked(told.project, told.name, told.nominal_ms, self.problem))

    def minutes(self, count: float) -> None:
        """Time passes, with a shell that answers."""
        until = self.now + count * 60_000
        while self.now < until:
            self.later(min(5.0, (until - self.now) / 1000))
            while self.checks:
                self.check()

    @property
    def plan(self) -> Plan:
        return self.state.plans[("p", "nightly")]

    def error(self) -> str:
        (reply,) = self.tells(c.Reply)
        return reply.error.code if reply.error else ""


def scheduled(**told: Any) -> Plans:
    """A plan that runs every minute, activated now."""
    hub = Plans()
    hub.register(**told)
    hub.activate()
    return hub


class TestFiring:
    """Times that come."""

    def test_a_time_is_run_with_its_fact_in_one_turn(self) -> None:
        """
        The firing and the submission are rows of one batch, the firing first; the nominal time is its key.
        """
        hub = scheduled()
        began = 10**12 + hub.now
        hub.later(60)

        hub.check()

        kinds = [type(fact) for fact in hub.facts(f.PlanFired, ExecutionSubmitted)]
        (fired,) = hub.facts(f.PlanFired)
        (submitted,) = hub.facts(ExecutionSubmitted)
        assert [f.PlanFired, ExecutionSubmitted] == kinds
        assert (began + 60_000, submitted.execution) == (fired.nominal_ms, fired.execution)
        assert {"x": pack(5)} == dict(submitted.submission.inputs)
        assert (fired.nominal_ms, "v1") == (submitted.submission.nominal_ms, submitted.submission.registered.version)

    def test_what_is_pinned_is_looked_at_first(self) -> None:
        """
        Nothing is run before the shell has seen that code and Python are there.
        """
        hub = scheduled()

        hub.later(60.1)

        assert ["nightly"] == [told.name for told in hub.checks]
        assert not hub.fired

    def test_the_kickoff_input_gets_the_time_that_was_due(self) -> None:
        """
        The input is a datetime in UTC: the time of the schedule, not of the run.
        """
        hub = scheduled(schedule=Schedule(every_s=60, kickoff="x"), inputs={})

        hub.minutes(1.1)

        value = unpack(hub.state.runs[hub.fired[0].execution].execution.inputs["x"])
        assert ["datetime", "2001-09-09T01:47:41+00:00"] == unpack(value.data)

    def test_each_time_comes_once(self) -> None:
        """
        Ten minutes, ten runs.
        """
        hub = scheduled()
        hub.connect()

        hub.minutes(10.5)

        times = [fired.nominal_ms for fired in hub.fired]
        assert 10 == len(set(times)) == len(times)

    def test_a_problem_is_recorded_and_the_next_time_is_tried(self) -> None:
        """
        A plan whose Python has changed is not run; why is in the log, and the next time is looked at again.
        """
        hub = scheduled()
        hub.problem = "the packages of its Python are others"
        hub.minutes(1.1)
        hub.problem = ""
        hub.minutes(1)

        failed, fired = hub.plan.fired
        assert ("", "the packages of its Python are others") == (failed.execution, failed.why)
        assert fired.execution

    def test_a_plan_that_is_stopped_runs_no_more(self) -> None:
        """
        Also not for a time that is being looked at.
        """
        hub = scheduled()
        hub.later(60.1)
        hub.deactivate()
        hub.check()
        hub.minutes(5)

        assert not hub.fired
        assert hub.machine.next_due() is None or hub.plan.active is None

    def test_a_limit_holds_times_back(self) -> None:
        """
        With one execution at a time and `last`, the times that passed become one run when the first has ended.
        """
        hub = scheduled(schedule=Schedule(every_s=60, catch_up=CatchUp.LAST), concurrency=1)
        hub.minutes(1.1)
        hub.minutes(3)
        assert 1 == len(hub.fired)

        hub.connect()
        hub.answer()
        hub.check()

        assert 2 == len(hub.fired)
        assert hub.fired[0].nominal_ms + 3 * 60_000 == hub.fired[1].nominal_ms

    def test_a_hand_is_held_back_by_the_limit_too(self) -> None:
        """
        Who runs a plan by name while it is full is told what runs.
        """
        hub = scheduled(concurrency=1)
        hub.minutes(1.1)

        hub.submit(hub.program, "by-hand", options={"registered": Reference(Kind.LAUNCH_PLAN, "p", "nightly", "v1")})

        assert "conflict" == hub.error()


class TestRestarts:
    """The hub is killed and comes back."""

    def test_the_log_folds_into_the_same_state(self) -> None:
        """
        Catalog and plans after a restart are what they were.
        """
        hub = scheduled(concurrency=2)
        hub.minutes(2.5)
        before = hub.plan
        entities = dict(hub.state.catalog.entities)

        hub.restart()

        same = ("project", "name", "active", "last_ms", "number", "facts", "fired", "skipped", "why", "running")
        assert [getattr(before, name) for name in same] == [getattr(hub.plan, name) for name in same]
        assert entities == hub.state.catalog.entities

    def test_a_time_that_was_run_is_not_run_again(self) -> None:
        """
        However often the hub is killed, each time is run once.
        """
        hub = scheduled(schedule=Schedule(every_s=60, catch_up=CatchUp.ALL))
        for _ in range(6):
            hub.minutes(0.7)
            hub.restart()
            hub.check()

        times = [fired.nominal_ms for fired in hub.fired]
        assert 4 <= len(times) == len(set(times))

    def test_a_time_that_was_only_looked_at_is_run_after_the_restart(self) -> None:
        """
        A crash between the look and the fact loses no time.
        """
        hub = scheduled()
        hub.later(60.1)
        hub.checks.clear()

        hub.restart()
        hub.check()

        assert 1 == len(hub.fired)

    def test_what_was_missed_goes_by_the_plan(self) -> None:
        """
        After ten minutes without a hub: skip runs the fresh one, last one, all ten.
        """
        runs = {}
        for policy in CatchUp:
            hub = scheduled(schedule=Schedule(every_s=60, catch_up=policy))
            hub.now += 10 * 60_000 + 5_000
            hub.restart()
            while hub.checks:
                hub.check()
            runs[policy] = len(hub.fired)

        assert {CatchUp.SKIP: 1, CatchUp.LAST: 1, CatchUp.ALL: 10} == runs

    def test_a_clock_that_goes_back_runs_nothing_twice(self) -> None:
        """
        Times that were decided stay decided.
        """
        hub = scheduled()
        hub.minutes(3.1)
        hub.now -= 2 * 60_000
        hub.minutes(1.5)

        times = [fired.nominal_ms for fired in hub.fired]
        assert 3 == len(times) == len(set(times))

    def test_a_plan_keeps_a_bounded_log(self) -> None:
        """
        After some hundred times a new stream begins with what they come to, and the old one is dropped.
        """
        hub = scheduled()
        hub.connect()
        for _ in range(600):
            hub.minutes(1)
            hub.answer_all()
        before = hub.plan

        hub.restart()

        rows = [row for row in hub.log if row[1].startswith("plan:")]
        assert len(rows) <= 500
        assert (before.last_ms, before.active, before.number) == (hub.plan.last_ms, hub.plan.active, 2)
        assert list(before.fired) == list(hub.plan.fired)


class TestRegistering:
    """Names and versions."""

    def test_a_version_does_not_change(self) -> None:
        """
        The same again is no news; another program under the same version is refused.
        """
        hub = Plans()
        hub.register()
        hub.register()
        assert [] == hub.facts()

        hub.digest = "0" * 32
        hub.register()

        assert "conflict" == hub.error()

    def test_a_version_that_is_the_codes_hash_may_be_made_anew(self) -> None:
        """
        The same code on another Python is another program of one version: the last one counts.
        """
        hub = Plans()
        hub.register(derived=True)

        other = task_program(count=2)
        hub.program, hub.packed, hub.digest = other, other.pack(), program_digest(other.pack())
        hub.register(derived=True)

        found = hub.state.catalog.find(Reference(Kind.LAUNCH_PLAN, "p", "nightly"))
        assert ("", hub.digest) == (hub.error(), found.registration.program)

    def test_a_plan_that_lacks_an_input_is_not_activated(self) -> None:
        """
        What nobody is there to give must be settled before.
        """
        hub = Plans()
        hub.register(inputs={})

        hub.activate()

        assert "invalid" == hub.error()
        assert not hub.state.plans

    def test_activating_another_version_takes_the_place_of_the_first(self) -> None:
        """
        One version of a plan runs by itself, and a time that was run by the first is not run by the second.
        """
        hub = scheduled()
        hub.minutes(1.1)
        hub.register("v2", inputs={"x": pack(6)})
        hub.activate("v2")
        hub.minutes(1.1)

        versions = [hub.state.runs[fired.execution].execution.submitted.submission for fired in hub.fired]
        assert ["v1", "v2"] == [told.registered.version for told in versions if told.registered]

    def test_who_stops_what_does_not_run_is_told(self) -> None:
        """
        Deactivating twice is refused with what is active.
        """
        hub = scheduled()
        hub.deactivate()
        hub.deactivate()

        assert "not_active" == hub.error()


class TestWebhooks:
    """Who is told."""

    def told(self, hub: Plans) -> list[Any]:
        return [(told.told["execution"], told.told["outcome"]) for told in hub.notices]

    def test_an_end_and_what_is_due_are_in_one_turn(self) -> None:
        """
        That somebody is to be told is a fact of the turn that ends the execution.
        """
        hub = scheduled(webhooks=(Webhook("http://there/", ("failed", "succeeded")),))
        hub.connect()
        hub.minutes(1.1)

        hub.connect()
        hub.answer()

        (due,) = hub.facts(f.NoticeDue)
        assert hub.fired[0].execution == due.execution
        assert [(due.execution, "succeeded")] == self.told(hub)

    def test_what_was_not_delivered_is_told_again_after_a_restart(self) -> None:
        """
        At least once; and when it was delivered nothing of it is left.
        """
        hub = scheduled(webhooks=(Webhook("http://there/"),))
        hub.minutes(1.1)
        hub.connect()
        hub.answer()
        hub.restart()
        assert 2 == len(hub.notices)

        hub.when(e.NoticeSettled(hub.notices[0].id))
        hub.restart()

        assert 2 == len(hub.notices)
        assert not [row for row in hub.log if row[1].startswith("webhook:")]

    def test_a_run_that_could_not_start_is_told(self) -> None:
        """
        Silence would be taken for success.
        """
        hub = scheduled(webhooks=(Webhook("http://there/"),))
        hub.problem = "its Python is gone"

        hub.minutes(1.1)

        assert [(None, "failed")] == self.told(hub)
        assert "its Python is gone" == hub.notices[0].told["failure"]["message"]

    def test_ends_that_nobody_asked_for_are_not_told(self) -> None:
        """
        A webhook for failures hears of no success.
        """
        hub = scheduled(webhooks=(Webhook("http://there/", ("failed",)),))
        hub.minutes(1.1)
        hub.connect()

        hub.answer()

        assert [] == hub.notices


class TestReferences:
    """Registered entities that other programs call."""

    def calling(self, **inputs: str) -> Program:
        """A workflow that calls `nightly` by name."""
        wanted = Reference(Kind.LAUNCH_PLAN, "p", "nightly", "v1")
        node = Node("far", NodeKind.CHILD, target="far", outputs=("o0",))
        graph = Graph((node,), {}, ("x",))
        base = task_program()
        return replace(base, graph=graph, plans={"far": CorePlan("far", Graph(()), reference=wanted)})

    def test_a_reference_runs_what_was_registered(self) -> None:
        """
        The child runs the registered program with the inputs that were settled there.
        """
        hub = Plans()
        hub.register()

        hub.submit(self.calling(), "outer")

        child = next(run for run in hub.state.runs.values() if run.parent)
        assert (hub.digest, {"x": pack(5)}) == (child.execution.submitted.submission.program, child.execution.inputs)

    def test_what_is_not_registered_fails_its_node(self) -> None:
        """
        At the door such a program is refused; what a dynamic task brings fails where it stands.
        """
        hub = Plans()

        hub.submit(self.calling(), "outer")

        failed = hub.ended["outer"].ended
        assert failed is not None
        assert failed.failure is not None
        assert "not registered here" in failed.failure["message"]
