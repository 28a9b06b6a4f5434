"""From an exception to a failure that can always be shown: the user's frames, the user's paths, no frame of ours."""

from __future__ import annotations

import os
import resource
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final

from greenroom_core.failure import MAX_PICKLE, Cause, Failure
from greenroom_replica.core.redact import SHORTEST

_HERE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES: Final = ("greenroom", "greenroom_core", "greenroom_protocol", "greenroom_replica", "greenroom_hub")
_MACHINERY: Final = ("<frozen importlib.", "<frozen runpy", "<frozen zipimport")


def _our_folders() -> tuple[str, ...]:
    import greenroom
    import greenroom_core
    import greenroom_protocol

    packages = (greenroom, greenroom_core, greenroom_protocol)
    folders = [os.path.dirname(os.path.abspath(package.__file__ or "")) for package in packages]
    return (*(folder + os.sep for folder in folders), os.path.join(_HERE, "greenroom_replica") + os.sep)


class Paths:
    """Where the user's files lie here, and what the user calls them.

    Args:
        folders: The user's own path for each folder of a bundle on this replica.
        secrets: Values that no text may show.
    """

    def __init__(self, folders: Mapping[str, str] | None = None, secrets: Sequence[str] = ()) -> None:
        self._folders = sorted((folders or {}).items(), key=lambda pair: -len(pair[0]))
        self._secrets = sorted((secret for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
        self._ours = _our_folders()

    def is_ours(self, filename: str) -> bool:
        """Whether a frame belongs to Greenroom or to the import machinery, and says nothing to the user."""
        return filename.startswith((*self._ours, *_MACHINERY))

    def is_library(self, filename: str) -> bool:
        """Whether a frame belongs to something that was installed, not written by the user."""
        return "site-packages" in filename or filename.startswith((_STDLIB, "<frozen "))

    def users(self, filename: str) -> str:
        """The user's own path of a file."""
        for here, there in self._folders:
            if filename.startswith(here + os.sep):
                return os.path.join(there, filename[len(here) + 1 :])
        return filename

    def clean(self, text: str) -> str:
        """`text` with the user's paths, and without secrets."""
        for here, there in self._folders:
            text = text.replace(here, there)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


_STDLIB: Final = os.path.dirname(os.path.abspath(traceback.__file__)) + os.sep


def describe(error: BaseException, cause: Cause, paths: Paths) -> Failure:
    """Everything about an exception that travels. Never raises, whatever the exception's own methods do."""
    told, where = _traceback(error, paths)
    return Failure(
        cause=cause,
        type=type(error).__qualname__,
        message=paths.clean(_message(error)),
        traceback=paths.clean(told),
        where=paths.clean(where),
        pickle=_pickle(error),
        recoverable=_recoverable(error),
        details={"bases": [base.__name__ for base in type(error).__mro__[1:-1]]},
    )


def cause_of(error: BaseException) -> Cause:
    """What an exception of the user's code counts as."""
    from greenroom.errors import Recoverable

    if isinstance(error, Recoverable):
        return Cause.RECOVERABLE
    return Cause.MEMORY if isinstance(error, MemoryError) else Cause.USER


def _recoverable(error: BaseException) -> bool | None:
    from greenroom.errors import NonRecoverable

    return False if isinstance(error, NonRecoverable) else None


def _message(error: BaseException) -> str:
    try:
        told = str(error)
    except BaseException as inner:
        return f"<its __str__ raised {type(inner).__name__}>"
    return _refused_memory(told) if isinstance(error, MemoryError) else told


def _refused_memory(told: str) -> str:
    """The words of a `MemoryError`, which by itself says little."""
    bound = resource.getrlimit(resource.RLIMIT_DATA)[0]
    most = f"this process may map {bound >> 20} MiB, by the memory limit of its replica" if bound > 0 else ""
    said = ": ".join(part for part in ("out of memory", told, most) if part)
    return f"{said}; ask for more with limits=Resources(mem=...), or do less at a time"


def _pickle(error: BaseException) -> bytes | None:
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(error)
    except BaseException:
        return None
    return pickled if len(pickled) <= MAX_PICKLE else None


def _traceback(error: BaseException, paths: Paths) -> tuple[str, str]:
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        where = _trim(report, paths)
        return "".join(report.format()).rstrip("\n"), where
    except BaseException as inner:  # A `__str__` or a source file that cannot be read must not cost the failure.
        return f"{type(error).__name__} (its traceback cannot be shown: {type(inner).__name__})", ""


def _trim(report: traceback.TracebackException, paths: Paths, depth: int = 0) -> str:
    """Drop our frames from a report and what it was caused by; returns `file:line` of the user's innermost frame."""
    where = _trim_stack(report.stack, paths)
    if depth < 50:
        for cause in (report.__cause__, report.__context__):
            if cause is not None:
                _trim(cause, paths, depth + 1)
        for inner in getattr(report, "exceptions", None) or ():
            _trim(inner, paths, depth + 1)
    return where


def _trim_stack(stack: traceback.StackSummary, paths: Paths) -> str:
    kept = [frame for frame in stack if not paths.is_ours(frame.filename)]
    where = ""
    for frame in kept:
        frame.line  # noqa: B018  # Read now, by the name that the source is known under here.
        is_users = not paths.is_library(frame.filename)
        frame.filename = paths.users(frame.filename)
        if is_users or not where:
            where = f"{frame.filename}:{frame.lineno}"
    stack[:] = kept
    return where


def where_now(trace: TracebackType | None, paths: Paths) -> str:
    """`file:line` of the user's innermost frame of a traceback; empty if it has none."""
    return _trim_stack(traceback.extract_tb(trace), paths) if trace is not None else ""


def frames_of_dump(dump: str, paths: Paths) -> tuple[str, str]:
    """The user's part of what `faulthandler` wrote: a traceback as Python prints it, and its innermost place.

    Args:
        dump: One or more threads' stacks, most recent call first.
        paths: Which frames are whose.
    """
    frames = []
    for line in _current_thread(dump):
        filename, number, name = _dump_line(line)
        if os.path.basename(filename).startswith("runner_"):
            break  # Below this lie the runner, and the supervisor that it was forked from.
        if filename and not paths.is_ours(filename):
            frames.append((paths.users(filename), number, name, paths.is_library(filename)))
    if not frames:
        return "", ""
    lines = [f'  File "{filename}", line {number}, in {name}' for filename, number, name, _ in reversed(frames)]
    inner = next((frame for frame in frames if not frame[3]), frames[0])
    text = "\n".join(["Traceback (most recent call last):", *lines])
    return paths.clean(text), f"{inner[0]}:{inner[1]}"


def _current_thread(dump: str) -> list[str]:
    lines = dump.splitlines()
    starts = [index for index, line in enumerate(lines) if "most recent call first" in line]
    chosen = next((index for index in starts if lines[index].startswith("Current thread")), None)
    if chosen is None:
        chosen = starts[-1] if starts else None
    if chosen is None:
        return []
    found = []
    for line in lines[chosen + 1 :]:
        if not line.startswith("  File "):
            break
        found.append(line)
    return found


def _dump_line(line: str) -> tuple[str, int, str]:
    """Read `  File "x.py", line 3 in f`."""
    head, _, rest = line.partition('", line ')
    number, _, name = rest.partition(" in ")
    return (head[8:], int(number), name) if number.isdigit() else ("", 0, "")
