"""Calls that shall not go on: cancelled, timed out, revoked, given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from greenroom_protocol.calls import Status
from greenroom_protocol.frames import Returned
from greenroom_replica import endings
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Stopping, Why
from greenroom_replica.core.outcomes import failed
from greenroom_replica.core.page import CURRENT
from greenroom_replica.core.slots import Batch
from greenroom_replica.handle import RunnerHandle

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew

RECALL: Final = 0.002
"""Seconds between forbidding a runner to begin more calls and looking which it has begun: what it wrote just then has
reached this process for sure."""

PATIENCE: Final = 0.02
"""Seconds that a call may run before what waits behind it is taken back from its runner rather than waited for."""


class Stops:
    """Stops calls.

    Args:
        crew: Whose calls.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    # Running calls --------------------------------------------------------------------------------------------------

    def stop(self, handle: RunnerHandle, serial: int, why: Why, reason: str) -> None:
        """Have a running call end."""
        if serial in handle.stops:
            return
        handle.stops[serial] = Stopping(serial, why, reason, time.monotonic())
        if self._is_concurrent(handle):
            handle.tell(talk.Stop(serial, int(why)))
        else:
            handle.ask_to_stop(handle.stops[serial])
        self._crew.watch.wake(0.0)

    def _is_concurrent(self, handle: RunnerHandle) -> bool:
        return handle.is_concurrent

    def cancel(self, execution: str, node: str, items: Sequence[int], reason: str) -> None:
        """End calls, whether they wait or run. No items mean all of the node's, no node all of the execution's."""
        self._cancel_waiting(execution, node, items, reason)
        wanted = set(items)
        for handle in self._crew.roster:
            found = handle.hand.find(lambda batch, place: _matches(batch, place, execution, node, wanted))
            if not found:
                continue
            current = handle.words[CURRENT]
            running = found if self._is_concurrent(handle) else [serial for serial in found if serial == current]
            for serial in running:
                self.stop(handle, serial, Why.CANCELLED, reason)
            if len(running) < len(found):  # The others wait in the runner: taken back, they are found in the queue.
                self.recall(handle, lambda: self.cancel(execution, node, items, reason))

    def _cancel_waiting(self, execution: str, node: str, items: Sequence[int], reason: str) -> None:
        for batch, positions in _grouped(self._crew.queue.drop(execution, node, items)):
            failure = endings.never_began(reason)
            now = time.time_ns() // 1000
            self._crew.port.outcomes(failed(batch, positions, failure, Status.CANCELLED, now))

    # Waiting calls --------------------------------------------------------------------------------------------------

    def revoke(self, execution: str, node: str, items: Sequence[int], again: bool = True) -> None:
        """Give back calls that no runner has begun, and say which."""
        wanted = set(items)
        if again:
            stuck = [handle for handle in self._crew.roster if self._hides(handle, execution, node, wanted)]
            if stuck:  # What waits behind a long call is taken back from its runner first.
                for handle in stuck[1:]:
                    self.recall(handle)
                self.recall(stuck[0], lambda: self.revoke(execution, node, items, again=False))
                return
        dropped = self._crew.queue.drop(execution, node, items)
        calls = [batch.held(position) for batch, position in dropped]
        answer = Returned(execution, node, [call.item for call in calls], [call.attempt for call in calls])
        self._crew.port.say(answer)

    @staticmethod
    def _hides(handle: RunnerHandle, execution: str, node: str, wanted: set[int]) -> bool:
        running = handle.running()
        if running is None or running[1] < PATIENCE or len(handle.hand) < 2:
            return False
        return bool(handle.hand.find(lambda batch, place: _matches(batch, place, execution, node, wanted)))

    def drain(self) -> None:
        """Give back all that has not begun; what runs may end."""
        self._crew.is_draining = True
        for batch, positions in _grouped(self._crew.queue.drop_all()):
            calls = [batch.held(position) for position in positions]
            assign = batch.assign
            items, attempts = [call.item for call in calls], [call.attempt for call in calls]
            self._crew.port.say(Returned(assign.execution, assign.node, items, attempts))
        for handle in self._crew.roster:
            if len(handle.hand) > 1 and not handle.is_recalled and not self._is_concurrent(handle):
                self.recall(handle, self.drain)

    def recall(self, handle: RunnerHandle, then: Callable[[], object] = lambda: None) -> None:
        """Take back what a runner has not begun; `then` is called once it stands in the queue again."""
        if handle.is_recalled or not len(handle.hand) or self._is_concurrent(handle):
            then()
            return
        handle.is_recalled = True  # Until it answers: it may still have to read what is void.
        handle.forbid()
        self._crew.loop.call_later(RECALL, self._recalled, handle, then)

    def _recalled(self, handle: RunnerHandle, then: Callable[[], object]) -> None:
        if handle in self._crew.roster:
            self._crew.harvest(handle)
            after = endings.begun(handle, handle.words[CURRENT])
            self._crew.queue.put_back(handle.hand.take_back(after))
        then()
        self._crew.dispatch()


def _matches(batch: Batch, position: int, execution: str, node: str, items: set[int]) -> bool:
    assign = batch.assign
    if assign.execution != execution or (node and assign.node != node):
        return False
    return not items or batch.item(position) in items


def _grouped(calls: Iterable[tuple[Batch, int]]) -> list[tuple[Batch, list[int]]]:
    """Positions by their batch."""
    found: dict[int, tuple[Batch, list[int]]] = {}
    for batch, position in calls:
        found.setdefault(id(batch), (batch, []))[1].append(position)
    return list(found.values())
