"""Errors of programs, seen where the program is defined: what is wrong, on which line, what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.errors import GreenroomError
from greenroom.lines import caller

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


class DefinitionError(GreenroomError):
    """A program is not what it must be, and that can be seen where it is defined. Base of the errors about programs.

    Some are also of the built-in class (or classes) that programs of this field catch in that place.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.line = caller()
        """`file:line` of the user's code that is meant: the line that is being run, unless somebody knows better."""

    def at(self, line: str) -> Self:
        """Say which line of the user's code is meant."""
        self.line = line or self.line
        return self

    @property
    def place(self) -> str:
        """`flow.py:12: `, or nothing."""
        return f"{self.line}: " if self.line else ""


class BadArgument(DefinitionError, ValueError, TypeError):
    """A parameter has a value that it does not take."""

    def __init__(self, who: str, name: str, given: object, expected: str) -> None:
        super().__init__(who, name, given, expected)
        self.who, self.name, self.given, self.expected = who, name, given, expected

    def __str__(self) -> str:
        return f"{self.place}{self.who}: {self.name} takes {self.expected}, got {self.given!r}"


class BadAmount(DefinitionError, ValueError, TypeError):
    """An amount (a size, a time, a count) is none, or out of bounds."""

    def __init__(self, what: str, given: object, expected: str) -> None:
        super().__init__(what, given, expected)
        self.what, self.given, self.expected = what, given, expected

    def __str__(self) -> str:
        return f"{self.place}{self.what} takes {self.expected}, got {self.given!r}"


class TaskArgumentRefused(DefinitionError, TypeError, ValueError):
    """A task's decorator got an argument that it does not take."""

    def __init__(self, who: str, name: str, remedy: str) -> None:
        super().__init__(who, name, remedy)
        self.who, self.name, self.remedy = who, name, remedy

    def __str__(self) -> str:
        return f"{self.place}{self.who} does not take {self.name}=; {self.remedy}"


class MissingReturn(DefinitionError, TypeError, AssertionError):
    """A function promises an output and returns nothing."""

    def __init__(self, function: str, annotation: str) -> None:
        super().__init__(function, annotation)
        self.function, self.annotation = function, annotation

    def __str__(self) -> str:
        return (
            f"{self.place}{self.function} is annotated to return {self.annotation}, but its body has no return with a "
            "value; add one, or annotate it with -> None"
        )


class MissingArgument(DefinitionError, TypeError, AssertionError):
    """A task or workflow is called without an input that has no default."""

    def __init__(self, function: str, missing: Sequence[str]) -> None:
        super().__init__(function, missing)
        self.function, self.missing = function, missing

    def __str__(self) -> str:
        names = " and ".join(repr(name) for name in self.missing)
        many = "argument" if len(self.missing) == 1 else "arguments"
        return f"{self.place}{self.function}() missing {len(self.missing)} required positional {many}: {names}"


class UnknownArgument(DefinitionError, TypeError, AssertionError, ValueError):
    """A task or workflow is called with an input that it does not have."""

    def __init__(self, function: str, name: str, known: Sequence[str]) -> None:
        super().__init__(function, name, known)
        self.function, self.name, self.known = function, name, known

    def __str__(self) -> str:
        takes = ", ".join(self.known) or "no inputs"
        return f"{self.place}{self.function}() got an unexpected keyword argument {self.name!r}; it takes {takes}"


class TooManyArguments(DefinitionError, TypeError, AssertionError):
    """A task or workflow is called with more positional arguments than it has inputs."""

    def __init__(self, function: str, given: int, known: Sequence[str]) -> None:
        super().__init__(function, given, known)
        self.function, self.given, self.known = function, given, known

    def __str__(self) -> str:
        takes = ", ".join(self.known) or "no inputs"
        return f"{self.place}{self.function}() takes {len(self.known)} inputs ({takes}), got {self.given} by position"


class PromiseMisuse(DefinitionError, TypeError, ValueError):
    """A promise is used as if its value were there already."""

    def __init__(self, promise: str, use: str, remedy: str) -> None:
        super().__init__(promise, use, remedy)
        self.promise, self.use, self.remedy = promise, use, remedy

    def __str__(self) -> str:
        return (
            f"{self.place}{self.promise} is a promise, whose value is not known while the workflow is defined: "
            f"{self.use}; {self.remedy}"
        )


class NotAwaited(DefinitionError, TypeError):
    """The call of an async task is used as its value before it was awaited."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return f"{self.place}the call of {self.task} may still run, since it is async: write await {self.task}(...)"


class WrongOutputs(DefinitionError, TypeError, AssertionError, ValueError):
    """A workflow, a branch or a dynamic task returns something else than it is annotated to."""

    def __init__(self, who: str, expected: str, given: str) -> None:
        super().__init__(who, expected, given)
        self.who, self.expected, self.given = who, expected, given

    def __str__(self) -> str:
        return f"{self.place}{self.who} must return {self.expected}, got {self.given}"


class WrongPlace(DefinitionError, AssertionError, ValueError):
    """Something that is part of a workflow is used outside of one, or the other way round."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return f"{self.place}{self.what}; {self.remedy}"


class CycleFound(DefinitionError, ValueError, AssertionError):
    """Nodes of a workflow wait for each other."""

    def __init__(self, workflow: str, nodes: Sequence[str]) -> None:
        super().__init__(workflow, nodes)
        self.workflow, self.nodes = workflow, nodes

    def __str__(self) -> str:
        way = " waits for ".join([*self.nodes, self.nodes[0]])
        return f"{self.place}in {self.workflow}, {way}; take one of these dependencies (>>) away"


class TwoDefinitions(DefinitionError, ValueError):
    """Two different tasks, or plans, of one name meet in one graph."""

    def __init__(self, what: str, name: str, lines: Sequence[str]) -> None:
        super().__init__(what, name, lines)
        self.what, self.name, self.lines = what, name, lines

    def __str__(self) -> str:
        places = " and ".join(line for line in self.lines if line)
        return f"{self.place}two different {self.what} are called {self.name!r} in one graph ({places}); rename one"


class PlanExists(DefinitionError, AssertionError):
    """A launch plan of this name exists with other properties."""

    def __init__(self, name: str, workflow: str, differs: str) -> None:
        super().__init__(name, workflow, differs)
        self.name, self.workflow, self.differs = name, workflow, differs

    def __str__(self) -> str:
        return (
            f"{self.place}a launch plan {self.name!r} of {self.workflow} exists with another {self.differs}; "
            "give this one a name of its own"
        )
