# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""Random generators: what an import seeded repeats in every call, all else never does."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, in_child, needs, restores

Runner = Callable[..., Any]

DRAWS = {
    "random": ("import random", "random.random()"),
    "random, gauss": ("import random", "random.gauss()"),
    "numpy": ("import numpy", "float(numpy.random.random())"),
    "random.Random": ("import random\nR = random.Random()", "R.random()"),
    "a user's subclass of Random": ("import random\nclass Mine(random.Random): pass\nR = Mine()", "R.random()"),
    "numpy Generator": ("import numpy\nR = numpy.random.default_rng()", "float(R.random())"),
    "numpy Generator, Philox": ("import numpy\nR = numpy.random.Generator(numpy.random.Philox())", "float(R.random())"),
    "numpy RandomState": ("import numpy\nR = numpy.random.RandomState()", "float(R.random_sample())"),
}

SEEDS = {
    "random": "random.seed(7)",
    "random, gauss": "random.seed(7)",
    "numpy": "numpy.random.seed(7)",
    "random.Random": "R = random.Random(7)",
    "a user's subclass of Random": "R = Mine(7)",
    "numpy Generator": "R = numpy.random.default_rng(7)",
    "numpy Generator, Philox": "R = numpy.random.Generator(numpy.random.Philox(7))",
    "numpy RandomState": "R = numpy.random.RandomState(7)",
}


def flow_of(kind: str, seed: str = "") -> str:
    prepares, draw = DRAWS[kind]
    return f"{prepares}\n{seed}\ndef task(): return {draw}\ndef idle(): pass\n"


@restores("random generators")
@pytest.mark.parametrize("kind", DRAWS)
def test_unseeded_calls_never_repeat(kind: str, runner: Runner) -> None:
    """
    A hundred calls that draw without seeding draw a hundred different values, and that is nothing to tell.
    """
    needs("numpy")

    def scenario(lab: Lab) -> Any:
        values = []
        for _ in range(100):
            values.append(lab.call("task"))
            assert lab.report is None, lab.wire()
        return values

    assert len(set(runner(scenario, flow=flow_of(kind)))) == 100


@restores("random generators")
@pytest.mark.parametrize("kind", DRAWS)
def test_what_the_import_seeded_repeats_in_every_call(kind: str, runner: Runner) -> None:
    """
    A generator that user code seeded while it was imported is in that state at the start of each call.
    """
    needs("numpy")

    def scenario(lab: Lab) -> Any:
        return [lab.call("task"), lab.call("idle"), lab.call("task"), lab.call("task")]

    first, _, *others = runner(scenario, flow=flow_of(kind, SEEDS[kind]))

    assert [first, first] == others


@restores("random generators")
@pytest.mark.parametrize("kind", ["random", "numpy"])
def test_a_seed_set_by_a_call_does_not_reach_the_next(kind: str, runner: Runner) -> None:
    """
    A call that seeds gets what it asked for; the next, which does not, gets other values each time.
    """
    needs("numpy")
    flow = flow_of(kind) + f"def seeded():\n    {SEEDS[kind]}\n    return task()\n"

    def scenario(lab: Lab) -> Any:
        return [(lab.call("seeded"), lab.call("task")) for _ in range(5)]

    pairs = runner(scenario, flow=flow)

    assert len({seeded for seeded, _ in pairs}) == 1
    assert len({free for _, free in pairs}) == 5


@restores("random generators")
@pytest.mark.parametrize("kind", DRAWS)
def test_forked_children_draw_different_values(kind: str, runner: Runner) -> None:
    """
    Children of one warm runner that say they were forked draw different values, seeded generators the same.
    """
    needs("numpy")

    def scenario(lab: Lab) -> Any:
        lab.call("task")

        def child() -> Any:
            lab.reset.reseed_after_fork()
            return lab.call("task")

        return [in_child(child) for _ in range(5)]

    assert len(set(runner(scenario, flow=flow_of(kind)))) == 5
    assert len(set(runner(scenario, flow=flow_of(kind, SEEDS[kind])))) == 1


def test_numpy_that_a_call_imports_is_looked_after_too(runner: Runner) -> None:
    """
    A generator of a library that came with a call is reseeded from then on.
    """
    needs("numpy")
    flow = "def task():\n    import numpy\n    numpy.random.seed(1)\ndef draw():\n    import numpy\n    return float(numpy.random.random())\n"

    def scenario(lab: Lab) -> Any:
        return [(lab.call("task"), lab.call("draw"))[1] for _ in range(3)]

    assert len(set(runner(scenario, flow=flow))) == 3


def test_torch_generators_are_looked_after(runner: Runner) -> None:
    """
    torch's default generator goes back to a state that was seeded on purpose, and is seeded anew after a call that seeded it.
    """
    torch = """
        import random
        class Generator:
            def __init__(self): self.seed()
            def seed(self):
                self.first = random.SystemRandom().getrandbits(53) | 2**40
                self.inner = random.Random(self.first)
            def manual_seed(self, seed): self.first, self.inner = seed, random.Random(seed)
            def initial_seed(self): return self.first
            def get_state(self): return self.first, self.inner.getstate()
            def set_state(self, state):
                self.first = state[0]
                self.inner = random.Random()
                self.inner.setstate(state[1])
        default_generator = Generator()
        def manual_seed(seed): default_generator.manual_seed(seed)
        def rand(): return default_generator.inner.random()
    """
    free = "import torch\ndef draw(): return torch.rand()\ndef seeded():\n    torch.manual_seed(3)\n    return torch.rand()\n"

    def scenario(lab: Lab) -> Any:
        return [(lab.call("seeded"), lab.call("draw")) for _ in range(4)]

    pairs = runner(scenario, flow=free, torch=torch)
    assert len({seeded for seeded, _ in pairs}) == 1
    assert len({drawn for _, drawn in pairs}) == 4

    pairs = runner(scenario, flow=f"import torch\ntorch.manual_seed(9)\n{free}", torch=torch)
    assert len({drawn for _, drawn in pairs}) == 1


def test_without_memory_images_generators_are_reseeded_all_the_same(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On an interpreter whose memory is not as expected, each call gets new values too.
    """
    from greenroom_replica.reset import images

    for name in vars(images.LAYOUT):
        monkeypatch.setattr(images.LAYOUT, name, False)

    def scenario(lab: Lab) -> Any:
        return [lab.call("task") for _ in range(20)]

    assert len(set(runner(scenario, flow=flow_of("random")))) == 20
    assert len(set(runner(scenario, flow=flow_of("random", SEEDS["random"])))) == 1


def test_entropy_is_not_shared_by_runners(runner: Runner) -> None:
    """
    Runners that were forked from one zygote draw different values in their first calls.
    """
    assert os.getpid() > 0

    values = [runner(lambda lab: lab.call("task"), flow=flow_of("random")) for _ in range(5)]

    assert len(set(values)) == 5
