"""Programs that the tests of the client submit; a fake hub makes up their results."""

from __future__ import annotations

from typing import NamedTuple

import greenroom

actor = greenroom.ActorEnvironment(name="fake", replica_count=2)


class BadPixel(ValueError):
    """A user's own error."""


class Pair(NamedTuple):
    """A user's own named tuple."""

    left: int
    right: str


@actor.task
def double(n: int) -> int:
    return 2 * n


@actor.task
def pair(n: int) -> Pair:
    return Pair(n, str(n))


@actor.task
def long(text: str) -> int:
    return len(text)


@greenroom.workflow
def one(n: int = 3) -> int:
    return double(n=n)


@greenroom.workflow
def two(n: int = 3) -> tuple[int, int]:
    return double(n=n), double(n=n)


@greenroom.workflow
def none(n: int = 3) -> None:
    double(n=n)


@greenroom.workflow
def many(ns: list[int]) -> list[int]:
    return greenroom.map(double)(n=ns)
