"""What waits, what runners hold, and how much they are given."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from greenroom_protocol.frames import Assign
from greenroom_replica.core.slots import MOST_AHEAD, Batch, Hand, Pace, Queue, check


def batch(size: int, node: str = "n", items: int | list[int] = 0, attempts: int | list[int] = 1) -> Batch:
    ends = array("Q", range(1, size + 1)).tobytes()
    payload = bytes(n % 256 for n in range(size))
    return Batch(Assign(b"d", "e", node, items, attempts, 0, ends, payload, {}))


class TestQueue:
    def test_first_come_first_served(self) -> None:
        """
        Calls leave in the order in which they came, at most as many at a time as were asked for.
        """
        queue = Queue()
        queue.add(batch(3, "a"))
        queue.add(batch(2, "b"))

        taken = [queue.take(2), queue.take(2), queue.take(5), queue.take(1)]

        assert [(t[0].assign.node, t[1], t[2]) for t in taken if t is not None] == [
            ("a", 0, 2),
            ("a", 2, 3),
            ("b", 0, 2),
        ]
        assert taken[-1] is None
        assert not queue

    def test_dropped_calls_are_passed_over(self) -> None:
        """
        What was revoked does not come out, wherever it stood; items may be listed or counted.
        """
        queue = Queue()
        queue.add(batch(6, items=[5, 9, 2, 7, 1, 3]))

        dropped = queue.drop("e", "n", [9, 1, 99])
        taken = []
        while (found := queue.take(10)) is not None:
            taken += [found[0].item(position) for position in range(found[1], found[2])]

        assert [b.item(position) for b, position in dropped] == [9, 1]
        assert taken == [5, 2, 7, 3]

    def test_what_returns_is_first_again(self) -> None:
        """
        Calls that a runner gives back keep their place before those that came later.
        """
        queue = Queue()
        queue.add(batch(5, "a"))
        queue.add(batch(1, "b"))
        first = queue.take(2)
        second = queue.take(3)
        assert first is not None
        assert second is not None

        queue.put_back([(first[0], 1, 2), second])
        order = []
        while (found := queue.take(1)) is not None:
            order.append((found[0].assign.node, found[0].item(found[1])))

        assert order == [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 0)]

    def test_a_part_of_a_batch_carries_its_own_columns(self) -> None:
        """
        Calls that return on their own have the inputs, items and attempts that they had.
        """
        queue = Queue()
        original = batch(4, items=[10, 20, 30, 40], attempts=[1, 2, 3, 4])
        queue.add(original)
        taken = queue.take(4)
        assert taken is not None

        queue.put_back([(original, 2, 4)])
        found = queue.take(9)

        assert found is not None
        part = found[0]
        assert [part.held(position)[2:] for position in range(found[1], found[2])] == [(30, 3), (40, 4)]
        assert check(part.assign) is None

    def test_an_empty_list_means_all_of_the_node_and_an_empty_node_all_of_the_execution(self) -> None:
        """
        Cancels name as little as they need.
        """
        queue = Queue()
        queue.add(batch(2, "a"))
        queue.add(batch(2, "b"))

        of_node = queue.drop("e", "a", [])
        of_execution = queue.drop("e", "", [])
        of_other = queue.drop("other", "", [])

        assert (len(of_node), len(of_execution), of_other) == (2, 2, [])


class TestHand:
    def test_calls_end_in_any_order(self) -> None:
        """
        What is open is what was given and has not ended, in order or out of it.
        """
        hand = Hand()
        hand.give(batch(3), 0, 3)
        hand.give(batch(2), 0, 2)

        ended = [hand.ended(2), hand.ended(5), hand.ended(2), hand.ended(1), hand.ended(9)]

        assert ended == [True, True, False, True, False]
        assert (hand.open_serials(), len(hand)) == ([3, 4], 2)

    def test_what_is_taken_back_never_ends(self) -> None:
        """
        Serials that were taken back are void, and those given later are new ones.
        """
        hand = Hand()
        given_batch = batch(5)
        hand.give(given_batch, 0, 5)
        hand.ended(1)

        taken = hand.take_back(2)
        span = hand.give(batch(1), 0, 1)

        assert taken == [(given_batch, 2, 5)]
        assert span.first == 6
        assert (hand.open_serials(), hand.ended(4)) == ([2, 6], False)

    def test_neighbours_end_at_once(self) -> None:
        """
        The usual case is noted in one step, and only where it is the usual case.
        """
        hand = Hand()
        hand.give(batch(4), 0, 4)

        assert not hand.ended_through(2, 3)
        assert hand.ended_through(1, 3)
        assert (hand.open_serials(), hand.last_ended) == ([4], 3)


class HandMachine(RuleBasedStateMachine):
    """A hand against a plain set."""

    def __init__(self) -> None:
        super().__init__()
        self.hand = Hand()
        self.open: set[int] = set()
        self.next = 1

    @rule(size=st.integers(1, 6))
    def give(self, size: int) -> None:
        span = self.hand.give(batch(size), 0, size)
        assert span.first == self.next
        self.open |= set(range(self.next, self.next + size))
        self.next += size

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        serial = data.draw(st.integers(1, self.next))
        assert self.hand.ended(serial) == (serial in self.open)
        self.open.discard(serial)

    @rule(count=st.integers(1, 8))
    def end_first(self, count: int) -> None:
        first = min(self.open, default=0)
        serials = [serial for serial in range(first, first + count) if serial in self.open]
        if serials and self.hand.ended_through(serials[0], serials[-1]):
            assert serials == list(range(serials[0], serials[-1] + 1))
            self.open -= set(serials)

    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        after = data.draw(st.integers(0, self.next))
        begun = max([after, *(s for s in range(1, self.next) if s not in self.open)], default=0)
        taken = self.hand.take_back(begun)
        assert sum(stop - start for _, start, stop in taken) == sum(serial > begun for serial in self.open)
        self.open = {serial for serial in self.open if serial <= begun}

    @invariant()
    def agrees(self) -> None:
        assert self.hand.open_serials() == sorted(self.open)
        assert len(self.hand) == len(self.open)
        assert all(self.hand.span_of(serial) is not None for serial in self.open)


TestHandMachine = HandMachine.TestCase


class TestPace:
    def test_the_first_call_goes_alone(self) -> None:
        """
        Nothing is known yet, so nothing waits behind it.
        """
        assert Pace().room(0.002) == 1

    def test_short_calls_go_in_larger_and_larger_numbers(self) -> None:
        """
        The number doubles up to what fits in the time.
        """
        pace = Pace()
        pace.measured(1, 20e-6)

        grants = [pace.room(0.002) for _ in range(8)]

        assert grants == [2, 4, 8, 16, 32, 64, 100, 100]

    def test_long_calls_go_one_by_one_at_once(self) -> None:
        """
        One long call after many short ones ends the depth.
        """
        pace = Pace()
        for _ in range(20):
            pace.measured(50, 50 * 10e-6)
            pace.room(0.002)

        pace.measured(1, 0.5)

        assert pace.room(0.002) == 1

    @given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 100)), max_size=30))
    def test_the_number_is_always_possible(self, measured: list[tuple[int, float]]) -> None:
        """
        Whatever was measured, at least one call goes and never more than a runner may hold.
        """
        pace = Pace()
        for calls, seconds in measured:
            pace.measured(calls, seconds)
            assert 1 <= pace.room(0.002) <= MOST_AHEAD


def test_columns_that_do_not_agree_are_named() -> None:
    """
    An assignment is checked before anything of it is taken.
    """
    good = batch(3).assign

    assert check(good) is None
    assert check(good._replace(items=[1, 2])) == "items holds 2 of 3 calls"
    assert check(good._replace(attempts=[1])) == "attempts holds 1 of 3 calls"
    assert check(good._replace(ends=b"")) == "ends of 0 bytes"
    assert check(good._replace(payload=b"")) == "a payload of 0 bytes ends at 3"
