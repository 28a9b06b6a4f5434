"""What can be wrong with a bundle, said so that the next step is clear."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.errors import GreenroomError
from greenroom_protocol.bundle import MAX_BYTES


def mib(size: int) -> str:
    """A size for people: `340 B`, `12 KiB`, `3.4 MiB`."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.0f} KiB" if size < 1024 * 1024 else f"{size / (1024 * 1024):.1f} MiB"


class BundleError(GreenroomError):
    """A program's files cannot be bundled."""


class NoSuchFile(BundleError):
    """The file that should be run is not there, or is no file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: no such Python file"


class BundleTooLarge(BundleError):
    """A project's files are more than a bundle takes."""

    def __init__(self, root: str, size: int, largest: Sequence[tuple[str, int]]) -> None:
        super().__init__(root, size, largest)
        self.root, self.size, self.largest = root, size, largest

    def __str__(self) -> str:
        names = ", ".join(f"{path} ({mib(size)})" for path, size in self.largest)
        return (
            f"the files of {self.root} have {mib(self.size)}, a bundle takes {mib(MAX_BYTES)}; "
            f"the largest are {names}: pass data as inputs (File), or name it in .gitignore"
        )


class TooManyFiles(BundleError):
    """A project has more files than a bundle takes."""

    def __init__(self, root: str, most: int) -> None:
        super().__init__(root, most)
        self.root, self.most = root, most

    def __str__(self) -> str:
        return (
            f"{self.root} holds more than {self.most:,} files, the most that a bundle takes: name folders of data in "
            f".gitignore, or give the program a folder of its own with a pyproject.toml"
        )


class FileChanged(BundleError):
    """A file was changed or removed while it was being bundled."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} was changed while it was being bundled: run again"


class NotBundled(BundleError):
    """A function that replicas could not find again."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"
