"""Options of `@actor_cache`, checked where they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenroom.caching.binding import check_names, parameters
from greenroom.caching.errors import BadLoader
from greenroom.caching.loader import is_generator_function


def checked(
    function: Any,
    ignore: Sequence[str],
    version: str,
    max_entries: int | None,
    max_memory: int | str | None,
    ttl: Any,
    on_evict: Callable[[Any], Any] | None,
    frozen: bool,
    key: Callable[..., Any] | None,
) -> dict[str, Any]:
    """The options as a loader takes them.

    Raises:
        BadLoader: The function or an option cannot be used.
    """
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    _check_function(name, function)
    if isinstance(ignore, str):
        ignore = (ignore,)
    if hasattr(function, "__code__") and not hasattr(function, "__wrapped__"):
        check_names(name, ignore, parameters(function))
    if not isinstance(version, str):
        raise BadLoader(name, f"version={version!r} is no text; write version={str(version)!r}")
    if key is not None and ignore:
        raise BadLoader(name, "key= and ignore= exclude each other: the key function sees all arguments")
    for option, given in (("key", key), ("on_evict", on_evict)):
        if given is not None and not callable(given):
            raise BadLoader(name, f"{option}={given!r} cannot be called")
    if on_evict is not None and getattr(getattr(on_evict, "__code__", None), "co_flags", 0) & 0x80:
        raise BadLoader(name, "on_evict is a coroutine function, and entries also go where no event loop runs")
    return {
        "key": key,
        "ignore": tuple(ignore),
        "version": version,
        "max_entries": _positive(name, "max_entries", max_entries),
        "max_memory": _size(name, max_memory),
        "ttl": _seconds(name, ttl),
        "on_evict": on_evict,
        "frozen": bool(frozen),
    }


def _check_function(name: str, function: Any) -> None:
    if isinstance(function, property):
        raise BadLoader("a property", "put @property above @actor_cache, which then stands on the function itself")
    if not callable(function):
        raise BadLoader(repr(function), "it cannot be called; @actor_cache stands on a function")
    kind = is_generator_function(function)
    if kind is not None:
        raise BadLoader(name, f"it is a {kind}, which can be used only once; return a list instead")
    if type(function).__module__.partition(".")[0] == "greenroom" and hasattr(function, "__wrapped__"):
        raise BadLoader(name, "it is a task or a workflow; keep a plain function, and call that from the task")


def _positive(name: str, option: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadLoader(name, f"{option}={value!r} is no positive number; leave it out for no bound")
    return value


def _size(name: str, value: int | str | None) -> int | None:
    if isinstance(value, str):
        from greenroom.quantities import size

        return size(value, f"actor_cache on {name}(max_memory=)")
    return _positive(name, "max_memory", value)


def _seconds(name: str, value: Any) -> float | None:
    if value is None or (type(value) in (int, float) and 0 < value < float("inf")):
        return None if value is None else float(value)
    from greenroom.quantities import seconds

    return seconds(value, f"actor_cache on {name}(ttl=)")
