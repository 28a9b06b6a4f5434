"""`greenroom run --here`: in this process, without a hub, on the same state machine."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from greenroom.cli.exits import CANCELLED, FAILED, SUCCEEDED
from greenroom.cli.output import Outputs, ResultFd
from greenroom.cli.words import duration

if TYPE_CHECKING:
    from greenroom.cli.entities import Entity
    from greenroom.cli.runline import RunLine


def run_here(entity: Entity, inputs: dict[str, Any], line: RunLine, stdout: ResultFd) -> int:
    """Call an entity, print its result as `run` does; an error is the user's own traceback."""
    from greenroom.cli.tracebacks import own_traceback
    from greenroom.errors import CallTimedOut

    os.environ.update(line.pairs("env"))
    begun = time.monotonic()
    try:
        result = entity.object(**inputs)
        if hasattr(result, "__await__"):
            import asyncio

            result = asyncio.run(_awaited(result))
    except CallTimedOut as fault:
        sys.stderr.write(own_traceback(fault))
        return CANCELLED
    except Exception as fault:
        sys.stderr.write(own_traceback(fault))
        sys.stderr.write(f"FAIL {duration(time.monotonic() - begun)}\n")
        return FAILED
    sys.stderr.write(f"ok   {duration(time.monotonic() - begun)}, in this process\n")
    _print(entity, result, line, stdout)
    return SUCCEEDED


async def _awaited(result: Any) -> Any:
    return await result


def _print(entity: Entity, result: Any, line: RunLine, stdout: ResultFd) -> None:
    from greenroom.blobs import LocalBlobs
    from greenroom_core.values import split

    with tempfile.TemporaryDirectory(prefix="greenroom-") as folder:
        blobs = LocalBlobs(folder, durable=False)
        interface = entity.interface
        values = split(interface.encode_outputs(result, blobs), len(interface.outputs))
        save = line.options.get("save")
        outputs = Outputs(blobs, os.path.abspath(save) if save else None)
        named = dict(zip(interface.outputs, values, strict=True))
        stdout.write(outputs.text(named) if line.options.get("output") == "text" else outputs.json(named))
        if line.options.get("output") != "text":
            stdout.write("\n")
