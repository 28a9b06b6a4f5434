"""What a runner works with: the user's functions ready to be called, and what is done around each call."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from greenroom.context import Context
from greenroom_core.failure import Cause
from greenroom_protocol.calls import Definition
from greenroom_replica.reports import Reporter
from greenroom_replica.runner_failures import Paths


class NotReady(Exception):
    """A definition's function cannot be had here; the error behind it is its `__cause__`."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Elsewhere(Exception):
    """A call that must not run in this process."""

    def __init__(self, why: str, alone: bool) -> None:
        super().__init__(why, alone)
        self.why = why
        self.alone = alone
        """Whether it needs a process for itself; else the next runner will do, which has imported nothing else."""

    def __str__(self) -> str:
        return self.why


class Callee:
    """A user's function, ready to be called."""

    __slots__ = (
        "bundle",
        "decode",
        "definition",
        "encode",
        "environment",
        "fn",
        "is_async",
        "paths",
        "reporter",
        "reports",
        "usual",
        "warnings",
    )

    def __init__(
        self,
        definition: Definition,
        fn: Callable[..., Any],
        decode: Callable[[bytes], Mapping[str, Any]],
        encode: Callable[[Any], bytes],
        is_async: bool,
        paths: Paths,
        bundle: Any = None,
        warnings: list[str] | None = None,
    ) -> None:
        self.definition = definition
        self.environment = {**definition.env, **definition.secrets}
        """Environment variables of its calls."""
        self.fn = fn
        self.decode = decode
        """A call's payload to its keyword arguments, bound ones included."""
        self.encode = encode
        """What it returned to a payload."""
        self.warnings: list[str] = [] if warnings is None else warnings
        """What `encode` had to say, emptied after each call."""
        self.is_async = is_async
        self.paths = paths
        self.bundle = bundle
        """What the workshop knows the definition's code by."""
        self.reporter: Reporter | None = None
        """Keeps the reports of its calls; None where none can be kept."""
        self.reports = bool(definition.options.get("deck"))
        """Whether each call has a report; one that makes a deck has one in any case."""
        self.usual = 1 << 62
        """Nanoseconds that its calls take here, a running mean; huge before the first."""

    def report(
        self, context: Context, inputs: Mapping[str, Any], result: Any, failed: bool, extras: dict[str, Any]
    ) -> None:
        """Keep the report of a call that has ended."""
        if self.reporter is not None:
            self.reporter.keep(self, context, inputs, result, failed, extras)


class Workshop(Protocol):
    """The user's code and what is kept and undone around it. One for each runner."""

    call: Any
    """The call that runs, as the actor cache knows it: its `inputs` are set once they are decoded. None where that is
    of no interest."""

    def prepare(self, definition: Definition) -> Callee:
        """Fetch and import what a definition names.

        Raises:
            NotReady: It cannot be had; its cause says whether the import or the fetch failed.
        """
        ...

    def learned(self, callee: Callee) -> Sequence[str]:
        """Libraries that the callee's code has imported: what a template for it should hold."""
        ...

    def switch(self, callee: Callee) -> None:
        """Make the callee's code current, for a call in a forked child: nothing is begun here."""
        ...

    def begin(self, callee: Callee, context: Context) -> contextvars.Context:
        """A call is about to start: its code's modules and process state are made current.

        Returns:
            The context to run it in: what it sets in context variables ends with it.
        """
        ...

    def open(self, callee: Callee) -> contextvars.Context:
        """Calls that run at once are about to start: their code is made current.

        Returns:
            The context that each of them gets a copy of.
        """
        ...

    def join(self, callee: Callee, context: Context) -> None:
        """One of them starts; called in its own context."""
        ...

    def part(self, callee: Callee, extras: dict[str, Any]) -> None:
        """One of them has ended; called in its own context."""
        ...

    def quit(self, callee: Callee) -> None:
        """One of them has failed; called in its own context."""
        ...

    def settle(self, callee: Callee, extras: dict[str, Any]) -> str | None:
        """None of them runs any more: what they changed is undone. Otherwise like `end`."""
        ...

    def steady(self, callee: Callee) -> None:
        """The user's function has ended: what the runner itself stands on is put back before anything else is done."""
        ...

    def end(self, callee: Callee, extras: dict[str, Any], took: int) -> str | None:
        """A call has ended after `took` ns: what it changed is undone. Notes what is worth telling in `extras`.

        Returns:
            Why this process should take no more calls; None where it may.
        """
        ...

    def telemetry(self) -> list[Mapping[str, Any]]:
        """What the actor cache did since the last time, and empties it."""
        ...

    def gone(self) -> list[list[str]]:
        """Entries that went and that `telemetry` did not tell of: `[loader, key digest, why]` of each."""
        ...

    def entries(self) -> list[Mapping[str, Any]]:
        """What the actor cache holds."""
        ...

    def prewarm(self, callee: Callee, recipes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Load entries by recipe; what was loaded. One that cannot be is left out."""
        ...

    def evict(self, loader: str, key: str) -> list[list[str]]:
        """Drop entries; `[loader, key digest, why]` of each."""
        ...

    def forked(self) -> None:
        """This process was forked from the runner: random generators must not repeat the parent's."""
        ...

    def close(self) -> None:
        """The runner ends: entries are told so."""
        ...
