"""Lists as a person reads them: executions, replicas, cache entries, events. Pure; the tests hold the exact text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from greenroom.cli.report import failure_line
from greenroom.cli.words import about, duration, size, table

Row = Mapping[str, Any]


def executions_table(rows: Sequence[Row], now: float) -> list[str]:
    """`greenroom executions`; `now` is seconds since the epoch."""
    body = []
    for row in rows:
        submitted, ended = row.get("submitted"), row.get("ended")
        ago = f"{about(now - submitted)} ago" if submitted is not None else "-"
        took = duration((ended if ended is not None else now) - submitted) if submitted is not None else "-"
        body.append([row["id"], row.get("entity") or "-", row.get("state") or "-", row.get("by") or "-", ago, took])
    return table(["EXECUTION", "ENTITY", "STATE", "BY", "STARTED", "TOOK"], body, right=["TOOK"])


def replicas_table(environments: Sequence[Row]) -> list[str]:
    """`greenroom replicas`."""
    body: list[list[str]] = []
    for environment in environments:
        name = str(environment["environment"])
        body.extend(_replica_row(name, replica) for replica in environment.get("replicas") or ())
        if environment.get("waits"):
            body.append([name, "-", f"waits: {environment['waits']}"])
    return table(["ENVIRONMENT", "REPLICA", "NOW", "CALLS", "RSS", "ENTRIES", "ENDS"], body, right=["CALLS"])


def _replica_row(environment: str, replica: Row) -> list[str]:
    held = list(replica.get("now") or ())
    state = str(replica.get("state") or "")
    now = held[0] if held else ("idle" if state in ("ready", "idle", "") else state)
    if len(held) > 1:
        now += f" (+{len(held) - 1})"
    rss = replica.get("rss")
    entries = replica.get("entries") or 0
    shown = f"{entries}, {size(replica.get('entry_bytes') or 0)}" if entries else "-"
    return [
        environment,
        str(replica.get("name") or replica.get("id")),
        now,
        str(replica.get("calls") or 0),
        size(rss) if rss else "-",
        shown,
        str(replica.get("ends") or "-"),
    ]


def results_table(rows: Sequence[Row], now: float) -> list[str]:
    """`greenroom results`; `now` is seconds since the epoch."""
    body = [
        [
            row.get("task") or "-",
            str(row.get("version") or "-")[:12],
            f"{row['execution']}/{row['node']}",
            str(row["count"]),
            f"{about(now - row['at'])} ago",
        ]
        for row in rows
    ]
    return table(["TASK", "VERSION", "FROM", "RESULTS", "KEPT"], body, right=["RESULTS"])


def cache_table(entries: Sequence[Row], now: float) -> list[str]:
    """`greenroom cache`; `now` is seconds since the epoch."""
    body = []
    for entry in entries:
        gpu, used = entry.get("gpu_bytes"), entry.get("used")
        body.append(
            [
                short_name(str(entry["loader"])),
                str(entry.get("key") or "-"),
                " ".join(entry.get("on") or ()) or "-",
                size(entry.get("bytes") or 0),
                size(gpu) if gpu else "-",
                duration((entry.get("load_ms") or 0.0) / 1000),
                str(entry.get("hits") or 0),
                duration(entry.get("saved_s") or 0.0),
                f"{about(now - used)} ago" if used else "-",
            ]
        )
    return table(["LOADER", "KEY", "ON", "SIZE", "GPU", "LOAD", "HITS", "SAVED", "USED"], body, right=["HITS"])


def short_name(loader: str) -> str:
    """`load_model` of `flow:load_model`."""
    return loader.replace(":", ".").rsplit(".", 1)[-1]


# Events -------------------------------------------------------------------------------------------------------------


def event_line(event: Row) -> str:
    """One event: its number, its time, its kind, and what matters of it."""
    number = event.get("seq")
    moment = time.strftime("%H:%M:%S", time.localtime(event["at"])) if event.get("at") is not None else ""
    millis = f".{int(event['at'] % 1 * 1000):03d}" if moment else ""
    head = f"{'' if number is None else number:>6}  {moment + millis:<12}  {event.get('kind', ''):<19}"
    return f"{head}  {'  '.join(_parts(event))}".rstrip()


def _parts(event: Row) -> Iterable[str]:
    """The salient fields of an event, in one order for all kinds."""
    node, items = event.get("node"), _items(event)
    if node:
        yield f"{node}{items}"
    for name in ("entity", "what", "execution", "replica", "from"):
        if event.get(name):
            yield str(event[name]) if name != "from" else f"from {event['from']}"
    if event.get("kind") == "node_started" and event.get("what") == "map":
        yield f"{event.get('total')} calls"
    yield from _counts(event)
    for name in ("outcome", "why", "reason", "text", "by"):
        if event.get(name):
            yield str(event[name]).rstrip("\n")
    failure = event.get("failure") or next(iter(event.get("failures") or ()), None)
    if failure:
        yield failure_line(failure)
    if event.get("seconds") is not None:
        yield duration(event["seconds"])
    if event.get("saved_s"):
        yield f"saved {duration(event['saved_s'])}"


def _items(event: Row) -> str:
    if event.get("items"):
        items = list(event["items"])
        return "/" + (str(items[0]) if len(items) == 1 else f"{items[0]},... ({len(items)})")
    if event.get("first") is not None and (event.get("count") or 1) > 1:
        return f"/{event['first']}-{event['first'] + event['count'] - 1}"
    return ""


def _counts(event: Row) -> Iterable[str]:
    for name in ("succeeded", "failed", "cancelled"):
        if event.get(name) and "count" in event:
            yield f"{event[name]} {name}"
    if event.get("duration_ms") is not None:
        yield duration(event["duration_ms"] / 1000, fine=True)
    for entry in event.get("cache") or ():
        loader = short_name(str(entry.get("loader", "")))
        hits, misses = entry.get("hits") or 0, entry.get("misses") or 0
        told = [f"{hits} hit{'s' if hits != 1 else ''}"] if hits else []
        if misses:
            told.append(f"{misses} load{'s' if misses != 1 else ''} {duration((entry.get('load_ms') or 0) / 1000)}")
        if told:
            yield f"{loader}: {', '.join(told)}"
