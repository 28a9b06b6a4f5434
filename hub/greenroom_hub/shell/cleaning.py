"""What ended executions left on the disk, and its removal: facts, output, programs, blobs."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from greenroom_hub.core.plan_facts import is_of_entities
from greenroom_hub.shell import references
from greenroom_hub.shell.hub import Hub
from greenroom_hub.store.logs import LogStore
from greenroom_hub.store.rows import ExecutionRow
from greenroom_hub.store.store import Store

log = structlog.get_logger("greenroom.cleaning")

_PAGE: Final = 1000

_UNKNOWN_S: Final = 24 * 3600.0
"""Seconds that a blob stays which no execution names: a submission that takes long may be about to."""

_TURNS: Final = 50
"""How often a quiet moment is waited for in which programs can be forgotten; under steady load they stay."""


class Share(NamedTuple):
    """How much of one kind goes."""

    items: int
    bytes: int


class _Family(NamedTuple):
    """An execution and those that it asked for: they refer to each other, and go together."""

    members: list[str]
    ended_ms: int
    programs: frozenset[str]


class Cleaning:
    """Removes; one at a time.

    Args:
        hub: Drops executions in the order of its other commits.
        store: The log.
        logs: What calls printed.
        state: The hub's folder.
        spare_s: Seconds since a blob was last wanted in which it stays although nothing names it: whoever has just
            found that the hub has it is about to submit.
    """

    def __init__(self, hub: Hub, store: Store, logs: LogStore, state: Path, spare_s: float) -> None:
        self._hub, self._store, self._logs = hub, store, logs
        self._blobs, self._named = state / "blobs", state / "outputs"
        self._spare_s = spare_s
        self._lock = asyncio.Lock()

    async def clean(self, older_than_s: float, *, dry_run: bool = False) -> dict[str, Share]:
        """Drop executions that ended longer ago than that, and what only they needed; how much that is, by kind."""
        async with self._lock:
            before = int((time.time() - older_than_s) * 1000)
            families = await asyncio.to_thread(self._families)
            old = [family for family in families if family.ended_ms <= before]
            return await self._drop(old, families, dry_run=dry_run)

    async def keep_within(self, seconds: float, most: int) -> None:
        """The local hub's own housekeeping: what is too old goes, then the oldest until at most `most` bytes are left.

        Args:
            seconds: Executions that ended longer ago go in any case.
            most: Bytes that log, output and blobs may take.
        """
        async with self._lock:
            before = int((time.time() - seconds) * 1000)
            families = sorted(await asyncio.to_thread(self._families), key=lambda family: family.ended_ms)
            count = sum(family.ended_ms <= before for family in families)
            old = families[:count]
            excess = await asyncio.to_thread(self._used) - most - await asyncio.to_thread(self._given_by, old)
            old += await asyncio.to_thread(self._oldest, families[count:], excess)
            if old:
                told = await self._drop(old, families, dry_run=False)
                await asyncio.to_thread(self._remove_named, old)
                log.info("old executions are gone", **{kind: share.items for kind, share in told.items()})

    # What goes --------------------------------------------------------------------------------------------------------

    def _families(self) -> list[_Family]:
        """All that have ended, children with who asked for them."""
        rows = {row.id: row for row in self._rows()}
        groups: dict[str, list[ExecutionRow]] = {}
        for row in rows.values():
            groups.setdefault(_root(row, rows), []).append(row)
        ended = (group for group in groups.values() if all(row.ended_ms is not None for row in group))
        return [
            _Family(
                [row.id for row in group],
                max(row.ended_ms or 0 for row in group),
                frozenset(row.program for row in group),
            )
            for group in ended
        ]

    def _rows(self) -> Iterable[ExecutionRow]:
        last: str | None = None
        while page := self._store.executions(_PAGE, before=last):
            yield from page
            last = page[-1].id

    def _oldest(self, families: list[_Family], excess: int) -> list[_Family]:
        """So many of the oldest that at least `excess` bytes go."""
        chosen: list[_Family] = []
        for family in families:
            if excess <= 0:
                break
            chosen.append(family)
            excess -= self._given_by([family])
        return chosen

    def _given_by(self, families: Iterable[_Family]) -> int:
        """About how many bytes come back when these go: others may need a part of their blobs too."""
        members = [name for family in families for name in family.members]
        total = sum(self._store.weights(members).values()) + sum(self._logs.weights(members).values())
        for name in references.of_executions(self._store, members):
            try:
                total += references.place(self._blobs, name).stat().st_size
            except OSError:
                continue
        return total

    def _used(self) -> int:
        blobs = sum(size for _, size, _ in self._all_blobs())
        return self._store.size().disk + blobs

    # Going ------------------------------------------------------------------------------------------------------------

    async def _drop(self, old: list[_Family], families: list[_Family], dry_run: bool) -> dict[str, Share]:
        dropped = [name for family in old for name in family.members]
        facts = await asyncio.to_thread(self._store.weights, dropped)
        output = await asyncio.to_thread(self._logs.weights, dropped)
        kept = frozenset[str]().union(*(family.programs for family in families if family not in old))
        programs = frozenset[str]().union(*(family.programs for family in old)) - kept - self._in_use()
        known = await asyncio.to_thread(self._named_by, dropped, programs)
        shares = {
            "executions": Share(len(dropped), sum(facts.values())),
            "output": Share(len(output), sum(output.values())),
            "programs": await asyncio.to_thread(self._share_of_programs, programs),
        }
        if not dry_run:
            await self._hub.drop(dropped)
            for name in dropped:
                self._logs.drop(name)
            await self._forget_programs()
        began = self._hub.committed
        live = await asyncio.to_thread(self._live, frozenset(dropped), programs if dry_run else frozenset())
        shares["blobs"] = await asyncio.to_thread(self._remove_blobs, live, known, began, dry_run)
        return shares

    def _in_use(self) -> frozenset[str]:
        state = self._hub.state
        live = frozenset(run.execution.submitted.submission.program for run in state.runs.values())
        return live | state.catalog.programs()

    def _named_by(self, executions: list[str], programs: frozenset[str]) -> set[str]:
        """What these refer to, before they are gone."""
        names = references.of_executions(self._store, executions)
        names |= references.of_programs(self._store, self._blobs, programs)
        return references.closure(names, self._blobs)

    def _share_of_programs(self, digests: Iterable[str]) -> Share:
        sizes = [len(self._store.program(digest) or b"") for digest in digests]
        return Share(len(sizes), sum(sizes))

    async def _forget_programs(self) -> None:
        """In a moment in which nothing is on its way that could refer to one of them."""
        for _ in range(_TURNS):
            await self._hub.settled()
            if self._hub.quiet:
                await self._hub.forget(self._store.unused_programs())
                return

    def _live(self, without: frozenset[str], programs: frozenset[str]) -> set[str]:
        """Blobs that what stays refers to."""
        rows = [row for row in self._rows() if row.id not in without]
        names = references.of_executions(self._store, (row.id for row in rows))
        names |= references.of_executions(self._store, filter(is_of_entities, self._store.heads()))
        digests = ({row.program for row in rows} | self._hub.state.catalog.programs()) - programs
        names |= references.of_programs(self._store, self._blobs, digests)
        return references.closure(names, self._blobs)

    def _remove_blobs(self, live: set[str], known: set[str], began: int, dry_run: bool) -> Share:
        now, gone = time.time(), []
        candidates = [
            (name, size)
            for name, size, wanted in self._all_blobs()
            if name not in live and now - wanted > (self._spare_s if name in known else _UNKNOWN_S)
        ]
        fresh = references.closure(self._named_since(began), self._blobs)  # By what came while this was looked at.
        for name, size in candidates:
            if name not in fresh and (dry_run or self._remove(name, now)):
                gone.append(size)
        if not dry_run:
            self._sweep(now - _UNKNOWN_S)
        return Share(len(gone), sum(gone))

    def _sweep(self, before: float) -> None:
        """What uploads that broke off have left."""
        for folder in ("tmp", "uploads"):
            for path in (self._blobs / folder).glob("*"):
                try:
                    if path.stat().st_mtime < before:
                        path.unlink()
                except OSError:
                    continue

    def _named_since(self, position: int) -> set[str]:
        rows = self._store.rows(range(position + 1, self._hub.committed + 1))
        return {name for row in rows.values() for name in references.names_in(row.data)}

    def _remove(self, name: str, now: float) -> bool:
        path = references.place(self._blobs, name)
        try:
            if path.stat().st_mtime > now:
                return False  # Somebody has just asked for it.
            path.unlink()
        except OSError:
            return False
        return True

    def _all_blobs(self) -> Iterable[tuple[str, int, float]]:
        """Each blob: its name, its size, and when it was last wanted."""
        for folder in os.scandir(self._blobs):
            if len(folder.name) == 2 and folder.is_dir():
                for entry in os.scandir(folder.path):
                    try:
                        info = entry.stat()
                    except FileNotFoundError:
                        continue
                    yield entry.name, info.st_size, info.st_mtime

    def _remove_named(self, families: Iterable[_Family]) -> None:
        """Files that were given their names back for a person."""
        for family in families:
            for name in family.members:
                shutil.rmtree(self._named / name, ignore_errors=True)


def _root(row: ExecutionRow, rows: dict[str, ExecutionRow]) -> str:
    """Who is at the beginning of a family, as far as it is still there."""
    while row.parent is not None and (parent := rows.get(row.parent.partition("/")[0])) is not None:
        row = parent
    return row.id
