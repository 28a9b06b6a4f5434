"""One attempt of one call in this process: inputs decoded, the function run as on a replica, outputs encoded."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Awaitable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from greenroom.context import (
    Context,
    ExecutionId,
    LocalPort,
    ReplicaPlace,
    Surroundings,
    TaskId,
    current_context,
    entered,
)
from greenroom.deadlines import OutOfTime, deadline
from greenroom.errors import CallExited, CallTimedOut, GreenroomWarning, SecretMissing
from greenroom.scopes import Scope, Settled, scoped
from greenroom_core.failure import Cause
from greenroom_core.graph import NodeKind
from greenroom_core.program import Mode
from greenroom_protocol.calls import Status

if TYPE_CHECKING:
    from greenroom.local import LocalRun
    from greenroom.task import Task
    from greenroom_core.noderun import NodeRun

Step = Generator[Awaitable[Any], Any, Any]
"""Work that hands out what is to be awaited, so that one text serves plain and async callers."""


class Done(NamedTuple):
    """How a call ended."""

    status: Status
    payload: bytes
    started: float
    """Seconds since the epoch."""
    seconds: float


class Attempt:
    """One attempt.

    Args:
        run: The execution.
        node: The node.
        task: What is called.
        item: Which item of a map.
        payload: The inputs that differ from call to call.
    """

    def __init__(self, run: LocalRun, node: NodeRun, task: Task[Any, Any], item: int, payload: bytes) -> None:
        self.run_, self.node, self.task, self.item, self.payload = run, node, task, item, payload
        assert node.items is not None and node.task is not None
        self.number = node.items.attempts[item]
        self.spec = node.task

    def run(self) -> Generator[Awaitable[Any], Any, Done]:
        """Run it; never raises what user code raises."""
        from greenroom.local import store

        started, clock = time.time(), time.monotonic()
        cause = Cause.INPUT
        context = self._context()
        try:
            with entered(context):
                inputs = self._inputs(store())
                cause = Cause.USER
                result = yield from self._result(inputs)
                cause = Cause.RESULT
                status, payload = Status.SUCCEEDED, self._payload(result)
        except Exception as error:
            cause = Cause.TIMEOUT if isinstance(error, CallTimedOut) else cause
            cause = Cause.EXIT if isinstance(error, CallExited) else cause
            self._name(error)
            status, payload = Status.FAILED, self.run_.fail(self.node.id, self.item, error, cause)
        finally:
            context.close()
        return Done(status, payload, started, time.monotonic() - clock)

    def _inputs(self, store: Any) -> dict[str, Any]:
        inputs = self.node.inputs
        assert inputs is not None
        payload = b"".join((*inputs.bound.values(), self.payload))
        return self.task.interface.decode_inputs(payload, store, (*inputs.bound, *inputs.params))

    def _payload(self, result: Any) -> bytes:
        from greenroom.local import store

        if self.task.mode is Mode.DYNAMIC:
            return self.run_.graft(result)
        return self.task.interface.encode_outputs(result, store(), self._warn)

    def _warn(self, text: str) -> None:
        import warnings

        warnings.warn(f"{self.node.id}: {text}", GreenroomWarning, stacklevel=2)

    # The user's code --------------------------------------------------------------------------------------------------

    def _result(self, inputs: Mapping[str, Any]) -> Step:
        limit = self.node.spec.overrides.timeout or self.spec.timeout
        try:
            with self._process_state():
                return (yield from self._call(inputs, limit))
        except OutOfTime:
            assert limit is not None
            raise CallTimedOut(self.task.name, limit) from None
        except SystemExit as leaving:
            if leaving.code in (None, 0) and not self.task.interface.outputs:
                return None
            raise CallExited(self.task.name, leaving.code) from leaving

    def _call(self, inputs: Mapping[str, Any], limit: float | None) -> Step:
        task = self.task
        if task.mode is Mode.DYNAMIC:
            from greenroom.dynamic import lay_out

            with deadline(limit):
                return copy_context().run(lay_out, task, inputs)
        if task.is_async and not task.is_replaced:
            return (yield _limited(in_scope(task.function(**inputs)), limit))
        with deadline(limit):
            result = copy_context().run(task.execute, **inputs)
        if inspect.isawaitable(result):  # A plain function around a coroutine function.
            result = yield _limited(result, limit)
        return result

    def _context(self) -> Context:
        place = ReplicaPlace(0, self.spec.environment, "local")
        who = TaskId("local", "local", self.task.name, "local")
        where = ExecutionId("local", "local", "local")
        surroundings = Surroundings(where, self.node.id, who, place, {}, LocalPort(self.run_.kept))
        return Context(surroundings, self.item, self.number)

    @contextmanager
    def _process_state(self) -> Iterator[None]:
        """The environment variables that the call shall see; what it changes of them is undone, as on a replica."""
        missing = [name for name in self.spec.secrets if name not in self.run_.secrets]
        if missing:
            self._refuse(missing[0])
        environment = self.run_.execution.environments[self.spec.environment]
        before = _variables().copy()
        os.environ.update(environment.env)
        os.environ.update((name, self.run_.secrets[name]) for name in self.spec.secrets)
        try:
            yield
        finally:
            if self.spec.isolation != "none" and _variables() != before:
                _restore(before)

    def _refuse(self, variable: str) -> None:
        from greenroom.secrets import files, places

        secret = next(s for s in self.task.options.container.secrets if s.variable == variable)
        name = "/".join(part for part in (secret.group, secret.key) if part)
        raise SecretMissing(name, [*places(secret), *files(secret)])

    def _name(self, error: BaseException) -> None:
        """Add to an exception where it comes from."""
        where = f"{self.node.id}/{self.item}" if self.node.spec.kind is NodeKind.MAP else self.node.id
        retry = self.node.retry.times + 1
        told = f"  (node {where}, attempt {self.number} of {retry})" if retry > 1 else f"  (node {where})"
        error.add_note(f"Error encountered while executing '{self.task.name}':\n  {error}\n{told}")


def _variables() -> dict[Any, Any]:
    """The environment variables as `os.environ` keeps them: to copy and compare them costs next to nothing."""
    raw: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]
    return raw


def _restore(before: Mapping[Any, Any]) -> None:
    now, decode = _variables(), os.environ.decodevalue
    for name in [name for name in now if name not in before]:
        del os.environ[decode(name)]
    for name, value in before.items():
        if now.get(name) != value:
            os.environ[decode(name)] = decode(value)


async def in_scope(coroutine: Awaitable[Any]) -> Any:
    """Run the body of an async task: the calls that it makes start at once, and end with it."""
    from greenroom.eager import awaited

    scope = Scope(current_context().dispatcher())
    failed = True
    with scoped(scope):
        try:
            result = await awaited(await coroutine)
            failed = False
        finally:
            await scope.close(failed)
    return result


async def _limited(awaitable: Awaitable[Any], limit: float | None) -> Any:
    import asyncio

    if limit is None:
        return await awaitable
    try:
        async with asyncio.timeout(limit) as timer:
            return await awaitable
    except TimeoutError:
        if timer.expired():
            raise OutOfTime from None
        raise


class HereDispatcher:
    """Runs the calls of an async task in this process."""

    def start(self, entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Awaitable[Any] | Settled:
        """Run a plain task's call now; a coroutine's as the event loop comes to it."""
        from greenroom.eager import is_settled, value_of

        if getattr(entity, "is_async", False) or not is_settled((*args, *kwargs.values())):
            return _later(entity, args, kwargs)
        from greenroom.local import run

        try:
            return Settled(run(entity, value_of(args), value_of(dict(kwargs))))
        except Exception as error:
            return Settled(error=error)


async def _later(entity: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    from greenroom.eager import awaited
    from greenroom.local import run, run_async

    args, given = await awaited(args), await awaited(dict(kwargs))
    if getattr(entity, "is_async", False):
        return await run_async(entity, args, given)
    return run(entity, args, given)


def run_coroutine(awaitable: Awaitable[Any]) -> Any:
    """Wait for a coroutine from plain code; where an event loop runs in this thread, in a thread of its own."""
    import asyncio

    async def wait() -> Any:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    import threading

    context, box = copy_context(), Settled()

    def target() -> None:
        try:
            box.value = context.run(asyncio.run, wait())
        except BaseException as error:
            box.error = error

    thread = threading.Thread(target=target, name="greenroom-coroutine")
    thread.start()
    thread.join()
    if box.error is not None:
        raise box.error
    return box.value
