"""Figures, and where they were taken: for our workloads and the peers' alike, of the standard library alone."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def spread(values: Iterable[float], digits: int = 1) -> dict[str, Any]:
    """Median, least and most of several measurements, and all of them."""
    runs = [round(value, digits) for value in values]
    return {"median": round(statistics.median(runs), digits), "min": min(runs), "max": max(runs), "runs": runs}


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def read(path: Path) -> str:
    """A file of /proc; nothing where its process has ended."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def machine() -> dict[str, Any]:
    """Where this was measured, and how much else was going on."""
    model = next(
        (line.split(":")[1].strip() for line in read(Path("/proc/cpuinfo")).splitlines() if "model name" in line), ""
    )
    return {
        "cpus": os.cpu_count(),
        "model": model,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def write_line(line: Mapping[str, Any], out: str | Path | None) -> None:
    """Print a workload's line, and append it to a file if one is named."""
    text = json.dumps(line)
    print(text, flush=True)
    if out is not None:
        with open(out, "a", encoding="utf-8") as file:
            file.write(text + "\n")
