"""Functions of libraries that a call puts something else in place of, and entries of `sys.modules`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.replica.reset.conftest import Runner
from tests.replica.reset.lab import Lab, restores

IMPORTS = """
import collections, functools, json, os, random, socket, subprocess, sys, threading, time, types, unittest.mock
class Fake: pass
def fake(*args): return 7
"""

CASES = [
    # how, what the call does, what the next call sees
    ("a function of the user's", "time.sleep = fake", "time.sleep.__module__"),
    ("a lambda", "random.random = lambda: 4", "random.random() == random.random()"),
    ("a class of the user's", "socket.socket = Fake", "socket.socket.__module__"),
    ("a partial", "json.dumps = functools.partial(fake, 1)", "json.dumps(3)"),
    ("a mock", "subprocess.run = unittest.mock.Mock()", "type(subprocess.run).__name__"),
    ("nothing", "threading.Thread = None; collections.deque = None",
     "threading.Thread.__name__, collections.deque.__name__"),
    ("deleted", "del os.getpid, os.path.join", "callable(os.getpid), os.path.join('a', 'b')"),
    ("what the runner uses", "os.listdir = os.stat = time.time = fake; sys.modules['os'].lseek = None",
     "callable(os.lseek), os.stat('.').st_nlink > 0"),
    ("of sys", "sys._getframe = sys.intern = None", "callable(sys._getframe), sys.intern('a')"),
    ("a module that is None", "sys.modules['json'] = None; sys.modules['nowhere'] = None",
     "__import__('json').dumps(3), 'nowhere' in sys.modules"),
    ("a module that is no module", "sys.modules['os'] = types.ModuleType('os')", "hasattr(__import__('os'), 'getpid')"),
    ("modules gone", "sys.modules.pop('subprocess'); sys.modules.pop('json')",
     "__import__('json') is json, __import__('subprocess') is subprocess"),
]  # fmt: skip


@restores("functions of libraries", "sys.modules")
@pytest.mark.parametrize(("how", "does", "sees"), CASES, ids=[case[0] for case in CASES])
def test_the_next_call_finds_libraries_whole(how: str, does: str, sees: str, runner: Runner) -> None:
    """
    What user code puts in the place of a library's functions and modules is taken back, and named; also the third time.
    """
    flow = f"{IMPORTS}\ndef dirty():\n    {does}\ndef look():\n    return repr(({sees}))\n"

    def scenario(lab: Lab) -> Any:
        first, seen = lab.call("look"), []
        for _ in range(3):
            lab.call("dirty")
            assert lab.wire().get("restored"), lab.wire()
            seen.append(lab.call("look"))
            assert not lab.wire()
        return first, seen

    first, seen = runner(scenario, flow=flow)

    assert [first] * 3 == seen


def test_what_the_users_import_patches_stays(runner: Runner) -> None:
    """
    A patch that a module makes when it is imported is what its calls start from; also where a call imports it.
    """
    flow = """
        import time
        def fake(*args): return 7
        time.sleep = fake
        def task():
            import patches
        def look():
            import json
            return time.sleep(1), json.dumps(1)
    """
    patches = "import json\ndef dumps(*args): return 'patched'\njson.dumps = dumps\n"

    def scenario(lab: Lab) -> Any:
        lab.call("task")
        return lab.call("look")

    assert runner(scenario, flow=flow, patches=patches) == (7, "patched")


def test_what_a_library_patches_stays_whole(runner: Runner) -> None:
    """
    A library's function in the place of another library's is left: half of such a patch is worse than all of it.
    """
    flow = """
        import json, shutil
        def task(): json.dumps = shutil.which
        def look(): return json.dumps is shutil.which
    """

    assert runner(lambda lab: (lab.call("task"), lab.call("look"))[1], flow=flow) is True
