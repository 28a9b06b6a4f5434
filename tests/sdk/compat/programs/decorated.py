import functools
import logging
from functools import partial, wraps

from flytekit import task, workflow


def log_io(fn):
    @functools.wraps(fn)
    def wrapper(*args, **kwargs):
        print("called", args, kwargs)
        return fn(*args, **kwargs)

    return wrapper


def validate(fn=None, *, floor=0):
    @wraps(fn)
    def wrapper(*args, **kwargs):
        out = fn(*args, **kwargs)
        if out <= floor:
            raise ValueError(f"{out} is too small")
        return out

    if fn is None:
        return partial(validate, floor=floor)
    return wrapper


def setup_teardown(fn=None, *, before, after):
    @wraps(fn)
    def wrapper(*args, **kwargs):
        b = before()
        o = fn(*args, **kwargs)
        a = after()
        b >> (o if hasattr(o, "__rshift__") else b) if False else None
        return o

    if fn is None:
        return partial(setup_teardown, before=before, after=after)
    return wrapper


@task
def before() -> None:
    print("before")


@task
def after() -> None:
    print("after")


@task
@log_io
@validate
def t1(x: int) -> int:
    return x + 1


@task
@log_io
def t2(x: int, k: int = 2) -> int:
    return x * k


@workflow
@setup_teardown(before=before, after=after)
def wf(x: int) -> int:
    """doc"""
    return t2(x=t1(x=x))
