from dataclasses import dataclass
from typing import Dict, List, NamedTuple

from flytekit import task, workflow


@dataclass
class Foo:
    a: str


@dataclass
class Bar:
    foos: List[Foo]
    m: Dict[str, Foo]


@task
def print_str(a: str) -> str:
    return a


@task
def bar() -> Bar:
    return Bar([Foo("x"), Foo("y")], {"k": Foo("z")})


@task
def l() -> List[Dict[str, List[int]]]:
    return [{"a": [1, 2]}]


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def t() -> Dict[str, str]:
    return {"a": "b"}


@workflow
def basic(bb: Bar) -> str:
    return print_str(a=bb.foos[1].a)


@workflow
def wf() -> (str, str, str, int, str, List[str], Dict[str, str]):
    b = bar()
    x = l()
    return (
        print_str(a=b.foos[0].a),
        print_str(a=b.m["k"].a),
        print_str(a=t()["a"]),
        add(a=x[0]["a"][1], b=2),
        basic(bb=b),
        [b.foos[0].a, "c"],
        {"q": t()["a"]},
    )
