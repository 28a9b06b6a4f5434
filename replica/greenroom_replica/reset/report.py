"""What a reset tells of a call: what was put back, what was costly, what leaked."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Costly:
    """A value that a reset dropped and that the next call may have to make again."""

    name: str
    bytes: int = 0
    """0 where it could not be measured."""
    seconds: float = 0.0
    """The whole call's time: loading took no longer than that."""

    def __str__(self) -> str:
        facts = [size_text(self.bytes)] if self.bytes else []
        facts += [f"up to {seconds_text(self.seconds)}"] if self.seconds >= 0.05 else []
        return f"{self.name} ({', '.join(facts)}) was reset; use @actor_cache" if facts else f"{self.name} was reset"


@dataclass(slots=True)
class Report:
    """What `Reset.after` found; there is none for a clean call."""

    restored: list[str] = field(default_factory=list)
    """Names of what was dirty and is clean again."""
    costly: list[Costly] = field(default_factory=list)
    """Said once per name."""
    leaks: dict[str, int] = field(default_factory=dict)
    """Figures, by kind: threads, processes, descriptors, rss (bytes), patched (names in libraries)."""
    sentences: list[str] = field(default_factory=list)
    """What a person should read; empty for a call that was only dirty."""
    reason: str = ""
    """Why this runner has to be replaced before the next call; empty where it need not."""

    @property
    def retire(self) -> bool:
        """Whether this runner may not take another call."""
        return bool(self.reason)

    def must_retire(self, reason: str) -> None:
        """Ask for a new runner; the first reason is the one that is told."""
        self.reason = self.reason or reason

    def __bool__(self) -> bool:
        return bool(self.restored or self.costly or self.leaks or self.sentences or self.reason)

    def to_wire(self) -> dict[str, object]:
        """Encode as plain values, leaving out what is empty."""
        wire: dict[str, object] = {}
        if self.restored:
            wire["restored"] = self.restored
        if self.costly:
            wire["costly"] = [{"name": item.name, "bytes": item.bytes, "seconds": item.seconds} for item in self.costly]
        if self.leaks:
            wire["leaks"] = self.leaks
        said = [*map(str, self.costly), *self.sentences]
        if said:
            wire["sentences"] = said
        if self.reason:
            wire["retire"] = self.reason
        return wire


def size_text(size: int) -> str:
    """Write bytes as a person reads them: ``1.2 GB``."""
    value, unit = float(size), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """Write seconds as a person reads them: ``4 s``, ``0.3 s``."""
    return f"{seconds:.0f} s" if seconds >= 3 else f"{seconds:.1f} s"
