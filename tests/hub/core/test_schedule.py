"""When launch plans are due: time zones and clocks that change, and what becomes of times that passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_core.entities import CatchUp, Schedule
from greenroom_hub.core.schedule import (
    FULL,
    MISSED,
    BadSchedule,
    Decision,
    check,
    decide,
    latest_time,
    next_times,
    words,
)

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = 60_000
GRACE = MINUTE


def ms(*parts: int, zone: ZoneInfo | None = None, fold: int = 0) -> int:
    return round(datetime(*parts, tzinfo=zone or UTC, fold=fold).timestamp() * 1000)  # type: ignore[misc,arg-type]


def local(moments: list[int]) -> list[str]:
    return [datetime.fromtimestamp(moment / 1000, BERLIN).strftime("%d %H:%M %Z") for moment in moments]


class TestTimes:
    """Next times."""

    def test_fields_are_meant_in_the_zone_of_the_schedule(self) -> None:
        """
        Nine in the morning in Berlin is seven or eight in UTC.
        """
        nine = Schedule("0 9 * * *", timezone="Europe/Berlin")

        found = next_times(nine, 0, ms(2026, 3, 28, 12), 2)

        assert [ms(2026, 3, 29, 7), ms(2026, 3, 30, 7)] == found

    def test_a_time_in_the_hour_that_is_left_out_comes_right_after_it(self) -> None:
        """
        On the day that clocks go forward there is no half past two: it runs at three.
        """
        half_past_two = Schedule("30 2 * * *", timezone="Europe/Berlin")

        found = next_times(half_past_two, 0, ms(2026, 3, 28, 12), 2)

        assert ["29 03:00 CEST", "30 02:30 CEST"] == local(found)

    def test_a_time_in_the_hour_that_comes_twice_comes_once(self) -> None:
        """
        On the day that clocks go back half past two comes twice: it runs once.
        """
        half_past_two = Schedule("30 2 * * *", timezone="Europe/Berlin")

        found = next_times(half_past_two, 0, ms(2026, 10, 24, 12), 2)

        assert ["25 02:30 CEST", "26 02:30 CET"] == local(found)

    def test_what_runs_all_the_time_goes_by_elapsed_time(self) -> None:
        """
        Every half hour means every half hour, also while clocks go back.
        """
        half_hours = Schedule("*/30 * * * *", timezone="Europe/Berlin")

        found = next_times(half_hours, 0, ms(2026, 10, 25, 0, 10), 5)

        assert {30 * MINUTE} == {after - before for before, after in zip(found, found[1:], strict=False)}

    def test_a_rate_is_counted_from_the_activation(self) -> None:
        """
        Whatever time it is, a fixed rate falls on multiples of it since the plan was activated.
        """
        every = Schedule(every_s=90)

        assert [1_000 + 90_000, 1_000 + 180_000] == next_times(every, 1_000, 1_000, 2)
        assert [1_000 + 270_000] == next_times(every, 1_000, 1_000 + 180_001)

    def test_an_offset_moves_the_times(self) -> None:
        """
        Five minutes after the hour, each hour.
        """
        found = next_times(Schedule("0 * * * *", offset_s=300), 0, ms(2026, 1, 1, 12, 1), 2)

        assert [ms(2026, 1, 1, 12, 5), ms(2026, 1, 1, 13, 5)] == found

    def test_a_range_of_days_may_go_round_the_week(self) -> None:
        """
        Friday to Monday is four days.
        """
        found = next_times(Schedule("0 0 ? * fri-mon"), 0, ms(2026, 3, 31), 5)

        assert [3, 4, 5, 6, 10] == [datetime.fromtimestamp(moment / 1000, UTC).day for moment in found]

    @pytest.mark.parametrize(
        "schedule",
        [
            Schedule(),
            Schedule("* * * * *", every_s=60),
            Schedule(every_s=-5),
            Schedule("* * * *"),
            Schedule("61 * * * *"),
            Schedule("0 0 30 2 *"),
            Schedule("* * * * *", timezone="Mars/Olympus"),
            Schedule("* * * * *", timezone="../../etc/passwd"),
            Schedule("* * * * *", offset_s=10**9),
        ],
    )
    def test_what_has_no_times_is_refused(self, schedule: Schedule) -> None:
        """
        A schedule that would never run is refused at the door.
        """
        with pytest.raises(BadSchedule):
            check(schedule)

    @given(
        st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 */3 * * *", "15 3 * * sun", "0 0 1 * *"]),
        st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
        st.integers(ms(2025, 1, 1), ms(2027, 1, 1)),
    )
    def test_times_rise_and_none_is_left_out(self, cron: str, zone: str, after: int) -> None:
        """
        Wherever one starts, times rise, and who starts after any of them sees the same ones.
        """
        schedule = Schedule(cron, timezone=zone)
        found = next_times(schedule, 0, after, 6)

        assert sorted(set(found)) == found
        assert after < found[0]
        for number, moment in enumerate(found[:-1]):
            assert found[number + 1] == next_times(schedule, 0, moment)[0]

    @given(st.integers(0, 10**6), st.integers(0, 2 * 10**6))
    def test_the_latest_time_is_the_last_of_all(self, after: int, length: int) -> None:
        """
        Looking back finds what counting forward would.
        """
        schedule = Schedule(every_s=60)
        every = [moment for moment in next_times(schedule, 7, after, length // MINUTE + 2) if moment <= after + length]

        assert (every[-1] if every else None) == latest_time(schedule, 7, after, after + length)

    def test_words_say_what_it_is(self) -> None:
        """
        A person reads the fields and their zone, or the rate.
        """
        assert "0 9 * * * Europe/Berlin" == words(Schedule("0 9 * * *", timezone="Europe/Berlin"))
        assert "every 1:30:00" == words(Schedule(every_s=5400))


def decided(catch_up: CatchUp, late_minutes: float, room: bool = True) -> Decision:
    """Every minute; the last time that was decided is minute 0, and it is so many minutes later now."""
    now = int(late_minutes * MINUTE)
    return decide(Schedule(every_s=60, catch_up=catch_up), 0, 0, now, GRACE, room)


class TestDecisions:
    """What is done when one looks."""

    def test_nothing_before_the_time(self) -> None:
        """
        Before a time nothing is done about it.
        """
        assert Decision() == decided(CatchUp.ALL, 0.99)

    @pytest.mark.parametrize("catch_up", list(CatchUp))
    def test_on_time_it_runs_whatever_the_policy(self, catch_up: CatchUp) -> None:
        """
        A moment late is on time.
        """
        assert MINUTE == decided(catch_up, 1.01).fire_ms

    def test_skip_leaves_out_what_was_missed_and_runs_what_is_fresh(self) -> None:
        """
        After ten minutes without a hub, the time that has just come is run, the others are not.
        """
        assert Decision(10 * MINUTE, 9 * MINUTE + MINUTE // 2 - 1, 9, MISSED) == decided(CatchUp.SKIP, 10.5)

    def test_last_runs_the_latest_alone(self) -> None:
        """
        After ten minutes without a hub, one run makes up for all.
        """
        assert Decision(10 * MINUTE, 10 * MINUTE - 1, 9, MISSED) == decided(CatchUp.LAST, 10.5)

    def test_all_begins_with_the_oldest(self) -> None:
        """
        Each one is run, in order.
        """
        assert Decision(MINUTE) == decided(CatchUp.ALL, 10.5)

    def test_where_the_plan_is_full_skip_skips_and_the_others_wait(self) -> None:
        """
        A limit of concurrency is to times what a hub that is not there is.
        """
        assert Decision(None, MINUTE, 1, FULL) == decided(CatchUp.SKIP, 1.01, room=False)
        assert Decision(waits=True) == decided(CatchUp.LAST, 1.01, room=False)
        assert Decision(waits=True) == decided(CatchUp.ALL, 1.01, room=False)

    @given(
        st.sampled_from(list(CatchUp)),
        st.lists(st.tuples(st.integers(0, 40 * MINUTE), st.booleans()), max_size=30),
    )
    def test_no_time_is_decided_twice_and_all_leaves_none_out(
        self, catch_up: CatchUp, looks: list[tuple[int, bool]]
    ) -> None:
        """
        However often and late one looks, each time is run once at most; with `all`, exactly once in the end.
        """
        schedule, last, now = Schedule(every_s=60, catch_up=catch_up), 0, 0
        fired: list[int] = []
        for passed, room in looks:
            now += passed
            made = decide(schedule, 0, last, now, GRACE, room)
            if made.skip_to_ms is not None:
                assert made.skip_to_ms >= last
                last = made.skip_to_ms
            if made.fire_ms is not None:
                assert last < made.fire_ms <= now
                fired.append(made.fire_ms)
                last = made.fire_ms

        assert sorted(set(fired)) == fired
        if catch_up is CatchUp.ALL:
            assert [number * MINUTE for number in range(1, len(fired) + 1)] == fired


def test_a_year_without_a_hub_is_decided_at_once() -> None:
    """
    A plan that runs every minute does not keep a hub busy that starts after a year.
    """
    due = ms(2027, 1, 1)
    now = due + 30_000
    since = now - int(timedelta(days=365).total_seconds() * 1000)

    last = decide(Schedule("* * * * *", catch_up=CatchUp.LAST), 0, since, now, GRACE, True)
    skip = decide(Schedule("* * * * *"), 0, since, now, GRACE, True)

    assert (due, 1000) == (last.fire_ms, last.skipped)
    assert (due, 1000) == (skip.fire_ms, skip.skipped)
