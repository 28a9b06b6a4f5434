"""Cached results of runs in this process: kept while it lives, looked up by what the hub looks them up by."""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from greenroom_core.program import CachedResults
from greenroom_core.refs import digest
from greenroom_core.values import split

if TYPE_CHECKING:
    from greenroom_core.noderun import NodeRun

_kept: dict[str, bytes] = {}
_mode: ContextVar[CachedResults] = ContextVar("greenroom_cached_results", default=CachedResults.USE)


def mode() -> CachedResults:
    """How runs that start now treat cached results."""
    return _mode.get()


def key(name: str, node: NodeRun, payload: bytes) -> str | None:
    """What a call's result is kept under; None for a call whose result is not kept."""
    cached = node.task.cached if node.task is not None else None
    if cached is None or node.spec.overrides.cached is False or node.inputs is None:
        return None
    inputs = dict(node.inputs.bound)
    inputs.update(zip(node.inputs.params, split(payload, len(node.inputs.params)), strict=True))
    version = node.spec.overrides.cache_version or cached.version
    told = [f"{name}\0{version}\0{cached.salt}\0{','.join(node.spec.outputs)}"]
    told += [f"{name}={digest(value)}" for name, value in sorted(inputs.items()) if name not in cached.ignore]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def find(key: str | None, mode: CachedResults) -> bytes | None:
    """The outputs of an equal call, if they are kept."""
    return _kept.get(key) if key is not None and mode is CachedResults.USE else None


def keep(key: str | None, payload: bytes) -> None:
    """Keep a call's outputs."""
    if key is not None and _mode.get() is not CachedResults.OFF:
        _kept[key] = payload


def clear() -> None:
    """Forget everything."""
    _kept.clear()
