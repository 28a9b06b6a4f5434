"""The client: run entities on a hub, and see what happens there. `Client` for threads, `AsyncClient` for coroutines."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from greenroom import catalog
from greenroom import gate_answers as gates
from greenroom.handles import AsyncExecution, Execution
from greenroom.hubs import Hub, find
from greenroom.link import Link, Operation
from greenroom.opening import opener_of
from greenroom.operations import Submitted, cancel, get, path_to, repeat, submit
from greenroom.registered import Registered
from greenroom.submitting import Options, Prepared, Workshop, person, repeating, upload

if TYPE_CHECKING:
    from types import TracebackType

    from greenroom.aio import AsyncLink
    from greenroom.blobs import BlobStore
    from greenroom.following import Event, Follower
    from greenroom_core.values import Value

T = TypeVar("T")

_SHORT: Final = 0.004
"""Seconds that a submission waits for its result where the caller takes turns with the hub: one way instead of two."""

_KNOWN: Final = 256
"""Programs that a client remembers as known to the hub."""


class _Shared:
    """What a client shares with those that `options` makes of it: the hub, what it knows, the blobs."""

    def __init__(self, hub: str | None, say: Callable[[str], None]) -> None:
        self.wanted, self.say = hub, say
        self.found: Hub | None = None
        self.known: dict[str, None] = {}
        self.blobs: BlobStore | None = None
        self.link: Link | None = None
        self.workshop = Workshop()
        self.turns = False
        """Whether the caller asked for the last result before it ran the next entity."""
        self.open: str = ""
        """The last execution, as long as its result was not asked for."""

    def hub(self) -> Hub:
        if self.found is None:
            self.found = find(self.wanted, self.say)
        return self.found

    def remember(self, digest: str) -> None:
        self.known.pop(digest, None)
        self.known[digest] = None
        if len(self.known) > _KNOWN:
            del self.known[next(iter(self.known))]


class _Base:
    """What both clients have in common."""

    def __init__(self, hub: str | None = None, *, say: Callable[[str], None] | None = None) -> None:
        """Speak to a hub; nothing is opened or started before the first request.

        Args:
            hub: `local`, `ephemeral`, a profile's name or a URL; by default what GREENROOM_HUB, the profile in use,
                or else the local hub says.
            say: Takes what a person should know, such as that a hub is being started.
        """
        self._shared = _Shared(hub, say or (lambda line: None))
        self._options = Options()

    @property
    def url(self) -> str:
        """The hub's address, as a browser takes it; starts the local hub if it does not run."""
        return self._shared.hub().url

    @property
    def blobs(self) -> BlobStore:
        """The hub's blobs: its folder where that is on this host, else by its API."""
        shared = self._shared
        if shared.blobs is None:
            shared.blobs = blobs_of(shared.hub(), shared.link)
        return shared.blobs

    def _prepare(self, entity: Any, inputs: Mapping[str, Any]) -> Prepared:
        shared = self._shared
        return shared.workshop.prepare(entity, (), inputs, self._options, shared.hub(), self.blobs)


class Client(_Base):
    """A hub, for threads: every method returns when it is done."""

    def options(self, **changed: Any) -> Client:
        """This client, with other options for what it runs.

        Args:
            **changed: `name`, `env`, `labels`, `cached_results` ("use", "refresh", "off"), `priority`, `deadline`
                (seconds), `strict`.

        Raises:
            TypeError: There is no such option.
        """
        twin = Client.__new__(Client)
        twin._shared, twin._options = self._shared, self._options.with_changed(**changed)
        return twin

    def run(self, entity: Any, /, **inputs: Any) -> Execution:
        """Run a task, workflow or launch plan on the hub; returns as soon as the hub has the submission on disk.

        Raises:
            HubError: The hub stays away, or refuses.
            GreenroomError: The entity or its inputs are not in order.
        """
        shared = self._shared
        prepared = self._prepare(entity, inputs)
        known = prepared.digest in shared.known
        if not known:
            upload(prepared, self.blobs)
        wait = _SHORT if shared.turns and not shared.open else 0.0
        shared.turns = shared.turns and not shared.open
        submitted = self.drive(submit(prepared.submission, prepared.program, known=known, wait=wait))
        shared.remember(prepared.digest)
        execution = Execution(self, submitted, prepared.opener)
        if submitted.result is None:
            shared.open = submitted.id
        return execution

    # What is kept by name and version

    def register(
        self, entity: Any, version: str | None = None, *, name: str | None = None, activate: bool = False
    ) -> Registered:
        """Keep a task, workflow or launch plan on the hub; `fetch` and references find it there.

        Args:
            entity: What is kept.
            version: The hash of its code unless given; a version that was given does not change any more.
            name: Its own unless given.
            activate: Whether a launch plan runs by itself from now on; `auto_activate=True` of a plan says the same.

        Raises:
            Refused: The version exists with another program, or the plan cannot be activated.
            GreenroomError: The entity is not in order.
        """
        shared = self._shared
        made = shared.workshop.prepare_registration(
            entity, self._options, shared.hub(), self.blobs, name=name, version=version
        )
        upload(made, self.blobs)
        registered = Registered(self.drive(catalog.register(made.registration, made.program)))
        for note in made.notes:
            shared.say(note)
        if activate or getattr(entity, "properties", {}).get("auto_activate"):
            self.activate(registered)
        return registered

    def fetch(self, name: str, version: str = "", *, kind: str = "", project: str = "") -> Registered:
        """What was registered under a name.

        Args:
            name: As it was registered: `module.function`, or a launch plan's name.
            version: The newest unless given.
            kind: `workflow`, `task` or `launch_plan`; unless given, the first of these that there is.
            project: Needed where several projects have the name.

        Raises:
            Refused: There is none.
        """
        return Registered(self.drive(catalog.find(name, version, kind, project or self._options.project or "")))

    def execute(self, name: str, version: str = "", /, **inputs: Any) -> Execution:
        """Run what was registered under a name; as `run(fetch(name, version), **inputs)`."""
        return self.run(self.fetch(name, version), **inputs)

    def registered(self, kind: str = "", name: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Versions that were registered, the newest first."""
        return self.drive(catalog.entities(kind, name, self._options.project or "", limit))

    def launch_plans(self) -> list[dict[str, Any]]:
        """Launch plans, with what their schedules do: `next`, `fired`, `running`."""
        return self.drive(catalog.plans())

    def activate(self, plan: Registered | str, version: str = "") -> dict[str, Any]:
        """Have a launch plan run by itself; answers what it does, with its next three times.

        Raises:
            Refused: It is not registered, has no schedule, or what it has pinned is not there.
        """
        told = {"by": person(), **({"env": dict(self._options.env)} if self._options.env else {})}
        if isinstance(plan, Registered):
            return self.drive(
                catalog.activate(plan.name, {**told, "version": version or plan.version, "project": plan.project})
            )
        return self.drive(catalog.activate(plan, {**told, "version": version, "project": self._options.project or ""}))

    def deactivate(self, plan: Registered | str) -> dict[str, Any]:
        """Have a launch plan run no more by itself; executions that run go on."""
        name, project = (
            (plan.name, plan.project) if isinstance(plan, Registered) else (plan, self._options.project or "")
        )
        return self.drive(catalog.deactivate(name, {"by": person(), "project": project}))

    # Gates

    def answer(self, execution: str, gate: str, value: Any = True) -> None:
        """Answer a gate: True or False for one that waits for approval, the value for one that waits for input.

        Raises:
            Refused: There is no such gate that waits, or the value is of another type.
        """
        self.drive(gates.answer(execution, gate, value, person(), self.blobs))

    def took_turn(self, execution: Execution) -> None:
        """The caller waited for an execution; if it was the latest, the next one may be answered in one way."""
        shared = self._shared
        if shared.open == execution.id:
            shared.open, shared.turns = "", True

    def map(
        self,
        target: Any,
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        return_exceptions: bool = False,
        ahead: int | None = None,
        **bound: Any,
    ) -> Iterator[Any]:
        """Call a task for each item of an iterable of any length, and give the results one by one.

        The iterable is read as results are taken, a few batches ahead, and never held whole; nor are the results. Who
        stops taking them (leaves the loop, closes the iterator) ends what is under way.

        Args:
            target: A task, workflow or launch plan, or `functools.partial` of one.
            *iterables: One for each input that is not bound, side by side and of one length.
            ordered: Whether results come in the order of the items; else as they complete.
            return_exceptions: Whether a failed item's exception is given in its place; else it is raised there.
            ahead: Most items that may be under way; by default what keeps the environment's replicas busy.
            **bound: Inputs that are the same for all items.

        Raises:
            BadArgument: The target cannot be mapped, or has another number of inputs.
            Exception: A failed item's own, with `item N` in a note.
        """
        from greenroom.streaming import Stream, streamed

        return streamed(self._unnamed(), Stream(target, iterables, bound, ahead), ordered, return_exceptions)

    def _unnamed(self) -> Client:
        return self.options(name=None) if self._options.name else self

    def execution(self, id: str) -> Execution:
        """A handle on an execution that exists.

        Args:
            id: Its id, a unique beginning of it, or `last`.

        Raises:
            Refused: The hub knows no such execution.
        """
        shown = self.drive(get(path_to(id)))
        return Execution(self, Submitted(shown["id"], shown.get("url") or "", ()), opener_of(None))

    def rerun(self, id: str, *, failed: bool = False) -> Execution:
        """Run an execution once more, with the program, the inputs and the environment that it had.

        Args:
            id: Its id, a unique beginning of it, or `last`.
            failed: Whether only what failed runs again: failed items of maps, failed nodes, and what depends on them.

        Raises:
            Refused: The hub knows no such execution; or, with `failed`, it has not ended.
        """
        return self._repeat(id, "unfailed" if failed else "nothing")

    def recover(self, id: str) -> Execution:
        """Go on from where an execution failed: every node that succeeded is taken over as it is.

        Raises:
            Refused: The hub knows no such execution, or it has not ended.
        """
        return self._repeat(id, "succeeded")

    def _repeat(self, id: str, reuse: str) -> Execution:
        submitted = self.drive(repeat(id, repeating(self._options, reuse)))
        return Execution(self, submitted, opener_of(None))

    def executions(self, limit: int = 50, state: str = "", before: str = "") -> list[dict[str, Any]]:
        """Summaries of executions, the newest first."""
        return _rows(self.drive(get(listing(limit, state, before))), "executions")

    def replicas(self) -> list[dict[str, Any]]:
        """Environments with their replicas, as `greenroom replicas` shows them."""
        return _rows(self.drive(get("/api/replicas")), "environments")

    def cache(self) -> list[dict[str, Any]]:
        """Entries of the actor cache, as `greenroom cache` shows them."""
        return _rows(self.drive(get("/api/cache")), "entries")

    def cancel(self, id: str, reason: str = "") -> None:
        """Ask for an execution's end."""
        self.drive(cancel(id, reason or "cancelled by the client"))

    # For handles, the command line and notebooks

    @property
    def link(self) -> Link:
        """The way to the hub."""
        shared = self._shared
        if shared.link is None:
            shared.link = Link(shared.hub())
        return shared.link

    def drive(self, operation: Operation[T]) -> T:
        """Carry out an operation of `greenroom.operations`."""
        return self.link.drive(operation)

    def follower(self, id: str, *, after: int = 0, logs: bool = False) -> Follower:
        """A reader of an execution's events."""
        from greenroom.following import Follower

        return Follower(self.link, id, after=after, logs=logs)

    def close(self) -> None:
        """Close the connections; the next request opens them again."""
        self._shared.blobs = None
        if self._shared.link is not None:
            self._shared.link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """A hub, for the coroutines of one loop; as `Client`."""

    def __init__(self, hub: str | None = None, *, say: Callable[[str], None] | None = None) -> None:
        """As `Client`."""
        super().__init__(hub, say=say)
        self._links: list[AsyncLink] = []

    def options(self, **changed: Any) -> AsyncClient:
        """This client, with other options for what it runs; as `Client.options`."""
        twin = AsyncClient.__new__(AsyncClient)
        twin._shared, twin._links = self._shared, self._links
        twin._options = self._options.with_changed(**changed)
        return twin

    async def run(self, entity: Any, /, **inputs: Any) -> AsyncExecution:
        """Run a task, workflow or launch plan on the hub; as `Client.run`."""
        await self._link()
        prepared = self._prepare(entity, inputs)
        known = prepared.digest in self._shared.known
        if not known:
            import asyncio

            await asyncio.to_thread(upload, prepared, self.blobs)
        submitted = await self.drive(submit(prepared.submission, prepared.program, known=known))
        self._shared.remember(prepared.digest)
        return AsyncExecution(self, submitted, prepared.opener)

    def map(
        self,
        target: Any,
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        return_exceptions: bool = False,
        ahead: int | None = None,
        **bound: Any,
    ) -> AsyncIterator[Any]:
        """Call a task for each item of an iterable of any length, and give the results one by one; as `Client.map`."""
        from greenroom.streaming import Stream, streamed_async

        unnamed = self.options(name=None) if self._options.name else self
        return streamed_async(unnamed, Stream(target, iterables, bound, ahead), ordered, return_exceptions)

    async def execution(self, id: str) -> AsyncExecution:
        """A handle on an execution that exists; as `Client.execution`."""
        shown = await self.drive(get(path_to(id)))
        return AsyncExecution(self, Submitted(shown["id"], shown.get("url") or "", ()), opener_of(None))

    async def rerun(self, id: str, *, failed: bool = False) -> AsyncExecution:
        """Run an execution once more; as `Client.rerun`."""
        return await self._repeat(id, "unfailed" if failed else "nothing")

    async def recover(self, id: str) -> AsyncExecution:
        """Go on from where an execution failed; as `Client.recover`."""
        return await self._repeat(id, "succeeded")

    async def _repeat(self, id: str, reuse: str) -> AsyncExecution:
        submitted = await self.drive(repeat(id, repeating(self._options, reuse)))
        return AsyncExecution(self, submitted, opener_of(None))

    async def executions(self, limit: int = 50, state: str = "", before: str = "") -> list[dict[str, Any]]:
        """Summaries of executions, the newest first."""
        return _rows(await self.drive(get(listing(limit, state, before))), "executions")

    async def replicas(self) -> list[dict[str, Any]]:
        """Environments with their replicas, as `greenroom replicas` shows them."""
        return _rows(await self.drive(get("/api/replicas")), "environments")

    async def cache(self) -> list[dict[str, Any]]:
        """Entries of the actor cache, as `greenroom cache` shows them."""
        return _rows(await self.drive(get("/api/cache")), "entries")

    async def cancel(self, id: str, reason: str = "") -> None:
        """Ask for an execution's end."""
        await self.drive(cancel(id, reason or "cancelled by the client"))

    # For handles

    async def _link(self) -> AsyncLink:
        import asyncio

        from greenroom.aio import AsyncLink

        if not self._links:
            hub = await asyncio.to_thread(self._shared.hub)
            if not self._links:
                self._links.append(AsyncLink(hub))
        return self._links[0]

    async def drive(self, operation: Operation[T]) -> T:
        """Carry out an operation of `greenroom.operations`."""
        return await (await self._link()).drive(operation)

    async def apart(self, outputs: Mapping[str, Value] | None, work: Callable[[], T]) -> T:
        """Do work on outputs here, or in a thread where it may read blobs or takes long."""
        from greenroom.opening import is_light

        if all(is_light(value) for value in (outputs or {}).values()):
            return work()
        import asyncio

        return await asyncio.to_thread(work)

    async def follow(self, id: str, *, after: int = 0, logs: bool = False) -> AsyncIterator[Event]:
        """An execution's events."""
        from greenroom.aio import follow

        async for event in follow(await self._link(), id, after=after, logs=logs):
            yield event

    async def close(self) -> None:
        """Close the connections; the next request opens them again."""
        self._shared.blobs = None
        for link in self._links:
            link.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def blobs_of(hub: Hub, link: Link | None = None) -> BlobStore:
    """The store of a hub's blobs, as it is best reached from here; maps' results are read by `link`."""
    from greenroom.opening import manifests_of

    manifests = manifests_of(link or Link(hub))
    if hub.blobs is not None:
        from greenroom.blobs import LocalBlobs

        return LocalBlobs(hub.blobs, manifests=manifests)
    from greenroom.bundling.stats import cache_folder
    from greenroom.remote_blobs import HttpBlobs

    return HttpBlobs(str(hub.endpoint), hub.token, cache_folder() / "blobs", manifests=manifests)


def listing(limit: int, state: str, before: str) -> str:
    from urllib.parse import urlencode

    asked = {"limit": str(limit), "state": state, "before": before}
    return f"/api/executions?{urlencode({name: value for name, value in asked.items() if value})}"


def _rows(answer: Any, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = answer[name]
    return rows


_default: dict[tuple[int, str], Client] = {}


def run(entity: Any, /, **inputs: Any) -> Execution:
    """Run a task, workflow or launch plan on the hub that the environment means; works inside a running loop too.

    Returns:
        A handle: `.result()` waits and gives the outputs or raises the user's error.
    """
    return default_client().run(entity, **inputs)


def default_client() -> Client:
    """This process's client of the hub that the environment means now."""
    key = os.getpid(), os.environ.get("GREENROOM_HUB", "")
    if key not in _default:
        _default[key] = Client()
    return _default[key]
