"""Workflows described in Flyte's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from greenroom import (
    LaunchPlan,
    approve,
    conditional,
    map_task,
    reference_task,
    sleep,
    task,
    wait_for_input,
    workflow,
)
from greenroom.compat.idl.literals import Primitive
from greenroom.compat.serialize import get_serializable
from greenroom.compat.settings import Image, ImageConfig, SerializationSettings

IMAGE = Image(name="default", fqn="test", tag="tag")
SETTINGS = SerializationSettings(ImageConfig(IMAGE, [IMAGE]), "project", "domain", "version")


@task(retries=3)
def inc(n: int, by: int = 1) -> int:
    return n + by


@task
def total(xs: list[int]) -> int:
    return sum(xs)


@workflow
def sub(n: int) -> int:
    return inc(n=n)


@workflow
def main(n: int = 2) -> tuple[int, list[int]]:
    a = inc(n=n)
    b = sub(n=a).with_overrides(node_name="inner")  # type: ignore[attr-defined]
    c = conditional("size").if_((b > 5) & (a < 9)).then(inc(n=b)).else_().fail("small")
    xs = map_task(inc, concurrency=2)(n=[a, 1])
    total(xs=xs)
    return c, [a, b]


def describe(entity: Any) -> Any:
    return get_serializable({}, SETTINGS, entity)


def test_nodes_are_those_that_the_author_called() -> None:
    """
    A sub-workflow is one node, a branch holds its ways, a map its task; ids count the calls unless they are chosen.
    """
    template = describe(main).template

    assert [node.id for node in template.nodes] == ["n0", "inner", "n2", "n3", "n4"]
    task_node, sub_node, branch, mapped, last = template.nodes
    assert task_node.task_node.reference_id.name == inc.name
    assert sub_node.workflow_node.sub_workflow_ref.name == sub.name
    assert branch.branch_node.if_else.case.then_node.task_node.reference_id.name == inc.name
    assert branch.branch_node.if_else.error.message == "small"
    assert (mapped.array_node.parallelism, mapped.array_node.node.task_node.reference_id.name) == (2, inc.name)
    assert last.upstream_node_ids == ["n3"]
    assert task_node.metadata.retries.retries == 3


def test_bindings_say_where_inputs_come_from() -> None:
    """
    Promises are references, constants scalars, lists of both collections; outputs too.
    """
    template = describe(main).template

    by, n = template.nodes[0].inputs
    assert by.binding.scalar.primitive == Primitive(integer=1)
    assert (n.binding.promise.node_id, n.binding.promise.var) == ("", "n")
    items = {made.var: made.binding for made in template.nodes[3].inputs}["n"].collection.bindings
    assert (items[0].promise.node_id, items[1].scalar.primitive.integer) == ("n0", 1)
    assert [output.var for output in template.outputs] == ["o0", "o1"]
    assert template.outputs[1].binding.collection.bindings[1].promise.node_id == "inner"


def test_conditions_are_described() -> None:
    """
    Comparisons keep their sides, joins their order.
    """
    condition = describe(main).template.nodes[2].branch_node.if_else.case.condition

    assert condition.conjunction.operator == 0
    left = condition.conjunction.left_expression.comparison
    assert (left.left_value.var, left.right_value.primitive.integer) == ("inner.o0", 5)


def test_sub_workflows_and_entities_are_collected() -> None:
    """
    What a workflow calls is described beside it, each once.
    """
    seen: dict[Any, Any] = {}

    spec = get_serializable(seen, SETTINGS, main)

    assert [template.id.name for template in spec.sub_workflows] == [sub.name]
    assert {main, sub, inc, total} <= seen.keys()
    assert get_serializable(seen, SETTINGS, main) is spec


def test_plans_have_parameters() -> None:
    """
    A launch plan's inputs are needed or have defaults; its fixed ones stand apart.
    """
    plan = LaunchPlan.create("described", inc_wf, default_inputs={"n": 4}, fixed_inputs={"by": 2})

    spec = describe(plan).spec

    assert spec.workflow_id.name == inc_wf.name
    assert spec.default_inputs.parameters["n"].default.scalar.primitive.integer == 4
    assert spec.fixed_inputs.literals["by"].scalar.primitive.integer == 2
    assert "by" not in spec.default_inputs.parameters


def test_gates_say_what_they_wait_for() -> None:
    """
    Somebody's value, somebody's consent, or some time.
    """

    @workflow
    def wf(n: int) -> int:
        told = wait_for_input("told", timedelta(hours=1), bool)
        pause = sleep(timedelta(seconds=10))
        told >> pause
        return approve(inc(n=n), "checked", timedelta(hours=1))

    gates = [node.gate_node for node in describe(wf).template.nodes if node.gate_node]

    assert gates[0].signal.signal_id == "told"
    assert gates[1].sleep.duration == timedelta(seconds=10)
    assert gates[2].approve.signal_id == "checked"


def test_references_tell_what_they_stand_for() -> None:
    """
    A reference has the identifier of what was registered.
    """

    @reference_task(project="p", domain="d", name="m.t", version="v")
    def there(n: int) -> int: ...  # type: ignore[empty-body]

    assert vars(there.id) == {"resource_type": 1, "project": "p", "domain": "d", "name": "m.t", "version": "v"}


@workflow
def inc_wf(n: int, by: int) -> int:
    return inc(n=n, by=by)
