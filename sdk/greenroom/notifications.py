"""Who is told of a launch plan's executions, and how many of them may run at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from greenroom.definition_errors import BadArgument
from greenroom_core.entities import ENDS
from greenroom_core.entities import Webhook as Told


class WorkflowExecutionPhase:
    """States of an execution, by the numbers that Flyte gives them."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDING = 3
    SUCCEEDED = 4
    FAILING = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    ABORTING = 9

    @classmethod
    def enum_to_string(cls, number: int) -> str:
        """The name of a number."""
        return _NAMES.get(number, "UNDEFINED")


_NAMES: Final = {
    value: name for name, value in vars(WorkflowExecutionPhase).items() if isinstance(value, int) and name.isupper()
}


def outcomes_of(who: str, phases: Iterable[int | str] | None) -> tuple[str, ...]:
    """Ends of executions, from Flyte's numbers or from words; all of them unless told.

    Raises:
        BadArgument: One of them is no end.
    """
    if phases is None:
        return ENDS
    if isinstance(phases, (str, int)):
        phases = [phases]
    words = [_NAMES.get(phase, str(phase)) if isinstance(phase, int) else str(phase) for phase in phases]
    found = tuple(dict.fromkeys(word.lower() for word in words))
    wrong = [word for word in found if word not in ENDS]
    if wrong or not found:
        raise BadArgument(who, "phases", list(phases), f"ends of an execution: {', '.join(ENDS)}")
    return found


class Webhook:
    """Tells an address of ends of executions: a `POST` of JSON, at least once, tried again while it fails.

    Attributes:
        url: Where; http or https.
        outcomes: Which ends: `succeeded`, `failed`, `aborted`, `timed_out`.
    """

    def __init__(self, url: str, phases: Sequence[int | str] | None = None) -> None:
        """A webhook.

        Args:
            url: Where; http or https.
            phases: Which ends (`"failed"`, or `WorkflowExecutionPhase.FAILED`); all of them unless given.

        Raises:
            BadArgument: The address is none that can be called, or a phase is no end.
        """
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise BadArgument("Webhook", "url", url, 'an http or https URL, like "https://example.org/hook"')
        self.url, self.outcomes = url, outcomes_of("Webhook", phases)

    def told(self) -> Told:
        """As the hub takes it."""
        return Told(self.url, self.outcomes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Webhook) and (self.url, self.outcomes) == (other.url, other.outcomes)

    def __hash__(self) -> int:
        return hash((self.url, self.outcomes))

    def __repr__(self) -> str:
        return f"Webhook({self.url!r}, {list(self.outcomes)})"


class Notification:
    """Something that Flyte sends; here it is accepted, and said once that it is not sent."""

    def __init__(self, phases: Sequence[int | str], recipients_email: Sequence[str] | None = None, **_: Any) -> None:
        """Keep what was asked for.

        Args:
            phases: Which ends of executions.
            recipients_email: Who would be told.
        """
        self.outcomes = outcomes_of(type(self).__name__, phases)
        self.recipients = list(recipients_email or ())

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.outcomes, tuple(self.recipients)))


class Email(Notification):
    """By mail."""


class Slack(Notification):
    """By Slack's mail."""


class PagerDuty(Notification):
    """By PagerDuty's mail."""


class ConcurrencyLimitBehavior:
    """What becomes of a time of a schedule while as many executions run as may."""

    SKIP = "skip"


@dataclass(frozen=True)
class ConcurrencyPolicy:
    """How many executions of a launch plan may run at a time.

    Attributes:
        max_concurrency: How many; at least 1.
        behavior: Kept for programs that give it: what becomes of the times is the schedule's `catch_up`.
    """

    max_concurrency: int | None = None
    behavior: Any = ConcurrencyLimitBehavior.SKIP


def limit_of(who: str, concurrency: Any) -> int | None:
    """Executions at a time, from a number or a policy; None for no limit.

    Raises:
        BadArgument: It is no number from 1 on.
    """
    number = getattr(concurrency, "max_concurrency", concurrency)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BadArgument(who, "concurrency", number, "a number of executions, at least 1")
    return number


def webhooks_in(who: str, notifications: Any) -> tuple[Webhook, ...]:
    """The webhooks among a plan's notifications.

    Raises:
        BadArgument: One is no notification.
    """
    if notifications is None:
        return ()
    given = notifications if isinstance(notifications, (list, tuple)) else [notifications]
    for one in given:
        if not isinstance(one, (Webhook, Notification)):
            raise BadArgument(who, "notifications", one, "greenroom.Webhook(url, phases)")
    return tuple(one for one in given if isinstance(one, Webhook))


_OFFSET: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def offset_seconds(text: str | None) -> int:
    """Seconds of an ISO 8601 duration, as `CronSchedule` has checked it."""
    match = _OFFSET.fullmatch(text or "P")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
