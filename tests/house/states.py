"""Draws `docs/states.md` from the tables in the code: `python -m tests.house.states`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from greenroom_core import facts, failure, graph, mapping, noderun, states
from greenroom_hub.core import replica
from greenroom_hub.core import states as hub_states
from greenroom_protocol import calls

PAGE = Path(__file__).parents[2] / "docs" / "states.md"

HEAD = """\
# States

Drawn from the tables in the code (`greenroom_core/states.py`, `greenroom_hub/core/states.py`) by
`python -m tests.house.states`; a test holds the two equal. A move that is in no table is a fault: tests fail on it.
"""


def told(kind: type[Enum]) -> dict[str, str]:
    """What stands below each member of an enum in its source; nothing for those that need no words."""
    lines = inspect.getsource(kind)
    found = re.findall(r'^    (\w+) = [^\n]+\n(?:    """(.+?)""")?', lines, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in found}


def title(kind: type[Enum]) -> str:
    """The first sentence of an enum's docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def machine(heading: str, kind: type[Enum], moves: Mapping[Any, Mapping[Any, str]], more: str) -> str:
    """One machine: a diagram of its moves, and why each is made."""
    first = next(iter(moves))
    lines = [f"## {heading}", "", f"{title(kind)} {more}".strip(), "", "```mermaid", "stateDiagram-v2"]
    lines.append(f"    [*] --> {first.name}")
    for state, ways in moves.items():
        lines += [f"    {state.name} --> {to.name}" for to in ways]
        lines += [f"    {state.name} --> [*]"] if not ways else []
    lines += ["```", "", "| State | Means |", "|---|---|"]
    words = told(kind)
    lines += [f"| `{state.name}` | {words.get(state.name, '') or '-'} |" for state in moves]
    lines += ["", "| From | To | When |", "|---|---|---|"]
    lines += [f"| `{state.name}` | `{to.name}` | {why} |" for state, ways in moves.items() for to, why in ways.items()]
    return "\n".join(lines) + "\n"


def words(heading: str, kind: type[Enum]) -> str:
    """An enum whose members do not follow each other."""
    lines = [f"## {heading}", "", title(kind), "", "| Word | Means |", "|---|---|"]
    means = told(kind)
    lines += [f"| `{_shown(member)}` | {means.get(member.name, '') or '-'} |" for member in kind]
    return "\n".join(lines) + "\n"


def _shown(member: Enum) -> str:
    return str(member.value) if isinstance(member.value, str) else member.name


def draw() -> str:
    """The whole page."""
    parts = [
        HEAD,
        machine("A node", noderun.NodeState, states.NODE_MOVES, "Its end carries the one outcome that it has."),
        machine(
            "A call",
            mapping.ItemState,
            states.ITEM_MOVES,
            "That a replica holds it is not in the log: after a restart it is `READY`, until the replica says so.",
        ),
        machine("A replica", replica.ReplicaState, hub_states.REPLICA_MOVES, ""),
        words("Outcomes", facts.Outcome),
        words("How a call ended on its replica", calls.Status),
        words("Why something failed", failure.Cause),
        words("What becomes of the other nodes", graph.FailurePolicy),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(draw())
