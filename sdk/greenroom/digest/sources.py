"""A module's text, parsed piece by piece: only the definitions that a digest needs are ever parsed.

A file of 500 definitions takes 50 ms to parse and one definition takes 0.2, so the text is cut at lines that start a
top-level statement, by a regular expression, and each piece is parsed when asked for. The cut is a guess (text inside
a docstring may look like a statement): a piece that does not parse grows until it does, and what still does not fit
makes the whole file be parsed.
"""

from __future__ import annotations

import ast
import linecache
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Final

from greenroom.digest.reading import Unrecorded

_START: Final = re.compile(r"^(?!(?:else|elif|except|finally)\b)[^\s#)\]}]", re.MULTILINE)
_DEFINES: Final = re.compile(r"(?:async\s+)?(?:def|class)\s+(\w+)")
_GROWTH: Final = 12
"""Pieces that one piece may swallow before the whole file is parsed instead."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Source:
    """The text of one module, and its statements by line and by name."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self._starts, self._names = _cut(text)
        self._lines = _line_numbers(text, self._starts)
        self._pieces: dict[int, tuple[list[ast.stmt], int] | None] = {}
        self._whole: ast.Module | None = None
        self._broken = False

    def whole(self) -> ast.Module | None:
        """The whole file, parsed; None where it does not parse."""
        if self._whole is None and not self._broken:
            try:
                self._whole = ast.parse(self.text, self.file)
            except (SyntaxError, ValueError, RecursionError):
                self._broken = True
        return self._whole

    def definition(self, code: CodeType) -> list[ast.AST]:
        """The nodes that a code object was made from: one, or every lambda of its line; none if no text fits."""
        path = [part for part in code.co_qualname.split(".") if part != "<locals>"]
        for statement in self._covering(code.co_firstlineno):
            found = _nodes_at(statement, code, path)
            if found:
                return found
        tree = self.whole()
        if tree is None:
            return []
        return [node for statement in tree.body for node in _nodes_at(statement, code, path)]

    def class_nodes(self, qualname: str, lines: set[int]) -> list[ast.AST]:
        """The class definitions of that name; of several, those that hold the given lines of its methods."""
        path = [part for part in qualname.split(".") if part != "<locals>"]
        found: list[ast.AST] = []
        for statement in self.binding(path[0]):
            found.extend(
                node for node, where in _definitions(statement) if where == path and isinstance(node, ast.ClassDef)
            )
        exact = [node for node in found if any(_covers(node, line) for line in lines)]
        return exact or found

    def binding(self, name: str) -> list[ast.AST]:
        """The module-level statements that give a name its value or change it, with the tests that guard them."""
        found: list[ast.AST] = []
        for statement in self._mentioning(name):
            found.extend(_bindings(statement, name))
        return found

    def line_of(self, name: str) -> int:
        """The line where the module first binds a name; 0 where it does not."""
        match = re.search(rf"^(?:(?:async\s+)?(?:def|class)\s+)?{re.escape(name)}\b", self.text, re.MULTILINE)
        return self.text.count("\n", 0, match.start()) + 1 if match else 0

    def _covering(self, line: int) -> Iterator[ast.stmt]:
        """The top-level statements that may hold a line, nearest first."""
        at = bisect_right(self._lines, line) - 1
        for index in range(at, max(-1, at - _GROWTH), -1):
            piece = self._piece(index)
            if piece is None:
                continue
            for statement in piece[0]:
                if _covers(statement, line):
                    yield statement

    def _mentioning(self, name: str) -> Iterator[ast.stmt]:
        """The top-level statements whose text has a name in it, save definitions of other names."""
        seen: set[int] = set()
        for at in _occurrences(self.text, name):
            index = bisect_right(self._starts, at) - 1
            if index < 0 or index in seen:
                continue
            seen.add(index)
            if self._names[index] not in (None, name):
                continue
            piece = self._piece(index)
            if piece is None:
                tree = self.whole()
                yield from tree.body if tree is not None else ()
                return
            yield from piece[0]

    def _piece(self, index: int) -> tuple[list[ast.stmt], int] | None:
        """The statements of one piece, grown until it parses, and where the next begins; None where it never does."""
        if index in self._pieces:
            return self._pieces[index]
        found = None
        for end in range(index + 1, min(index + _GROWTH, len(self._starts)) + 1):
            stop = self._starts[end] if end < len(self._starts) else len(self.text)
            try:
                tree = ast.parse("\n" * (self._lines[index] - 1) + self.text[self._starts[index] : stop], self.file)
            except (SyntaxError, ValueError, RecursionError):
                continue
            found = (tree.body, end)
            break
        self._pieces[index] = found
        return found


def _occurrences(text: str, name: str) -> Iterator[int]:
    """Where a name stands as a word. A regular expression would take five times as long."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        if not (text[at - 1 : at].isidentifier() or text[end : end + 1].isalnum() or text[end : end + 1] == "_"):
            yield at
        at = text.find(name, end)


def _cut(text: str) -> tuple[list[int], list[str | None]]:
    """Where top-level statements begin, and the name that each defines, if it is a `def` or a `class`."""
    starts: list[int] = []
    names: list[str | None] = []
    decorated = False
    for match in _START.finditer(text):
        at = match.start()
        if not decorated:
            starts.append(at)
            names.append(None)
        decorated = text[at] == "@"
        defines = _DEFINES.match(text, at)
        if defines is not None:
            names[-1] = defines.group(1)
    return starts, names


def _line_numbers(text: str, starts: list[int]) -> list[int]:
    lines, line, last = [], 1, 0
    for start in starts:
        line += text.count("\n", last, start)
        last = start
        lines.append(line)
    return lines


def _first_line(node: ast.AST) -> int:
    decorators = getattr(node, "decorator_list", None)
    return decorators[0].lineno if decorators else getattr(node, "lineno", 0)


def _covers(node: ast.AST, line: int) -> bool:
    return _first_line(node) <= line <= (getattr(node, "end_lineno", None) or 0)


def _nodes_at(statement: ast.AST, code: CodeType, path: list[str]) -> list[ast.AST]:
    """The nodes in a statement that a code object may come from."""
    line = code.co_firstlineno
    if not _covers(statement, line):
        return []
    if code.co_name == "<lambda>":
        found = [node for node in ast.walk(statement) if isinstance(node, ast.Lambda) and node.lineno == line]
        return _by_column(found, code) if len(found) > 1 else list(found)
    return [
        node
        for node, where in _definitions(statement)
        if where == path and _first_line(node) == line and not isinstance(node, ast.ClassDef)
    ]


def _by_column(found: list[ast.Lambda], code: CodeType) -> list[ast.AST]:
    """Of several lambdas that start on one line, the one that the code's columns are in; all, where it has none."""
    spans = [(line, column, end, last) for line, end, column, last in code.co_positions() if line and column and last]
    if not spans:
        return list(found)
    first, last = min(span[:2] for span in spans), max(span[2:] for span in spans)
    fitting = [
        node
        for node in found
        if (node.body.lineno, node.body.col_offset) <= first
        and last <= (node.body.end_lineno or 0, node.body.end_col_offset or 0)
    ]
    # A lambda inside another's body: the innermost that holds all of the code.
    fitting.sort(key=lambda node: (node.lineno, node.col_offset))
    return [fitting[-1]] if fitting else list(found)


def _definitions(statement: ast.AST, outer: tuple[str, ...] = ()) -> Iterator[tuple[Definition, list[str]]]:
    """Every function and class in a statement, with its path; expressions are not entered."""
    if isinstance(statement, _DEFINITIONS):
        outer = (*outer, statement.name)
        yield statement, list(outer)
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(statement, field, None)
        if isinstance(inner, list):
            for child in inner:
                yield from _definitions(child, outer)


def _bindings(statement: ast.AST, name: str) -> Iterator[ast.AST]:
    """The innermost statements that bind or change a name at module level, each with the headers that lead to it."""
    if isinstance(statement, _DEFINITIONS):
        if statement.name == name:
            yield statement
        return
    inner = [
        node
        for field in ("body", "orelse", "finalbody", "handlers", "cases")
        for child in (getattr(statement, field, None) or ())
        for node in _bindings(child, name)
    ]
    header = [
        getattr(statement, field)
        for field in ("test", "iter", "target", "subject", "pattern")
        if isinstance(getattr(statement, field, None), ast.AST)
    ]
    header += [
        part for item in getattr(statement, "items", ()) for part in (item.context_expr, item.optional_vars) if part
    ]
    if hasattr(statement, "body"):
        if inner or any(_stores(node, name) for node in header):
            yield from header
            yield from inner
    elif _stores(statement, name):
        yield statement


def _stores(node: ast.AST, name: str) -> bool:
    """Whether a simple statement or expression binds a name, or changes what it holds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((alias.asname or alias.name.partition(".")[0]) == name for alias in node.names)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == name and not isinstance(part.ctx, ast.Load):
            return True
        if (
            isinstance(part, ast.Subscript | ast.Attribute)
            and not isinstance(part.ctx, ast.Load)
            and _root(part) == name
        ):
            return True
        if isinstance(node, ast.Expr) and isinstance(part, ast.Call) and _root(part.func) == name:
            return not isinstance(part.func, ast.Name)
    return False


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


MAX_SOURCES: Final = 2048
"""Texts that are kept."""

_SOURCES: Final[dict[str, tuple[object, Source]]] = {}
"""By file: what it was read from, a stamp or the lines themselves, and the source."""


def source_of(file: str | None, since: int | None = None) -> Source | None:
    """The text behind a file name; None where there is none.

    What `linecache` was given for good comes first: that is how notebooks, consoles and bundles, whose files need not
    lie where their authors have them, say what runs. Then the disk.

    Args:
        file: As in a code object or a module.
        since: Nanoseconds of the wall clock; a file that was written later is not what runs, and counts as absent.
    """
    if not file:
        return None
    given = linecache.cache.get(file)
    if given is not None and len(given) == 4 and given[1] is None:
        return _from_memory(file, given[2])
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return _from_memory(file, linecache.getlines(file))
    if since is not None and status.st_mtime_ns > since:
        return None
    stamp = (status.st_mtime_ns, status.st_size)
    kept = _SOURCES.get(file)
    if kept is not None and kept[0] == stamp:
        return kept[1]
    text = _read(file)
    if text is None:
        return None
    source = Source(file, text)
    _keep(file, stamp, source)
    return source


def _from_memory(file: str, lines: Iterable[str]) -> Source | None:
    kept = _SOURCES.get(file)
    if kept is not None and kept[0] is lines:
        return kept[1]
    with Unrecorded():
        text = "".join(lines)
    if not text:
        return None
    if kept is None or kept[1].text != text:
        kept = (lines, Source(file, text))
    _keep(file, lines, kept[1])
    return kept[1]


def _keep(file: str, origin: object, source: Source) -> None:
    if len(_SOURCES) >= MAX_SOURCES:
        _SOURCES.clear()
    _SOURCES[file] = (origin, source)


def _read(file: str) -> str | None:
    from importlib.util import decode_source

    if not file.endswith(".py"):
        return None
    try:
        with Unrecorded(), open(file, "rb") as stream:
            return decode_source(stream.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
