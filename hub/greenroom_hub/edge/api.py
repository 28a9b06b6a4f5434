"""The HTTP API of executions, replicas and the hub itself, as `docs/api.md` lists it."""

from __future__ import annotations

import asyncio
import json
from array import array
from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from greenroom_core.execution import Execution
from greenroom_core.values import Slice, ValueFault, pack
from greenroom_hub.core.commands import Reply
from greenroom_hub.core.events import CancelWanted, PrewarmWanted
from greenroom_hub.edge import views
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.feed import LiveFeed, text_of
from greenroom_hub.edge.metrics import registry
from greenroom_hub.edge.requests import find_row, number_of, read_json, repeat_of, seconds_of
from greenroom_hub.edge.why import why
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.doorway import Doorway, Unfit
from greenroom_hub.shell.hub import Hub
from greenroom_hub.store.logs import LogStore
from greenroom_hub.store.rows import ExecutionRow
from greenroom_hub.store.store import Store

_MOST_ITEMS = 50_000
_MSGPACK = "application/msgpack"


class Api:
    """Handlers; each reads only what is on disk already."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        logs: LogStore,
        archive: Archive,
        doorway: Doorway,
        feed: LiveFeed,
        about: Callable[[], dict[str, Any]],
        url: Callable[[], str],
        stop: Callable[[bool], None],
    ) -> None:
        self._hub, self._store, self._logs, self._archive = hub, store, logs, archive
        self._doorway, self._feed, self._about, self._url, self._stop = doorway, feed, about, url, stop

    # Submitting -----------------------------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        """Take a submission."""
        wait = seconds_of(request)
        try:
            reply = await self._doorway.submit(await request.read())
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault
        told = self._taken(reply)
        if wait and await self._hub.ended(told["id"], wait):
            return self._result(told["id"])
        return web.json_response(told, status=201)

    def _taken(self, reply: Reply) -> dict[str, Any]:
        """What a client hears of its submission.

        Raises:
            ApiError: It was refused.
        """
        if reply.error is not None:
            raise ApiError(reply.error.code, reply.error.message)
        assert reply.execution is not None
        status = views.status(self._hub.state, reply.execution) or {}
        return {
            "id": reply.execution,
            "url": self._page(reply.execution),
            "notes": list(reply.notes),
            "replicas": status.get("replicas"),
        }

    async def rerun(self, request: web.Request) -> web.Response:
        """Repeat an execution: JSON `{"reuse", "key", "by", "name", "cached_results"}`, all optional."""
        await self._hub.settled()
        row = self._row(request)
        wish = repeat_of(await read_json(request))
        try:
            reply = await self._doorway.repeat(row.id, wish)
        except Unfit as fault:
            raise ApiError(fault.code, fault.message) from fault
        return web.json_response(self._taken(reply), status=201)

    def _page(self, execution: str) -> str:
        return f"{self._url()}/e/{execution}"

    async def result(self, request: web.Request) -> web.Response:
        """How an execution ended, with its outputs; waits for it if asked."""
        row = self._row(request)
        await self._hub.ended(row.id, seconds_of(request) or 0.0)
        return self._result(row.id)

    def _result(self, name: str) -> web.Response:
        execution = self._execution(name)
        ended = execution.ended if name not in self._hub.state.runs else None
        told: dict[str, Any] = {
            "id": name,
            "state": str(ended.outcome) if ended is not None else "running",
            "outputs": dict(ended.outputs) if ended is not None else None,
            "failure": ended.failure if ended is not None else None,
            "failed_node": ended.node if ended is not None else None,
            "failed_item": ended.item if ended is not None else None,
            "warnings": [],
        }
        return web.Response(body=pack(told), content_type=_MSGPACK)

    async def inputs(self, request: web.Request) -> web.Response:
        """The inputs of an execution, msgpack: values by name."""
        row = self._row(request)
        return web.Response(body=pack(dict(self._execution(row.id).inputs)), content_type=_MSGPACK)

    async def cancel(self, request: web.Request) -> web.Response:
        """End an execution."""
        row = self._row(request)
        told = await read_json(request)
        reason = str(told.get("reason") or "cancelled")
        by = str(told.get("by") or "")
        await self._hub.ask(lambda number: CancelWanted(number, row.id, by, reason))
        return web.json_response({"id": row.id}, status=202)

    # Reading --------------------------------------------------------------------------------------------------------

    async def executions(self, request: web.Request) -> web.Response:
        """The list of executions, newest first."""
        query = request.query
        limit = min(int(number_of(query.get("limit", "50"), "limit")), 1000)
        rows = self._store.executions(limit, query.get("before") or None, query.get("state") or None)
        return web.json_response({"executions": [views.summary(row) for row in rows]})

    async def execution(self, request: web.Request) -> web.Response:
        """One execution as JSON."""
        await self._hub.settled()
        row = self._row(request)
        told = views.detail(self._hub.state, row, self._execution(row.id))
        told["url"] = self._page(row.id)
        return web.json_response(told)

    async def outputs(self, request: web.Request) -> web.Response:
        """A map's results, in chunks of columns."""
        row = self._row(request)
        node, output = request.match_info["node"], request.match_info["output"]
        start = int(number_of(request.query.get("start", "0"), "start"))
        count = int(number_of(request.query.get("count", str(_MOST_ITEMS)), "count"))
        await self._hub.settled()
        try:
            source = self._archive.manifest(row.id, node, output)
        except (ValueFault, ValueError) as fault:
            raise ApiError("not_found", str(fault)) from fault
        stop = min(source.n, start + min(count, _MOST_ITEMS))
        chunks = [_chunk(start, source.slice(start, stop))] if start < stop else []
        return web.Response(body=pack(chunks), content_type=_MSGPACK)

    async def item(self, request: web.Request) -> web.Response:
        """One call as JSON."""
        await self._hub.settled()
        row = self._row(request)
        execution, name = self._execution(row.id), request.match_info["node"]
        node = execution.nodes.get(name)
        if node is None:
            raise ApiError("not_found", f"{row.id} has no node {name!r}; it has {', '.join(list(execution.nodes)[:8])}")
        item = int(number_of(request.match_info["item"], "item"))
        try:
            told = views.call_view(self._hub.state, execution, node, item)
        except ValueFault as fault:
            raise ApiError("not_found", str(fault)) from fault
        told["last_output"] = await asyncio.to_thread(self._last_output, row.id, name, item)
        return web.json_response(told)

    async def why(self, request: web.Request) -> web.Response:
        """Why a call ran where it ran, and when."""
        await self._hub.settled()
        row = self._row(request)
        execution, name = self._execution(row.id), request.match_info["node"]
        node = execution.nodes.get(name)
        item = int(number_of(request.match_info["item"], "item"))
        if node is None or (node.items is not None and item >= node.items.n):
            raise ApiError("not_found", f"{row.id} has no call {name}/{item}")
        lines = await asyncio.to_thread(why, self._hub.state, self._store, execution, node, item)
        return web.json_response({"execution": row.id, "node": name, "item": item, "lines": lines})

    def _last_output(self, execution: str, node: str, item: int) -> str:
        text = self._logs.tail(execution, node, item)
        lines = text.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """What calls printed, as NDJSON or raw."""
        row, query = self._row(request), request.query
        node = query.get("node") or None
        item = int(number_of(query["item"], "item")) if query.get("item") else None
        attempt = int(number_of(query["attempt"], "attempt")) if query.get("attempt") else None
        raw, follow = query.get("raw") == "1", query.get("follow") == "1"
        response = web.StreamResponse()
        response.content_type = "text/plain" if raw else "application/x-ndjson"
        await response.prepare(request)
        after: int | None = None
        while True:
            live = row.id in self._hub.state.runs
            pieces = await asyncio.to_thread(self._logs.read, row.id, node, item, attempt, after, 500)
            for piece in pieces:
                await response.write(piece.data if raw else _log_line(piece))
            after = pieces[-1].cursor if pieces else after
            if not pieces and (not follow or not live):
                return response
            if not pieces:
                await self._feed.next_output(row.id)

    async def replicas(self, request: web.Request) -> web.Response:
        """Environments and their replicas."""
        return web.json_response({"environments": views.replicas(self._hub.state)})

    async def cache(self, request: web.Request) -> web.Response:
        """Entries of the actor cache."""
        return web.json_response({"entries": views.cache(self._hub.state)})

    async def prewarm(self, request: web.Request) -> web.Response:
        """Have the replicas of an environment load: `{"environment", "loader"}`."""
        told = await read_json(request)
        environment, loader = str(told.get("environment") or ""), str(told.get("loader") or "")
        reply = await self._hub.ask(lambda number: PrewarmWanted(number, environment, loader))
        if reply.error is not None:
            raise ApiError(reply.error.code, reply.error.message)
        return web.json_response({"environment": environment, "replicas": list(reply.notes)}, status=202)

    async def hub(self, request: web.Request) -> web.Response:
        """About the hub."""
        return web.json_response(self._about())

    async def metrics(self, request: web.Request) -> web.Response:
        """Figures for Prometheus."""
        made = registry(self._hub.state, lambda: self._feed.watching, lambda: self._store.stats.commits)
        return web.Response(body=generate_latest(made), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def stop(self, request: web.Request) -> web.Response:
        """End the hub and its replicas."""
        told = await read_json(request)
        self._stop(bool(told.get("purge")))
        return web.json_response({"stopping": True}, status=202)

    # Streaming ------------------------------------------------------------------------------------------------------

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The log of an execution from a cursor: WebSocket, SSE, or one page."""
        row = self._row(request)
        after = int(number_of(request.query.get("after", "0"), "after"))
        logs = request.query.get("logs") == "1"
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._events_socket(request, row.id, after, logs)
        if "text/event-stream" in request.headers.get("Accept", ""):
            return await self._events_sse(request, row.id, after, logs)
        events = await self._feed.page(row.id, after)
        return web.json_response({"events": events, "next": events[-1]["seq"] if events else after})

    async def _events_socket(self, request: web.Request, name: str, after: int, logs: bool) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, heartbeat=20.0)
        await socket.prepare(request)
        stream = self._feed.follow(name, after, logs)
        try:
            async for events in stream:
                if socket.closed:
                    break
                await socket.send_str(text_of(events))
        except ConnectionError:
            pass  # The watcher left; its cursor is its own.
        finally:
            await stream.aclose()
            await socket.close()
        return socket

    async def _events_sse(self, request: web.Request, name: str, after: int, logs: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        stream = self._feed.follow(name, after, logs)
        try:
            async for events in stream:
                lines = []
                for event in events:
                    mark = f"id: {event['seq']}\n" if "seq" in event else ""
                    lines.append(f"{mark}event: {event['kind']}\ndata: {json.dumps(event)}\n\n")
                await response.write("".join(lines).encode())
        finally:
            await stream.aclose()
        return response

    # Finding --------------------------------------------------------------------------------------------------------

    def _row(self, request: web.Request) -> ExecutionRow:
        return find_row(self._store, request.match_info["id"])

    def _execution(self, name: str) -> Execution:
        execution = self._archive.get(name)
        if execution is None:
            raise ApiError("unknown_execution", f"no execution {name!r} here; see greenroom executions")
        return execution


def _chunk(first: int, part: Slice) -> list[Any]:
    ends = array("I", (end - part.base for end in memoryview(part.ends).cast("Q")))
    return [first, ends.tobytes(), part.payload]


def _log_line(piece: Any) -> bytes:
    told = {
        "node": piece.node,
        "item": piece.item,
        "attempt": piece.attempt,
        "stream": piece.stream,
        "offset": piece.offset,
        "text": piece.data.decode("utf-8", "replace"),
    }
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
