"""What one definition says and what it refers to, read from its syntax tree.

The text is canonical: no line numbers, comments, docstrings or formatting, no type hints of functions, no decorators
of ours. Two texts that a formatter makes of each other are one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from opcode import opmap
from types import CodeType
from typing import Any, Final, NamedTuple

Chain = tuple[str, ...]
"""A name and the attributes after it: `helpers.nets.build` is `("helpers", "nets", "build")`."""

MUTATORS: Final = frozenset(
    {"add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert"}
    | {"intersection_update", "move_to_end", "pop", "popitem", "popleft", "put", "put_nowait", "remove", "reverse"}
    | {"rotate", "setdefault", "sort", "subtract", "symmetric_difference_update", "update", "write"}
)
"""Methods that change what they are called on."""

_REFLECTION: Final = frozenset({"eval", "exec", "globals", "vars", "compile", "locals"})
_IMPORTERS: Final = frozenset({"import_module", "__import__"})


class Imported(NamedTuple):
    """An import inside a function: it may run at any time, so it is resolved from text, never from what is loaded."""

    module: str
    level: int
    name: str | None
    """What is taken from the module; None for the module itself, `*` for all of it."""
    bound: str
    """The local name that it gets."""


@dataclass(slots=True)
class Facts:
    """What one definition says."""

    text: str = ""
    """Digest of the canonical text."""
    names: set[str] = field(default_factory=set)
    """Names that are looked up outside of the definition."""
    chains: set[Chain] = field(default_factory=set)
    """Those names with the attributes that are taken from them; a chain of one name uses the object itself."""
    mutated: set[Chain] = field(default_factory=set)
    """Chains whose object is changed in place."""
    rebound: set[str] = field(default_factory=set)
    """Names that are assigned through `global` or `nonlocal`."""
    stored: set[str] = field(default_factory=set)
    """Attributes that are set on anything, outside of initialisers."""
    imports: list[Imported] = field(default_factory=list)
    dynamic: set[Chain] = field(default_factory=set)
    """Objects that are searched by a name computed at run time; the empty chain is the module itself."""
    anything: bool = False
    """Whether modules are imported by a name computed at run time."""
    subclasses: bool = False
    """Whether it asks a class for its subclasses."""


def facts_of(nodes: Iterable[ast.AST], ours: Callable[[Chain], bool], code: CodeType | None = None) -> Facts:
    """Read definitions.

    Args:
        nodes: The nodes of one definition, or all that may be it.
        ours: Says whether a decorator is one of Greenroom's own, which are not part of what a function does.
        code: The function's own code, where it runs; else the nodes are compiled to learn which names are global.
    """
    reader = _Reader(ours)
    for node in nodes:
        reader.read(node)
    facts = reader.facts
    facts.text = blake2b("\x1f".join(reader.out).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    if code is not None:
        looked_up: set[str] | None = {*code.co_freevars, *global_names(code), *reader.headers}
    else:
        looked_up = _names_of_nodes(nodes)
    if looked_up is not None:
        facts.names &= looked_up
    outside = facts.names | reader.imported
    facts.chains = {chain for chain in facts.chains if chain[0] in outside}
    facts.mutated = {chain for chain in facts.mutated if chain[0] in outside}
    # What is searched and is no global may be anything of the module's.
    facts.dynamic = {chain if chain and chain[0] in outside else () for chain in facts.dynamic}
    return facts


_LOADS: Final = {
    opmap[name]: shift
    for name, shift in (
        ("LOAD_GLOBAL", 1),  # The lowest bit says whether a NULL is pushed beside it.
        ("LOAD_NAME", 0),
        ("LOAD_FROM_DICT_OR_GLOBALS", 0),
    )
    if name in opmap
}
_EXTENDED: Final = opmap["EXTENDED_ARG"]


def global_names(code: CodeType) -> Iterator[str]:
    """Names that a code object, and those inside it, look up outside: globals and builtins."""
    raw, extended = code.co_code, 0
    for index in range(0, len(raw), 2):
        op, argument = raw[index], raw[index + 1] | extended
        extended = argument << 8 if op == _EXTENDED else 0
        shift = _LOADS.get(op)
        if shift is not None:
            yield code.co_names[argument >> shift]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


def _names_of_nodes(nodes: Iterable[ast.AST]) -> set[str] | None:
    """The names that nodes look up outside, by compiling them; None, for all of them, where they do not stand alone."""
    found: set[str] = set()
    for node in nodes:
        try:
            if isinstance(node, ast.stmt):
                code = compile(ast.Module([node], []), "<definition>", "exec", dont_inherit=True)
            elif isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None), ast.Load | None):
                code = compile(ast.Expression(node), "<definition>", "eval", dont_inherit=True)
            else:
                return None
        except (SyntaxError, ValueError, TypeError):  # A `nonlocal` whose function is not here.
            return None
        found.update(global_names(code))
    return found


class _Reader:
    """Writes the canonical text of nodes, and notes what they refer to."""

    def __init__(self, ours: Callable[[Chain], bool]) -> None:
        self.out: list[str] = []
        self.facts = Facts()
        self.ours = ours
        self.headers: set[str] = set()
        """Names in decorators and defaults, which a function's own code does not look up."""
        self.imported: set[str] = set()
        self._declared: set[str] = set()
        self._initialiser = self._in_class = False
        self._depth = 0

    def read(self, node: Any) -> None:
        special = _SPECIAL.get(type(node))
        if special is not None:
            special(self, node)
        elif isinstance(node, ast.AST):
            self.out.append(type(node).__name__)
            for name in node._fields:
                self.read(getattr(node, name, None))
        elif isinstance(node, list):
            self.out.append(f"[{len(node)}")
            for item in node:
                self.read(item)
        else:
            self.out.append(repr(node))

    def body(self, statements: list[ast.stmt], *, hints: bool = False) -> None:
        """Write a block, without docstrings and other strings that nobody reads."""
        for statement in statements:
            if isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str):
                continue
            if isinstance(statement, ast.AnnAssign) and not hints:
                if statement.value is not None:
                    self.out.append("Assign")
                    self.read(statement.target)
                    self.read(statement.value)
                continue
            self.read(statement)
        self.out.append("end")

    def decorators(self, node: Any) -> bool:
        """Write the decorators that are not ours; say whether there was one that may read type hints."""
        foreign = False
        for decorator in node.decorator_list:
            chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
            if chain and self.ours(chain):
                continue
            foreign = foreign or chain not in _PLAIN_DECORATORS
            self.out.append("@")
            self.header(decorator)
        return foreign

    def header(self, node: ast.AST | None) -> None:
        """Write an expression that runs when the definition is made."""
        if node is None:
            self.out.append("None")
            return
        before = set(self.facts.names)
        self.facts.names.clear()
        self.read(node)
        if not self._depth:
            self.headers |= self.facts.names
        self.facts.names |= before

    def arguments(self, node: ast.arguments, *, hints: bool) -> None:
        self.out.append("(")
        for group in (node.posonlyargs, node.args, [node.vararg], node.kwonlyargs, [node.kwarg]):
            self.out.append("/")
            for argument in group:
                if argument is not None:
                    self.out.append(argument.arg)
                    if hints:
                        self.header(argument.annotation)
        for default in (*node.defaults, *node.kw_defaults):
            self.header(default)
        self.out.append(")")


_PLAIN_DECORATORS: Final = frozenset(
    {("staticmethod",), ("classmethod",), ("property",), ("functools", "wraps"), ("wraps",)}
)


def chain_of(node: ast.AST) -> Chain:
    """`a.b.c` as its parts; empty where it does not start with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


def _root_chain(node: ast.AST) -> Chain:
    """The chain at the root of `a.b[0].c["k"]`: what a change through it changes."""
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
        if isinstance(node, ast.Attribute) and chain_of(node):
            return chain_of(node)
        node = node.value
    return chain_of(node)


def _read_constant(reader: _Reader, node: ast.Constant) -> None:
    reader.out.append(f"{type(node.value).__name__} {node.value!r}")


def _read_name(reader: _Reader, node: ast.Name) -> None:
    reader.out.append("=" + node.id)
    if isinstance(node.ctx, ast.Load):
        reader.facts.names.add(node.id)
        reader.facts.chains.add((node.id,))
    elif node.id in reader._declared:
        reader.facts.rebound.add(node.id)


def _read_attribute(reader: _Reader, node: ast.Attribute) -> None:
    reader.out.append("." + node.attr)
    if node.attr == "__subclasses__":
        reader.facts.subclasses = True
    chain = chain_of(node)
    if not isinstance(node.ctx, ast.Load):
        if not reader._initialiser:
            reader.facts.stored.add(node.attr)
        if chain:
            reader.facts.mutated.add(chain[:-1])
    if chain:
        reader.out.append(".".join(chain))
        reader.facts.names.add(chain[0])
        reader.facts.chains.add(chain)
        if chain[:2] == ("sys", "modules"):
            reader.facts.anything = True
    else:
        reader.read(node.value)


def _read_subscript(reader: _Reader, node: ast.Subscript) -> None:
    reader.out.append("Subscript")
    if not isinstance(node.ctx, ast.Load) and (chain := _root_chain(node.value)):
        reader.facts.mutated.add(chain)
    reader.read(node.value)
    reader.read(node.slice)


def _read_augmented(reader: _Reader, node: ast.AugAssign) -> None:
    reader.out.append("AugAssign" + type(node.op).__name__)
    reader.read(node.target)
    if isinstance(node.target, ast.Name):
        reader.facts.names.add(node.target.id)
        reader.facts.mutated.add((node.target.id,))
    reader.read(node.value)


def _read_call(reader: _Reader, node: ast.Call) -> None:
    chain = chain_of(node.func)
    last = chain[-1] if chain else getattr(node.func, "attr", "")
    if last in MUTATORS and isinstance(node.func, ast.Attribute) and (root := _root_chain(node.func.value)):
        reader.facts.mutated.add(root)
    arguments = node.args
    if chain and last in _IMPORTERS:
        _read_import_call(reader, node)
    elif chain == ("getattr",) and len(node.args) > 1:
        arguments = _read_getattr(reader, node)
    elif chain in (("setattr",), ("delattr",)) and node.args and (root := _root_chain(node.args[0])):
        reader.facts.mutated.add(root)
    elif len(chain) == 1 and chain[0] in _REFLECTION:
        reader.facts.dynamic.add(chain_of(node.args[0]) if chain == ("vars",) and node.args else ())
    reader.out.append("Call")
    reader.read(node.func)
    reader.read(arguments)
    reader.read(node.keywords)


def _read_import_call(reader: _Reader, node: ast.Call) -> None:
    name = node.args[0] if node.args else None
    if isinstance(name, ast.Constant) and isinstance(name.value, str) and not name.value.startswith("."):
        reader.facts.imports.append(Imported(name.value, 0, "*", ""))
    else:
        reader.facts.anything = True


def _read_getattr(reader: _Reader, node: ast.Call) -> list[ast.expr]:
    """Note what it reads, and give the arguments that are left: `getattr(module, "name")` is `module.name`."""
    name, chain = node.args[1], chain_of(node.args[0])
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        if chain:
            reader.facts.names.add(chain[0])
            reader.facts.chains.add((*chain, name.value))
            reader.out.append(".".join((*chain, name.value)))
            return node.args[2:]
    elif not (reader._in_class and chain in (("self",), ("cls",))):  # Its own class is read whole anyway.
        reader.facts.dynamic.add(chain)
    return node.args


def _read_function(reader: _Reader, node: Any) -> None:
    reader.out.append(f"{type(node).__name__} {node.name}")
    hints = reader.decorators(node)
    reader.arguments(node.args, hints=hints)
    if hints:
        reader.header(node.returns)
    outer, reader._initialiser = reader._initialiser, node.name in _INITIALISERS
    reader._depth += 1
    declared = set(reader._declared)
    reader.body(node.body)
    reader._initialiser, reader._declared = outer, declared
    reader._depth -= 1


_INITIALISERS: Final = frozenset(
    {"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__setstate__"}
)


def _read_lambda(reader: _Reader, node: ast.Lambda) -> None:
    reader.out.append("Lambda")
    reader.arguments(node.args, hints=False)
    reader._depth += 1
    reader.read(node.body)
    reader._depth -= 1


def _read_class(reader: _Reader, node: ast.ClassDef) -> None:
    reader.out.append(f"ClassDef {node.name}")
    reader.decorators(node)
    reader.read(node.bases)
    reader.read(node.keywords)
    outer, reader._in_class = reader._in_class, True
    reader.body(node.body, hints=True)
    reader._in_class = outer


def _read_delete(reader: _Reader, node: ast.Delete) -> None:
    reader.out.append("Delete")
    for target in node.targets:
        # `del (a, b)` is what `del a, b` is: formatters take the parentheses off.
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            reader.read(one)


def _read_import(reader: _Reader, node: ast.Import) -> None:
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        reader.out.append(f"import {alias.name} {bound}")
        reader.imported.add(bound)
        reader.facts.imports.append(Imported(alias.name, 0, None, bound if alias.asname else alias.name))


def _read_import_from(reader: _Reader, node: ast.ImportFrom) -> None:
    for alias in node.names:
        bound = alias.asname or alias.name
        reader.out.append(f"from {'.' * node.level}{node.module or ''} import {alias.name} {bound}")
        reader.imported.add(bound)
        reader.facts.imports.append(Imported(node.module or "", node.level, alias.name, bound))


def _read_declaration(reader: _Reader, node: ast.Global | ast.Nonlocal) -> None:
    """Python has it that a name is declared before it is used."""
    reader.out.append(f"{type(node).__name__} {' '.join(sorted(node.names))}")
    reader._declared.update(node.names)


def _read_block(reader: _Reader, node: Any) -> None:
    """A statement with blocks: its fields in order, the blocks without strings and hints."""
    reader.out.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if name in ("body", "orelse", "finalbody"):
            reader.out.append(name)
            reader.body(value or [])
        elif name != "type_comment":
            reader.read(value)


_SPECIAL: Final[dict[type, Callable[[_Reader, Any], None]]] = {
    ast.Constant: _read_constant,
    ast.Name: _read_name,
    ast.Attribute: _read_attribute,
    ast.Subscript: _read_subscript,
    ast.AugAssign: _read_augmented,
    ast.Call: _read_call,
    ast.FunctionDef: _read_function,
    ast.AsyncFunctionDef: _read_function,
    ast.Lambda: _read_lambda,
    ast.ClassDef: _read_class,
    ast.Delete: _read_delete,
    ast.Global: _read_declaration,
    ast.Nonlocal: _read_declaration,
    ast.Import: _read_import,
    ast.ImportFrom: _read_import_from,
    ast.If: _read_block,
    ast.For: _read_block,
    ast.AsyncFor: _read_block,
    ast.While: _read_block,
    ast.With: _read_block,
    ast.AsyncWith: _read_block,
    ast.Try: _read_block,
    ast.ExceptHandler: _read_block,
    ast.Module: _read_block,
    ast.TryStar: _read_block,
    ast.match_case: _read_block,
}
