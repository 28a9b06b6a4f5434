"""Arguments as a loader's parameters get them: `f(1)` is `f(x=1)`, and defaults are filled in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, Final

from greenroom.caching.errors import BadLoader

_VARIADIC: Final = 0x04
_KEYWORDS: Final = 0x08

Bind = Callable[..., Any]
"""Takes what the loader takes. Gives the one parameter that counts, or a tuple of several."""


def parameters(function: FunctionType) -> tuple[str, ...]:
    """All parameters, in the order of the key."""
    code = function.__code__
    count = (
        code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARIADIC) + bool(code.co_flags & _KEYWORDS)
    )
    return code.co_varnames[:count]


def check_names(loader: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names in `ignore=` that no parameter has.

    Raises:
        BadLoader: One that there is not.
    """
    for name in names:
        if name not in known:
            raise BadLoader(loader, f"ignore={name!r} names no parameter; it has {', '.join(known) or 'none'}")


def given(function: object, ignore: Sequence[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller has passed, by parameter: defaults, and what is no part of the key, left out."""
    named: dict[str, Any] = {}
    if isinstance(function, FunctionType):
        code = function.__code__
        named.update(zip(code.co_varnames[: code.co_argcount], args, strict=False))
        args = args[code.co_argcount :]
    named.update({f"*{place}": value for place, value in enumerate(args)})
    named.update(kwargs)
    return {name: value for name, value in named.items() if name not in ignore}


def compiled_bind(function: FunctionType, kept: Sequence[str]) -> Bind:
    """A function that binds in C what the loader's own signature would, and gives the parameters that count."""
    code = function.__code__
    head = ", ".join(_signature(code))
    body = kept[0] if len(kept) == 1 else "(" + "".join(f"{name}, " for name in kept) + ")"
    names: dict[str, Any] = {}
    exec(f"def bind({head}):\n    return {body}\n", names)
    bind: FunctionType = names["bind"]
    bind.__defaults__, bind.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    # A call with arguments that do not fit fails in here: it should name the loader.
    bind.__name__, bind.__qualname__ = function.__name__, function.__qualname__
    return bind


def _signature(code: CodeType) -> list[str]:
    names = code.co_varnames
    plain, only = code.co_argcount, code.co_kwonlyargcount
    parts = list(names[:plain])
    if code.co_posonlyargcount:
        parts.insert(code.co_posonlyargcount, "/")
    at = plain + only
    if code.co_flags & _VARIADIC:
        parts.append("*" + names[at])
        at += 1
    elif only:
        parts.append("*")
    parts += names[plain : plain + only]
    if code.co_flags & _KEYWORDS:
        parts.append("**" + names[at])
    return parts


def signature_bind(function: Callable[..., Any], ignore: Sequence[str], loader: str) -> tuple[Bind, tuple[str, ...]]:
    """For what is no plain function, or hides its signature behind `*args, **kwargs`: a slower way, and the names."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # A builtin that does not say.
        return _loose, ("args", "kwargs")
    check_names(loader, ignore, tuple(signature.parameters))
    names = tuple(name for name in signature.parameters if name not in ignore)

    def bind(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as fault:
            raise TypeError(f"{loader}() {fault}") from None
        bound.apply_defaults()
        values = tuple(bound.arguments[name] for name in names)
        return values[0] if len(values) == 1 else values

    return bind, names


def _loose(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def preview(names: Sequence[str], values: Sequence[Any], most: int = 80) -> str:
    """`state=3, kind="small"`: enough to tell entries apart, without running any of the user's code."""
    text = ", ".join(f"{name}={_show(value)}" for name, value in zip(names, values, strict=False))
    return text if len(text) <= most else text[: most - 3] + "..."


def _show(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return f'"{value}"' if len(value) <= 40 else f'"{value[:18]}...{value[-18:]}"'
    if kind in (int, float, bool, complex, type(None)):
        return repr(value) if kind is not int or abs(value) < 10**18 else hex(value)[:18] + "..."
    if kind is bytes:
        return f"bytes[{len(value)}]"
    if kind in (list, tuple, dict, set, frozenset):
        return f"{kind.__name__}[{len(value)}]"
    if isinstance(value, type) or kind is FunctionType:
        return str(value.__qualname__)
    return kind.__qualname__
