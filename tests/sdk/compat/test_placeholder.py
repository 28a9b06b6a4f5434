"""What Greenroom does not serve can be mentioned, and says what to write instead when it is used."""

from __future__ import annotations

import abc
import importlib
import pickle
from dataclasses import dataclass
from typing import Any, Generic, Optional, TypeVar, get_type_hints

import pytest

from greenroom.compat.placeholder import NotServed, Placeholder, stand_in

T = TypeVar("T")


@pytest.fixture
def thing() -> Any:
    return Placeholder("flytekit", "ContainerTask", "use a container_image")


def test_mentioning_is_no_use(thing: Any) -> None:
    """
    Annotations, unions, subscripts, attributes, tests and base classes all work while a module is imported.
    """

    @dataclass
    class Settings:
        a: thing | None = None
        b: Optional[thing] = None  # noqa: UP045
        c: thing[int] = thing.DEFAULT

    class Plain(thing): ...  # type: ignore[misc]

    class Mixed(thing, abc.ABC, Generic[T]):  # type: ignore[misc]
        def method(self) -> int: ...

    def function(x: thing, y: "list[thing]" = ()) -> thing: ...  # noqa: UP037

    assert Settings().c == thing.DEFAULT
    assert not isinstance(3, thing)
    assert issubclass(Plain, thing)
    assert not issubclass(int, thing)
    assert get_type_hints(function, localns=locals())["x"] is thing
    assert thing in {thing: 1}


def test_using_says_what_to_write(thing: Any) -> None:
    """
    Calling it, or a class that derives from it, fails with its name and the remedy.
    """

    class Mine(thing): ...  # type: ignore[misc]

    sentence = r"flytekit\.ContainerTask is not part of Greenroom: use a container_image"
    with pytest.raises(NotServed, match=sentence):
        thing(name="x", image="y")
    with pytest.raises(NotServed, match=sentence):
        Mine()
    with pytest.raises(NotServed, match=r"flytekit\.ContainerTask\.build is not"):
        thing.build(1)


def test_as_a_decorator_it_fails_when_the_function_is_called(thing: Any) -> None:
    """
    A decorated function's module can be imported; calling the function says what to write instead.
    """

    @thing
    def step(n: int) -> int:
        """Doc."""
        return n

    assert (step.__name__, step.__doc__) == ("step", "Doc.")
    with pytest.raises(NotServed):
        step(1)


def test_errors_can_be_caught() -> None:
    """
    What is an error is an exception class, for `except` clauses.
    """
    error = stand_in("flytekit.exceptions.user", "FlyteEntityNotExistException", "...")

    try:
        raise ValueError
    except error:
        raise AssertionError from None
    except ValueError:
        pass
    assert issubclass(error, Exception)


def test_they_survive_pickling(thing: Any) -> None:
    """
    A placeholder, and its error, travel.
    """
    assert pickle.loads(pickle.dumps(thing)) == thing
    assert str(pickle.loads(pickle.dumps(NotServed("a.b", "write c")))) == "a.b is not part of Greenroom: write c"


@pytest.mark.usefixtures("alias")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("from flytekitplugins.spark import Spark\nSpark(spark_conf={})", "use the library itself in a plain @task"),
        ("from flytekit import ContainerTask\nContainerTask(name='x', image='y')", "container_image="),
        ("from flytekit.extras.tasks.shell import ShellTask\nShellTask(name='x')", "subprocess.run"),
        ("import union.app\nunion.app.App(name='x')", "actor_cache"),
        ("from flytekit.remote.remote_fs import FlyteFS\nFlyteFS()", "greenroom.Client"),
        ("from flytekit.models.presto import PrestoQuery\nPrestoQuery(1)", "no Flyte IDL"),
        ("from flytekitplugins.pod import Pod\nPod(pod_spec=1)", "pod_template=PodTemplate"),
        ("import flyte\nflyte.TaskEnvironment(name='x')", "Flyte 2"),
    ],
)
def test_what_to_write_instead(text: str, sentence: str) -> None:
    """
    Plugins, tasks of other kinds, apps, models and Flyte 2 import, and fail on use with a sentence each.
    """
    lines = text.splitlines()
    exec(lines[0], scope := {})

    with pytest.raises(NotServed, match=sentence):
        exec(lines[1], scope)


@pytest.mark.usefixtures("alias")
def test_plugins_that_nobody_wrote_are_missing() -> None:
    """
    An unknown plugin is a missing module, as ever.
    """
    with pytest.raises(ModuleNotFoundError, match=r"flytekitplugins\.nothing"):
        importlib.import_module("flytekitplugins.nothing")
