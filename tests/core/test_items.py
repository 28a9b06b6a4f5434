"""The calls of a node as compact columns, held against a plain model."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from greenroom_core.mapping import Items, ItemState, place_of, row_and_position
from greenroom_core.states import ITEM_MOVES
from greenroom_protocol.calls import Status
from tests.driver import columns

READY, HELD, DELAYED = ItemState.READY, ItemState.HELD, ItemState.DELAYED
ASIDE = "aside"


class ItemsMachine(RuleBasedStateMachine):
    """Whatever happens to items, in whatever order, the columns say what a dict of states says."""

    @initialize(n=st.integers(0, 12), limit=st.none() | st.integers(1, 5))
    def begin(self, n, limit):
        self.items = Items(n, limit)
        self.model: dict[int, object] = dict.fromkeys(range(n), READY)
        self.attempts = dict.fromkeys(range(n), 1)
        self.places: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self.now = 1
        self.row = 0
        self.closed = False

    def among(self, data, *states):
        """Some items in one of these states."""
        known = [item for item, state in self.model.items() if state in states]
        return sorted(data.draw(st.sets(st.sampled_from(known), max_size=4))) if known else []

    def open_items(self):
        return [item for item, state in self.model.items() if state in (READY, HELD, DELAYED, ASIDE)]

    @rule(most=st.integers(0, 6))
    def take(self, most):
        """Items are handed out once, in no more than the limit at a time."""
        held = sum(state is HELD for state in self.model.values())
        ready = [item for item, state in self.model.items() if state is READY]
        room = len(ready) if self.items.limit is None else max(0, min(len(ready), self.items.limit - held))
        room = 0 if self.closed else room

        taken = list(self.items.take(most))

        assert len(set(taken)) == len(taken) <= max(0, min(most, room))
        assert taken or not room or not most
        for item in taken:
            assert self.model[item] is READY
            self.model[item] = HELD

    @rule(data=st.data())
    def give_back(self, data):
        """What a replica did not begin is ready again."""
        items = self.among(data, HELD, READY)
        self.items.give_back(items)
        for item in items:
            self.model[item] = READY

    @rule(data=st.data())
    def hold(self, data):
        """After a restart, replicas say what they hold."""
        for item in self.among(data, READY, DELAYED, ASIDE, HELD, ItemState.SUCCEEDED):
            self.items.hold(item)
            if self.model[item] in (READY, DELAYED, ASIDE):
                self.model[item] = HELD
                self.due.pop(item, None)

    @rule(data=st.data())
    def set_aside(self, data):
        """A ready item waits for another one that computes the same."""
        for item in self.among(data, READY, HELD):
            self.items.set_aside(item)
            if self.model[item] is READY:
                self.model[item] = ASIDE

    @rule(data=st.data())
    def take_up(self, data):
        """It waits no more."""
        for item in self.among(data, ASIDE, DELAYED, HELD):
            self.items.take_up(item)
            if self.model[item] is ASIDE:
                self.model[item] = READY

    @rule(data=st.data(), neighbours=st.booleans())
    def succeed(self, data, neighbours):
        """A batch of successes, as neighbours or one by one."""
        known = self.open_items()
        if not known:
            return
        if neighbours:
            first = data.draw(st.sampled_from(known))
            stop = first + 1
            while stop in known and data.draw(st.booleans()):
                stop += 1
            chosen = list(range(first, stop))
        else:
            chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=4, unique=True))
        attempts = [self.attempts[item] for item in chosen]
        batch = columns(chosen, attempts, [Status.SUCCEEDED] * len(chosen), [b"\x01"] * len(chosen))
        assert self.items.stale(batch) == ()
        self.row += 1
        self.items.succeed(batch, self.row)
        for position, item in enumerate(chosen):
            self.model[item] = ItemState.SUCCEEDED
            self.places[item] = place_of(self.row, position)
            self.due.pop(item, None)

    @rule(data=st.data(), state=st.sampled_from([ItemState.FAILED, ItemState.ABORTED, ItemState.SUCCEEDED]))
    def end(self, data, state):
        """Single items end in any way."""
        for item in self.among(data, READY, HELD, DELAYED, ASIDE):
            self.row += 1
            self.items.end(item, state, place_of(self.row, 0))
            self.model[item] = state
            self.places[item] = place_of(self.row, 0)
            self.due.pop(item, None)

    @rule(data=st.data(), delay=st.integers(0, 5))
    def again(self, data, delay):
        """Items get a further attempt, at once or later."""
        for item in self.among(data, READY, HELD, DELAYED):
            self.items.again(item, self.now + delay if delay else 0)
            self.attempts[item] += 1
            self.model[item] = DELAYED if delay else READY
            self.due.pop(item, None)
            if delay:
                self.due[item] = self.now + delay

    @rule(passed=st.integers(0, 4))
    def wake(self, passed):
        """Time passes; what is due is ready."""
        self.now += passed
        woken = self.items.wake(self.now)
        due = [item for item, at in self.due.items() if at <= self.now]
        assert woken == bool(due)
        for item in due:
            self.model[item] = READY
            del self.due[item]

    @rule()
    def close(self):
        """Nothing more is handed out."""
        self.items.close()
        self.closed = True

    @rule()
    def end_all(self):
        """The node has ended."""
        self.items.abort_rest()
        self.closed = True
        self.due.clear()
        for item in self.open_items():
            self.model[item] = ItemState.ABORTED

    @rule(item=st.integers(-3, 15), attempt=st.integers(0, 4), list_form=st.booleans())
    def a_stale_outcome_is_told(self, item, attempt, list_form):
        """An outcome of another attempt, of an ended item or of none is stale; any other is not."""
        if item < 0:
            return
        fits = item in self.model and item in self.open_items() and self.attempts[item] == attempt
        batch = columns([item], [attempt], [Status.SUCCEEDED], [b"\x01"])
        if list_form:
            batch = batch._replace(items=[item], attempts=[attempt])
        assert self.items.stale(batch) == (() if fits else (0,))
        assert self.items.runs(item, attempt) == fits

    @invariant()
    def moves_are_in_the_table(self):
        now = bytes(self.items.states) if hasattr(self, "items") else b""
        for before, after in zip(getattr(self, "before", b""), now, strict=False):
            assert before == after or ItemState(after) in ITEM_MOVES[ItemState(before)]
        self.before = now

    @invariant()
    def columns_say_what_the_model_says(self):
        if not hasattr(self, "items"):
            return
        items = self.items
        seen = {ASIDE: int(DELAYED)}
        assert list(items.states) == [seen.get(state, state) for state in self.model.values()]
        assert items.attempts.tolist() == list(self.attempts.values())
        states = list(self.model.values())
        assert items.held == states.count(HELD)
        assert items.succeeded == states.count(ItemState.SUCCEEDED)
        assert items.failed == states.count(ItemState.FAILED)
        assert items.aborted == states.count(ItemState.ABORTED)
        assert items.open == len(self.open_items())
        ready = states.count(READY)
        room = ready if items.limit is None else max(0, min(ready, items.limit - items.held))
        assert items.room == (0 if self.closed else room)
        assert {item: items.places[item] for item in self.places} == self.places

    @invariant()
    def the_next_due_item_is_known(self):
        if hasattr(self, "items") and not self.closed:
            until = self.items.waiting_until()
            assert until == min(self.due.values(), default=None)


TestItemsMachine = ItemsMachine.TestCase
TestItemsMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestPlaces:
    """Where an outcome lies."""

    @pytest.mark.parametrize(("row", "position"), [(0, 0), (1, 0), (7, 2**20 - 1), (2**43, 12345)])
    def test_a_place_is_a_row_and_a_position(self, row, position):
        """
        Both are found again in the one number.
        """
        assert row_and_position(place_of(row, position)) == (row, position)


def test_a_million_items_take_little_memory():
    """
    A byte, a number and a place for each: about 11 MB, and no object an item.
    """
    import sys

    items = Items(1_000_000)
    while taken := items.take(5000):
        n = len(taken)
        batch = columns([taken.start], [1], [0], [b""])._replace(items=taken.start, ends=bytes(4 * n))
        items.succeed(batch, 1)

    size = sum(map(sys.getsizeof, (items.states, items.attempts, items.places, items.trouble)))
    assert (items.succeeded, items.open) == (1_000_000, 0)
    assert size < 12_000_000
