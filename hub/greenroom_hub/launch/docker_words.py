"""What the engine says, in words for the person whose calls wait."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Final

from greenroom_hub.core.ledger import show_bytes

UNREACHABLE: Final = 900
"""The status by which `aiodocker` says that no engine answers."""

_NO_MODULE = "No module named greenroom"


def engine_gone(host: str, why: str) -> str:
    """No engine answers."""
    return (
        f"no Docker engine answers at {host} ({why}): start it (systemctl start docker), see that this user may open "
        "its socket, or name another one with --docker-host or DOCKER_HOST"
    )


def refused(status: int, message: str, host: str, image: str) -> str:
    """Why a container was not started, from the engine's error."""
    told = message.strip()
    if status == UNREACHABLE:
        return engine_gone(host, told.removeprefix("Cannot connect to Docker Engine via "))
    if "executable file not found" in told:
        return f"image {image} has no python3 on its PATH: build it FROM the replica image, or put Python 3.11 into it"
    if "could not select device driver" in told:
        return "the Docker engine gives no gpus to containers: install the NVIDIA container toolkit, or ask for none"
    if "bind source path does not exist" in told or "invalid mount config" in told:
        return f"the Docker engine cannot mount what containers need: {told}"
    return f"the Docker engine refuses to start a container of {image}: {told}"


def exit_words(told: Mapping[str, Any], printed: str) -> str:
    """How a container ended.

    Args:
        told: Its inspection.
        printed: What it wrote last.
    """
    state, image = told["State"], str(told["Config"]["Image"])
    code, last = int(state.get("ExitCode") or 0), (printed.strip().splitlines() or [""])[-1]
    if _NO_MODULE in last:
        return (
            f"image {image} has no greenroom in its Python: build it FROM the replica image, or pip install greenroom"
        )
    if state.get("OOMKilled") and code != 0:
        memory = int(told["HostConfig"].get("Memory") or 0)
        most = f"its limit of {show_bytes(memory)}" if memory else "all of the machine's memory"
        return f"out of memory: its container used {most}; ask for more with limits=Resources(mem=...)"
    if state.get("Error"):
        return f"its container did not start: {state['Error']}"
    words = f": {last}" if last and code else ""
    if code - 128 in _SIGNALS:
        return f"its container was ended by {signal.Signals(code - 128).name}{words}"
    return f"its container ended with code {code}{words}"


_SIGNALS: Final = frozenset(int(one) for one in signal.Signals)
