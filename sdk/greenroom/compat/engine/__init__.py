"""`TypeEngine` and `TypeTransformer`: how programs for Flyte teach it their types, and turn values into literals."""

from greenroom.compat.engine.base import (
    AsyncTypeTransformer,
    RestrictedTypeError,
    RestrictedTypeTransformer,
    SimpleTransformer,
    TypeTransformer,
)
from greenroom.compat.engine.registry import (
    DataclassTransformer,
    DictTransformer,
    EnumTransformer,
    ListTransformer,
    TypeEngine,
    UnionTransformer,
)

__all__ = [
    "AsyncTypeTransformer",
    "DataclassTransformer",
    "DictTransformer",
    "EnumTransformer",
    "ListTransformer",
    "RestrictedTypeError",
    "RestrictedTypeTransformer",
    "SimpleTransformer",
    "TypeEngine",
    "TypeTransformer",
    "UnionTransformer",
]
