"""The memory that runner and supervisor share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greenroom_replica.core.page import AREA, CAPACITY, HEAD, LARGEST, SIZE, TAIL, Page


def page() -> Page:
    return Page(memoryview(bytearray(SIZE)))


def publish(page: Page) -> None:
    page.words[HEAD] += 1


def test_what_is_put_is_taken_in_order() -> None:
    """
    Outcomes come out as they went in, once.
    """
    shared = page()
    for serial in (1, 2, 3):
        assert shared.put(serial, 10 * serial, serial, 0, b"v" * serial)
        publish(shared)

    harvest = shared.take()

    assert harvest is not None
    assert (harvest.serials, harvest.started, harvest.durations) == ([1, 2, 3], [10, 20, 30], [1, 2, 3])
    assert (harvest.statuses, harvest.sizes, harvest.payload) == (b"\0\0\0", [1, 2, 3], b"vvvvvv")
    assert shared.take() is None


def test_an_outcome_that_is_not_counted_yet_is_seen_only_on_request() -> None:
    """
    The entry at the head is taken after a crash between writing and counting, and at no other time.
    """
    shared = page()
    shared.put(1, 0, 0, 0, b"value")

    before, after = shared.take(), shared.take(unpublished=True)

    assert before is None
    assert after is not None
    assert (after.serials, after.payload) == ([1], b"value")


def test_extras_are_added_to_the_last_outcome() -> None:
    """
    Extras stand behind their outcome's payload and come out beside it.
    """
    shared = page()
    shared.put(1, 0, 0, 0, b"one")
    publish(shared)
    shared.put(2, 0, 0, 0, b"two")
    assert shared.amend(b"said")
    publish(shared)

    harvest = shared.take()

    assert harvest is not None
    assert (harvest.payload, harvest.extras) == (b"onetwo", {1: b"said"})


def test_a_full_page_takes_nothing_more_until_it_is_read() -> None:
    """
    Neither too many outcomes nor too many bytes overwrite what nobody has read.
    """
    shared = page()
    for serial in range(CAPACITY):
        assert shared.put(serial + 1, 0, 0, 0, b"")
        publish(shared)

    assert not shared.put(0, 0, 0, 0, b"")
    shared.take()
    assert shared.put(1, 0, 0, 0, b"x" * LARGEST)
    publish(shared)
    assert shared.put(2, 0, 0, 0, b"y" * (AREA - LARGEST))
    publish(shared)
    assert not shared.put(3, 0, 0, 0, b"z")
    harvest = shared.take()
    assert harvest is not None
    assert harvest.payload == b"x" * LARGEST + b"y" * (AREA - LARGEST)


OUTCOMES = st.lists(
    st.tuples(st.integers(0, 2 * AREA // 5), st.integers(0, AREA // 7), st.booleans()), min_size=1, max_size=60
)


@given(OUTCOMES)
def test_whatever_the_sizes_everything_comes_out_as_it_went_in(outcomes: list[tuple[int, int, bool]]) -> None:
    """
    Outcomes and extras of any size, read at any moment, wrap around without harm.
    """
    shared = page()
    given_out: list[tuple[int, bytes, bytes]] = []
    put_in: list[tuple[int, bytes, bytes]] = []

    def drain() -> None:
        harvest = shared.take()
        if harvest is None:
            return
        at = 0
        for place, serial in enumerate(harvest.serials):
            payload = harvest.payload[at : at + harvest.sizes[place]]
            given_out.append((serial, payload, harvest.extras.get(place, b"")))
            at += harvest.sizes[place]

    for serial, (size, extra, reads) in enumerate(outcomes, 1):
        payload, extras = bytes([serial]) * size, bytes([255 - serial]) * extra
        while not shared.put(serial, 0, 0, 0, payload):
            drain()
        while extras and not shared.amend(extras):
            drain()
        publish(shared)
        put_in.append((serial, payload, extras))
        if reads:
            drain()
    drain()

    assert given_out == put_in
    assert shared.words[HEAD] == shared.words[TAIL] == len(outcomes)
