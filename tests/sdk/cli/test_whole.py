"""The command line with a real hub and real replicas, as a person and as a script use it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

FLOW = '''
import os
import time
from pathlib import Path

import greenroom

print("module level")
os.system("echo from C")
actor = greenroom.ActorEnvironment(name="cli-actor", replica_count=2)


@actor.task
def double(n: int) -> int:
    print("doubling", n)
    return 2 * n


@actor.task
def check(n: int) -> int:
    print("checking", n)
    if n == 3:
        raise ValueError("bad pixel")
    return n


@actor.task
def wait(seconds: float) -> str:
    for _ in range(int(seconds * 20)):
        time.sleep(0.05)
    return "waited"


@actor.task
def write(n: int) -> greenroom.File:
    Path("out.txt").write_text(f"n={n}")
    return greenroom.File("out.txt")


@greenroom.workflow
def wf(n: int = 3) -> int:
    """Double twice."""
    return double(n=double(n=n))


@greenroom.workflow
def checked(ns: list[int] = [1, 2, 3, 4]) -> list[int]:
    return greenroom.map(check)(n=ns)


@greenroom.workflow
def waiting(seconds: float = 60.0) -> str:
    return wait(seconds=seconds)


@greenroom.workflow
def files(ns: list[int] = [1, 2]) -> list[greenroom.File]:
    return greenroom.map(write)(n=ns)
'''


class Shell:
    """A folder with a program in it, and a hub of its own that the first command starts."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        (folder / "flow.py").write_text(FLOW)
        unwanted = ("CI", "GREENROOM_HUB", "GREENROOM_TOKEN", "NO_COLOR")
        self.environ = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.environ.update(GREENROOM_STATE=str(state), XDG_CACHE_HOME=str(folder / "cache"))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "greenroom.cli", *words]

    def run(self, *words: str, timeout: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
        environ = {**self.environ, **more}
        return subprocess.run(
            self.command(*words), cwd=self.folder, env=environ, capture_output=True, text=True, timeout=timeout
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(*words), cwd=self.folder, env=self.environ, text=True, **pipes)

    def state_of(self, id: str) -> str:
        rows = json.loads(self.run("executions", "--json").stdout)
        return next(row["state"] for row in rows if row["id"] == id)

    def until(self, id: str, state: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while self.state_of(id) != state:
            assert time.monotonic() < deadline, f"{id} is {self.state_of(id)}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("cli"), tmp_path_factory.mktemp("s") / "state")
    yield shell
    shell.run("hub", "stop", "--purge")
    assert not shell.state.exists()


def test_stdout_is_the_result_alone(shell: Shell):
    """
    With no hub yet, module-level prints from Python and C, and a dead proxy: the JSON, and the command returns.
    """
    dead = "http://127.0.0.1:1"

    run = shell.run("run", "flow.py", "wf", "--n", "4", http_proxy=dead, HTTP_PROXY=dead)

    assert (run.returncode, run.stdout) == (0, "16\n")
    lines = run.stderr.splitlines()
    assert lines[0] in ("starting the local hub", "module level")
    assert "from C" in lines
    assert re.search(
        r"^wf-\w{4}  flow\.wf\(n=4\)  local hub, \d warm replicas?   http://127\.0\.0\.1:\d+/e/wf-", run.stderr, re.M
    )
    assert "double | doubling 4" in lines and "double-2 | doubling 8" in lines
    assert re.search(r"^ ok  double        ", run.stderr, re.M)
    assert re.fullmatch(r"ok   [\d.]+ m?s(; warm replicas saved .*)?", lines[-1])


def test_a_failed_item_is_told_whole(shell: Shell):
    """
    The user's traceback and paths, the input, the last output, the others; exit code 1.
    """
    run = shell.run("run", "flow.py", "checked")

    assert (run.returncode, run.stdout) == (1, "")
    block = run.stderr[run.stderr.index(" FAIL check/2") :]
    assert re.match(r" FAIL check/2  ValueError: bad pixel   \(attempt 1 of 1, [\d.]+ m?s\)\n", block)
    line = FLOW.split("\n").index('        raise ValueError("bad pixel")') + 1
    assert f'  File "flow.py", line {line}, in check\n    raise ValueError("bad pixel")\n' in block
    assert '  input   n=3     last output: "checking 3"\n' in block
    assert re.search(r"  map     \d kept(, \d cancelled)?, 1 failed: 1 ValueError at flow.py:\d+\n", block)
    assert re.search(r"FAIL [\d.]+ m?s", block.splitlines()[-1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["floww.py", "wf"], "no such file: floww.py"),
        (["flow.py", "wff"], "no workflow or task 'wff' in flow.py; did you mean wf?"),
        (["flow.py", "wf", "--n", "x"], "--n: expected int, got 'x'"),
        (["flow.py", "double"], "double needs --n (int)"),
        (["--nope", "flow.py"], "no such option: --nope"),
    ],
)
def test_bad_input_is_one_sentence(shell: Shell, words: list[str], sentence: str):
    """
    What was expected, exit code 2, no traceback.
    """
    run = shell.run("run", *words)

    assert (run.returncode, run.stdout) == (2, "")
    assert sentence in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("text", "code", "last", "traced"),
    [
        ("import greenroom\n\n@greenroom.task\ndef f(x):\n    return x\n", 2, "has no type", False),
        ("import greenroom\ngreenroom.ActorEnvironment(name='a', replica_count=0)\n", 2, "got 0", False),
        ("def f():\n    raise RuntimeError('no config')\nf()\n", 1, "RuntimeError: no config", True),
        ("def f(:\n", 1, "SyntaxError: invalid syntax", True),
        ("import sys\nsys.exit(3)\n", 2, "called sys.exit(3) while it was imported", False),
    ],
)
def test_a_program_that_cannot_be_imported(shell: Shell, text: str, code: int, last: str, traced: bool):
    """
    A definition that is wrong is a sentence; what the user's code raises is the user's own traceback, no more.
    """
    (shell.folder / "bad.py").write_text(text)

    run = shell.run("run", "bad.py", "wf")

    assert (run.returncode, run.stdout) == (code, "")
    assert last in run.stderr.splitlines()[-1]
    assert ("Traceback" in run.stderr or "SyntaxError" in run.stderr) == traced
    assert "greenroom/cli" not in run.stderr and "importlib" not in run.stderr


def test_help_of_files_and_entities(shell: Shell):
    """
    On stdout, without a run.
    """
    of_file = shell.run("run", "flow.py", "--help")
    of_entity = shell.run("run", "flow.py", "wf", "--help")

    assert re.search(r"^  wf +\(n: int = 3\) -> int +Double twice\.$", of_file.stdout, re.M)
    assert re.search(r"^  --n +int +default 3$", of_entity.stdout, re.M)
    assert of_entity.stdout.startswith("usage: greenroom run flow.py wf [INPUTS]\n\nDouble twice.\n")


def test_files_keep_their_names(shell: Shell):
    """
    Below the state folder by default, in a folder of one's own with --save, later with `outputs --to`.
    """
    shown = json.loads(shell.run("run", "flow.py", "files").stdout)
    saved = json.loads(shell.run("run", "--save", "mine", "flow.py", "files").stdout)
    later = json.loads(shell.run("outputs", "last", "--to", "later").stdout)

    for entries in (shown, saved, later):
        assert [Path(entry["path"]).read_text() for entry in entries] == ["n=1", "n=2"]
    assert Path(shown[0]["path"]).is_relative_to(shell.state / "outputs")
    assert saved[1]["path"] == str(shell.folder / "mine/o0/1/out.txt")
    assert not (shell.folder / "out.txt").exists()


def test_detached_then_watched(shell: Shell):
    """
    The id on stdout; `watch` shows what `run` does, prints the result and ends with its exit code.
    """
    id = shell.run("run", "--detach", "--name", "my-run", "flow.py", "wf", "--n", "5").stdout.strip()
    watch = shell.run("watch", id)
    again = shell.run("run", "--name", "my-run", "flow.py", "wf")

    assert (id, watch.returncode, watch.stdout) == ("my-run", 0, "20\n")
    assert "my-run  flow.wf(n=5)" in watch.stderr
    assert (again.returncode, "an execution is already called 'my-run'" in again.stderr) == (2, True)


def test_logs_of_one_call_are_raw(shell: Shell):
    """
    With its place before each line only where several calls printed.
    """
    id = shell.run("run", "--detach", "flow.py", "wf", "--n", "6").stdout.strip()
    shell.until(id, "succeeded")

    one, several = shell.run("logs", f"{id}/double-2"), shell.run("logs", id)

    assert one.stdout == "doubling 12\n"
    assert several.stdout.splitlines() == ["double | doubling 6", "double-2 | doubling 12"]


def test_a_detached_failure_is_watched(shell: Shell):
    """
    With its exit code, also afterwards.
    """
    id = shell.run("run", "--detach", "flow.py", "checked").stdout.strip()

    watch = shell.run("watch", id)
    outputs = shell.run("outputs", id)

    assert (watch.returncode, watch.stdout) == (1, "")
    assert " FAIL check/2  ValueError: bad pixel" in watch.stderr
    assert (outputs.returncode, outputs.stderr) == (1, f"{id} has no result, it failed: greenroom watch {id}\n")


def _started(run: subprocess.Popen[str]) -> str:
    """The id of a watched execution whose header has been printed."""
    assert run.stderr is not None
    for line in run.stderr:
        if found := re.match(r"(waiting-\w+)  ", line):
            return found[1]
    raise AssertionError("no header")


def test_ctrl_c_cancels_and_waits(shell: Shell):
    """
    Exit code 130, and the execution has ended.
    """
    run = shell.start("run", "flow.py", "waiting")
    id = _started(run)

    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)

    assert (run.returncode, out) == (130, "")
    assert f"cancelling {id}; Ctrl-C again leaves it to the hub" in err
    assert re.search(r"^cancelled after .*: interrupted$", err, re.M)
    assert shell.state_of(id) == "aborted"


def test_sigterm_cancels(shell: Shell):
    """
    As a supervisor or `timeout` sends it: exit code 4.
    """
    run = shell.start("run", "flow.py", "waiting")
    id = _started(run)

    run.terminate()
    run.communicate(timeout=30)

    assert run.returncode == 4
    assert shell.state_of(id) == "aborted"


def test_a_hangup_detaches(shell: Shell):
    """
    The terminal goes away, the execution goes on.
    """
    run = shell.start("run", "flow.py", "waiting")
    id = _started(run)

    run.send_signal(signal.SIGHUP)
    run.communicate(timeout=30)

    assert (run.returncode, shell.state_of(id)) == (130, "running")
    assert shell.run("cancel", id, "--reason", "enough").returncode == 0
    shell.until(id, "aborted")


def test_an_edit_is_run_on_the_same_warm_replica(shell: Shell):
    """
    New code, old replica: nothing starts again.
    """
    (shell.folder / "edited.py").write_text(FLOW.replace("return 2 * n", "return 3 * n"))
    before = shell.run("replicas", "--json").stdout
    (shell.folder / "edited.py").write_text(FLOW.replace("return 2 * n", "return 5 * n"))

    run = shell.run("run", "edited.py", "wf", "--n", "1")

    assert run.stdout == "25\n"
    names = [
        {replica["name"]: replica["pid"] for replica in json.loads(text)[0]["replicas"]}
        for text in (before, shell.run("replicas", "--json").stdout)
    ]
    assert names[0] and names[0].items() <= names[1].items()


def test_lists(shell: Shell):
    """
    What is there, as tables and as JSON.
    """
    executions, replicas = shell.run("executions"), shell.run("replicas")
    status = shell.run("hub", "status")

    assert executions.stdout.startswith("EXECUTION ") and "flow.wf" in executions.stdout
    assert replicas.stdout.startswith("ENVIRONMENT ") and "cli-actor" in replicas.stdout
    assert str(shell.state) in status.stdout
    assert shell.run("cache").returncode == 0
    assert " execution_ended " in shell.run("events", "last").stdout


def test_here_is_the_same_result(shell: Shell):
    """
    In this process, without a hub.
    """
    run = shell.run("run", "--here", "flow.py", "wf", "--n", "4")
    failed = shell.run("run", "--here", "flow.py", "checked")

    assert (run.returncode, run.stdout) == (0, "16\n")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "ValueError: bad pixel" in failed.stderr


def test_exec_serves_the_alias(shell: Shell):
    """
    Any command, and its exit code.
    """
    code = "import union, sys; print(union.__name__, union.task.__module__); sys.exit(7)"

    run = shell.run("exec", "--", sys.executable, "-c", code)

    assert (run.returncode, run.stdout) == (7, "union greenroom.compat.flyte\n")
    assert shell.run("exec", "--", "no-such-program-here").returncode == 2


def test_a_terminal_is_drawn_on(shell: Shell):
    """
    Live: the node that runs is there while it runs, and gone at the end, when its line stays.
    """
    leader, follower = pty.openpty()
    environ = {**shell.environ, "TERM": "xterm", "COLUMNS": "100"}
    run = subprocess.Popen(
        shell.command("run", "flow.py", "waiting", "--seconds", "1"),
        cwd=shell.folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=follower,
        stdin=follower,
    )
    os.close(follower)
    seen = b""
    while run.poll() is None or select.select([leader], [], [], 0)[0]:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                seen += os.read(leader, 65536)
            except OSError:
                break
    os.close(leader)
    result, _ = run.communicate(timeout=20)

    text = seen.decode()
    assert (run.returncode, result) == (0, b'"waited"\n')
    assert "\x1b[36m .. \x1b[0m wait" in text and "\x1b[J" in text
    assert "\x1b[32m ok \x1b[0m wait" in text
    assert re.search(r"\x1b\[32mok\x1b\[0m   1\.\d s", text)


def test_an_ephemeral_hub_leaves_nothing(shell: Shell, tmp_path: Path):
    """
    It starts and ends with the command, as where CI is set.
    """
    run = shell.run("run", "flow.py", "wf", "--n", "2", CI="true", TMPDIR=str(tmp_path))

    assert (run.returncode, run.stdout) == (0, "8\n")
    assert "ephemeral hub" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_leaves_no_hub(shell: Shell, tmp_path: Path):
    """
    A hub of its own notices that its command is gone, and removes all that it had.
    """
    script = (
        "import flow, os, greenroom\n"
        "print(greenroom.Client('ephemeral').run(flow.double, n=2).result(), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environ = {**shell.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=shell.folder, env=environ, capture_output=True, text=True, timeout=60
    )

    deadline = time.monotonic() + 20
    while list(tmp_path.glob("greenroom-*")) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert (run.returncode, run.stdout.splitlines()[-1]) == (-9, "4")
    assert list(tmp_path.glob("greenroom-*")) == []


def test_a_run_imports_little(shell: Shell):
    """
    Start-up is part of the product: no server, no click, no rich, no asyncio before the result is printed.
    """
    command = [sys.executable, "-X", "importtime", "-m", "greenroom.cli", "run", "flow.py", "wf"]
    run = subprocess.run(command, cwd=shell.folder, env=shell.environ, capture_output=True, text=True, timeout=60)

    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    heavy = {"aiohttp", "asyncio", "click", "http.client", "logging", "pydantic", "rich", "subprocess", "websockets"}
    assert run.stdout == "12\n"
    assert imported & heavy == set()


def test_what_is_not_there(shell: Shell):
    """
    Unknown executions and hubs are named, with exit codes 2 and 3.
    """
    unknown = shell.run("watch", "nope-1234")
    away = shell.run("executions", "--hub", "prdo")

    assert (unknown.returncode, "no execution 'nope-1234' here" in unknown.stderr) == (2, True)
    assert (away.returncode, "no hub is called 'prdo'" in away.stderr) == (3, True)
