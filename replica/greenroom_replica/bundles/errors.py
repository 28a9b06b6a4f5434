"""What can go wrong with a bundle on a replica."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.errors import GreenroomError


class BundleFailed(GreenroomError):
    """A bundle cannot be used here."""


class BlobMissing(BundleFailed):
    """A file of a bundle is not to be had."""

    def __init__(self, digest: str, reason: str) -> None:
        super().__init__(digest, reason)
        self.digest, self.reason = digest, reason

    def __str__(self) -> str:
        return f"blob {self.digest[:12]} {self.reason}; submit again, which uploads what is missing"


class ImportFailed(BundleFailed):
    """A user's module could not be imported; the user's own error is the cause."""

    def __init__(self, module: str, reason: str, *, fresh_runner: bool) -> None:
        super().__init__(module, reason, fresh_runner)
        self.module, self.reason = module, reason
        self.fresh_runner = fresh_runner
        """Whether a runner that has not imported anything else may succeed: modules of another bundle lived here."""

    def __reduce__(self) -> tuple[object, ...]:
        return _import_failed, (self.module, self.reason, self.fresh_runner)

    def __str__(self) -> str:
        return f"importing {self.module} failed: {self.reason}"


def _import_failed(module: str, reason: str, fresh_runner: bool) -> ImportFailed:
    return ImportFailed(module, reason, fresh_runner=fresh_runner)


class NotDefined(BundleFailed):
    """A module does not hold what a call names."""

    def __init__(self, module: str, qualname: str, file: str, near: Sequence[str] = ()) -> None:
        super().__init__(module, qualname, file, near)
        self.module, self.qualname, self.file, self.near = module, qualname, file, near

    def __str__(self) -> str:
        if "<" in self.qualname:
            return (
                f"{self.module}.{self.qualname} is made inside another function, where replicas cannot look it up; "
                f"move it to the top of {self.file}"
            )
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        return f"{self.file} defines no {self.qualname!r} at its top{hint}"


class ExtensionChanged(ImportError):
    """A compiled module was loaded from other bytes before; Python cannot load a second one of that name."""

    def __init__(self, module: str) -> None:
        super().__init__(module)
        self.module = module

    def __str__(self) -> str:
        return f"the compiled module {self.module} has changed, and a process cannot load two of one name"
