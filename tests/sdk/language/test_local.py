"""Runs in this process: errors, retries, timeouts, policies, cached results, what a call sees."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import warnings
from pathlib import Path

import pytest

from greenroom.context import current_context
from greenroom.environment import ActorEnvironment
from greenroom.errors import (
    CallExited,
    CallTimedOut,
    GreenroomWarning,
    NonRecoverable,
    Recoverable,
    SecretMissing,
    TypeMismatch,
)
from greenroom.files import File
from greenroom.mapping import map as gmap
from greenroom.options import Cache, Retry
from greenroom.secrets import Secret
from greenroom.task import task
from greenroom.testing import clear_results
from greenroom.workflow import FailedNode, WorkflowFailurePolicy, workflow

seen: list[object] = []


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()
    clear_results()


@task
def inc(n: int) -> int:
    seen.append(n)
    return n + 1


@task
def note(n: int) -> None:
    seen.append(n)


class Odd(Exception):
    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, why)
        self.number, self.why = number, why


class TestErrors:
    def test_are_the_users_own(self):
        """
        A task's exception arrives as it was raised, with the task and the node in a note.
        """

        @task
        def fails(n: int) -> int:
            raise Odd(n, "just so")

        @workflow
        def wf(n: int) -> int:
            return inc(n=fails(n=n))

        with pytest.raises(Odd) as caught:
            wf(n=3)

        assert (caught.value.number, caught.value.why) == (3, "just so")
        (told,) = caught.value.__notes__
        assert told.startswith(f"Error encountered while executing '{__name__}.fails':\n  (3, 'just so')")
        assert "(node fails)" in told

    def test_the_first_one_counts(self):
        """
        By default the rest is not run once a node has failed.
        """

        @task
        def fails() -> None:
            raise ValueError("first")

        @workflow
        def wf() -> None:
            note(n=1)
            fails()
            note(n=2)

        with pytest.raises(ValueError, match="first"):
            wf()

        assert seen == [1]

    def test_or_all_that_can_run_runs(self):
        """
        With the other policy, what does not depend on the failure is run; the run fails all the same.
        """

        @task
        def fails(n: int) -> int:
            raise ValueError("first")

        @workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
        def wf() -> None:
            note(n=1)
            note(n=fails(n=0))
            note(n=2)

        with pytest.raises(ValueError, match="first"):
            wf()

        assert seen == [1, 2]

    def test_in_sub_workflows(self):
        """
        The node is named with the workflows that it stands in.
        """

        @task
        def fails() -> None:
            raise ValueError("deep")

        @workflow
        def inner() -> None:
            fails()

        @workflow
        def outer() -> None:
            inner()

        with pytest.raises(ValueError) as caught:
            outer()

        assert "(node inner.fails)" in caught.value.__notes__[0]

    def test_a_result_that_does_not_fit(self):
        """
        What a task returns is checked against its annotation.
        """

        @task
        def wrong() -> int:
            return "text"  # type: ignore[return-value]

        with pytest.raises(TypeMismatch, match="output 'o0': expected int, got 'text'"):
            wrong()

    def test_nothing_where_something_is_declared(self):
        """
        None is accepted as null, with a warning that names the node.
        """

        @task
        def empty() -> str:
            return os.environ.get("GREENROOM_TEST_NOTHING")  # type: ignore[return-value]

        with pytest.warns(GreenroomWarning, match="empty.*returned None"):
            assert None is empty()

    def test_leaving_is_a_failure_where_something_is_declared(self):
        """
        `sys.exit` of a task that owes an output fails and says so; of one that owes none, with 0, it succeeds.
        """

        @task
        def leaves(code: int) -> int:
            sys.exit(code)
            return 1

        @task
        def goes(code: int) -> None:
            sys.exit(code)

        with pytest.raises(CallExited, match=r"called sys.exit\(0\)"):
            leaves(0)
        with pytest.raises(CallExited, match=r"sys.exit\(3\)"):
            goes(3)
        assert None is goes(0)

    def test_ctrl_c_is_not_caught(self):
        """
        An interruption ends the run, not a node.
        """

        @task
        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()


class TestRetries:
    def test_a_failed_call_is_tried_again(self):
        """
        `retries=n` allows n further attempts; the context knows which one it is.
        """

        @task(retries=2)
        def flaky() -> int:
            seen.append(current_context().attempt)
            if len(seen) < 3:
                raise ValueError("again")
            return 7

        assert flaky() == 7 and seen == [1, 2, 3]

    def test_until_the_budget_is_used_up(self):
        """
        The last error is raised, with how often was tried.
        """

        @task(retries=1)
        def fails() -> None:
            seen.append(1)
            raise ValueError("always")

        with pytest.raises(ValueError) as caught:
            fails()

        assert len(seen) == 2 and "attempt 2 of 2" in caught.value.__notes__[0]

    @pytest.mark.parametrize(
        ("retry", "error", "attempts"),
        [
            (Retry(2, on=(ValueError,)), ValueError, 3),
            (Retry(2, on=(ValueError,)), UnicodeError, 3),
            (Retry(2, on=(ValueError,)), KeyError, 1),
            (Retry(2, on=ValueError), Recoverable, 3),
            (2, NonRecoverable, 1),
            (2, Recoverable, 3),
        ],
    )
    def test_errors_choose(self, retry, error, attempts):
        """
        Only the named classes are retried; errors that ask for it always are, those that forbid it never.
        """

        @task(retries=retry)
        def fails() -> None:
            seen.append(1)
            raise error("x")

        with pytest.raises(error):
            fails()

        assert attempts == len(seen)

    def test_of_single_items(self):
        """
        Each item of a map has its own budget.
        """

        @task(retries=1)
        def flaky(n: int) -> int:
            seen.append(n)
            if seen.count(n) == 1 and n % 2:
                raise ValueError(n)
            return n

        assert gmap(flaky)(n=[0, 1, 2, 3]) == [0, 1, 2, 3]
        assert sorted(seen) == [0, 1, 1, 2, 3, 3]

    def test_with_a_delay(self):
        """
        A backoff is waited for, other work first. Takes 20 ms.
        """

        @task(retries=Retry(1, backoff=0.02))
        def flaky() -> int:
            seen.append("flaky")
            if seen.count("flaky") == 1:
                raise ValueError("again")
            return 1

        @workflow
        def wf() -> int:
            got = flaky()
            note(n=2)
            return got

        begun = time.monotonic()

        assert wf() == 1 and seen == ["flaky", 2, "flaky"]
        assert time.monotonic() - begun >= 0.02

    def test_on_one_place_only(self):
        """
        `with_overrides` gives one call another budget.
        """

        @task
        def fails() -> None:
            seen.append(1)
            raise ValueError

        @workflow
        def wf() -> None:
            fails().with_overrides(retries=2)

        with pytest.raises(ValueError):
            wf()

        assert len(seen) == 3


class TestTimeouts:
    def test_end_a_call(self):
        """
        A call that takes too long is interrupted, in sleeps and in loops. Takes 50 ms.
        """

        @task(timeout=0.05)
        def slow() -> int:
            try:
                while True:
                    time.sleep(5)
            except Exception:
                return 0

        begun = time.monotonic()
        with pytest.raises(CallTimedOut, match=r"longer than its timeout of 0.05 s"):
            slow()

        assert time.monotonic() - begun < 2

    def test_are_retried(self):
        """
        A timeout counts as a failed attempt.
        """

        @task(timeout=0.05, retries=1)
        def slow() -> int:
            seen.append(1)
            if len(seen) == 1:
                time.sleep(5)
            return 7

        assert slow() == 7

    def test_of_coroutines(self):
        """
        A coroutine is cancelled.
        """

        @task(timeout=0.05)
        async def slow() -> int:
            await asyncio.sleep(5)
            return 1

        with pytest.raises(CallTimedOut):
            asyncio.run(slow())

    def test_in_other_threads(self):
        """
        Python code is interrupted in any thread.
        """
        import threading

        @task(timeout=0.05)
        def slow() -> int:
            until = time.monotonic() + 5
            while time.monotonic() < until:
                pass
            return 1

        def target() -> None:
            try:
                slow()
            except CallTimedOut as error:
                seen.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

        assert len(seen) == 1

    def test_leave_no_alarm_behind(self):
        """
        After a call in time nothing rings.
        """
        import signal

        @task(timeout=60)
        def quick() -> int:
            return 1

        before = signal.getsignal(signal.SIGALRM)

        assert quick() == 1
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0) and before is signal.getsignal(signal.SIGALRM)


class TestHandlers:
    def test_run_after_a_failure(self):
        """
        The handler gets the workflow's inputs that it takes, and what went wrong; the error is still raised.
        """

        @task
        def clean(n: int, err: FailedNode | None = None) -> None:
            seen.append((n, err))

        @task
        def fails(n: int) -> int:
            raise ValueError("broken")

        @workflow(on_failure=clean)
        def wf(n: int, unused: str = "x") -> int:
            return fails(n=n)

        with pytest.raises(ValueError, match="broken"):
            wf(n=4)

        assert [(4, FailedNode("ValueError: broken", "fails"))] == seen

    def test_do_not_run_after_a_success(self):
        """
        Without a failure there is nothing to handle.
        """

        @task
        def clean(n: int) -> None:
            seen.append("cleaned")

        @workflow(on_failure=clean)
        def wf(n: int) -> int:
            return inc(n=n)

        assert wf(n=1) == 2 and seen == [1]

    def test_may_be_workflows(self):
        """
        A workflow handles a failure as a task does.
        """

        @workflow
        def clean(n: int) -> None:
            note(n=n)
            note(n=100)

        @task
        def fails() -> None:
            raise ValueError("broken")

        @workflow(on_failure=clean)
        def wf(n: int) -> None:
            fails()

        with pytest.raises(ValueError, match="broken"):
            wf(n=4)

        assert seen == [4, 100]

    def test_need_inputs_that_there_are(self):
        """
        A handler that needs something else is refused when the workflow is defined.
        """

        @task
        def clean(other: str) -> None: ...

        with pytest.raises(ValueError, match="it needs 'other'"):

            @workflow(on_failure=clean)
            def wf(n: int) -> int:
                return inc(n=n)


class TestSubWorkflowsOfTheirOwn:
    def test_a_handler_of_a_sub_workflow_runs(self):
        """
        A workflow with a handler of its own handles its failures wherever it is called.
        """

        @task
        def clean(n: int) -> None:
            seen.append(("cleaned", n))

        @task
        def fails(n: int) -> int:
            raise ValueError("broken")

        @workflow(on_failure=clean)
        def inner(n: int) -> int:
            return fails(n=n)

        @workflow
        def outer(n: int) -> int:
            return inc(n=inner(n=n))

        with pytest.raises(ValueError, match="broken"):
            outer(n=4)

        assert seen == [("cleaned", 4)]

    def test_a_policy_of_a_sub_workflow_holds_within_it(self):
        """
        What a sub-workflow can still run after a failure runs, though its parent gives up.
        """

        @task
        def fails() -> None:
            raise ValueError("broken")

        @workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
        def inner() -> None:
            fails()
            note(n=1)

        @workflow
        def outer() -> None:
            inner()
            note(n=2)

        with pytest.raises(ValueError, match="broken"):
            outer()

        assert seen == [1]


class TestCachedResults:
    def test_a_call_is_not_repeated(self):
        """
        A cached task runs once for equal inputs.
        """

        @task(cache=True, cache_version="1")
        def slow(n: int, log: str = "") -> int:
            seen.append(n)
            return n * 2

        assert (slow(1), slow(n=1), slow(2)) == (2, 2, 4) and seen == [1, 2]

    def test_ignored_inputs_do_not_count(self):
        """
        What is named as ignored is no part of the key.
        """

        @task(cache=Cache(version="1", ignored_inputs=("log",)))
        def slow(n: int, log: str) -> int:
            seen.append(n)
            return n

        assert (slow(1, "a"), slow(1, "b")) == (1, 1) and seen == [1]

    def test_a_failure_is_not_kept(self):
        """
        A call that failed is made again.
        """

        @task(cache=True)
        def flaky(n: int) -> int:
            seen.append(n)
            if len(seen) == 1:
                raise ValueError
            return n

        with pytest.raises(ValueError):
            flaky(1)

        assert flaky(1) == 1

    def test_a_version_is_the_codes_unless_given(self):
        """
        Without a version, another text of the function is another result.
        """
        scope: dict[str, object] = {"__name__": "cells", "task": task}
        text = "@task(cache=True)\ndef f(n: int) -> int:\n    return n + {}\n"
        exec(text.format(1), scope)
        assert scope["f"](1) == 2

        exec(text.format(2), scope)

        assert scope["f"](1) == 3

    def test_of_one_place_only(self):
        """
        A call can go without, or have a version of its own.
        """

        @task(cache=True, cache_version="1")
        def slow(n: int) -> int:
            seen.append(n)
            return n

        @workflow
        def wf(n: int) -> tuple[int, int, int]:
            return slow(n=n), slow(n=n).with_overrides(cache=False), slow(n=n).with_overrides(cache_version="2")

        assert wf(n=1) == (1, 1, 1) and len(seen) == 3

    def test_of_items(self):
        """
        Items of a map are looked up one by one.
        """

        @task(cache=True, cache_version="1")
        def slow(n: int) -> int:
            seen.append(n)
            return n

        assert (gmap(slow)(n=[1, 2, 1]), gmap(slow)(n=[2, 3])) == ([1, 2, 1], [2, 3])
        assert seen == [1, 2, 3]


class TestSurroundings:
    def test_a_call_knows_where_it_is(self):
        """
        The context names task, node, item and attempt.
        """

        @task
        def tells(n: int) -> str:
            context = current_context()
            return f"{context.task_id.name} {context.node} {context.item} {context.execution_id.name}"

        assert f"{__name__}.tells tells 0 local" == tells(1)
        assert f"{__name__}.tells tells 1 local" == gmap(tells)(n=[0, 0])[1]

    def test_a_call_has_a_folder_of_its_own(self):
        """
        The working directory is new for each call, and its files travel.
        """

        @task
        def writes(n: int) -> File:
            path = Path(current_context().working_directory) / "out.txt"
            assert not path.exists()
            path.write_text(str(n))
            seen.append(str(path.parent))
            return File(path)

        @workflow
        def wf() -> list[File]:
            return gmap(writes)(n=[1, 2])

        assert [Path(file).read_text() for file in wf()] == ["1", "2"]
        assert len(set(seen)) == 2 and not any(os.path.exists(str(folder)) for folder in seen)

    def test_environment_variables_are_those_of_the_environment(self, monkeypatch):
        """
        A call sees its environment's variables; what it sets is gone after it.
        """
        monkeypatch.setenv("GREENROOM_TEST_OUTER", "outer")
        actor = ActorEnvironment("vars", environment={"GREENROOM_TEST_A": "1"})

        @actor.task
        def sets() -> list[str | None]:
            os.environ["GREENROOM_TEST_B"] = "set"
            del os.environ["GREENROOM_TEST_OUTER"]
            return [os.environ.get("GREENROOM_TEST_A")]

        @actor.task
        def reads() -> list[str | None]:
            return [os.environ.get(f"GREENROOM_TEST_{name}") for name in ("A", "B", "OUTER")]

        assert (sets(), reads()) == (["1"], ["1", None, "outer"])
        assert "GREENROOM_TEST_A" not in os.environ

    def test_without_isolation_they_stay(self):
        """
        `isolation="none"` keeps what a call sets.
        """
        actor = ActorEnvironment("loose", isolation="none")

        @actor.task
        def sets() -> None:
            os.environ["GREENROOM_TEST_C"] = "set"

        try:
            sets()
            assert os.environ["GREENROOM_TEST_C"] == "set"
        finally:
            os.environ.pop("GREENROOM_TEST_C", None)

    def test_secrets_are_found(self, monkeypatch):
        """
        A secret is read from where the program is submitted, and stands where the task wants it.
        """
        monkeypatch.setenv("MY_TOKEN", "s3cret")

        @task(secret_requests=[Secret(group="my", key="token", env_var="HF_TOKEN")])
        def reads() -> str:
            return os.environ["HF_TOKEN"]

        assert reads() == "s3cret"
        assert "HF_TOKEN" not in os.environ

    def test_a_missing_secret_fails_its_node(self):
        """
        The node fails before it runs, and says which secret is missing and where it was looked for.
        """

        @task(secret_requests=[Secret(group="my", key="missing")])
        def reads() -> str:
            seen.append("ran")
            return ""

        @workflow
        def wf() -> str:
            note(n=1)
            return reads()

        with pytest.raises(SecretMissing, match=r"secret my/missing was not found; set one of _FSEC_MY_MISSING"):
            wf()

        assert seen == [1]

    def test_a_task_within_a_task_is_its_function(self):
        """
        Inside of a running task a call runs inline.
        """

        @task
        def outer(n: int) -> int:
            return inc(n) + inc(n=n)

        assert outer(1) == 4

    def test_a_workflow_within_a_task(self):
        """
        A workflow called inside of a task runs there.
        """

        @workflow
        def inner(n: int) -> int:
            return inc(n=n)

        @task
        def outer(n: int) -> int:
            return inner(n=n)

        assert outer(1) == 2

    def test_coroutines(self):
        """
        An async task is awaited; in a workflow it is a node like any other, also where a loop runs already.
        """

        @task
        async def double(n: int) -> int:
            await asyncio.sleep(0)
            return 2 * n

        @workflow
        def wf(n: int) -> int:
            return inc(n=double(n=n))

        async def main() -> tuple[int, int]:
            return await double(2), wf(n=3)

        assert (*asyncio.run(main()), wf(n=1)) == (4, 7, 3)

    def test_values_are_copies(self):
        """
        What a task changes in its inputs nobody else sees.
        """

        @task
        def spoils(items: list[int]) -> list[int]:
            items.append(9)
            return items

        @workflow
        def wf(items: list[int]) -> tuple[list[int], list[int]]:
            return spoils(items=items), spoils(items=items)

        given = [1]

        assert wf(items=given) == ([1, 9], [1, 9]) and given == [1]

    def test_large_values(self):
        """
        Values beyond what a message carries go their own way.
        """

        @task
        def make(n: int) -> bytes:
            return b"x" * n

        @task
        def measure(data: bytes) -> int:
            return len(data)

        @workflow
        def wf(n: int) -> int:
            return measure(data=make(n=n))

        assert wf(n=1_000_000) == 1_000_000

    def test_no_warnings_from_a_clean_program(self):
        """
        A program that does nothing odd hears nothing.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert inc(1) == 2
