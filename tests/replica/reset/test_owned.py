# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What a cache entry's loader makes is the entry's: kept, put back, and ended with it."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.replica.reset.lab import Lab, in_child, restores
from tests.replica.reset.test_strays import is_alive

Runner = Callable[..., Any]

FLOW = """
    import os, socket, subprocess, sys, threading, time
    STATE = None
    HANDLES = []
    def load(kind):
        global STATE
        STATE = "set by the loader"
        if kind == "environment":
            os.environ["MODEL_HOME"] = "/models"
            os.environ.pop("UNWANTED", None)
            os.chdir("/")
        if kind == "thread":
            stop = threading.Event()
            def beat():
                while not stop.wait(0.01): pass
            threading.Thread(target=beat, daemon=True).start()
            return stop
        if kind == "process":
            return subprocess.Popen(["sleep", "300"])
        if kind == "files":
            open("model.bin", "w").write("weights")
            os.mkdir("shards")
            open("shards/0", "w").write("w")
        if kind == "exit":
            import atexit
            atexit.register(open, "closed", "w")
        if kind == "raises":
            os.environ["MODEL_HOME"] = "/models"
            HANDLES.append(subprocess.Popen(["sleep", "300"]))
            raise ValueError("no model")
    def task(lab, kind):
        with lab.reset.owned("entry") as owner:
            made = load(kind)
        return owner, made
    def look(): return STATE, os.environ.get("MODEL_HOME"), os.environ.get("UNWANTED"), os.getcwd() == "/"
    def child_sees(): return subprocess.run(["sh", "-c", "echo $MODEL_HOME"], capture_output=True, text=True).stdout.strip()
"""


@restores("environment variables")
def test_variables_of_a_load_are_there_for_as_long_as_the_entry_lives(runner: Runner) -> None:
    """
    What a loader set or removed is applied to every call, silently, until the entry is evicted; its globals are not.
    """

    def scenario(lab: Lab) -> Any:
        owner, _ = lab.call("task", lab, "environment", environment={"UNWANTED": "1"})
        told = lab.wire()
        seen = [lab.call("look", environment={"UNWANTED": "1"}), lab.report, lab.call("child_sees")]
        lab.reset.release(owner)
        return told, [*seen, lab.call("look", environment={"UNWANTED": "1"}), lab.report, lab.call("child_sees")]

    told, seen = runner(scenario, flow=FLOW)

    assert told == {"restored": ["flow.STATE", "cwd"]}
    assert seen == [(None, "/models", None, False), None, "/models", (None, None, "1", False), None, ""]


def test_threads_of_a_load_are_no_strays(runner: Runner) -> None:
    """
    A loader's thread lives on without a word; one that survives its entry retires the runner.
    """

    def scenario(lab: Lab) -> Any:
        owner, stop = lab.call("task", lab, "thread")
        told = [lab.wire()]
        lab.call("look")
        told.append(lab.wire())
        if stops:
            stop.set()
        lab.reset.release(owner)
        lab.call("look")
        return [*told, lab.wire()]

    stops = True
    assert runner(scenario, flow=FLOW) == [{"restored": ["flow.STATE"]}, {}, {}]

    stops = False
    assert "outlived its call" in runner(scenario, flow=FLOW)[2]["retire"]


def test_processes_of_a_load_are_ended_at_the_release(runner: Runner) -> None:
    """
    A loader's process lives through other calls' leftovers being ended, and ends with its entry.
    """
    flow = FLOW + "    def leave(): subprocess.Popen(['sleep', '301'])\n"

    def scenario(lab: Lab) -> Any:
        owner, process = lab.call("task", lab, "process")
        told = [lab.wire()]
        lab.call("leave")
        told.append(lab.wire())
        alive = process.poll() is None
        lab.reset.release(owner)
        return told, alive, process.pid

    told, alive, pid = runner(scenario, flow=flow)

    assert told[0] == {"restored": ["flow.STATE"]}
    assert told[1]["leaks"] == {"processes": 1}
    assert alive
    assert not is_alive(pid)


def test_a_model_server_serves_a_hundred_calls(runner: Runner) -> None:
    """
    A loader that starts an HTTP server process and returns its address works for every call until the release.
    """
    flow = """
        import http.server, multiprocessing, os, socket, subprocess, sys, urllib.request
        PROGRAM = "import http.server, sys; s = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler); print(s.server_port, flush=True); s.serve_forever()"
        def load(lab):
            with lab.reset.owned("server") as owner:
                server = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                port = int(server.stdout.readline())
            return owner, server, port
        def ask(port):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            return opener.open(f"http://127.0.0.1:{port}/").status
    """

    def scenario(lab: Lab) -> Any:
        owner, server, port = lab.call("load", lab)
        statuses = {lab.call("ask", port) for _ in range(100)}
        told = lab.wire()
        lab.reset.release(owner)
        return statuses, told, server.pid

    statuses, told, pid = runner(scenario, flow=flow)

    assert urllib.request is not None
    assert {200} == statuses
    assert told == {}
    assert not is_alive(pid)


def test_files_of_a_load_in_private_folders_are_removed(runner: Runner, tmp_path: Path) -> None:
    """
    What a loader puts into the replica's private folder goes with the entry; what calls put there does not.
    """

    def scenario(lab: Lab) -> Any:
        (tmp_path / "other").write_text("")
        owner, _ = lab.call("task", lab, "files")
        there = sorted(name for name in os.listdir(tmp_path) if name != "bundle")
        lab.reset.release(owner)
        return there, sorted(name for name in os.listdir(tmp_path) if name != "bundle")

    assert runner(scenario, flow=FLOW, private=str(tmp_path)) == (["model.bin", "other", "shards"], ["other"])


def test_exit_callbacks_of_a_load_wait_for_the_release(runner: Runner, tmp_path: Path) -> None:
    """
    A loader's atexit callback runs when its entry goes, not at the end of the call that loaded it.
    """

    def scenario(lab: Lab) -> Any:
        owner, _ = lab.call("task", lab, "exit")
        early = (tmp_path / "closed").exists()
        lab.reset.release(owner)
        return early, (tmp_path / "closed").exists()

    assert runner(scenario, flow=FLOW) == (False, True)


def test_a_load_that_fails_owns_nothing(runner: Runner) -> None:
    """
    What a loader that raised has left is the call's, and cleaned up with it.
    """

    def scenario(lab: Lab) -> Any:
        try:
            lab.call("task", lab, "raises")
        except ValueError:
            pass
        return lab.wire(), lab.call("look")

    told, seen = runner(scenario, flow=FLOW)

    assert told["leaks"] == {"processes": 1}
    assert seen == (None, None, None, False)


def test_nested_loads_own_each_their_own(runner: Runner) -> None:
    """
    A loader that calls another cached loader does not end what that one made.
    """
    flow = """
        import subprocess
        def task(lab):
            with lab.reset.owned("outer") as outer:
                mine = subprocess.Popen(["sleep", "300"])
                with lab.reset.owned("inner") as inner:
                    theirs = subprocess.Popen(["sleep", "300"])
            return outer, inner, mine.pid, theirs.pid
    """

    def scenario(lab: Lab) -> Any:
        outer, inner, mine, theirs = lab.call("task", lab)
        lab.reset.release(outer)
        seen = [is_alive(mine), _exists(theirs)]
        lab.reset.release(inner)
        return [*seen, is_alive(theirs)]

    assert runner(scenario, flow=flow) == [False, True, False]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_releasing_twice_is_harmless(runner: Runner) -> None:
    """
    An entry is released once; again does nothing.
    """

    def scenario(lab: Lab) -> Any:
        owner, _ = lab.call("task", lab, "environment")
        return lab.reset.release(owner), lab.reset.release(owner), repr(owner)

    assert runner(scenario, flow=FLOW) == ([], [], "Owner('entry', 0 threads, 0 processes, 0 files)")
    assert in_child(lambda: True)
