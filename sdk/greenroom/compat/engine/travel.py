"""Values of classes that a program's own transformer makes literals of: how such literals go from task to task.

The transformer writes files to places of its call, and names them in the literal. Here they become files and folders
of Greenroom, which are uploaded, and where the value is read they are brought to that call's places.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from typing import Any

from greenroom.compat.engine.base import TypeTransformer, waited
from greenroom.compat.idl.literals import Literal, LiteralCollection, LiteralMap, Scalar
from greenroom.directories import Directory
from greenroom.files import File


def let_travel(transformer: TypeTransformer[Any], kind: Any) -> None:
    """Let values of a class travel as what the transformer makes of them."""
    from greenroom.types.custom import Transformer, _register

    def encode(obj: Any, annotation: Any) -> Any:
        context = _context()
        expected = transformer.get_literal_type(annotation)
        return sent(waited(transformer.to_literal(context, obj, annotation, expected)))

    def decode(data: Any, annotation: Any) -> Any:
        return waited(transformer.to_python_value(_context(), received(data), annotation))

    if isinstance(kind, type):
        _register(Transformer(kind, transformer.name, encode, decode, None))


def _context() -> Any:
    from greenroom.compat.contexts import FlyteContextManager

    return FlyteContextManager.current_context()


def sent(literal: Literal) -> list[Any]:
    """A literal as plain data, with files and folders in the place of local addresses."""
    if literal.collection is not None:
        return ["list", [sent(item) for item in literal.collection.literals]]
    if literal.map is not None:
        return ["map", {name: sent(item) for name, item in literal.map.literals.items()}]
    scalar = literal.scalar
    if scalar is None:
        raise ValueError("a transformer made a literal without a value")
    for name in ("blob", "schema", "structured_dataset"):
        part = getattr(scalar, name)
        if part is not None and "://" not in part.uri:
            return ["at", name, pickle.dumps(replace(part, uri="")), _content(part.uri)]
    return ["scalar", pickle.dumps(scalar)]


def _content(path: str) -> File | Directory:
    return Directory(path) if os.path.isdir(path) else File(path)


def received(data: list[Any]) -> Literal:
    """The literal that plain data stands for, with its files here."""
    kind, *parts = data
    if kind == "list":
        return Literal(collection=LiteralCollection([received(item) for item in parts[0]]))
    if kind == "map":
        return Literal(map=LiteralMap({name: received(item) for name, item in parts[0].items()}))
    if kind == "at":
        name, part, content = parts
        located: Any = {name: replace(pickle.loads(part), uri=content.download())}
        return Literal(scalar=Scalar(**located))
    return Literal(scalar=pickle.loads(parts[0]))
