"""What a function says where no text of it is at hand: one sent by value, or a file that changed since it was imported.

Formatting may show here (the compiler keeps a few jumps apart by line), so text is read wherever it can be.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType
from typing import Final

from greenroom.digest.facts import MUTATORS, Facts, Imported

_SILENT: Final = frozenset(
    {"NOP", "RESUME", "CACHE", "EXTENDED_ARG", "PRECALL", "MAKE_CELL", "COPY_FREE_VARS", "PUSH_NULL"}
    | {"RETURN_GENERATOR", "NOT_TAKEN", "KW_NAMES"}
)
"""Instructions that say nothing about what the code does, or only how it does it."""

_CHANGES: Final = frozenset({"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR", "DELETE_ATTR"})
_REFLECTION: Final = frozenset({"eval", "exec", "globals", "vars", "compile", "locals", "getattr"})


def facts_of_code(code: CodeType) -> Facts:
    """Read a code object, and those inside it."""
    facts = Facts()
    out = list(_read(code, facts))
    facts.text = blake2b("\x1f".join(out).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return facts


def _read(code: CodeType, facts: Facts) -> Iterator[str]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    yield f"{code.co_name} {counts} {code.co_flags & 0x2BC}"
    yield " ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    instructions = [one for one in dis.get_instructions(code) if one.opname not in _SILENT]
    places = {one.offset: place for place, one in enumerate(instructions)}
    chain: tuple[str, ...] = ()
    roots: set[tuple[str, ...]] = set()
    changed = False
    for one in instructions:
        name = one.opname
        value = one.argval
        if isinstance(value, CodeType):
            yield from _read(value, facts)
        elif one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            yield f"{name} {_target(places, value)}"
        elif name == "LOAD_CONST":
            yield f"LOAD_CONST {type(value).__name__} {_constant(value)}"
        else:
            yield f"{name} {value}"
        if name in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
            chain = (value,)
            facts.names.add(value)
            roots.add(chain)
        elif name in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            if value in MUTATORS:
                facts.mutated.add(chain)
            chain = (*chain, value)
        else:
            chain = ()
        if chain:
            facts.chains.add(chain)
            facts.chains.discard(chain[:-1])
        changed = changed or name in _CHANGES
        if name in ("STORE_ATTR", "DELETE_ATTR"):
            facts.stored.add(value)
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL") or (name == "STORE_DEREF" and value in code.co_freevars):
            facts.rebound.add(value)
        elif name == "IMPORT_NAME":
            facts.imports.append(Imported(value, 0, "*", ""))
    if changed:
        # Which of them is changed cannot be told from instructions alone.
        facts.mutated |= roots
    yield _handlers(code, places)
    _note_reflection(code, facts)


def _target(places: dict[int, int], offset: int) -> int:
    """A jump's target, counted in the instructions that matter."""
    while offset not in places and offset < max(places, default=0):
        offset += 2
    return places.get(offset, -1)


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(repr, value))) + "}"
    return repr(value)


def _handlers(code: CodeType, places: dict[int, int]) -> str:
    """Which instructions a `try` covers, as far as this Python can tell."""
    parse = getattr(dis, "_parse_exception_table", None)
    if parse is None:
        return code.co_exceptiontable.hex()
    return " ".join(
        f"{_target(places, one.start)}-{_target(places, one.end)}>{_target(places, one.target)}" for one in parse(code)
    )


def _note_reflection(code: CodeType, facts: Facts) -> None:
    names = set(code.co_names)
    if names & _REFLECTION:
        facts.dynamic.add(())
    if names & {"import_module", "__import__"}:
        facts.anything = True
    if "__subclasses__" in names:
        facts.subclasses = True
