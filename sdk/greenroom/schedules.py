"""When a launch plan is run by itself: `CronSchedule` and `FixedRate`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from greenroom.definition_errors import BadArgument, TaskArgumentRefused

CatchUp = Literal["skip", "last", "all"]
"""What becomes of times that passed while no hub was running."""

_ALIASES: Final = {
    "hourly": "0 * * * *",
    "hours": "0 * * * *",
    "daily": "0 0 * * *",
    "days": "0 0 * * *",
    "weekly": "0 0 * * 0",
    "weeks": "0 0 * * 0",
    "monthly": "0 0 1 * *",
    "months": "0 0 1 * *",
    "annually": "0 0 1 1 *",
    "yearly": "0 0 1 1 *",
    "years": "0 0 1 1 *",
}

_FIELDS: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))
_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_PART: Final = re.compile(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/(\d+))?")


@dataclass(frozen=True, init=False)
class CronSchedule:
    """Times as cron writes them.

    Attributes:
        schedule: Five fields (`*/5 * * * *`), or a word such as `hourly`, `@daily`, `weekly`.
        offset: An ISO 8601 duration that is added, such as `PT5M`.
        kickoff_time_input_arg: The input (a datetime) that gets the time at which the run was due.
        timezone: Name of the zone that the fields are meant in, such as `Europe/Berlin`; UTC unless given.
        catch_up: What becomes of times that passed while no hub was running: `skip` them, run the `last`, or `all`.
    """

    schedule: str
    offset: str | None
    kickoff_time_input_arg: str | None
    timezone: str
    catch_up: CatchUp

    def __init__(
        self,
        cron_expression: str | None = None,
        schedule: str | None = None,
        offset: str | None = None,
        kickoff_time_input_arg: str | None = None,
        *,
        timezone: str = "UTC",
        catch_up: CatchUp = "skip",
    ) -> None:
        if cron_expression is not None:
            remedy = 'write schedule="*/5 * * * *" with five fields'
            raise TaskArgumentRefused("CronSchedule", "cron_expression", remedy)
        if not isinstance(schedule, str):
            raise BadArgument("CronSchedule", "schedule", schedule, 'text, like schedule="*/5 * * * *" or "hourly"')
        _check_cron(schedule)
        _check_rest("CronSchedule", kickoff_time_input_arg, catch_up)
        if offset is not None and not re.fullmatch(r"P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?(?<!P)(?<!T)", offset):
            raise BadArgument("CronSchedule", "offset", offset, 'an ISO 8601 duration, like "PT5M"')
        _check_zone(timezone)
        for name, value in (
            ("schedule", schedule),
            ("offset", offset),
            ("kickoff_time_input_arg", kickoff_time_input_arg),
            ("timezone", timezone),
            ("catch_up", catch_up),
        ):
            object.__setattr__(self, name, value)

    @property
    def fields(self) -> str:
        """The five fields, also where a word was given."""
        return _ALIASES.get(self.schedule.lstrip("@").lower(), self.schedule)


@dataclass(frozen=True)
class FixedRate:
    """Again and again, a time apart.

    Attributes:
        duration: The time from one run to the next; whole minutes, at least one.
        kickoff_time_input_arg: The input (a datetime) that gets the time at which the run was due.
        catch_up: As in `CronSchedule`.
    """

    duration: timedelta
    kickoff_time_input_arg: str | None = None
    catch_up: CatchUp = "skip"

    def __post_init__(self) -> None:
        minute = timedelta(minutes=1)
        if not isinstance(self.duration, timedelta) or self.duration < minute or self.duration % minute:
            raise BadArgument("FixedRate", "duration", self.duration, "a timedelta of whole minutes, at least one")
        _check_rest("FixedRate", self.kickoff_time_input_arg, self.catch_up)


def _check_rest(who: str, kickoff: object, catch_up: object) -> None:
    if kickoff is not None and (not isinstance(kickoff, str) or not kickoff.isidentifier()):
        raise BadArgument(who, "kickoff_time_input_arg", kickoff, "the name of an input")
    if catch_up not in ("skip", "last", "all"):
        raise BadArgument(who, "catch_up", catch_up, "'skip', 'last' or 'all'")


def _check_zone(name: str) -> None:
    if name == "UTC":
        return
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError):
        raise BadArgument("CronSchedule", "timezone", name, 'the name of a zone, like "Europe/Berlin"') from None


def _check_cron(schedule: str) -> None:
    if schedule.lstrip("@").lower() in _ALIASES:
        return
    parts = schedule.split()
    if len(parts) != len(_FIELDS):
        raise BadArgument("CronSchedule", "schedule", schedule, f"five fields, or one of {', '.join(_ALIASES)}")
    for (name, least, most), part in zip(_FIELDS, parts, strict=True):
        for item in part.lower().split(","):
            if not _fits(item, name, least, most):
                raise BadArgument(
                    "CronSchedule", f"schedule's {name}", part, f"numbers from {least} to {most}, *, lists, a-b, */n"
                )


def _fits(item: str, name: str, least: int, most: int) -> bool:
    match = _PART.fullmatch("*" if item == "?" else item)
    if match is None:
        return False
    first, last, step = match.groups()
    if step is not None and not 0 < int(step) <= most:
        return False
    if first == "*":
        return last is None
    numbers = [_number(text, name) for text in (first, last) if text is not None]
    return all(number is not None and least <= number <= most for number in numbers) and (
        len(numbers) < 2 or name == "day of week" or (numbers[0] or 0) <= (numbers[1] or 0)
    )


def _number(text: str, name: str) -> int | None:
    if text.isdigit():
        return int(text)
    words = _MONTHS if name == "month" else _DAYS if name == "day of week" else []
    return words.index(text) + (1 if name == "month" else 0) if text in words else None
