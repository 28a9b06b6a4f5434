"""Going where it is warm: what is learned from loads, when an entry spreads, and that nobody starves for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from greenroom_core.program import Task
from greenroom_core.values import pack, pack_list
from greenroom_hub.core import commands as c
from greenroom_hub.core.affinity import MAX_VALUES
from greenroom_hub.core.events import Heard, PrewarmWanted
from greenroom_hub.core.lanes import WINDOW
from greenroom_protocol.frames import Cache
from tests.hub.core.driver import HubDriver, Sent, chain_program, map_program, task_program

LOAD_MS = 1000.0
CALL_US = 100_000


def models(*keys: int) -> bytes:
    """A list of keys, encoded."""
    return pack_list([pack(key) for key in keys])


def telemetry(sent: Sent, model: int, load_ms: float = LOAD_MS, **more: Any) -> list[dict[str, Any]]:
    """What a replica tells of one call that loaded a model."""
    address = f"{sent.execution}/{sent.node}/{sent.items[0]}"
    told = {"loader": "m:load", "key": f"k{model}", "preview": f"model={model}", "bytes": 10, "misses": 1}
    told |= {"load_ms": load_ms, "loaded_by": address, "provenance": [["model", ["x"], True]], "evicted": []}
    return [told | more]


class Pool(HubDriver):
    """A pool whose calls each want the model of their input, on replicas that remember what they have loaded."""

    def __init__(self, count: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.count = count
        self.keys: dict[str, list[int]] = {}
        self.has: dict[str, set[int]] = {}
        self.loads: list[tuple[str, int]] = []

    def want(self, name: str, *keys: int, **more: Any) -> None:
        """Submit a map over models."""
        self.keys[name] = list(keys)
        self.submit(map_program(count=self.count), name, xs=models(*keys), **more)

    def serve(self, sent: Sent | None = None, us: int = CALL_US) -> Sent:
        """Answer what was sent first: calls that find their model take `us`, others load it."""
        sent = sent or self.take()
        held = self.has.setdefault(sent.replica, set())
        (key,) = {self.keys[sent.execution][item] for item in sent.items}
        hit = key in held
        held.add(key)
        if not hit:
            self.loads.append((sent.replica, key))
            self.now += int(LOAD_MS)
        loads_us = 0 if hit else int(LOAD_MS * 1000)
        cache = [] if hit else telemetry(sent, key)
        self.answer(sent, us=us + loads_us // len(sent.items), cache=cache)
        return sent

    def serve_all(self) -> None:
        while self.sent:
            self.serve()


@pytest.fixture
def two() -> Pool:
    """Two replicas, of which one has loaded model 1; calls take 100 ms, a load takes a second."""
    pool = Pool(2)
    pool.want("first-1", 1, 2)
    pool.connect()
    pool.serve_all()
    assert 2 == len(pool.loads)
    return pool


def holder(pool: Pool, key: int) -> str:
    """The one replica that holds a model."""
    (name,) = [name for name, held in pool.has.items() if key in held]
    return name


def test_one_load_teaches_which_calls_want_it(two: Pool) -> None:
    """
    Once a call with a value was seen to load, calls with that value go to who holds it, and say why.
    """
    two.want("again-1", 1)

    (sent,) = two.sent

    assert holder(two, 1) == sent.replica
    assert "holds load(model=1), saves 1 s" == sent.why


def test_a_cold_model_is_loaded_by_one_while_the_others_wait() -> None:
    """
    Of five calls that want a model which nobody has, one is sent to load it; it is not loaded twice for that.
    """
    pool = Pool(4)
    pool.want("first-1", 1, 2, 3, 4)
    pool.connect()
    pool.serve_all()

    pool.want("cold-1", *[5] * 5)

    assert [1] == [len(sent.items) for sent in pool.sent]
    assert "no replica has it" in pool.sent[0].why
    pool.serve_all()
    assert 1 == sum(key == 5 for _, key in pool.loads)


def test_a_hot_model_stays_where_it_is_while_waiting_is_cheaper(two: Pool) -> None:
    """
    Five calls of 100 ms for a model that takes a second to load: its one holder runs them all, the other stays idle.
    """
    two.want("hot-1", *[1] * 5)

    two.serve_all()

    assert 2 == len(two.loads)
    assert not two.state.runs


def test_a_hot_model_spreads_when_waiting_costs_more_than_loading(two: Pool) -> None:
    """
    Thirty such calls are three seconds of work: the second replica loads it too, once, and says what it weighed.
    """
    before, other = list(two.loads), next(name for name in two.has if name != holder(two, 1))

    two.want("hot-1", *[1] * 30)

    loading = [sent for sent in two.sent if sent.replica == other]
    assert [1] == [len(sent.items) for sent in loading]
    assert "loads load (1 s): waiting for who has it takes 3" in loading[0].why
    two.serve_all()
    assert [(other, 1)] == two.loads[len(before) :]


def test_neither_spreads_a_moment_too_early_nor_too_late(two: Pool) -> None:
    """
    The turn is where the holder's work, as measured, exceeds the load's time; both sides of it are seen.
    """
    spread = {}
    for n in (8, 9, 10, 11, 12, 13):
        pool = Pool(2)
        pool.want("first-1", 1, 2)
        pool.connect()
        pool.serve_all()
        pool.want("hot-1", *[1] * n)
        spread[n] = len({sent.replica for sent in pool.sent}) == 2

    assert [False, False, False] == [spread[n] for n in (8, 9, 10)]
    assert [True, True] == [spread[n] for n in (12, 13)]


def test_a_busy_crowd_of_warm_calls_does_not_starve_a_cold_one() -> None:
    """
    While the warm calls of a large map keep the only replica busy, a call that wants another model is not put off for
    ever: it waits for some loads' time, then it is loaded.
    """
    pool = Pool(1)
    pool.want("first-1", 1)
    pool.connect()
    pool.serve_all()
    pool.want("large-1", *[1] * 2_000)
    pool.want("small-1", 2)
    began, served = pool.now, 0

    while "small-1" in pool.state.runs:
        pool.now += 100
        pool.serve()
        served += 1
        assert served < 200

    assert pool.now - began < 4 * LOAD_MS + 2_000 + LOAD_MS + 1_000


def test_a_large_map_does_not_starve_a_workflow_of_three() -> None:
    """
    Beside a map of 100,000 short calls each of three tasks in a row is placed with the next frame of its replica.
    """
    hub = HubDriver()
    hub.submit(map_program(count=1), "large-1", xs=models(*range(100_000)))
    hub.connect()
    for _ in range(20):
        hub.answer(us=20)
    hub.submit(chain_program("a", "b", "c"), "three-1")

    frames = 0
    while "three-1" in hub.state.runs:
        hub.answer(us=20)
        frames += 1
        assert frames < 40

    assert hub.state.runs["large-1"].execution.nodes["m"].items.open > 90_000  # type: ignore[union-attr]


def test_priority_is_a_share() -> None:
    """
    A step of priority doubles what an execution gets while both wait; what has less is never left out.
    """
    hub = HubDriver()
    hub.submit(map_program(count=1), "first-1", xs=models(0))
    hub.connect()
    hub.answer_all(us=200_000)
    hub.submit(map_program(count=1), "low-1", xs=models(*range(300)))
    hub.submit(map_program(count=1), "high-1", xs=models(*range(300)), options={"priority": 2})

    served = Counter[str]()
    for _ in range(100):
        served[hub.sent[0].execution] += 1
        hub.answer(us=200_000)

    assert 78 <= served["high-1"] <= 82
    assert 100 == served["high-1"] + served["low-1"]


def test_what_a_task_says_itself_stands_in_for_what_was_learned() -> None:
    """
    With `affinity=` calls of equal values go to one replica from the first one on, without any load to learn from.
    """
    hub = HubDriver()
    task = Task("f.t", "e", inputs=("x",), outputs=("o0",), options={"affinity": [["x"]]})
    hub.submit(map_program(count=2, task=task), "one-1", xs=models(7, 8))
    hub.connect()
    where = {sent.items[0]: sent.replica for sent in hub.sent}
    whys = {sent.why for sent in hub.sent}
    hub.answer_all(us=CALL_US)

    hub.submit(map_program(count=2, task=task), "two-1", xs=models(8, 7))

    assert {"first of such calls (affinity=)"} == whys
    assert {0: where[1], 1: where[0]} == {sent.items[0]: sent.replica for sent in hub.sent}
    assert {"served such calls before (affinity=)"} == {sent.why for sent in hub.sent}


def test_an_entry_that_was_evicted_is_nobodys(two: Pool) -> None:
    """
    After its holder has dropped an entry, the next call for it is a load again, wherever it goes.
    """
    name = holder(two, 1)
    link = two.state.replicas[name].link
    two.when(Heard(name, link, Cache([], [["m:load", "k1", "budget"]])))

    two.want("again-1", 1)

    assert ["no replica has it"] == [sent.why.rpartition(": ")[2] for sent in two.sent]


def test_an_edit_of_the_loader_leads_to_its_new_entry(two: Pool) -> None:
    """
    A load that gives another key for the same value (its code has changed) is what calls with that value want now.
    """
    two.want("edited-1", *[1] * 8)
    sent = two.take()
    two.answer(sent, us=CALL_US, cache=telemetry(sent, 1, key="k1-edited"))

    assert {sent.replica} == {one.replica for one in two.sent}
    (pool,) = two.state.pools.values()
    assert pool.affinity.key_of("f.t", "m:load", pack(1)) == "k1-edited"
    assert list(pool.holdings.holders(("m:load", "k1-edited"))) == [sent.replica]


def test_what_is_learned_is_bounded() -> None:
    """
    Of 20,000 different values the last ones are remembered, and a map over them keeps no lane for each.
    """
    hub = HubDriver()
    hub.submit(map_program(count=1), "first-1", xs=models(0))
    hub.connect()
    sent = hub.take()
    hub.answer(sent, us=20, cache=telemetry(sent, 0))
    (pool,) = hub.state.pools.values()

    for key in range(MAX_VALUES + 100):
        pool.learn("f.t", {"x": pack(key)}, telemetry(sent, key)[0])
    hub.submit(map_program(count=1), "large-1", xs=models(*range(20_000)))
    one = next(iter(pool.lanes.values()))
    while hub.sent:
        hub.take()
    pool.forget("large-1")

    assert MAX_VALUES == sum(len(keys) for keys in pool.affinity._keys.values())
    assert 0 < len(one.lanes) <= WINDOW
    assert not pool.lanes
    assert not pool.holdings._wanted
    assert not pool.holdings._parts


def test_a_new_replica_takes_the_hottest_entries_first() -> None:
    """
    A second replica of a busy pool is told to load, by recipe, what saves most there, before it gets calls.
    """
    hub = HubDriver()
    hub.submit(map_program(count=1), "first-1", xs=models(*[0] * 400))
    hub.connect()
    sent = hub.take()
    recipe = {"module": "m", "qualname": "load", "args": b"m"}
    hub.answer(sent, us=CALL_US, cache=telemetry(sent, 0, recipe=recipe))
    sent = hub.take()
    hub.answer(sent, us=CALL_US, cache=[{"loader": "m:load", "key": "k0", "hits": 5}])
    hub.submit(map_program(count=2), "wide-1", xs=models(*[0] * 400))

    hub.connect()

    kinds = [type(one) for one in hub.turn.do if isinstance(one, (c.SendPrewarm, c.SendCalls))]
    (prewarm,) = hub.does(c.SendPrewarm)
    assert kinds[0] is c.SendPrewarm
    assert (recipe,) == prewarm.recipes


def test_prewarm_comes_before_the_first_call() -> None:
    """
    What the environment asks for is loaded by each new replica first.
    """
    hub = HubDriver()
    recipe = {"module": "m", "qualname": "load", "args": b"m"}
    hub.submit(map_program(count=2, prewarm=(recipe,)), xs=models(1, 2))

    hub.connect()

    sent = [one for one in hub.turn.do if isinstance(one, (c.SendPrewarm, c.SendCalls))]
    assert [c.SendPrewarm, c.SendPrewarm] == [type(one) for one in sent[:2]]
    assert [(recipe,), (recipe,)] == [one.recipes for one in sent[:2]]


def test_an_edit_after_five_minutes_finds_the_replica() -> None:
    """
    A local hub's pool outlives a coffee: the edited program, five minutes later, runs on the same replica.
    """
    hub = HubDriver(ttl_s=900.0)
    hub.submit(task_program(), "one-1")
    hub.connect()
    hub.answer()
    (before,) = hub.state.replicas

    hub.later(300)
    hub.submit(task_program("renamed"), "two-1")

    assert [before] == [sent.replica for sent in hub.sent]


def test_prewarm_on_demand(two: Pool) -> None:
    """
    Each replica is told to load what others hold and it lacks; an environment that is not there is said to be so.
    """
    recipe = {"module": "m", "qualname": "load", "args": b"m"}
    name = holder(two, 1)
    two.want("again-1", 1)
    sent = two.take()
    two.answer(sent, us=CALL_US, cache=telemetry(sent, 1, recipe=recipe))

    two.when(PrewarmWanted(7, "e"))
    (sent_there,) = two.does(c.SendPrewarm)
    (reply,) = two.tells(c.Reply)
    two.when(PrewarmWanted(8, "e", "other_loader"))
    nothing = two.does(c.SendPrewarm)
    two.when(PrewarmWanted(9, "elsewhere"))
    (refused,) = two.tells(c.Reply)

    assert sent_there.replica != name
    assert (recipe,) == sent_there.recipes
    assert 2 == len(reply.notes)
    assert not nothing
    assert refused.error is not None
    assert "unknown_environment" == refused.error.code


def test_telemetry_knows_gpu_memory_and_what_was_loaded_in_advance(two: Pool) -> None:
    """
    What entries take on a GPU is known, and loads outside of calls count as loads.
    """
    (name, *_) = two.has
    link = two.state.replicas[name].link
    before = two.state.cache_figures["e"]["misses"]
    loaded = {"loader": "m:load", "key": "k9", "preview": "model=9", "bytes": 5, "gpu_bytes": 7, "load_ms": 250.0}

    two.when(Heard(name, link, Cache([loaded], [])))

    entry = two.state.replicas[name].entries["m:load", "k9"]
    assert (5, 7, "prewarm") == (entry.bytes, entry.gpu_bytes, entry.loaded_by)
    assert before + 1 == two.state.cache_figures["e"]["misses"]
