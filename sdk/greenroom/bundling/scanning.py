"""Read a text's imports. Apart from `imports`, since most starts find all texts unchanged and need no parser."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

from greenroom.bundling.imports import Imports

_DYNAMIC = frozenset(
    {
        "__import__",
        "exec_module",
        "import_module",
        "iter_modules",
        "module_from_spec",
        "run_module",
        "run_path",
        "spec_from_file_location",
        "walk_packages",
    }
)
_DYNAMIC_OF = frozenset(
    {("sys", "modules"), ("importlib", "reload"), ("util", "find_spec"), ("pkgutil", "resolve_name")}
)
_DYNAMIC_BUILTINS = frozenset({"__import__", "eval", "exec"})  # As names only: `model.eval()` imports nothing.

_PATHLIKE = re.compile(r"[\w.\-+ ]+(?:/[\w.\-+ ]+)*", re.ASCII)


def scan(tree: ast.AST) -> Imports:
    """Read the imports of a parsed text: all of them, also those in functions and behind conditions."""
    statements: dict[tuple[int, str, tuple[str, ...]], None] = {}
    strings: dict[str, None] = {}
    dynamic = False
    for node in ast.walk(tree):
        kind = type(node)
        if kind is ast.Import:
            for alias in node.names:  # type: ignore[attr-defined]
                statements[(0, alias.name, ())] = None
        elif kind is ast.ImportFrom:
            assert isinstance(node, ast.ImportFrom)
            statements[(node.level, node.module or "", tuple(alias.name for alias in node.names))] = None
            dynamic = dynamic or any(_is_dynamic(node.module or "", alias.name) for alias in node.names)
        elif kind is ast.Attribute:
            assert isinstance(node, ast.Attribute)
            dynamic = dynamic or _is_dynamic(_last_name(node.value), node.attr)
        elif kind is ast.Name:
            dynamic = dynamic or node.id in _DYNAMIC_BUILTINS  # type: ignore[attr-defined]
        elif kind in (ast.Constant, ast.BinOp, ast.Call):
            for text in _texts(node):
                strings[text] = None
    return Imports(tuple(statements), dynamic, tuple(strings))


def _is_dynamic(owner: str, name: str) -> bool:
    return name in _DYNAMIC or (owner.rpartition(".")[2], name) in _DYNAMIC_OF


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def scan_source(source: bytes, filename: str = "<source>") -> Imports:
    """Read the imports of a text; what cannot be parsed imports nothing (running it will say why)."""
    try:
        return scan(ast.parse(source, filename))
    except (SyntaxError, ValueError, RecursionError):
        return Imports((), False, ())


def _texts(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Constant):
        text = _text(node)
        if 2 < len(text) < 200 and ("." in text or "/" in text) and _PATHLIKE.fullmatch(text):
            yield text
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts: list[str] = []  # HERE / "data" / "x.json"
        at: ast.AST = node
        while isinstance(at, ast.BinOp) and (text := _text(at.right)):
            parts.append(text)
            at = at.left
        if parts and _PATHLIKE.fullmatch(text := "/".join(reversed(parts))):
            yield text
    elif isinstance(node, ast.Call):
        texts = [text for arg in node.args if (text := _text(arg))]
        if len(texts) > 1 or len(node.args) == 1:  # os.path.join(HERE, "data", "x.json"), open("LICENSE")
            text = "/".join(texts)
            if _PATHLIKE.fullmatch(text):
                yield text


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
