"""Gates, imperative workflows, references, overrides of single calls, and the helpers for tests."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta

import pytest

from greenroom.conditions import conditional
from greenroom.definition_errors import BadArgument, PromiseMisuse, UnknownArgument, WrongOutputs, WrongPlace
from greenroom.environment import ActorEnvironment
from greenroom.errors import BadText, GateUnanswered, NotApproved, ReferenceUnresolved
from greenroom.gates import approve, sleep, wait_for_input
from greenroom.imperative import ImperativeWorkflow
from greenroom.launch_plan import LaunchPlan
from greenroom.mapping import map as gmap
from greenroom.nodes import create_node
from greenroom.options import Cache, Retry
from greenroom.reference import reference_launch_plan, reference_task, reference_workflow
from greenroom.resources import Resources
from greenroom.secrets import Secret
from greenroom.task import task
from greenroom.testing import gate_answers, patch, task_mock
from greenroom.workflow import workflow
from greenroom_core.graph import GateKind

seen: list[object] = []


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()


@task
def inc(n: int) -> int:
    seen.append(n)
    return n + 1


@task
def text(n: int) -> str:
    return str(n)


@task
def void() -> None: ...


class TestGates:
    def test_approval(self):
        """
        What is approved goes on, what is not fails the run.
        """

        @workflow
        def wf(n: int) -> int:
            return inc(n=approve(inc(n=n), "review", timeout=timedelta(hours=1)))

        gate = wf.compiled.graph.nodes[1]
        assert (gate.id, gate.gate, gate.overrides.timeout) == ("review", GateKind.APPROVE, 3600.0)
        with gate_answers(review=True):
            assert wf(n=1) == 3
        with gate_answers(review=False), pytest.raises(NotApproved, match="'review' was not approved"):
            wf(n=1)

    def test_input(self):
        """
        An awaited input has a type, and is a promise.
        """

        @workflow
        def wf(n: int) -> dt.date:
            count = wait_for_input("how-many", timeout=timedelta(days=1), expected_type=int)
            when = wait_for_input("when", expected_type=dt.date)
            inc(n=count)
            return when

        with gate_answers(how_many=41, when=dt.date(2026, 1, 1)):
            assert dt.date(2026, 1, 1) == wf(n=1)
        assert seen == [41]

    def test_answers_are_typed_at_a_terminal(self, monkeypatch):
        """
        Without an answer the person at the terminal is asked; what is typed is read as a command line is.
        """

        @workflow
        def wf() -> int:
            return inc(n=wait_for_input("count", expected_type=int))

        monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
        monkeypatch.setattr("builtins.input", lambda prompt: "6")

        assert wf() == 7

    def test_nobody_to_ask(self, monkeypatch):
        """
        Without a terminal the error says how a test answers.
        """

        @workflow
        def wf() -> int:
            return inc(n=wait_for_input("count", expected_type=int))

        monkeypatch.setattr("sys.stdin", None)

        with pytest.raises(GateUnanswered, match=r"gate_answers\(count=...\)"):
            wf()

    def test_an_answer_of_another_type(self):
        """
        An answer is checked against the gate's type.
        """

        @workflow
        def wf() -> int:
            return inc(n=wait_for_input("count", expected_type=int))

        with gate_answers(count="many"), pytest.raises((TypeError, BadText)):
            wf()

    def test_sleep_orders(self):
        """
        A pause has a place in the order; in this process it passes at once.
        """

        @workflow
        def wf(n: int) -> int:
            pause, got = sleep(timedelta(days=4)), inc(n=n)
            pause >> got
            return got

        assert wf(n=1) == 2 and wf.compiled.graph.nodes[1].after == ("sleep",)

    def test_belong_to_workflows(self):
        """
        Outside of a workflow there is nothing to wait in.
        """
        with pytest.raises(WrongPlace, match="outside of a workflow"):
            sleep(1)
        with pytest.raises(BadArgument, match="one promise"):

            @workflow
            def wf() -> None:
                approve(3, "x")

    def test_in_a_branch(self):
        """
        A gate on a way not taken is not asked.
        """

        @workflow
        def wf(n: int) -> int:
            return conditional("way").if_(n > 0).then(inc(n=n)).else_().then(wait_for_input("x", expected_type=int))

        assert wf(n=1) == 2


class TestImperative:
    def build(self) -> ImperativeWorkflow:
        wb = ImperativeWorkflow(name="my.workflow")
        wb.add_workflow_input("n", int)
        first = wb.add_entity(inc, n=wb.inputs["n"])
        second = wb.add_task(text, n=first.outputs["o0"])
        wb.add_workflow_output("number", first.outputs["o0"])
        wb.add_workflow_output("word", second.o0)
        return wb

    def test_runs(self):
        """
        Inputs, nodes and outputs are added one by one; outputs keep their names.
        """
        wb = self.build()

        assert wb.ready() and wb.nodes == ["inc", "text"]
        assert wb(n=1) == (2, "2") and wb(n=1).word == "2"

    def test_is_a_workflow(self):
        """
        It can be called in others, have a launch plan, and be mapped.
        """
        wb = ImperativeWorkflow("single")
        wb.add_workflow_input("n", int)
        wb.add_workflow_output("o", wb.add_entity(inc, n=wb.inputs["n"]).o0)
        plan = LaunchPlan.get_default_launch_plan(None, wb)

        @workflow
        def wf(n: int) -> tuple[int, int, list[int]]:
            return wb(n=n), plan(n=n), gmap(wb)(n=[n])

        assert wf(n=1) == (2, 2, [2])

    def test_lists_of_promises_need_a_type(self):
        """
        An output that is put together says its type.
        """
        wb = ImperativeWorkflow("lists")
        nodes = [wb.add_entity(inc, n=i) for i in range(2)]
        gathered = [node.o0 for node in nodes]

        with pytest.raises(WrongOutputs, match="python_type="):
            wb.add_workflow_output("all", gathered)
        wb.add_workflow_output("all", gathered, python_type=list[int])

        assert wb() == [1, 2]

    def test_order_and_branches(self):
        """
        Nodes can be ordered, and branch.
        """
        wb = ImperativeWorkflow("branches")
        wb.add_workflow_input("n", int)
        before = wb.add_entity(void)
        after = wb.add_entity(inc, n=wb.inputs["n"])
        before >> after
        branch = wb.create_conditional("way").if_(wb.inputs["n"] > 0)
        result = branch.then(after.o0).else_().then(0)
        wb.add_workflow_output("o", result, python_type=int)

        assert (wb(n=1), wb(n=0)) == (2, 0)
        assert wb.compiled.graph.nodes[1].after == ("void",)

    def test_handles_failures(self):
        """
        A handler runs after a failure.
        """

        @task
        def fails(n: int) -> int:
            raise ValueError("broken")

        wb = ImperativeWorkflow("failing")
        wb.add_workflow_input("n", int)
        wb.add_entity(fails, n=wb.inputs["n"])
        wb.add_on_failure_handler(inc)

        with pytest.raises(ValueError, match="broken"):
            wb(n=3)
        assert seen == [3]

    def test_is_not_ready_before_its_inputs_are_used(self):
        """
        An input that goes nowhere is a mistake.
        """
        wb = ImperativeWorkflow("unready")
        assert not wb.ready()
        wb.add_workflow_input("n", int)
        wb.add_entity(void)

        assert not wb.ready()

    def test_misuse(self):
        """
        Names are used once, and only what can be called is added.
        """
        wb = self.build()

        for wrong in (
            lambda: wb.add_workflow_input("n", int),
            lambda: wb.add_workflow_output("word", wb.inputs["n"]),
            lambda: wb.add_entity(len),
            lambda: ImperativeWorkflow(""),
            lambda: wb(1),
        ):
            with pytest.raises((BadArgument, UnknownArgument)):
                wrong()


class TestReferences:
    @reference_task(project="p", domain="d", name="pkg.remote", version="v1")
    def remote(n: int) -> int: ...

    @reference_workflow(project="p", domain="d", name="pkg.remote_wf", version="v1")
    def remote_wf(n: int) -> str: ...

    @reference_launch_plan(project="p", domain="d", name="pkg.remote_lp", version="v1")
    def remote_lp(n: int) -> int: ...

    def test_cannot_run_here(self):
        """
        What was registered elsewhere has no body here; the error says how a test goes about it.
        """
        with pytest.raises(ReferenceUnresolved, match=r"'pkg.remote' stands for something registered.*task_mock"):
            TestReferences.remote(n=1)

    def test_can_be_called_in_workflows(self):
        """
        In a workflow a reference is a node with its types; a test puts mocks in its place.
        """
        remote, remote_wf, remote_lp = TestReferences.remote, TestReferences.remote_wf, TestReferences.remote_lp

        @workflow
        def wf(n: int) -> tuple[int, str, list[int]]:
            got = remote(n=n)
            return remote_lp(n=got), remote_wf(n=n), gmap(remote)(n=[1, 2])

        with task_mock(remote) as task_, task_mock(remote_wf) as wf_, task_mock(remote_lp) as lp_:
            task_.side_effect = lambda n: n * 2
            wf_.return_value, lp_.return_value = "word", 7
            assert wf(n=5) == (7, "word", [2, 4])
        lp_.assert_called_once_with(n=10)

    def test_have_text_for_names(self):
        """
        Project, domain, name and version are text.
        """
        with pytest.raises(BadArgument, match="version"):
            reference_task(project="p", domain="d", name="n", version=1)


class TestOverrides:
    def graph(self, **overrides):
        @workflow
        def wf(n: int) -> int:
            return inc(n=n).with_overrides(**overrides)

        return wf.compiled

    def test_of_the_call(self):
        """
        What a node says itself stands in the graph.
        """
        node = self.graph(
            name="shown",
            retries=Retry(2, backoff=1),
            timeout=timedelta(seconds=5),
            queue_timeout=3,
            interruptible=True,
            cache=True,
            cache_version="7",
        ).graph.nodes[0]

        told = node.overrides
        assert (
            told.name,
            told.retries.times,
            told.retries.backoff,
            told.timeout,
            told.queue_timeout,
            told.interruptible,
            told.cached,
            told.cache_version,
        ) == ("shown", 2, 1.0, 5.0, 3.0, True, True, "7")

    def test_of_the_container_make_a_variant(self):
        """
        A call with other resources calls a variant of its task.
        """
        compiled = self.graph(
            requests=Resources(mem="2Gi"),
            container_image="other:1",
            environment={"A": "1"},
            secret_requests=[Secret(key="k")],
        )

        (variant,) = compiled.tasks.values()
        container = variant.options.container
        assert variant.key != inc.key and variant.key == compiled.graph.nodes[0].target and variant.name == inc.name
        assert (Resources(mem="2Gi"), "other:1", {"A": "1"}) == (
            container.requests,
            container.image,
            container.environment,
        )

    def test_equal_variants_are_one(self):
        """
        The same wishes at two places are one variant.
        """

        @workflow
        def wf() -> None:
            inc(n=1).with_overrides(requests=Resources(cpu=1))
            inc(n=2).with_overrides(requests=Resources(cpu=1))
            inc(n=3)

        assert len(wf.compiled.tasks) == 2

    def test_of_results(self):
        """
        A call can be cached though its task is not, and the other way round.
        """
        (variant,) = self.graph(cache=Cache(version="v", serialize=True)).tasks.values()

        assert (variant.options.cache.version, variant.options.cache.serialize) == ("v", True)

    def test_of_an_actors_resources_have_no_effect(self):
        """
        Replicas that run already cannot be resized; it is said.
        """
        actor = ActorEnvironment("fixed")

        @actor.task
        def work(n: int) -> int:
            return n

        @workflow
        def wf(n: int) -> int:
            return work(n=n).with_overrides(requests=Resources(cpu=8))

        (variant,) = wf.compiled.tasks.values()
        assert "requests= on a call" in variant.options.notes[0] and variant.environment is actor

    def test_a_timeout_can_be_taken_away(self):
        """
        Zero is no limit.
        """

        @task(timeout=5)
        def limited(n: int) -> int:
            return n

        @workflow
        def wf(n: int) -> int:
            return limited(n=n).with_overrides(timeout=0)

        assert None is next(iter(wf.compiled.tasks.values())).options.timeout

    @pytest.mark.parametrize(
        "overrides", [{"colour": "red"}, {"retries": "2"}, {"cache": "yes"}, {"requests": 3}, {"timeout": -1}]
    )
    def test_refused(self, overrides):
        """
        An unknown override, or a wrong value, is refused.
        """
        with pytest.raises((BadArgument, ValueError, AttributeError)):
            self.graph(**overrides)

    def test_promises_are_refused(self):
        """
        Overrides are settled before the workflow runs.
        """
        with pytest.raises(PromiseMisuse, match="settled before the workflow runs"):

            @workflow
            def wf(n: int) -> int:
                return inc(n=n).with_overrides(retries=n)

    def test_node_names_are_unique(self):
        """
        Two nodes of one name are refused.
        """
        with pytest.raises(BadArgument, match="a name that no other node"):

            @workflow
            def wf(n: int) -> None:
                inc(n=n).with_overrides(node_name="a")
                inc(n=n).with_overrides(node_name="a")


class TestHelpers:
    def test_a_mock_in_place_of_a_task(self):
        """
        The mock is called with the inputs by name; afterwards the task is itself again.
        """

        @workflow
        def wf(n: int) -> str:
            return text(n=inc(n=n))

        with task_mock(inc) as mock:
            mock.return_value = 40
            assert wf(n=1) == "40"
        mock.assert_called_once_with(n=1)

        assert wf(n=1) == "2"

    def test_a_mock_in_place_of_a_workflow(self):
        """
        A workflow is replaced as a whole, wherever it is called.
        """

        @workflow
        def inner(n: int) -> int:
            return inc(n=n)

        @workflow
        def outer(n: int) -> str:
            return text(n=inner(n=n))

        with task_mock(inner) as mock:
            mock.side_effect = lambda n: n * 100
            assert outer(n=3) == "300"
        assert seen == [] and outer(n=3) == "4"

    def test_a_mocks_result_is_checked(self):
        """
        A mock that returns what the task could not is found out.
        """
        with task_mock(inc) as mock, pytest.raises(TypeError, match="expected int"):
            mock.return_value = "text"
            inc(1)

    def test_decorated_functions_get_the_mock(self):
        """
        The mock comes first.
        """

        @patch(inc)
        def check(mock, other):
            mock.return_value = 9
            return inc(1), other

        assert check("x") == (9, "x")

    def test_only_entities_can_be_replaced(self):
        """
        A plain function is monkeypatched, not mocked as a task.
        """
        with pytest.raises(BadArgument, match="a task, workflow"), task_mock(len):
            pass

    def test_execute_can_be_patched(self, monkeypatch):
        """
        Whoever patches `execute`, as programs of this field do, replaces the function.
        """
        from unittest.mock import patch as mock_patch

        @workflow
        def wf(n: int) -> str:
            return text(n=inc(n=n))

        with mock_patch.object(inc, "execute", return_value=8) as mock:
            assert wf(n=1) == "8"
        mock.assert_called_once_with(n=1)

        assert wf(n=1) == "2" and inc.execute(n=5) == 6

    def test_aliases(self):
        """
        An output of a node can be reached by another name.
        """

        @workflow
        def wf(n: int) -> int:
            return create_node(inc, n=n).with_overrides(aliases={"o0": "more"}).more

        assert wf(n=1) == 2
