"""The table in docs/isolation.md and the tests hold each other to it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.replica.reset import (
    test_libraries,
    test_owned,
    test_process_state,
    test_random,
    test_strays,
    test_user_state,
)

PAGE = Path(__file__).parents[3] / "docs" / "isolation.md"
MODULES = (test_libraries, test_owned, test_process_state, test_random, test_strays, test_user_state)


def rows(state: str) -> set[str]:
    """Read the rows of the table that are in a state."""
    return set(re.findall(rf"^\| (.+?) \| \*{state}\* \|", PAGE.read_text(), re.MULTILINE))


def test_every_restored_row_has_a_test() -> None:
    """
    A row is called restored if, and only if, a test restores it.
    """
    tested = {row for module in MODULES for item in vars(module).values() for row in getattr(item, "restores", ())}

    assert rows("restored") == tested


def test_every_row_is_in_one_of_three_states() -> None:
    """
    Each line of the table is restored, kept or not checked, and says what that means.
    """
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| State")]

    assert len(lines) == sum(len(rows(state)) for state in ("restored", "kept", "not checked"))
    assert len(rows("kept")) >= 4 and len(rows("not checked")) >= 5
