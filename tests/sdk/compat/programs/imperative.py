import typing

from flytekit import LaunchPlan, Workflow, task, workflow


@task
def t1(a: str) -> str:
    return a + " world"


@task
def t2():
    print("side effect")


@task
def join(xs: typing.List[str]) -> str:
    return "+".join(xs)


wb = Workflow(name="imperative.wb")
wb.add_workflow_input("in1", str)
node = wb.add_entity(t1, a=wb.inputs["in1"])
n2 = wb.add_entity(t2)
j = wb.add_entity(join, xs=[node.outputs["o0"], wb.inputs["in1"]])
n2.runs_before(j)
wb.add_workflow_output("from_n0t1", node.outputs["o0"])
wb.add_workflow_output("joined", j.outputs["o0"])
wb.add_workflow_output("lst", [node.outputs["o0"], j.outputs["o0"]], python_type=typing.List[str])
