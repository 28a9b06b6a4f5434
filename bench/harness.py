"""What all workloads share: arguments, a hub of their own, figures of processes, and their one line of JSON.

A workload is a client in a process of its own. It gets a hub with a fresh state folder and all its defaults (so
`synchronous=FULL` and the reset between calls), and ends it when it is done. Nothing here is part of the product.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.measures import machine, percentile, read, spread, write_line

__all__ = ["percentile", "spread"]

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parent.parent
_TICK = os.sysconf("SC_CLK_TCK")
_PACKAGES = ("greenroom", "aiohttp", "uvloop", "websockets", "msgpack")


def arguments(about: str | None, *, n: int = 1000, replicas: int = 2, repeat: int = 3) -> argparse.Namespace:
    """Read the command line: the same arguments for every workload, each with its own defaults.

    Args:
        about: The workload's docstring.
        n: How many calls (items, executions, steps), unless told otherwise.
        replicas: How many warm replicas.
        repeat: How often it is measured; medians are over these.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=n, help=f"how many, {n} unless told otherwise")
    parser.add_argument("--replicas", type=int, default=replicas, help=f"warm replicas, {replicas} unless told")
    parser.add_argument("--repeat", type=int, default=repeat, help=f"times that it is measured, {repeat} unless told")
    parser.add_argument("--out", type=Path, help="also append the line to this file")
    parser.add_argument("--profile", type=Path, help="folder for py-spy's profiles of the hub and of one replica")
    return parser.parse_args()


class Hub:
    """A local hub with nothing in it, as `greenroom run` would start it on a fresh machine."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="greenroom-bench-"))
        self.state = self.folder / "state"
        self.work = self.folder / "work"
        shutil.copytree(PROGRAMS, self.work, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = {
            name: text for name, text in os.environ.items() if name != "CI" and not name.startswith("GREENROOM")
        }
        self.env["GREENROOM_STATE"] = str(self.state)
        os.environ.clear()
        os.environ.update(self.env)
        sys.path.insert(0, str(self.work))

    def client(self) -> Any:
        """A client of it; starts it."""
        from greenroom.client import Client

        client = Client("local")
        assert client.url
        return client

    def about(self) -> dict[str, Any]:
        """What the hub says of itself."""
        from greenroom.hubs import running_hub
        from greenroom.link import Link
        from greenroom.operations import get
        from greenroom.state import StateFolder

        hub = running_hub(StateFolder(str(self.state)))
        assert hub is not None
        link = Link(hub)
        told: dict[str, Any] = link.drive(get("/api/hub"))
        link.close()
        return told

    def command(self, *words: str) -> list[str]:
        """A `greenroom` command line."""
        return [sys.executable, "-m", "greenroom.cli", *words]

    def close(self) -> None:
        """End it, and remove what it wrote."""
        subprocess.run(self.command("hub", "stop", "--purge"), env=self.env, capture_output=True, timeout=90)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Processes --------------------------------------------------------------------------------------------------------

    def processes(self) -> dict[str, list[int]]:
        """Pids of the hub, and of the zygotes with all that they forked."""
        found: dict[str, list[int]] = {"hub": [], "replicas": []}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                words = read(entry / "cmdline")
                if str(self.state) in words:
                    found["hub" if "greenroom_hub" in words else "replicas"].append(int(entry.name))
        return found

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time that each part has used, and this process as `client`."""
        used = {part: sum(map(cpu_of, pids)) for part, pids in self.processes().items()}
        return {**used, "client": time.process_time()}

    @contextmanager
    def profiled(self, folder: Path | None, seconds: int = 10) -> Iterator[None]:
        """Profile the hub and the busiest replica's processes while something runs, if a folder was given."""
        if folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        py_spy = str(Path(sys.executable).with_name("py-spy"))
        watched = [("hub", pid) for pid in self.processes()["hub"]]
        watched += [("replica", pid) for pid in self.processes()["replicas"]]
        running = [
            subprocess.Popen(
                [py_spy, "record", "-n", "-r", "500", "-f", "raw", "-d", str(seconds), "-p", str(pid), "-o",
                 str(folder / f"{part}-{pid}.txt")],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for part, pid in watched
        ]  # fmt: skip
        time.sleep(1.0)
        try:
            yield
        finally:
            for process in running:
                process.send_signal(2)
            for process in running:
                process.wait(30)


@contextmanager
def own_hub() -> Iterator[Hub]:
    """A hub for one workload."""
    hub = Hub()
    signal.signal(signal.SIGTERM, _leave)  # Whoever stops a run early leaves no hub behind either.
    try:
        yield hub
    finally:
        hub.close()


def _leave(*_: Any) -> None:
    raise SystemExit("it was told to end")


def cpu_of(pid: int) -> float:
    """Seconds of processor time of a process; 0 for one that has ended."""
    text = read(Path(f"/proc/{pid}/stat"))
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def memory_of(pid: int) -> dict[str, int]:
    """Bytes of a process: `rss`, and `pss` (shared pages counted by share)."""
    told = {"rss": 0, "pss": 0}
    for line in read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        name, _, rest = line.partition(":")
        if name.lower() in told:
            told[name.lower()] = int(rest.split()[0]) * 1024
    return told


# Warm replicas --------------------------------------------------------------------------------------------------------


def warm_up(client: Any, entity: Any, replicas: int, environment: str, **inputs: Any) -> None:
    """Run something until all replicas of an environment are ready and idle."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        client.run(entity, **inputs).result()
        if ready(client, environment) >= replicas:
            return
        time.sleep(0.05)
    raise SystemExit(f"{environment} has {ready(client, environment)} of {replicas} replicas after two minutes")


def ready(client: Any, environment: str) -> int:
    """Replicas of an environment that have said hello."""
    return sum(
        replica["state"] == "ready"
        for told in client.replicas()
        if told["environment"] == environment
        for replica in told["replicas"]
    )


# Figures --------------------------------------------------------------------------------------------------------------


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that something took, and what it gave."""
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Versions of Python and of what matters."""
    told = {"python": platform.python_version()}
    for name in packages:
        try:
            told[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return told


def report(
    workload: str, name: str, options: argparse.Namespace, figures: Mapping[str, Any], hub: Mapping[str, Any] | None
) -> None:
    """Print the workload's line.

    Args:
        workload: Its letter.
        name: What it is.
        options: The command line.
        figures: What was measured, by name with its unit.
        hub: What the hub said of itself after the run: `PRAGMA synchronous` as SQLite gives it back is part of it.
    """
    line = {
        "workload": workload,
        "name": name,
        "system": "greenroom",
        "n": options.n,
        "replicas": options.replicas,
        "repeat": options.repeat,
        "figures": dict(figures),
        "store": hub["store"] if hub is not None else None,
        "versions": versions(),
        "machine": machine(),
        "at": round(time.time()),
    }
    write_line(line, options.out)
