"""Misuse of promises and definitions: refused where it is written, with the line and what to write instead."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from greenroom.definition_errors import (
    DefinitionError,
    MissingArgument,
    MissingReturn,
    PromiseMisuse,
    TooManyArguments,
    UnknownArgument,
    WrongOutputs,
    WrongPlace,
)
from greenroom.errors import AnnotationProblem, CyclicValue, TypeMismatch
from greenroom.files import File
from greenroom.promises import Promise
from greenroom.task import task
from greenroom.workflow import workflow


class Opaque:
    """Something that only its own code can look into."""

    size = 3


@dataclass
class Point:
    x: int


@task
def inc(n: int) -> int:
    return n + 1


@task
def text(s: str) -> str:
    return s


@task
def void() -> None: ...


@task
def numbers() -> list[int]:
    return [1]


@task
def opaque() -> Opaque:
    return Opaque()


@task
def point() -> Point:
    return Point(1)


@task
def file() -> File:
    return File("x")


def define(body: Callable[[Any], Any]) -> None:
    """Define a workflow whose body uses the promise of a task."""

    @workflow
    def wf(n: int) -> None:
        body(inc(n=n))


class TestUse:
    @pytest.mark.parametrize(
        ("use", "sign"),
        [
            (lambda p: p + 1, r"\+"),
            (lambda p: 1 + p, r"\+"),
            (lambda p: p * 2, r"\*"),
            (lambda p: -p, "-"),
            (lambda p: p / 2, "/"),
            (lambda p: p % 2, "%"),
            (lambda p: p**2, r"\*\*"),
            (lambda p: abs(p), "abs"),
            (lambda p: int(p), "int"),
            (lambda p: float(p), "float"),
            (lambda p: round(p), "round"),
            (lambda p: range(p), "an index"),
            (lambda p: [1, 2, 3][p], "an index"),
            (lambda p: p & True, "&"),
        ],
    )
    def test_arithmetic(self, use, sign):
        """
        Nothing can be computed with a promise; the error says where that is done.
        """
        with pytest.raises(
            PromiseMisuse, match=rf"{sign}(\(\))? cannot be done with it; do this inside a task"
        ) as caught:
            define(use)

        assert "test_misuse.py:" in str(caught.value) and "<promise inc.o0>" in str(caught.value)

    @pytest.mark.parametrize(
        ("use", "why"),
        [
            (lambda p: 1 if p else 2, "neither true nor false"),
            (lambda p: not p, "neither true nor false"),
            (lambda p: p > 1 and p < 3, "neither true nor false"),
            (lambda p: 1 if p > 1 else 2, "neither true nor false"),
            (lambda p: list(p), "cannot be iterated"),
            (lambda p: [x + 1 for x in p], "cannot be iterated"),
            (lambda p: len(p), "length is not known"),
            (lambda p: 1 in p, "what it contains"),
            (lambda p: p(), "cannot be called"),
            (lambda p: setattr(p, "x", 1), "cannot be assigned"),
            (lambda p: p.__setitem__(0, 1), "cannot be assigned"),
            (lambda p: p[p], "no constant index"),
            (lambda p: text(s=f"value {p}"), "formatted into text"),
            (lambda p: pickle.dumps(p), "packed into another object"),
        ],
    )
    def test_values(self, use, why):
        """
        A promise is not its value; each way of treating it as such has its sentence.
        """
        with pytest.raises(PromiseMisuse, match=why):
            define(use)

    def test_is_what_programs_of_this_field_catch(self):
        """
        The errors are the built-in classes that Flyte's programs know.
        """
        with pytest.raises(TypeError):
            define(lambda p: p + 1)
        with pytest.raises(ValueError):
            define(lambda p: bool(p > 1))

    def test_a_promise_can_be_copied_hashed_and_shown(self):
        """
        What does no harm is allowed.
        """
        seen: list[Any] = []
        define(lambda p: seen.extend([copy.deepcopy(p), {p: 1}, repr(p)]))

        assert isinstance(seen[0], Promise) and seen[2] == "<promise inc.o0>"

    @pytest.mark.parametrize("step", ["n", 0])
    def test_parts_of_what_has_none(self, step):
        """
        An int has no parts.
        """
        with pytest.raises(PromiseMisuse, match="int has no part"):
            define(lambda p: p[step] if step == 0 else p.n)

    @pytest.mark.parametrize("make", [opaque, file])
    def test_parts_of_what_is_opaque(self, make):
        """
        Only Python code can look into a pickle or a file: a task returns the part.
        """

        with pytest.raises(PromiseMisuse, match="return the part from a task"):
            define(lambda p: make().size)

    def test_parts_that_a_record_lacks(self):
        """
        The error names the fields that there are.
        """
        with pytest.raises(PromiseMisuse, match="it has x"):
            define(lambda p: point().y)

    def test_conditions_on_what_is_opaque(self):
        """
        The hub reads conditions without user code.
        """
        with pytest.raises(PromiseMisuse, match="a condition cannot read"):
            define(lambda p: opaque() == 1)

    def test_comparisons_with_another_type(self):
        """
        A number is never equal to a text.
        """
        with pytest.raises(PromiseMisuse, match="it is int, and is compared with 'a'"):
            define(lambda p: p == "a")

    def test_a_call_without_output_is_no_value(self):
        """
        What returns nothing cannot be handed on.
        """
        for use in (lambda p: inc(n=void()), lambda p: void().o0, lambda p: list(void())):
            with pytest.raises(PromiseMisuse, match="has no output"):
                define(use)

    def test_a_promise_in_a_foreign_object(self):
        """
        A promise hidden where nobody can reach it is found before anything runs.
        """

        @task
        def takes(items: set[int]) -> None: ...

        with pytest.raises(PromiseMisuse, match="hidden in a set"):
            define(lambda p: takes(items={p}))

    def test_a_promise_of_another_workflow(self):
        """
        Promises belong to one workflow.
        """
        kept: list[Any] = []
        define(kept.append)

        with pytest.raises(PromiseMisuse, match=r"it belongs to .*wf, and is used in .*wf"):
            define(lambda p: inc(n=kept[0]))

    def test_order_of_what_has_none(self):
        """
        Tasks, inputs and values are no calls.
        """
        with pytest.raises(WrongPlace, match=r"order its calls"):
            define(lambda p: inc >> p)
        with pytest.raises(WrongPlace, match="it orders calls"):
            define(lambda p: p >> 3)
        with pytest.raises(PromiseMisuse, match="comes before everything"):

            @workflow
            def wf(n: int) -> None:
                n >> inc(n=n)  # type: ignore[operator]


class TestCalls:
    def test_a_missing_input(self):
        """
        As Python says it, with the line of the call.
        """
        with pytest.raises(MissingArgument, match=r"inc\(\) missing 1 required positional argument: 'n'") as caught:
            define(lambda p: inc())

        assert "test_misuse.py:" in str(caught.value)

    def test_an_unknown_input(self):
        """
        The inputs that there are, are named.
        """
        with pytest.raises(UnknownArgument, match=r"unexpected keyword argument 'm'; it takes n"):
            define(lambda p: inc(n=p, m=1))

    def test_an_input_given_twice(self):
        """
        By position and by name is once too often.
        """
        with pytest.raises(UnknownArgument):
            define(lambda p: inc(p, n=1))

    def test_too_many(self):
        """
        More positions than inputs.
        """
        with pytest.raises(TooManyArguments, match=r"takes 1 inputs \(n\), got 2 by position"):
            define(lambda p: inc(p, 1))

    @pytest.mark.parametrize("value", ["x", 2.0, None, [1]])
    def test_a_constant_of_another_type(self, value):
        """
        A constant is checked where it is written; the error names task, input, expected and given.
        """
        with pytest.raises(TypeMismatch, match=r"inc', input 'n': expected int, got"):
            define(lambda p: inc(n=value))

    def test_a_constant_without_end(self):
        """
        A list that contains itself is refused where it is written.
        """

        @task
        def takes(items: list[list[int]]) -> None: ...

        endless: list[Any] = []
        endless.append(endless)

        with pytest.raises(CyclicValue, match=r"takes', input 'items'.*contains itself"):
            define(lambda p: takes(items=endless))

    def test_a_promise_of_another_type(self):
        """
        A promise's type is known before its value.
        """
        with pytest.raises(TypeMismatch, match=r"text', input 's': expected str, got <promise inc.o0> of type int"):
            define(lambda p: text(s=p))

    def test_a_run_is_called_as_a_definition(self):
        """
        Outside of a workflow the same mistakes get the same errors.
        """
        with pytest.raises(TypeError, match="missing 1 required"):
            inc()
        with pytest.raises(AssertionError, match="unexpected keyword"):
            inc(n=1, m=2)
        with pytest.raises(TypeError, match=r"input 'n': expected int, got 'x' \(str\)"):
            inc(n="x")


class TestDefinitions:
    def test_a_missing_annotation(self):
        """
        Each parameter needs a type; the error starts with the line of the function.
        """
        with pytest.raises(AnnotationProblem, match=r"test_misuse.py:\d+: .*, 'n': has no type"):

            @task
            def untyped(n) -> int:
                return n

    def test_untyped_parameters_can_be_asked_for(self):
        """
        `pickle_untyped` takes anything.
        """

        @task(pickle_untyped=True)
        def untyped(n) -> int:
            return n

        assert untyped(3) == 3

    @pytest.mark.parametrize("decorate", [task, workflow])
    def test_a_missing_return(self, decorate):
        """
        A body that promises an output returns one.
        """
        with pytest.raises(MissingReturn, match="annotated to return int"):

            @decorate
            def silent(n: int) -> int:
                n + 1  # noqa: B018

    def test_nested_functions_do_not_count(self):
        """
        A return of an inner function is none of the outer one's.
        """
        with pytest.raises(MissingReturn):

            @task
            def silent(n: int) -> int:
                def inner() -> int:
                    return n

                inner()

    def test_what_returns_nothing_on_purpose(self):
        """
        `return None`, `raise` and branches that return are no mistakes.
        """

        @task
        def maybe(n: int) -> int | None:
            if n:
                return None
            return None

        @task
        def never(n: int) -> int:
            raise NotImplementedError

        @task
        def branch(n: int) -> int:
            try:
                return n
            finally:
                pass

        assert None is maybe(1)

    @pytest.mark.parametrize(
        ("returned", "problem"),
        [
            (lambda: None, "no output"),
            (lambda: inc(n=1), "must return 2 outputs"),
            (lambda: (inc(n=1), inc(n=2), inc(n=3)), "got 3"),
            (lambda: void(), "no output"),
        ],
    )
    def test_outputs_that_are_not_there(self, returned, problem):
        """
        A workflow returns as many outputs as it is annotated to.
        """
        with pytest.raises(WrongOutputs, match=problem):

            @workflow
            def wf() -> tuple[int, int]:
                return returned()

    def test_outputs_of_another_type(self):
        """
        An output's type is checked when the workflow is defined.
        """
        with pytest.raises(TypeMismatch, match="output 'o0': expected str"):

            @workflow
            def wf() -> str:
                return inc(n=1)

    def test_a_workflow_that_is_async(self):
        """
        A workflow's body awaits nothing: that is what eager tasks are for.
        """
        with pytest.raises(DefinitionError, match="@eager"):

            @workflow
            async def wf(n: int) -> int:
                return n

    def test_a_task_that_is_no_function(self):
        """
        Only functions can be tasks.
        """
        with pytest.raises(DefinitionError, match="a function"):
            task(3)

    def test_errors_survive_pickling(self):
        """
        An error that crossed a process says the same.
        """
        with pytest.raises(PromiseMisuse) as caught:
            define(lambda p: p + 1)

        assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))

    def test_the_workflow_is_named(self):
        """
        An error in a body says which workflow was being defined.
        """
        with pytest.raises(PromiseMisuse) as caught:
            define(lambda p: p + 1)

        assert caught.value.__notes__ == ["while workflow tests.sdk.language.test_misuse.wf was being defined"]


class TestContainers:
    @pytest.mark.parametrize("value", [lambda p: [p], lambda p: {"a": p}])
    def test_of_promises_where_none_is_expected(self, value):
        """
        A list or a dict of promises is refused where a plain value is expected.
        """
        with pytest.raises(TypeMismatch, match="input 'n': expected int"):
            define(lambda p: inc(n=value(p)))
