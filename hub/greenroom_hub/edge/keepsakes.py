"""What is kept for later: cached results, checkpoints, and what it takes to make a recorded call again elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiohttp import web

from greenroom_core.execution import Execution
from greenroom_core.failure import Failure
from greenroom_core.following import UNREADABLE
from greenroom_core.lists import failed_items
from greenroom_core.mapping import row_and_position
from greenroom_core.noderun import NodeRun, inputs_of_call
from greenroom_core.values import ValueFault, pack
from greenroom_core.wire import to_wire
from greenroom_hub.edge.auth import CALLER
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.invites import Role
from greenroom_hub.edge.requests import find_row, number_of, read_json
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.checkpoints import Checkpoints
from greenroom_hub.shell.hub import Hub
from greenroom_hub.store.rows import ResultGroup, Voided
from greenroom_hub.store.store import Store

_MOST_FAILURES = 100_000

_MOST = 1000
"""Nodes with cached results that are listed at once."""


class Keepsakes:
    """Handlers."""

    def __init__(self, hub: Hub, store: Store, archive: Archive, checkpoints: Checkpoints) -> None:
        self._hub, self._store, self._archive, self._checkpoints = hub, store, archive, checkpoints

    # Cached results ---------------------------------------------------------------------------------------------------

    async def results(self, request: web.Request) -> web.Response:
        """Cached results by the nodes that made them, newest first."""
        await self._hub.settled()
        limit = min(int(number_of(request.query.get("limit", "100"), "limit")), _MOST)
        return web.json_response({"results": [self._shown(group) for group in self._store.results(limit)]})

    def _shown(self, group: ResultGroup) -> dict[str, Any]:
        node = self._node(group.execution, group.node)
        return {
            "task": node.task.name if node is not None and node.task is not None else None,
            "version": node.task.cached.version if node and node.task and node.task.cached else None,
            "execution": group.execution,
            "node": group.node,
            "count": group.calls,
            "at": group.at_ms / 1000,
        }

    def _node(self, execution: str, node: str) -> NodeRun | None:
        try:
            found = self._archive.get(execution)
        except ValueFault:
            return None
        return found.nodes.get(node) if found is not None else None

    async def drop(self, request: web.Request) -> web.Response:
        """Drop cached results: JSON of `{"execution", "node", "item"}`, of `{"task"}`, or of `{"all": true}`."""
        told = await read_json(request)
        await self._hub.settled()
        if told.get("execution"):
            row = find_row(self._store, str(told["execution"]))
            item = told.get("item")
            wanted = [
                Voided(row.id, str(told.get("node") or ""), -1 if item is None else int(number_of(str(item), "item")))
            ]
        elif told.get("task") or told.get("all") is True:
            wanted = await asyncio.to_thread(self._of_task, told.get("task"))
        else:
            raise ApiError("bad_request", "say which results: execution (node, item), task, or all")
        before = self._count()
        await self._hub.void(wanted)
        return web.json_response({"dropped": before - self._count()})

    def _of_task(self, task: str | None) -> list[Voided]:
        """All results of a task, by its name or its last part; of all tasks for None."""
        wanted = []
        for group in self._store.results(2**31):
            node = self._node(group.execution, group.node) if task is not None else None
            name = node.task.name if node is not None and node.task is not None else ""
            if task is None or task in (name, name.rpartition(".")[2]):
                wanted.append(Voided(group.execution, group.node))
        return wanted

    def _count(self) -> int:
        return sum(group.calls for group in self._store.results(2**31))

    # Single calls -----------------------------------------------------------------------------------------------------

    async def call(self, request: web.Request) -> web.Response:
        """One call with all that it takes to make it again: msgpack. No variable of the submitter's, no secret."""
        await self._hub.settled()
        row = find_row(self._store, request.match_info["id"])
        execution = self._archive.get(row.id)
        name, item = request.match_info["node"], int(number_of(request.match_info["item"], "item"))
        node = execution.nodes.get(name) if execution is not None else None
        if execution is None or node is None:
            raise ApiError("not_found", f"{row.id} has no node {name!r}")
        if node.task is None or node.items is None or not item < node.items.n:
            calls = node.items.n if node.items is not None else 0
            raise ApiError("not_found", f"{row.id}/{name} has no call {item}: it makes {calls}")
        return web.Response(body=pack(_told(execution, node, item)), content_type="application/msgpack")

    async def failures(self, request: web.Request) -> web.Response:
        """Calls of an execution that failed for good, node by node in the order of their items: msgpack."""
        await self._hub.settled()
        row = find_row(self._store, request.match_info["id"])
        limit = min(int(number_of(request.query.get("limit", "1000"), "limit")), _MOST_FAILURES)
        execution = self._archive.get(row.id)
        found = list(islice(_failed(execution), limit)) if execution is not None else []
        return web.Response(body=pack({"failures": found}), content_type="application/msgpack")

    # Checkpoints ------------------------------------------------------------------------------------------------------

    async def read_checkpoint(self, request: web.Request) -> web.Response:
        """What attempts of a call have kept; 204 for nothing."""
        execution, node, item = self._running(request)
        data = await asyncio.to_thread(self._checkpoints.get, execution, node, item)
        if data is None:
            return web.Response(status=204)
        return web.Response(body=data, content_type="application/octet-stream")

    async def write_checkpoint(self, request: web.Request) -> web.Response:
        """Keep bytes for the next attempt of a call."""
        self._running(request)
        data = await request.read()
        execution, node, item = self._running(request)  # Again: reading may take long.
        await asyncio.to_thread(self._checkpoints.put, execution, node, item, data)
        if execution not in self._hub.state.runs:
            self._checkpoints.drop(execution)
        return web.Response(status=204)

    def _running(self, request: web.Request) -> tuple[str, str, int]:
        """The call that a request is about, which must be in the attempt that it says.

        Raises:
            ApiError: That attempt has ended, or was given up; or the replica that asks does not have the call.
        """
        told, caller = request.match_info, request[CALLER]
        execution, node, item = told["id"], told["node"], int(number_of(told["item"], "item"))
        attempt = int(number_of(request.query.get("attempt", "0"), "attempt"))
        run = self._hub.state.runs.get(execution)
        found = run.execution.nodes.get(node) if run is not None else None
        if found is None or found.items is None or not found.items.runs(item, attempt):
            raise ApiError("conflict", f"attempt {attempt} of {execution}/{node}/{item} does not run any more")
        if caller.role is Role.REPLICA:
            replica = self._hub.state.replicas.get(caller.replica)
            if replica is not None and item not in replica.held.get((execution, node), ()):
                raise ApiError("forbidden", f"{execution}/{node}/{item} does not run on this replica")
        return execution, node, item


def _failed(execution: Execution) -> Iterator[dict[str, Any]]:
    for node in execution.nodes.values():
        if node.items is None or not node.items.failed:
            continue
        for item in failed_items(node.items):
            place, position = row_and_position(node.items.places[item])
            failure = node.failures.get(item)
            if failure is None:
                failure = Failure.unpack(execution.reader.outcomes(place).payload_of(position))
            yield {"node": node.id, "item": item, "failure": failure.to_wire()}


def _told(execution: Execution, node: NodeRun, item: int) -> dict[str, Any]:
    program, submission = execution.program, execution.submitted.submission
    assert node.task is not None and node.items is not None
    try:
        inputs = inputs_of_call(node.inputs or execution.inputs_of(node), item)
    except UNREADABLE as fault:
        raise ApiError("not_found", f"the inputs of {execution.id}/{node.id}/{item} are gone: {fault}") from fault
    environment = execution.environments[node.task.environment]
    return {
        "execution": execution.id,
        "node": node.id,
        "item": item,
        "attempt": node.items.attempts[item],
        "project": program.project,
        "labels": dict(submission.labels),
        "task": to_wire(node.task),
        "environment": environment.name,
        "env": dict(environment.env),
        "bundle": program.bundle,
        "origin": program.origin,
        "cwd": program.cwd,
        "alias": program.alias,
        "interpreter": to_wire(program.interpreter) if program.interpreter is not None else None,
        "inputs": inputs,
    }
