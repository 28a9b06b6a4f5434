"""How entries go: bounds, time, clearing, use, and what their loaders are told."""

import datetime
import gc
import subprocess
import sys
import textwrap
import threading

import pytest

from greenroom.actor_cache import actor_cache
from greenroom.caching.errors import EntryChanged


class TestMaxEntries:
    @pytest.mark.usefixtures("store")
    def test_the_least_recently_used_goes(self):
        """
        Above `max_entries` the entry that was not used for longest goes, and its loader is told with the object.
        """
        gone = []

        @actor_cache(max_entries=2, on_evict=gone.append)
        def load(x):
            return [x]

        load("a"), load("b"), load("a"), load("c")

        assert [["b"]] == gone
        assert ['x="a"', 'x="c"'] == [key.preview for key in load.cache_keys()]
        assert (1, 3, 2, 2) == load.cache_info()[:4]

    @pytest.mark.usefixtures("store")
    def test_it_goes_before_the_load(self):
        """
        Two entries never have to fit where one is allowed.
        """
        held = []

        @actor_cache(max_entries=1, on_evict=held.remove)
        def load(x):
            assert not held
            thing = [x]
            held.append(thing)
            return thing

        for name in "abcab":
            load(name)

        assert [["b"]] == held

    @pytest.mark.usefixtures("store")
    def test_many_keys_through_a_thousand_places(self):
        """
        Memory stays flat, and every entry that went was told of once.
        """
        gone = []

        @actor_cache(max_entries=1000, on_evict=gone.append)
        def load(n):
            return n

        for n in range(2_000):
            load(n)
        gc.collect()
        before = len(gc.get_objects())
        for n in range(2_000, 20_000):
            load(n)
        gc.collect()

        assert list(range(19_000)) == gone
        assert 1000 == load.cache_info().currsize
        assert len(gc.get_objects()) - before < 500

    @pytest.mark.usefixtures("store")
    def test_versions_of_one_loader_share_its_bound(self):
        """
        A loader's bound holds over all versions of its code.
        """
        size = [1]

        def make(text):
            names = {"__name__": __name__}
            exec(text, names)
            return actor_cache(max_entries=2)(names["load"])

        one = make("def load(x): return 1")
        two = make("def load(x): return 2")
        one("a"), one("b"), two("a")

        assert 2 == two.cache_info().currsize == one.cache_info().currsize
        assert size


class TestUse:
    def test_an_entry_in_use_stays(self, store):
        """
        While a call that got it runs, no entry goes; when it ends, the bound holds again.
        """
        gone = []

        @actor_cache(max_entries=1, on_evict=gone.append)
        def load(x):
            return x

        store.begin_call("e/n/0")
        load("a"), load("b"), load("c")
        during = (list(gone), load.cache_info().currsize)
        store.end_call()

        assert ([], 3) == during
        assert ["a", "b"] == gone

    def test_a_call_in_another_thread_counts(self, store):
        """
        What another thread's call uses stays, also when this one wants room.
        """
        gone = []
        using, done = threading.Event(), threading.Event()

        @actor_cache(max_entries=1, on_evict=gone.append)
        def load(x):
            return x

        def other():
            call = store.begin_call("other")
            load("a")
            using.set()
            done.wait(20)
            store.end_call(call)

        thread = threading.Thread(target=other)
        thread.start()
        using.wait(20)
        call = store.begin_call("mine")
        load("b")
        store.end_call(call)
        during = list(gone)
        done.set()
        thread.join()

        assert "a" not in during
        assert 1 == load.cache_info().currsize

    def test_a_thread_of_the_call_uses_for_it(self, store):
        """
        What a thread gets that the call has started is the call's.
        """
        gone = []

        @actor_cache(max_entries=1, on_evict=gone.append)
        def load(x):
            return x

        call = store.begin_call("mine")
        thread = threading.Thread(target=load, args=("a",))
        thread.start()
        thread.join()
        load("b")
        during = list(gone)
        telemetry = store.end_call(call)

        assert [] == during
        assert {'x="a"', 'x="b"'} == {row["preview"] for row in telemetry.rows()}

    def test_clearing_spares_what_is_in_use(self, store):
        """
        A cleared entry is given to nobody any more, and disposed of when its call has ended.
        """
        gone = []

        @actor_cache(on_evict=gone.append)
        def load(x):
            return [x]

        store.begin_call()
        first = load("a")
        load.cache_clear()
        second = load("a")
        during = list(gone)
        store.end_call()

        assert first is not second
        assert [] == during
        assert [["a"]] == gone
        assert second is load("a")


class TestTime:
    def test_ttl(self, store, clock):
        """
        After its time an entry is loaded again.
        """
        loads, gone = [], []

        @actor_cache(ttl=datetime.timedelta(seconds=30), on_evict=gone.append)
        def load():
            loads.append(1)
            return len(loads)

        first = load()
        clock.forward(29)
        second = load()
        clock.forward(1)
        third = load()

        assert (1, 1, 2) == (first, second, third)
        assert [1] == gone

    def test_an_expired_entry_goes_with_the_next_call(self, store, clock):
        """
        Nobody has to ask for it again.
        """
        gone = []

        @actor_cache(ttl=5, on_evict=gone.append)
        def load(x):
            return x

        load("a")
        clock.forward(6)
        store.begin_call()
        store.end_call()

        assert ["a"] == gone

    def test_an_expired_entry_in_use(self, store, clock):
        """
        It is replaced at once, and disposed of when its call ends.
        """
        gone = []

        @actor_cache(ttl=5, on_evict=gone.append)
        def load(x):
            return [x]

        store.begin_call()
        first = load("a")
        clock.forward(6)
        second = load("a")
        during = list(gone)
        store.end_call()

        assert first is not second
        assert ([], [["a"]]) == (during, gone)


class TestMaxMemory:
    @pytest.mark.usefixtures("store")
    def test_entries_are_weighed(self):
        """
        With `max_memory` entries are measured, and the least recently used make room.
        """
        gone = []

        @actor_cache(max_memory="100Ki", on_evict=lambda one: gone.append(one[:1]))
        def load(name):
            return name.encode() * 40_000

        load("a"), load("b"), load("a"), load("c")

        assert [b"b"] == gone
        assert 80_000 <= load.cache_info().bytes <= 81_000

    @pytest.mark.usefixtures("store")
    def test_one_that_is_too_large_is_not_kept(self, told):
        """
        An entry larger than the bound is a plain call, with a warning that names both numbers.
        """
        gone = []

        @actor_cache(max_memory=1000, on_evict=gone.append)
        def load(n):
            return bytes(n)

        load(10)
        large = load(5000)

        assert 5000 == len(large)
        assert load(5000) is not large
        assert ([], 1) == (gone, load.cache_info().currsize)
        assert 1 == len(told)
        assert "load(n=5000) takes 5,033 bytes, more than max_memory=1,000; it is not kept" == told[0]


class TestEnd:
    def test_close_tells_all(self, store):
        """
        At the end of the process every entry's loader is told, also of those in use.
        """
        gone = []

        @actor_cache(on_evict=gone.append)
        def load(x):
            return x

        load(1)
        store.begin_call()
        load(2)
        store.close()

        assert [1, 2] == sorted(gone)

    def test_an_on_evict_that_raises_is_contained(self, store, told):
        """
        Its error is told, and the others are still disposed of.
        """
        gone = []

        @actor_cache
        def quiet():
            return 1

        @actor_cache(on_evict=lambda one: one.no_such_thing)
        def load(x):
            return x

        @actor_cache(on_evict=gone.append)
        def other():
            return 7

        load(1), quiet(), other()
        store.close()

        assert [7] == gone
        assert "on_evict of load(x=1) raised AttributeError" in told[0]

    def test_a_plain_program_tells_at_its_end(self, tmp_path):
        """
        Without a replica, `on_evict` runs when the interpreter ends.
        """
        (tmp_path / "program.py").write_text(
            textwrap.dedent("""
                from greenroom.actor_cache import actor_cache

                @actor_cache(on_evict=lambda one: print("gone", one))
                def load(x):
                    return x

                load(3)
                print("end")
            """)
        )

        done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=True)

        assert "end\ngone 3\n" == done.stdout


class TestFrozen:
    def test_a_call_that_changes_an_entry_is_found(self, store):
        """
        The error names loader and call, the entry is dropped, and the next call loads a clean one.
        """

        @actor_cache(frozen=True)
        def load(x):
            return {"weights": [1, 2]}

        store.begin_call("wf-1/train/3")
        load("a")["weights"].append(3)
        telemetry = store.end_call()
        store.begin_call("wf-1/train/4")
        clean = load("a")
        fine = store.end_call()

        (error,) = telemetry.errors
        assert isinstance(error, EntryChanged)
        assert 'call wf-1/train/3 changed load(x="a"), which is frozen' in str(error)
        assert {"weights": [1, 2]} == clean
        assert [] == fine.errors

    def test_reading_is_no_change(self, store):
        """
        Objects, arrays and tables may be read as often as one likes.
        """
        import numpy
        import pandas

        class Model:
            def __init__(self):
                self.weights = numpy.zeros(1_000_000)
                self.table = pandas.DataFrame({"a": [1, 2]})

            def predict(self):
                return self.weights.sum() + self.table.a.sum()

        @actor_cache(frozen=True)
        def load():
            return Model()

        for _ in range(3):
            store.begin_call()
            load().predict()
            assert [] == store.end_call().errors

        assert 1 == load.cache_info().misses

    def test_objects_that_refer_to_each_other(self, store):
        """
        A change deep in a graph with cycles is found.
        """

        class Node:
            def __init__(self, parent):
                self.parent, self.children, self.size = parent, [], 1
                if parent is not None:
                    parent.children.append(self)

        @actor_cache(frozen=True)
        def load():
            root = Node(None)
            Node(Node(root))
            return root

        store.begin_call()
        load()
        unchanged = store.end_call().errors
        store.begin_call()
        load().children[0].children[0].size = 2

        assert [] == unchanged
        assert 1 == len(store.end_call().errors)

    @pytest.mark.parametrize("change", ["one.weights[0] = 1", "one.table.loc[0, 'a'] = 5", "one.more = 1"])
    def test_changes_inside_are_found(self, store, change):
        """
        Also in an object's arrays, tables and attributes.
        """
        import numpy
        import pandas

        class Model:
            def __init__(self):
                self.weights = numpy.zeros(1_000_000)
                self.table = pandas.DataFrame({"a": [1, 2]})

        @actor_cache(frozen=True)
        def load():
            return Model()

        store.begin_call()
        exec(change, {"one": load()})

        assert 1 == len(store.end_call().errors)

    @pytest.mark.usefixtures("store")
    def test_without_calls_the_next_one_to_ask_is_told(self):
        """
        In a plain program the change is found when the entry is next asked for.
        """

        @actor_cache(frozen=True)
        def load():
            return [1]

        load().append(2)

        with pytest.raises(EntryChanged, match="a caller changed load"):
            load()
        assert [1] == load()
