"""What running calls ask of the hub, on its way through the supervisor: kept until answered, said again after a cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom_protocol import frames
from greenroom_replica.core import talk

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew
    from greenroom_replica.handle import RunnerHandle


class Asks:
    """Questions and answers of all runners.

    Args:
        crew: Whose runners.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew

    def ask(self, handle: RunnerHandle, asked: talk.Ask) -> None:
        """A call has a question; it lets the replica's next call run from now on."""
        span = handle.hand.span_of(asked.serial)
        if span is None:
            return  # It has ended meanwhile.
        call = span.batch.held(span.position(asked.serial))
        ask = frames.Ask(*call, asked.number, asked.key, asked.body)
        handle.asks[asked.number] = ask
        if asked.serial not in handle.asking:
            handle.asking.add(asked.serial)
            if not handle.is_parked:  # What it waits for may need code that this runner opens between calls only.
                self._crew.roster.park(handle)
        self._crew.port.say(ask)

    def waive(self, handle: RunnerHandle, number: int) -> None:
        """The answer is not wanted any more."""
        ask = handle.asks.pop(number, None)
        if ask is not None:
            self._crew.port.say(frames.Waive(*ask[:5]))

    def answered(self, answer: frames.Answer) -> None:
        """The hub has answered."""
        for handle in self._crew.roster:
            if handle.asks.pop(answer.number, None) is not None:
                handle.tell(talk.Answer(answer.number, answer.status, answer.payload))
                return

    def open(self) -> Iterator[frames.Ask]:
        """All that has no answer yet."""
        for handle in self._crew.roster:
            yield from handle.asks.values()

    def forget_ended(self, handle: RunnerHandle) -> None:
        """Calls of a runner have ended: what they asked is of no interest."""
        if not handle.asking:
            return
        handle.asking = {serial for serial in handle.asking if handle.hand.is_open(serial)}
        if not handle.asking:
            handle.asks.clear()
            if not len(handle.hand):
                handle.is_parked = False
