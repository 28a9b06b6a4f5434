"""Progress in a notebook's cell."""

from __future__ import annotations

import threading

import pytest

from greenroom import Client
from greenroom.hub_errors import StillRunning
from greenroom.notebook import CellScreen, in_notebook, watch
from greenroom_core.values import pack
from tests.sdk.client.fake_hub import FakeHub


class Cell:
    """A cell's output, as the browser last got it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def show(self, text: str, display: object) -> Cell:
        self.texts.append(text)
        return self

    def update(self, obj: object) -> None: ...


def test_a_cell_is_redrawn_as_one_text():
    """
    Kept lines above, the region below, and nothing is sent twice.
    """
    cell = Cell()
    screen = CellScreen(cell.show)

    screen.show([], ["a 1/3"])
    screen.write(["kept"])
    screen.show([], ["a 1/3"])
    screen.show([], ["a 2/3"])
    screen.close()

    assert cell.texts == ["a 1/3", "kept\na 1/3", "kept\na 2/3", "kept"]


def test_a_test_is_no_notebook():
    """
    Nothing is drawn where nobody looks at cells.
    """
    assert not in_notebook()


@pytest.fixture
def execution(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GREENROOM_TOKEN", hub.token)
    hub.run("wf-1").add("node_started", node="train", what="task")
    with Client(hub.url) as client:
        yield client.execution("wf-1")


def test_waiting_shows_progress(hub, execution, monkeypatch):
    """
    What `run` shows on a terminal, until the end; then the value is there.
    """
    cell = Cell()
    monkeypatch.setattr("greenroom.notebook.in_notebook", lambda: True)
    monkeypatch.setattr("greenroom.notebook.watch", lambda execution, timeout: watch(execution, timeout, cell.show))
    run = hub.runs["wf-1"]
    finish = threading.Timer(
        0.3, lambda: run.add("node_ended", node="train", outcome="succeeded").end(outputs={"o0": pack(6)})
    )
    finish.start()

    result = execution.result()
    finish.join()

    assert result == 6
    assert any(" ..  train" in text for text in cell.texts)
    assert " ok  train" in cell.texts[-1] and cell.texts[-1].splitlines()[-1].startswith("ok   ")


def test_the_time_can_be_over_there_too(execution, monkeypatch):
    """
    The cell says that it goes on.
    """
    cell = Cell()
    monkeypatch.setattr("greenroom.notebook.in_notebook", lambda: True)
    monkeypatch.setattr("greenroom.notebook.watch", lambda execution, timeout: watch(execution, timeout, cell.show))

    with pytest.raises(StillRunning):
        execution.result(timeout=0.05)

    assert cell.texts[-1].endswith("wf-1 goes on")
