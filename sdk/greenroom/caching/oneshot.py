"""Results that can be used only once, and so must not be kept."""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from greenroom.caching.errors import OneShotResult

_STREAMS: Final = (map, filter, zip, enumerate, reversed)


def refuse(loader: str, value: Any) -> None:
    """Refuse a loader's result that the next call would find used up.

    Raises:
        OneShotResult: It is one.
    """
    if isinstance(value, CoroutineType):
        value.close()  # Else Python warns that nobody has awaited it.
        raise OneShotResult(loader, "coroutine", "make the loader `async def` and await that in it")
    if isinstance(value, GeneratorType):
        value.close()
        raise OneShotResult(loader, "generator", "return a list, or a function that makes a new one")
    if isinstance(value, AsyncGeneratorType):
        raise OneShotResult(loader, "async generator", "return a list, or a function that makes a new one")
    if isinstance(value, _STREAMS):
        raise OneShotResult(loader, f"{type(value).__name__} object", "return list(...) of it")
    if type(value).__module__ == "contextlib" and hasattr(value, "gen"):
        raise OneShotResult(
            loader, "context manager", "enter it in the loader and return what it gives, with on_evict="
        )
    if type(value).__module__ in ("asyncio.futures", "asyncio.tasks", "_asyncio") and hasattr(
        value, "add_done_callback"
    ):
        raise OneShotResult(loader, type(value).__name__, "await it in an `async def` loader and return its result")
