"""From entities to programs and submissions: what travels to a hub."""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from greenroom.accelerators import A10G
from greenroom.bundling import make_bundle
from greenroom.compile import program_of, submission_of
from greenroom.conditions import conditional
from greenroom.context import Context, entered, local
from greenroom.definition_errors import BadArgument, MissingArgument, UnknownArgument
from greenroom.dynamic import dynamic
from greenroom.eager import eager
from greenroom.environment import ActorEnvironment
from greenroom.errors import TypeMismatch
from greenroom.files import File
from greenroom.launch_plan import LaunchPlan
from greenroom.local import store
from greenroom.mapping import map as gmap
from greenroom.options import Cache, Retry
from greenroom.pods import PodTemplate
from greenroom.reference import reference_task
from greenroom.resources import Resources
from greenroom.secrets import Secret
from greenroom.task import Task, task
from greenroom.types import codec_for
from greenroom.workflow import workflow
from greenroom_core.entities import Kind, Reference
from greenroom_core.fragments import Fragment
from greenroom_core.graph import NodeKind
from greenroom_core.program import CachedResults, Mode, Program, program_digest
from greenroom_core.values import pack

actor = ActorEnvironment("compiled", replica_count=3, requests=Resources(cpu=1))


def plain(n: int) -> int:
    return n


@task
def inc(n: int) -> int:
    return n + 1


@actor.task(
    cache=Cache(version="v1", ignored_inputs="log"), retries=Retry(2, on=KeyError), timeout=timedelta(seconds=9)
)
def work(n: int, log: str = "") -> int:
    return n


@task(requests=Resources(mem="2Gi"), accelerator=A10G, secret_requests=[Secret(group="g", key="k")], deprecated="old")
def big(n: int) -> int:
    return n


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@task
@logged
def decorated(n: int) -> int:
    return n


@logged
@task
def outside(n: int) -> int:
    return n


@dynamic
def grown(n: int) -> int:
    return work(n=inc(n=n))


@eager
async def eagerly(n: int) -> int:
    return await inc(n=n) + await inc(n=n)


@workflow
def sub(n: int, m: int = 2) -> int:
    return inc(n=n)


plan = LaunchPlan.get_or_create(sub, "test_compile.sub", default_inputs={"n": 5}, fixed_inputs={"m": 7})


@workflow
def everything(n: int, names: list[str] = ["a", "b"]) -> tuple[int, list[int]]:  # noqa: B006
    first = work(n=inc(n=n))
    chosen = conditional("way").if_(first > 1).then(big(n=first)).else_().then(plan(n=1))
    return chosen, gmap(work)(n=[grown(n=chosen), 1])


def compiled(entity, **options):
    return program_of(entity, store=store(), **options)


class TestProgram:
    def test_holds_all_that_it_calls(self):
        """
        Tasks, environments and plans that nodes call are there, and the whole fits together.
        """
        program = compiled(everything).program

        assert {inc.key, work.key, big.key, grown.key} == set(program.tasks)
        assert {"test_compile.sub"} == set(program.plans)
        assert {"compiled", "regular"} < set(program.environments) and len(program.environments) == 3
        program.check()

    def test_survives_the_wire(self):
        """
        A packed program is read back equal, and checked.
        """
        made = compiled(everything)

        again = Program.unpack(made.packed)

        assert again == made.program and program_digest(made.packed) == made.digest

    def test_is_the_same_each_time(self):
        """
        One program has one digest.
        """
        assert compiled(everything).digest == compiled(everything).digest

    def test_knows_how_its_tasks_are_treated(self):
        """
        Retries, limits, cached results and isolation are those of the decorators.
        """
        told = compiled(everything).program.tasks[work.key]

        assert (told.retry.times, told.retry.on, told.timeout, told.isolation) == (2, ("KeyError",), 9.0, "reset")
        assert (told.cached.version, told.cached.ignore) == ("v1", ("log",))
        assert (told.inputs, told.outputs, told.environment) == (("n", "log"), ("o0",), "compiled")

    def test_plain_tasks_share_environments_by_what_they_ask_for(self):
        """
        One regular environment for each container; calls of it are fresh.
        """
        program = compiled(everything).program
        regular = program.environments[program.tasks[inc.key].environment]
        sized = program.environments[program.tasks[big.key].environment]

        assert (regular.regular, regular.name, regular.requests.memory) == (True, "regular", None)
        assert (sized.requests.memory, sized.requests.accelerator) == (2 << 30, "nvidia-a10g")
        assert program.tasks[inc.key].isolation == "fresh" and sized.name.startswith("regular-")

    def test_two_environments_of_one_name_are_two(self):
        """
        The same name with another container is a pool of its own.
        """
        other = ActorEnvironment("compiled", requests=Resources(cpu=2))

        @other.task
        def elsewhere(n: int) -> int:
            return n

        @workflow
        def wf(n: int) -> int:
            return elsewhere(n=work(n=n))

        program = compiled(wf).program

        assert [made.name for made in program.environments.values()] == ["compiled", "compiled"]
        assert program.tasks[work.key].environment != program.tasks[elsewhere.key].environment

    def test_a_version_comes_from_the_code(self):
        """
        A cached task without a version has that of its code.
        """

        @task(cache=True)
        def cached(n: int) -> int:
            return n

        version = compiled(cached).program.tasks[cached.key].cached.version

        assert len(version) >= 16 and version == compiled(cached).program.tasks[cached.key].cached.version

    def test_a_version_may_come_from_policies(self):
        """
        Policies make the version where none is given.
        """

        class Policy:
            def get_version(self, salt: str, params: object) -> str:
                return f"{salt}:{params.func.__name__}"

        assert Cache(policies=Policy(), salt="x").get_version(plain) == Cache(
            policies=[Policy()], salt="x"
        ).get_version(plain)
        assert None is Cache().get_version(plain) and Cache("v", policies=Policy()).get_version(plain) == "v"

    def test_people_are_told(self):
        """
        What is deprecated or has no effect becomes a note.
        """
        assert [f"{big.name} is deprecated: old"] == list(compiled(everything).notes)

    def test_plans_carry_their_inputs(self):
        """
        A plan's defaults and fixed inputs are encoded with it.
        """
        made = compiled(everything).program.plans["test_compile.sub"]

        assert ({"n": pack(5)}, {"m": pack(7)}) == (made.inputs, made.fixed)

    def test_of_a_task_a_map_and_a_plan(self):
        """
        Whatever can be called can be run by itself.
        """
        alone, mapped, planned = compiled(inc), compiled(gmap(inc)), compiled(plan)

        assert [node.kind for node in alone.program.graph.nodes] == [NodeKind.TASK]
        assert [node.kind for node in mapped.program.graph.nodes] == [NodeKind.MAP]
        assert ({"m": pack(7)}, ["n"]) == (planned.fixed, list(planned.interface.inputs))

    def test_of_nothing_that_can_run(self):
        """
        A plain function is no entity.
        """
        with pytest.raises(BadArgument, match="is the function decorated"):
            compiled(plain)

    def test_references_are_looked_up_by_the_hub(self):
        """
        What was registered elsewhere travels as its name, with the types that the stub says.
        """

        @reference_task(project="p", domain="d", name="far.away", version="1")
        def far(n: int) -> int: ...

        @workflow
        def wf(n: int) -> int:
            return far(n=n)

        program = compiled(wf).program

        (node,), (plan,) = program.graph.nodes, program.plans.values()
        assert (NodeKind.CHILD, Reference(Kind.TASK, "p", "far.away", "1")) == (node.kind, plan.reference)
        assert ["int"] == [part["type"][0] for part in plan.interface["inputs"]]
        assert not program.tasks

    def test_interfaces_describe_themselves(self):
        """
        A program tells people what it takes and gives.
        """
        told = compiled(everything).program.interface

        assert [part["name"] for part in told["inputs"]] == ["n", "names"]
        assert len(told["outputs"]) == 2


class TestReferences:
    def test_by_name_where_the_bundle_holds_it(self):
        """
        A task at the top of a bundled module is found by its name.
        """
        bundle = make_bundle(__file__)

        tasks = compiled(everything, bundle=bundle).program.tasks

        assert (__name__, "inc", None) == ((told := tasks[inc.key]).module, told.qualname, told.pickled)
        assert tasks[grown.key].qualname == "grown" and Mode.DYNAMIC is tasks[grown.key].mode

    def test_by_value_where_it_does_not(self):
        """
        A task inside of a function is pickled.
        """
        offset = 10

        @task
        def nested(n: int) -> int:
            return n + offset

        told = compiled(nested).program.tasks[nested.key]

        assert "" == told.module == told.qualname and pickle.loads(told.pickled)(1) == 11

    def test_under_another_name(self):
        """
        A function that became a task under another name is still the function.
        """
        told = compiled(task(plain), bundle=make_bundle(__file__)).program

        assert [made.qualname for made in told.tasks.values()] == ["plain"]

    def test_decorated_functions(self):
        """
        A decorator below the task's is part of it; one around the task is not.
        """
        bundle = make_bundle(__file__)
        inner = outside.__wrapped__

        below = compiled(decorated, bundle=bundle).program.tasks[decorated.key]
        around = compiled(inner, bundle=bundle).program.tasks[inner.key]

        assert below.qualname == "decorated" and around.pickled

    def test_async_and_dynamic_tasks_by_value(self):
        """
        Tasks whose functions are not merely called travel as tasks.
        """

        @dynamic
        def inside(n: int) -> int:
            return inc(n=n)

        found = pickle.loads(compiled(inside).program.tasks[inside.key].pickled)

        assert isinstance(found, Task) and Mode.DYNAMIC is found.mode

    def test_tasks_are_pickled_by_name(self):
        """
        A function that travels by value finds the tasks of modules that it calls.
        """
        assert inc is pickle.loads(pickle.dumps(inc))
        assert plan.name == pickle.loads(pickle.dumps(plan)).name and sub is pickle.loads(pickle.dumps(sub))

    def test_pod_templates_travel_as_manifests(self):
        """
        No client of Kubernetes is needed where they arrive.
        """
        models = pytest.importorskip("kubernetes.client.models")
        spec = models.V1PodSpec(containers=[models.V1Container(name="primary", image="x:1")])

        assert pickle.loads(pickle.dumps(PodTemplate(spec))).pod_spec == {
            "containers": [{"name": "primary", "image": "x:1"}]
        }


class TestOnReplicas:
    """What a replica does with a task that it has found: `fn`, and what the interface makes of its result."""

    def run(self, found: Task, **inputs: object) -> bytes:
        with entered(context()):
            result = found.fn(**inputs)
            if found.is_async:
                import asyncio

                result = asyncio.run(result)
            return found.interface.encode_outputs(result, store())

    def test_plain(self):
        """
        A plain task's function is called as it is.
        """
        assert inc.fn is inc.function and pack(3) == self.run(inc, n=2)

    def test_dynamic(self):
        """
        A dynamic task gives its graph.
        """
        fragment = Fragment.read(self.run(grown, n=2))

        assert [node.id for node in fragment.nodes] == ["inc", "work"]

    def test_eager(self):
        """
        An eager task's calls run while it runs.
        """
        assert pack(6) == self.run(eagerly, n=2)


def context() -> Context:
    return local("t", "n")


@dataclass
class Config:
    rate: float
    name: str = "x"


class TestSubmission:
    def test_encodes_inputs_and_fills_in_defaults(self):
        """
        A submission holds every input's value.
        """
        made = compiled(everything)

        submission = submission_of(made, (3,), store=store(), by="me", labels={"a": "b"})

        assert {"n": pack(3), "names": pack(["a", "b"])} == submission.inputs
        assert (made.digest, "me", {"a": "b"}) == (submission.program, submission.by, submission.labels)

    def test_takes_what_a_plan_has_fixed(self):
        """
        A plan's fixed inputs go along, and cannot be given.
        """
        made = compiled(plan)

        assert {"n": pack(5), "m": pack(7)} == submission_of(made, store=store()).inputs
        with pytest.raises(UnknownArgument):
            submission_of(made, (), {"m": 1}, store=store())

    def test_finds_secrets(self):
        """
        Secrets that are found travel under their variables; the others are left for the hub to miss.
        """
        made = compiled(everything)

        assert submission_of(made, (1,), store=store(), environ={"G_K": "1"}).secrets == {"_FSEC_G_K": "1"}
        assert submission_of(made, (1,), store=store(), environ={}).secrets == {}
        assert made.program.tasks[big.key].secrets == ("_FSEC_G_K",)

    @pytest.mark.parametrize(
        ("inputs", "error"), [({}, MissingArgument), ({"n": 1, "x": 2}, UnknownArgument), ({"n": "x"}, TypeMismatch)]
    )
    def test_refuses_other_inputs(self, inputs, error):
        """
        A mistake is found before anything is sent.
        """
        with pytest.raises(error, match="everything"):
            submission_of(compiled(everything), (), inputs, store=store())

    def test_of_structures_and_files(self, tmp_path):
        """
        Dataclasses, files and their lists are inputs like any other.
        """
        (tmp_path / "a.txt").write_text("a")

        @task
        def reads(config: Config, files: list[File]) -> str:
            return config.name + "".join(Path(file).read_text() for file in files)

        @workflow
        def wf(files: list[File], config: Config = Config(1)) -> str:
            return reads(config=config, files=files)

        made = submission_of(compiled(wf), (), {"files": [str(tmp_path / "a.txt")]}, store=store())

        assert Config(1.0) == codec_for(Config).decode(made.inputs["config"], store())
        assert wf(files=[File(str(tmp_path / "a.txt"))]) == "xa"


class TestConstants:
    def test_in_graphs_are_encoded_when_compiled(self, tmp_path):
        """
        A file named in a workflow's body is read for the program, not when the module is imported.
        """
        path = tmp_path / "later.txt"

        @task
        def reads(file: File) -> str:
            return Path(file).read_text()

        @workflow
        def wf() -> str:
            return reads(file=File(str(path)))

        path.write_text("written later")

        assert wf() == "written later"


@task(secret_requests=[Secret(key="inner")])
def secretive(n: int) -> int:
    return n


def helper(n: int) -> int:
    return gmap(secretive)(n=[n])[0]


@dynamic
def through_a_helper(n: int) -> int:
    return plan(n=helper(n))


class TestReferred:
    """What a task may call while it runs comes along with the program."""

    def test_tasks_and_plans_that_a_body_refers_to(self):
        """
        Through helpers too: their secrets are looked for at submission, their environments made ready.
        """
        made = compiled(through_a_helper)

        assert {through_a_helper.key, secretive.key, inc.key} == set(made.program.tasks)
        assert set(made.program.plans) == {plan.name} and made.secrets == (Secret(key="inner"),)

    def test_what_is_said_to_be_called(self):
        """
        `node_dependency_hints` names what the code does not show.
        """

        @dynamic(node_dependency_hints=[work, sub, plan])
        def hidden(n: int) -> int:
            return globals()["wo" + "rk"](n=n)

        assert {work.key, inc.key} < set(compiled(hidden).program.tasks)

    def test_recursion_ends(self):
        """
        A task that calls itself is there once.
        """
        assert set(compiled(recursive).program.tasks) == {recursive.key}


@dynamic
def recursive(n: int) -> int:
    return recursive(n=n - 1) if n else 0


class TestOptions:
    def test_labels_of_workflows_and_plans(self):
        """
        Labels from a workflow's options or a plan's stand on its executions; what the submitter says comes first.
        """

        class Labels:
            values = {"team": "ml"}

        @workflow(default_options={"labels": {"a": "1", "b": "1"}})
        def labelled(n: int) -> int:
            return inc(n=n)

        by_plan = LaunchPlan.create("test_compile.labelled", labelled, labels=Labels())

        assert submission_of(compiled(labelled), (1,), store=store(), labels={"b": "2"}).labels == {"a": "1", "b": "2"}
        assert submission_of(compiled(by_plan), (1,), store=store()).labels == {"team": "ml"}

    def test_a_plan_may_refresh_cached_results(self):
        """
        `overwrite_cache` of a plan makes cached results anew, unless the submitter says otherwise.
        """
        made = compiled(LaunchPlan.create("test_compile.refreshing", sub, overwrite_cache=True))

        assert submission_of(made, (1,), store=store()).cached_results is CachedResults.REFRESH
        off = submission_of(made, (1,), store=store(), cached_results=CachedResults.OFF)
        assert off.cached_results is CachedResults.OFF

    def test_what_has_no_effect_is_told(self):
        """
        Properties that mean nothing here are named.
        """
        made = compiled(LaunchPlan.create("test_compile.noted", sub, max_parallelism=3))

        assert made.notes == ("launch plan test_compile.noted: max_parallelism= has no effect here",)

    def test_descriptions(self):
        """
        A description travels, as text or from an object.
        """

        class Documentation:
            short_description = "what it does"

        @task(docs=Documentation())
        def told(n: int) -> int:
            return n

        @workflow(docs="all of it")
        def wf(n: int) -> int:
            return told(n=n)

        program = compiled(wf).program

        assert (program.interface["docs"], program.tasks[told.key].options["docs"]) == ("all of it", "what it does")

    def test_maps_are_pickled_after_runs(self):
        """
        A map that ran here can travel in a function.
        """
        mapped = gmap(inc, concurrency=2)
        mapped(n=[1])

        again = pickle.loads(pickle.dumps(mapped))

        assert (again.target, again.concurrency) == (inc, 2) and again(n=[1]) == [2]
