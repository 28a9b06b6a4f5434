"""The tasks."""

import time


def hello(n: int) -> int:
    return n + 1


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def echo(data: bytes) -> bytes:
    return data


TASKS = {"hello": hello, "nap": nap, "echo": echo}
