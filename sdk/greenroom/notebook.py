"""Live progress in a notebook's cell, while something waits there for an execution."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from greenroom.cli.screen import PlainScreen

if TYPE_CHECKING:
    from greenroom.handles import Execution

_TICK: Final = 0.2
"""Seconds between two drawings: each is a message to the browser."""

_KEPT: Final = 200
"""Lines that stay in a cell; a browser with 100,000 of them is of no use."""


class Display(Protocol):
    """A cell's output that can be replaced."""

    def update(self, obj: Any) -> None:
        """Show this instead."""
        ...


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class CellScreen(PlainScreen):
    """A cell's output: lines that stay, and a region that is redrawn below them."""

    live = True

    def __init__(self, show: Callable[[str, Display | None], Display | None]) -> None:
        """Draw by `show`, which takes the whole text and the display to replace."""
        super().__init__()
        self._put = show
        self._display: Display | None = None
        self._kept: list[str] = []
        self._region: list[str] = []
        self._drawn = ""

    @property
    def width(self) -> int:
        return 20

    def write(self, lines: Sequence[str]) -> None:
        if lines:
            self._kept = [*self._kept, *lines][-_KEPT:]
            self._draw()

    def show(self, lines: Sequence[str], region: Sequence[str]) -> None:
        self._kept, self._region = [*self._kept, *lines][-_KEPT:], list(region)
        self._draw()

    def close(self) -> None:
        self.show([], [])

    def _draw(self) -> None:
        text = "\n".join([*self._kept, *self._region])
        if text != self._drawn:
            self._drawn = text
            self._display = self._put(text, self._display)


def _show(text: str, display: Display | None) -> Display | None:
    import html

    from IPython import display as ipython  # type: ignore[import-not-found]

    shown = ipython.HTML(f"<pre style='line-height: 1.3'>{html.escape(text)}</pre>")
    if display is not None:
        display.update(shown)
        return display
    made: Display | None = ipython.display(shown, display_id=True)
    return made


def watch(
    execution: Execution,
    timeout: float | None,
    show: Callable[[str, Display | None], Display | None] = _show,
) -> bool:
    """Show an execution's progress until it ends; False if the time is over before.

    Interrupting the cell leaves the execution running.
    """
    from greenroom.cli.progress import Progress
    from greenroom.cli.view import View

    client, deadline = execution._client, None if timeout is None else time.monotonic() + timeout
    screen = CellScreen(show)
    view = View(
        Progress(execution.id), screen, hub=client.link.hub.name, url=execution.url, call="", clock=time.monotonic
    )
    follower = client.follower(execution.id, logs=True)
    try:
        while not follower.ended:
            events = follower.read(_TICK)
            if events:
                view.on(events)
            else:
                view.tick()
            if deadline is not None and time.monotonic() > deadline and not follower.ended:
                view.leave(f"{execution.id} goes on")
                return False
    finally:
        follower.close()
    view.finish()
    return True
