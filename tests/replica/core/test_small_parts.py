"""The ladder by which calls are stopped, secrets in streams, messages between processes, outcomes in columns."""

from __future__ import annotations

from array import array

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom_core.failure import Cause, Failure
from greenroom_protocol.calls import Outcomes, Status
from greenroom_protocol.frames import Assign, Cache, Lost, Pong, Result, Welcome
from greenroom_protocol.version import PROTOCOL
from greenroom_replica.config import ConfigFault, ReplicaConfig, Timings, with_settings
from greenroom_replica.core import talk
from greenroom_replica.core.ladder import Step, Stopping, Why
from greenroom_replica.core.outcomes import build, by_node, failed, parts_of
from greenroom_replica.core.page import HEAD, SIZE, Page
from greenroom_replica.core.redact import Redactor
from greenroom_replica.core.session import Backoff, Session, StaleHub
from greenroom_replica.core.slots import Batch, Hand, Held


class TestLadder:
    def test_a_call_that_does_not_ask_is_interrupted_at_once(self) -> None:
        """
        Nothing says that it would stop by itself.
        """
        stopping = Stopping(1, Why.CANCELLED, "asked to", since=100.0)

        assert stopping.due(100.0, False, 10, 10) == (Step.INTERRUPT, 110.0)
        assert stopping.due(101.0, False, 10, 10) == (Step.WAIT, 110.0)
        assert stopping.due(110.0, False, 10, 10)[0] is Step.KILL

    def test_a_call_that_asks_gets_its_time(self) -> None:
        """
        It is interrupted only when that is over.
        """
        stopping = Stopping(1, Why.CANCELLED, "asked to", since=100.0)

        assert stopping.due(105.0, True, 10, 10) == (Step.WAIT, 110.0)
        assert stopping.due(110.0, True, 10, 10) == (Step.INTERRUPT, 120.0)


class TestRedactor:
    @given(st.lists(st.binary(max_size=12), max_size=12), st.sampled_from([["hunter22"], ["abcd", "abcdef"], []]))
    def test_a_secret_is_never_seen_however_it_is_cut(self, pieces: list[bytes], secrets: list[str]) -> None:
        """
        What comes out piece by piece is what would come out whole.
        """
        text = b"".join(pieces[: len(pieces) // 2]) + "".join(secrets).encode() + b"".join(pieces[len(pieces) // 2 :])
        redactor = Redactor(secrets)

        out = b"".join(redactor.feed(text[n : n + 1]) for n in range(len(text))) + redactor.feed(b"", is_last=True)

        assert not any(secret.encode() in out for secret in secrets)
        if not secrets:
            assert out == text

    def test_short_values_are_no_secrets(self) -> None:
        """
        A value like `1` is not looked for: it would take half of the output with it.
        """
        assert Redactor(["1", "yes"]).feed(b"1 yes 1", is_last=True) == b"1 yes 1"

    def test_stars_take_its_place(self) -> None:
        """
        What stood around a secret stays.
        """
        redactor = Redactor(["hunter22"])

        assert redactor.feed(b"pw=hunter") + redactor.feed(b"22;", is_last=True) == b"pw=***;"


class TestTalk:
    @given(st.lists(st.sampled_from([talk.Up({"rss": 1}), talk.Leave("x"), None]), max_size=9), st.integers(1, 40))
    def test_a_stream_is_cut_into_messages_wherever_it_is_read(self, messages: list[object], size: int) -> None:
        """
        Messages and knocks come out in order, whatever a read returns.
        """
        data = b"".join(talk.KNOCK if message is None else talk.frame(message) for message in messages)
        stream = talk.Stream()

        heard = [m for at in range(0, len(data), size) for m in stream.feed(data[at : at + size])]

        assert heard == messages


def harvested(hand: Hand, outcomes: list[tuple[int, int, bytes, dict[str, object]]]) -> object:
    page = Page(memoryview(bytearray(SIZE)))
    for serial, status, payload, extras in outcomes:
        page.put(serial, 1000 + serial, 10 * serial, status, payload)
        if extras:
            page.amend(msgpack.packb(extras))
        page.words[HEAD] += 1
    return page.take()


def given_batch(node: str, size: int, items: int | list[int] = 0) -> Batch:
    ends = array("Q", range(1, size + 1)).tobytes()
    return Batch(Assign(b"d", "e", node, items, 2, 0, ends, bytes(size), {}))


class TestOutcomes:
    def test_neighbours_are_packed_in_columns(self) -> None:
        """
        A run of successes names its first item, its one attempt and its one status.
        """
        hand = Hand()
        hand.give(given_batch("n", 5, items=7), 1, 4)
        harvest = harvested(hand, [(1, 0, b"a", {}), (2, 0, b"bb", {}), (3, 0, b"", {})])

        (group,) = by_node(parts_of(harvest, hand))  # type: ignore[arg-type]
        built = build(harvest, group)  # type: ignore[arg-type]

        outcomes = Outcomes.unpack(built.body)
        assert (outcomes.items, outcomes.attempts, outcomes.statuses) == (8, 2, b"\0")
        assert list(outcomes.payloads()) == [b"a", b"bb", b""]
        assert outcomes.base_us == 1001
        assert memoryview(outcomes.started).cast("I").tolist() == [0, 1, 2]

    def test_several_nodes_in_one_harvest_are_told_apart(self) -> None:
        """
        Each node's outcomes go into a message of their own, out of order if need be.
        """
        hand = Hand()
        hand.give(given_batch("a", 2), 0, 2)
        hand.give(given_batch("b", 2, items=[30, 10]), 0, 2)
        harvest = harvested(hand, [(4, 0, b"4", {}), (1, 1, b"1", {}), (3, 0, b"3", {})])

        groups = [build(harvest, group) for group in by_node(parts_of(harvest, hand))]  # type: ignore[arg-type]

        found = {built.node: Outcomes.unpack(built.body) for built in groups}
        assert (list(found["b"].item_list()), list(found["b"].payloads())) == ([10, 30], [b"4", b"3"])
        assert (found["a"].items, found["a"].statuses) == (0, b"\1")

    def test_extras_are_sorted_out(self) -> None:
        """
        Telemetry is joined, output becomes its size and its place, all else stays with its call.
        """
        hand = Hand()
        hand.give(given_batch("n", 2), 0, 2)
        extras = {"cache": [{"loader": "l"}], "log": [5, 9, 1, 1], "cpu_ms": 3.5}
        harvest = harvested(hand, [(1, 0, b"a", {}), (2, 0, b"b", extras)])

        built = build(harvest, next(by_node(parts_of(harvest, hand))))  # type: ignore[arg-type]

        outcomes = Outcomes.unpack(built.body)
        assert outcomes.extras == {1: {"log": {"out": 4, "err": 0}, "cpu_ms": 3.5}}
        assert outcomes.cache == [{"loader": "l"}]
        assert [(told.call.item, told.bounds) for told in built.printed] == [(1, (5, 9, 1, 1))]

    def test_a_call_of_more_than_71_minutes_keeps_its_duration(self) -> None:
        """
        Columns hold 32 bits of microseconds; what is longer stands in the extras.
        """
        hand = Hand()
        hand.give(given_batch("n", 1), 0, 1)
        page = Page(memoryview(bytearray(SIZE)))
        page.put(1, 5, 1 << 33, 0, b"")
        page.words[HEAD] += 1
        harvest = page.take()
        assert harvest is not None

        outcomes = Outcomes.unpack(build(harvest, next(by_node(parts_of(harvest, hand)))).body)

        assert outcomes.extras == {0: {"duration_us": 1 << 33}}

    def test_outcomes_of_ended_calls_are_left_out(self) -> None:
        """
        What was told already, or was taken back, is not told again.
        """
        hand = Hand()
        hand.give(given_batch("n", 3), 0, 3)
        hand.ended(1)
        harvest = harvested(hand, [(1, 0, b"a", {}), (2, 0, b"b", {})])

        built = build(harvest, next(by_node(parts_of(harvest, hand))))  # type: ignore[arg-type]

        assert Outcomes.unpack(built.body).items == 1

    def test_outcomes_that_no_runner_wrote(self) -> None:
        """
        Calls that were ended from outside carry one failure each.
        """
        failure = Failure(Cause.CANCELLED, "CallCancelled", "asked to")

        built = failed(given_batch("n", 4, items=10), [1, 3], failure, Status.CANCELLED, now_us=5_000, run_us=2_000)

        outcomes = Outcomes.unpack(built.body)
        assert (outcomes.items, outcomes.statuses, outcomes.base_us) == ([11, 13], b"\2", 3_000)
        assert [Failure.unpack(payload) for payload in outcomes.payloads()] == [failure, failure]


class TestSession:
    def test_results_are_kept_until_acked(self) -> None:
        """
        They are numbered from 1, announced, and said again, oldest first.
        """
        session = Session("r", 1)
        first, second = session.result("e", "n", b"1"), session.result("e", "n", b"2")

        session.acked(1)
        (hello,) = session.hello([Held("e", "n", 4, 2)], [], {})
        again = session.welcomed(Welcome(PROTOCOL, 3, 1, {}))

        assert (first.seq, second.seq) == (1, 2)
        assert (hello.held, hello.unacked) == ([["e", "n", 4, 2]], [2])  # type: ignore[union-attr]
        assert again == [second]

    def test_what_has_no_ack_is_proven_by_a_pong(self) -> None:
        """
        A loss that was said before a ping which was answered has arrived; one said after it may not have.
        """
        session = Session("r", 1)
        early, late = Lost("e", "n", [1], [1], True, {}), Cache([], [["l", "k", "gone"]])
        session.tell(early)
        ping = session.ping()
        session.tell(late)

        session.ponged(Pong(ping.number).number)

        assert session.wants_ping
        assert session.welcomed(Welcome(PROTOCOL, 1, 0, {})) == [late]

    def test_an_epoch_never_goes_back(self) -> None:
        """
        A hub that was replaced is told apart by its epoch, in a sentence with both.
        """
        session = Session("r", 1)
        session.welcomed(Welcome(PROTOCOL, 7, 0, {}))

        with pytest.raises(StaleHub, match="epoch 6, but one of epoch 7"):
            session.welcomed(Welcome(PROTOCOL, 6, 0, {}))

    @given(st.lists(st.one_of(st.just("result"), st.integers(0, 12)), max_size=40))
    def test_whatever_is_acked_what_is_kept_is_the_rest(self, history: list[object]) -> None:
        """
        Acks in any order, repeated or of numbers never given, keep exactly what lies above the highest one.
        """
        session, given_out, acked = Session("r", 1), 0, 0
        for step in history:
            if step == "result":
                given_out += 1
                session.result("e", "n", b"")
            elif isinstance(step, int):
                acked = max(acked, min(step, given_out))
                session.acked(step)

            again = session.welcomed(Welcome(PROTOCOL, 1, 0, {}))
            assert [m.seq for m in again if isinstance(m, Result)] == list(range(acked + 1, given_out + 1))

    def test_pauses_grow_to_a_limit_and_start_again(self) -> None:
        """
        Each pause is between half and all of what is due.
        """
        backoff = Backoff(first=0.1, most=0.3)

        assert [backoff.next(1.0), backoff.next(0.0), backoff.next(1.0), backoff.next(1.0)] == [0.1, 0.1, 0.3, 0.3]
        backoff.reset()
        assert backoff.next(1.0) == 0.1


class TestConfig:
    def test_a_configuration_survives_the_wire(self) -> None:
        """
        What a launcher writes is what a supervisor reads; what is unknown there is left out.
        """
        config = ReplicaConfig("r", 2, "env", "unix:///h", "t", "/s", index=3, timings=Timings(heartbeat=1.0))

        wire = {**msgpack.unpackb(msgpack.packb(config.to_wire())), "later": 1}

        assert ReplicaConfig.from_wire(wire) == config

    def test_a_missing_field_is_named(self) -> None:
        """
        A configuration without its hub cannot be read.
        """
        with pytest.raises(ConfigFault, match="hub"):
            ReplicaConfig.from_wire(
                {"replica": "r", "generation": 1, "environment": "e", "token": "t", "scratch": "/s"}
            )

    def test_a_hub_may_change_timings(self) -> None:
        """
        Settings come in the hub's units; what is no number is passed over.
        """
        timings = with_settings(Timings(), {"started_after_ms": 100, "heartbeat_s": 2, "term_after_s": "soon", "x": 1})

        assert (timings.started_after, timings.heartbeat, timings.term_after) == (0.1, 2.0, 10.0)
