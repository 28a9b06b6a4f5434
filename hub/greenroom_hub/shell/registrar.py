"""Registrations and activations on their way in: read, checked and sealed before the machine hears of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from greenroom_core.entities import Kind, Reference, Registration
from greenroom_core.program import Program, Submission
from greenroom_core.values import ValueFault, unpack
from greenroom_hub.core import artifacts, schedule
from greenroom_hub.core.catalog import UnknownEntity, Version, misfit, references_of
from greenroom_hub.core.commands import Reply
from greenroom_hub.core.events import PlanStopped, PlanWanted, Registered
from greenroom_hub.core.plans import unfit, without_env
from greenroom_hub.shell.archive import Archive
from greenroom_hub.shell.doorway import Doorway, Unfit, check_webhook, read_body
from greenroom_hub.shell.hub import Hub
from greenroom_hub.shell.plan_checks import PlanChecks
from greenroom_hub.shell.vault import Vault

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
_LONGEST_NAME: Final = 255
_MOST_HOOKS: Final = 16


class Registrar:
    """Turns bodies from outside into events of the catalog and of plans."""

    def __init__(self, hub: Hub, archive: Archive, vault: Vault, doorway: Doorway, checks: PlanChecks) -> None:
        self._hub, self._archive, self._vault, self._doorway, self._checks = hub, archive, vault, doorway, checks

    async def register(self, body: bytes) -> tuple[Version, Reply]:
        """Keep an entity; the reply comes when it is on disk.

        Raises:
            Unfit: The body, the program or a part of the registration cannot be taken.
        """
        told, packed = read_body(body, "registration", Registration)
        program, fresh = self._doorway.program(told.program, packed)
        _check(told, program)
        self.check_references(program)
        sealed = self._vault.seal(told.env, told.secrets)
        kept = without_env(told)
        reply = await self._hub.ask(
            lambda request: Registered(request, kept, program, packed if fresh else None, sealed)
        )
        if reply.error is not None:
            raise Unfit(reply.error.code, reply.error.message)
        return self.find(Reference(told.kind, program.project, told.name, told.version)), reply

    def find(self, wanted: Reference) -> Version:
        """A registered version.

        Raises:
            Unfit: There is none.
        """
        try:
            return self._hub.state.catalog.find(wanted)
        except UnknownEntity as fault:
            raise Unfit("unknown_entity", str(fault)) from fault

    def check_references(self, program: Program) -> None:
        """Refuse a program that calls what was not registered, or was registered otherwise than it says.

        Raises:
            Unfit: With the reference in question.
        """
        for key, wanted in references_of(program):
            version = self.find(wanted)
            why = misfit(program.plans[key].interface, version, self._archive.program(version.registration.program))
            if why is not None:
                raise Unfit("invalid", f"{version.reference} does not fit: {why}")

    def resolved(self, submission: Submission) -> Submission:
        """A submission of a registered entity, with its program and what it has settled.

        Raises:
            Unfit: It is not registered, or an input that it has fixed is given.
        """
        wanted = submission.registered
        if wanted is None:
            return submission
        version = self.find(wanted)
        told = version.registration
        for name in submission.inputs:
            if name in told.fixed:
                raise Unfit("invalid", f"{version.reference} has fixed input {name!r}: leave it out")
        secrets = {**self._vault.open(version.sealed).secrets, **submission.secrets} if told.secrets else {}
        return replace(
            submission,
            program=told.program,
            inputs={**told.inputs, **submission.inputs, **told.fixed},
            labels={**told.labels, **submission.labels},
            secrets={name: secrets[name] for name in told.secrets if name in secrets},
            env=submission.env or self._vault.open(version.sealed).env,
            registered=version.reference,
            webhooks=(*told.webhooks, *submission.webhooks),
            queries={**told.queries, **submission.queries},
        )

    def filled(self, submission: Submission, program: Program) -> Submission:
        """A submission whose open inputs are the artifacts that they are looked up as.

        Raises:
            Unfit: One finds nothing.
        """
        if not submission.queries:
            return submission
        try:
            inputs = artifacts.filled(self._hub.state, submission, submission.queries, program.project)
        except artifacts.NoArtifact as fault:
            raise Unfit("unknown_artifact", str(fault)) from fault
        return replace(submission, inputs=inputs, queries={})

    # Plans ------------------------------------------------------------------------------------------------------------

    async def activate(self, wanted: Reference, told: Mapping[str, Any]) -> Version:
        """Have a launch plan run by itself.

        Args:
            wanted: The plan.
            told: `by`, and `env`: variables for its calls.

        Raises:
            Unfit: It is not registered, has no schedule, or what it has pinned is not there.
        """
        version = self.find(wanted)
        digest = version.registration.program
        why = unfit(version, self._archive.program(digest).graph.inputs) or await self._checks.problem(digest)
        if why:
            raise Unfit("invalid", why if why.startswith("launch plan") else f"{version.reference}: {why}")
        opened = self._vault.open(version.sealed)
        env = {**opened.env, **_texts(told.get("env"), "env")}
        secrets = {**opened.secrets, **_texts(told.get("secrets"), "secrets")}
        allowed = {name: value for name, value in secrets.items() if name in version.registration.secrets}
        sealed, by = self._vault.seal(env, allowed), str(told.get("by") or "")
        exact = version.reference
        await self._ask(lambda n: PlanWanted(n, exact.project, exact.name, exact.version, by, sealed))
        return version

    async def deactivate(self, project: str, name: str, by: str) -> None:
        """Have a launch plan run no more by itself.

        Raises:
            Unfit: It is not active.
        """
        await self._ask(lambda n: PlanStopped(n, project, name, by))

    async def _ask(self, make: Any) -> None:
        reply = await self._hub.ask(make)
        if reply.error is not None:
            raise Unfit(reply.error.code, reply.error.message)


def _texts(told: Any, name: str) -> dict[str, str]:
    if told is None:
        return {}
    if not isinstance(told, Mapping) or not all(isinstance(x, str) for pair in told.items() for x in pair):
        raise Unfit("bad_request", f"{name}: expected a map of texts")
    return dict(told)


def _check(told: Registration, program: Program) -> None:
    """Refuse a registration whose parts do not fit its program."""
    if not told.name or len(told.name) > _LONGEST_NAME or not told.name.isprintable():
        raise Unfit("invalid", f"a name has 1 to {_LONGEST_NAME} printable characters, {told.name[:40]!r} does not")
    if not _VERSION.fullmatch(told.version):
        raise Unfit("invalid", f"version {told.version[:140]!r}: use letters, digits and . _ + -, at most 128")
    if told.concurrency is not None and told.concurrency < 1:
        raise Unfit("invalid", f"concurrency is {told.concurrency}: at least 1 execution at a time, or none given")
    for given in (told.inputs, told.fixed):
        for name, value in given.items():
            if name not in program.graph.inputs:
                has = ", ".join(program.graph.inputs) or "none"
                raise Unfit("invalid", f"{told.name} has no input {name!r}; it has {has}")
            try:
                unpack(value)
            except ValueFault as fault:
                raise Unfit("invalid", f"input {name!r}: {fault}") from fault
    _check_schedule(told, program)
    _check_webhooks(told)


def _check_schedule(told: Registration, program: Program) -> None:
    if told.schedule is None:
        return
    if told.kind is not Kind.LAUNCH_PLAN:
        raise Unfit("invalid", f"a {told.kind.words} has no schedule: only launch plans do")
    try:
        schedule.check(told.schedule)
    except schedule.BadSchedule as fault:
        raise Unfit("invalid", str(fault)) from fault
    kickoff = told.schedule.kickoff
    if kickoff and kickoff not in program.graph.inputs:
        raise Unfit("invalid", f"{told.name} has no input {kickoff!r} for the time of its schedule")
    if kickoff in told.fixed:
        raise Unfit("invalid", f"input {kickoff!r} is fixed, so it cannot get the time of the schedule")


def _check_webhooks(told: Registration) -> None:
    if len(told.webhooks) > _MOST_HOOKS:
        raise Unfit("invalid", f"{len(told.webhooks)} webhooks: at most {_MOST_HOOKS}")
    for hook in told.webhooks:
        check_webhook(hook.url, hook.outcomes)
