"""Reads the SQL that lies in the open beside this module: named queries, numbered migrations."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "sql"

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)
_REPEATED: Final = re.compile(r"(?<=VALUES )\([?, ]+\)|(?<=IN \()\?(?=\))")


class Migration(NamedTuple):
    """One numbered change of a schema."""

    number: int
    """From 1, dense; after it, `user_version` is this."""
    name: str
    """Of its file."""
    text: str
    checksum: str
    """Of its statements, comments and layout left out: sha256 in hex."""

    def statements(self) -> Iterator[str]:
        """Its statements, one at a time, so that all of them can run in one transaction."""
        statement = ""
        for line in _COMMENT.sub("", self.text).splitlines():
            statement += line + "\n"
            if sqlite3.complete_statement(statement):
                yield statement.strip()
                statement = ""


@cache
def queries(name: str) -> dict[str, str]:
    """The named queries of `sql/<name>.sql`.

    Every one begins with a line `-- name: <its name>`.
    """
    parts = _NAME.split((FOLDER / f"{name}.sql").read_text())
    return {key: _COMMENT.sub("", text).strip().rstrip(";") for key, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def repeated(sql: str, count: int) -> str:
    """`sql` for `count` rows behind its VALUES, or `count` members of its `IN (?)`."""
    if not _REPEATED.search(sql):
        raise ValueError(f"nothing to repeat in {sql!r}")
    return _REPEATED.sub(lambda found: ", ".join([found[0]] * count), sql)


@cache
def migrations(name: str) -> tuple[Migration, ...]:
    """The migrations in `sql/<name>/`, in order."""
    found = []
    for number, path in enumerate(sorted((FOLDER / name).glob("*.sql")), start=1):
        if int(path.name.split("_", 1)[0]) != number:
            raise ValueError(f"{path.name}: expected number {number}")
        text = path.read_text()
        essence = " ".join(_COMMENT.sub("", text).split())
        found.append(Migration(number, path.name, text, hashlib.sha256(essence.encode()).hexdigest()))
    return tuple(found)
