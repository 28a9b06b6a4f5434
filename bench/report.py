"""From the results to what people read: the tables of `docs/performance.md`, and plots beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from bench import plots
from bench.targets import TARGETS, Target

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
Line = dict[str, Any]


def write(results: Path, docs: Path) -> None:
    """Write tables and plots from `results/*.json` into `docs`."""
    lines = [line for path in sorted(results.glob("?.json")) for line in json.loads(path.read_text())]
    page = docs / "performance.md"
    if not lines or not page.exists():
        return
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{_tables(lines)}\n{END}{after}")
    plots.write(lines, docs / "plots")


def figure(lines: Iterable[Line], name: str) -> tuple[float, float, float] | None:
    """Median, least and most of a figure over all rounds and repetitions; None if nothing measured it."""
    runs: list[float] = []
    for line in lines:
        told = line["figures"].get(name)
        if told is not None:
            runs += told["runs"] if isinstance(told, dict) else [told]
    return (median(runs), min(runs), max(runs)) if runs else None


def _tables(lines: list[Line]) -> str:
    return "\n".join([_where(lines), "", _ours(lines), "", _beside(lines)])


def _where(lines: list[Line]) -> str:
    ours = [line for line in lines if line["system"] == "greenroom"] or lines
    machine = ours[0]["machine"]
    versions = {name: text for line in lines for name, text in line["versions"].items()}
    told = ", ".join(f"{name} {text}" for name, text in sorted(versions.items()))
    sync = {line["store"]["synchronous"] for line in ours if line.get("store")}
    loads = [line["machine"]["load"][0] for line in ours]
    return (
        f"Machine: {machine['cpus']} cores, {machine['model']}, {machine['memory_gib']} GiB, {machine['system']}. "
        f"`PRAGMA synchronous`, read back after each run: {', '.join(sorted(sync)) or 'not read'}. The reset is on. "
        f"Load averages at the ends of our runs: {min(loads)} to {max(loads)}.\n\nVersions: {told}."
    )


def _ours(lines: list[Line]) -> str:
    rows = ["| | Workload | Median (least..most) | Must reach | | Then chase |", "|---|---|---|---|---|---|"]
    for target in TARGETS:
        found = figure(_of(lines, target), target.figure)
        told = "not measured" if found is None else f"{_many(found)} {target.unit}".strip()
        met = "" if found is None else "met" if target.met(found[0]) else "**missed**"
        sign = ">=" if target.least else "<="
        chase = "" if target.chase is None else f"{target.chase:,g}"
        rows.append(f"| {target.workload} | {target.words} | {told} | {sign} {target.bound:,g} | {met} | {chase} |")
    return "\n".join(rows)


def _of(lines: list[Line], target: Target) -> list[Line]:
    return [
        line
        for line in lines
        if line["workload"] == target.workload
        and line["system"] == "greenroom"
        and target.replicas in (None, line["replicas"])
    ]


_BESIDE = (
    ("A", 2, ("node_calls_s", "calls_s"), "A, 2 workers, calls/s"),
    ("A", 25, ("node_calls_s", "calls_s"), "A, 25 workers, calls/s"),
    ("C", 2, ("p50_ms",), "C, p50 ms"),
    ("C", 2, ("p99_ms",), "C, p99 ms"),
    ("E", 2, ("ms_per_step",), "E, ms a step"),
    ("F", 2, ("mb_s",), "F, MB/s"),
    ("A", 25, ("ready_s",), "25 workers ready, s"),
)


def beside(lines: list[Line]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """By column of the table of peers, by system: the figure."""
    told: dict[str, dict[str, tuple[float, float, float]]] = {}
    for letter, replicas, names, words in _BESIDE:
        for line in lines:
            if (line["workload"], line["replicas"]) == (letter, replicas):
                system = line["system"]
                same = [one for one in lines if (one["workload"], one["system"], one["replicas"]) ==
                        (letter, system, replicas)]  # fmt: skip
                found = next((f for name in names if (f := figure(same, name)) is not None), None)
                if found is not None:
                    told.setdefault(words, {})[system] = found
    return told


def _beside(lines: list[Line]) -> str:
    columns = beside(lines)
    systems = list(dict.fromkeys(line["system"] for line in lines))
    rows = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for system in systems:
        cells = []
        for told in columns.values():
            found, ours = told.get(system), told.get("greenroom")
            ratio = ""
            if found and ours and system != "greenroom":
                ratio = f" ({_number(ours[0] / found[0])}x)" if found[0] else ""
            cells.append(f"{_number(found[0])}{ratio}" if found else "")
        rows.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n\nIn brackets: ours divided by theirs, of the medians of the same run."


def _many(found: tuple[float, float, float]) -> str:
    middle, least, most = found
    return _number(middle) if least == most else f"{_number(middle)} ({_number(least)}..{_number(most)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
