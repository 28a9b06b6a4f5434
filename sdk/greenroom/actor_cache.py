"""`@actor_cache`: keep what a function returns on the replica, for all calls that ask for the same.

```python
@actor_cache
def load_model(state: int) -> Model:
    ...  # Runs once for each `state` and replica.
```
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from greenroom.caching.loader import Loader

if TYPE_CHECKING:
    from greenroom.caching.entry import CacheInfo, CacheKey
    from greenroom.caching.recipe import Recipe

__all__ = ["CachedFunction", "actor_cache"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class CachedFunction(Protocol[P, R_co]):
    """What `@actor_cache` makes of a function."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """The kept result, or a new one."""

    def __get__(self, instance: object, owner: type | None = None, /) -> CachedFunction[..., R_co]:
        """As a method, bound to its object."""

    def cache_info(self) -> CacheInfo:
        """Hits, misses, entries and bytes in this process."""

    def cache_clear(self) -> None:
        """Drop all entries of this loader in this process; those in use go when their calls end."""

    def cache_keys(self) -> list[CacheKey]:
        """The entries, most recently used last."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Recipe:
        """The loader with its arguments, for `prewarm=(load_model.bind(state=3),)`."""


@overload
def actor_cache(fn: Callable[P, T], /) -> CachedFunction[P, T]: ...
@overload
def actor_cache(
    fn: None = None,
    /,
    *,
    key: Callable[..., Any] | None = None,
    ignore: Sequence[str] = (),
    version: str = "",
    max_entries: int | None = None,
    max_memory: int | str | None = None,
    ttl: Any = None,
    on_evict: Callable[[Any], Any] | None = None,
    frozen: bool = False,
) -> Callable[[Callable[P, T]], CachedFunction[P, T]]: ...
def actor_cache(
    fn: Any = None,
    /,
    *,
    key: Callable[..., Any] | None = None,
    ignore: Sequence[str] = (),
    version: str = "",
    max_entries: int | None = None,
    max_memory: int | str | None = None,
    ttl: Any = None,
    on_evict: Callable[[Any], Any] | None = None,
    frozen: bool = False,
) -> Any:
    """Keep a function's results on the replica, keyed by its code and its arguments.

    `f(1)` is `f(x=1)`. Files, arrays and plain data count by content, objects by their `__hash__` and `__eq__`, and
    `1`, `1.0` and `True` are three keys. None is kept, exceptions are not. One load at a time for each key: other
    threads and coroutines wait for it. Outside of a replica it is a plain memo with the same semantics.

    Args:
        fn: A function, method, coroutine function, or another callable.
        key: Called with the arguments; what it returns is the key instead of them.
        ignore: Parameters that are no part of the key.
        version: Part of the key; change it to have everything loaded again.
        max_entries: Most entries on one replica. The one that was not used for longest goes first.
        max_memory: Most memory of its entries on one replica: bytes, or a size like `"8Gi"`.
        ttl: Seconds, or a timedelta, after which an entry is loaded again.
        on_evict: Called with the object when its entry goes, also when the process ends.
        frozen: Find calls that change the object, and fail them.

    Raises:
        BadLoader: The function or an option cannot be used.
    """

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod):
            return staticmethod(decorate(function.__func__))
        if isinstance(function, classmethod):
            return classmethod(decorate(function.__func__))
        from greenroom.caching.options import checked

        options = checked(function, ignore, version, max_entries, max_memory, ttl, on_evict, frozen, key)
        return _wrapped(Loader(function, **options))

    return decorate if fn is None else decorate(fn)


def _wrapped(loader: Loader) -> Any:
    cached: Any = _coroutine(loader) if loader.is_async else _plain(loader)
    fn = loader.fn
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        value = getattr(fn, name, None)
        if value is not None:
            setattr(cached, name, value)
    if isinstance(fn, FunctionType):
        # Not `__annotations__`: asking for those runs them, on Pythons that put it off.
        cached.__dict__.update(fn.__dict__)
    cached.__wrapped__ = fn
    cached.cache_info, cached.cache_clear, cached.cache_keys = loader.info, loader.clear, loader.keys
    cached.bind = _bound(loader)
    return cached


# What follows refers to nothing but the loader, so that a function of a notebook can be sent by value: its globals go
# with it.


def _plain(loader: Loader) -> Callable[..., Any]:
    def cached(*args: Any, **kwargs: Any) -> Any:
        found = loader.find(args, kwargs)
        return loader.call(args, kwargs) if found is loader.miss else found

    return cached


def _coroutine(loader: Loader) -> Callable[..., Any]:
    async def cached(*args: Any, **kwargs: Any) -> Any:
        found = loader.find(args, kwargs)
        return await loader.call_async(args, kwargs) if found is loader.miss else found

    return cached


def _bound(loader: Loader) -> Callable[..., Any]:
    return lambda *args, **kwargs: loader.bind(args, kwargs)


class _CallableModule(ModuleType):
    """`import greenroom; greenroom.actor_cache` names the decorator, and the import system names this module so too."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return actor_cache(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
