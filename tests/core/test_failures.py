"""How failures travel, and which of them are tried again."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_core.failure import MAX_PICKLE, MAX_TEXT, RETRIED_BY_USER, Cause, Failure, clip
from greenroom_core.retry import Retry

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("cause", "type", "message", "traceback", "where", "pickle", "recoverable", "details")
ODD = st.fixed_dictionaries({}, optional={**dict.fromkeys(FIELDS, PLAIN), "details": st.just({"bases": 5}) | PLAIN})
FULL = Failure(
    Cause.USER, "m.Bad", "bad pixel", "Traceback ...", "f.py:41", b"\x80", True, {"bases": ["ValueError"], "exit": 3}
)


class TestTravelling:
    """Text first, pickle second."""

    @pytest.mark.parametrize("failure", [FULL, Failure(Cause.CRASH, "Crash", "")])
    def test_a_failure_comes_back(self, failure):
        """
        Packed and unpacked, a failure is the same.
        """
        assert Failure.unpack(failure.pack()) == failure

    def test_what_is_too_much_is_left_out(self):
        """
        Long texts lose their middle, large pickles stay behind.
        """
        failure = Failure(Cause.USER, "E", "m" * 50_000, "t" * 50_000, pickle=bytes(MAX_PICKLE + 1))

        again = Failure.unpack(failure.pack())

        assert again.pickle is None
        assert len(again.message) < MAX_TEXT + 100
        assert again.message.startswith("mmm") and again.message.endswith("mmm")
        assert f"{50_000 - MAX_TEXT:,} characters left out" in again.traceback

    def test_short_texts_stay_as_they_are(self):
        """
        Nothing is cut that fits.
        """
        assert clip("x" * MAX_TEXT) == "x" * MAX_TEXT

    def test_a_line_says_what_happened(self):
        """
        The class and the message, as Python prints them.
        """
        assert FULL.line() == "m.Bad: bad pixel"
        assert Failure(Cause.EXIT, "SystemExit", "").line() == "SystemExit"

    def test_an_unknown_cause_is_ours(self):
        """
        A cause that only a newer version knows counts as infrastructure.
        """
        assert Failure.from_wire({"cause": "gravity", "type": "E"}).cause is Cause.INFRASTRUCTURE

    @given(st.binary(max_size=50) | PLAIN.map(msgpack.packb) | ODD.map(msgpack.packb))
    def test_whatever_comes_is_a_failure(self, packed):
        """
        Bytes from a replica always give a failure that can be shown, kept and asked for retries.
        """
        failure = Failure.unpack(packed)

        assert isinstance(failure.line(), str)
        Retry(5, on=("ValueError",)).allows(failure, 1)
        assert isinstance(Failure.unpack(failure.pack()), Failure)


class TestRetries:
    """Who is tried again."""

    @pytest.mark.parametrize("cause", list(Cause))
    def test_causes_that_a_retry_may_heal(self, cause):
        """
        A task's retries are for its own code and its own limits.
        """
        assert Retry(1).allows(Failure(cause, "E", ""), 1) is (cause in RETRIED_BY_USER)

    def test_the_budget_has_an_end(self):
        """
        So many further attempts, and no more.
        """
        failure = Failure(Cause.USER, "E", "")

        assert [Retry(2).allows(failure, failures) for failures in (1, 2, 3)] == [True, True, False]
        assert not Retry().allows(failure, 1)

    @pytest.mark.parametrize(
        ("retry", "failure", "allowed"),
        [
            (Retry(1), {"recoverable": False}, False),
            (Retry(1, on=("OSError",)), {}, False),
            (Retry(1, on=("OSError",)), {"type": "OSError"}, True),
            (Retry(1, on=("OSError",)), {"details": {"bases": ["OSError", "Exception"]}}, True),
            (Retry(1, on=("OSError",)), {"cause": Cause.TIMEOUT}, True),
            (Retry(1, on=("OSError",)), {"recoverable": True}, True),
            (Retry(1, recoverable_only=True), {}, False),
            (Retry(1, recoverable_only=True), {"recoverable": True}, True),
            (Retry(1, recoverable_only=True), {"cause": Cause.RECOVERABLE}, True),
            (Retry(1, recoverable_only=True), {"cause": Cause.MEMORY}, True),
            (Retry(1, recoverable_only=True), {"cause": Cause.RECOVERABLE, "recoverable": False}, False),
        ],
    )
    def test_a_task_may_choose(self, retry, failure, allowed):
        """
        By class or base, or only what asks for it; what refuses is never tried again.
        """
        told = {"cause": Cause.USER, "type": "ValueError", "message": "", **failure}

        assert retry.allows(Failure(**told), 1) is allowed


class TestDelays:
    """When."""

    def test_delays_double_up_to_a_bound(self):
        """
        Each delay is twice the one before, until the largest.
        """
        retry = Retry(9, backoff=1.0, max_backoff=5.0)

        assert [retry.delay(failures, 0.0) for failures in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]

    def test_jitter_is_a_share_on_top(self):
        """
        Chance adds up to its share, never takes away.
        """
        retry = Retry(9, backoff=2.0, jitter=0.5)

        assert [retry.delay(1, share) for share in (0.0, 0.5, 1.0)] == [2.0, 2.5, 3.0]

    @given(st.integers(1, 10**9), st.floats(0, 1e308), st.floats(0, 1e308))
    def test_no_delay_is_beyond_numbers(self, failures, backoff, most):
        """
        However often a call fails, its delay is a number of milliseconds.
        """
        assert 0 <= int(Retry(1, backoff, most, 1.0).delay(failures, 1.0) * 1000) < 2**63
