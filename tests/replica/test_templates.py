"""Which libraries may be held by a template."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from greenroom_replica.native import why_not_fork
from greenroom_replica.templates import import_all


def test_a_library_whose_import_starts_threads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A fork of a template would lack the thread that the library counts on: the reason names it.
    """
    (tmp_path / "threaded_library.py").write_text(
        "import threading\nstop = threading.Event()\n"
        "thread = threading.Thread(target=stop.wait, daemon=True, name='helper')\nthread.start()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    why = import_all(["threaded_library"])

    library = sys.modules.pop("threaded_library")
    library.stop.set()  # type: ignore[attr-defined]
    library.thread.join()  # type: ignore[attr-defined]
    assert why is not None
    assert "helper" in why


def test_a_library_that_cannot_be_imported_is_left_out() -> None:
    """
    Whether a missing library matters is for the user's own import to say.
    """
    code = "from greenroom_replica.templates import import_all; print(import_all(['no_such_library_at_all', 'json']))"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "None"


def test_a_process_without_foreign_threads_may_be_forked() -> None:
    """
    A plain interpreter is safe to fork.
    """
    code = "from greenroom_replica.native import why_not_fork; print(why_not_fork())"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "None"


ONNX = """
import pathlib, magika, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 2  # Left to itself it makes no worker where there is one physical core.
model = next(pathlib.Path(magika.__file__).parent.rglob("*.onnx"))
session = onnxruntime.InferenceSession(str(model), options)
"""


@pytest.mark.parametrize(
    ("module", "code", "library"),
    [
        ("numpy", "import numpy; numpy.ones((300, 300)) @ numpy.ones((300, 300))", None),
        ("magika", ONNX, "onnxruntime"),
    ],
    ids=["numpy", "onnxruntime"],
)
def test_the_library_behind_foreign_threads_is_named(module: str, code: str, library: str | None) -> None:
    """
    Worker threads of a library that does not survive a fork are found by name; those of OpenBLAS are known to be safe.
    """
    pytest.importorskip(module)
    program = f"{code}\nfrom greenroom_replica.native import why_not_fork\nprint(why_not_fork())"

    said = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)

    assert (said.stdout.strip() == "None") if library is None else (library in said.stdout), said.stdout


assert why_not_fork  # Imported here so that a broken module fails this file, not its subprocesses.
