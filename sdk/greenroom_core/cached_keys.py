"""The name under which a call's outputs are kept across executions: what it computes, and from which inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from greenroom_core.lists import Reader, open_list
from greenroom_core.program import Cached, Task
from greenroom_core.refs import digest
from greenroom_core.values import Ext, Value, ext_code, pack


def base_key(project: str, task: Task, cached: Cached, version: str | None) -> bytes:
    """What all calls of a task share: project, name, interface and version.

    Args:
        project: Calls of different projects never share outputs.
        task: Its name and its interface count.
        cached: The task's wish; its version counts unless `version` is given.
        version: Overrides the task's at one place of a graph.
    """
    told = [project, task.name, dict(task.interface), list(task.outputs), version or cached.version, cached.salt]
    return hashlib.sha256(pack(told)).digest()


def call_key(base: bytes, inputs: Iterable[tuple[str, str]]) -> bytes:
    """The key of one call: 16 bytes.

    Args:
        base: What `base_key` gave.
        inputs: Name and semantic digest of each input that counts.
    """
    state = hashlib.sha256(base)
    for name, told in sorted(inputs):
        state.update(f"{name}\0{told}\0".encode("utf-8", "surrogatepass"))
    return state.digest()[:16]


def input_digest(value: Value, reader: Reader) -> str:
    """The semantic digest of an input, a map's results read through their manifest."""
    if ext_code(value) is not Ext.MANIFEST:
        return digest(value)
    source = open_list(value, reader)
    state = hashlib.sha256(b"manifest")
    for start in range(0, source.n, 1024):
        for item in source.slice(start, min(start + 1024, source.n)).items():
            state.update(digest(item).encode())
    return state.hexdigest()[:32]
