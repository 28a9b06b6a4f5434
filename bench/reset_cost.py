"""What the reset between calls costs: microseconds per call, `reset` minus `none`, for a clean and for a dirty call.

The module has 50 globals, 20 of them small containers. A run alternates batches of both kinds, so that a busy machine
falls on both; the figure is the median of the batches' differences. Prints one line of JSON.

    python bench/reset_cost.py [--calls 2000] [--batches 41]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from time import perf_counter
from types import ModuleType

from greenroom_replica.reset import Reset

SOURCE = """
import functools
LISTS_0 = []; LISTS_1 = [1, 2, 3]; LISTS_2 = ["a", "b"]; LISTS_3 = [[1], [2]]; LISTS_4 = list(range(10))
LISTS_5 = [None]
DICTS_0 = {}; DICTS_1 = {"a": 1}; DICTS_2 = {"a": 1, "b": 2, "c": 3}; DICTS_3 = {"x": {"y": 1}}; DICTS_4 = {1: 2}
SETS_0 = set(); SETS_1 = {1, 2, 3}; SETS_2 = {"a", "b"}
import collections
DEQUE = collections.deque([1, 2]); COUNTER = collections.Counter("abc"); DEFAULT = collections.defaultdict(list)
ORDERED = collections.OrderedDict(a=1); BYTES = bytearray(b"abc"); TAIL = [0]
N0 = 0; N1 = 1.5; N2 = "text"; N3 = None; N4 = True; N5 = (1, 2); N6 = frozenset({1}); N7 = b"x"; N8 = 10**9
N9 = "y" * 50

class Model:
    registry = {}
    threshold = 0.5
    def __init__(self): self.weights = [1.0, 2.0]
    def predict(self, x): return x

class Other:
    def run(self): return 1

MODEL = Model()

def f0(x=1): return x
def f1(x, *, y=2): return x
def f2(): return N0
def f3(*args): return args
def f4(): return 4
def f5(): return 5
def f6(): return 6
def f7(): return 7
@functools.lru_cache
def cached(x): return x

def clean(): return 1

def dirty():
    global N0, N3
    N0 += 1
    N3 = object()
    LISTS_1.append(4)
    DICTS_1["b"] = 2
    SETS_1.add(9)
    MODEL.weights[0] = 0.0
    return 1
"""


def build() -> ModuleType:
    """Make the module of 50 globals with 20 small containers."""
    module = ModuleType("bench_reset_user")
    sys.modules[module.__name__] = module
    exec(compile(SOURCE, "bench_reset_user.py", "exec"), vars(module))
    names = [name for name in vars(module) if not name.startswith("__")]
    for place in range(50 - len(names)):
        setattr(module, f"FILL_{place}", place)
    return module


def batch(call: Callable[[], object], calls: int, reset: Reset | None) -> float:
    """Time one batch, in microseconds per call."""
    start = perf_counter()
    if reset is None:
        for _ in range(calls):
            call()
    else:
        before, after = reset.before, reset.after
        for _ in range(calls):
            before("bench")
            call()
            after()
    return (perf_counter() - start) / calls * 1e6


def measure(reset: Reset, call: Callable[[], object], calls: int, batches: int) -> float:
    """The median over batches of what the reset adds to a call."""
    batch(call, calls, reset)
    return statistics.median(batch(call, calls, reset) - batch(call, calls, None) for _ in range(batches))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=41)
    options = parser.parse_args()
    reset = Reset()
    with reset.importing("bench"):
        module = build()
        reset.adopt("bench", [module])
    clean = measure(reset, module.clean, options.calls, options.batches)
    dirty = measure(reset, module.dirty, max(1, options.calls // 4), options.batches)
    reset.close()
    result = {"bench": "reset_cost", "python": sys.version.split()[0], "globals": 50, "containers": 20}
    print(json.dumps({**result, "clean_us": round(clean, 2), "dirty_us": round(dirty, 2), "bounds_us": [12, 30]}))


if __name__ == "__main__":
    main()
