"""Eager tasks: real values, calls that start at once, errors that are the call's own and eager's too."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from greenroom.definition_errors import BadArgument
from greenroom.eager import EagerCall, eager, eager_error
from greenroom.errors import EagerException
from greenroom.mapping import map as gmap
from greenroom.task import EagerTask, task
from greenroom.workflow import workflow

events: list[str] = []


@pytest.fixture(autouse=True)
def _no_events():
    events.clear()


@task
def inc(n: int) -> int:
    events.append(f"inc {n}")
    return n + 1


@task
def fails(n: int) -> int:
    raise KeyError(n)


@task
async def later(n: int) -> int:
    events.append(f"begin {n}")
    await asyncio.sleep(0)
    events.append(f"end {n}")
    return n * 10


@workflow
def plus_two(n: int) -> int:
    return inc(n=inc(n=n))


class TestCalls:
    def test_are_awaited(self):
        """
        A call gives an awaitable; its value is real.
        """

        @eager
        async def body(n: int) -> int:
            got = await inc(n=n)
            return got * 2 if got > 1 else 0

        assert (asyncio.run(body(n=1)), asyncio.run(body(0))) == (4, 0)

    def test_start_at_once(self):
        """
        Calls run side by side and are gathered in order.
        """

        @eager
        async def body() -> list[int]:
            return list(await asyncio.gather(*(later(n=n) for n in range(3))))

        assert asyncio.run(body()) == [0, 10, 20]
        assert events[:3] == ["begin 0", "begin 1", "begin 2"]

    def test_may_be_used_without_awaiting(self):
        """
        A call of a plain task is its value for whoever uses it, as programs of this field do.
        """

        @eager
        async def body(n: int) -> int:
            got = inc(n=n)
            if got < 0:
                return -1
            return inc(n=got) + got

        assert asyncio.run(body(n=1)) == 5

    def test_take_calls_as_arguments(self):
        """
        A call that still runs can be handed on.
        """

        @eager
        async def body(n: int) -> int:
            return inc(n=later(n=n))

        assert asyncio.run(body(n=1)) == 11

    def test_of_everything(self):
        """
        Workflows and maps can be awaited too.
        """

        @eager
        async def body(n: int) -> tuple[int, list[int]]:
            return await plus_two(n=n), await gmap(inc)(n=[n, n])

        assert asyncio.run(body(n=1)) == (3, [2, 2])

    def test_of_other_eager_tasks(self):
        """
        Eager tasks call each other.
        """

        @eager
        async def inner(n: int) -> int:
            return await later(n=n)

        @eager
        async def outer(n: int) -> int:
            return await inner(n=n) + await inner(n=n + 1)

        assert asyncio.run(outer(n=1)) == 30

    def test_in_a_workflow(self):
        """
        An eager task is a node like any other.
        """

        @eager
        async def body(n: int) -> int:
            return await inc(n=n)

        @workflow
        def wf(n: int) -> int:
            return inc(n=body(n=n))

        assert wf(n=1) == 3

    def test_in_any_async_task(self):
        """
        What holds for eager tasks holds for async ones.
        """

        @task
        async def body(n: int) -> int:
            return await inc(n=n)

        assert asyncio.run(body(n=1)) == 2

    def test_that_nobody_waits_for_end_with_the_task(self):
        """
        A call left running is cancelled when its caller returns.
        """

        @task
        async def forever() -> int:
            await asyncio.sleep(3600)
            return 1

        @eager
        async def body() -> int:
            forever()
            return 1

        assert asyncio.run(body()) == 1


class TestErrors:
    def test_are_of_both_classes(self):
        """
        A failed call raises what is both `EagerException` and the user's own class.
        """

        @eager
        async def body(n: int) -> str:
            try:
                await fails(n=n)
            except EagerException as error:
                assert isinstance(error, KeyError)
                return f"{type(error).__name__} {error.args}"
            return ""

        assert asyncio.run(body(n=3)) == "KeyError (3,)"

    def test_can_be_caught_by_their_own_class(self):
        """
        `except KeyError` around an awaited call does what it says.
        """

        @eager
        async def body(n: int) -> int:
            try:
                return await fails(n=n)
            except KeyError:
                return await inc(n=n)

        assert asyncio.run(body(n=1)) == 2

    def test_that_are_not_caught_fail_the_task(self):
        """
        The caller of the eager task gets the call's own error.
        """

        @eager
        async def body(n: int) -> int:
            return await fails(n=n)

        with pytest.raises(KeyError):
            asyncio.run(body(n=1))

    def test_do_not_pass_unseen(self):
        """
        A failed call that nobody looked at fails its caller.
        """

        @eager
        async def body(n: int) -> int:
            fails(n=n)
            return 1

        with pytest.raises(EagerException):
            asyncio.run(body(n=1))

    def test_keep_what_the_error_carries(self):
        """
        Arguments and attributes stay, also through a pickle; a class that cannot be joined is told as text.
        """

        class Odd(Exception):
            def __init__(self, *, number: int) -> None:
                super().__init__(number)
                self.number = number

        made = eager_error(Odd(number=3))

        assert isinstance(made, Odd) and isinstance(made, EagerException) and made.number == 3
        again = pickle.loads(pickle.dumps(eager_error(OSError(2, "gone"))))
        assert isinstance(again, OSError) and again.args == (2, "gone")

    def test_only_coroutines_can_be_eager(self):
        """
        An eager task is an async def function.
        """
        with pytest.raises(BadArgument, match="async def"):
            eager(lambda: 1)


class TestProxies:
    def test_stand_for_their_value(self):
        """
        A call whose value is there behaves as it.
        """

        @eager
        async def body() -> list[object]:
            five = inc(n=4)
            assert isinstance(five, int) and EagerCall is type(five)
            return [
                five + 1,
                10 - five,
                five == 5,
                five > inc(n=0),
                [10, 20, 30, 40, 50, 60][five],
                f"{five:03d}",
                -five,
            ]

        assert asyncio.run(body()) == [6, 5, True, True, 60, "005", -5]

    def test_of_containers(self):
        """
        Items, lengths, attributes and loops reach through.
        """

        @task
        def words() -> list[str]:
            return ["a", "b"]

        @eager
        async def body() -> list[object]:
            got = words()
            return [got[0], len(got), list(got), "b" in got, got.index("b"), bool(got)]

        assert asyncio.run(body()) == ["a", 2, ["a", "b"], True, 1, True]

    def test_of_coroutines_must_be_awaited(self):
        """
        A coroutine's value is not there before it is awaited; the error says so.
        """

        @eager
        async def body(n: int) -> int:
            return later(n=n) + 1

        with pytest.raises(TypeError, match=r"await later\(...\)"):
            asyncio.run(body(n=1))

    def test_is_a_task(self):
        """
        An eager task is a task with options.
        """

        @eager(retries=2)
        async def body(n: int) -> int:
            return n

        assert isinstance(body, EagerTask) and body.options.retry.times == 2
