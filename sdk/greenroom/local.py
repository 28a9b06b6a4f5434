"""Runs in this process: the hub's own state machine, driven by an inline executor.

What is called runs one call after the other, in the order of the source, with its retries, timeouts and failure
policies, its values through their codecs. Errors are the user's own exceptions, with the node that they come from.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
from _thread import RLock
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from greenroom import building, redefinition, results, secrets
from greenroom.attempts import Attempt, Done, Step, run_coroutine
from greenroom.compile import CompiledProgram, encode_inputs, fragment_here, program_of
from greenroom.errors import NonRecoverable, NotApproved, Recoverable, ReferenceUnresolved, WorkflowFailed
from greenroom.interfaces import named_tuple
from greenroom.scopes import scoped
from greenroom_core import facts as f
from greenroom_core.execution import Execution
from greenroom_core.facts import Outcome
from greenroom_core.failure import Cause, Failure
from greenroom_core.graph import GateKind, NodeKind
from greenroom_core.lists import ListSource
from greenroom_core.noderun import NodeRun
from greenroom_core.program import Mode, Submission
from greenroom_core.values import Value, split
from greenroom_protocol.calls import Outcomes, Status

if TYPE_CHECKING:
    from greenroom.blobs import LocalBlobs
    from greenroom.building import Compiled
    from greenroom.launch_plan import LaunchPlan
    from greenroom.task import Task

_numbers = itertools.count(1)
_runs: dict[str, LocalRun] = {}
_store: LocalBlobs | None = None


def store() -> LocalBlobs:
    """Where this process keeps large values and files of its runs; removed when it ends."""
    global _store
    if _store is None or _store_owner != os.getpid():
        with _making:
            if _store is None or _store_owner != os.getpid():
                _store = _new_store()
    return _store


_store_owner = 0
_making = RLock()


def _new_store() -> LocalBlobs:
    import atexit
    import shutil
    import tempfile

    from greenroom.blobs import LocalBlobs

    global _store_owner
    _store_owner = os.getpid()
    folder = tempfile.mkdtemp(prefix="greenroom-blobs-")
    atexit.register(_remove, folder, _store_owner, shutil.rmtree)
    return LocalBlobs(folder, durable=False, manifests=_manifest)


def _remove(folder: str, owner: int, rmtree: Callable[..., None]) -> None:
    if os.getpid() == owner:  # A forked child's end is not the end of its parent's files.
        rmtree(folder, ignore_errors=True)


def _manifest(execution: str, node: str, output: str) -> Iterable[Value]:
    source = _runs[execution].execution.results(node, output)
    return source.slice(0, source.n).items()


# Entry points -------------------------------------------------------------------------------------------------------


def run(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a task, workflow, launch plan or map here and now; gives its outputs, or raises what its user code raised."""
    with building.building(None), scoped(None):
        local = start(entity, args, kwargs)
        try:
            local.drive()
            return local.result()
        finally:
            local.forget()


async def run_async(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The same for an async task: it runs on the caller's event loop."""
    with building.building(None), scoped(None):
        local = start(entity, args, kwargs)
        try:
            await local.drive_async()
            return local.result()
        finally:
            local.forget()


def start(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> LocalRun:
    """A run that has not begun."""
    compiled = compiled_here(entity)
    inputs = encode_inputs(entity.name, compiled.interface, args, kwargs, store())
    return LocalRun(compiled, {**inputs, **compiled.fixed})


def compiled_here(entity: Any) -> CompiledProgram:
    """An entity's program for this process; kept until something is defined again."""
    now = (redefinition.generation(), store())
    kept: tuple[Any, CompiledProgram] | None = entity.__dict__.get("_here")
    if kept is None or kept[0] != now:
        kept = entity.__dict__["_here"] = (now, program_of(entity, store=store(), here=True))
    return kept[1]


# One execution ------------------------------------------------------------------------------------------------------


class Work(NamedTuple):
    """What a run has to do next."""

    kind: str
    """`call`, `child` or `gate`."""
    node: str
    item: int = 0
    plan: str = ""
    inputs: Mapping[str, Value] = {}


class LocalRun:
    """One execution in this process.

    Args:
        compiled: The program.
        inputs: Its encoded inputs.
        plan: The launch plan of the program that runs, for a child.
        parent: The run that asked for this one.
    """

    def __init__(
        self, compiled: CompiledProgram, inputs: Mapping[str, Value], plan: str = "", parent: LocalRun | None = None
    ) -> None:
        self.compiled = compiled
        self.id = f"local-{next(_numbers)}"
        submission = Submission("", inputs, cached_results=results.mode())
        program = compiled.program
        if parent is not None:  # A plan may come from a dynamic task's graph, with all that it calls.
            known = parent.execution
            program = replace(program, plans=known.plans, tasks=known.tasks, environments=known.environments)
        self.execution: Execution = Execution(f.ExecutionSubmitted(self.id, submission, plan=plan), program, self)
        self.tasks: dict[str, Task[Any, Any]] = dict(parent.tasks if parent else compiled.tasks)
        self.plans: dict[str, LaunchPlan] = dict(parent.plans if parent else compiled.plans)
        self.secrets: Mapping[str, str] = parent.secrets if parent else secrets.resolve(compiled.secrets)
        self.errors: dict[tuple[str, int], BaseException] = {}
        """The exception that each failed call ended with."""
        self.kept: dict[tuple[str, int], bytes] = {}
        """Checkpoints of its calls, by node and item."""
        self._rows: list[Outcomes] = []
        self._order: dict[str, tuple[int, ...]] = {}
        self._ready: dict[str, Work] = {}
        self._queue: list[tuple[tuple[int, ...], str]] = []
        self._inner = [self.id]
        if parent is not None:
            parent._inner.append(self.id)
            self._inner = parent._inner
        _runs[self.id] = self

    # Reader, for the execution ----------------------------------------------------------------------------------------

    def outcomes(self, row: int) -> Outcomes:
        """The columns of a row."""
        return self._rows[row]

    def blob(self, sha256: str) -> bytes:
        """A blob's bytes."""
        return store().get(sha256)

    def manifest(self, execution: str, node: str, output: str) -> ListSource:
        """The results of a map, of this or another run."""
        return _runs[execution].execution.results(node, output)

    # Driving ----------------------------------------------------------------------------------------------------------

    def drive(self) -> None:
        """Run to the end."""
        while (work := self._next()) is not None:
            step = self._do(work)
            try:
                waited = next(step)
                while True:
                    try:
                        answer = run_coroutine(waited)
                    except BaseException as error:
                        waited = step.throw(error)
                    else:
                        waited = step.send(answer)
            except StopIteration:
                continue

    async def drive_async(self) -> None:
        """The same, awaiting coroutines on the running loop."""
        while (work := self._next()) is not None:
            step = self._do(work)
            try:
                waited = next(step)
                while True:
                    try:
                        answer = await waited
                    except BaseException as error:
                        waited = step.throw(error)
                    else:
                        waited = step.send(answer)
            except StopIteration:
                continue

    def _next(self) -> Work | None:
        """The next thing to do, in the order of the source; None once the execution has ended."""
        execution = self.execution
        while True:
            execution.advance()
            self._gather()
            if execution.ended is not None:
                return None
            work = self._first()
            if work is not None:
                return work
            if not self._wake():
                raise AssertionError(f"{self.id} waits for nothing: {list(execution.nodes)}")

    def _gather(self) -> None:
        """Take what has become ready from the execution; nodes of a dynamic task stand in its place of the order."""
        execution = self.execution
        known = len(self._order)
        if known != len(execution.nodes):
            for place, (name, run) in enumerate(islice(execution.nodes.items(), known, None), known):
                self._order[name] = (*self._order.get(run.owner, ()), place)
        for node in execution.started:
            self._add(Work("call", node))
        for node, plan, inputs in execution.children:
            self._add(Work("child", node, plan=plan, inputs=inputs))
        for node in execution.gates:
            self._add(Work("gate", node))
        execution.started, execution.children, execution.gates, execution.cancelled = [], [], [], []

    def _add(self, work: Work) -> None:
        if work.node not in self._ready:
            heapq.heappush(self._queue, (self._order[work.node], work.node))
        self._ready[work.node] = work

    def _first(self) -> Work | None:
        """The first piece of work whose node has not ended; one call of a node at a time."""
        while self._queue:
            node = self._queue[0][1]
            work, run = self._ready[node], self.execution.nodes[node]
            if not run.ended and run.items is not None and run.items.room:
                (item,) = run.items.take(1)
                return work._replace(item=item)
            heapq.heappop(self._queue)
            del self._ready[node]
            if not run.ended and work.kind != "call":
                return work
        return None

    def _wake(self) -> bool:
        """Wait for the first attempt that is delayed; False if none is."""
        delayed = [
            (until, run)
            for run in self.execution.nodes.values()
            if run.items is not None and not run.ended and (until := run.items.waiting_until()) is not None
        ]
        if not delayed:
            return False
        until, run = min(delayed, key=lambda pair: pair[0])
        time.sleep(max(0.0, until / 1000 - time.time()))
        assert run.items is not None
        run.items.wake(until)
        self._add(Work("call", run.id))
        return True

    def _do(self, work: Work) -> Step:
        if work.kind == "child":
            yield from self._child(work)
        elif work.kind == "gate":
            self._gate(work)
        else:
            yield from self._call(work)

    # Calls ------------------------------------------------------------------------------------------------------------

    def _call(self, work: Work) -> Step:
        run = self.execution.nodes[work.node]
        task = self.tasks[run.spec.target]
        payload = _payload(run, work.item)
        key = results.key(task.key, run, payload)
        found = results.find(key, self.execution.submitted.submission.cached_results)
        if found is not None:
            self._finished(run, work.item, Done(Status.SUCCEEDED, found, time.time(), 0.0), cached=True)
            return
        done = yield from Attempt(self, run, task, work.item, payload).run()
        if done.status is Status.SUCCEEDED and task.mode is not Mode.DYNAMIC:
            results.keep(key, done.payload)
        self._finished(run, work.item, done)

    def _finished(self, run: NodeRun, item: int, done: Done, cached: bool = False) -> None:
        assert run.items is not None
        attempt = run.items.attempts[item]
        us = int(done.started * 1e6)
        outcomes = Outcomes(
            item,
            attempt,
            bytes((done.status,)),
            len(done.payload).to_bytes(4, "little"),
            done.payload,
            us,
            bytes(4),
            min(int(done.seconds * 1e6), 0xFFFFFFFF).to_bytes(4, "little"),
            {},
            [],
        )
        self._rows.append(outcomes)
        kind = f.CallsCached(run.id, b"") if cached else f.CallsFinished(run.id, "local", b"")
        kind.__dict__["outcomes"] = outcomes  # Known already: nothing is packed to be unpacked.
        self.execution.apply(kind, len(self._rows) - 1, int(time.time() * 1000))

    def graft(self, compiled: Compiled) -> Value:
        """The value of a dynamic task's graph; what it calls joins what this run can call."""
        value, called = fragment_here(compiled, store())
        self.tasks.update(called.tasks)
        self.plans.update(called.plans)
        asked = (secret for task in called.tasks.values() for secret in task.options.container.secrets)
        self.secrets = {**secrets.resolve(asked), **self.secrets}
        return value

    def fail(self, node: str, item: int, error: BaseException, cause: Cause) -> bytes:
        """Remember a call's exception; gives the failure as it travels."""
        self.errors[node, item] = error
        recoverable = False if isinstance(error, NonRecoverable) else None
        cause = Cause.RECOVERABLE if cause is Cause.USER and isinstance(error, Recoverable) else cause
        bases = [base.__name__ for base in type(error).__mro__[1:-1]]
        failure = Failure(
            cause, type(error).__qualname__, str(error), recoverable=recoverable, details={"bases": bases}
        )
        return failure.pack()

    # Children and gates -----------------------------------------------------------------------------------------------

    def _child(self, work: Work) -> Step:
        plan = self.plans[work.plan]
        defined = self.execution.plans[work.plan]
        inputs = {**defined.inputs, **work.inputs, **defined.fixed}
        if plan._stand_in is not None or plan.is_reference:
            self._replaced(work, plan, inputs)
            return
        child = LocalRun(self.compiled, inputs, work.plan, self)
        self.execution.apply(f.ChildStarted(work.node, child.id))
        while (inner := child._next()) is not None:
            yield from child._do(inner)
        ended = child.execution.ended
        assert ended is not None
        if ended.outcome is not Outcome.SUCCEEDED and (error := child.error()) is not None:
            self.errors[work.node, 0] = error
        self._ended(f.NodeEnded(work.node, ended.outcome, ended.failure, outputs=ended.outputs))

    def _replaced(self, work: Work, plan: LaunchPlan, inputs: Mapping[str, Value]) -> None:
        """A plan that a test has put something else in the place of, or should have."""
        interface = plan.workflow.interface
        try:
            if plan._stand_in is None:
                raise ReferenceUnresolved("reference", plan.name)
            given = interface.decode_inputs(b"".join(inputs.values()), store(), list(inputs))
            payload = interface.encode_outputs(plan._stand_in(**given), store())
            values = dict(zip(interface.outputs, split(payload, len(interface.outputs)), strict=True))
        except Exception as error:
            failure = Failure.unpack(self.fail(work.node, 0, error, Cause.USER)).to_wire()
            self._ended(f.NodeEnded(work.node, Outcome.FAILED, failure))
        else:
            self._ended(f.NodeEnded(work.node, Outcome.SUCCEEDED, outputs=values))

    def _ended(self, fact: f.NodeEnded) -> None:
        self.execution.apply(fact)
        self.execution.look_at(fact.node)

    def _gate(self, work: Work) -> None:
        from greenroom.answers import ask

        spec = self.execution.nodes[work.node].spec
        if spec.gate is GateKind.SLEEP:  # Nobody's test shall take days: here, time passes at once.
            self.execution.apply(f.GateOpened(work.node))
            return
        shown = self.execution.resolve(spec.inputs["value"]) if spec.gate is GateKind.APPROVE else None
        try:
            answer = ask(spec, shown, store())
        except Exception as error:
            failure = Failure.unpack(self.fail(work.node, 0, error, Cause.USER)).to_wire()
            self._ended(f.NodeEnded(work.node, Outcome.FAILED, failure))
            return
        self.execution.apply(f.GateOpened(work.node, answer.value, answer.approved))

    # The end ----------------------------------------------------------------------------------------------------------

    def result(self) -> Any:
        """The outputs, or the error of the user's code."""
        ended = self.execution.ended
        assert ended is not None
        if ended.outcome is Outcome.SUCCEEDED:
            interface = self.compiled.interface
            decoded = interface.decode_outputs(ended.outputs, store())
            if interface.shape != "tuple":
                return decoded
            return named_tuple("DefaultNamedTupleOutput", tuple(interface.outputs))._make(decoded)
        error = self.error()
        assert error is not None
        raise error

    def forget(self) -> None:
        """Nobody reads the results of its maps any more."""
        for run in self._inner:
            _runs.pop(run, None)

    def error(self) -> BaseException | None:
        """Why the execution failed, as an exception; None if it did not."""
        ended = self.execution.ended
        if ended is None or ended.outcome is Outcome.SUCCEEDED:
            return None
        node = ended.node or ""
        error = self.errors.get((node, ended.item or 0))
        if error is None:
            error = _error_of(node, Failure.from_wire(ended.failure or {}))
        return error


def _error_of(node: str, failure: Failure) -> BaseException:
    """An exception for a failure that the machine itself found."""
    if failure.type == "ValueError":
        return ValueError(failure.message)
    return NotApproved(node) if failure.type == "NotApproved" else WorkflowFailed(node, failure.message)


def _payload(run: NodeRun, item: int) -> bytes:
    assert run.inputs is not None
    if run.spec.kind is not NodeKind.MAP:
        return run.inputs.single
    return b"".join(source.slice(item, item + 1).payload for source in run.inputs.lists)
