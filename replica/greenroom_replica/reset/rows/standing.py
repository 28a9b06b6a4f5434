"""Who the process is, and what watches it: user and groups, root folder, audit hooks. Little can be put back."""

from __future__ import annotations

import os
import posix
import sys
from typing import Any

from greenroom_replica.reset.rows.base import Fields, Row, RowFailure
from greenroom_replica.reset.tripwires import Tripwires

_SETTERS = "setuid seteuid setreuid setresuid setgid setegid setregid setresgid setgroups initgroups chroot"


class Standing(Row):
    """User, groups and root folder: asked only when a function that sets them was called."""

    name = "user and root folder"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        tripwires.lay_all((os, posix), _SETTERS, self.name)
        self._plain = tripwires.plain

    def read(self) -> Fields:
        root = os.stat("/")
        fields: Fields = {"root folder": (root.st_dev, root.st_ino), "groups": tuple(os.getgroups())}
        if hasattr(os, "getresuid"):
            fields["user"], fields["group"] = os.getresuid(), os.getresgid()
        else:
            fields["user"], fields["group"] = (os.getuid(), os.geteuid()), (os.getgid(), os.getegid())
        return fields

    def write(self, base: Fields) -> None:
        self.use(base)
        plain = self._plain
        try:
            if len(base["user"]) == 3:
                plain(os, "setresuid")(*base["user"])  # Before the groups: it may be what permits these.
                plain(os, "setresgid")(*base["group"])
            if tuple(os.getgroups()) != base["groups"]:
                plain(os, "setgroups")(list(base["groups"]))
        except OSError as error:
            raise RowFailure(f"{self.name}: {error.strerror}") from error
        if left := self.differs():
            raise RowFailure(" and ".join(left))


class AuditHooks(Row):
    """Audit hooks, which see all that later calls do and cannot be taken away."""

    name = "audit hooks"

    def __init__(self, tripwires: Tripwires) -> None:
        super().__init__()
        self._count = 0
        tripwires.lay(sys, "addaudithook", self.name, self._added)

    def _added(self) -> None:
        self._count += 1

    def read(self) -> Fields:
        return {"sys.addaudithook": self._count}

    def merge(self, base: Fields, before: Fields, now: Fields) -> Fields:
        """Keep in `base` what an import added."""
        added: Any = now["sys.addaudithook"] - before["sys.addaudithook"]
        return {"sys.addaudithook": base.get("sys.addaudithook", 0) + added}

    def write(self, base: Fields) -> None:
        self.use(base)
        if self.differs():
            raise RowFailure("an audit hook")
