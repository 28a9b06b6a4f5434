"""`eager`: an async task with real values, whose calls of other tasks start at once and are awaited when needed.

A call gives an `EagerCall`: awaitable, and where its task is no coroutine also the value itself to whoever uses it
without awaiting, as programs of this field do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, ParamSpec, TypeVar, cast, overload

from greenroom.definition_errors import BadArgument, NotAwaited
from greenroom.errors import EagerException
from greenroom.lines import caller
from greenroom.scopes import Settled
from greenroom.task import EagerTask, task

P = ParamSpec("P")
R = TypeVar("R")


class EagerCall:
    """A call that was started: `await` it, or use it as the value if its task is no coroutine."""

    def __init__(self, name: str, started: Awaitable[Any] | Settled, now: Callable[[], Settled] | None = None) -> None:
        self._name = name
        self._seen = False
        self._settled = started if isinstance(started, Settled) else None
        self._task = None if isinstance(started, Settled) else asyncio.ensure_future(started)
        self._now: Callable[[], Settled] | None = now

    def __await__(self) -> Generator[Any, None, Any]:
        self._seen = True
        if self._task is None:
            return self._value()
        try:
            return (yield from self._task.__await__())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise eager_error(error) from error

    def _value(self) -> Any:
        self._seen = True
        if self._settled is None and self._now is not None:
            self._settled = self._now()
        if self._settled is None:
            raise NotAwaited(self._name)
        if self._settled.error is not None:
            raise eager_error(self._settled.error) from self._settled.error
        return self._settled.value

    async def _end(self, failed: bool) -> None:
        """The caller has ended: a coroutine that still runs is cancelled; a plain task's call is made to its end."""
        if self._task is not None and not self._task.done():
            if failed or self._now is None:
                self._task.cancel()
            await asyncio.wait([self._task])

    def _raise_if_unseen(self) -> None:
        if self._seen:
            return
        if self._settled is not None and self._settled.error is not None:
            raise eager_error(self._settled.error) from self._settled.error
        if self._task is not None and self._task.done() and not self._task.cancelled():
            error = self._task.exception()
            if error is not None:
                raise eager_error(error) from error

    def __repr__(self) -> str:
        return f"<call of {self._name}>" if self._settled is None or self._settled.error else repr(self._settled.value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # `isinstance(call, int)` speaks of the value that the call stands for.
        if self._settled is None or self._settled.error is not None:
            return EagerCall
        return type(self._settled.value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return getattr(self._value(), name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (_itself, (self._value(),))

    def __hash__(self) -> int:
        return object.__hash__(self)  # asyncio keeps what it waits for in dicts.


def _itself(value: Any) -> Any:
    return value


def _forward(name: str) -> Any:
    def forward(self: EagerCall, *others: Any) -> Any:
        method = getattr(type(self._value()), name, None)
        if method is None:
            return NotImplemented
        return method(self._value(), *(value_of(other) for other in others))

    return forward


for _name in [
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
    "radd",
    "rsub",
    "rmul",
    "rtruediv",
    "rfloordiv",
    "rmod",
    "rpow",
    "rand",
    "ror",
    "rxor",
    "neg",
    "pos",
    "abs",
    "invert",
    "int",
    "float",
    "index",
    "bool",
    "len",
    "iter",
    "next",
    "getitem",
    "setitem",
    "delitem",
    "contains",
    "str",
    "format",
    "bytes",
    "call",
    "round",
    "enter",
    "exit",
    "fspath",
    "divmod",
]:
    setattr(EagerCall, f"__{_name}__", _forward(f"__{_name}__"))


def _bool(self: EagerCall) -> bool:
    return bool(self._value())


EagerCall.__bool__ = _bool  # type: ignore[attr-defined]


def value_of(value: Any) -> Any:
    """The value itself where a call stands for it, also inside of lists, tuples and dicts."""
    kind = type(value)
    if kind is EagerCall:
        return value._value()
    if kind is list or kind is tuple:
        return kind(value_of(item) for item in value)
    if kind is dict:
        return {key: value_of(item) for key, item in value.items()}
    return value


def is_settled(value: Any) -> bool:
    """Whether no call in a value still runs."""
    kind = type(value)
    if kind is EagerCall:
        return value._settled is not None
    if kind is list or kind is tuple:
        return all(is_settled(item) for item in value)
    return all(is_settled(item) for item in value.values()) if kind is dict else True


async def awaited(value: Any) -> Any:
    """The same, waiting for calls that still run."""
    kind = type(value)
    if kind is EagerCall:
        return await value
    if kind is list or kind is tuple:
        return kind([await awaited(item) for item in value])
    if kind is dict:
        return {key: await awaited(item) for key, item in value.items()}
    return value


_KINDS: dict[type, type[EagerException]] = {}


def eager_error(error: BaseException) -> BaseException:
    """The error of a call as its caller sees it: an `EagerException` that is also of the error's own class."""
    if isinstance(error, EagerException) or not isinstance(error, Exception):
        return error
    kind = type(error)
    try:
        if kind not in _KINDS:
            body = {"__module__": kind.__module__, "__str__": kind.__str__, "__reduce__": _reduced}
            _KINDS[kind] = type(kind.__name__, (EagerException, kind), body)
        made = _KINDS[kind].__new__(_KINDS[kind], *error.args)
        made.args = error.args
        made.__dict__.update(error.__dict__)
    except Exception:  # A class that cannot be joined with another, or made without its own arguments.
        return EagerException(f"{kind.__name__}: {error}")
    return made


def _reduced(self: BaseException) -> Any:
    return (_eager_again, (type(self).__bases__[1], self.args, self.__dict__))


def _eager_again(kind: type[Exception], args: tuple[Any, ...], fields: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return eager_error(error)


@overload
def eager(_fn: Callable[P, R], /) -> EagerTask[P, R]: ...


@overload
def eager(**options: Any) -> Callable[[Callable[P, R]], EagerTask[P, R]]: ...


def eager(_fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a coroutine function an eager task: its calls of tasks start at once, each a node of the same execution.

    A failed call raises a class that is both `EagerException` and that of its own error.

    Args:
        _fn: The function, for `@eager` without arguments.
        **options: As for `task`.

    Raises:
        BadArgument: The function is no coroutine function.
    """
    line = caller()

    def decorate(function: Callable[..., Any]) -> EagerTask[Any, Any]:
        if not asyncio.iscoroutinefunction(function):
            raise BadArgument("eager", "the decorated object", function, "an async def function").at(line)
        return cast("EagerTask[Any, Any]", task(**{**options, "execution_mode": "eager"})(function))

    return decorate if _fn is None else decorate(_fn)
