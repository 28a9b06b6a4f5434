"""What a module's text says that it imports, without running it.

Used twice: to find the files that a program needs (the bundle), and to know which modules an edit reaches (replicas).
Both want to see rather too much than too little.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Imports(NamedTuple):
    """The imports of one text; plain data, so that it can be kept beside the text's hash."""

    statements: tuple[tuple[int, str, tuple[str, ...]], ...]
    """(level, module, names) of each; no names for `import module`."""
    dynamic: bool
    """Whether it imports by other means than statements (`importlib`, `exec`, `sys.modules`)."""
    strings: tuple[str, ...]
    """Texts in it that could name a module (`pkg.mod`) or a file (`data/x.json`, `HERE / "data" / "x.json"`)."""

    def names(self, package: str) -> Iterator[str]:
        """Absolute names of everything that may be a module here, for a module whose package is `package`.

        `from a import b` gives `a` and `a.b`, since `b` may be a module; a relative import that leaves the top package
        gives nothing.
        """
        for level, module, names in self.statements:
            if level:
                parts = package.split(".") if package else []
                if level > len(parts):
                    continue
                base = ".".join(parts[: len(parts) - level + 1])
                module = f"{base}.{module}" if module else base
            yield module
            for name in names:
                if name != "*":
                    yield f"{module}.{name}"

    def dotted_strings(self) -> Iterator[str]:
        """Texts that look like a module's name or an object's in it (`pkg.mod`, `pkg.mod:attr`, `pkg.mod.Class`)."""
        for text in self.strings:
            name = text.partition(":")[0]
            if "." in name and all(part.isidentifier() for part in name.split(".")):
                yield name

    def deepest_level(self) -> int:
        """How many packages up the relative imports reach at most; 0 if there are none."""
        return max((level for level, _, _ in self.statements), default=0)
