"""Amounts as people write them: `"8Gi"`, `"500m"`, `2`, `"90s"`; one place that reads them, and says what it took.

The suffixes are those of Kubernetes, because the same text ends there: Ki, Mi, Gi, ... are powers of 1024, k, M, G, ...
powers of 1000, and m is a thousandth.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final, TypeAlias

from greenroom.definition_errors import BadAmount

Size: TypeAlias = int | float | str
"""Bytes, or text such as `"8Gi"`."""

Seconds: TypeAlias = float | timedelta
"""A number of seconds, or a timedelta."""

_FACTORS: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}
_AMOUNT: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*([numkKMGTPE]i?)?\s*")


def quantity(text: str) -> float | int | None:
    """The number that `text` stands for, None if it is none."""
    match = _AMOUNT.fullmatch(text)
    factor = _FACTORS.get(match[3] or "") if match else None
    if match is None or factor is None:
        return None
    digits = match[1] + (match[2] or "")
    number = int(digits) if digits.isdigit() else float(digits)
    return number * factor


def size(value: Size, what: str) -> int:
    """Bytes, from bytes or text such as `"8Gi"`.

    Args:
        value: What the user wrote.
        what: The parameter that it was given for, for the error.

    Raises:
        BadAmount: It is no amount, or below zero.
    """
    number = _number(value)
    if number is None or not 0 <= number < 2**63:
        raise BadAmount(what, value, 'a size in bytes, as a number or as text like "512Mi" or "8Gi"')
    return round(number)


def cores(value: Size, what: str) -> float:
    """Cores, from a number or text such as `"500m"`.

    Raises:
        BadAmount: It is no amount, or below zero.
    """
    number = _number(value)
    if number is None or not 0 <= number < 2**31:
        raise BadAmount(what, value, 'a number of cores, like 2, 0.5 or "500m"')
    return float(round(number, 9))


def count(value: Size, what: str) -> int:
    """A whole number of things, from an int or its digits.

    Raises:
        BadAmount: It is no whole number, or below zero.
    """
    number = _number(value)
    if number is None or number != int(number) or not 0 <= number < 2**31:
        raise BadAmount(what, value, "a whole number, like 1")
    return int(number)


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    number = quantity(value) if isinstance(value, str) else value
    return None if number is None or number != number else number


def seconds(value: Seconds, what: str, *, zero: bool = False) -> float:
    """Seconds, from a number or a timedelta; above zero unless `zero` is allowed.

    Raises:
        BadAmount: It is neither, or too small.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    wrong = isinstance(number, bool) or not isinstance(number, (int, float)) or number != number
    if wrong or number < 0 or (number == 0 and not zero) or number == float("inf"):
        least = "0 or more" if zero else "more than 0"
        raise BadAmount(what, value, f"a number of seconds or a timedelta, {least}")
    return float(number)


def whole(value: object, what: str, least: int = 1) -> int:
    """An int of at least `least`: booleans, floats and text are no counts.

    Raises:
        BadAmount: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadAmount(what, value, f"a whole number of at least {least}")
    return value
