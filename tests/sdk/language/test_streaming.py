"""`Client.map`: an iterable of any length, read no faster than its results are taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from greenroom import ActorEnvironment, task
from greenroom.client import AsyncClient, Client
from greenroom.definition_errors import BadArgument
from greenroom.handles import FailedCall
from greenroom.streaming import Stream, handed_out
from greenroom.submitting import place_of
from greenroom.testing import hub  # noqa: F401  (a fixture)
from tests.sdk.language.test_flow import elsewhere  # noqa: F401  (a fixture)

actor = ActorEnvironment("streamed", replica_count=3)


@actor.task
def add(a: int, b: int = 10) -> int:
    return a + b


@task
def both(a: int, b: int) -> tuple[int, int]:
    return a, b


class TestBatches:
    def test_are_read_as_there_is_room(self):
        """
        One item at first, and no more batches than keep the replicas busy, whatever is left of the iterable.
        """
        numbers = itertools.count()
        stream = Stream(add, (numbers,), {"b": 1}, None)

        batches: list[Any] = []
        while (batch := stream.read(len(batches))) is not None:
            batches.append(batch)

        assert [{"a": [place]} for place in range(8)] == [batch.inputs for batch in batches]
        assert 8 == next(numbers)

    def test_grow_as_long_as_they_are_short(self):
        """
        A batch is as large as takes a third of a second, at most four times the one before; long items go alone.
        """
        stream = Stream(add, (itertools.count(),), {}, None)

        sizes = []
        for seconds in (0.001, 0.001, 0.001, 2.0):
            batch = stream.read(0)
            sizes.append(batch.size)
            stream.took(batch, seconds * batch.size)
            stream.taken(batch)
        sizes.append(stream.read(0).size)

        assert [1, 4, 16, 64, 1] == sizes

    def test_leave_no_more_under_way_than_the_caller_says(self):
        """
        `ahead` counts items that were read and whose results nobody has taken.
        """
        stream = Stream(add, (itertools.count(),), {}, 3)

        read = [stream.read(0), stream.read(1), stream.read(2)]
        more = stream.read(3)
        stream.taken(read[0])

        assert more is None
        assert 1 == stream.read(2).size

    def test_end_with_the_iterable(self):
        """
        Iterables are walked side by side; the last batch is what is left.
        """
        stream = Stream(both, (iter([1, 2, 3]), [4, 5, 6]), {}, None)
        first = stream.read(0)
        stream.took(first, 0.001)

        rest = stream.read(0)

        assert {"a": [2, 3], "b": [5, 6]} == rest.inputs
        assert stream.read(0) is None

    def test_of_iterables_of_different_lengths(self):
        """
        Items without a fellow are an error, not left out.
        """
        stream = Stream(both, ([1], [1, 2]), {}, None)
        stream.read(0)

        with pytest.raises(ValueError, match="longer"):
            stream.read(0)

    def test_give_back_results_and_failures_in_their_places(self):
        """
        A failed item raises where it stands, with its place in the whole; or is given.
        """
        stream = Stream(add, ([1, 2, 3],), {}, None)
        batch = stream.read(0)._replace(first=7, size=3)

        def results() -> Iterator[Any]:
            failed = [FailedCall("add", 1, ValueError("bad"))]
            return stream.results(batch, [11, None, 13], failed)

        given = list(handed_out(results(), return_exceptions=True))

        assert [11, "bad", 13] == [str(one) if isinstance(one, ValueError) else one for one in given]
        with pytest.raises(ValueError, match="bad") as caught:
            list(handed_out(results(), return_exceptions=False))
        assert ["item 8"] == caught.value.__notes__


@pytest.mark.parametrize(
    ("target", "iterables", "bound", "ahead"),
    [(add, (), {}, None), (both, ([1],), {}, None), (add, ([1], [2], [3]), {}, None), (add, ([1],), {}, 0)],
)
def test_misuse(target, iterables, bound, ahead):
    """
    As many iterables as there are inputs that nothing else gives; `ahead` is a number of items.
    """
    with pytest.raises(BadArgument):
        Stream(target, iterables, bound, ahead)


@pytest.mark.e2e
def test_an_endless_iterable(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    Results of an iterable without an end come in order; what was read beyond them is bounded, and ended.
    """
    numbers = itertools.count()

    taken = list(itertools.islice(hub.map(elsewhere.add, numbers, b=1), 3000))

    assert list(range(1, 3001)) == taken
    assert next(numbers) < 3000 + 6 * 500


@pytest.mark.e2e
def test_as_they_complete_and_with_failures(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    Out of order all results come too; exceptions are given in place of failed items, or raised by the first.
    """
    given = list(hub.map(partial(elsewhere.odd), range(40), ordered=False, return_exceptions=True))

    assert sorted(one for one in given if isinstance(one, int)) == list(range(1, 40, 2))
    assert 20 == sum(isinstance(one, ValueError) for one in given)
    with pytest.raises(ValueError, match="0 is even") as caught:
        list(hub.map(elsewhere.odd, range(40)))
    assert "item 0" in caught.value.__notes__


@pytest.mark.e2e
def test_workflows_and_plans(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    What is no plain task runs as an execution an item.
    """
    assert [5, 9] == list(hub.map(elsewhere.plan, [[1, 2], [3, 4]]))
    assert [[1, 2], [2, 3]] == list(hub.map(elsewhere.inner, [0, 1]))


@pytest.mark.e2e
async def test_for_coroutines(hub: Client, elsewhere: Any) -> None:  # noqa: F811
    """
    The async client gives the same.
    """
    async with AsyncClient(hub.url) as client:
        client._shared.found = hub._shared.hub()
        assert [1, 2, 3] == [one async for one in client.map(elsewhere.inc, range(3))]


def test_a_map_belongs_to_the_project_of_its_task():
    """
    What is bundled for `Client.map` is the file that defines the task, so that it travels once, by module.
    """
    assert __file__ == place_of(Stream(add, ([1],), {}, None).entity)
