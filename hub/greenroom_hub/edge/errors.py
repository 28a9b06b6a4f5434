"""Errors as the API tells them: a code for programs, a sentence for people."""

from __future__ import annotations

import json

from aiohttp import web

_STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_program": 404,
    "unknown_execution": 404,
    "unknown_gate": 404,
    "unknown_environment": 404,
    "unknown_entity": 404,
    "unknown_artifact": 404,
    "not_active": 409,
    "conflict": 409,
    "too_large": 413,
    "invalid": 422,
    "never_fits": 422,
    "stopping": 503,
    "broken": 503,
}


class ApiError(Exception):
    """A request that cannot be done."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def response(self) -> web.Response:
        """What the client gets."""
        body = json.dumps({"error": self.code, "message": self.message})
        return web.Response(status=_STATUS.get(self.code, 500), text=body, content_type="application/json")
