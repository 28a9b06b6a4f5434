"""Submissions on their way in: read, checked, sealed and named before the machine hears of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from greenroom_core.entities import ENDS
from greenroom_core.program import CachedResults, Program, Reuse, Submission, program_digest
from greenroom_core.values import INLINE_LIMIT, ValueFault, unpack
from greenroom_core.wire import WireFault, from_wire
from greenroom_hub.core.commands import Reply
from greenroom_hub.core.events import Submitted
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.hub import Hub
from greenroom_hub.shell.vault import Vault
from greenroom_hub.store.store import Store
from greenroom_protocol.ids import execution_id, slug

_INLINE_MOST = 16 * INLINE_LIMIT
"""Bytes of one input that are taken inline; larger ones must come as blobs. Some room above what clients inline."""


_LONGEST_URL: Final = 2000


T = TypeVar("T")


class Unfit(ValueError):
    """A submission that cannot be taken, with a code for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Repeat:
    """How an execution is repeated."""

    reuse: Reuse = Reuse.NOTHING
    key: str = ""
    """Idempotency key: sent twice, it becomes one execution."""
    by: str = ""
    name: str | None = None
    """The new execution's id, if the user chose one."""
    cached_results: CachedResults | None = None
    """None for how the earlier one treated them."""


class Doorway:
    """Turns a body from outside into an event."""

    def __init__(self, hub: Hub, store: Store, archive: Archive, vault: Vault) -> None:
        self._hub, self._store, self._archive, self._vault = hub, store, archive, vault
        self.resolve: Callable[[Submission], Submission] = lambda submission: submission
        """Puts what was registered into a submission that names it."""
        self.fill: Callable[[Submission, Program], Submission] = lambda submission, program: submission
        """Looks up the artifacts that a submission asks for."""
        self.check_references: Callable[[Program], None] = lambda program: None
        """Refuses a program that calls what is not registered."""

    async def submit(self, body: bytes) -> Reply:
        """Take a submission; the reply comes when it is on disk.

        Raises:
            Unfit: The body, the program or an input cannot be taken.
        """
        submission, packed = read_body(body, "submission", Submission)
        known = self._known(submission.key)
        if known is not None:
            return Reply(0, known)
        submission = self.resolve(_outside(submission))
        program, fresh = self.program(submission.program, packed)
        self.check_references(program)
        submission = self.fill(submission, program)
        _check_inputs(submission, program)
        name = self._name(submission, program)
        sealed = self._vault.seal(submission.env, submission.secrets)
        told = replace(submission, env={}, secrets=dict.fromkeys(submission.secrets, ""), name=None)
        return await self._hub.ask(
            lambda request: Submitted(request, name, told, program, packed if fresh else None, sealed)
        )

    async def repeat(self, name: str, wish: Repeat) -> Reply:
        """Submit an execution once more, with its program, its inputs and the environment that its calls saw.

        Args:
            name: The execution that is repeated, in full.
            wish: What of it is taken over, and what differs.

        Raises:
            Unfit: It is gone, or what is taken over from it is not known yet because it still runs.
        """
        known = self._known(wish.key)
        if known is not None:
            return Reply(0, known)
        if wish.reuse is not Reuse.NOTHING and name in self._hub.state.runs:
            raise Unfit("conflict", f"{name} has not ended: cancel it first, or wait for its end")
        try:
            earlier = self._archive.get(name)
        except ValueFault as fault:
            raise Unfit("unknown_program", f"{name} cannot be repeated: {fault}") from fault
        if earlier is None:
            raise Unfit("unknown_execution", f"no execution {name!r} here; see greenroom executions")
        told = earlier.submitted
        submission = replace(
            told.submission,
            rerun_of=name,
            reuse=wish.reuse,
            name=wish.name,
            key=wish.key,
            by=wish.by,
            cached_results=wish.cached_results or told.submission.cached_results,
        )
        taken = self._name(submission, earlier.program)
        return await self._hub.ask(
            lambda request: Submitted(
                request, taken, replace(submission, name=None), earlier.program, None, told.sealed, plan=told.plan
            )
        )

    def _known(self, key: str) -> str | None:
        if not key:
            return None
        live = self._hub.state.by_key.get(key)
        if live is not None:
            return live
        row = self._store.execution_by_key(key)
        return row.id if row is not None else None

    def program(self, digest: str, packed: bytes | None) -> tuple[Program, bool]:
        """The program that a digest names, and whether it is new here.

        Raises:
            Unfit: It is not known, and was not sent or cannot be read.
        """
        known = self._hub.state.programs.get(digest)
        if known is not None:
            return known, False
        if packed is None:
            try:
                return self._archive.program(digest), False
            except ValueFault:
                raise Unfit("unknown_program", f"program {digest} is not known here: send it along") from None
        if program_digest(packed) != digest:
            raise Unfit("invalid", f"the program's bytes are not those of {digest}: sha256 differs")
        try:
            return Program.unpack(packed), True
        except (WireFault, ValueFault) as fault:
            raise Unfit("invalid", f"the program cannot be run: {fault}") from fault

    def _name(self, submission: Submission, program: Program) -> str:
        if submission.name:
            if slug(submission.name, 63) != submission.name:
                raise Unfit("invalid", f"execution name {submission.name!r}: use a-z, 0-9 and dashes, at most 63")
            if self._taken(submission.name):
                raise Unfit("conflict", f"an execution is already called {submission.name!r}; choose another --name")
            return submission.name
        for length in (4, 4, 4, 5, 6, 8):
            name = execution_id(program.entity, os.urandom(length), length)
            if not self._taken(name):
                return name
        return execution_id(program.entity, os.urandom(16), 16)

    def _taken(self, name: str) -> bool:
        return name in self._hub.state.runs or self._store.execution(name) is not None


def read_body(body: bytes, field: str, kind: type[T]) -> tuple[T, bytes | None]:
    """What is sent under `field`, and the packed program beside it.

    Raises:
        Unfit: It does not have that form.
    """
    try:
        raw: Any = unpack(body)
        if not isinstance(raw, Mapping) or set(raw) - {field, "program"}:
            raise WireFault(f"body: expected a map of {field} and program")
        packed = raw.get("program")
        if packed is not None and not isinstance(packed, bytes):
            raise WireFault("program: expected bytes")
        return from_wire(kind, raw.get(field), field), packed
    except (WireFault, ValueFault) as fault:
        raise Unfit("bad_request", str(fault)) from fault


def _outside(submission: Submission) -> Submission:
    """A submission without what only the hub itself may say."""
    for hook in submission.webhooks:
        check_webhook(hook.url, hook.outcomes)
    return replace(submission, nominal_ms=None)


def check_webhook(url: str, outcomes: tuple[str, ...]) -> None:
    """Refuse a webhook that cannot be called.

    Raises:
        Unfit: With what is wrong.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or len(url) > _LONGEST_URL:
        raise Unfit("invalid", f"webhook {url[:100]!r}: only http and https URLs are called")
    unknown = [outcome for outcome in outcomes if outcome not in ENDS]
    if unknown or not outcomes:
        raise Unfit("invalid", f"webhook outcome {unknown[0] if unknown else 'none'!r}: choose of {', '.join(ENDS)}")


def _check_inputs(submission: Submission, program: Program) -> None:
    for name, value in submission.inputs.items():
        if len(value) > _INLINE_MOST:
            told = f"input {name!r} is {len(value):,} bytes inline, at most {_INLINE_MOST:,} are taken"
            raise Unfit("too_large", f"{told}; upload it as a blob and send the reference")
        try:
            unpack(value)
        except ValueFault as fault:
            raise Unfit("invalid", f"input {name!r}: {fault}") from fault
    missing = [name for name in program.graph.inputs if name not in submission.inputs]
    if missing:
        raise Unfit("invalid", f"{program.entity} needs input {missing[0]!r}, which was not given")
    unknown = [name for name in submission.inputs if name not in program.graph.inputs]
    if unknown:
        has = ", ".join(program.graph.inputs) or "none"
        raise Unfit("invalid", f"{program.entity} has no input {unknown[0]!r}; it has {has}")
