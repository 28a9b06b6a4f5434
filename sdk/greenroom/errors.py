"""Errors of the SDK: each keeps its arguments, says both numbers and the remedy, and survives pickling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class GreenroomError(Exception):
    """Base of every error that Greenroom itself raises."""


class GreenroomWarning(UserWarning):
    """Something works, but not as its author may expect."""


# Values -------------------------------------------------------------------------------------------------------------


class ValueProblem(GreenroomError):
    """A value cannot go from one task to another as it is. Base of the errors about values."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.where = ""
        """Whose value it is: `task 'flow.f', input 'n'`; empty where nobody knows."""
        self.path = ""
        """Which part of the value: `[3].name`; empty for the whole."""

    def inside(self, step: str) -> None:
        """Say that the problem lies in a part of a larger value; `step` is written as Python would reach it."""
        self.path = step + self.path

    def of(self, where: str) -> None:
        """Say whose value it is; who said so first knew best."""
        self.where = self.where or where

    @property
    def place(self) -> str:
        """`task 'flow.f', input 'n'[3].name: `, or nothing."""
        if not self.where:
            return f"value{self.path}: " if self.path else ""
        return f"{self.where}{', at ' + self.path if self.path else ''}: "


class TypeMismatch(ValueProblem, TypeError, ValueError, AssertionError):
    """A value is not what its annotation says. Programs of this field catch it as any of its bases."""

    def __init__(self, expected: str, given: str, hint: str = "") -> None:
        super().__init__(expected, given, hint)
        self.expected, self.given, self.hint = expected, given, hint

    def __str__(self) -> str:
        return f"{self.place}expected {self.expected}, got {self.given}{'; ' + self.hint if self.hint else ''}"


class CyclicValue(ValueProblem, ValueError):
    """A value contains itself, so that it has no end when it is written down."""

    def __init__(self, type_name: str, cycle: str) -> None:
        super().__init__(type_name, cycle)
        self.type_name, self.cycle = type_name, cycle

    def __str__(self) -> str:
        return (
            f"{self.place}this {self.type_name} contains itself at {self.cycle}; "
            "break the cycle, or annotate the parameter with a class of your own, which is pickled whole"
        )


class TooDeep(ValueProblem, ValueError):
    """A value is nested more levels deep than the wire carries."""

    def __init__(self, type_name: str, limit: int) -> None:
        super().__init__(type_name, limit)
        self.type_name, self.limit = type_name, limit

    def __str__(self) -> str:
        return (
            f"{self.place}this {self.type_name} is nested deeper than {self.limit} levels; "
            "hold it as a flat list with indexes, or in a file"
        )


class TooLarge(ValueProblem, ValueError):
    """One text, or one string of bytes, is longer than the wire carries."""

    def __init__(self, type_name: str) -> None:
        super().__init__(type_name)
        self.type_name = type_name

    def __str__(self) -> str:
        return f"{self.place}this {self.type_name} is larger than 4 GiB; write it to a file and return a File"


class NotPicklable(ValueProblem, TypeError):
    """A value has no form of its own on the wire and cannot be pickled either."""

    def __init__(self, type_name: str, reason: str) -> None:
        super().__init__(type_name, reason)
        self.type_name, self.reason = type_name, reason

    def __str__(self) -> str:
        return (
            f"{self.place}a {self.type_name} cannot be sent: {self.reason}; return plain data, a dataclass or a file, "
            "or keep it on the replica with @actor_cache"
        )


class NotReadable(ValueProblem, ValueError):
    """A value has arrived, but cannot be turned into an object here."""

    def __init__(self, type_name: str, reason: str) -> None:
        super().__init__(type_name, reason)
        self.type_name, self.reason = type_name, reason

    def __str__(self) -> str:
        return f"{self.place}a {self.type_name} cannot be opened here: {self.reason}"


class AnnotationProblem(GreenroomError, TypeError):
    """An annotation is missing, cannot be resolved, or means nothing that a value could be."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class NoSuchPart(GreenroomError, TypeError):
    """A part of a promised value is asked for that its type does not have."""

    def __init__(self, type_name: str, step: str | int, known: str) -> None:
        super().__init__(type_name, step, known)
        self.type_name, self.step, self.known = type_name, step, known

    def __str__(self) -> str:
        return f"{self.type_name} has no part {self.step!r}: {self.known}"


class BadText(GreenroomError, ValueError):
    """What somebody typed is no value of the type that is expected."""

    def __init__(self, name: str, expected: str, given: str, hint: str = "") -> None:
        super().__init__(name, expected, given, hint)
        self.name, self.expected, self.given, self.hint = name, expected, given, hint

    def __str__(self) -> str:
        given = self.given if len(self.given) <= 80 else self.given[:77] + "..."
        return f"{self.name}: expected {self.expected}, got {given}{'; ' + self.hint if self.hint else ''}"


class MissingPackage(GreenroomError, ImportError):
    """A value needs a package that this interpreter does not have."""

    def __init__(self, purpose: str, package: str) -> None:
        super().__init__(purpose, package)
        self.purpose, self.package = purpose, package

    def __str__(self) -> str:
        return f"{self.purpose} needs {self.package}: pip install {self.package}"


# Files and blobs ----------------------------------------------------------------------------------------------------


class FileProblem(ValueProblem):
    """A file or a folder cannot be sent, fetched or opened. Base of the errors about files."""


class MissingFile(FileProblem, FileNotFoundError):
    """There is nothing at a path that should be sent."""

    def __init__(self, path: str, looked_in: str) -> None:
        super().__init__(path, looked_in)
        self.missing, self.looked_in = path, looked_in

    def __str__(self) -> str:
        looked = "" if self.missing.startswith("/") else f" in {self.looked_in}"
        return f"{self.place}no such file: {self.missing!r}{looked}"


class UnsafePath(FileProblem, ValueError):
    """A path would lead out of the folder that it belongs to."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.unsafe, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.place}{self.unsafe!r} is not a path inside a folder: {self.reason}"


class TransferFailed(FileProblem, OSError):
    """A file at a foreign address could not be read or written."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(uri, reason)
        self.uri, self.reason = uri, reason

    def __str__(self) -> str:
        return f"{self.place}{self.uri}: {self.reason}"


class BlobMissing(FileProblem, FileNotFoundError):
    """A blob is not, or not any more, in the store."""

    def __init__(self, sha256: str, store: str) -> None:
        super().__init__(sha256, store)
        self.sha256, self.store = sha256, store

    def __str__(self) -> str:
        return f"{self.place}blob {self.sha256[:12]} is not in {self.store}; run again what made it"


class CheckpointRefused(GreenroomError):
    """A checkpoint cannot be read or kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the checkpoint of this call: {self.reason}"


class BlobDamaged(FileProblem, ValueError):
    """A blob's bytes are not those that its name promises."""

    def __init__(self, sha256: str, found: str, store: str) -> None:
        super().__init__(sha256, found, store)
        self.sha256, self.found, self.store = sha256, found, store

    def __str__(self) -> str:
        return (
            f"{self.place}blob {self.sha256[:12]} in {self.store} holds other bytes ({self.found[:12]}); "
            "it was removed: run again what made it"
        )


# Running ------------------------------------------------------------------------------------------------------------


class Recoverable(GreenroomError):
    """Raise it (or a subclass) in a task to ask for a retry, whatever the task's `Retry(on=)` says."""


class NonRecoverable(GreenroomError):
    """Raise it (or a subclass) in a task to fail at once, whatever retries are left."""


class EagerException(GreenroomError):
    """A call that an `@eager` task made has failed; the class raised is also the class of the call's own error."""


class NotApproved(GreenroomError, AssertionError):
    """Somebody said no at a gate."""

    def __init__(self, gate: str) -> None:
        super().__init__(gate)
        self.gate = gate

    def __str__(self) -> str:
        return f"gate {self.gate!r} was not approved"


class GateUnanswered(GreenroomError, ValueError):
    """A gate waits for somebody, and nobody can be asked here."""

    def __init__(self, gate: str) -> None:
        super().__init__(gate)
        self.gate = gate

    def __str__(self) -> str:
        return (
            f"gate {self.gate!r} waits for an answer and there is no terminal to ask at; "
            f"in a test, wrap the run in greenroom.testing.gate_answers({self.gate}=...)"
        )


class CallTimedOut(GreenroomError, TimeoutError):
    """A call took longer than its task allows."""

    def __init__(self, task: str, seconds: float) -> None:
        super().__init__(task, seconds)
        self.task, self.seconds = task, seconds

    def __str__(self) -> str:
        return f"{self.task} took longer than its timeout of {self.seconds:g} s"


class CallExited(GreenroomError):
    """A task left its process by `sys.exit` before it had returned its outputs."""

    def __init__(self, task: str, code: object) -> None:
        super().__init__(task, code)
        self.task, self.code = task, code

    def __str__(self) -> str:
        return f"{self.task} called sys.exit({self.code!r}); return instead, or raise an error that says why"


class WorkflowFailed(GreenroomError, ValueError, AssertionError):
    """A workflow failed for a reason that is no exception of the user's code."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(node, message)
        self.node, self.message = node, message

    def __str__(self) -> str:
        return f"{self.message} (node {self.node})" if self.node else self.message


class SecretMissing(GreenroomError, ValueError):
    """A task asks for a secret that is nowhere to be found."""

    def __init__(self, secret: str, places: Sequence[str]) -> None:
        super().__init__(secret, places)
        self.secret, self.places = secret, places

    def __str__(self) -> str:
        return f"secret {self.secret} was not found; set one of {', '.join(self.places)}"


class ReferenceUnresolved(GreenroomError, NotImplementedError):
    """A reference to something registered elsewhere should run here."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what, name)
        self.what, self.name = what, name

    def __str__(self) -> str:
        return (
            f"{self.what} {self.name!r} stands for something registered on a hub and cannot run in this process; "
            f"in a test, replace it by greenroom.testing.task_mock"
        )
