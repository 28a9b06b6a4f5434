"""Tables as older programs write them, and what docstrings say of inputs."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import pytest

from greenroom import StructuredDataset, kwtypes, map_task, task, workflow
from greenroom.compat.docstrings import described
from greenroom.compat.schemas import FlyteSchema
from greenroom.metadata import TaskMetadata

COLUMNS = kwtypes(name=str, age=int)
FRAME = pd.DataFrame({"name": ["a", "b"], "age": [1, 2], "more": [3, 4]})


@task
def made() -> FlyteSchema[COLUMNS]:  # type: ignore[valid-type]
    return FRAME


@task
def written() -> FlyteSchema:
    schema = FlyteSchema()
    schema.open().write(FRAME, FRAME)
    return schema


@task
def handed_on(table: FlyteSchema[COLUMNS]) -> FlyteSchema[COLUMNS]:  # type: ignore[valid-type]
    return table


@task
def read(table: FlyteSchema) -> list[str]:
    return list(table.open().all().columns)


@task
def rows(table: StructuredDataset) -> int:
    return len(table.open(pd.DataFrame).all())


@task
def ages(table: Annotated[pd.DataFrame, kwtypes(age=int)]) -> list[int]:
    return [int(age) for age in table["age"]]


def test_schemas_are_tables() -> None:
    """
    A FlyteSchema goes where a StructuredDataset or a data frame is wanted, and the other way round.
    """

    @workflow
    def wf() -> tuple[list[str], int, list[int]]:
        table = handed_on(table=made())
        return read(table=table), rows(table=written()), ages(table=table)

    columns, number, found = wf()

    assert columns[:2] == ["name", "age"]
    assert (number, found) == (4, [1, 2])


@pytest.mark.parametrize(
    "text",
    [
        "Does.\n\n:param a: the first\n:param int b: the second\n:return: a sum\n",
        "Does.\n\nArgs:\n    a: the first\n    b (int): the second\n\nReturns:\n    a sum\n",
        "Does.\n\nParameters\n----------\na : int\n    the first\nb\n    the second\n\n"
        "Returns\n-------\nint\n    a sum\n",
    ],
)
def test_descriptions_are_read(text: str) -> None:
    """
    Docstrings of all three manners describe inputs and outputs.
    """
    assert described(text) == ({"a": "the first", "b": "the second"}, "a sum")


def test_a_maps_metadata_treats_its_items() -> None:
    """
    `map_task(t, metadata=TaskMetadata(retries=2))` repeats items.
    """
    tries: list[int] = []

    @task
    def twice(n: int) -> int:
        tries.append(n)
        if len(tries) < 3:
            raise ValueError("again")
        return n

    @workflow
    def wf() -> list[int]:
        return map_task(twice, metadata=TaskMetadata(retries=2))(n=[7])

    assert wf() == [7]
    assert tries == [7, 7, 7]


def test_metadata_is_checked() -> None:
    """
    A timeout is seconds or a timedelta, and what belongs to caching needs it.
    """
    with pytest.raises(ValueError, match="timeout takes seconds or a timedelta"):
        TaskMetadata(timeout="5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cache_version"):
        TaskMetadata(cache=True)
    with pytest.raises(ValueError, match="cache_serialize takes a value only beside cache=True"):
        TaskMetadata(cache_serialize=True)
