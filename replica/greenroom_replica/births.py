"""What a forked child becomes: a supervisor or a runner."""

from __future__ import annotations

import gc
import socket
from collections.abc import Mapping
from typing import Any


def run_supervisor(config: Mapping[str, Any], sock: socket.socket) -> int:
    """Become a supervisor, in a new child of the zygote."""
    gc.enable()
    from greenroom_replica.supervisor import main

    return main(config, sock)


def run_runner(settings: Mapping[str, Any], fds: list[int]) -> int:
    """Become a runner, in a new child of the zygote or of a template."""
    gc.enable()
    from greenroom_replica.runner import main

    return main(settings, fds)
