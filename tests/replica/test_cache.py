"""The replica's cache: its budget, what it tells, what loads own, and what it does when memory runs out."""

import asyncio
import contextlib
import threading
from pathlib import Path

import msgpack
import numpy
import pytest

from greenroom.actor_cache import actor_cache
from greenroom.caching import use_store
from greenroom_replica.cache import ReplicaCache
from greenroom_replica.cache_memory import OwnGpuMemory, OwnMemory, holder_of, ran_out
from tests.sdk.actor_cache.conftest import Clock

MIB = 1 << 20


class Memory:
    """A process whose memory is what the test says."""

    def __init__(self):
        self.now = 100 * MIB
        self.freed = 0

    def used(self):
        return self.now

    def give_back(self):
        self.now -= self.freed
        self.freed = 0


class Gpu(Memory):
    """Likewise a GPU."""


class Owners:
    """Keeps what loads make, in words."""

    def __init__(self):
        self.owning = []
        self.released = []

    @contextlib.contextmanager
    def owned(self, name="entry"):
        owner = {"name": name}
        yield owner
        self.owning.append(name)

    def release(self, owner):
        self.owning.remove(owner["name"])
        self.released.append(owner["name"])
        return [f"{owner['name']} left a thread"] if "thread" in owner["name"] else []


class Array:
    """Takes as much as it says, as an array does, and notes that it lives."""

    alive = 0

    def __init__(self, size):
        self.weights = numpy.empty(size, dtype="u1")
        Array.alive += 1

    def __del__(self):
        Array.alive -= 1


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(clock, told):
    """Makes the cache of a replica, with memory that only the test changes."""
    made = []
    before = use_store(None)

    def make(**options):
        options = {"process": Memory(), "gpu": Gpu(), **options}
        cache = ReplicaCache(clock=clock, tell=told.append, patience=0.02, **options)
        made.append(cache)
        use_store(cache)
        return cache

    yield make
    use_store(before)
    for cache in made:
        cache.close()


class TestBudget:
    def test_the_least_worth_goes(self, make):
        """
        Above the budget entries go, over all loaders, and their loaders are told.
        """
        make(memory=10 * MIB)
        gone = []

        @actor_cache(on_evict=lambda one: gone.append(one.name))
        def load(name, size):
            one = Array(size * MIB)
            one.name = name
            return one

        @actor_cache
        def other():
            return Array(3 * MIB)

        load("a", 4), load("b", 4), other()
        load("b", 4)

        assert gone == ["a"]
        assert other.cache_info().currsize == 1

    def test_what_a_load_will_take_goes_before_it(self, make):
        """
        Where the last load of a loader tells what the next will take, room is made before it, not after.
        """
        cache = make(memory=10 * MIB)
        alive = []

        @actor_cache
        def load(name):
            alive.append(Array.alive)
            return Array(4 * MIB)

        for name in "abcd":
            load(name)

        assert alive == [0, 1, 1, 1]
        assert cache.budget.used <= 10 * MIB

    def test_an_entry_in_use_stays(self, make):
        """
        A call that needs more than the budget gets it, and the budget holds again when it ends.
        """
        cache = make(memory=10 * MIB)
        gone = []

        @actor_cache(on_evict=lambda one: gone.append(1))
        def load(name):
            return Array(4 * MIB)

        cache.begin_call("e/n/0")
        kept = [load(name) for name in "abcd"]
        during = (list(gone), cache.budget.used > 10 * MIB)
        cache.end_call()

        assert during == ([], True)
        assert (len(gone), cache.budget.used <= 10 * MIB) == (2, True)
        assert len(kept) == 4

    def test_one_larger_than_the_whole_budget(self, make, told):
        """
        It is a plain call, with a warning that has both numbers, and drives nobody out.
        """
        cache = make(memory=10 * MIB)
        gone = []

        @actor_cache(on_evict=gone.append)
        def load(size):
            return Array(size * MIB)

        small = load(2)
        large = load(11)

        assert load(11) is not large
        assert load(2) is small
        assert gone == []
        assert len(told) == 1
        assert "takes 11,534," in told[0] and "more than the whole cache of this replica (10,485,760 bytes)" in told[0]
        assert len(cache.entries()) == 1

    def test_gpu_memory_has_a_budget_of_its_own(self, make):
        """
        What a load takes on the GPU is measured there, and evicted for by what frees it there.
        """
        gpu = Gpu()
        cache = make(memory=100 * MIB, gpu_memory=10 * MIB, gpu=gpu)
        gone = []

        @actor_cache(on_evict=lambda one: gone.append(one[0]))
        def load(name, size):
            gpu.now += size * MIB
            return [name]

        load("host", 0), load("a", 6), load("b", 4), load("c", 5)

        assert gone == ["a"]
        assert {row["preview"].split('"')[1]: row["gpu_bytes"] for row in cache.entries()} == {
            "host": 0,
            "b": 4 * MIB,
            "c": 5 * MIB,
        }

    def test_hot_entries_survive_a_crowd(self, make):
        """
        Through a long run of other keys what is used in every call stays.
        """
        cache = make(memory=10 * MIB)

        @actor_cache
        def load(name):
            return Array(2 * MIB)

        for number in range(50):
            cache.begin_call()
            load("hot")
            load(f"once {number}")
            cache.end_call()

        assert load.cache_info().misses == 51

    def test_a_hundred_thousand_small_entries(self, make):
        """
        Many small entries under a budget of bytes: quick to evict, and the sums stay right.
        """
        cache = make(memory=100_000)

        @actor_cache
        def load(n):
            return bytes(100)

        for n in range(5_000):
            load(n)

        assert cache.budget.used == sum(row["bytes"] for row in cache.entries()) <= 100_000
        assert load.cache_info().currsize == len(cache.budget) > 500


class TestSizes:
    def test_what_python_sees_is_weighed(self, make):
        """
        Arrays, tables and plain data count by their own word, whatever the process grew by.
        """
        memory = Memory()
        cache = make(process=memory)

        @actor_cache
        def load():
            memory.now += 500 * MIB  # Scratch that the allocator keeps.
            return {"weights": numpy.zeros(1000), "names": ["a" * 1000]}

        load()

        (row,) = cache.entries()
        assert 9_000 < row["bytes"] < 11_000

    def test_what_python_cannot_see_into_counts_by_growth(self, make):
        """
        An object that keeps memory of its own counts by what the process grew by.
        """
        import ctypes

        memory = Memory()
        cache = make(process=memory)

        @actor_cache
        def load():
            memory.now += 50 * MIB
            return ctypes.c_void_p(1)

        load()

        assert cache.entries()[0]["bytes"] == 50 * MIB

    def test_a_load_inside_a_load_counts_for_itself(self, make, clock):
        """
        Time and memory of the inner load are the inner entry's alone.
        """
        import ctypes

        memory = Memory()
        cache = make(process=memory)

        @actor_cache
        def inner():
            clock.forward(3)
            memory.now += 30 * MIB
            return ctypes.c_void_p(1)

        @actor_cache
        def outer():
            clock.forward(1)
            memory.now += 10 * MIB
            return [inner(), ctypes.c_void_p(2)]

        cache.begin_call()
        outer()
        cache.end_call()

        found = {row["loader"].rpartition(".")[2]: (row["bytes"] // MIB, row["load_ms"]) for row in cache.entries()}
        assert found == {"inner": (30, 3000.0), "outer": (10, 1000.0)}

    def test_growth_of_loads_at_once_is_nobodys(self, make):
        """
        Where two loads ran at once, neither is charged with what the process grew by.
        """
        import ctypes

        memory = Memory()
        cache = make(process=memory)
        meet = threading.Barrier(2, timeout=20)

        @actor_cache
        def load(name):
            meet.wait()
            memory.now += 50 * MIB
            meet.wait()
            return ctypes.c_void_p(1)

        threads = [threading.Thread(target=load, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

        assert all(row["bytes"] < MIB for row in cache.entries())


class TestOutOfMemory:
    def test_a_load_that_runs_out_evicts_and_tries_once_more(self, make, told):
        """
        What is not in use makes way, and the load runs again.
        """
        cache = make()
        room = []

        @actor_cache(on_evict=lambda one: room.append(1))
        def load(name):
            if name == "big" and not room:
                raise MemoryError("no room")
            return Array(MIB)

        load("a")
        found = load("big")

        assert isinstance(found, Array)
        assert room == [1]
        assert told[0] == "load ran out of memory; entries made way, and it loads once more"
        assert [row["preview"] for row in cache.entries()] == ['name="big"']

    def test_only_once(self, make):
        """
        If that does not help, the error is the caller's.
        """
        make()
        loads = []

        @actor_cache
        def load(name):
            loads.append(name)
            if name == "big":
                raise MemoryError("no room")
            return 1

        load("a")
        with pytest.raises(MemoryError, match="no room"):
            load("big")

        assert loads == ["a", "big", "big"]

    def test_with_nothing_to_evict(self, make):
        """
        Where nothing can make way it is not tried again.
        """
        cache = make()
        loads = []

        @actor_cache
        def load(name):
            loads.append(name)
            if name == "big":
                raise MemoryError
            return 1

        cache.begin_call()
        load("a")  # In use.
        with pytest.raises(MemoryError):
            load("big")
        cache.end_call()

        assert loads == ["a", "big"]

    def test_on_a_gpu_what_is_on_the_gpu_goes(self, make):
        """
        An out-of-memory on the GPU drops entries that are there, and leaves the others.
        """
        gpu = Gpu()
        cache = make(gpu=gpu)
        torn = []

        class OutOfMemoryError(RuntimeError):
            pass

        OutOfMemoryError.__module__ = "torch.cuda"

        @actor_cache(on_evict=torn.append)
        def load(name, size):
            if name == "big" and not torn:
                raise OutOfMemoryError("CUDA out of memory")
            gpu.now += size * MIB
            return name

        load("host", 0), load("card", 5), load("big", 7)

        assert torn == ["card"]
        assert {"host", "big"} == {row["preview"].split('"')[1] for row in cache.entries()}

    async def test_async_loaders_too(self, make):
        """
        Coroutine functions are tried again likewise.
        """
        make()
        room = []

        @actor_cache(on_evict=room.append)
        async def load(name):
            await asyncio.sleep(0)
            if name == "big" and not room:
                raise MemoryError
            return name

        await load("a")

        assert await load("big") == "big"

    def test_which_errors_are_about_memory(self):
        """
        Python's own, torch's and what the driver says; nothing else.
        """
        assert ran_out(MemoryError()) == "memory"
        assert ran_out(RuntimeError("CUDA out of memory. Tried to allocate")) == "gpu memory"
        assert ran_out(RuntimeError("other")) is None
        assert ran_out(ValueError("CUDA out of memory")) is None


class TestUnload:
    def test_memory_that_came_back(self, make, told):
        """
        Nothing is told where an entry's memory came back.
        """
        memory = Memory()
        make(process=memory, memory=100 * MIB)

        @actor_cache(max_entries=1, on_evict=lambda one: setattr(memory, "freed", 64 * MIB))
        def load(name):
            memory.now += 64 * MIB
            return numpy.empty(64 * MIB, dtype="u1")

        load("a"), load("b")

        assert told == []

    def test_memory_that_did_not(self, make, told):
        """
        Where something still refers to the object, that is told, with who it is.
        """
        memory = Memory()
        make(process=memory)
        leak = []

        @actor_cache(max_entries=1)
        def load(name):
            memory.now += 64 * MIB
            array = Array(64 * MIB)
            leak.append(array)
            return array

        load("a"), load("b")

        assert len(told) == 1
        assert 'load(name="a") was dropped to free 67,1' in told[0]
        assert "but only 0 came back; a list still refers to it" in told[0]

    def test_gpu_memory_that_did_not(self, make, told):
        """
        Likewise on the GPU.
        """
        gpu = Gpu()
        make(gpu=gpu)

        @actor_cache(max_entries=1)
        def load(name):
            gpu.now += 64 * MIB
            return [name]

        load("a"), load("b")

        assert "67,108,864 bytes of GPU memory, but only 0 came back; it was freed, and the process keeps" in told[0]

    def test_who_holds_a_thing(self):
        """
        A module's global is named; other holders are named by their kind.
        """
        global kept_here
        kept_here = Array(1)
        name = holder_of(kept_here)
        del kept_here

        assert f"{__name__}.kept_here" == name


class TestOwnership:
    def test_what_a_load_makes_is_the_entrys(self, make, told):
        """
        It is owned while the entry lives and released after `on_evict`; what goes wrong is told.
        """
        owners = Owners()
        make(ownership=owners)
        order = []

        @actor_cache(max_entries=1, on_evict=lambda one: order.append(list(owners.released)))
        def load(name):
            return [name]

        load("server")
        during = list(owners.owning)
        load("thread")
        load("other")

        assert during == ['load(name="server")']
        assert owners.released == ['load(name="server")', 'load(name="thread")']
        assert order == [[], ['load(name="server")']]
        assert told == ['load(name="thread") left a thread']

    def test_a_load_that_fails_owns_nothing(self, make):
        """
        What it left is the call's to clean up.
        """
        owners = Owners()
        make(ownership=owners)

        @actor_cache
        def load():
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            load()

        assert owners.owning == []

    def test_what_an_entry_that_is_not_kept_made(self, make):
        """
        It lives as long as the call that has the object.
        """
        owners = Owners()
        cache = make(ownership=owners, memory=MIB)

        @actor_cache
        def load():
            return Array(2 * MIB)

        cache.begin_call()
        load()
        during = list(owners.owning)
        cache.end_call()

        assert during == ["load()"]
        assert owners.released == ["load()"]

    def test_at_the_end_everything_is_released(self, make):
        """
        A runner that leaves takes along what its entries made.
        """
        owners = Owners()
        cache = make(ownership=owners)

        @actor_cache
        def load(name):
            return name

        load("a"), load("b")
        cache.close()

        assert owners.owning == []
        assert len(owners.released) == 2


@actor_cache
def load_model(state, kind="small"):
    return [state, kind]


@actor_cache
async def load_async(state):
    return [state]


class TestTelemetry:
    def test_what_a_call_did(self, make, clock):
        """
        A row for each entry: outcome, time, size, and on a load where its arguments came from.
        """
        cache = make()
        state = 100_000

        cache.begin_call("wf-1/evaluate/0", {"value": 5, "state": state})
        load_model(state)
        load_model(state)
        first = cache.end_call().rows()
        cache.begin_call("wf-1/evaluate/1")
        load_model(state)
        second = cache.end_call().rows()

        (row,) = first
        assert (f"{__name__}:load_model", 'state=100000, kind="small"', "miss") == (
            row["loader"],
            row["preview"],
            row["outcome"],
        )
        assert len(row["key"]) == 16 and row["bytes"] > 0 and row["load_ms"] >= 0
        assert row["provenance"] == [["state", ["state"], True]]  # A default depends on no input.
        assert row["loaded_by"] == "wf-1/evaluate/0"
        assert f"{__name__}:load_model" in row["depends"]
        assert ("hit", row["key"]) == (second[0]["outcome"], second[0]["key"])
        assert first == msgpack.unpackb(msgpack.packb(first))

    def test_a_call_that_used_nothing_says_nothing(self, make):
        """
        Most calls have no telemetry at all.
        """
        cache = make()

        cache.begin_call()

        assert cache.end_call() is None
        assert cache.telemetry() == []
        assert cache.end_call() is None

    def test_provenance_by_identity(self, make):
        """
        Arguments are found in inputs and one level inside them; what is the same everywhere is not sure.
        """
        cache = make()

        class Config:
            def __init__(self, path, size):
                self.path, self.size = path, size

            __hash__ = None

            def __eq__(self, other):
                return vars(self) == vars(other)

        @actor_cache
        def load(*things):
            return 1

        @actor_cache
        def one(config, path, item, small, made):
            return 1

        config, batch = Config("/data/a b", 7), [12345, "x y z"]
        cache.begin_call("", {"config": config, "batch": batch, "n": 7, "m": 7})
        one(config, config.path, batch[1], 7, "made " + "here")
        (row,) = cache.end_call().rows()

        assert row["provenance"] == [
            ["config", ["config"], True],
            ["path", ["config.path"], True],
            ["item", ["batch[1]"], True],
            ["small", ["config.size", "n", "m"], False],
            ["made", [], False],
        ]

    def test_provenance_of_what_makes_the_key(self, make):
        """
        Ignored arguments are left out; with a key function, whatever it is given counts.
        """
        cache = make()

        @actor_cache(ignore=["client"])
        def load(path, client, *, size=1):
            return 1

        @actor_cache(key=lambda config, client: config.lower())
        def other(config, client):
            return 1

        path, client = "/some/path", "a client"
        cache.begin_call("", {"path": path, "client": client, "n": 12345})
        load(path, client)
        other(config=path, client=client)
        first, second = cache.end_call().rows()

        assert [["path", ["path"], True]] == first["provenance"]
        assert [["config", ["path"], True], ["client", ["client"], True]] == second["provenance"]

    def test_inputs_may_come_late(self, make):
        """
        A call's inputs are often decoded after it has begun.
        """
        cache = make()
        state = "some state"

        call = cache.begin_call("a")
        call.inputs = {"state": state}
        load_model(state)

        assert cache.end_call(call).rows()[0]["provenance"][0] == ["state", ["state"], True]

    def test_what_went_is_told(self, make):
        """
        Entries that had to go are named with the call in which they went.
        """
        cache = make()

        @actor_cache(max_entries=1)
        def load(x):
            return x

        cache.begin_call()
        load("a")
        first = cache.end_call().rows()
        cache.begin_call()
        load("b")
        second = cache.end_call().rows()

        assert "evicted" not in first[0] and "evicted" not in second[-1] or second
        assert [[first[0]["loader"], first[0]["key"], "max_entries"]] == second[-1]["evicted"]

    def test_a_load_that_failed_is_told(self, make, clock):
        """
        It has no key, and says how long it took.
        """
        cache = make()

        @actor_cache
        def load(x):
            clock.forward(2)
            raise ValueError

        cache.begin_call()
        with pytest.raises(ValueError):
            load(1)
        (row,) = cache.end_call().rows()

        assert (row["outcome"], row["preview"], row["load_ms"]) == ("failed", "x=1", 2000.0)

    def test_what_could_not_be_kept_is_not_told_as_held(self, make):
        """
        An entry larger than the whole budget is told as a load, and as gone with it.
        """
        cache = make(memory=1000)

        @actor_cache
        def load(n):
            return Array(5000)

        call = cache.begin_call("wf/t/0")
        load(1)
        cache.end_call(call)

        (row,) = cache.telemetry()
        assert row["misses"] == 1
        assert row["evicted"] == [[row["loader"], row["key"], "not kept"]]
        assert cache.entries() == []

    def test_news_are_summed_up_and_told_once(self, make):
        """
        `telemetry` sums up calls by entry, for one message about many of them.
        """
        cache = make()
        for number in range(4):
            cache.begin_call(f"wf/{number}")
            load_model(3)
            if number == 2:
                load_model(4)
            cache.end_call()

        rows = cache.telemetry()

        assert [(row["preview"].split(",")[0], row["hits"], row["misses"]) for row in rows] == [
            ("state=3", 3, 1),
            ("state=4", 0, 1),
        ]
        assert [row["loaded_by"] for row in rows] == ["wf/0", "wf/2"]
        assert rows == msgpack.unpackb(msgpack.packb(rows))
        assert cache.telemetry() == []

    def test_what_went_between_calls_waits_for_a_row(self, make):
        """
        Without a row to ride on, what went is asked for by `gone`.
        """
        cache = make()
        cache.begin_call()
        load_model(3)
        cache.end_call()
        (row,) = cache.telemetry()

        load_model.cache_clear()

        assert cache.telemetry() == []
        assert [[row["loader"], row["key"], "cleared"]] == cache.gone()
        assert cache.gone() == []

    def test_a_load_outside_of_calls_is_told_too(self, make):
        """
        A module may call a loader while it is imported: the hub hears of the entry all the same.
        """
        cache = make()

        load_model(3)

        assert [1] == [row["misses"] for row in cache.telemetry()]

    def test_entries_as_people_see_them(self, make, clock):
        """
        Loader, key, size, cost, hits, age, who loaded it, what it depends on, and what it has saved.
        """
        cache = make()

        @actor_cache
        def load(x):
            clock.forward(2)
            return x

        cache.begin_call("wf/n/0")
        load("a")
        cache.end_call()
        for _ in range(3):
            cache.begin_call()
            load("a")
            cache.end_call()
        clock.forward(5)

        (row,) = cache.entries()
        assert {name: row[name] for name in ("preview", "hits", "load_ms", "saved_s", "idle_s", "loaded_by")} == {
            "preview": 'x="a"',
            "hits": 3,
            "load_ms": 2000.0,
            "saved_s": 6.0,
            "idle_s": 5.0,
            "loaded_by": "wf/n/0",
        }
        assert [row] == msgpack.unpackb(msgpack.packb(cache.entries()))

    def test_keys_are_the_same_in_every_replica(self, make):
        """
        Another replica gives the same arguments the same key.
        """
        keys = []
        for _ in range(2):
            cache = make()
            cache.begin_call()
            load_model({"a": [1, 2.5], "b": {"x", "y"}})
            keys.append(cache.end_call().rows()[0]["key"])

        assert keys[0] == keys[1]


class TestOnDemand:
    def test_prewarm(self, make, told):
        """
        Recipes are loaded, plain and async; one that fails is told and left out.
        """
        cache = make()
        recipes = [
            load_model.bind(state=3).to_wire(),
            load_async.bind(4).to_wire(),
            {**load_model.bind(5).to_wire(), "qualname": "no_such_loader"},
        ]

        rows = cache.prewarm(recipes)

        assert [row["loader"].partition(":")[2] for row in rows] == ["load_model", "load_async"]
        assert (load_model.cache_info().misses, load_model.cache_info().hits) == (1, 0)
        load_model(state=3)
        assert load_model.cache_info().misses == 1
        assert "no_such_loader" in told[0]
        assert cache.telemetry() == []

    def test_entries_can_be_loaded_again_elsewhere(self, make):
        """
        Each entry with encodable arguments has a recipe; the most valuable come first.
        """
        cache = make()
        load_model(1)
        load_model(2, kind="large")
        cache.begin_call()
        load_model(2, kind="large")
        cache.end_call()

        recipes = cache.recipes()
        again = make()
        again.prewarm(recipes)

        assert len(recipes) == 2
        assert {row["key"] for row in cache.entries()} == {row["key"] for row in again.entries()}

    def test_evict(self, make):
        """
        One entry, all of a loader, or all.
        """
        cache = make()

        @actor_cache
        def other(x):
            return x

        load_model(1), load_model(2), other(1), other(2)
        name = f"{__name__}:load_model"
        one = next(row["key"] for row in cache.entries() if row["preview"].startswith("state=1"))

        first = cache.evict(name, one)
        second = cache.evict(name)
        third = cache.evict()

        assert [[name, one, "evicted"]] == first
        assert (len(second), len(third)) == (1, 2)
        assert [] == cache.entries() == cache.gone()


class TestSpeed:
    def test_a_hit_takes_no_lock_and_hashes_no_content(self, make, monkeypatch):
        """
        The common hit, on one small argument, goes the short way: the long one is not taken.
        """
        cache = make()

        @actor_cache
        def other(path, rate=0.5, half=True, name=None):
            if path is None:
                return not_defined_yet  # noqa: F821
            return [path]

        load_model(3), other("a")
        monkeypatch.setattr(ReplicaCache, "get", None)

        cache.begin_call()
        found = [load_model(3), load_model(state=3), load_model(3, "small")]
        assert other("a") is other("a", 0.5, half=True)
        rows = cache.end_call().rows()

        assert found[0] is found[1] is found[2]
        assert [row["outcome"] for row in rows] == ["hit", "hit"]


class TestRealMemory:
    def test_the_process_can_be_asked(self):
        """
        The real reader sees memory come and go.
        """
        memory = OwnMemory()
        before = memory.used()
        block = numpy.ones(64 * MIB, dtype="u1")
        during = memory.used()
        del block
        memory.give_back()
        after = memory.used()

        if Path("/proc/self/statm").exists():
            assert during - before > 48 * MIB
            assert during - after > 48 * MIB

    def test_without_a_gpu_nobody_can_tell(self):
        """
        Where there is no driver there is no figure.
        """
        if not Path("/dev/nvidiactl").exists():
            assert OwnGpuMemory().used() is None
        OwnGpuMemory().give_back()
