"""What tasks and workflows are called, decorated ones, and what replicas make of definitions."""

from __future__ import annotations

import pytest

from greenroom import building
from greenroom.definition_errors import BadArgument, TwoDefinitions, WrongPlace
from greenroom.nodes import create_node
from greenroom.task import Task, task
from greenroom.workflow import workflow
from greenroom_core.graph import NodeKind


@task
def inc(n: int) -> int:
    return n + 1


@task
def nothing(n: int = 0) -> None:
    pass


class TestNames:
    def test_a_task_is_called_by_module_and_function(self):
        """
        Names are those of the module and the function, without the function around it.
        """

        @task
        def inside() -> None: ...

        assert (f"{__name__}.inside", "inside") == (inside.name, inside.short_name)

    def test_the_last_definition_of_a_name_wins(self):
        """
        A module may define a name twice; graphs made earlier follow what the name means now.
        """
        scope: dict[str, object] = {"__name__": "cells", "task": task, "workflow": workflow}
        exec("@task\ndef f() -> int:\n    return 1\n\n@workflow\ndef wf() -> int:\n    return f()\n", scope)
        wf = scope["wf"]
        assert wf() == 1

        exec("@task\ndef f() -> int:\n    return 2\n", scope)

        assert wf() == 2

    def test_two_texts_of_one_name_cannot_meet(self):
        """
        Two different tasks of one name in one graph are refused, with both places.
        """

        def one() -> Task:
            @task
            def same(n: int) -> int:
                return n + 1

            return same

        def other() -> Task:
            @task
            def same(n: int) -> int:
                return n + 2

            return same

        first, second = one(), other()
        with pytest.raises(TwoDefinitions, match="two different tasks are called") as caught:

            @workflow
            def wf(n: int) -> int:
                return first(n=second(n=n))

        assert str(caught.value).count("test_definitions.py:") - 1 == 2

    def test_one_text_defined_twice_is_one_task(self):
        """
        The same text defined again is no conflict.
        """

        def make() -> Task:
            @task
            def same(n: int) -> int:
                return n + 1

            return same

        first, second = make(), make()

        @workflow
        def wf(n: int) -> int:
            return first(n=second(n=n))

        assert wf(n=1) == 3


class TestDecorators:
    def test_a_task_is_decorated_once(self):
        """
        @task around a task is a mistake.
        """
        with pytest.raises(WrongPlace, match="a task already"):
            task(inc)

    def test_a_workflow_is_decorated_once(self):
        """
        @workflow around a workflow is a mistake.
        """

        @workflow
        def wf() -> None: ...

        with pytest.raises(WrongPlace, match="decorate the function once"):
            workflow(wf)

    @pytest.mark.parametrize("options", [{"failure_policy": "fast"}, {"interruptible": 1}])
    def test_wrong_options_are_refused(self, options):
        """
        A workflow's options are checked when it is defined.
        """
        with pytest.raises(BadArgument):
            workflow(**options)

    def test_a_node_is_no_task(self):
        """
        Only what can be called in a workflow can be a node.
        """
        with pytest.raises(BadArgument, match="a task, workflow"):

            @workflow
            def wf() -> None:
                create_node(len)

    def test_kinds(self):
        """
        Each construct has its kind of node.
        """

        @workflow
        def child() -> None:
            nothing()

        @workflow
        def wf() -> None:
            child()
            nothing()

        assert [node.kind for node in wf.compiled.graph.nodes] == [NodeKind.TASK, NodeKind.GROUP, NodeKind.TASK]


class TestOnReplicas:
    def test_workflows_are_compiled_when_they_are_used(self, monkeypatch):
        """
        A replica imports a module without laying out its workflows; a dynamic task that calls one has it compiled.
        """
        monkeypatch.setattr(building, "compile_at_definition", False)
        seen: list[str] = []

        @workflow
        def wf(n: int) -> int:
            seen.append("compiled")
            return inc(n=n)

        assert seen == []
        assert wf(n=1) == 2 and seen == ["compiled"]
