"""What a forked child becomes: a supervisor or a runner."""

from __future__ import annotations

import gc
import socket
from collections.abc import Mapping
from typing import Any

from greenroom_replica import system


def run_supervisor(config: Mapping[str, Any], zygote: socket.socket) -> int:
    """Become a supervisor, in a new child of the zygote."""
    gc.enable()
    from greenroom_replica.supervisor import main

    return main(config, zygote)


def run_runner(settings: Mapping[str, Any], fds: list[int]) -> int:
    """Become a runner, in a new child of a supervisor or of a template."""
    gc.enable()
    system.be_first_to_go()
    from greenroom_replica.runner import main

    return main(settings, fds)
