"""`current_context()`: what user code may know about where it runs, and how it is told to stop.

A context variable holds it, so that coroutines which share a process each see their own. Outside of calls (at import,
in a plain script) there is one too, of an execution named `local`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, Protocol

from greenroom.secrets import FOLDER, Secret, files, find, places

if TYPE_CHECKING:
    import datetime
    import logging

    from greenroom.checkpoints import Checkpoint, Keeper
    from greenroom.scopes import Dispatcher


class CallCancelled(BaseException):
    """Raised in the main thread of a call that was cancelled or timed out and did not stop by itself.

    Not an `Exception`, so that `except Exception` lets it pass; `finally` blocks run.
    """

    def __init__(self, reason: str = "cancelled") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class ExecutionId(NamedTuple):
    """Which execution a call belongs to."""

    project: str
    domain: str
    name: str
    """The execution's id; `local` outside of a hub."""


class TaskId(NamedTuple):
    """Which task runs."""

    project: str
    domain: str
    name: str
    """`module.function`."""
    version: str


class ReplicaPlace:
    """Where in its pool a replica stands."""

    __slots__ = ("environment", "id", "index")

    def __init__(self, index: int, environment: str, id: str) -> None:
        self.index = index
        """0 to n-1, stable while the replica lives; 0 outside of a replica."""
        self.environment = environment
        self.id = id

    def port(self, name: str) -> int:
        """A free TCP port of this host for the server called `name`: the same at each call on this replica."""
        key = (self.environment, self.index, name)
        if key not in _ports:
            _ports[key] = _free_port("/".join(map(str, key)))
        return _ports[key]


_ports: Final[dict[tuple[str, int, str], int]] = {}
_FIRST_PORT, _PORTS = 20_000, 10_000  # Below the range from which systems give out ports for connections.


def _free_port(name: str) -> int:
    import hashlib
    import socket

    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for offset in range(_PORTS):
        port = _FIRST_PORT + (start + offset) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_FIRST_PORT} and {_FIRST_PORT + _PORTS - 1} for {name!r}")


class CallPort(Protocol):
    """What a call's surroundings do for its context. `call` is the key that the context was made with."""

    def cancelled(self, call: int) -> bool:
        """Whether the call shall stop; asking says that it stops by itself when it shall."""
        ...

    def folder(self) -> str:
        """A new folder for the call's files, gone when it ends."""
        ...

    def keeper(self, context: Context) -> Keeper:
        """Where the call's checkpoint is kept."""
        ...

    def dispatcher(self, call: int) -> Dispatcher:
        """Who runs the calls that this call makes."""
        ...

    def waiting(self, call: int) -> contextlib.AbstractContextManager[None]:
        """Around a wait for calls that this call has made: another runner may take the replica's next call."""
        ...


class Surroundings(NamedTuple):
    """What the calls of one node have in common."""

    execution: ExecutionId
    node: str
    task: TaskId
    replica: ReplicaPlace
    labels: Mapping[str, str]
    port: CallPort
    raw_output_prefix: str = ""


class Secrets:
    """`current_context().secrets`: values that programs must not carry."""

    def get(
        self,
        group: str | None = None,
        key: str | None = None,
        group_version: str | None = None,
        encode_mode: str = "r",
    ) -> Any:
        """A secret's value: text, or bytes with `encode_mode="rb"`.

        Raises:
            ValueError: It is nowhere; the text says where was looked, and what to write.
        """
        secret = Secret(group, key, group_version)
        value = find(secret)
        if value is None:
            raise MissingSecret(group, key, group_version)
        return value.encode() if "b" in encode_mode else value

    def get_secrets_env_var(
        self, group: str | None = None, key: str | None = None, group_version: str | None = None
    ) -> str:
        """The environment variable that a secret stands in, or would."""
        secret = Secret(group, key, group_version)
        names = list(places(secret))
        return next((name for name in names if name in os.environ), names[0])

    def get_secrets_file(
        self, group: str | None = None, key: str | None = None, group_version: str | None = None
    ) -> str:
        """The path of a secret that lies as a file, or would."""
        paths = list(files(Secret(group, key, group_version), FOLDER))
        return next((path for path in paths if os.path.exists(path)), paths[0])

    def __getattr__(self, group: str) -> _SecretGroup:
        if group.startswith("__"):
            raise AttributeError(group)
        return _SecretGroup(self, group)


class _SecretGroup:
    """`secrets.group`: its attributes are the values of its keys."""

    def __init__(self, secrets: Secrets, group: str) -> None:
        self._secrets, self._group = secrets, group

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return self._secrets.get(self._group, key)


class MissingSecret(ValueError):
    """A secret that a task reads is not there."""

    def __init__(self, group: str | None, key: str | None, version: str | None) -> None:
        super().__init__(group, key, version)
        self.group, self.key, self.version = group, key, version

    def __str__(self) -> str:
        secret = Secret(self.group, self.key, self.version)
        arguments = ", ".join(
            f"{name}={value!r}"
            for name, value in (("group", self.group), ("key", self.key), ("group_version", self.version))
            if value is not None
        )
        looked = ", ".join([*places(secret), *files(secret)])
        return (
            f"no secret {arguments}: please make sure to add secret_requests=[Secret({arguments})] in @task, "
            f"and that it is set where the program is submitted; looked at {looked}"
        )


class _NoStats:
    """Metrics that nobody collects: programs that report some run on."""

    def incr(self, *_: Any, **__: Any) -> None: ...

    def decr(self, *_: Any, **__: Any) -> None: ...

    def timing(self, *_: Any, **__: Any) -> None: ...

    def gauge(self, *_: Any, **__: Any) -> None: ...

    @contextlib.contextmanager
    def timer(self, *_: Any, **__: Any) -> Iterator[None]:
        yield


class Context:
    """What a call may know about itself. `current_context()` gives it."""

    __slots__ = (
        "_artifacts",
        "_checkpoint",
        "_decks",
        "_folder",
        "_key",
        "_surroundings",
        "attempt",
        "enable_deck",
        "item",
    )

    attempt: int
    """The attempt's number, from 1."""
    item: int
    """Which item of a map this is; 0 outside of maps."""
    enable_deck: bool

    def __init__(self, surroundings: Surroundings, item: int = 0, attempt: int = 1, key: int = 0) -> None:
        self._surroundings = surroundings
        self.item = item
        self.attempt = attempt
        self._key = key
        self._folder: str | None = None
        self._checkpoint: Checkpoint | None = None
        self._decks: list[Any] | None = None
        self._artifacts: dict[str, dict[str, str]] | None = None
        self.enable_deck = False

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        known = ", ".join(sorted(attribute for attribute in dir(type(self)) if not attribute.startswith("_")))
        raise UnknownAttribute(name, known)

    def __repr__(self) -> str:
        where = self._surroundings
        return f"<Context of {where.task.name} in {where.execution.name}/{where.node}/{self.item}>"

    @property
    def execution_id(self) -> ExecutionId:
        """Which execution this is: `.project`, `.domain`, `.name`."""
        return self._surroundings.execution

    @property
    def task_id(self) -> TaskId:
        """Which task this is."""
        return self._surroundings.task

    @property
    def node(self) -> str:
        """Which node of the execution this is."""
        return self._surroundings.node

    @property
    def replica(self) -> ReplicaPlace:
        """Where the call runs: `.index`, `.port(name)`."""
        return self._surroundings.replica

    def port(self, name: str) -> int:
        """The replica's TCP port for the server called `name`."""
        return self._surroundings.replica.port(name)

    @property
    def labels(self) -> Mapping[str, str]:
        """The execution's labels."""
        return self._surroundings.labels

    @property
    def cancelled(self) -> bool:
        """Whether this call shall stop. Who reads it gets time to stop by itself before it is interrupted."""
        return self._surroundings.port.cancelled(self._key)

    @property
    def execution_date(self) -> datetime.datetime:
        """Now, in UTC."""
        import datetime

        return datetime.datetime.now(datetime.UTC)

    @property
    def working_directory(self) -> str:
        """A folder of this call's own, empty at first, gone when the call has ended."""
        if self._folder is None:
            self._folder = self._surroundings.port.folder()
        return self._folder

    @property
    def raw_output_prefix(self) -> str:
        """Where files go that are returned; empty where the hub decides."""
        return self._surroundings.raw_output_prefix

    @property
    def output_metadata_prefix(self) -> str:
        """The same as `raw_output_prefix`."""
        return self._surroundings.raw_output_prefix

    @property
    def secrets(self) -> Secrets:
        """Secrets: `.get(group, key)`."""
        return _secrets

    @property
    def logging(self) -> logging.Logger:
        """A logger whose records go to the call's stderr, from INFO on."""
        return _logger()

    @property
    def stats(self) -> Any:
        """Metrics that nobody collects."""
        return _stats

    @property
    def checkpoint(self) -> Checkpoint:
        """Bytes that the next attempt of this call may read: `.read()`, `.write(b)`, `.exists()`, `.restore(path)`."""
        if self._checkpoint is None:
            from greenroom.checkpoints import Checkpoint

            self._checkpoint = Checkpoint(self._surroundings.port.keeper(self))
        return self._checkpoint

    @property
    def decks(self) -> list[Any]:
        """Reports of this call."""
        if self._decks is None:
            self._decks = []
        return self._decks

    def dispatcher(self) -> Dispatcher:
        """Who runs the calls that this call makes as an async task."""
        return self._surroundings.port.dispatcher(self._key)

    @property
    def artifacts(self) -> dict[str, dict[str, str]]:
        """Partitions of the artifacts that this call makes, by their names; `Artifact.create_from` fills it."""
        if self._artifacts is None:
            self._artifacts = {}
        return self._artifacts

    @property
    def default_deck(self) -> Any:
        """A tab of this call's report."""
        return self._deck("default")

    @property
    def timeline_deck(self) -> Any:
        """The tab of this call's report that times go to."""
        return self._deck("Timeline")

    def _deck(self, name: str) -> Any:
        from greenroom.deck import Deck

        found = next((deck for deck in self.decks if deck.name == name), None)
        if found is None:
            found = Deck(name, auto_add_to_deck=False)
            self.decks.append(found)
        return found

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Around a wait for calls that this call has made."""
        return self._surroundings.port.waiting(self._key)

    def close(self) -> None:
        """The call has ended: its folder goes."""
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class UnknownAttribute(AssertionError):
    """Something is read from the context that it does not have."""

    def __init__(self, name: str, known: str) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        return f"the context has no {self.name!r}; it has {self.known}"


class LocalPort:
    """Surroundings of code that no replica runs.

    Args:
        kept: Checkpoints of a run's calls.
    """

    def __init__(self, kept: dict[tuple[str, int], bytes] | None = None) -> None:
        self._kept = {} if kept is None else kept

    def keeper(self, context: Context) -> Keeper:
        """Where the call's checkpoint is kept: in this process."""
        from greenroom.checkpoints import HereKeeper

        return HereKeeper(self._kept, context.node, context.item)

    def cancelled(self, call: int) -> bool:
        """Never: Ctrl-C is how one stops a script."""
        return False

    def folder(self) -> str:
        """A folder that is there until the process ends."""
        import atexit
        import shutil
        import tempfile

        folder = tempfile.mkdtemp(prefix="greenroom-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def dispatcher(self, call: int) -> Dispatcher:
        """This process."""
        from greenroom.attempts import HereDispatcher

        return HereDispatcher()

    def waiting(self, call: int) -> contextlib.AbstractContextManager[None]:
        """Nothing waits for this process."""
        return contextlib.nullcontext()


def local(task: str = "", node: str = "", execution: str = "local") -> Context:
    """A context for code that runs in this process, not on a replica."""
    where = ExecutionId("local", "local", execution)
    replica = ReplicaPlace(0, "local", "local")
    return Context(Surroundings(where, node, TaskId("local", "local", task, "local"), replica, {}, LocalPort()))


_secrets: Final = Secrets()
_stats: Final = _NoStats()
_current: Final[ContextVar[Context | None]] = ContextVar("greenroom_context", default=None)
_outside: Context | None = None


def current_context() -> Context:
    """The context of the call that runs, or of this process where none does."""
    context = _current.get()
    return context if context is not None else _context_outside()


def in_call() -> bool:
    """Whether a call runs here, on a replica or in this process."""
    return _current.get() is not None


def _context_outside() -> Context:
    global _outside
    if _outside is None:
        _outside = local()
    return _outside


set_current: Final = _current.set
"""Make a context the current one of this `contextvars.Context`, for good: what a runner does, in its hottest loop."""


def enter(context: Context) -> Token[Context | None]:
    """Make `context` the current one; the token undoes it."""
    return _current.set(context)


def leave(token: Token[Context | None]) -> None:
    """Undo `enter`."""
    _current.reset(token)


@contextlib.contextmanager
def entered(context: Context) -> Iterator[Context]:
    """`context` is the current one inside the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def _logger() -> logging.Logger:
    import logging

    logger = logging.getLogger("greenroom.task")
    if not logger.handlers:
        handler = logging._StderrHandler(logging.NOTSET)  # type: ignore[attr-defined]  # Finds sys.stderr at each record.
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger
