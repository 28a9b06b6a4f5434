"""What people type and what JSON says, as objects; errors are one sentence that names the option."""

from __future__ import annotations

import json as _json
import os
from typing import Any

from greenroom.errors import BadText, TypeMismatch, ValueProblem
from greenroom.types.registry import codec_for


def parse_text(annotation: Any, text: str, name: str = "value") -> Any:
    """The object that a text on a command line means.

    Numbers, truths (`true`, `no`, ...), texts, times (`2026-03-01T12:00`, `now`), durations (`90s`, `1h30m`), members
    of enums by value or name, and paths as themselves; `null` where None is allowed; all else as JSON, or as the path
    of a `.json` file.

    Args:
        annotation: The type that is expected.
        text: What was typed.
        name: How errors call it: `--n`.

    Raises:
        BadText: `--n: expected int, got 'x'`.
    """
    try:
        return codec_for(annotation).from_text(text)
    except TypeMismatch as fault:
        raise BadText(name + fault.path, fault.expected, fault.given, fault.hint) from None
    except ValueProblem as fault:
        raise BadText(name, codec_for(annotation).name, repr(text), str(fault)) from None


def parse_json(annotation: Any, json: Any, name: str = "value") -> Any:
    """The object that JSON data means: as `parse_text`, with numbers, arrays and objects as JSON has them.

    Args:
        annotation: The type that is expected.
        json: What `json.loads` gave.
        name: How errors call it.

    Raises:
        BadText: `n: expected int, got 'x' (str)`.
    """
    try:
        return codec_for(annotation).from_json(json)
    except TypeMismatch as fault:
        raise BadText(name + fault.path, fault.expected, fault.given, fault.hint) from None
    except ValueProblem as fault:
        raise BadText(name, codec_for(annotation).name, repr(json), str(fault)) from None


def json_of(text: str, expected: str) -> Any:
    """The JSON that was typed, or that the file holds whose path was typed.

    Raises:
        TypeMismatch: It is none.
    """
    if text.endswith((".json", ".yaml", ".yml")) and os.path.isfile(text):
        return _json_in_file(text, expected)
    try:
        return _json.loads(text)
    except ValueError as fault:
        raise TypeMismatch(expected, repr(text), f"write it as JSON: {fault}") from None


def _json_in_file(path: str, expected: str) -> Any:
    with open(path, encoding="utf-8") as file:
        content = file.read()
    if path.endswith(".json"):
        try:
            return _json.loads(content)
        except ValueError as fault:
            raise TypeMismatch(expected, f"the file {path!r}", f"it holds no JSON: {fault}") from None
    try:
        import yaml  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise TypeMismatch(expected, f"the file {path!r}", "reading YAML needs PyYAML: pip install pyyaml") from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as fault:
        raise TypeMismatch(expected, f"the file {path!r}", f"it holds no YAML: {fault}") from None
