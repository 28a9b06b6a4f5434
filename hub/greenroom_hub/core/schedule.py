"""When a launch plan is due: next times of cron and of fixed rates, and what becomes of times that have passed.

Times are milliseconds since the epoch. Cron's fields are meant in the schedule's time zone, with the rules of Debian's
cron where clocks change: a time in the hour that is left out comes right after it, a time in the hour that comes twice
comes once, and schedules that run every hour or more often go by elapsed time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from greenroom_core.entities import CatchUp, Schedule

_COUNTED: Final = 1000
"""Times that were missed are counted up to here; that there were more of them is said so."""

_LEAST_S: Final = 1
"""Seconds between two runs at a fixed rate, at least."""

_MOST_S: Final = 366 * 24 * 3600
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class BadSchedule(ValueError):
    """A schedule that has no times."""


def check(schedule: Schedule) -> None:
    """Refuse a schedule that has no times.

    Raises:
        BadSchedule: With the part in question.
    """
    if bool(schedule.cron) == bool(schedule.every_s):
        raise BadSchedule("a schedule has either the five fields of cron or a rate")
    if schedule.every_s and not _LEAST_S <= schedule.every_s <= _MOST_S:
        raise BadSchedule(f"every {schedule.every_s} s: a rate is from {_LEAST_S} s to a year")
    if abs(schedule.offset_s) > _MOST_S:
        raise BadSchedule(f"an offset of {schedule.offset_s} s: at most a year")
    if schedule.cron:
        _zone(schedule.timezone)
        next(_crons(schedule, 0))


def next_times(schedule: Schedule, anchor_ms: int, after_ms: int, count: int = 1) -> list[int]:
    """The next times after one, the earliest first.

    Args:
        schedule: A schedule that `check` accepts.
        anchor_ms: When the plan was activated: fixed rates are counted from there.
        after_ms: Only later times count.
        count: How many.
    """
    return list(islice(_times(schedule, anchor_ms, after_ms), count))


def times_between(schedule: Schedule, anchor_ms: int, after_ms: int, until_ms: int, most: int) -> list[int]:
    """Times after one moment and up to another, at most so many."""
    every = takewhile(lambda due: due <= until_ms, _times(schedule, anchor_ms, after_ms))
    return list(islice(every, most))


def _times(schedule: Schedule, anchor_ms: int, after_ms: int) -> Iterator[int]:
    if schedule.every_s:
        step = schedule.every_s * 1000
        number = max(0, (after_ms - anchor_ms) // step) + 1
        while True:
            yield anchor_ms + number * step
            number += 1
    yield from _crons(schedule, after_ms)


def _crons(schedule: Schedule, after_ms: int) -> Iterator[int]:
    offset = schedule.offset_s * 1000
    start = datetime.fromtimestamp((after_ms - offset) / 1000, _zone(schedule.timezone))
    try:
        times = CronSim(_fields(schedule.cron), start)
    except CronSimError as fault:
        raise BadSchedule(f"{schedule.cron!r} is no schedule with times: {fault}") from fault
    last = after_ms
    try:
        for moment in times:
            due = round(moment.timestamp() * 1000) + offset
            if due > last:  # A time that clocks which go back make ambiguous is not given twice.
                last = due
                yield due
    except StopIteration:  # It looks ahead for fifty years.
        return


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as fault:
        raise BadSchedule(f"no time zone {name!r} here; name one like Europe/Berlin") from fault


@lru_cache(maxsize=256)
def _fields(cron: str) -> str:
    """The fields as the library reads them: no `?`, and no range of days that goes round the end of the week."""
    parts = cron.lower().split()
    if len(parts) != 5:
        raise BadSchedule(f"{cron!r} has {len(parts)} fields, a schedule has 5")
    parts = ["*" if part == "?" else part for part in parts]
    parts[4] = ",".join(_round_the_week(item) for item in parts[4].split(","))
    return " ".join(parts)


def _round_the_week(item: str) -> str:
    match = re.fullmatch(r"(\d|[a-z]{3})-(\d|[a-z]{3})", item)
    if match is None:
        return item
    first, last = (_DAYS.index(day) if day in _DAYS else int(day) if day.isdigit() else -1 for day in match.groups())
    return f"{first}-6,0-{last}" if 0 <= last < first <= 6 else item


# What is done about times that have passed ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the times between the last one that was decided and now."""

    fire_ms: int | None = None
    """The time to run for now."""
    skip_to_ms: int | None = None
    """Times up to this one are not run."""
    skipped: int = 0
    """How many those are, counted up to 1,000."""
    why: str = ""
    waits: bool = False
    """Whether a time is due and has to wait until another execution of the plan has ended."""


MISSED: Final = "no hub was running"
FULL: Final = "as many executions of the plan as it allows were running"


def decide(schedule: Schedule, anchor_ms: int, last_ms: int, now_ms: int, grace_ms: int, room: bool) -> Decision:
    """What to do now.

    Args:
        schedule: The plan's.
        anchor_ms: When it was activated.
        last_ms: Times up to this one are decided.
        now_ms: The present.
        grace_ms: A time that passed no longer ago than this is run in any case: nobody was away.
        room: Whether the plan may have one more execution.
    """
    first = next_times(schedule, anchor_ms, last_ms)
    if not first or first[0] > now_ms:
        return Decision()
    if schedule.catch_up is CatchUp.ALL:
        return Decision(first[0]) if room else Decision(waits=True)
    if schedule.catch_up is CatchUp.LAST:
        return _latest(schedule, anchor_ms, last_ms, now_ms) if room else Decision(waits=True)
    return _on_time(schedule, anchor_ms, last_ms, now_ms, grace_ms, room)


def _latest(schedule: Schedule, anchor_ms: int, last_ms: int, now_ms: int) -> Decision:
    latest = latest_time(schedule, anchor_ms, last_ms, now_ms)
    assert latest is not None
    missed = _count(schedule, anchor_ms, last_ms, latest - 1)
    return Decision(latest, latest - 1 if missed else None, missed, MISSED if missed else "")


def _on_time(schedule: Schedule, anchor_ms: int, last_ms: int, now_ms: int, grace_ms: int, room: bool) -> Decision:
    fresh = max(last_ms, now_ms - grace_ms - 1)
    missed = _count(schedule, anchor_ms, last_ms, fresh)
    skip, why = (fresh, MISSED) if missed else (None, "")
    due = next_times(schedule, anchor_ms, fresh)
    if not due or due[0] > now_ms:
        return Decision(None, skip, missed, why)
    if not room:
        return Decision(None, due[0], missed + 1, FULL)
    return Decision(due[0], skip, missed, why)


def latest_time(schedule: Schedule, anchor_ms: int, after_ms: int, until_ms: int) -> int | None:
    """The last time after one moment and up to another; looks back in steps that double, since most are close."""
    window = 2 * 3_600_000
    while True:
        start = max(after_ms, until_ms - window)
        found = None
        for due in _times(schedule, anchor_ms, start):
            if due > until_ms:
                break
            found = due
        if found is not None or start == after_ms:
            return found
        window *= 2


def _count(schedule: Schedule, anchor_ms: int, after_ms: int, until_ms: int) -> int:
    count = 0
    for due in _times(schedule, anchor_ms, after_ms):
        if due > until_ms or count == _COUNTED:
            break
        count += 1
    return count


def words(schedule: Schedule) -> str:
    """A schedule for people."""
    if schedule.every_s:
        return f"every {timedelta(seconds=schedule.every_s)}"
    offset = f" + {timedelta(seconds=schedule.offset_s)}" if schedule.offset_s else ""
    return f"{schedule.cron}{offset} {schedule.timezone}"
