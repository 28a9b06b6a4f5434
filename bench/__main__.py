"""`make bench`: ours and the peers, interleaved, several times; results, the table and the plots.

    python -m bench [--only ACE] [--rounds 3] [--no-peers] [--report]

Each round runs every workload once, each system in a process of its own, one after the other. Lines go to
`bench/results/LETTER.json`; from these alone `--report` writes the table of `docs/performance.md` and the plots anew.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import plan, report

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"


def main() -> int:
    """Run what was asked for; the number of runs that gave no line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="".join(plan.OURS), help="letters of the workloads to run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--systems", nargs="+", help="names of the systems to run; all unless told otherwise")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that one process may take")
    parser.add_argument("--report", action="store_true", help="run nothing: write the report from the results")
    options = parser.parse_args()
    failed = 0
    if not options.report:
        lines: dict[str, list[dict[str, Any]]] = {}
        for turn in range(options.rounds):
            for job in plan.jobs(options.only.upper(), not options.no_peers):
                if options.systems and job.system not in options.systems:
                    continue
                line = _run(job, options.timeout)
                failed += line is None
                if line is not None:
                    lines.setdefault(job.workload, []).append({**line, "round": turn})
                    _write(job.workload, lines[job.workload])
    report.write(RESULTS, ROOT / "docs")
    return failed


def _run(job: plan.Job, timeout: float) -> dict[str, Any] | None:
    """Run one process, with all that it starts; its line, or None with the reason on stderr."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            job.words, cwd=ROOT, stdout=subprocess.PIPE, stderr=err, text=True, start_new_session=True, env=_plain()
        )
        try:
            out, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            out = ""
        finally:
            _end(process)
        lines = [text for text in out.splitlines() if text.startswith("{")]
        print(f"{job.workload} {job.system}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        if lines:
            line: dict[str, Any] = json.loads(lines[-1])
            return line
        err.seek(0)
        print(f"{job.workload} {job.system} gave no line: {err.read()[-2000:]}", file=sys.stderr, flush=True)
        return None


def _end(process: subprocess.Popen[str]) -> None:
    """End what a process has left behind in its group: workers of some systems outlive their client.

    A client of ours ends its hub first, which takes it a few seconds.
    """
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _plain() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name != "CI" and not name.startswith("GREENROOM")}


def _write(letter: str, lines: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    body = ",\n".join(json.dumps(line) for line in lines)
    (RESULTS / f"{letter}.json").write_text(f"[\n{body}\n]\n")


if __name__ == "__main__":
    sys.exit(main())
