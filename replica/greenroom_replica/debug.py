"""`python -m greenroom_replica.debug FILE`: one recorded call made again here, under pdb, at a person's terminal.

FILE holds what the hub told of the call, and how its blobs are reached; it is removed once it was read. The call's code
is that of its execution, whatever the person's files say by now.
"""

from __future__ import annotations

import asyncio
import bdb
import inspect
import os
import pdb
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgpack

from greenroom.context import Context, ExecutionId, LocalPort, ReplicaPlace, Surroundings, TaskId, entered
from greenroom.files import use_store
from greenroom_core.program import Task
from greenroom_core.wire import from_wire
from greenroom_protocol.bundle import Manifest
from greenroom_replica.bundles import Bundles, ImportFailed
from greenroom_replica.workshops import BundleBlobs, interface_of

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

RETURNED: Final = 0
RAISED: Final = 1
LEFT: Final = 130
"""The person quit the debugger."""


class Recorded:
    """A call as the hub told of it.

    Args:
        told: What `GET .../items/ITEM/call` answers.
        store: Where its values and its code are had.
        folder: For the code's files; the call stands there.
    """

    def __init__(self, told: Mapping[str, Any], store: BlobStore, folder: Path) -> None:
        self._told, self._store = told, store
        self.task = from_wire(Task, told["task"], "task")
        self._bundles = Bundles(folder, BundleBlobs(store))

    def open(self) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The user's function, and its inputs as values.

        Raises:
            ImportFailed: Its module cannot be imported.
        """
        told, task = self._told, self.task
        if told["alias"]:
            from greenroom import compat

            compat.install()
        os.environ.update(told["env"])
        if told["bundle"] is not None:
            manifest = Manifest.decode(self._store.get(told["bundle"]), told["bundle"])
            active = self._bundles.activate(told["bundle"], manifest, told["origin"])
            os.chdir(active.stand(told["cwd"]))
        if task.pickled is not None:
            import pickle

            found = pickle.loads(task.pickled)
        else:
            found = active.function(task.module, task.qualname)
        fn = getattr(found, "fn", found)
        inputs = told["inputs"]
        decode: Any = interface_of(found, fn).input_decoder(list(inputs))
        return fn, dict(decode(b"".join(inputs.values()), store=self._store)) if inputs else {}

    def context(self) -> Context:
        """What `current_context()` tells the call."""
        told, task = self._told, self.task
        where = ExecutionId(told["project"], "development", told["execution"])
        who = TaskId(told["project"], "development", task.name, told["bundle"] or "")
        place = ReplicaPlace(0, told["environment"], "here")
        surroundings = Surroundings(where, told["node"], who, place, told["labels"], LocalPort())
        return Context(surroundings, told["item"], told["attempt"])


def debug(call: Recorded) -> int:
    """Run the call under pdb; gives the exit code."""
    try:
        fn, inputs = call.open()
    except ImportFailed as fault:
        traceback.print_exception(fault.__cause__ or fault)
        return RAISED
    debugger = pdb.Pdb()
    sys.breakpointhook = debugger.set_trace  # What was typed at one prompt holds at the next.
    with entered(call.context()):
        try:
            result = _run(debugger, fn, inputs)
        except bdb.BdbQuit:
            return LEFT
        except Exception as error:
            _print(error)
            debugger.reset()
            debugger.interaction(None, _innermost(error))
            return RAISED
    print(f"returned {_shown(result)}")  # noqa: T201
    return RETURNED


def _run(debugger: pdb.Pdb, fn: Callable[..., Any], inputs: Mapping[str, Any]) -> Any:
    """Call the function; the debugger stops at its first line."""
    inner = inspect.unwrap(fn)
    if not inspect.iscoroutinefunction(inner):
        return debugger.runcall(fn, **inputs)
    code = inner.__code__
    debugger.set_break(code.co_filename, _first_line(inner), temporary=True)
    debugger.rcLines.append("continue")
    return debugger.runcall(asyncio.run, fn(**inputs))


def _first_line(function: Callable[..., Any]) -> int:
    """The first line that a function executes."""
    code = function.__code__
    lines = [line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno]
    return min(lines, default=code.co_firstlineno)


def _print(error: Exception) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    here = os.path.dirname(os.path.abspath(__file__))
    kept = [frame for frame in frames if not frame.filename.startswith(here) and frame.filename != bdb.__file__]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(kept)]
    sys.stderr.write("".join([*lines, *traceback.format_exception_only(error)]))
    sys.stderr.flush()


def _innermost(error: Exception) -> Any:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 2000 else f"{text[:2000]}... ({len(text):,} characters)"


def main(file: str) -> int:
    """Read FILE, and debug the call that it tells of."""
    with open(file, "rb") as spec:
        told = msgpack.unpackb(spec.read(), strict_map_key=False, unicode_errors="surrogatepass")
    os.unlink(file)  # It holds the hub's token.
    folder = tempfile.mkdtemp(prefix="greenroom-debug-")
    try:
        store = _store(told, folder)
        use_store(store)
        return debug(Recorded(told["call"], store, Path(folder) / "tree"))
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _store(told: Mapping[str, Any], folder: str) -> BlobStore:
    from greenroom.remote_blobs import HttpBlobs

    remote = HttpBlobs(told["hub"], told["token"], os.path.join(folder, "blobs"))
    if told["blobs"] is None:
        return remote
    from greenroom.blobs import LocalBlobs

    return LocalBlobs(told["blobs"], manifests=remote.manifest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
