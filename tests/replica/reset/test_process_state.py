# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What a call does to the process is undone, by every way to do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, restores

Runner = Callable[..., Any]

CASES: list[tuple[str, str, str, str, str]] = [
    # row, how, preparation at import, what the call does, what the next call sees
    ("environment variables", "set", "", "os.environ['NEW'] = '1'", "os.environ.get('NEW'), os.getenv('NEW')"),
    ("environment variables", "deleted", "os.environ['OLD'] = '1'", "del os.environ['OLD']", "os.environ.get('OLD')"),
    ("environment variables", "cleared", "os.environ['OLD'] = '1'", "os.environ.clear()", "len(os.environ)"),
    ("environment variables", "past the mapping", "", "os.putenv('RAW', '1')",
     "subprocess.run(['sh', '-c', 'echo $RAW'], capture_output=True).stdout"),
    ("environment variables", "replaced", "KEPT = os.environ", "os.environ = {'A': '1'}", "os.environ is KEPT, 'PATH' in os.environ"),
    ("environment variables", "seen by C", "", "os.environ['SEEN'] = '1'",
     "subprocess.run(['sh', '-c', 'echo $SEEN'], capture_output=True).stdout"),
    ("time zone", "tzset", "", "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()", "time.tzname, time.localtime(0).tm_hour"),
    ("time zone", "without the variable", "", "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset(); del os.environ['TZ']", "time.tzname"),
    ("working folder", "chdir", "", "os.chdir('/')", "os.getcwd() == '/'"),
    ("working folder", "removed", "", "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "os.path.basename(os.getcwd())"),
    ("umask", "set", "", "os.umask(0o77)", "read_umask()"),
    ("sys.path", "in place", "", "sys.path.insert(0, '/nowhere')", "'/nowhere' in sys.path"),
    ("sys.path", "rebound", "KEPT = sys.path", "sys.path = []", "sys.path is KEPT, len(sys.path) > 1"),
    ("sys.argv", "in place", "", "sys.argv.append('x')", "sys.argv"),
    ("sys.argv", "rebound", "", "sys.argv = ['x']", "sys.argv"),
    ("sys.stdin, sys.stdout, sys.stderr", "rebound", "KEPT = sys.stdout, sys.stderr, sys.stdin",
     "sys.stdout = sys.stderr = sys.stdin = None", "(sys.stdout, sys.stderr, sys.stdin) == KEPT"),
    ("hooks of sys", "excepthook and others", "", "sys.excepthook = sys.displayhook = sys.unraisablehook = sys.breakpointhook = print",
     "print in (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.breakpointhook)"),
    ("hooks of sys", "of threading", "", "threading.excepthook = print", "threading.excepthook is print"),
    ("hooks of sys", "a limit that was not there", "", "sys.tracebacklimit = 0", "hasattr(sys, 'tracebacklimit')"),
    ("import hooks", "finders", "", "sys.meta_path.insert(0, 1)", "1 in sys.meta_path"),
    ("import hooks", "path hooks", "", "sys.path_hooks.append(len)", "len in sys.path_hooks"),
    ("trace and profile functions", "settrace", "", "sys.settrace(lambda *a: None)", "sys.gettrace()"),
    ("trace and profile functions", "setprofile", "", "sys.setprofile(lambda *a: None)", "sys.getprofile()"),
    ("trace and profile functions", "of threads", "", "threading.settrace(print)", "threading._trace_hook"),
    ("builtins", "added", "", "builtins.extra = 1", "hasattr(builtins, 'extra')"),
    ("builtins", "rebound", "", "builtins.len = abs", "len('ab')"),
    ("builtins", "deleted", "", "del builtins.len", "len('ab')"),
    ("interpreter switches", "recursion limit", "", "sys.setrecursionlimit(5000)", "sys.getrecursionlimit()"),
    ("interpreter switches", "switch interval", "", "sys.setswitchinterval(1)", "sys.getswitchinterval()"),
    ("interpreter switches", "digits", "", "sys.set_int_max_str_digits(0)", "sys.get_int_max_str_digits()"),
    ("garbage collector", "disabled", "", "gc.disable()", "gc.isenabled()"),
    ("garbage collector", "thresholds", "", "gc.set_threshold(1, 1, 1)", "gc.get_threshold()"),
    ("garbage collector", "callbacks", "", "gc.callbacks.append(print)", "print in gc.callbacks"),
    ("garbage collector", "debug flags", "", "gc.set_debug(gc.DEBUG_UNCOLLECTABLE)", "gc.get_debug()"),
    ("socket default timeout", "set", "", "socket.setdefaulttimeout(3)", "socket.getdefaulttimeout()"),
    ("locale", "set", "", "locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8'); locale.setlocale(locale.LC_CTYPE, 'C')",
     "locale.setlocale(locale.LC_ALL)"),
    ("decimal context", "in place", "", "decimal.getcontext().prec = 3", "decimal.getcontext().prec"),
    ("decimal context", "traps", "", "decimal.getcontext().traps[decimal.Inexact] = True", "decimal.getcontext().traps[decimal.Inexact]"),
    ("decimal context", "set by the import", "decimal.getcontext().prec = 7", "decimal.getcontext().prec = 3", "decimal.getcontext().prec"),
    ("decimal context", "replaced", "", "decimal.getcontext().prec = 3; decimal.setcontext(decimal.Context(prec=2))",
     "decimal.getcontext().prec"),
    ("decimal context", "what others are copied from", "", "decimal.DefaultContext.prec = 1", "decimal.DefaultContext.prec, decimal.Context().prec"),
    ("signal handlers", "set", "", "signal.signal(signal.SIGUSR1, lambda *a: None)", "signal.getsignal(signal.SIGUSR1)"),
    ("signal handlers", "all", "", "[signal.signal(n, signal.SIG_IGN) for n in signal.valid_signals() - {9, 19, 32, 33}]",
     "[str(signal.getsignal(n)) for n in signal.valid_signals()]"),
    ("signal handlers", "set by the import", "signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
     "signal.signal(signal.SIGUSR1, signal.SIG_DFL)", "signal.getsignal(signal.SIGUSR1)"),
    ("signal handlers", "blocked", "", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
     "signal.pthread_sigmask(signal.SIG_BLOCK, [])"),
    ("timers", "alarm", "", "signal.alarm(100)", "signal.alarm(0)"),
    ("timers", "setitimer", "", "signal.setitimer(signal.ITIMER_VIRTUAL, 100)", "signal.getitimer(signal.ITIMER_VIRTUAL)"),
    ("warning filters", "in place", "", "warnings.simplefilter('always')", "[f[0] for f in warnings.filters]"),
    ("warning filters", "rebound", "", "warnings.filters = []", "len(warnings.filters)"),
    ("warning filters", "showwarning", "", "warnings.showwarning = print", "warnings.showwarning is print"),
    ("logging", "root level and handlers", "", "logging.basicConfig(level=10, force=True)",
     "logging.root.level, len(logging.root.handlers)"),
    ("logging", "a logger's level", "LOG = logging.getLogger('lib.a')", "LOG.setLevel(10)", "LOG.level, LOG.isEnabledFor(10)"),
    ("logging", "a logger's handlers", "LOG = logging.getLogger('lib.a')", "LOG.addHandler(logging.NullHandler())", "LOG.handlers"),
    ("logging", "handlers in place", "LOG = logging.getLogger('lib.a')\nLOG.addHandler(logging.NullHandler())",
     "LOG.handlers.clear()", "len(LOG.handlers)"),
    ("logging", "propagate and disabled", "LOG = logging.getLogger('lib.a')", "LOG.propagate = False; LOG.disabled = True",
     "LOG.propagate, LOG.disabled"),
    ("logging", "a filter", "LOG = logging.getLogger('lib.a')", "LOG.addFilter(lambda r: False)", "LOG.filters"),
    ("logging", "disabled altogether", "", "logging.disable(50)", "logging.root.manager.disable"),
    ("logging", "a handler's level", "H = logging.NullHandler()\nlogging.root.addHandler(H)", "H.setLevel(50)", "H.level"),
    ("logging", "a logger that the call made", "", "l = logging.getLogger('made'); l.setLevel(10); l.addHandler(logging.NullHandler())",
     "logging.getLogger('made').level, logging.getLogger('made').handlers"),
    ("logging", "level names", "", "logging.addLevelName(20, 'I')", "logging.getLevelName(20)"),
    ("limits, affinity, priority", "a soft limit", "",
     "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
     "resource.getrlimit(resource.RLIMIT_NOFILE)"),
    ("limits, affinity, priority", "affinity", "", "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])", "os.sched_getaffinity(0)"),
    ("event loop policy and loop", "policy", "", "asyncio.set_event_loop_policy(Policy())", "type(asyncio.get_event_loop_policy()).__name__"),
    ("event loop policy and loop", "loop", "", "asyncio.set_event_loop(asyncio.new_event_loop())",
     "asyncio.events._event_loop_policy is None or asyncio.get_event_loop_policy()._local._loop"),
    ("event loop policy and loop", "asyncio.run", "", "asyncio.run(nothing())",
     "asyncio.events._event_loop_policy is None or asyncio.get_event_loop_policy()._local._set_called"),
    ("faulthandler", "disabled", "faulthandler.enable()", "faulthandler.disable()", "faulthandler.is_enabled()"),
    ("tempfile.tempdir", "set", "", "tempfile.tempdir = '/nowhere'", "tempfile.tempdir"),
]  # fmt: skip

IMPORTS = """
import asyncio, builtins, decimal, faulthandler, gc, locale, logging, os, resource, signal, socket, subprocess, sys
import tempfile, threading, time, warnings
class Policy(asyncio.DefaultEventLoopPolicy): pass
async def nothing(): pass
def read_umask():
    with open(f"probe-{time.time_ns()}", "w") as file:
        return os.fstat(file.fileno()).st_mode & 0o777
"""


@restores(*dict.fromkeys(case[0] for case in CASES))
@pytest.mark.parametrize(
    ("row", "how", "prepares", "does", "sees"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES]
)
def test_the_next_call_finds_the_process_as_a_fresh_one(
    row: str, how: str, prepares: str, does: str, sees: str, runner: Runner
) -> None:
    """
    Whatever a call does to the process, the next finds it as the bundle's import left it, also the third time.
    """
    flow = f"{IMPORTS}\n{prepares}\ndef dirty():\n    {does}\ndef look():\n    return repr(({sees}))\n"

    def scenario(lab: Lab) -> Any:
        first = lab.call("look")
        seen = []
        for _ in range(3):
            lab.call("dirty")
            told = lab.wire()
            assert not {"retire", "sentences", "leaks"} & told.keys(), told
            assert how in ("asyncio.run", "past the mapping") or told.get("restored"), told
            seen.append(lab.call("look"))
        return first, seen

    first, seen = runner(scenario, flow=flow)

    assert [first] * 3 == seen


@restores("warning filters")
def test_every_call_is_told_of_a_warning_anew(runner: Runner) -> None:
    """
    A warning that is shown once per place is shown once in every call, as in every fresh process.
    """
    flow = """
        import warnings, helpers
        def task():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("default")
                helpers.old()
                helpers.old()
            return len(caught)
    """
    helpers = "import warnings\ndef old(): warnings.warn('old', DeprecationWarning)\n"

    assert runner(lambda lab: [lab.call("task"), lab.call("task")], flow=flow, helpers=helpers) == [1, 1]


@restores("atexit callbacks")
def test_exit_callbacks_of_a_call_run_after_it(runner: Runner) -> None:
    """
    What a call registers for the process's end runs at the end of the call, last first, once; what an import registers waits.
    """
    flow = """
        import atexit, pathlib
        def note(text):
            with open("notes", "a") as file: file.write(text)
        atexit.register(note, "import ")
        def task(text):
            atexit.register(note, text + "1 ")
            atexit.register(note, text + "2 ")
        def unregistered():
            atexit.register(note, "never")
            atexit.unregister(note)
        def failing():
            atexit.register(int, "x")
        def read(): return pathlib.Path("notes").read_text()
    """

    def scenario(lab: Lab) -> Any:
        lab.call("task", "a")
        lab.call("task", "b")
        lab.call("failing")
        told = lab.wire()
        lab.call("unregistered")
        return lab.call("read"), told

    notes, told = runner(scenario, flow=flow)

    assert notes == "a2 a1 b2 b1 "
    assert "atexit callback int raised ValueError" in told["sentences"][0]


def test_exit_callbacks_of_libraries_wait_for_the_end(runner: Runner) -> None:
    """
    A library that registers its own callback in a call keeps it: its state stays, too.
    """
    flow = "import vendored\ndef task(): vendored.start(); return vendored.ended\n"
    vendored = "import atexit\nended = False\ndef end():\n    global ended\n    ended = True\ndef start(): atexit.register(end)\n"

    def scenario(lab: Lab) -> Any:
        lab.call("task")
        return lab.modules["flow"].vendored.ended

    assert runner(scenario, flow=flow, vendored=vendored) is False


@restores("environment variables")
def test_a_submitters_variables_are_set_for_the_call_only(runner: Runner) -> None:
    """
    Variables laid over the bundle's are there in the call, and no dirt after it; the next call has its own.
    """
    flow = "import os\ndef task(change=False):\n    seen = os.environ.get('WHO')\n    if change: os.environ['WHO'] = 'x'\n    return seen\n"

    def scenario(lab: Lab) -> Any:
        one = {"WHO": "one"}
        seen = [lab.call("task", environment=one), lab.report, lab.call("task", True, environment=one)]
        seen += [lab.call("task", environment=one), lab.call("task", environment={"WHO": "two"}), lab.call("task")]
        return seen

    assert runner(scenario, flow=flow) == ["one", None, "one", "one", "two", None]


def test_each_bundle_has_its_own_baseline(runner: Runner) -> None:
    """
    What one bundle's import does to the process is not there for another's calls.
    """
    source = "import os, sys\nos.environ['NAME'] = __name__\nsys.path.append(__name__)\ndef task(): return os.environ['NAME'], sys.path[-1]\n"

    def scenario(lab: Lab) -> Any:
        lab.load("one", bundle="one")
        lab.load("two", bundle="two")
        return [lab.call("task", bundle=name, module=name) for name in ("one", "two", "one")]

    assert runner(scenario, load=(), one=source, two=source) == [("one", "one"), ("two", "two"), ("one", "one")]


def test_the_import_of_one_bundle_is_not_seen_by_the_next_call_of_another(runner: Runner) -> None:
    """
    Also in the first call after that import, and when bundles alternate.
    """
    source = "import os\nos.environ['NAME'] = os.environ.get('NAME', '') + __name__\nos.umask(0o70)\ndef task(): return os.environ['NAME']\n"

    def scenario(lab: Lab) -> Any:
        lab.load("one", bundle="one")
        seen = [lab.call("task", bundle="one", module="one")]
        lab.load("two", bundle="two")
        return [*seen, *(lab.call("task", bundle=name, module=name) for name in ("one", "two", "one"))], lab.report

    assert (["one", "one", "two", "one"], None) == runner(scenario, load=(), one=source, two=source)


def test_what_cannot_be_put_back_retires_the_runner(runner: Runner) -> None:
    """
    A working folder that is gone, with no way back, is said, and the runner is replaced.
    """
    flow = """
        import os
        def task():
            here = os.getcwd()
            os.chdir("/")
            os.rename(here, here + "-moved")
    """

    told = runner(lambda lab: (lab.call("task"), lab.wire())[1], flow=flow)

    assert told["retire"] == "cwd could not be put back"
    assert "cannot be entered again" in told["sentences"][0]


def test_a_context_that_the_runner_did_not_use_is_put_back(runner: Runner) -> None:
    """
    A call that ran outside the context that `before` returned leaves no context variable set that has a default.
    """
    flow = "import contextvars\nX = contextvars.ContextVar('X', default=0)\nY = contextvars.ContextVar('Y')\nY.set(1)\ndef task(): X.set(5); Y.set(2)\n"

    def scenario(lab: Lab) -> Any:
        lab.reset.before("bundle")
        lab.modules["flow"].task()
        lab.reset.after()
        return lab.modules["flow"].X.get(), lab.modules["flow"].Y.get()

    assert runner(scenario, flow=flow) == (0, 1)


def test_an_interruption_while_restoring_is_survived(runner: Runner) -> None:
    """
    A cancel that arrives while a reset is at work does not come out of it: the reset is done again and said.
    """
    flow = """
        X = []
        class Late(BaseException): pass
        class Bomb:
            def __hash__(self): return 1
        def task(): X.append(1)
        def look(): return X
    """

    def scenario(lab: Lab) -> Any:
        watch_type = type(lab.reset._watch)
        plain, left = watch_type.rearm, [lab.modules["flow"].Late]

        def rearm(self: Any, items: Any) -> None:
            if left and items:
                raise left.pop()("too late")
            plain(self, items)

        lab.call("look")
        watch_type.rearm = rearm
        lab.call("task")
        return lab.wire(), lab.call("look")

    told, seen = runner(scenario, flow=flow)

    assert told["sentences"] == ["the reset was interrupted by Late and done again"]
    assert "retire" not in told
    assert seen == []
