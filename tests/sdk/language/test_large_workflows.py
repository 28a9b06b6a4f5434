"""Workflows of thousands of nodes."""

from __future__ import annotations

import time

import pytest

from greenroom.compile import program_of
from greenroom.local import store
from greenroom.task import task
from greenroom.workflow import workflow


@task
def inc(n: int) -> int:
    return n + 1


class TestSize:
    @pytest.mark.alone
    def test_five_thousand_nodes_compile_in_two_seconds(self):
        """
        A large graph is made, checked and packed in less than 2 s, and runs.
        """
        begun = time.perf_counter()

        @workflow
        def wf(n: int) -> int:
            for _ in range(5000):
                n = inc(n=n)
            return n

        packed = program_of(wf, store=store(), here=True).packed
        took = time.perf_counter() - begun

        assert len(wf.compiled.graph.nodes) == 5000 and packed
        assert took < 2.0, f"took {took:.2f} s"

    def test_and_run(self):
        """
        A wide graph of a thousand nodes runs in order.
        """

        @workflow
        def wf() -> list[int]:
            return [inc(n=i) for i in range(1000)]

        assert list(range(1, 1001)) == wf()
