"""The hub's own log: one line per decision, with ids as fields."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog


def configure(form: str, stream: TextIO | None = None) -> None:
    """Send the hub's log to `stream` (stderr by default), for people or as JSON lines."""
    target = stream or sys.stderr
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer() if target.isatty() else line
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=target, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def line(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """One decision as a line for people, in a file: no colours, and a tenth of the work that they take."""
    head = f"{event.pop('timestamp', '')} [{event.pop('level', method)}] {event.pop('event', '')}"
    trace = event.pop("exception", None)
    told = "".join([f" {name}={value}" for name, value in event.items()])
    return f"{head}{told}\n{trace}" if trace else f"{head}{told}"
