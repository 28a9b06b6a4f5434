"""The inputs of an entity on the command line, and in files."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from greenroom.cli.exits import Usage
from greenroom.cli.runline import is_option
from greenroom.errors import BadText

if TYPE_CHECKING:
    from greenroom.types import Input, Interface

_TRUTHS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


def read_inputs(name: str, interface: Interface, words: Sequence[str], files: Sequence[str] = ()) -> dict[str, Any]:
    """The inputs as Python values; those that are left out keep their defaults.

    Args:
        name: What the entity is called, for errors.
        interface: Its inputs.
        words: What stands behind ENTITY.
        files: Files of inputs, the later ones first in rank; the command line comes before them.

    Raises:
        Usage: An input is unknown, missing, given twice or ill-typed.
    """
    texts, more = _take_apart(name, interface, words)
    values: dict[str, Any] = {}
    for file in (*files, *more):
        values.update(_from_file(name, interface, file))
    for key, given in texts.items():
        values[key] = _value(interface.inputs[key], given)
    missing = [part for part in interface.inputs.values() if part.required and part.name not in values]
    if missing:
        needed = ", ".join(f"--{part.name} ({part.codec.name})" for part in missing)
        raise Usage(f"{name} needs {needed}")
    return values


def wants_help(words: Sequence[str]) -> bool:
    """Whether help is asked for behind ENTITY."""
    return "--help" in words or "-h" in words


def _take_apart(name: str, interface: Interface, words: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """What was typed for each input, and files of inputs."""
    texts: dict[str, list[Any]] = {}
    files: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if is_option(word) and word[2:].partition("=")[0].replace("-", "_") not in {*interface.inputs, "inputs_file"}:
            raise Usage(f"{word} is an option of run, not an input of {name}: it stands before FILE")
        if not word.startswith("--") or word == "--":
            raise Usage(f"{word!r} is no input: inputs of {name} are given as --NAME VALUE{_known(interface)}")
        typed, sign, text = word[2:].partition("=")
        key = typed.replace("-", "_")
        part = interface.inputs.get(key)
        if part is None and key == "inputs_file":
            files.append(text if sign else _next(word, rest, "FILE"))
        elif part is None and key.startswith("no_") and is_flag(interface.inputs.get(key[3:])) and not sign:
            _add(texts, key[3:], False, word, interface)
        elif part is None:
            raise Usage(_unknown(name, interface, typed))
        elif is_flag(part) and not sign and not (rest and rest[0].lower() in _TRUTHS):
            _add(texts, key, True, word, interface)
        else:
            _add(texts, key, text if sign else _next(word, rest, part.codec.name), word, interface)
    return texts, files


def is_flag(part: Input | None) -> bool:
    """Whether an input is a truth value, which is given as `--name` or `--no-name`."""
    if part is None:
        return False
    return part.annotation is bool or set(typing.get_args(part.annotation)) == {bool, type(None)}


def _next(word: str, rest: list[str], what: str) -> str:
    if not rest:
        raise Usage(f"{word} needs a value: {what}")
    return rest.pop(0)


def _add(texts: dict[str, list[Any]], key: str, value: Any, word: str, interface: Interface) -> None:
    given = texts.setdefault(key, [])
    given.append(value)
    if len(given) > 1 and _item_of(interface.inputs[key]) is None:
        raise Usage(f"{word.partition('=')[0]} is given twice")


def _item_of(part: Input) -> Any:
    """The annotation of a list's items; None for an input that is no list."""
    arguments = typing.get_args(part.annotation)
    return arguments[0] if typing.get_origin(part.annotation) is list and arguments else None


def _value(part: Input, given: list[Any]) -> Any:
    from greenroom.types import parse_text

    option = f"--{part.name}"
    try:
        if len(given) > 1:  # A list, one item at a time.
            return [parse_text(_item_of(part), text, option) for text in given]
        if isinstance(given[0], bool):
            return given[0]
        return parse_text(part.annotation, given[0], option)
    except BadText as fault:
        raise Usage(str(fault)) from fault


def _from_file(name: str, interface: Interface, file: str) -> dict[str, Any]:
    from greenroom.types import parse_json

    values = {}
    for key, item in _read(file).items():
        part = interface.inputs.get(str(key).replace("-", "_"))
        if part is None:
            raise Usage(f"{file}: {_unknown(name, interface, str(key))}")
        try:
            values[part.name] = parse_json(part.annotation, item, f"{file}: {part.name}")
        except BadText as fault:
            raise Usage(str(fault)) from fault
    return values


def _read(file: str) -> Mapping[str, Any]:
    try:
        if file == "-":
            text = sys.stdin.read()
        else:
            with open(file, encoding="utf-8") as opened:
                text = opened.read()
    except (OSError, UnicodeDecodeError) as fault:
        raise Usage(f"--inputs-file {file}: {getattr(fault, 'strerror', None) or fault}") from fault
    data = _yaml(file, text) if file.endswith((".yaml", ".yml")) else _json(file, text)
    if not isinstance(data, Mapping):
        raise Usage(f"--inputs-file {file}: expected an object of inputs, got {type(data).__name__}")
    return data


def _json(file: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise Usage(f"--inputs-file {file}: not JSON: {fault}") from fault


def _yaml(file: str, text: str) -> Any:
    try:
        import yaml
    except ImportError as fault:
        raise Usage(
            f"--inputs-file {file}: reading YAML needs PyYAML (pip install pyyaml); JSON works without"
        ) from fault
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise Usage(f"--inputs-file {file}: not YAML: {fault}") from fault


def _unknown(name: str, interface: Interface, typed: str) -> str:
    close = get_close_matches(typed.replace("-", "_"), interface.inputs, 1)
    return f"{name} has no input {typed!r}{f'; did you mean --{close[0]}?' if close else _known(interface)}"


def _known(interface: Interface) -> str:
    known = ", ".join(f"--{part.name} ({part.codec.name})" for part in interface.inputs.values())
    return f"; it has {known}" if known else "; it takes none"
