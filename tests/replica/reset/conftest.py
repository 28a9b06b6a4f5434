"""Fixtures of the reset's tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, Scenario, in_child

Runner = Callable[..., Any]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Run a scenario in a forked runner: ``runner(scenario, flow="source", helpers="source")``."""
    folder = tmp_path / "bundle"
    folder.mkdir()

    def run(scenario: Scenario, *, load: tuple[str, ...] = ("flow",), private: str = "", **sources: str) -> Any:
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(source))

        def child() -> Any:
            import os

            os.chdir(tmp_path)
            lab = Lab(folder, (private,) if private else ())
            if load:
                lab.load(*load)
            return scenario(lab)

        return in_child(child)

    return run
