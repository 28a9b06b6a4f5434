"""`python -m greenroom_replica`: one replica without a launcher beside it, as a container's first process is.

Its configuration is JSON, from the variable `GREENROOM_REPLICA_CONFIG` or from standard input (`--config -`). It ends
as its supervisor ends. SIGTERM or SIGINT lets calls end first; a second one does not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, Final

from greenroom_protocol.zygote import Refused
from greenroom_replica.config import ConfigFault, ReplicaConfig
from greenroom_replica.zygote import Zygote, preload, settle

VARIABLE: Final = "GREENROOM_REPLICA_CONFIG"
"""Holds the configuration; no process that runs user code gets to see it in its environment."""

MISCONFIGURED: Final = 2


class _Lines(logging.Formatter):
    """`greenroom: connected (hub=unix:///run/greenroom/hub.sock)`."""

    def format(self, record: logging.LogRecord) -> str:
        told = [f"{name}={getattr(record, name)}" for name in ("hub", "why") if hasattr(record, name)]
        return f"greenroom: {record.getMessage()}" + (f" ({', '.join(told)})" if told else "")


def main(arguments: list[str] | None = None) -> int:
    """Be one replica until it ends; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m greenroom_replica", description=__doc__)
    parser.add_argument("--config", help="'-' to read the configuration from standard input")
    options = parser.parse_args(arguments)
    try:
        wire = _configuration(options.config)
        config = ReplicaConfig.from_wire(wire)
    except ConfigFault as fault:
        print(f"greenroom: {fault}", file=sys.stderr)  # noqa: T201
        return MISCONFIGURED
    _log_to_stderr()
    settle()
    preload()
    return _serve(config, wire)


def _configuration(source: str | None) -> Mapping[str, Any]:
    """Read it, and let no process that is forked from here find it in its environment.

    Raises:
        ConfigFault: There is none, or it is no JSON object.
    """
    text = os.environ.pop(VARIABLE, "") if source is None else sys.stdin.read()
    if not text:
        told = f"no configuration: a hub's launcher sets {VARIABLE}; by hand use greenroom replica join"
        raise ConfigFault(told)
    try:
        wire = json.loads(text)
    except ValueError as fault:
        raise ConfigFault(f"a replica's configuration: {fault}") from fault
    if not isinstance(wire, dict):
        raise ConfigFault(f"a replica's configuration: expected an object, not {type(wire).__name__}")
    return wire


def _log_to_stderr() -> None:
    """Our own lines only: the root logger belongs to user code."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    log = logging.getLogger("greenroom.replica")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _serve(config: ReplicaConfig, wire: Mapping[str, Any]) -> int:
    zygote = Zygote(None, idle_after=0.0)
    born = zygote.spawn(config.replica, config.generation, wire)
    if isinstance(born, Refused):
        print(f"greenroom: {born.reason}", file=sys.stderr)  # noqa: T201
        return 1
    asked = False

    def leave(*_: object) -> None:
        nonlocal asked
        if asked:
            zygote.stop()
        else:
            zygote.loop.brood.kill(born.pid, signal.SIGTERM)
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    zygote.run()
    code = zygote.last_exit.code if zygote.last_exit is not None else -signal.SIGKILL
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
