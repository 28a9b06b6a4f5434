"""The context that programs for Flyte reach for: places for files, what a call may know, the nodes of a graph."""

from __future__ import annotations

import html
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Any

from greenroom.compat.placeholder import NotServed
from greenroom.context import current_context

if TYPE_CHECKING:
    from greenroom.context import Context


class FileAccess:
    """Places for files of a call, below its working directory."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @property
    def local_sandbox_dir(self) -> str:
        """The call's working directory."""
        return self._folder

    raw_output_prefix = local_sandbox_dir

    def get_random_string(self) -> str:
        """A name that nobody has."""
        return uuid.uuid4().hex

    def get_random_local_path(self, file_path_or_file_name: str | os.PathLike[str] | None = None) -> str:
        """A path for a new file, in a folder of its own; with a name, it is called so."""
        folder = os.path.join(self._folder, self.get_random_string())
        if not file_path_or_file_name:
            return folder
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, os.path.basename(os.fspath(file_path_or_file_name)))

    def get_random_local_directory(self) -> str:
        """A new empty folder."""
        folder = os.path.join(self._folder, self.get_random_string())
        os.makedirs(folder)
        return folder

    def get_random_remote_path(self, file_path_or_file_name: str | None = None) -> str:
        """As for a local path: files are uploaded when they are returned as File or Directory."""
        return self.get_random_local_path(file_path_or_file_name)

    def get_random_remote_directory(self) -> str:
        """As for a local folder."""
        return self.get_random_local_directory()

    def put_data(self, local_path: str, remote_path: str, is_multipart: bool = False, **_: Any) -> str:
        """Copy a file or folder to a place that `get_random_remote_path` gave; the value that names it uploads it."""
        self._copy(local_path, remote_path, is_multipart)
        return remote_path

    def get_data(self, remote_path: str, local_path: str, is_multipart: bool = False, **_: Any) -> None:
        """Bring a file or folder to a local path."""
        self._copy(remote_path, local_path, is_multipart)

    def put(self, from_path: str, to_path: str, recursive: bool = False, **_: Any) -> str:
        """As `put_data`."""
        return self.put_data(from_path, to_path, recursive)

    def get(self, from_path: str, to_path: str, recursive: bool = False, **_: Any) -> str:
        """As `get_data`; answers the local path."""
        self.get_data(from_path, to_path, recursive)
        return to_path

    def download(self, remote_path: str, local_path: str, **_: Any) -> None:
        """Bring a file to a local path."""
        self.get_data(remote_path, local_path)

    def download_directory(self, remote_path: str, local_path: str, **_: Any) -> None:
        """Bring a folder to a local path."""
        self.get_data(remote_path, local_path, is_multipart=True)

    def upload(self, file_path: str, to_path: str, **_: Any) -> str:
        """As `put_data`."""
        return self.put_data(file_path, to_path)

    def upload_directory(self, local_path: str, remote_path: str, **_: Any) -> str:
        """As `put_data`, for a folder."""
        return self.put_data(local_path, remote_path, is_multipart=True)

    def put_raw_data(self, lpath: Any, upload_prefix: str | None = None, file_name: str | None = None, **_: Any) -> str:
        """Copy a file, a folder or bytes to a new place; answers where."""
        if hasattr(lpath, "read") or isinstance(lpath, bytes):
            target = self.get_random_local_path(file_name or "data")
            content = lpath.read() if hasattr(lpath, "read") else lpath
            with open(target, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
            return target
        source = os.fspath(lpath)
        target = self.get_random_local_path(file_name or os.path.basename(source.rstrip("/")) or "data")
        self._copy(source, target, os.path.isdir(source))
        return target

    def exists(self, path: str) -> bool:
        """Whether something is at a local path."""
        return os.path.exists(path)

    def join(self, *args: str, **_: Any) -> str:
        """Parts of a path, joined."""
        return os.path.join(*args)

    def brought(self, uri: str) -> str:
        """The local path of what is at an address."""
        if "://" not in uri:
            return uri
        from greenroom.files import File

        return File(uri).download()

    def _copy(self, source: str, target: str, folder: bool) -> None:
        import shutil

        if "://" in target and not target.startswith("file://"):
            raise NotServed("FlyteContext.file_access to another address", f"return File(path, remote_path={target!r})")
        source, target = source.removeprefix("file://"), target.removeprefix("file://")
        if "://" in source:
            from greenroom.directories import Directory
            from greenroom.files import File

            source = Directory(source).download() if folder else File(source).download()
        if os.path.abspath(source) == os.path.abspath(target):
            return
        if folder or os.path.isdir(source):
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
            shutil.copyfile(source, os.path.join(target, os.path.basename(source)) if os.path.isdir(target) else target)

    @staticmethod
    def is_remote(path: str | os.PathLike[str]) -> bool:
        """Whether a path is the address of something elsewhere."""
        return "://" in os.fspath(path) and not os.fspath(path).startswith("file://")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*args: Any, **options: Any) -> Any:
            remedy = "take files as File or Directory inputs, and return them as outputs"
            raise NotServed(f"FlyteContext.file_access.{name}", remedy)

        return refuse


class CompilationState:
    """The nodes of a workflow that is being defined."""

    def __init__(self, prefix: str = "", mode: int = 1, nodes: list[Any] | None = None, **_: Any) -> None:
        self.prefix, self.mode = prefix, mode
        self.nodes = [] if nodes is None else nodes


class ExecutionState:
    """Where, and as what, a call works."""

    class Mode(Enum):
        """As what a call works."""

        TASK_EXECUTION = 1
        LOCAL_WORKFLOW_EXECUTION = 2
        LOCAL_TASK_EXECUTION = 3
        DYNAMIC_TASK_EXECUTION = 4
        EAGER_EXECUTION = 5
        EAGER_LOCAL_EXECUTION = 6
        LOCAL_DYNAMIC_TASK_EXECUTION = 7

    def __init__(self, working_dir: Any = None, mode: Any = None, user_space_params: Any = None, **_: Any) -> None:
        self.working_dir, self.mode, self._params = working_dir, mode, user_space_params

    @property
    def user_space_params(self) -> Any:
        """What the call may know."""
        from greenroom.context import current_context

        return self._params or current_context()

    def with_params(self, working_dir: Any = None, mode: Any = None, user_space_params: Any = None, **_: Any) -> Any:
        """The same with other parts."""
        return ExecutionState(working_dir or self.working_dir, mode or self.mode, user_space_params or self._params)


class FlyteContext:
    """What `FlyteContextManager.current_context()` gives.

    It follows the call by itself; what a program puts into it (`with_serialization_settings` and the like) is told back
    to the program, and changes nothing else.
    """

    def __init__(self, **told: Any) -> None:
        self._told = told

    @property
    def user_space_params(self) -> Context:
        """What the call may know: `greenroom.current_context()`."""
        from greenroom.context import current_context

        state = self._told.get("execution_state")
        return state.user_space_params if state is not None else current_context()

    @property
    def execution_state(self) -> ExecutionState:
        """Where the call works."""
        told = self._told.get("execution_state")
        if told is not None:
            return told  # type: ignore[no-any-return]
        return ExecutionState(self.user_space_params.working_directory)

    @property
    def file_access(self) -> FileAccess:
        """Places for files of the call."""
        told = self._told.get("file_access")
        return told if told is not None else FileAccess(str(self.user_space_params.working_directory))

    @property
    def compilation_state(self) -> CompilationState | None:
        """The nodes of the workflow that is being defined; None while calls run."""
        from greenroom.building import current

        builder = current()
        if builder is not None:
            return CompilationState(nodes=list(builder.drafts))
        return self._told.get("compilation_state")

    @property
    def serialization_settings(self) -> Any:
        """What the program said of itself."""
        return self._told.get("serialization_settings")

    @property
    def level(self) -> int:
        """How many contexts are around this one."""
        return int(self._told.get("level", 0))

    @classmethod
    def current_context(cls) -> FlyteContext:
        """The context that holds now."""
        return FlyteContextManager.current_context()

    def new_builder(self) -> FlyteContext:
        """The same context, to be changed."""
        return self

    def build(self) -> FlyteContext:
        """The context, changed."""
        return self

    def new_execution_state(self, working_dir: Any = None) -> ExecutionState:
        """A state to be changed."""
        return ExecutionState(working_dir or self.user_space_params.working_directory)

    def new_compilation_state(self, prefix: str = "") -> CompilationState:
        """The state of a workflow that is being defined."""
        return CompilationState(prefix)

    def with_serialization_settings(self, ss: Any) -> FlyteContext:
        """The same with settings."""
        return FlyteContext(**{**self._told, "serialization_settings": ss})

    def with_execution_state(self, es: Any) -> FlyteContext:
        """The same with another state."""
        return FlyteContext(**{**self._told, "execution_state": es})

    def with_compilation_state(self, c: Any) -> FlyteContext:
        """The same with another state."""
        return FlyteContext(**{**self._told, "compilation_state": c})

    def with_new_compilation_state(self) -> FlyteContext:
        """The same with the state of a workflow that is being defined."""
        return self.with_compilation_state(self.new_compilation_state())

    def with_file_access(self, fa: Any) -> FlyteContext:
        """The same with other places for files."""
        return FlyteContext(**{**self._told, "file_access": fa})


_contexts: ContextVar[tuple[FlyteContext, ...]] = ContextVar("flyte_contexts", default=())


class FlyteContextManager:
    """Gives contexts: the one that a program entered, else the call's own."""

    @staticmethod
    def current_context() -> FlyteContext:
        """The context that holds now."""
        entered = _contexts.get()
        return entered[-1] if entered else FlyteContext()

    @staticmethod
    @contextmanager
    def with_context(builder: Any = None) -> Iterator[FlyteContext]:
        """Let a context hold meanwhile."""
        context = builder.build() if builder is not None else FlyteContextManager.current_context()
        token = _contexts.set((*_contexts.get(), context))
        try:
            yield context
        finally:
            _contexts.reset(token)

    @staticmethod
    def push_context(ctx: FlyteContext, *_: Any) -> FlyteContext:
        """Let a context hold from now on."""
        _contexts.set((*_contexts.get(), ctx))
        return ctx

    @staticmethod
    def pop_context() -> FlyteContext:
        """Let the context hold again that held before."""
        *rest, last = _contexts.get()
        _contexts.set(tuple(rest))
        return last

    @staticmethod
    def initialize() -> None:
        """Let no context of the program's hold."""
        _contexts.set(())

    @staticmethod
    def size() -> int:
        """How many contexts hold, each around the next."""
        return len(_contexts.get()) + 1


@contextmanager
def new_context() -> Iterator[FlyteContext]:
    """The context that holds now, once more."""
    with FlyteContextManager.with_context(None) as context:
        yield context


class timeit(ContextDecorator):  # noqa: N801  (their name)
    """Log how long a block or a function took."""

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._started = 0.0

    def __enter__(self) -> timeit:
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        from greenroom.compat.flyte import logger

        took = time.perf_counter() - self._started
        logger.info("%s took %.3f s", self._name or "block", took)
        context = current_context()
        if context.enable_deck:
            context.timeline_deck.append(f"<p>{html.escape(self._name or 'block')}: {took:.3f} s</p>")
