"""`Deck`: HTML that a call leaves beside its outputs, kept by the hub and shown in a sandbox."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from greenroom.context import current_context

_LARGEST: Final = 16 << 20
"""Bytes of a report; what is beyond is left out, and said."""

_LONGEST: Final = 2_000
"""Characters of a value's text in a report."""


class DeckField(str, Enum):  # noqa: UP042  (as programs know it: a text too)
    """The tabs that a report of its own accord has."""

    INPUT = "Input"
    OUTPUT = "Output"
    SOURCE_CODE = "Source Code"
    TIMELINE = "Timeline"
    DEPENDENCIES = "Dependencies"


class Deck:
    """One tab of a call's report.

    Attributes:
        name: Its title.
        html: What it shows.
    """

    def __init__(self, name: str, html: str | None = None, auto_add_to_deck: bool = True) -> None:
        """Add a tab to the report of the call that runs.

        Args:
            name: Its title.
            html: What it shows, to begin with.
            auto_add_to_deck: Whether it is part of the report.
        """
        self.name, self._pieces = str(name), [] if html is None else [str(html)]
        if auto_add_to_deck:
            current_context().decks.append(self)

    @property
    def html(self) -> str:
        """What it shows."""
        return "\n".join(self._pieces)

    def append(self, html: str) -> Deck:
        """Show more, below."""
        self._pieces.append(str(html))
        return self

    @staticmethod
    def publish() -> None:
        """Ask for the report although the task says nothing of one; it is kept when the call ends."""
        current_context().decks  # noqa: B018  (from now on there is one)

    def __repr__(self) -> str:
        return f"<Deck {self.name!r}, {sum(map(len, self._pieces))} characters>"


# Renderers ------------------------------------------------------------------------------------------------------------


class TopFrameRenderer:
    """The first rows of a data frame as a table."""

    def __init__(self, max_rows: int = 10, max_cols: int = 100) -> None:
        self._rows, self._columns = max_rows, max_cols

    def to_html(self, df: Any) -> str:
        """The table."""
        frame = df.to_pandas() if hasattr(df, "to_pandas") else df
        made: str = frame.to_html(max_rows=self._rows, max_cols=self._columns)
        return made


class MarkdownRenderer:
    """Markdown as HTML, where a package for it is installed; else as it is written."""

    def to_html(self, text: str) -> str:
        """The HTML."""
        try:
            from markdown_it import MarkdownIt
        except ImportError:
            return f"<pre>{html.escape(text)}</pre>"
        made: str = MarkdownIt().render(text)
        return made


class SourceCodeRenderer:
    """A program's text."""

    def __init__(self, title: str = "Source Code") -> None:
        self._title = title

    def to_html(self, source_code: str) -> str:
        """The HTML."""
        return f"<pre>{html.escape(source_code)}</pre>"


# The whole report -----------------------------------------------------------------------------------------------------


def report(
    decks: Sequence[Any],
    fields: Sequence[str] | None,
    function: Callable[..., Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> bytes:
    """One page with a tab for each deck.

    Args:
        decks: Those that the call made.
        fields: Tabs of its own accord; None for all of them, empty for none.
        function: The task's.
        inputs: By name.
        outputs: By name; empty where the call failed.
    """
    wanted = [field.value for field in DeckField] if fields is None else list(fields)
    tabs = [(deck.name, deck.html) for deck in decks]
    made: dict[str, Callable[[], str]] = {
        "Input": lambda: _values(inputs),
        "Output": lambda: _values(outputs),
        "Source Code": lambda: SourceCodeRenderer().to_html(_source(function)),
        "Dependencies": _dependencies,
    }
    tabs += [(field, made[field]()) for field in wanted if field in made]
    return page(tabs).encode("utf-8", "replace")


def page(tabs: Iterable[tuple[str, str]]) -> str:
    """A page whose tabs need no script: it is shown in a sandbox that allows none."""
    heads, bodies, rules, size = [], [], [], 0
    for number, (title, body) in enumerate(tabs):
        size += len(body)
        if size > _LARGEST:
            body = f"<p>Left out: the report is larger than {_LARGEST >> 20} MiB.</p>"
        checked = " checked" if number == 0 else ""
        heads.append(
            f'<input type="radio" name="t" id="t{number}"{checked}><label for="t{number}">{html.escape(title)}</label>'
        )
        bodies.append(f'<section id="s{number}">{body}</section>')
        rules.append(f"#t{number}:checked~#s{number}{{display:block}}")
    return (
        '<!doctype html><html><head><meta charset="utf-8"><title>Report</title><style>'
        "body{font:14px sans-serif;margin:1em}section{display:none;padding:1em 0}input{display:none}"
        "label{padding:.4em 1em;border-bottom:2px solid #ddd;cursor:pointer}input:checked+label{border-color:#06c}"
        "table{border-collapse:collapse}td,th{border:1px solid #ddd;padding:.2em .6em;text-align:left}"
        f"{''.join(rules)}</style></head><body>{''.join(heads)}{''.join(bodies)}</body></html>"
    )


def _values(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{html.escape(name)}</th><td>{_value(value)}</td></tr>" for name, value in values.items())
    return f"<table>{rows}</table>" if rows else "<p>none</p>"


def _value(value: Any) -> str:
    try:
        if hasattr(value, "to_html") and hasattr(value, "columns"):
            return TopFrameRenderer().to_html(value)
        text = repr(value)
    except Exception as fault:  # Somebody's __repr__ is no reason to lose a report.
        text = f"<{type(value).__name__}: {type(fault).__name__}>"
    return f"<pre>{html.escape(text if len(text) <= _LONGEST else text[:_LONGEST] + ' ...')}</pre>"


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (OSError, TypeError):
        return "not to be had"


def _dependencies() -> str:
    from greenroom.bundling.interpreter import distributions

    installed = sorted(distributions().items())
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(version)}</td></tr>" for name, version in installed
    )
    return f"<table><tr><th>Name</th><th>Version</th></tr>{rows}</table>"
