"""The lines that a person reads about an execution. Pure: the tests hold them to the letter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from greenroom.cli.progress import NodeView, Progress
from greenroom.cli.words import duration, many

_NAME: Final = 12  # Columns of a node's name; longer ones push their own line only.
_BAR: Final = 20

_TIMEOUTS: Final = frozenset({"Timeout", "TimeoutError", "CallTimedOut", "timeout"})


def call_text(entity: str, inputs: Mapping[str, Any], limit: int = 60) -> str:
    """`flow.wf(n=1000)`, cut in its inputs if they are long."""
    shown = ", ".join(f"{name}={value}" for name, value in inputs.items())
    return f"{entity}({shown if len(shown) <= limit else shown[: limit - 3] + '...'})"


def header(progress: Progress, hub: str, url: str, call: str = "") -> str:
    """`wf-7k2m  flow.wf(n=1000)  local hub, 2 warm replicas   http://.../e/wf-7k2m`."""
    place = f"{hub}, {many(progress.warm, 'warm replica')}" if progress.seen_status else hub
    return f"{progress.execution}  {call or call_text(progress.entity, progress.inputs)}  {place}   {url}"


def node_line(node: NodeView, width: int = 0, waited: float | None = None) -> str:
    """One node's line: how far it is, or how it ended.

    Args:
        node: The node.
        width: Columns for a bar before a map's counts; 0 for none.
        waited: Seconds that it has waited, if that is worth telling.
    """
    name = f"{node.id:<{_NAME}}"
    if node.outcome == "succeeded":
        return f" ok  {name}  {_ended_text(node)}"
    if node.outcome == "failed":
        return f" FAIL {node.id}  {_failed_text(node)}"
    if node.outcome:
        return f" --  {name}  {node.outcome}"
    if node.wait and waited is not None and not node.done:
        return f"     {name}  waits: {node.wait} ({duration(waited)})"
    if node.is_map:
        drawn = f"{bar(node.done, node.total, width)} " if width else ""
        return f" ..  {name}  {drawn}{_counts(node)}{_where(node)}"
    return f" ..  {name}  {_runs(node)}".rstrip()


def _ended_text(node: NodeView) -> str:
    took = duration(node.seconds)
    if node.is_map:
        why = f"  ({_kinds(node)})" if node.failed and node.kinds else ""
        return f"{_counts(node)}  {took}{_where(node)}{why}"
    if node.cached and node.cached_from:
        return f"cached, from {node.cached_from}"
    if node.child:
        return f"{took}  {node.child}"
    loads = _cache_text(node) if node.loads else ""
    return f"{took}  {loads}".rstrip()


def _failed_text(node: NodeView) -> str:
    counts = f"{_counts(node)}  " if node.is_map else ""
    failure = node.failure or {}
    line = failure_line(failure) if failure else "failed"
    return f"{counts}{line}   ({duration(node.seconds, fine=True)})"


def _runs(node: NodeView) -> str:
    if node.child:
        return node.child
    return f"on {', '.join(sorted(node.replicas))}" if node.replicas else ""


def _counts(node: NodeView) -> str:
    parts = [f"{node.done}/{node.total}"]
    if node.failed:
        parts.append(f"{node.failed} failed")
    if node.cached:
        parts.append(f"{node.cached} cached{' from ' + node.cached_from if node.cached_from else ''}")
    if node.cancelled:
        parts.append(f"{node.cancelled} cancelled")
    return ", ".join(parts)


def _where(node: NodeView) -> str:
    parts = [many(len(node.replicas), "replica")] if node.replicas else []
    if node.hits or node.loads:
        parts.append(_cache_text(node))
    return f"  {', '.join(parts)}" if parts else ""


def _cache_text(node: NodeView) -> str:
    parts = [many(node.hits, "hit")] if node.hits else []
    if node.loads:
        mean = node.load_ms / node.loads / 1000
        parts.append(f"{many(node.loads, 'load')} ({duration(mean)})")
    return ", ".join(parts)


def bar(done: int, total: int, width: int = _BAR) -> str:
    """A bar of `width` columns."""
    full = width if not total else min(width, done * width // total)
    return "█" * full + "░" * (width - full)


def failure_line(failure: Mapping[str, Any]) -> str:
    """`ValueError: bad pixel`, its first line only."""
    message = str(failure.get("message") or "").strip().split("\n")[0]
    kind = str(failure.get("type") or "Error")
    return f"{kind}: {message}" if message else kind


def own_paths(text: str, cwd: str) -> str:
    """A traceback or `file:line` with the paths below `cwd` as the user would type them."""
    prefix = cwd.rstrip(os.sep) + os.sep
    return text.replace(f'File "{prefix}', 'File "').removeprefix(prefix) if len(prefix) > 1 else text


def failure_block(
    failure: Mapping[str, Any],
    address: str,
    *,
    node: NodeView | None = None,
    item: int | None = None,
    call: Mapping[str, Any] | None = None,
    hints: Sequence[tuple[str, str]] = (),
    cwd: str = "",
) -> list[str]:
    """What failed, with the user's traceback, the input, the last output, its fellows, and what to do now.

    Args:
        failure: The failure as plain data.
        address: `ID/NODE/ITEM` of the call, or as much of it as is known.
        node: The node, for its attempts and a map's counts.
        item: The item of a map.
        call: The call as `GET /api/executions/ID/nodes/NODE/items/ITEM` gives it.
        hints: Pairs of (what for, command).
        cwd: Where the user stands, to shorten paths.
    """
    place = address.partition("/")[2] or address
    lines = [f" FAIL {place}  {failure_line(failure)}{_attempt_text(node, item)}"]
    lines.extend(_traceback(failure, cwd))
    shown = _call_text(call)
    if shown:
        lines.append(shown)
    if node is not None and node.is_map:
        lines.append(f"  map     {map_summary(node, cwd)}")
    widest = max((len(what) for what, _ in hints), default=0)
    lines.extend(f"  {what + ':':<{widest + 1}}  {command}" for what, command in hints)
    return lines


def _attempt_text(node: NodeView | None, item: int | None) -> str:
    """`   (attempt 1 of 1, 0.12 s)`, if it is known."""
    if node is None or (item or 0) not in node.fates:
        return ""
    number, took = node.fates[item or 0]
    seconds = f", {duration(took, fine=True)}" if took is not None else ""
    return f"   (attempt {number} of {max(number, node.attempts)}{seconds})"


def _traceback(failure: Mapping[str, Any], cwd: str) -> Iterable[str]:
    text = str(failure.get("traceback") or "").rstrip()
    if not text:
        message = str(failure.get("message") or "").rstrip().split("\n")
        return [f"  {line}" for line in message[1:]]
    lines = own_paths(text, cwd).split("\n")
    lines = lines[1:] if lines[0].startswith("Traceback ") else lines
    return lines if lines != [failure_line(failure)] else []  # No frames: the first line has said it all.


def _call_text(call: Mapping[str, Any] | None) -> str:
    if not call:
        return ""
    inputs = call.get("inputs") or {}
    shown = ", ".join(f"{name}={value}" for name, value in inputs.items())
    last = str(call.get("last_output") or "").strip().split("\n")[-1]
    parts = [f"  input   {shown}"] if shown else []
    if last:
        parts.append(f'last output: "{last}"')
    return ("     " if shown else "  ").join(parts) if shown else f"  {parts[0]}" if parts else ""


def map_summary(node: NodeView, cwd: str = "") -> str:
    """`983 kept, 17 failed: 15 ValueError at flow.py:41, 2 timeouts`."""
    kinds = _kinds(node, cwd)
    parts = [f"{node.succeeded + node.cached} kept"]
    if node.cancelled:
        parts.append(f"{node.cancelled} cancelled")
    parts.append(f"{node.failed} failed{': ' + kinds if kinds else ''}")
    return ", ".join(parts)


def _kinds(node: NodeView, cwd: str | None = None) -> str:
    """`15 ValueError at flow.py:41, 2 timeouts`; where somebody stands is not known, files have no folder."""
    kinds = []
    for kind, count in node.kinds.most_common(4):
        name, at, where = kind.partition(" at ")
        place = os.path.basename(where) if cwd is None else own_paths(where, cwd)
        kinds.append(many(count, "timeout") if name in _TIMEOUTS else f"{count} {name}{at}{place}")
    told = sum(count for _, count in node.kinds.most_common(4))
    if told < node.failed:
        kinds.append(f"{node.failed - told} more")
    return ", ".join(kinds)


def warning_lines(progress: Progress) -> list[str]:
    """What calls warned of, each text once with how often it came."""
    lines = []
    for (node, text), count in progress.warnings.items():
        times = f" ({count} times)" if count > 1 else ""
        lines.append(f"     {node:<{_NAME}}  warning: {text}{times}")
    return lines


def last_line(progress: Progress) -> str:
    """`ok   3.4 s; warm replicas saved 4.1 s`, or how it ended otherwise."""
    end = progress.end or {}
    took = duration(end.get("seconds") or 0.0)
    saved = end.get("saved_s") or 0.0
    text = f"{took}; warm replicas saved {duration(saved)}" if saved >= 0.05 else took
    outcome = end.get("outcome")
    if outcome == "succeeded":
        return f"ok   {text}"
    if outcome == "failed":
        return f"FAIL {text}"
    reason = progress.cancelled_by or failure_line(end.get("failure") or {})
    word = "timed out" if outcome == "timed_out" else "cancelled"
    return f"{word} after {took}{': ' + reason if reason and reason != 'Error' else ''}"


def exit_code(end: Mapping[str, Any]) -> int:
    """What a shell gets: 0 succeeded, 1 the user's code failed, 3 the hub's side did, 4 cancelled or timed out."""
    outcome = end.get("outcome")
    if outcome == "succeeded":
        return 0
    cause = (end.get("failure") or {}).get("cause", "")
    if outcome != "failed" or cause in ("timeout", "cancelled"):
        return 4
    return 3 if cause in ("infrastructure", "lost") else 1
