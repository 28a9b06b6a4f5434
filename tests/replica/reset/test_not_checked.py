# ruff: noqa: E501 - programs and tables of cases read better on one line.
"""What cannot be checked is said once per bundle, with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.replica.reset.lab import Lab, needs

Runner = Callable[..., Any]


def not_checked(runner: Runner, flow: str, **sources: str) -> list[str]:
    said = runner(lambda lab: (lab.reset.not_checked("bundle"), lab.reset.not_checked("bundle")), flow=flow, **sources)
    assert said[1] == []
    return said[0]


def test_a_large_array_is_named_with_its_size_and_the_remedy(runner: Runner) -> None:
    """
    An array above 64 KiB is not compared; one that is read-only needs no word, nor does a small one.
    """
    needs("numpy")
    flow = """
        import numpy
        TABLE = numpy.zeros(1_000_000)
        FROZEN = numpy.zeros(1_000_000)
        FROZEN.flags.writeable = False
        SMALL = numpy.zeros(10)
    """

    said = not_checked(runner, flow)

    assert len(said) == 1
    assert said[0].startswith("flow.TABLE (numpy.ndarray, 8.0 MB) is above 64 KiB and not checked between calls")
    assert "read-only" in said[0] and "@actor_cache" in said[0]


def test_iterators_files_and_library_objects_are_named(runner: Runner) -> None:
    """
    Iterators and files have a position that calls share; library objects are named together.
    """
    flow = """
        import itertools, os, sqlite3
        IDS = itertools.count()
        GEN = (x for x in [1])
        LOG = open(os.devnull)
        DB = sqlite3.connect(":memory:")
        DB2 = DB.cursor()
    """

    said = not_checked(runner, flow)

    assert len(said) == 5
    assert {"flow.IDS", "flow.GEN", "flow.DB2"} == {line.split()[0] for line in said if "cannot be rewound" in line}
    assert any(line.startswith("flow.LOG (_io.TextIOWrapper) is an open file") for line in said)
    assert any(line.startswith("flow.DB (sqlite3.Connection) is an object of a library") for line in said)


def test_what_everybody_has_in_globals_needs_no_word(runner: Runner) -> None:
    """
    Loggers, patterns, paths, dates, locks, types, modules, decorators' objects: nothing is said.
    """
    flow = """
        import contextvars, datetime, decimal, enum, fractions, functools, logging, operator, pathlib, re, threading, typing, uuid
        from typing import Generic, TypeVar
        T = TypeVar("T")
        LOG = logging.getLogger(__name__)
        PATTERN = re.compile("x")
        HERE = pathlib.Path(".")
        NOW = datetime.datetime.now()
        ZONE = datetime.timezone.utc
        LOCK = threading.Lock()
        PRICE = decimal.Decimal("1.5")
        HALF = fractions.Fraction(1, 2)
        ID = uuid.uuid4()
        Pairs = dict[str, list[int]]
        Maybe = int | None
        VAR = contextvars.ContextVar("v")
        get = operator.itemgetter(1)
        part = functools.partial(print, 1)
        class Color(enum.Enum):
            RED = 1
        class Box(Generic[T]): pass
    """

    assert not_checked(runner, flow) == []


def test_a_global_of_very_many_objects_is_named(runner: Runner) -> None:
    """
    More than 50,000 objects behind one global are not compared after every call; the other globals are.
    """
    flow = "HUGE = [[n] for n in range(60_000)]\nSMALL = [1]\ndef task():\n    SMALL.append(1)\n    return len(SMALL)\n"

    def scenario(lab: Lab) -> Any:
        return lab.reset.not_checked("bundle"), lab.call("task"), lab.call("task")

    said, *sizes = runner(scenario, flow=flow)

    assert "flow.HUGE (list) holds more than 50,000 objects" in said[0]
    assert sizes == [2, 2]


def test_a_library_object_keeps_what_calls_put_into_it(runner: Runner) -> None:
    """
    What is said to be kept is kept.
    """
    flow = "import vendored\nX = vendored.Client()\ndef task():\n    X.seen.append(1)\n    return len(X.seen)\n"
    vendored = "class Client:\n    def __init__(self): self.seen = []\n"

    def scenario(lab: Lab) -> Any:
        return lab.reset.not_checked("bundle"), lab.call("task"), lab.call("task"), lab.report

    said, *seen = runner(scenario, flow=flow, vendored=vendored)

    assert [line.split(":")[0] for line in said] == [
        "flow.X (vendored.Client) is an object of a library and not looked into"
    ]
    assert seen == [1, 2, None]
