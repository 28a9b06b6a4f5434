"""What `make bench` runs: ours and the peers, workload by workload."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

VENVS = Path(__file__).parent / "peers" / "venvs"

OURS = {
    "A": "a_hello_map",
    "B": "b_document",
    "C": "c_one_call",
    "D": "d_start",
    "E": "e_chain",
    "F": "f_bytes",
    "G": "g_fresh",
    "H": "h_million",
    "I": "i_executions",
    "J": "j_memory",
    "K": "k_restart",
    "L": "l_wide",
}

PEERS = {
    "multiprocessing.Pool": ("pool", ""),
    "ProcessPoolExecutor": ("executor", ""),
    "ray": ("ray_actors", "ray"),
    "dask.distributed": ("dask_distributed", "dask"),
    "parsl": ("parsl_htex", "parsl"),
    "celery + redis": ("celery_redis", "celery"),
    "prefect": ("prefect_flow", "prefect"),
}
"""By name: its module, and its virtual environment (ours where it needs the standard library alone)."""

_ONCE = frozenset("BDHIJKL")
"""Ours alone: what they measure is a promise of ours, or takes no peer to judge."""

_SIZES = {
    "multiprocessing.Pool": {"A": 20_000, "C": 500, "E": 200, "F": 100},
    "ProcessPoolExecutor": {"A": 20_000, "C": 500, "E": 200, "F": 100},
    "ray": {"A": 2000, "C": 500, "E": 200, "F": 100},
    "dask.distributed": {"A": 1000, "C": 100, "E": 100, "F": 50},
    "parsl": {"A": 1000, "C": 200, "E": 200, "F": 50},
    "celery + redis": {"A": 1000, "C": 200, "E": 200, "F": 30},
    "prefect": {"A": 50},
}
"""How many calls each peer makes: enough for a steady rate, and no minute of waiting."""

_AT_25 = frozenset(("multiprocessing.Pool", "ProcessPoolExecutor", "ray"))


class Job(NamedTuple):
    """One process to run."""

    workload: str
    system: str
    words: list[str]


def jobs(workloads: str, peers: bool) -> list[Job]:
    """All processes of one round, ours beside the peers for each workload."""
    found = []
    for letter in workloads:
        for replicas in ("2", "25") if letter == "A" else ("",):
            words = [sys.executable, "-m", f"bench.{OURS[letter]}", *(["--replicas", replicas] if replicas else [])]
            found.append(Job(letter, "greenroom", words))
            if peers and letter not in _ONCE:
                found += _peers(letter, replicas or "2")
    return found


def _peers(letter: str, replicas: str) -> list[Job]:
    found = []
    for name, (module, venv) in PEERS.items():
        n = _SIZES[name].get(letter)
        python = VENVS / venv / "bin" / "python" if venv else Path(sys.executable)
        if (
            n is None
            or (replicas == "25" and name not in _AT_25)
            or (venv and not (VENVS / venv / "installed").exists())
        ):
            continue
        words = [str(python), "-m", f"bench.peers.{module}", letter, "--n", str(n), "--replicas", replicas]
        found.append(Job(letter, name, words))
    return found
