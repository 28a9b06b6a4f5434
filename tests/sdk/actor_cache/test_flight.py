"""One load at a time for each key, in threads and in coroutines, and what becomes of those who wait."""

import asyncio
import contextvars
import importlib
import os
import sys
import threading

import pytest

from greenroom.actor_cache import actor_cache
from greenroom.caching.errors import RecursiveLoad

pytestmark = pytest.mark.usefixtures("store")


class Crew:
    """Threads that run one thing each; gives what they returned or raised."""

    def __init__(self, *jobs):
        self.results = [None] * len(jobs)
        self._threads = [threading.Thread(target=self._run, args=(place, job)) for place, job in enumerate(jobs)]
        for thread in self._threads:
            thread.start()

    def _run(self, place, job):
        try:
            self.results[place] = job()
        except BaseException as fault:
            self.results[place] = fault

    def join(self):
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.results


def until(condition):
    """Wait, in tests of threads only, for another thread to get somewhere."""
    event = threading.Event()
    for _ in range(2000):
        if condition():
            return
        event.wait(0.005)
    raise AssertionError("it did not come to pass")


class TestThreads:
    def test_eight_threads_one_load(self):
        """
        Eight threads that ask for one cold key at once get one object from one load.
        """
        gate = threading.Event()
        loads = []

        @actor_cache
        def load(x):
            loads.append(x)
            gate.wait(20)
            return object()

        crew = Crew(*[lambda: load(1)] * 8)
        until(lambda: load.cache_info().waits == 7)
        gate.set()
        results = crew.join()

        assert 1 == len(loads)
        assert 1 == len({id(one) for one in results})
        assert (1, 7) == (load.cache_info().misses, load.cache_info().waits)

    @pytest.mark.parametrize("where", ["a global", "a closure"])
    def test_a_load_that_changes_its_own_state_is_still_one(self, where, tmp_path, monkeypatch):
        """
        Who asks while a loader runs that counts its loads, in a global or in what it closes over, waits for it as well.
        """
        begun, gate = threading.Event(), threading.Event()
        loads = []
        (tmp_path / "counted.py").write_text(
            "from greenroom import actor_cache\nLOADS = []\ndef note(where, x): where.append(x)\ndef wait(): pass\n"
            "@actor_cache\ndef load(x):\n    note(LOADS, x)\n    wait()\n    return object()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        if where == "a global":
            counted = importlib.import_module("counted")
            monkeypatch.delitem(sys.modules, "counted")
            load, loads = counted.load, counted.LOADS
            counted.wait = lambda: (begun.set(), gate.wait(20))
        else:

            @actor_cache
            def load(x):
                noted = loads
                noted.append(x)
                begun.set()
                gate.wait(20)
                return object()

        first = Crew(lambda: load(1))
        assert begun.wait(20)
        others = Crew(*[lambda: load(1)] * 7)
        until(lambda: load.cache_info().waits == 7)
        gate.set()
        results = [*first.join(), *others.join()]

        assert [1] == loads
        assert 1 == len({id(one) for one in results})
        assert (0, 1, 7) == tuple(getattr(load.cache_info(), name) for name in ("hits", "misses", "waits"))

    def test_other_keys_do_not_wait(self):
        """
        A load of one key holds up nobody who wants another.
        """
        gate = threading.Event()

        @actor_cache
        def load(x):
            if x == "slow":
                gate.wait(20)
            return x

        crew = Crew(lambda: load("slow"))
        until(lambda: load.cache_info().misses == 1)

        assert "quick" == load("quick")
        gate.set()
        assert ["slow"] == crew.join()

    def test_a_load_that_fails_is_tried_by_those_who_wait(self):
        """
        An error belongs to the call that ran into it; who waits tries for itself, one at a time.
        """
        gate = threading.Event()
        loads = []

        @actor_cache
        def load():
            loads.append(1)
            if len(loads) == 1:
                gate.wait(20)
                raise ValueError("the first one")
            return len(loads)

        crew = Crew(*[load] * 4)
        until(lambda: load.cache_info().waits == 3)
        gate.set()
        results = crew.join()

        assert 2 == len(loads)
        assert 1 == sum(isinstance(one, ValueError) for one in results)
        assert [2, 2, 2] == [one for one in results if one == 2]

    def test_who_waits_long_is_told(self, told, clock):
        """
        A load that takes long is named to those who wait for it.
        """
        gate = threading.Event()

        @actor_cache
        def load(x):
            gate.wait(20)
            return x

        first = Crew(lambda: load(7))
        until(lambda: load.cache_info().misses == 1)
        clock.forward(12)
        second = Crew(lambda: load(7))
        until(lambda: told)
        gate.set()

        assert [7, 7] == [*first.join(), *second.join()]
        assert "load(x=7) has been loading for 12 s; this call waits for it" == told[0]

    def test_clearing_while_it_loads(self):
        """
        What was being loaded when the cache was cleared is given to who waits, and not kept.
        """
        gate = threading.Event()

        @actor_cache
        def load():
            gate.wait(20)
            return object()

        crew = Crew(load, load)
        until(lambda: load.cache_info().waits == 1)
        load.cache_clear()
        gate.set()
        first, second = crew.join()

        assert first is second
        assert first is not load()

    def test_a_fork_while_another_thread_loads(self):
        """
        In a forked child the other thread's load will never end: the child loads for itself.
        """
        gate = threading.Event()
        parent = os.getpid()

        @actor_cache
        def load():
            if os.getpid() == parent:
                gate.wait(20)
            return os.getpid()

        crew = Crew(load)
        until(lambda: load.cache_info().misses == 1)
        pid = os.fork()
        if not pid:
            os._exit(0 if load() == os.getpid() else 1)
        _, status = os.waitpid(pid, 0)
        gate.set()

        assert 0 == status
        assert [parent] == crew.join()


class TestCoroutines:
    async def test_coroutines_share_one_load(self):
        """
        Coroutines that ask for one cold key at once await one load.
        """
        loads = []
        gate = asyncio.Event()

        @actor_cache
        async def load(x):
            loads.append(x)
            await gate.wait()
            return object()

        tasks = [asyncio.create_task(load(1)) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks)

        assert [1] == loads
        assert 1 == len({id(one) for one in results})

    def test_event_loops_in_threads_share_one_load(self):
        """
        A coroutine on another thread's event loop waits too.
        """
        gate = threading.Event()
        loads = []

        @actor_cache
        async def load():
            loads.append(1)
            await asyncio.to_thread(gate.wait, 20)
            return object()

        crew = Crew(*[lambda: asyncio.run(load())] * 3)
        until(lambda: load.cache_info().waits == 2)
        gate.set()
        results = crew.join()

        assert [1] == loads
        assert 1 == len({id(one) for one in results})

    async def test_a_coroutine_waits_for_a_thread(self):
        """
        A plain loader that runs in a thread serves a coroutine's thread too.
        """
        gate = threading.Event()
        loads = []

        @actor_cache
        def load():
            loads.append(1)
            gate.wait(20)
            return object()

        tasks = [asyncio.create_task(asyncio.to_thread(load)) for _ in range(3)]
        await asyncio.to_thread(until, lambda: load.cache_info().waits == 2)
        gate.set()
        results = await asyncio.gather(*tasks)

        assert [1] == loads
        assert 1 == len({id(one) for one in results})

    async def test_a_cancelled_load_is_tried_again(self):
        """
        When the coroutine that loads is cancelled, the next in line loads.
        """
        started = []

        @actor_cache
        async def load():
            started.append(1)
            if len(started) == 1:
                await asyncio.Event().wait()
            return "there"

        first = asyncio.create_task(load())
        await asyncio.sleep(0)
        second = asyncio.create_task(load())
        await asyncio.sleep(0)
        first.cancel()

        assert "there" == await second
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_a_cancelled_waiter_leaves_the_load_alone(self):
        """
        Who waits may stop waiting; the load goes on.
        """
        gate = asyncio.Event()

        @actor_cache
        async def load():
            await gate.wait()
            return "there"

        first = asyncio.create_task(load())
        await asyncio.sleep(0)
        second = asyncio.create_task(load())
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()

        assert "there" == await first == await load()

    def test_a_load_whose_loop_is_torn_down(self):
        """
        A load that was abandoned with its event loop does not block the next.
        """

        @actor_cache
        async def load(hang):
            if hang:
                await asyncio.Event().wait()
            return "there"

        async def abandon():
            asyncio.ensure_future(load(True))
            await asyncio.sleep(0)

        asyncio.run(abandon())

        async def again():
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(load(True), 0.01)
            return await load(False)

        assert "there" == asyncio.run(again())

    async def test_who_waits_long_is_told(self, told):
        """
        Coroutines are told as threads are.
        """
        gate = asyncio.Event()

        @actor_cache
        async def load():
            await gate.wait()
            return 1

        first, second = asyncio.create_task(load()), asyncio.create_task(load())
        while not told:
            await asyncio.sleep(0.001)
        gate.set()

        assert [1, 1] == [await first, await second]
        assert "load() has been loading for" in told[0]


class TestRecursion:
    def test_a_load_that_asks_for_itself(self):
        """
        It would wait for itself: an error says so, with the way there.
        """

        @actor_cache
        def load(n):
            return load(n)

        with pytest.raises(RecursiveLoad) as raised:
            load(3)

        assert "load(n=3) is being loaded, and that load asks for it again (load(n=3) -> load(n=3))" in str(
            raised.value
        )

    def test_other_keys_are_no_recursion(self):
        """
        A loader may call itself for another key.
        """

        @actor_cache
        def factorial(n):
            return n * factorial(n - 1) if n else 1

        assert 120 == factorial(5)
        assert 6 == factorial.cache_info().misses

    def test_through_another_loader(self):
        """
        The way round may be longer.
        """

        @actor_cache
        def one():
            return two()

        @actor_cache
        def two():
            return one()

        with pytest.raises(RecursiveLoad, match=r"one\(\) -> two\(\) -> one\(\)"):
            one()

    async def test_in_a_task_that_the_load_started(self):
        """
        Tasks belong to the load that started them.
        """

        @actor_cache
        async def load():
            return (await asyncio.gather(load()))[0]

        with pytest.raises(RecursiveLoad):
            await load()

    def test_in_a_thread_that_carries_the_context(self):
        """
        So do threads that were given the load's context.
        """

        @actor_cache
        def load():
            crew = Crew(lambda context=contextvars.copy_context(): context.run(load))
            (found,) = crew.join()
            raise found

        with pytest.raises(RecursiveLoad):
            load()

    def test_two_loads_that_need_each_other(self):
        """
        Two threads whose loads wait for one another: one of them gets the error, and both end.
        """
        meet = threading.Barrier(2, timeout=20)
        met = []

        def wait_once(name):
            if name not in met:
                met.append(name)
                meet.wait()

        @actor_cache
        def one():
            wait_once("one")
            return [two()]

        @actor_cache
        def two():
            wait_once("two")
            return [one()]

        results = Crew(one, two).join()

        assert any(isinstance(one, RecursiveLoad) for one in results)
        assert all(isinstance(one, RecursiveLoad) for one in results)
