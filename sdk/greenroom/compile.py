"""From an entity to what a hub runs: a `Program`, and a `Submission` of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom import containers, secrets
from greenroom.artifacts import ArtifactQuery, artifact_in
from greenroom.building import Builder, Compiled, Entities
from greenroom.calls import arguments
from greenroom.context import current_context
from greenroom.definition_errors import BadArgument
from greenroom.errors import GreenroomError, ValueProblem
from greenroom.inlining import encoded
from greenroom.launch_plan import LaunchPlan
from greenroom.mapping import MapTask
from greenroom.naming import find
from greenroom.notifications import Webhook
from greenroom.promises import Outputs, Promise
from greenroom.reference import as_children, split_off, with_children
from greenroom.referred import entities_in
from greenroom.task import Task
from greenroom.workflow import WorkflowBase
from greenroom_core import entities
from greenroom_core import program as core
from greenroom_core.fragments import Fragment
from greenroom_core.graph import Graph
from greenroom_core.values import Value
from greenroom_core.wire import to_wire

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.bundling import Bundle
    from greenroom.secrets import Secret
    from greenroom.types import Interface


@dataclass(frozen=True)
class CompiledProgram:
    """A program with what its submitter needs beside it."""

    program: core.Program
    interface: Interface
    """Of the entity: what a submission gives and gets."""
    fixed: Mapping[str, Value] = field(default_factory=dict)
    """Inputs that a launch plan has settled."""
    secrets: tuple[Secret, ...] = ()
    """All that its tasks ask for."""
    notes: tuple[str, ...] = ()
    """What was asked for and has no effect, and what is deprecated; for people."""
    tasks: Mapping[str, Task[Any, Any]] = field(default_factory=dict)
    """The tasks themselves, by their keys in the program."""
    plans: Mapping[str, LaunchPlan] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its executions, as the workflow's or the plan's options say."""
    webhooks: tuple[entities.Webhook, ...] = ()
    """Who is told of its executions' ends."""
    refreshes: bool = False
    """Whether cached results are made anew, as the plan says."""

    @cached_property
    def packed(self) -> bytes:
        """The program's bytes."""
        return self.program.pack()

    @cached_property
    def digest(self) -> str:
        """The program's name on the hub."""
        return core.program_digest(self.packed)


def program_of(
    entity: Any,
    *,
    store: BlobStore,
    bundle: Bundle | None = None,
    project: str | None = None,
    interpreter: core.Interpreter | None = None,
    alias: bool = False,
    here: bool = False,
) -> CompiledProgram:
    """Compile what a user wants to run.

    Args:
        entity: A task, workflow, launch plan or map.
        store: Takes constants that are large, and files.
        bundle: The user's code; functions that it does not hold travel by value.
        project: The project; the bundle's unless given.
        interpreter: The Python that replicas (as processes) run on.
        alias: Whether `union` and `flytekit` are served by Greenroom.
        here: It runs in this process: no function is made ready to travel.

    Raises:
        DefinitionError: The entity's graph cannot run.
        NotBundled: A function cannot travel.
    """
    whole = _whole(entity)
    tasks, plans = _reached(whole)
    environments: dict[str, core.Environment] = {}
    project = project or (bundle.project if bundle is not None else "default")
    references: dict[str, core.Plan] = {}
    if not here:
        tasks, plans, references = split_off(tasks, plans, project)
    compiled_tasks = {key: _task(task, _environment(task, environments), bundle, here) for key, task in tasks.items()}
    program = core.Program(
        entity=entity.name,
        project=project,
        graph=with_children(encoded(whole.graph, lambda given: given.encode(store)), references),
        tasks=compiled_tasks,
        environments=environments,
        plans={**{name: _plan(plan, store, references) for name, plan in plans.items()}, **references},
        bundle=bundle.hash if bundle is not None else None,
        origin=bundle.origin if bundle is not None else "",
        cwd=bundle.cwd() if bundle is not None else "",
        alias=alias,
        interpreter=interpreter,
        interface={**entity.interface.describe(), **_docs(getattr(entity, "docs", None))},
    )
    return _with_rest(entity, program, tasks, plans, store)


def _with_rest(
    entity: Any,
    program: core.Program,
    tasks: Mapping[str, Task[Any, Any]],
    plans: Mapping[str, LaunchPlan],
    store: BlobStore,
) -> CompiledProgram:
    """A program with what its submitter needs beside it."""
    fixed = entity.fixed_inputs if isinstance(entity, LaunchPlan) else {}
    return CompiledProgram(
        program=program,
        interface=entity.interface,
        fixed=_encoded_inputs(entity.workflow, fixed, store) if fixed else {},
        secrets=_secrets(tasks.values()),
        notes=(*_notes(tasks.values()), *_notes_of_plans((*plans.values(), entity))),
        tasks=tasks,
        plans=plans,
        labels=_labels(entity),
        webhooks=tuple(hook.told() for hook in entity.webhooks) if isinstance(entity, LaunchPlan) else (),
        refreshes=isinstance(entity, LaunchPlan) and bool(entity.properties.get("overwrite_cache")),
    )


def submission_of(
    compiled: CompiledProgram,
    args: Sequence[object] = (),
    inputs: Mapping[str, object] | None = None,
    *,
    store: BlobStore,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> core.Submission:
    """A wish to run a program, from Python values; defaults are filled in.

    Args:
        compiled: The program.
        args: Inputs by position.
        inputs: Inputs by name.
        store: Takes values that are large, and files.
        environ: Where secrets are looked for; this process's environment unless given.
        **options: Further fields of `Submission` (`name`, `by`, `labels`, `env`, `cached_results`, `priority`,
            `deadline`, `strict`, `key`).

    Raises:
        MissingArgument, UnknownArgument, TooManyArguments: The inputs are not those of the entity.
        TypeMismatch: An input does not fit its annotation.
    """
    queries: dict[str, entities.Query] = {}
    values = encode_inputs(compiled.program.entity, compiled.interface, args, inputs or {}, store, queries)
    options["webhooks"] = compiled.webhooks
    options["queries"] = queries
    options["labels"] = {**compiled.labels, **options.get("labels", {})}
    if compiled.refreshes and options.get("cached_results", core.CachedResults.USE) is core.CachedResults.USE:
        options["cached_results"] = core.CachedResults.REFRESH
    return core.Submission(
        program=compiled.digest,
        inputs={**values, **compiled.fixed},
        secrets=secrets.resolve(compiled.secrets, environ),
        **options,
    )


def encode_inputs(
    name: str,
    interface: Interface,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    store: BlobStore,
    queries: dict[str, entities.Query] | None = None,
) -> dict[str, Value]:
    """The values of an entity's inputs, defaults included.

    Args:
        name: Of the entity.
        interface: Its inputs.
        args: By position.
        kwargs: By name.
        store: Takes values that are large, and files.
        queries: Takes the inputs that the hub looks up as artifacts; None where no hub is asked.
    """
    short = name.rsplit(".", 1)[-1]
    given = arguments(short, interface, args, kwargs)
    values = {}
    for key, value in given.items():
        if isinstance(value, ArtifactQuery) and queries is not None:
            queries[key] = value.told()
            continue
        if isinstance(value, ArtifactQuery):
            raise BadArgument(short, key, value, "a value: artifacts are looked up by a hub, not in this process")
        try:
            values[key] = interface.inputs[key].codec.encode(value, store)
        except ValueProblem as problem:
            problem.of(f"{short}, input {key!r}")
            raise
    return values


# The graph of what is not a workflow --------------------------------------------------------------------------------


def _whole(entity: Any) -> Compiled:
    """The graph that runs when this entity is run by itself."""
    if isinstance(entity, LaunchPlan):
        return entity.workflow.compiled if not entity.is_reference and entity._stand_in is None else _alone(entity)
    if isinstance(entity, WorkflowBase):
        return entity.compiled if entity._stand_in is None else _alone(entity)
    if isinstance(entity, (Task, MapTask)):
        return _alone(entity)
    raise BadArgument("run", "entity", entity, "a task, workflow, launch plan or map; is the function decorated?")


def _alone(entity: Task[Any, Any] | MapTask[Any] | WorkflowBase | LaunchPlan) -> Compiled:
    """A graph with one node."""
    builder = Builder(entity.name)
    interface = entity.interface
    inputs = {
        name: Promise(builder, None, name, parameter.codec.describe()) for name, parameter in interface.inputs.items()
    }
    _, promises = entity.node(builder, (), inputs, getattr(entity, "line", ""))
    made = promises if isinstance(promises, Outputs) else (promises,)
    outputs = dict(zip(interface.outputs, made, strict=False)) if interface.outputs else {}
    return builder.finish(interface.inputs, outputs)


def _reached(whole: Compiled) -> tuple[dict[str, Task[Any, Any]], dict[str, LaunchPlan]]:
    """Every task and plan that can be called, also by plans, and by tasks that call others while they run."""
    entities = Entities()
    entities.merge(whole, "")
    seen: set[str] = set()
    queue: list[Task[Any, Any] | LaunchPlan] = [*whole.tasks.values(), *whole.plans.values()]
    for entity in queue:  # Grows while it is read.
        if entity.key in seen:
            continue
        seen.add(entity.key)
        if isinstance(entity, LaunchPlan):
            if not entity.is_reference:
                entities.merge(entity.workflow.compiled, "")
                queue += [*entity.workflow.compiled.tasks.values(), *entity.workflow.compiled.plans.values()]
        elif not entity.is_plain:
            for called in _called_by(entity):
                known = entities.tasks if isinstance(called, Task) else entities.plans
                if called.key not in known and not called.is_reference:
                    entities.add(called, "")
                    queue.append(called)
    return entities.tasks, entities.plans


def _called_by(task: Task[Any, Any]) -> Iterator[Task[Any, Any] | LaunchPlan]:
    """What a task may call while it runs: what it was said to call, and what its code refers to."""
    for entity in (*task.options.hints, *entities_in(task.function)):
        if isinstance(entity, (Task, LaunchPlan)):
            yield entity
        else:
            try:
                compiled = _whole(entity)
            except (
                GreenroomError,
                NameError,
            ):  # It is not complete yet, or not in order: that is said when it is called.
                continue
            yield from compiled.tasks.values()
            yield from compiled.plans.values()


# The parts of a program ---------------------------------------------------------------------------------------------


def _environment(task: Task[Any, Any], environments: dict[str, core.Environment]) -> str:
    """The key of a task's environment, which joins the program's; equal ones are one."""
    actor = task.options.environment
    made = containers.actor(actor) if actor is not None else containers.regular(task.options.container)
    key, number = made.name, 2
    while environments.setdefault(key, made) != made:
        key, number = f"{made.name}#{number}", number + 1
    return key


def _task(
    task: Task[Any, Any], environment: str, bundle: Bundle | None, here: bool, imported: bool = False
) -> core.Task:
    options = task.options
    module, qualname, pickled = ("", "", None) if here else _reference(task, bundle, imported)
    return core.Task(
        name=task.name,
        environment=environment,
        module=module,
        qualname=qualname,
        pickled=pickled,
        inputs=tuple(task.interface.inputs),
        outputs=tuple(task.interface.outputs),
        interface={} if here else task.interface.describe(),
        mode=options.mode,
        isolation=options.isolation,
        retry=options.retry,
        timeout=options.timeout,
        queue_timeout=options.queue_timeout,
        interruptible=options.interruptible,
        cached=_cached(task),
        secrets=tuple(secret.variable for secret in options.container.secrets),
        options=_carried(task),
    )


def _carried(task: Task[Any, Any]) -> dict[str, Any]:
    """What a task's replica, and its placement, are told beside the rest."""
    options = task.options
    told: dict[str, Any] = {
        "affinity": task.affinity,
        "artifacts": _artifacts(task),
        "deck": options.deck,
        "deck_fields": list(options.deck_fields or ()),
        "untyped": options.untyped,
        "labels": dict(options.labels),
        "annotations": dict(options.annotations),
        **_docs(options.docs),
    }
    return {name: value for name, value in told.items() if value}


def _artifacts(task: Task[Any, Any]) -> dict[str, Any]:
    """The outputs of a task that are artifacts."""
    found = {name: artifact_in(part.annotation) for name, part in task.interface.outputs.items()}
    return {name: to_wire(artifact.made()) for name, artifact in found.items() if artifact is not None}


def _cached(task: Task[Any, Any]) -> core.Cached | None:
    cache = task.options.cache
    if cache is None:
        return None
    version = cache.get_version(task.function)
    if version is None:
        from greenroom.digest import code_digest

        version = code_digest(task.function).hex
    return core.Cached(version, cache.ignored, cache.serialize, cache.salt)


def _reference(task: Task[Any, Any], bundle: Bundle | None, imported: bool) -> tuple[str, str, bytes | None]:
    """How replicas find a task: by module and name if this very task stands there, else it is pickled.

    `imported` says that this process is a replica itself: what it could import, the others can.
    """
    from greenroom.bundling import ByName, dumps, reference_of

    function = task.function
    if is_at_its_name(task):
        if imported and function.__module__ != "__main__":
            return function.__module__, function.__qualname__, None
        reference = reference_of(function, bundle)
        if isinstance(reference, ByName):
            return reference.module, reference.qualname, None
        return "", "", reference.pickled
    return "", "", dumps(task.portable(), bundle)


def is_at_its_name(task: Task[Any, Any]) -> bool:
    """Whether who imports the task's module and follows its name finds this task, or its last definition."""
    qualname = getattr(task.function, "__qualname__", "<")
    if "<" in qualname:
        return False
    found = find(task.function.__module__, qualname)
    if isinstance(found, Task):
        return found.name == task.name
    return found is task.function and task.is_plain  # `made = task(function)`: the function itself does as well.


def _plan(plan: LaunchPlan, store: BlobStore, references: Collection[str]) -> core.Plan:
    if plan.is_reference:  # It runs in this process: a test may have put something in its place.
        return core.Plan(plan.name, Graph(()))
    interface = plan.interface
    defaults = {name: parameter.default for name, parameter in interface.inputs.items() if not parameter.required}
    return core.Plan(
        name=plan.name,
        graph=with_children(encoded(plan.workflow.compiled.graph, lambda given: given.encode(store)), references),
        inputs=_encoded_inputs(plan.workflow, defaults, store),
        fixed=_encoded_inputs(plan.workflow, plan.fixed_inputs, store),
    )


def _encoded_inputs(workflow: WorkflowBase, values: Mapping[str, object], store: BlobStore) -> dict[str, Value]:
    inputs = workflow.interface.inputs
    return {name: inputs[name].codec.encode(value, store) for name, value in values.items()}


def _secrets(tasks: Any) -> tuple[Secret, ...]:
    return tuple(dict.fromkeys(secret for task in tasks for secret in task.options.container.secrets))


def _docs(docs: object) -> dict[str, str]:
    """A description as text, whatever object holds it."""
    text = docs if isinstance(docs, str) else getattr(docs, "short_description", None)
    return {"docs": str(text)} if text else {}


def _labels(entity: Any) -> dict[str, str]:
    """Labels from a workflow's or a plan's options: a dict, or an object with `values` as Flyte's `Labels`."""
    options = entity.properties if isinstance(entity, LaunchPlan) else getattr(entity, "default_options", None)
    labels = options.get("labels") if isinstance(options, Mapping) else getattr(options, "labels", None)
    values = labels if isinstance(labels, Mapping) else getattr(labels, "values", None)
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, Mapping) else {}


_WITHOUT_EFFECT: Final = ("max_parallelism", "security_context", "auth_role", "raw_output_data_config", "annotations")


def _notes_of_plans(entities: Any) -> Iterator[str]:
    for plan in dict.fromkeys(entity for entity in entities if isinstance(entity, LaunchPlan)):
        for name in _WITHOUT_EFFECT:
            if name in plan.properties:
                yield f"launch plan {plan.name}: {name}= has no effect here"
        for told in plan.properties.get("notifications") or ():
            if not isinstance(told, Webhook):
                kind = type(told).__name__
                yield f"launch plan {plan.name}: no {kind} is sent; give notifications=[greenroom.Webhook(url)]"


def _notes(tasks: Any) -> Iterator[str]:
    for task in tasks:
        if task.options.deprecated:
            yield f"{task.name} is deprecated: {task.options.deprecated}"
        yield from task.options.notes


def fragment_of(compiled: Compiled, store: BlobStore) -> Value:
    """What a dynamic task yields on a replica: its graph with all that the graph calls, as a value.

    Args:
        compiled: The graph.
        store: Takes constants that are large, and files.
    """
    return _fragment(compiled, store, here=False).to_value()


def fragment_here(compiled: Compiled, store: BlobStore) -> tuple[Value, CompiledFragment]:
    """The same for a run in this process, which keeps the tasks themselves."""
    tasks, plans = _reached(compiled)
    return _fragment(compiled, store, here=True).to_value(), CompiledFragment(tasks, plans)


class CompiledFragment(NamedTuple):
    """The tasks and plans that a dynamic task's graph calls, by their keys in it."""

    tasks: Mapping[str, Task[Any, Any]]
    plans: Mapping[str, LaunchPlan]


def _fragment(compiled: Compiled, store: BlobStore, here: bool) -> Fragment:
    tasks, plans = _reached(compiled)
    environments: dict[str, core.Environment] = {}
    references: dict[str, core.Plan] = {}
    if not here:
        tasks, plans, references = split_off(tasks, plans, current_context().execution_id.project)
    made = {
        key: _task(task, _environment(task, environments), None, here, imported=True) for key, task in tasks.items()
    }
    graph = encoded(compiled.graph, lambda given: given.encode(store))
    made_plans = {**{name: _plan(plan, store, references) for name, plan in plans.items()}, **references}
    return Fragment(as_children(graph.nodes, references), graph.outputs, made, environments, made_plans)
