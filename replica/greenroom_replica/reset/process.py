"""All rows of process state: one baseline per bundle, one question after each call."""

from __future__ import annotations

import sys
import time

from greenroom_replica.reset.chance import Chance
from greenroom_replica.reset.report import Report
from greenroom_replica.reset.rows.base import Fields, Row, RowFailure, items_of
from greenroom_replica.reset.rows.endings import Exits, Faults, Loops
from greenroom_replica.reset.rows.environ import Environ
from greenroom_replica.reset.rows.interpreter import Builtins, Names, Switches
from greenroom_replica.reset.rows.messages import Logging, Warnings
from greenroom_replica.reset.rows.signals import Signals
from greenroom_replica.reset.rows.standing import AuditHooks, Standing
from greenroom_replica.reset.rows.surroundings import Decimal, Files, Limits, Locale
from greenroom_replica.reset.streams import SEEDS
from greenroom_replica.reset.tripwires import Tripwires
from greenroom_replica.reset.usercode import Territory
from greenroom_replica.reset.watch import Watch, Watched

Baseline = dict[str, Fields]
"""What is right for each row, by the row's name."""


class Process:
    """The rows, and what is right for the bundle whose call runs."""

    def __init__(self, territory: Territory) -> None:
        self.tripwires = Tripwires()
        self.exits = Exits(territory)
        self.environ = Environ()
        self.loops = Loops()
        self.chance = Chance()
        self.warnings = Warnings()
        self.switches = Switches(self.tripwires)
        self.builtins = Builtins()
        self.decimal = Decimal()
        self.rows: list[Row] = [
            *(
                self.environ,
                Names(),
                self.builtins,
                self.switches,
                Files(self.tripwires),
                Locale(self.tripwires),
                self.decimal,
            ),
            *(Limits(self.tripwires), Signals(self.tripwires), self.warnings, Logging(), Faults(self.tripwires)),
            *(Standing(self.tripwires), AuditHooks(self.tripwires), self.loops, self.chance),
        ]
        self._by_name = {row.name: row for row in self.rows}
        self._asked: tuple[Row, ...] = (self.environ, self.switches, self.decimal, self.chance)
        self._tripped = self.tripwires.tripped
        self._forget = self.warnings.forget

    def install(self) -> None:
        """Put the recorders in place."""
        SEEDS.install()
        self.environ.install()
        self.exits.install()

    def uninstall(self) -> None:
        """Put back every function that was replaced."""
        self.exits.uninstall()
        self.environ.uninstall()
        SEEDS.uninstall()
        self.tripwires.uninstall()

    def read(self) -> Baseline:
        """Read every row."""
        return {row.name: row.read() for row in self.rows}

    def use(self, baseline: Baseline) -> None:
        """Take a baseline as what is right, without touching anything."""
        for row in self.rows:
            row.use(baseline[row.name])

    def switch(self, baseline: Baseline, clean: bool = False) -> list[Row]:
        """Take a baseline as what is right, and make it so; return the rows that were looked at.

        Args:
            baseline: What is right from now on.
            clean: Whether the process is as the last baseline had it: then rows that both share are skipped.
        """
        rows = [row for row in self.rows if not clean or row.base is not baseline[row.name] or row is self.chance]
        self.use(baseline)
        for row in rows:
            try:
                if row is self.chance or row.differs():
                    row.write(baseline[row.name])
            except Exception:
                continue  # What cannot be put back now is found, and said, after the next call.
        self.tripwires.tripped.clear()
        return rows

    def items(self) -> list[Watched]:
        """What has to be watched of the rows."""
        items: list[Watched] = [self.chance]
        if self.decimal.held is not None:
            items.append(self.decimal)
        for row in self.rows:
            if row.spaces():
                items += items_of(row)
        return items

    def quick(self) -> bool:
        """Ask what has to be asked each time: of the hot path, and therefore in one piece."""
        self._forget()
        environ, switches, decimal = self.environ, self.switches, self.decimal
        return (
            not self._tripped
            and not environ.drift
            and time.tzname is environ.zone
            and sys.gettrace() is switches.trace
            and sys.getprofile() is switches.profile
            and (decimal.held is None or decimal.current() is decimal.held)
            and (not self.chance.torch or self.chance.quick())
        )

    def suspects(self, dirty: list[Watched], quick: bool) -> list[Row]:
        """Which rows have to be compared.

        Args:
            dirty: What moved; rows among them are named by their items.
            quick: What `quick` said: where it is False, those that say so and those whose wire was tripped come too.
        """
        found = {id(item.row): item.row for item in dirty if item.row is not None}
        if not quick:
            found.update((id(row), row) for row in self._asked if not row.quick())
            found.update(
                (id(row), row) for name in self.tripwires.tripped if (row := self._by_name.get(name)) is not None
            )
        return list(found.values())

    def restore(self, rows: list[Row], report: Report) -> None:
        """Put back those of the rows that changed; a row that cannot be put back retires the runner."""
        for row in rows:
            try:
                names = row.differs()
                if names or row is self.chance or row is self.decimal or not row.quick():
                    row.write(row.base)
                if names and not row.silent:
                    report.restored += names
            except Exception as error:
                what = str(error) if isinstance(error, RowFailure) else f"{row.name}: {type(error).__name__}: {error}"
                report.sentences.append(f"a reset could not put back {what}; this runner is replaced")
                report.must_retire(f"{row.name} could not be put back")
        self.tripwires.tripped.clear()


class Ledger:
    """Readings of the rows around imports, taken again only where something moved."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.reading = process.read()
        self._watch = Watch(process.items())

    def sync(self) -> Baseline:
        """Read again what moved since the last time; return the whole reading."""
        process = self._process
        process.chance.discover()
        dirty = self._watch.dirty()
        rows = process.suspects(dirty, process.quick())
        if rows:
            self.reading = {**self.reading, **{row.name: row.read() for row in rows}}
            self._watch = Watch(process.items())
        else:
            self._watch.rearm(dirty)
        return self.reading

    def changes(self, before: Baseline, now: Baseline) -> list[tuple[Row, Fields, Fields]]:
        """Which rows read differently at two times."""
        rows = self._process.rows
        return [(row, before[row.name], now[row.name]) for row in rows if before[row.name] is not now[row.name]]


def merge_into(baseline: Baseline, changes: list[tuple[Row, Fields, Fields]]) -> Baseline:
    """Keep in a baseline what an import did."""
    merged = dict(baseline)
    for row, before, now in changes:
        merged[row.name] = row.merge(merged.get(row.name, {}), before, now)
    return merged
