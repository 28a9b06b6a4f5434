"""What calls have printed goes to the hub before their outcomes do; what is too much for that becomes a blob first."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from greenroom_protocol.calls import Outcomes
from greenroom_replica.core.outcomes import Built
from greenroom_replica.core.page import ERR_AT, OUT_AT
from greenroom_replica.core.slots import Held
from greenroom_replica.handle import RunnerHandle
from greenroom_replica.outputs import Rest

if TYPE_CHECKING:
    from greenroom_replica.crew import Crew, Spec


class Shipping:
    """Sends on what runners print.

    Args:
        crew: Whose runners.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._tasks: set[asyncio.Task[None]] = set()
        self.held: list[Held] = []
        """Calls that have ended, and whose outcomes wait for a blob."""

    def live(self, handle: RunnerHandle, call: Held, secrets: Iterable[str]) -> bool:
        """Send what the running call has printed so far; whether there is more already."""
        words = handle.words
        bounds = (words[OUT_AT], None, words[ERR_AT], None)
        return handle.outputs.ship(call, bounds, secrets, self._crew.port.say, self._path)

    def ended(self, handle: RunnerHandle, built: Built, spec: Spec) -> None:
        """Send what calls that have ended printed, then their outcomes."""
        rests: dict[int, dict[int, Rest]] = {}
        for told in built.printed:
            if told.segments is not None:
                handle.outputs.ship_segments(told.call, told.segments, spec.secrets, self._crew.port.say, is_last=True)
                continue
            handle.outputs.ship(told.call, told.bounds, spec.secrets, self._crew.port.say, self._path)
            rest = handle.outputs.rests()
            if rest:
                rests[told.position] = rest
        if rests:
            self._start(self._store(built, rests))
        else:
            self._crew.port.outcomes(built)

    def printed(self, handle: RunnerHandle, serial: int, segments: Sequence[Sequence[int]]) -> None:
        """Send what a coroutine has printed so far."""
        span = handle.hand.span_of(serial)
        if span is not None:
            call = span.batch.held(span.position(serial))
            handle.outputs.ship_segments(call, segments, span.batch.spec.secrets, self._crew.port.say)

    def last_words(self, handle: RunnerHandle, call: Held, secrets: Iterable[str]) -> None:
        """Send what a call had printed when its process died."""
        out, err = handle.outputs.sizes()
        words = handle.words
        bounds = (words[OUT_AT], max(out, words[OUT_AT]), words[ERR_AT], max(err, words[ERR_AT]))
        handle.outputs.ship(call, bounds, secrets, self._crew.port.say, self._path)

    def _path(self, call: Held, stream: int) -> str:
        folder = os.path.join(self._crew.config.scratch, "output")
        os.makedirs(folder, 0o700, exist_ok=True)
        return os.path.join(folder, f"{time.monotonic_ns():x}.{stream}")

    # Blobs ----------------------------------------------------------------------------------------------------------

    async def _store(self, built: Built, rests: dict[int, dict[int, Rest]]) -> None:
        """Make blobs of long outputs, name them in the outcomes' extras, and send those."""
        outcomes = Outcomes.unpack(built.body)
        calls = [told.call for told in built.printed]
        self.held += calls
        extras: dict[int, dict[str, Any]] = {place: dict(extra) for place, extra in outcomes.extras.items()}
        for place, by_stream in rests.items():
            told = await asyncio.to_thread(self._put, by_stream)
            log = extras.setdefault(place, {}).setdefault("log", {})
            log["rest"] = told
        self.held = [call for call in self.held if call not in calls]
        self._crew.port.outcomes(built._replace(body=outcomes._replace(extras=extras).pack()))
        self._crew.check_idle()

    def _put(self, rests: dict[int, Rest]) -> dict[str, dict[str, Any]]:
        from greenroom_replica.workshops import make_store

        store = make_store(self._crew.config, self._crew.config.scratch)
        found: dict[str, dict[str, Any]] = {}
        for stream, rest in rests.items():
            try:
                blob, size = store.put_file(rest.path, give=True)
                found[str(stream)] = {"blob": blob, "offset": rest.offset, "size": size, "dropped": rest.dropped}
            except Exception as fault:  # Whatever a store may raise: the call has ended well, and shall be told.
                found[str(stream)] = {"lost": str(fault), "offset": rest.offset, "size": rest.size}
        return found

    def _start(self, work: Any) -> None:
        task = self._crew.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_busy(self) -> bool:
        """Whether outcomes wait for a blob."""
        return bool(self._tasks)
