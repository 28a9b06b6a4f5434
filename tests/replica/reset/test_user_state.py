# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What user code defines is after every call as it was after its import: rebinding and in-place changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, needs, restores

Runner = Callable[..., Any]

CASES: list[tuple[str, str, str, str, str]] = [
    # row, what happens, source, what the call does, what the next call sees
    ("globals", "rebound", "X = 1", "global X; X = 2", "X"),
    ("globals", "deleted", "X = 1", "global X; del X", "X"),
    ("globals", "added", "", "global NEW; NEW = 2", "'NEW' in globals()"),
    ("globals", "swapped for an equal value of another type", "X = 1", "global X; X = True", "type(X).__name__"),
    ("globals", "renamed", "X = None", "global X, Y; Y = X; del X", "('X' in globals(), 'Y' in globals())"),
    ("lists", "in place", "X = [1, 2]", "X.append(3)", "X"),
    ("lists", "rebound", "X = [1]\nY = X", "global X; X = [1, 2]; Y.append(4)", "(X, X is Y)"),
    ("lists", "same length", "X = [1, 2]", "X[0] = 9", "X"),
    ("lists", "reordered", "X = [1, 2]", "X.reverse()", "X"),
    ("lists", "large", "X = list(range(100_000))", "X[77_777] = None", "X == list(range(100_000))"),
    ("lists", "was empty", "X = []", "X.extend([1, 2, 3])", "X"),
    ("dicts", "in place", "X = {'a': 1}", "X['b'] = 2; del X['a']", "list(X.items())"),
    ("dicts", "same keys", "X = {'a': 1}", "X['a'] = 1.0", "repr(X)"),
    ("dicts", "order", "X = {'a': 1, 'b': 2}", "X['a'] = X.pop('a')", "list(X)"),
    ("dicts", "large", "X = dict.fromkeys(range(100_000))", "X[7] = 7", "set(X.values())"),
    ("dicts", "nested", "X = {'a': {'b': [1]}}", "X['a']['b'].append(2); X['a']['c'] = 1", "X"),
    ("dicts", "held in a tuple", "X = ({'a': 1}, [2])", "X[0]['a'] = 2; X[1].clear()", "X"),
    ("sets", "in place", "X = {1, 2}", "X.add(3); X.discard(1)", "sorted(X)"),
    ("sets", "same size", "X = {1, 2}", "X.remove(1); X.add(True)", "[type(x).__name__ for x in sorted(X)]"),
    ("sets", "large", "X = set(range(50_000))", "X.discard(3); X.add(-3)", "X == set(range(50_000))"),
    ("bytearrays", "in place", "X = bytearray(b'ab')", "X[0] = 0; X.extend(b'c')", "bytes(X)"),
    ("bytearrays", "same length", "X = bytearray(b'ab')", "X[0] = 0", "bytes(X)"),
    ("deques", "in place", "import collections\nX = collections.deque([1, 2], maxlen=3)", "X.append(3)", "(list(X), X.maxlen)"),
    ("deques", "one item", "import collections\nX = collections.deque([1, 2])", "X[0] = 9", "list(X)"),
    ("deques", "of many blocks", "import collections\nX = collections.deque(range(500))", "X[250] = 0", "sum(X)"),
    ("defaultdicts", "in place", "import collections\nX = collections.defaultdict(list)", "X['a'].append(1)", "dict(X)"),
    ("defaultdicts", "factory", "import collections\nX = collections.defaultdict(list)", "X.default_factory = int", "X.default_factory"),
    ("OrderedDicts", "in place", "import collections\nX = collections.OrderedDict(a=1)", "X['b'] = 2", "list(X.items())"),
    ("OrderedDicts", "order", "import collections\nX = collections.OrderedDict(a=1, b=2)", "X.move_to_end('a')", "list(X)"),
    ("Counters", "in place", "import collections\nX = collections.Counter('aab')", "X['a'] += 1; X['z'] = 1", "dict(X)"),
    ("arrays", "in place", "import array\nX = array.array('d', [1, float('nan')])", "X[0] = 5; X.append(1)", "(X[0], len(X))"),
    ("arrays", "same length", "import array\nX = array.array('i', [1, 2])", "X[0] = 5", "list(X)"),
    ("numpy arrays up to 64 KiB", "in place", "import numpy\nX = numpy.arange(4)", "X[0] = 9", "X.tolist()"),
    ("numpy arrays up to 64 KiB", "rebound", "import numpy\nX = numpy.arange(4)", "global X; X = X + 1", "X.tolist()"),
    ("numpy arrays up to 64 KiB", "of objects", "import numpy\nX = numpy.array([None, 'a'], dtype=object)", "X[0] = {}", "X.tolist()"),
    ("instances of user classes", "attributes", "class M:\n    def __init__(self): self.x = 1\nX = M()",
     "X.x = 2; X.y = 3", "vars(X)"),
    ("instances of user classes", "deleted attribute", "class M:\n    def __init__(self): self.x = 1\nX = M()",
     "del X.x", "vars(X)"),
    ("instances of user classes", "in place", "class M:\n    def __init__(self): self.x = [1]\nX = {'m': [M()]}",
     "X['m'][0].x.append(2)", "X['m'][0].x"),
    ("instances of user classes", "another __dict__", "class M: pass\nX = M()\nX.x = 1", "X.__dict__ = {'x': 2}", "X.x"),
    ("instances of user classes", "another class", "class M: pass\nclass N: pass\nX = M()", "X.__class__ = N", "type(X).__name__"),
    ("instances of user classes", "a dict subclass", "class M(dict): pass\nX = M(a=1)\nX.x = 1", "X['b'] = 2; X.x = 2", "(dict(X), X.x)"),
    ("instances of user classes", "an exception", "class E(Exception): pass\nX = E('a')\nX.x = 1", "X.x = 2", "X.x"),
    ("instances of user classes", "a dataclass", "import dataclasses\n@dataclasses.dataclass\nclass M:\n    x: list\nX = M([1])",
     "X.x.append(2)", "X.x"),
    ("slots", "rebound", "class M:\n    __slots__ = ('a', 'b')\nX = M()\nX.a = 1", "X.a = 2; X.b = 3", "(X.a, hasattr(X, 'b'))"),
    ("slots", "in place", "class M:\n    __slots__ = ('a',)\nX = M()\nX.a = [1]", "X.a.append(2)", "X.a"),
    ("slots", "deleted", "class M:\n    __slots__ = ('a',)\nX = M()\nX.a = [1]", "del X.a", "X.a"),
    ("slots", "beside a __dict__", "class M:\n    __slots__ = ('a', '__dict__')\nX = M()\nX.a = 1\nX.b = 1", "X.a = 2; X.b = 2", "(X.a, X.b)"),
    ("class attributes", "rebound", "class M:\n    n = 0", "M.n = 5", "M.n"),
    ("class attributes", "added", "class M: pass", "M.n = 5", "hasattr(M, 'n')"),
    ("class attributes", "deleted", "class M:\n    n = 0", "del M.n", "M.n"),
    ("class attributes", "in place", "class M:\n    registry = []", "M.registry.append(1)", "M.registry"),
    ("class attributes", "a method", "class M:\n    def f(self): return 1", "M.f = lambda self: 2", "M().f()"),
    ("class attributes", "past the metaclass",
     "class Meta(type):\n    def __setattr__(cls, name, value): raise TypeError\nclass M(metaclass=Meta):\n    n = 0",
     "type.__setattr__(M, 'n', 1)", "M.n"),
    ("function attributes", "rebound", "def f(): pass\nf.count = 0", "f.count += 1", "f.count"),
    ("function attributes", "in place", "def f(): pass\nf.seen = []", "f.seen.append(1)", "f.seen"),
    ("function attributes", "the first one", "def f(): pass", "f.count = 1", "hasattr(f, 'count')"),
    ("function attributes", "of a method", "class M:\n    def f(self): pass", "M.f.count = 1", "hasattr(M.f, 'count')"),
    ("mutable defaults", "in place", "def f(x=[], *, y={}):\n    x.append(1); y[1] = 1\n    return x, y", "f()", "repr(f.__defaults__) + repr(f.__kwdefaults__)"),
    ("mutable defaults", "rebound", "def f(x=1): return x", "f.__defaults__ = (2,)", "f()"),
    ("mutable defaults", "of a method", "class M:\n    def f(self, x=[]):\n        x.append(1)\n        return len(x)", "M().f()", "len(M.f.__defaults__[0])"),
    ("mutable defaults", "the code", "def f(): return 1\ndef g(): return 2", "f.__code__ = g.__code__", "f()"),
    ("closures", "rebound", "def make():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n        return n\n    return count\ncount = make()",
     "count()", "count.__closure__[0].cell_contents"),
    ("closures", "in place", "def make():\n    seen = []\n    def note():\n        seen.append(1)\n        return len(seen)\n    return note\nnote = make()",
     "note()", "note.__closure__[0].cell_contents"),
    ("closures", "of a decorator", "import functools\ndef counted(f):\n    calls = {}\n    @functools.wraps(f)\n    def inner():\n        calls['n'] = calls.get('n', 0) + 1\n        return calls['n']\n    return inner\n@counted\ndef f(): pass",
     "f()", "f.__closure__[0].cell_contents"),
    ("lru_cache", "filled by the call", "import functools\n@functools.lru_cache\ndef f(x): return [x]", "f(1); f(2)", "f.cache_info().currsize"),
    ("lru_cache", "of a method", "import functools\nclass M:\n    @functools.lru_cache\n    def f(self): return 1", "M().f()", "M.f.cache_info().currsize"),
    ("lru_cache", "unbounded, filled by the import", "import functools\n@functools.cache\ndef f(x): return [x]\nFIRST = f(1)",
     "f(2)", "(f.cache_info().currsize, f(1) is FIRST)"),
    ("cached_property", "of a global instance", "import functools\nclass M:\n    @functools.cached_property\n    def p(self): return [1]\nX = M()",
     "X.p.append(2)", "'p' in vars(X)"),
    ("singledispatch", "registered by the call", "import functools\n@functools.singledispatch\ndef f(x): return 'any'\n@f.register\ndef _(x: str): return 'str'",
     "f.register(int)(lambda x: 'int'); f(1)", "(f(1), f('a'))"),
    ("context variables", "set", "import contextvars\nX = contextvars.ContextVar('X', default=0)", "X.set(5)", "X.get()"),
    ("context variables", "default in place", "import contextvars\nX = contextvars.ContextVar('X', default=[])", "X.get().append(1)", "X.get()"),
    ("context variables", "value in place", "import contextvars\nX = contextvars.ContextVar('X')\nX.set([1])", "X.get().append(1)", "X.get()"),
    ("weak containers", "in place", "import weakref\nclass M: pass\nA, B = M(), M()\nX = weakref.WeakValueDictionary(a=A)", "X['b'] = B; del X['a']", "sorted(X)"),
    ("weak containers", "a set", "import weakref\nclass M: pass\nA, B = M(), M()\nX = weakref.WeakSet([A])", "X.add(B); X.discard(A)", "[x is A for x in X]"),
    ("weak containers", "by key", "import weakref\nclass M: pass\nA, B = M(), M()\nX = weakref.WeakKeyDictionary({A: 1})", "X[B] = 2", "len(X)"),
    ("plain data of the standard library", "a namespace", "import types\nX = types.SimpleNamespace(a=[1])", "X.a.append(2); X.b = 1", "vars(X)"),
    ("plain data of the standard library", "an event", "import threading\nX = threading.Event()", "X.set()", "X.is_set()"),
    ("plain data of the standard library", "a queue", "import queue\nX = queue.Queue()", "X.put(1)", "X.qsize()"),
    ("plain data of the standard library", "a buffer", "import io\nX = io.StringIO('ab')", "X.write('c')", "(X.getvalue(), X.tell())"),
    ("plain data of the standard library", "a thread local", "import threading\nX = threading.local()\nX.a = 1", "X.a = 2", "X.a"),
    ("locks", "left taken", "import threading\nX = threading.Lock()", "X.acquire()", "X.locked()"),
    ("locks", "left taken, reentrant", "import threading\nX = threading.RLock()", "X.acquire()", "X._is_owned()"),
]  # fmt: skip


@restores(*dict.fromkeys(case[0] for case in CASES))
@pytest.mark.parametrize(
    ("row", "how", "source", "does", "sees"), CASES, ids=[f"{case[0]}: {case[1]}" for case in CASES]
)
def test_the_next_call_sees_what_a_fresh_process_would(
    row: str, how: str, source: str, does: str, sees: str, runner: Runner
) -> None:
    """
    Whatever a call does to the user's state, the next sees it as it was after the import, also the third time.
    """
    if "numpy" in source:
        needs("numpy")
    flow = f"{source}\ndef dirty():\n    {does}\ndef look():\n    return repr({sees})\n"

    def scenario(lab: Lab) -> Any:
        first = lab.call("look")
        assert lab.report is None
        seen = []
        for _ in range(3):
            lab.call("dirty")
            told = lab.wire()
            assert how == "set" or told.keys() == {"restored"}, told  # A variable that was set ends with its context.
            seen.append(lab.call("look"))
            assert lab.report is None, lab.wire()
        return first, seen

    first, seen = runner(scenario, flow=flow)

    assert [first] * 3 == seen


def test_a_call_that_changes_nothing_has_no_report(runner: Runner) -> None:
    """
    Reading globals, and changes that are undone, are nothing to tell.
    """
    flow = """
        X = {"a": [1, 2]}
        def task():
            X["a"].append(3)
            X["a"].pop()
            X["b"] = 1
            del X["b"]
            return len(X)
    """

    assert runner(lambda lab: [lab.call("task") and lab.report, lab.call("task") and lab.report], flow=flow) == [
        None,
        None,
    ]


def test_aliases_survive(runner: Runner) -> None:
    """
    Two names of one list, in two modules, name one list after a reset too.
    """
    flow = """
        import helpers
        from helpers import SHARED
        ALSO = {"list": SHARED}
        def task():
            SHARED.append(1)
            helpers.SHARED = []
        def look():
            return SHARED is helpers.SHARED is ALSO["list"], SHARED
    """

    def scenario(lab: Lab) -> Any:
        lab.call("task")
        return lab.call("look")

    assert runner(scenario, flow=flow, helpers="SHARED = [0]", load=("helpers", "flow")) == (True, [0])


def test_class_identity_survives(runner: Runner) -> None:
    """
    Modules are never reloaded: an instance kept elsewhere is an instance of the same class for ever.
    """
    flow = """
        class Model:
            n = 0
            def __eq__(self, other): return isinstance(other, Model)
            __hash__ = None
        KEEP = [None]
        def task():
            Model.n += 1
            return Model
    """

    def scenario(lab: Lab) -> Any:
        return lab.call("task") is lab.call("task") is lab.modules["flow"].Model

    assert runner(scenario, flow=flow)


def test_no_code_of_the_users_runs(runner: Runner) -> None:
    """
    Neither walk nor restore calls __eq__, __hash__, __setattr__, __getattr__, properties, iterators or repr of user code.
    """
    flow = """
        CALLS = []
        def trap(name):
            def method(self, *args, **named):
                CALLS.append(name)
                raise RuntimeError(name)
            return method
        names = ("eq ne hash setattr delattr getattr getattribute iter len contains repr bool copy deepcopy reduce_ex sizeof "
                 "getitem setitem delitem lt class_getitem get set dir").split()
        armed = False
        class Meta(type):
            pass
        class Trap(dict, metaclass=Meta):
            def __init__(self):
                super().__init__(a=1)
                self.x = [1]
            @property
            def p(self):
                CALLS.append("property")
        class Key:
            def __init__(self): self.x = 0
        KEY = Key()
        X = Trap()
        L = [X, 1]
        D = {KEY: X, "k": KEY}
        S = {KEY}
        for name in names:
            for kind in (Trap, Key, Meta):
                if (kind, name) not in ((Meta, "hash"), (Meta, "getattribute"), (Meta, "setattr"), (Meta, "eq")):
                    type.__setattr__(kind, f"__{name}__", trap(name))
        def task():
            dict.__setitem__(X, "b", 2)
            object.__getattribute__(X, "__dict__")["y"] = 1
            L.append(X)
            L[1] = KEY
            object.__getattribute__(KEY, "__dict__")["x"] = 5
            dict.clear(D)
            S.clear()
            type.__setattr__(Trap, "extra", KEY)
        def look():
            return (dict.__len__(X), len(object.__getattribute__(X, "__dict__")), len(L), len(D), len(S),
                    object.__getattribute__(KEY, "__dict__")["x"], "extra" in type.__getattribute__(Trap, "__dict__"), CALLS)
    """

    def scenario(lab: Lab) -> Any:
        before = lab.call("look")
        lab.call("task")
        assert not lab.report.sentences, lab.wire()
        return before, lab.call("look")

    before, after = runner(scenario, flow=flow)

    assert before == (1, 1, 2, 2, 1, 0, False, [])
    assert before == after


def test_the_report_names_what_was_dirty(runner: Runner) -> None:
    """
    Names in the report read as a user would write them.
    """
    flow = """
        COUNT = 0
        CONFIG = {"a": {"b": [1]}}
        class Model:
            hits = 0
            def __init__(self): self.state = 1
        model = Model()
        def task():
            global COUNT, EXTRA
            COUNT, EXTRA = 1, 2
            CONFIG["a"]["b"].append(2)
            Model.hits = 1
            model.state = 2
    """

    restored = runner(lambda lab: (lab.call("task"), lab.report.restored)[1], flow=flow)

    assert {"flow.COUNT", "flow.EXTRA", "flow.CONFIG['a']['b']", "flow.Model.hits", "flow.model.state"} == set(restored)


def test_bounded_cache_filled_by_the_import_is_emptied_whole_when_a_call_adds_to_it(runner: Runner) -> None:
    """
    A bounded lru_cache whose import-time entries are only read keeps them; one that a call added to starts empty.
    """
    flow = """
        import functools
        made = []
        @functools.lru_cache(maxsize=8)
        def f(x):
            return [x]
        FIRST = f(1)
        def read(): return f(1) is FIRST
        def add(): f(2)
        def size(): return f.cache_info().currsize
    """

    def scenario(lab: Lab) -> Any:
        return lab.call("read"), lab.call("size"), lab.call("add"), lab.call("size")

    assert runner(scenario, flow=flow) == (True, 1, None, 0)


def test_a_finalizer_that_changes_globals_is_undone_too(runner: Runner) -> None:
    """
    What the __del__ of a dropped value does to state that was already clean is put back as well.
    """
    flow = """
        ALIVE = []
        X = None
        class Noisy:
            def __del__(self): ALIVE.append("gone")
        def task():
            global X
            X = Noisy()
        def look(): return list(ALIVE)
    """

    assert runner(lambda lab: (lab.call("task"), lab.call("look"))[1], flow=flow) == []


@pytest.mark.parametrize(
    "kept", ["ALIVE.append(Noisy())", "n = Noisy(); n.me = n", "ALIVE.append(Noisy()); n = Noisy(); n.me = n"]
)
@pytest.mark.parametrize("does", ["ALIVE.append('gone')", "ALIVE.append(self)"])
def test_finalizers_change_nothing_that_a_later_call_sees(does: str, kept: str, runner: Runner) -> None:
    """
    Neither what a finalizer does to the very list that is put back, nor what one does that waits in a cycle.
    """
    flow = f"""
        import gc
        ALIVE = []
        class Noisy:
            def __del__(self): {does}
        def task():
            {kept}
        def look():
            gc.collect()
            return list(map(str, ALIVE))
    """

    assert runner(lambda lab: [(lab.call("task"), lab.call("look"))[1] for _ in range(3)], flow=flow) == [[]] * 3


def test_an_orms_machinery_on_a_users_class_stays(runner: Runner) -> None:
    """
    A data descriptor that a library puts on a user's class in a call is the library's: its own state stays too.
    """
    flow = """
        import vendored_orm
        class User: pass
        def configure(): vendored_orm.configure(User)
        def use(): return vendored_orm.configured, "orders" in vars(User), User().orders
    """
    orm = """
        configured = False
        class Column:
            def __get__(self, instance, owner=None): return []
            def __set__(self, instance, value): pass
        def configure(kind):
            global configured
            if not configured:
                configured = True
                kind.orders = Column()
    """

    def scenario(lab: Lab) -> Any:
        lab.call("configure")
        return lab.call("use")

    assert runner(scenario, flow=flow, vendored_orm=orm) == (True, True, [])


def test_flags_made_in_calls_keep_their_identity(runner: Runner) -> None:
    """
    Members that an Enum makes by combining flags stay one object each: what holds one still compares equal.
    """
    flow = """
        import enum
        class Right(enum.Flag):
            READ = 1
            WRITE = 2
            RUN = 4
        def combined(): return Right.READ | Right.RUN
    """

    assert runner(lambda lab: lab.call("combined") is lab.call("combined"), flow=flow)


def test_functions_by_value_bring_their_own_globals(runner: Runner) -> None:
    """
    A function that was sent by value has globals that are no module's: they are reset like a module's.
    """

    def scenario(lab: Lab) -> Any:
        space: dict[str, Any] = {"__name__": "__main__", "SEEN": []}
        exec("def task(x):\n    SEEN.append(x)\n    return len(SEEN)", space)
        lab.reset.adopt("cells", [], [space["task"]])
        sizes = []
        for _ in range(3):
            context = lab.reset.before("cells")
            sizes.append(context.run(space["task"], 1))
            lab.reset.after()
        return sizes

    assert runner(scenario, load=()) == [1, 1, 1]


def test_functions_held_by_library_objects_are_found(runner: Runner) -> None:
    """
    A decorator that puts an object in a function's place hides neither its defaults nor its closure.
    """
    flow = """
        import vendored_tasks
        @vendored_tasks.Task
        def task(seen=[]):
            seen.append(1)
            return len(seen)
        def run(): return task.function()
    """
    tasks = "class Task:\n    def __init__(self, function): self.function = function\n"

    assert runner(lambda lab: [lab.call("run"), lab.call("run")], flow=flow, vendored_tasks=tasks) == [1, 1]


def test_bundles_are_reset_each_on_its_own(runner: Runner) -> None:
    """
    Two bundles in one runner, a module shared between them, and calls that alternate.
    """
    source = "import shared\nX = []\ndef task():\n    X.append(1)\n    shared.X.append(1)\n    return len(X), len(shared.X)\n"

    def scenario(lab: Lab) -> Any:
        lab.load("shared", "one", bundle="one")
        lab.load("shared", "two", bundle="two")
        return [lab.call("task", bundle=name, module=name) for name in ("one", "two", "two", "one", "two")]

    assert runner(scenario, load=(), one=source, two=source, shared="X = []") == [(1, 1)] * 5
