"""The one aiohttp application: routes, and the door that every request passes."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from greenroom_hub.edge.admin import Admin
from greenroom_hub.edge.api import Api
from greenroom_hub.edge.auth import CALLER, Auth, Names, forbidden
from greenroom_hub.edge.blobs import Blobs
from greenroom_hub.edge.entities import Entities
from greenroom_hub.edge.errors import ApiError
from greenroom_hub.edge.gates import Gates
from greenroom_hub.edge.keepsakes import Keepsakes
from greenroom_hub.edge.replicas import ReplicaLinks, only_replicas
from greenroom_hub.edge.reports import Reports

log = structlog.get_logger("greenroom.edge")


def make_app(
    api: Api,
    keepsakes: Keepsakes,
    admin: Admin,
    entities: Entities,
    gates: Gates,
    reports: Reports,
    blobs: Blobs,
    links: ReplicaLinks,
    auth: Auth,
    names: Names,
    max_body: int,
) -> web.Application:
    """Build the application."""

    async def replica(request: web.Request) -> web.StreamResponse:
        return await links.serve(request, only_replicas(request[CALLER]))

    app = web.Application(client_max_size=max_body, middlewares=[_door(auth, names, max_body)])
    app.router.add_get("/api/hub", api.hub)
    app.router.add_post("/api/hub/stop", api.stop)
    app.router.add_post("/api/executions", api.submit)
    app.router.add_get("/api/executions", api.executions)
    app.router.add_get("/api/executions/{id}", api.execution)
    app.router.add_get("/e/{id}", api.execution)
    app.router.add_get("/api/executions/{id}/result", api.result)
    app.router.add_get("/api/executions/{id}/inputs", api.inputs)
    app.router.add_get("/api/executions/{id}/events", api.events)
    app.router.add_get("/api/executions/{id}/logs", api.logs)
    app.router.add_post("/api/executions/{id}/cancel", api.cancel)
    app.router.add_post("/api/executions/{id}/rerun", api.rerun)
    app.router.add_get("/api/executions/{id}/nodes/{node}/items/{item}/deck", reports.get)
    app.router.add_get("/api/gates", gates.list)
    app.router.add_get("/api/executions/{id}/nodes/{node}/gate", gates.get)
    app.router.add_post("/api/executions/{id}/nodes/{node}/gate", gates.answer)
    app.router.add_get("/api/executions/{id}/nodes/{node}/items/{item}", api.item)
    app.router.add_get("/api/executions/{id}/nodes/{node}/outputs/{output}", api.outputs)
    app.router.add_get("/api/executions/{id}/nodes/{node}/items/{item}/why", api.why)
    app.router.add_get("/api/executions/{id}/nodes/{node}/items/{item}/call", keepsakes.call)
    app.router.add_get("/api/executions/{id}/nodes/{node}/items/{item}/checkpoint", keepsakes.read_checkpoint)
    app.router.add_put("/api/executions/{id}/nodes/{node}/items/{item}/checkpoint", keepsakes.write_checkpoint)
    app.router.add_get("/api/executions/{id}/failures", keepsakes.failures)
    app.router.add_get("/api/results", keepsakes.results)
    app.router.add_post("/api/results/drop", keepsakes.drop)
    app.router.add_post("/api/entities", entities.register)
    app.router.add_get("/api/entities", entities.list)
    app.router.add_get("/api/entities/{kind}/{name}", entities.get)
    app.router.add_get("/api/artifacts", entities.artifacts)
    app.router.add_get("/api/programs/{digest}", entities.program)
    app.router.add_get("/api/launch-plans", entities.plans)
    app.router.add_get("/api/launch-plans/{name}", entities.plan)
    app.router.add_get("/api/launch-plans/{name}/times", entities.times)
    app.router.add_post("/api/launch-plans/{name}/activate", entities.activate)
    app.router.add_post("/api/launch-plans/{name}/deactivate", entities.deactivate)
    app.router.add_get("/metrics", api.metrics)
    app.router.add_get("/api/replicas", api.replicas)
    app.router.add_get("/api/replicas/{id}/logs", admin.logs)
    app.router.add_get("/api/cache", api.cache)
    app.router.add_post("/api/prewarm", api.prewarm)
    app.router.add_post("/api/clean", admin.clean)
    app.router.add_get("/api/me", admin.me)
    app.router.add_get("/api/invites", admin.invites)
    app.router.add_post("/api/invites", admin.invite)
    app.router.add_delete("/api/invites/{name}", admin.revoke)
    app.router.add_post("/api/blobs/missing", blobs.missing)
    app.router.add_get("/api/blobs/{sha256}", blobs.get)
    app.router.add_put("/api/blobs/{sha256}", blobs.put)
    app.router.add_get("/api/replica", replica)
    return app


def _door(auth: Auth, names: Names, max_body: int) -> Middleware:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _admit(request, auth, names)
            return await handler(request)
        except ApiError as fault:
            return fault.response()
        except web.HTTPRequestEntityTooLarge:
            given = "more" if request.content_length is None else f"{request.content_length:,} bytes"
            sizes = f"a body holds at most {max_body:,} bytes, this one has {given}"
            return ApiError("too_large", f"{sizes}; send large values as blobs").response()
        except web.HTTPException as fault:
            code = "not_found" if fault.status == 404 else "bad_request"
            return ApiError(code, f"{request.method} {request.path}: {fault.reason}").response()

    return door


def _admit(request: web.Request, auth: Auth, names: Names) -> None:
    foreign = names.refusal(request)
    if foreign is not None:
        raise ApiError("forbidden", foreign)
    caller = auth.caller(request.headers.get("Authorization"))
    if caller is None:
        raise ApiError("unauthorized", "no token, or a wrong one: send Authorization: Bearer <the token of this hub>")
    why = forbidden(caller, request.method, request.path)
    if why is not None:
        raise ApiError("forbidden", why)
    request[CALLER] = caller
