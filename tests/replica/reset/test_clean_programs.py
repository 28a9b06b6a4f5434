# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""Programs that only use their libraries have nothing to be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.replica.reset.lab import Lab, needs

Runner = Callable[..., Any]

PROGRAMS = {
    "numpy": """
        import numpy
        WEIGHTS = numpy.linspace(0, 1, 10)
        def task(n):
            data = numpy.random.random((200, 200)) @ numpy.ones((200, 200))
            return float(numpy.linalg.norm(data) + WEIGHTS.sum() + n)
    """,
    "pandas": """
        import pandas
        def task(n):
            frame = pandas.DataFrame({"k": list("abc") * 100, "v": range(300)})
            frame["d"] = pandas.date_range("2024-01-01", periods=300)
            out = frame.groupby("k").agg(total=("v", "sum")).reset_index()
            return out.to_json() + frame.describe().to_csv() + str(frame.query("v > 10").shape)
    """,
    "requests": """
        import http.server, threading
        import requests
        SESSION = requests.Session()
        def task(port):
            first = SESSION.get(f"http://127.0.0.1:{port}/").status_code
            return first, requests.get(f"http://127.0.0.1:{port}/").status_code
    """,
    "sklearn": """
        import sklearn.linear_model, sklearn.ensemble, sklearn.datasets, sklearn.model_selection
        def task(n):
            X, y = sklearn.datasets.make_classification(200, random_state=1)
            model = sklearn.linear_model.LogisticRegression().fit(X, y)
            forest = sklearn.ensemble.RandomForestClassifier(5).fit(X, y)
            scores = sklearn.model_selection.cross_val_score(model, X, y, cv=2)
            return model.score(X, y), forest.score(X, y), scores.mean()
    """,
    "onnxruntime": """
        import magika, onnxruntime, pathlib
        MODEL = next(pathlib.Path(magika.__file__).parent.rglob("*.onnx"))
        def task(n):
            session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
            return [item.name for item in session.get_inputs()]
    """,
    "the standard library": """
        import asyncio, collections, concurrent.futures, csv, datetime, decimal, hashlib, io, json, logging, re, sqlite3, subprocess
        import tempfile, threading, urllib.parse, uuid, zoneinfo
        LOG = logging.getLogger(__name__)
        async def double(n):
            await asyncio.sleep(0)
            return await asyncio.to_thread(lambda: 2 * n)
        def task(n):
            LOG.warning("call %s", n)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                doubled = list(pool.map(abs, range(5)))
            with tempfile.NamedTemporaryFile() as file:
                file.write(b"x")
            subprocess.run(["true"], check=True)
            text = json.dumps({"n": n, "id": uuid.uuid4().hex, "at": datetime.datetime.now(zoneinfo.ZoneInfo("UTC")).isoformat()})
            sqlite3.connect(":memory:").execute("select 1").fetchall()
            lock = threading.Thread(target=LOG.debug, args=("x",))
            lock.start()
            decimal.Decimal(1) / decimal.Decimal(3)
            return asyncio.run(double(n)), doubled, text, re.sub("a", "b", "abc"), hashlib.sha256(b"x").hexdigest()
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_clean_program_gives_no_report(name: str, runner: Runner) -> None:
    """
    Twenty calls of a program that uses a library as it is meant to be used: not one report, and nothing unchecked but objects.
    """
    if name != "the standard library":
        needs(name)
    if name == "onnxruntime":
        needs("magika")

    def scenario(lab: Lab) -> Any:
        argument: Any = 1
        if name == "requests":
            argument = serve(lab)
        told = []
        for _ in range(20):
            lab.call("task", argument)
            told.append(lab.wire())
        for owner in lab.owners:
            lab.reset.release(owner)
        return [wire for wire in told if wire]

    assert runner(scenario, flow=PROGRAMS[name]) == []


@pytest.mark.parametrize("name", ["numpy", "pandas", "sklearn", "the standard library"])
def test_a_library_that_the_call_imports_gives_no_report_either(name: str, runner: Runner) -> None:
    """
    The same where every import stands in the task, and the first call pays for it.
    """
    if name != "the standard library":
        needs(name)
    lines = PROGRAMS[name].strip().splitlines()
    imports = [line.strip() for line in lines if line.strip().startswith("import")]
    rest = [line for line in lines if not line.strip().startswith("import")]
    flow = f"IMPORTS = {chr(10).join(imports)!r}\ndef load(): exec(IMPORTS, globals())\n"
    if name == "the standard library":
        flow = flow + "import logging\n"
    source = "\n".join(line.removeprefix("        ") for line in rest if "WEIGHTS = " not in line).replace(
        "WEIGHTS.sum()", "0"
    )
    source = source.replace("def task(n):", "def task(n):\n    load()")

    def scenario(lab: Lab) -> Any:
        told = []
        for _ in range(5):
            lab.call("task", 1)
            told.append({key: value for key, value in lab.wire().items() if key != "restored"})
        return [wire for wire in told if wire]

    assert runner(scenario, flow=flow + source) == []


def serve(lab: Lab) -> int:
    """Start a web server in a child that belongs to an entry; return its port."""
    import subprocess
    import sys

    program = (
        "import http.server, sys; "
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler); "
        "print(server.server_port, flush=True); server.serve_forever()"
    )
    with lab.reset.owned("server") as owner:
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        port = int(process.stdout.readline())
    lab.owners.append(owner)
    return port
