"""Make one virtual environment for each peer, below `bench/peers/venvs`. What cannot be installed is said, and skipped.

python -m bench.peers.install [NAME ...]
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
VENVS = HERE / "venvs"


def main() -> int:
    """Install; the number of peers that could not be."""
    wanted = json.loads((HERE / "requirements.json").read_text())
    failed = 0
    for name in sys.argv[1:] or sorted(wanted):
        why = install(name, wanted[name])
        print(f"{name}: {why or 'installed'}", flush=True)
        failed += why is not None
    if shutil.which("redis-server") is None:
        print("celery needs redis-server: apt-get install redis-server")
    return failed


def install(name: str, requirements: list[str]) -> str | None:
    """Make one environment; why it could not be made, if so."""
    folder = VENVS / name
    if (folder / "installed").exists():
        return None
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    (folder / "installed").touch()
    return None


if __name__ == "__main__":
    sys.exit(main())
