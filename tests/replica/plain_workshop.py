"""A workshop without bundles, types, reset and cache: functions by value, values of plain data."""

from __future__ import annotations

import contextvars
import inspect
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import cloudpickle

from greenroom.context import Context
from greenroom_core.failure import Cause
from greenroom_core.values import pack, split, unpack
from greenroom_protocol.calls import Definition
from greenroom_replica.runner_failures import Paths
from greenroom_replica.runner_setup import Place, RunnerSettings
from greenroom_replica.workshop import Callee, NotReady

HANG = False
"""Set by a call after which clearing away shall not end."""

RETIRE = ""
"""Set by a call after which the runner shall take no more: why."""


class PlainWorkshop:
    """Calls what the definition carries; undoes nothing."""

    def __init__(self) -> None:
        self._told: list[Mapping[str, Any]] = []
        self.call = None

    def prepare(self, definition: Definition) -> Callee:
        assert definition.pickled is not None
        try:
            fn = cloudpickle.loads(definition.pickled)
        except Exception as fault:
            raise NotReady(Cause.IMPORT) from fault
        names, outputs = list(definition.params), len(definition.outputs)

        def decode(payload: bytes) -> dict[str, Any]:
            if len(names) == 1:
                return {names[0]: unpack(payload)}
            return dict(zip(names, map(unpack, split(payload, len(names))), strict=True))

        def encode(result: Any) -> bytes:
            return pack(result) if outputs else b""

        secrets = tuple(definition.secrets.values())
        return Callee(definition, fn, decode, encode, inspect.iscoroutinefunction(fn), Paths({}, secrets))

    def learned(self, callee: Callee) -> Sequence[str]:
        return ()

    def switch(self, callee: Callee) -> None: ...

    def begin(self, callee: Callee, context: Context) -> contextvars.Context:
        os.environ.update(callee.definition.env)
        return contextvars.copy_context()

    def open(self, callee: Callee) -> contextvars.Context:
        os.environ.update(callee.definition.env)
        return contextvars.copy_context()

    def join(self, callee: Callee, context: Context) -> None: ...

    def part(self, callee: Callee, extras: dict[str, Any]) -> None: ...

    def quit(self, callee: Callee) -> None: ...

    def gone(self) -> list[list[str]]:
        return []

    def settle(self, callee: Callee, extras: dict[str, Any]) -> str | None:
        extras["settled"] = True
        return None

    def steady(self, callee: Callee) -> None: ...

    def end(self, callee: Callee, extras: dict[str, Any], took: int) -> str | None:
        if HANG:
            time.sleep(300)
        return RETIRE or None

    def telemetry(self) -> list[Mapping[str, Any]]:
        told, self._told = self._told, []
        return told

    def entries(self) -> list[Mapping[str, Any]]:
        return []

    def prewarm(self, callee: Callee, recipes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{**recipe, "load_ms": 1.0} for recipe in recipes]

    def evict(self, loader: str, key: str) -> list[list[str]]:
        return [[loader, key, "asked"]]

    def forked(self) -> None: ...

    def close(self) -> None: ...


def make(settings: RunnerSettings, place: Place) -> PlainWorkshop:
    return PlainWorkshop()
