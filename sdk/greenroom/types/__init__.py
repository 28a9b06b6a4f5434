"""Typed values: from annotations to codecs, interfaces of functions, and what people type.

Light on purpose: a runner imports this before it takes its first call. What fewer programs need comes when it is asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from greenroom.types.codec import Codec
from greenroom.types.interface import MISSING, Input, Interface, Output
from greenroom.types.registry import codec_for, forget
from greenroom.types.spec import Member, TypeSpec, mismatch

if TYPE_CHECKING:
    from greenroom.types.annotated import BatchSize as BatchSize
    from greenroom.types.annotated import HashMethod as HashMethod
    from greenroom.types.annotated import kwtypes as kwtypes
    from greenroom.types.custom import register_transformer as register_transformer
    from greenroom.types.custom import register_type_transformer as register_type_transformer
    from greenroom.types.datasets import StructuredDataset as StructuredDataset
    from greenroom.types.parse import parse_json as parse_json
    from greenroom.types.parse import parse_text as parse_text

_LATER: Final = {
    "BatchSize": "annotated",
    "HashMethod": "annotated",
    "kwtypes": "annotated",
    "register_transformer": "custom",
    "register_type_transformer": "custom",
    "StructuredDataset": "datasets",
    "parse_json": "parse",
    "parse_text": "parse",
}

__all__ = [
    "MISSING",
    "BatchSize",
    "Codec",
    "HashMethod",
    "Input",
    "Interface",
    "Member",
    "Output",
    "StructuredDataset",
    "TypeSpec",
    "codec_for",
    "forget",
    "kwtypes",
    "mismatch",
    "parse_json",
    "parse_text",
    "register_transformer",
    "register_type_transformer",
]


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
