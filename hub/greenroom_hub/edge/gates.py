"""The HTTP API of gates: which wait, what they show, and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from greenroom_core.execution import Execution
from greenroom_core.graph import GateKind
from greenroom_core.noderun import NodeRun
from greenroom_core.show import preview
from greenroom_core.values import ValueFault, pack, unpack
from greenroom_hub.core import gates
from greenroom_hub.core.events import GateAnswered
from greenroom_hub.core.state import State
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.requests import find_row, read_json
from greenroom_hub.shell.hub import Hub
from greenroom_hub.store.store import Store

_LARGEST = 1 << 20
"""Bytes of a value that are taken inline."""


class Gates:
    """Handlers."""

    def __init__(self, hub: Hub, store: Store) -> None:
        self._hub, self._store = hub, store

    async def list(self, request: web.Request) -> web.Response:
        """All gates that wait for somebody, the oldest first: `?execution=` for those of one."""
        await self._hub.settled()
        asked = request.query.get("execution")
        only = find_row(self._store, asked).id if asked else None
        found = [told for told in waiting(self._hub.state) if only is None or told["execution"] == only]
        return web.json_response({"gates": sorted(found, key=lambda told: told["since"])})

    async def get(self, request: web.Request) -> web.Response:
        """One gate that waits."""
        await self._hub.settled()
        row, name = find_row(self._store, request.match_info["id"]), request.match_info["node"]
        run = self._hub.state.runs.get(row.id)
        node = run.execution.nodes.get(name) if run is not None else None
        if run is None or node is None or not gates.waits(node):
            raise ApiError("unknown_gate", gates.why_not(row.id, name, node))
        return web.json_response(_shown(run.execution, node))

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a gate: JSON `{"approved": true}`, `{"value": HEX of an encoded value}` or `{"json": ...}`."""
        told = await read_json(request)
        approved, by = told.get("approved", True), told.get("by", "")
        if not isinstance(approved, bool) or not isinstance(by, str):
            raise ApiError("bad_request", "expected approved: true or false, by: text")
        value = _value(told)
        row, name = find_row(self._store, request.match_info["id"]), request.match_info["node"]
        reply = await self._hub.ask(lambda number: GateAnswered(number, row.id, name, value, approved, by))
        if reply.error is not None:
            raise ApiError(reply.error.code, reply.error.message)
        return web.json_response({"id": row.id, "node": name}, status=202)


def _value(told: dict[str, Any]) -> bytes | None:
    if "json" in told:
        return pack(told["json"])
    given = told.get("value")
    if given is None:
        return None
    try:
        value = bytes.fromhex(given)
        unpack(value)
    except (TypeError, ValueError, ValueFault) as fault:
        raise ApiError("bad_request", f"value: expected the hex digits of an encoded value: {fault}") from fault
    if len(value) > _LARGEST:
        raise ApiError("too_large", f"the value has {len(value):,} bytes, at most {_LARGEST:,}: upload it as a blob")
    return value


def waiting(state: State) -> Iterator[dict[str, Any]]:
    """Gates of live executions that somebody may answer."""
    for run in state.runs.values():
        for node in run.execution.nodes.values():
            if gates.waits(node):
                yield _shown(run.execution, node)


def _shown(execution: Execution, node: NodeRun) -> dict[str, Any]:
    told: dict[str, Any] = {
        "execution": execution.id,
        "node": node.id,
        "gate": str(node.spec.gate),
        "since": node.started_ms / 1000,
        "timeout": node.spec.overrides.timeout,
        "type": None,
        "shows": None,
    }
    if node.spec.gate is GateKind.INPUT:
        wire = gates.type_of(node)
        told["type"] = wire
        told["expects"] = wire[1] if wire else "anything"
    else:
        told["shows"] = preview(execution.input_of(node, "value"))
    return told
