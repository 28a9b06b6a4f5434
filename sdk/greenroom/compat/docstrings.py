"""Descriptions of inputs and outputs from docstrings, in the three manners that people write them in."""

from __future__ import annotations

import inspect
import re
from typing import Final, NamedTuple

_FIELD: Final = re.compile(r":param\s+(?:\S+\s+)?(\w+)\s*:\s*(.*)")
_RETURN: Final = re.compile(r":returns?(?:\s+\w+)?\s*:\s*(.*)")
_GOOGLE: Final = re.compile(r"\s+(\w+)\s*(?:\([^)]*\))?\s*:\s*(.+)")
_NUMPY: Final = re.compile(r"(\w[\w, ]*?)\s*(?::.*)?$")


class Described(NamedTuple):
    """What a docstring says of a function's parts."""

    inputs: dict[str, str]
    outputs: str | None


def described(text: str | None) -> Described:
    """Read a docstring."""
    inputs: dict[str, str] = {}
    outputs: str | None = None
    section, named = "", ""
    for line in inspect.cleandoc(text or "").splitlines():
        bare = line.strip()
        head = bare.rstrip(":").lower()
        if found := _FIELD.fullmatch(bare):
            inputs[found[1]] = found[2]
        elif found := _RETURN.fullmatch(bare):
            outputs = found[1]
        elif head in ("args", "arguments", "parameters", "returns", "return") and line == bare:
            section, named = "outputs" if head.startswith("return") else "inputs", ""
        elif not bare or set(bare) == {"-"}:
            continue
        elif section == "inputs" and (found := _GOOGLE.fullmatch(line)) and not named:
            inputs[found[1]] = found[2]
        elif section and line == bare and _NUMPY.fullmatch(bare):
            named = bare.partition(":")[0].strip()  # A name of numpy's manner; what it means is indented below.
        elif section == "inputs" and named:
            inputs.setdefault(named, bare)
        elif section == "outputs" and outputs is None:
            outputs = bare
    return Described(inputs, outputs)
