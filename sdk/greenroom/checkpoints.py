"""Checkpoints: bytes that one attempt of a call writes and the next one reads, on whatever replica it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from greenroom.errors import CheckpointRefused

if TYPE_CHECKING:
    from greenroom.http import Connection, Endpoint, Response


class Keeper(Protocol):
    """Where the checkpoint of one call is kept."""

    def get(self) -> bytes | None:
        """What was written last; None for nothing."""
        ...

    def put(self, data: bytes) -> None:
        """Keep this instead."""
        ...


class Checkpoint:
    """The checkpoint of the call that runs: `current_context().checkpoint`.

    What was written last counts, whichever attempt wrote it. It goes when the execution ends.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._known: bytes | None = None
        self._asked = False

    def read(self) -> bytes | None:
        """The bytes that were written last; None where nothing was."""
        if not self._asked:
            self._known, self._asked = self._keeper.get(), True
        return self._known

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep bytes; once this returns they are on disk, and no later attempt begins without them.

        Raises:
            TypeError: It is something else than bytes.
            CheckpointRefused: The hub takes none: they are too many, or this attempt was given up meanwhile.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a checkpoint is bytes, not {type(data).__name__}: encode it, as with pickle.dumps(...)")
        kept = bytes(data)
        self._keeper.put(kept)
        self._known, self._asked = kept, True

    def exists(self) -> bool:
        """Whether anything was written."""
        return self.read() is not None

    def prev_exists(self) -> bool:
        """The same as `exists`."""
        return self.exists()

    def save(self, source: str | os.PathLike[str] | IO[bytes]) -> None:
        """Keep the content of a file."""
        if hasattr(source, "read"):
            self.write(source.read())
        else:
            self.write(Path(source).read_bytes())

    def restore(self, path: str | os.PathLike[str] | None = None) -> Path | None:
        """Write what is kept to a file; gives its path, None where nothing is kept.

        Args:
            path: The file, or a folder for it; a new folder of this call's unless given.
        """
        data = self.read()
        if data is None:
            return None
        if path is None:
            from greenroom.context import current_context

            path = current_context().working_directory
        target = Path(path)
        if target.is_dir():
            target = target / "checkpoint"
        target.write_bytes(data)
        return target


class HereKeeper:
    """Keeps the checkpoints of a run in this process: one dict for all of its calls."""

    def __init__(self, kept: dict[tuple[str, int], bytes], node: str, item: int) -> None:
        self._kept, self._place = kept, (node, item)

    def get(self) -> bytes | None:
        """What was written last."""
        return self._kept.get(self._place)

    def put(self, data: bytes) -> None:
        """Keep this instead."""
        self._kept[self._place] = data


class HubKeeper:
    """Keeps the checkpoint of one call at the hub.

    Args:
        endpoint: The hub's.
        token: The replica's own.
        path: The call's: `/api/executions/ID/nodes/NODE/items/ITEM/checkpoint`.
        attempt: The number that fences: what a superseded attempt writes is refused.
    """

    def __init__(self, endpoint: Endpoint, token: str, path: str, attempt: int) -> None:
        self._endpoint, self._token, self._path, self._attempt = endpoint, token, path, attempt

    def get(self) -> bytes | None:
        """What was written last."""
        answer = self._ask("GET", b"")
        return None if answer.status == 204 else answer.body

    def put(self, data: bytes) -> None:
        """Keep this instead."""
        self._ask("PUT", data)

    def _ask(self, method: str, body: bytes) -> Response:
        import time

        from greenroom.http import HttpFault, Request

        request = Request(method, f"{self._path}?attempt={self._attempt}", body, "application/octet-stream")
        for pause in (0.1, 0.4, 1.6, 3.2, None):  # A hub that is being restarted is back by then.
            try:
                answer = self._connection().request(request)
                break
            except (OSError, HttpFault) as fault:
                if pause is None:
                    raise CheckpointRefused(f"the hub cannot be reached: {fault}") from fault
                time.sleep(pause)
        if answer.status >= 300:
            from greenroom.hub_errors import refused

            raise CheckpointRefused(str(refused(answer.status, answer.body)))
        return answer

    def _connection(self) -> Connection:
        from greenroom.http import Connection

        return Connection(self._endpoint, self._token)
