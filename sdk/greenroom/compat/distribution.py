"""What `importlib.metadata` is told of a package that the alias serves and that is not installed."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path
from typing import Any


class AliasDistribution(Distribution):
    """A distribution with a name and a version, and no files."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: served by Greenroom\n"

    def read_text(self, filename: str) -> str | None:
        """Its metadata."""
        return self._text if filename in ("METADATA", "PKG-INFO", "") else None

    def locate_file(self, path: Any) -> Path:
        """Where a file of it would lie."""
        return Path(__file__).parent / str(path)
