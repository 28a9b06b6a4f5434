"""What attempts of calls keep for the next ones: a file for each call, gone when its execution has ended."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path


class Checkpoints:
    """Files below one folder.

    Args:
        folder: Made when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: set[str] = set(os.listdir(folder)) if folder.is_dir() else set()
        """Executions that have files: nearly none has, and each of the others ends without a look at the disk."""

    def get(self, execution: str, node: str, item: int) -> bytes | None:
        """What a call has kept last; None for nothing."""
        try:
            return self._place(execution, node, item).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, execution: str, node: str, item: int, data: bytes) -> None:
        """Keep this for a call, on disk when this returns, in place of what was kept before."""
        place = self._place(execution, node, item)
        self._kept.add(execution)
        place.parent.mkdir(0o700, parents=True, exist_ok=True)
        partial = place.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(place)

    def drop(self, execution: str) -> None:
        """An execution has ended: its calls go on no more."""
        if execution in self._kept:
            self._kept.discard(execution)
            shutil.rmtree(self._folder / execution, ignore_errors=True)

    def keep_only(self, executions: set[str]) -> None:
        """Drop what a hub that was killed has left of executions that have ended."""
        if self._folder.is_dir():
            for place in self._folder.iterdir():
                if place.name not in executions:
                    shutil.rmtree(place, ignore_errors=True)

    def _place(self, execution: str, node: str, item: int) -> Path:
        name = hashlib.sha256(node.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return self._folder / execution / f"{name}-{item}"
