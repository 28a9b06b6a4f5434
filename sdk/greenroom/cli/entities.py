"""What a file holds that can be run: found, listed, explained."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from greenroom.cli.exits import Usage
from greenroom.cli.words import table

if TYPE_CHECKING:
    from greenroom.types import Interface

_KINDS: Final = ("workflow", "task", "launch plan")


class Entity(NamedTuple):
    """Something that can be run."""

    name: str
    """As it is typed on the command line."""
    kind: str
    """`workflow`, `task` or `launch plan`."""
    object: Any
    own: bool
    """Whether the file defines it, rather than imports it."""

    @property
    def interface(self) -> Interface:
        """Its inputs and outputs."""
        interface: Interface = self.object.interface
        return interface

    @property
    def docs(self) -> str:
        """Its docstring, without its indentation."""
        function = getattr(getattr(self.object, "workflow", self.object), "function", None)
        return inspect.cleandoc(getattr(function, "__doc__", None) or "")


def find_file(text: str) -> str:
    """The Python file that FILE means: a path, or the name of a module.

    Raises:
        Usage: There is none.
    """
    if os.path.isfile(text):
        if text.endswith((".ipynb", ".json", ".yaml", ".yml", ".toml")):
            raise Usage(
                f"{text} is no Python file; a notebook's cells run with greenroom.run(...) in the notebook itself"
            )
        return text
    if os.path.isdir(text):
        raise Usage(f"{text} is a folder; expected a Python file, or the name of a module")
    if "/" not in text and not text.endswith(".py"):
        found = _module_file(text)
        if found is not None:
            return found
    folder = os.path.dirname(text) or "."
    names = [name for name in os.listdir(folder) if name.endswith(".py")] if os.path.isdir(folder) else []
    close = get_close_matches(os.path.basename(text), names, 1)
    hint = f"; did you mean {os.path.join(os.path.dirname(text), close[0])}?" if close else ""
    raise Usage(f"no such file: {text} (in {os.getcwd()}){hint}")


def _module_file(name: str) -> str | None:
    from importlib.util import find_spec

    sys.path.insert(0, os.getcwd())
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    finally:
        sys.path.remove(os.getcwd())
    return spec.origin if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def open_file(file: str) -> ModuleType:
    """Import the file here, as replicas do. The seam where a warm process may do it instead of this one."""
    from greenroom.bundling.program import open_program

    return open_program(Path(file))


def entities_in(module: ModuleType) -> list[Entity]:
    """All that can be run in a module, in the order of their definitions."""
    found = []
    for name, value in vars(module).items():
        kind = kind_of(value)
        if kind is not None and not name.startswith("_"):
            found.append(Entity(name, kind, value, _is_own(value, module)))
    return found


def kind_of(value: Any) -> str | None:
    """What an object is to who runs it; None for what is no entity. By type: an attribute proves nothing."""
    from greenroom.launch_plan import LaunchPlan
    from greenroom.task import Task
    from greenroom.workflow import WorkflowBase

    if isinstance(value, WorkflowBase):
        return "workflow"
    if isinstance(value, LaunchPlan):
        return "launch plan"
    return "task" if isinstance(value, Task) else None


def _is_own(value: Any, module: ModuleType) -> bool:
    from greenroom.launch_plan import LaunchPlan

    if isinstance(value, LaunchPlan):
        return True
    function = getattr(value, "function", value)
    return getattr(function, "__module__", None) == module.__name__


def choose(entities: list[Entity], name: str | None, file: str) -> Entity:
    """The entity that is meant; without a name, the only workflow (or else the only task) of the file.

    Raises:
        Usage: There is none of that name, or several could be meant.
    """
    if name is not None:
        return _named(entities, name, file)
    own = [entity for entity in entities if entity.own]
    for kind in _KINDS[:2]:
        candidates = [entity for entity in own if entity.kind == kind]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            names = ", ".join(entity.name for entity in candidates)
            raise Usage(f"{file} has several {kind}s: {names}; say which: greenroom run {file} {candidates[0].name}")
    raise Usage(f"{file} defines no workflow and no task; decorate a function with @workflow or @task")


def _named(entities: list[Entity], name: str, file: str) -> Entity:
    for entity in entities:
        if name in (entity.name, getattr(entity.object, "name", None)):
            return entity
    names = [entity.name for entity in entities]
    close = get_close_matches(name, names, 1)
    has = f"; it has {', '.join(names)}" if names else "; it defines none"
    raise Usage(f"no workflow or task {name!r} in {file}{f'; did you mean {close[0]}?' if close else has}")


# Help ---------------------------------------------------------------------------------------------------------------


def file_help(entities: list[Entity], file: str) -> list[str]:
    """What `greenroom run FILE --help` prints: what can be run, and how."""
    lines = [f"usage: greenroom run {file} ENTITY [INPUTS]", ""]
    shown = [entity for entity in entities if entity.own] or entities
    for kind in _KINDS:
        rows = [[f"  {entity.name}", signature(entity), _first_line(entity)] for entity in shown if entity.kind == kind]
        if rows:
            lines += [f"{kind}s", *table(["", "", ""], rows)[1:], ""]
    if not shown:
        lines += [f"{file} defines no workflow and no task", ""]
    return [*lines, f"greenroom run {file} ENTITY --help tells inputs, types and defaults"]


def signature(entity: Entity) -> str:
    """`(n: int = 1000) -> dict[str, int]`."""
    inputs = [
        f"{part.name}: {part.codec.name}{'' if part.required else ' = ' + shown_default(part.default)}"
        for part in entity.interface.inputs.values()
    ]
    outputs = [part.codec.name for part in entity.interface.outputs.values()]
    gives = f" -> {outputs[0] if len(outputs) == 1 else '(' + ', '.join(outputs) + ')'}" if outputs else ""
    return f"({', '.join(inputs)}){gives}"


def _first_line(entity: Entity) -> str:
    return entity.docs.split("\n", 1)[0]


def shown_default(value: Any, limit: int = 60) -> str:
    """A default, as it would be typed; long ones are cut."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"  # Somebody's __repr__ is no reason to show no help.
    return text if len(text) <= limit else text[: limit - 3] + "..."


def entity_help(entity: Entity, file: str) -> list[str]:
    """What `greenroom run FILE ENTITY --help` prints: inputs, types, defaults, outputs."""
    lines = [f"usage: greenroom run {file} {entity.name} [INPUTS]", ""]
    if entity.docs:
        lines += [*entity.docs.split("\n"), ""]
    inputs = list(_input_rows(entity.interface))
    if inputs:
        lines += ["inputs", *table(["", "", ""], inputs)[1:], ""]
    else:
        lines += ["no inputs", ""]
    outputs = [[f"  {part.name}", part.codec.name] for part in entity.interface.outputs.values()]
    lines += ["outputs", *table(["", ""], outputs)[1:]] if outputs else ["no outputs"]
    return lines


def _input_rows(interface: Interface) -> Iterator[list[str]]:
    from greenroom.cli.inputs import is_flag

    for part in interface.inputs.values():
        name = f"--{part.name}/--no-{part.name}" if is_flag(part) else f"--{part.name}"
        yield [f"  {name}", part.codec.name, "needed" if part.required else f"default {shown_default(part.default)}"]
