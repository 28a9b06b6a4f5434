"""What can be wrong with a store, and what to do about it. Arguments are kept, so that each survives pickling."""

from __future__ import annotations


class StoreError(Exception):
    """Base of all errors of the store."""


class NotOurs(StoreError):
    """The file is something else; it is left as it is."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found

    def __str__(self) -> str:
        return f"{self.path} is {self.found}, not a store of Greenroom: move it away, or choose another state folder"


class NewerVersion(StoreError):
    """A newer Greenroom wrote the store; reading it with this one could lose what only the newer one knows."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(path, found, known)
        self.path, self.found, self.known = path, found, known

    def __str__(self) -> str:
        return (
            f"{self.path} has version {self.found}, and this greenroom knows versions up to {self.known}: "
            f"upgrade greenroom, or choose another state folder"
        )


class OtherHistory(StoreError):
    """A migration that the store has had differs from the one of this number here."""

    def __init__(self, path: str, number: int, name: str) -> None:
        super().__init__(path, number, name)
        self.path, self.number, self.name = path, number, name

    def __str__(self) -> str:
        return (
            f"{self.path} had another migration {self.number} than this greenroom's {self.name}: a build between two "
            f"releases wrote it; open it with that build, or choose another state folder"
        )


class Damaged(StoreError):
    """The file is a store, but parts of it cannot be read."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path, self.detail = path, detail

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged ({self.detail}): put a copy in its place, or save what can be read with "
            f"`sqlite3 {self.path} .recover`"
        )


class InUse(StoreError):
    """Another hub has the store open."""

    def __init__(self, path: str, pid: int | None) -> None:
        super().__init__(path, pid)
        self.path, self.pid = path, pid

    def __str__(self) -> str:
        who = f"the hub with pid {self.pid}" if self.pid else "another hub"
        return f"{self.path} is in use by {who}: stop that one first, or give this one a state folder of its own"


class NotWritable(StoreError):
    """The store cannot be made, or written, where it should be."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} cannot be written ({self.reason}): free it, or choose another state folder"


class NotDurable(StoreError):
    """The database does not promise here what the hub promises to others."""

    def __init__(self, path: str, wanted: str, found: str) -> None:
        super().__init__(path, wanted, found)
        self.path, self.wanted, self.found = path, wanted, found

    def __str__(self) -> str:
        return (
            f"{self.path}: asked for {self.wanted}, got {self.found}; is it on a network file system? "
            f"choose a state folder on a local disk"
        )


class CommitFailed(StoreError):
    """A batch did not get on disk. Nothing after it is taken until the store is opened again."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: a commit failed ({self.reason}); nothing more is taken until it is opened again"


class ReadFailed(StoreError):
    """A read could not be done, for another reason than damage."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} could not be read: {self.reason}"


class OutOfOrder(StoreError):
    """A batch whose rows are not the next ones; refused, and the store is as it was."""

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(expected, got)
        self.expected, self.got = expected, got

    def __str__(self) -> str:
        return f"the next row has position {self.expected}, got {self.got}: positions are dense, and given by one hub"


class Closed(StoreError):
    """The store is not open."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is not open"
