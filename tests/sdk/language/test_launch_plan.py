"""Launch plans: inputs settled beforehand, schedules, calls as executions of their own."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta

import pytest

from greenroom import building
from greenroom.context import current_context
from greenroom.definition_errors import BadArgument, PlanExists, TaskArgumentRefused, UnknownArgument
from greenroom.errors import TypeMismatch
from greenroom.launch_plan import LaunchPlan
from greenroom.schedules import CronSchedule, FixedRate
from greenroom.task import task
from greenroom.workflow import workflow
from greenroom_core.graph import NodeKind


@task
def add(a: int, b: int) -> int:
    return a + b


@workflow
def sums(a: int, b: int = 10) -> int:
    return add(a=a, b=b)


@workflow
def timed(at: dt.datetime, n: int = 1) -> int:
    return add(a=n, b=n)


@pytest.fixture(autouse=True)
def _no_plans(monkeypatch):
    monkeypatch.setattr(LaunchPlan, "CACHE", {})


class TestDefault:
    def test_every_workflow_has_one(self):
        """
        It has the workflow's name and inputs; whatever stands for a context is taken.
        """
        plan = LaunchPlan.get_default_launch_plan(current_context(), sums)

        assert plan is LaunchPlan.get_or_create(sums) is LaunchPlan.get_default_launch_plan(None, sums)
        assert (sums.name, ["a", "b"]) == (plan.name, list(plan.interface.inputs))
        assert plan(a=1) == 11


class TestInputs:
    def test_defaults_and_fixed_inputs(self):
        """
        A default can be overridden, a fixed input cannot.
        """
        plan = LaunchPlan.get_or_create(sums, "p", default_inputs={"a": 5}, fixed_inputs={"b": 100})

        assert (plan(), plan(a=1)) == (105, 101)
        with pytest.raises(BadArgument, match="fixed it to 100"):
            plan(b=1)

    def test_in_a_workflow(self):
        """
        A call is a node that starts an execution of its own.
        """
        plan = LaunchPlan.get_or_create(sums, "pkg.p", fixed_inputs={"b": 100})

        @workflow
        def wf(n: int) -> int:
            return plan(a=plan(a=n))

        assert [(n.id, n.kind) for n in wf.compiled.graph.nodes] == [("p", NodeKind.CHILD), ("p-2", NodeKind.CHILD)]
        assert wf(n=1) == 201

    def test_an_error_of_the_child_is_the_users(self):
        """
        What fails in the child fails in the parent, as the user's own error.
        """

        @task
        def fails(n: int) -> int:
            raise KeyError("inside")

        @workflow
        def child(n: int) -> int:
            return fails(n=n)

        plan = LaunchPlan.get_default_launch_plan(None, child)

        @workflow
        def wf(n: int) -> int:
            return plan(n=n)

        with pytest.raises(KeyError, match="inside"):
            wf(n=1)

    @pytest.mark.parametrize("kind", ["default_inputs", "fixed_inputs"])
    def test_are_checked(self, kind):
        """
        Inputs that the workflow lacks, or of another type, are refused when the plan is made.
        """
        with pytest.raises(UnknownArgument, match="'c'; it takes a, b"):
            LaunchPlan.get_or_create(sums, "p", **{kind: {"c": 1}})
        with pytest.raises(TypeMismatch, match="launch plan 'p', input 'a': expected int"):
            LaunchPlan.get_or_create(sums, "p", **{kind: {"a": "x"}})

    def test_are_fixed_or_default(self):
        """
        One input cannot be both.
        """
        with pytest.raises(BadArgument, match="inputs that are not fixed"):
            LaunchPlan.get_or_create(sums, "p", default_inputs={"a": 1}, fixed_inputs={"a": 1})


class TestNames:
    def test_the_same_plan_again(self):
        """
        A name stands for one plan.
        """
        one = LaunchPlan.get_or_create(sums, "p", fixed_inputs={"b": 1})

        assert one is LaunchPlan.get_or_create(sums, "p", fixed_inputs={"b": 1})

    @pytest.mark.parametrize(
        "other",
        [{"fixed_inputs": {"b": 2}}, {"default_inputs": {"a": 1}}, {"schedule": FixedRate(timedelta(hours=1))}, {}],
    )
    def test_another_plan_of_that_name(self, other):
        """
        Other properties under a known name are refused, with the one that differs.
        """
        LaunchPlan.get_or_create(sums, "p", fixed_inputs={"b": 1})

        with pytest.raises(
            AssertionError, match=r"exists with another (fixed_inputs|default_inputs|schedule)"
        ) as caught:
            LaunchPlan.get_or_create(sums, "p", **other)

        assert isinstance(caught.value, PlanExists)

    def test_another_workflow_under_that_name(self):
        """
        A name stands for one workflow.
        """
        LaunchPlan.get_or_create(sums, "p")

        with pytest.raises(PlanExists, match="another workflow"):
            LaunchPlan.get_or_create(timed, "p")

    def test_properties_need_a_name(self):
        """
        Only a named plan can differ from the default one.
        """
        with pytest.raises(ValueError, match="a name, where fixed_inputs is given"):
            LaunchPlan.get_or_create(sums, fixed_inputs={"b": 1})
        with pytest.raises(ValueError, match="a name, where labels"):
            LaunchPlan.get_or_create(sums, labels={"a": "b"})

    def test_create_replaces(self):
        """
        `create` makes a plan whatever was there.
        """
        LaunchPlan.create("p", sums, fixed_inputs={"b": 1})

        assert LaunchPlan.create("p", sums, fixed_inputs={"b": 2})(a=1) == 3

    def test_create_knows_its_properties(self):
        """
        An unknown property is refused.
        """
        with pytest.raises(TaskArgumentRefused, match="colour"):
            LaunchPlan.create("p", sums, colour="red")

    def test_a_replica_takes_the_last_one(self, monkeypatch):
        """
        A replica may have seen an older version of the program under the same name.
        """
        LaunchPlan.get_or_create(sums, "p", fixed_inputs={"b": 1})
        monkeypatch.setattr(building, "compile_at_definition", False)

        assert LaunchPlan.get_or_create(timed, "p").workflow is timed


class TestSchedules:
    @pytest.mark.parametrize(
        "schedule",
        ["* * * * *", "*/5 * * * *", "0 9-17 * * mon-fri", "0,30 8 1 jan *", "hourly", "@daily", "Weekly", "0 0 ? * 7"],
    )
    def test_cron(self, schedule):
        """
        Five fields, or a word.
        """
        assert schedule == CronSchedule(schedule=schedule).schedule
        assert len(CronSchedule(schedule=schedule).fields.split()) == 5

    @pytest.mark.parametrize(
        "schedule",
        ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "*/0 * * * *", "soon", 5,
         None, "5-1 * * * *", "a * * * *"],
    )  # fmt: skip
    def test_what_is_no_cron(self, schedule):
        """
        A schedule that never could be is refused with the field in question.
        """
        with pytest.raises(BadArgument, match="CronSchedule"):
            CronSchedule(schedule=schedule)

    def test_other_options(self):
        """
        Offset, kick-off input, time zone and what becomes of missed times.
        """
        schedule = CronSchedule(schedule="hourly", offset="PT5M", timezone="Europe/Berlin", catch_up="last")

        assert (schedule.offset, schedule.timezone, schedule.catch_up) == ("PT5M", "Europe/Berlin", "last")
        for wrong in ({"offset": "5 min"}, {"timezone": "Mars/Base"}, {"catch_up": "some"}):
            with pytest.raises(BadArgument):
                CronSchedule(schedule="hourly", **wrong)
        with pytest.raises(TaskArgumentRefused, match="five fields"):
            CronSchedule("0 * * * ? *")

    def test_fixed_rates(self):
        """
        Whole minutes, at least one.
        """
        assert timedelta(minutes=90) == FixedRate(timedelta(hours=1.5)).duration
        for wrong in (timedelta(seconds=30), timedelta(seconds=90), 60, None):
            with pytest.raises(BadArgument, match="whole minutes"):
                FixedRate(wrong)

    def test_the_kick_off_time_is_an_input(self):
        """
        The input that gets the time must be there.
        """
        schedule = CronSchedule(schedule="hourly", kickoff_time_input_arg="at")

        assert schedule is LaunchPlan.get_or_create(timed, "t", schedule=schedule).schedule
        with pytest.raises(UnknownArgument, match="'at'"):
            LaunchPlan.get_or_create(sums, "s", schedule=schedule)
