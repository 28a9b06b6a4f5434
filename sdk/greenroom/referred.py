"""Which tasks, workflows and plans a function may call, as far as its code says: for what a program must bring along.

A dynamic or eager body calls what it likes while it runs, but the secrets that those calls need are looked for where
the program is submitted, and their environments can be made ready before. Seen too much does no harm.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from greenroom.launch_plan import LaunchPlan
from greenroom.mapping import MapTask
from greenroom.task import Task
from greenroom.workflow import WorkflowBase

_ENTITIES: Final = (Task, WorkflowBase, LaunchPlan)


def entities_in(function: Any) -> list[Any]:
    """Everything that can be a node and that a function, or a function of the user's that it calls, refers to."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    queue: list[Any] = [function]
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _ENTITIES):
            found[id(value)] = value
        elif isinstance(value, MapTask):
            queue.append(value.target)
        elif isinstance(value, functools.partial):
            queue.extend((value.func, *value.args, *value.keywords.values()))
        elif isinstance(value, FunctionType):
            queue.extend(_named_in(inspect.unwrap(value)))
    return list(found.values())


def _named_in(function: Any) -> Iterator[Any]:
    """The values of the names that a function's code uses: globals, what modules hold, what it closes over."""
    code = getattr(function, "__code__", None)
    if code is None or _is_installed(code.co_filename):
        return
    names = set(_names(code))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            yield from (vars(value)[inner] for inner in names & vars(value).keys() if _may_call(vars(value)[inner]))
        elif _may_call(value):
            yield value
    for cell in function.__closure__ or ():
        try:
            if _may_call(cell.cell_contents):
                yield cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue


def _may_call(value: object) -> bool:
    return isinstance(value, (*_ENTITIES, MapTask, functools.partial, FunctionType))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_installed(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith("<frozen")
