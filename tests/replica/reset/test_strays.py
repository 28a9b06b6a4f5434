# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""Threads, processes, descriptors and patches that calls leave behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, restores

Runner = Callable[..., Any]


def test_a_thread_that_ends_in_time_is_nothing_to_tell(runner: Runner) -> None:
    """
    A call's thread gets 50 ms after it.
    """
    flow = "import threading, time\ndef task(): threading.Thread(target=time.sleep, args=(0.02,)).start()\n"

    assert runner(lambda lab: (lab.call("task"), lab.report)[1], flow=flow) is None


@restores("threads of user code")
def test_a_thread_with_user_code_retires_the_runner(runner: Runner) -> None:
    """
    A thread that runs user code and survives could change what the next call sees: the runner is replaced.
    """
    flow = """
        import functools, threading, time
        def work(seconds): time.sleep(seconds)
        class Worker(threading.Thread):
            def run(self): time.sleep(5)
        def plain(): threading.Thread(target=work, args=(5,), daemon=True).start()
        def wrapped(): threading.Thread(target=functools.partial(work, 5), daemon=True).start()
        def timer():
            late = threading.Timer(5, work, (1,))
            late.daemon = True
            late.start()
        def subclass(): Worker(daemon=True).start()
        def raw():
            import _thread
            _thread.start_new_thread(work, (5,))
        def pool():
            import concurrent.futures
            concurrent.futures.ThreadPoolExecutor(1).submit(work, 0.3)
    """

    for name in ("plain", "wrapped", "timer", "subclass", "raw", "pool"):
        told = runner(lambda lab, name=name: (lab.call(name), lab.wire())[1], flow=flow)
        assert "outlived its call by 50 ms" in told["retire"], name
        assert told["leaks"] == {"threads": 1}, name


def test_a_librarys_thread_is_told_once(runner: Runner) -> None:
    """
    A library's thread stays, is told with the first call that left one of its kind, and costs later calls nothing.
    """
    flow = "import vendored\ndef task(): vendored.start()\ndef idle(): pass\n"
    vendored = "import threading, time\ndef loop(): time.sleep(30)\ndef start(): threading.Thread(target=loop, name='monitor', daemon=True).start()\n"

    def scenario(lab: Lab) -> Any:
        told = []
        for name in ("task", "idle", "task", "idle"):
            lab.call(name)
            told.append(lab.wire())
        return told

    first, idle, second, again = runner(scenario, flow=flow, vendored=vendored)

    assert first["sentences"] == [
        "the call left a library's thread behind (monitor, vendored.loop); it is kept, and told once"
    ]
    assert second == {"leaks": {"threads": 1}}
    assert {} == idle == again


@restores("child processes")
def test_processes_left_behind_are_ended_and_told(runner: Runner) -> None:
    """
    A child and its own children end with the call; one that ignores SIGTERM ends all the same.
    """
    flow = """
        import os, subprocess
        def task():
            return subprocess.Popen(["sh", "-c", "sleep 300 & echo $! ; trap '' TERM; sleep 300; sleep 300"], stdout=subprocess.PIPE).stdout.readline()
        def forked():
            pid = os.fork()
            if pid == 0:
                while True: pass
            return pid
        def finished():
            subprocess.Popen(["true"]).wait()
            pid = os.fork()
            if pid == 0: os._exit(0)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # It has ended, and nobody has reaped it.
    """

    def scenario(lab: Lab) -> Any:
        grandchild = int(lab.call("task"))
        told = [lab.wire()]
        child = lab.call("forked")
        told.append(lab.wire())
        lab.call("finished")
        told.append(lab.wire())
        return grandchild, child, told

    grandchild, child, told = runner(scenario, flow=flow)

    assert [item.get("leaks", {}) for item in told] == [{"processes": 1}, {"processes": 1}, {}]
    assert "the call left a process behind, ended now: sh -c" in told[0]["sentences"][0]
    assert not is_alive(grandchild)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    """Tell whether a process still runs; one that is about to go gets a moment."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                    return False
        except OSError:
            return False
        time.sleep(0.01)
    return True


def test_threads_that_would_start_their_processes_again_retire_the_runner(runner: Runner) -> None:
    """
    A library's thread that outlives a call together with a process may start it again, as a multiprocessing pool does.
    """
    flow = "import vendored\ndef task(): vendored.start()\n"
    vendored = """
        import subprocess, threading
        STOP = threading.Event()
        def keep():
            child = subprocess.Popen(["sleep", "300"])
            while not STOP.wait(0.01):
                if child.poll() is not None:
                    child = subprocess.Popen(["sleep", "300"])
            child.kill()
            child.wait()
        def start():
            global THREAD
            THREAD = threading.Thread(target=keep, daemon=True)
            THREAD.start()
            while not STOP.wait(0.05): return
    """

    def scenario(lab: Lab) -> Any:
        lab.call("task")
        told = lab.wire()
        vendored = lab.modules["flow"].vendored
        vendored.STOP.set()
        vendored.THREAD.join(10)
        return told

    told = runner(scenario, flow=flow, vendored=vendored)

    assert "threads and processes outlived their call, and may start each other again" == told["retire"]
    assert {"threads": 1, "processes": 1} == told["leaks"]


@pytest.mark.parametrize("kind", ["Pool(2)", "Manager()"])
def test_pools_left_open_are_closed(kind: str, runner: Runner) -> None:
    """
    A pool or a manager that a call leaves in a global is closed as at the end of a process, and the runner goes on.
    """
    flow = f"""
        import multiprocessing
        P = None
        def task():
            global P
            P = multiprocessing.get_context("fork").{kind}
            return P.map(abs, [-1]) if hasattr(P, "map") else dict(P.dict(a=1))
        def look(): return P
    """

    def scenario(lab: Lab) -> Any:
        told = []
        for _ in range(3):
            lab.call("task")
            told.append(lab.wire())
        return told, lab.call("look")

    told, left = runner(scenario, flow=flow)

    assert left is None
    assert not any("retire" in one for one in told), told
    assert all("closed now" in str(one["sentences"]) for one in told), told


def test_a_resource_tracker_is_left_alone(runner: Runner) -> None:
    """
    The process that the standard library keeps for its own needs is neither ended nor told.
    """
    flow = """
        from multiprocessing import resource_tracker
        def task():
            resource_tracker.ensure_running()
            return resource_tracker._resource_tracker._pid
    """

    def scenario(lab: Lab) -> Any:
        pids = lab.call("task"), lab.call("task")
        os.kill(pids[0], 0)
        from multiprocessing import resource_tracker

        told = lab.wire()
        resource_tracker._resource_tracker._stop()
        return pids, told

    (first, second), told = runner(scenario, flow=flow)

    assert first == second
    assert told == {}


def test_descriptors_are_counted_in_steps(runner: Runner) -> None:
    """
    A few open files are a library's business; sixteen more than before are a leak, told once per step.
    """
    flow = "import os, time\ndef task(n):\n    time.sleep(0.003)\n    for _ in range(n): os.open('/', os.O_RDONLY)\n"

    def scenario(lab: Lab) -> Any:
        told = []
        for count in (4, 20, 0, 3):
            lab.call("task", count)
            told.append(lab.wire())
        return told

    few, many, none, three = runner(scenario, flow=flow)

    assert {} == few == none == three
    assert many["leaks"] == {"descriptors": 24}


def test_descriptors_of_short_calls_are_counted_too(runner: Runner) -> None:
    """
    Calls that are too short for a look at everything are looked at now and then.
    """
    flow = "import os\ndef task(): os.open('/', os.O_RDONLY)\n"

    def scenario(lab: Lab) -> Any:
        found = 0
        for _ in range(200):
            lab.call("task")
            found += lab.wire().get("leaks", {}).get("descriptors", 0)
        return found

    assert 100 < runner(scenario, flow=flow) <= 200


@pytest.mark.alone
def test_patched_libraries_are_told(runner: Runner) -> None:
    """
    A user's function deep in a library stays, since libraries are kept, and is told once, with both names.

    The look at all names of all libraries takes a hundredth of the calls' time, so that it may be told with a later call.
    """
    flow = (
        "import json.decoder, time\ndef fake(*args): return 'fake'\n"
        "def task():\n    json.decoder.scanstring = fake\n    time.sleep(0.05)\n"
    )

    def scenario(lab: Lab) -> Any:
        told: list[Any] = []
        left = 200
        while left:
            lab.call("task")
            told += [(lab.wire()["sentences"], lab.wire()["leaks"])] if lab.report else []
            left = min(left - 1, 3) if told else left - 1
        return told

    sentence = "the call patched libraries, which stays for later calls: json.decoder.scanstring (now flow.fake)"
    assert [([sentence], {"patched": 1})] == runner(scenario, flow=flow)


def test_threads_of_libraries_do_not_gather_without_end(runner: Runner) -> None:
    """
    Library threads that calls leave are kept, up to a number; then the runner is replaced.
    """
    flow = """
        import threading, time
        def task():
            for _ in range(30): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    """

    def scenario(lab: Lab) -> list[bool]:
        told = []
        for _ in range(3):
            lab.call("task")
            told.append("retire" in lab.wire())
        return told

    assert [False, False, True] == runner(scenario, flow=flow)


@restores("user, groups, root folder", "audit hooks")
@pytest.mark.parametrize(
    ("does", "word"),
    [
        ("shutil.rmtree(os.getcwd())", "working folder was deleted"),
        ("[os.dup(1) for _ in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)]", "descriptors are open"),
        ("resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)); [os.dup(1) for _ in range(280)]", "RLIMIT_NOFILE"),
        ("sys.addaudithook(print)", "audit hook"),
        ("os.seteuid(65534) if not os.getuid() else sys.addaudithook(print)", ""),
        ("os.setuid(65534) if not os.getuid() else sys.addaudithook(print)", ""),
    ],
)
def test_what_a_call_takes_from_later_ones_for_good_retires_the_runner(does: str, word: str, runner: Runner) -> None:
    """
    A deleted working folder, used-up descriptors, another user, an audit hook: what cannot be put back costs the runner.
    """
    flow = f"import os, resource, shutil, sys, time\ndef task():\n    {does}\n    time.sleep(0.0001)\ndef who(): return os.geteuid()\n"

    def scenario(lab: Lab) -> Any:
        first = lab.call("who")
        lab.call("task")
        return lab.wire(), first, lab.call("who")

    told, first, then = runner(scenario, flow=flow)

    if "seteuid" in does:  # The one that can be.
        assert (first, told["restored"]) == (then, ["user"]) or first
    else:
        assert word in str(told["sentences"]), told
        assert told["retire"]


def test_strays_alone_can_be_looked_for(runner: Runner) -> None:
    """
    ``isolation='none'`` keeps state, and still looks after threads and processes.
    """
    flow = "import subprocess\nX = []\ndef task():\n    X.append(1)\n    subprocess.Popen(['sleep', '300'])\n"

    def scenario(lab: Lab) -> Any:
        lab.modules["flow"].task()
        report = lab.reset.check_strays()
        return lab.modules["flow"].X, report.to_wire()

    kept, told = runner(scenario, flow=flow)

    assert kept == [1]
    assert told["leaks"] == {"processes": 1}


def test_a_call_that_starts_nothing_is_not_waited_for(runner: Runner) -> None:
    """
    With ``isolation='none'`` a short call ends at once: nobody waits for threads that it has not started.
    """

    def scenario(lab: Lab) -> Any:
        from greenroom_replica.reset import strays

        waited: list[float] = []
        strays.time.sleep = waited.append
        for _ in range(100):
            lab.reset.before("bundle")
            lab.modules["flow"].task()
            lab.reset.check_strays()
        return waited

    waited = runner(scenario, flow="def task(): pass")

    assert len(waited) < 10  # One that is kept from the processor is long, and looked at; it need not wait either.


def test_a_thread_of_a_short_call_is_found_without_the_reset(runner: Runner) -> None:
    """
    With ``isolation='none'`` a thread that outlives its call retires the runner, once, and not the calls behind it.
    """
    flow = """
        import threading, time
        def spin():
            while True: time.sleep(0.01)
        def task(): threading.Thread(target=spin, daemon=True).start()
        def nothing(): pass
    """

    def scenario(lab: Lab) -> Any:
        told = []
        for name in ("task", "nothing"):
            lab.reset.before("bundle")
            getattr(lab.modules["flow"], name)()
            told.append(lab.reset.check_strays())
        return told[0].to_wire(), told[1] is None

    told, is_quiet = runner(scenario, flow=flow)

    assert told["leaks"] == {"threads": 1}
    assert told["retire"]
    assert is_quiet
