"""The context that programs for Flyte reach for: places for files, what a call may know, the nodes of a graph."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from greenroom.compat.placeholder import NotServed

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


class FlyteContext:
    """What `FlyteContextManager.current_context()` gives."""

    @property
    def user_space_params(self) -> Context:
        """What the call may know: `greenroom.current_context()`."""
        from greenroom.context import current_context

        return current_context()

    @property
    def execution_state(self) -> SimpleNamespace:
        """Where the call works."""
        params = self.user_space_params
        return SimpleNamespace(user_space_params=params, working_dir=params.working_directory, mode=None)

    @property
    def file_access(self) -> FileAccess:
        """Places for files of the call."""
        return FileAccess(str(self.user_space_params.working_directory))

    @property
    def compilation_state(self) -> SimpleNamespace | None:
        """The nodes of the workflow that is being defined; None while calls run."""
        from greenroom.building import current

        builder = current()
        return None if builder is None else SimpleNamespace(nodes=list(builder.drafts), prefix="", mode=1)

    @classmethod
    def current_context(cls) -> FlyteContext:
        """The context that holds now."""
        return cls()


class FlyteContextManager:
    """Gives contexts. There is one at a time, and it follows the call by itself."""

    @staticmethod
    def current_context() -> FlyteContext:
        """The context that holds now."""
        return FlyteContext()

    @staticmethod
    @contextmanager
    def with_context(builder: Any = None) -> Iterator[FlyteContext]:
        """The context that holds now: what a builder was told is not needed here."""
        yield FlyteContext()


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

        logger.info("%s took %.3f s", self._name or "block", time.perf_counter() - self._started)
