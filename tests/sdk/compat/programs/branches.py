from typing import Optional

from flytekit import conditional, task, workflow


@task
def dbl(n: float) -> float:
    return 2 * n


@task
def sq(n: float) -> float:
    return n * n


@task
def coin(seed: int) -> bool:
    return seed % 2 == 0


@task
def maybe(x: int) -> Optional[int]:
    return None if x > 100 else x


@task
def say(s: str) -> str:
    return s + "!"


@workflow
def inner(n: float) -> float:
    return conditional("inner").if_(n > 5.0).then(sq(n=n)).else_().then(dbl(n=n))


@workflow
def main(x: float, flag: bool = False, seed: int = 4) -> (float, str, str):
    c = coin(seed=seed)
    r = (
        conditional("outer")
        .if_((x > 0.0) & (x < 10.0))
        .then(
            conditional("nested").if_(c.is_true()).then(inner(n=x)).elif_(x == 3.0).then(dbl(n=x)).else_().fail("odd")
        )
        .elif_((x >= 10.0) | (x == -1.0))
        .then(dbl(n=x))
        .else_()
        .fail("negative")
    )
    t = conditional("flag").if_(flag.is_true()).then(say(s="yes")).else_().then(say(s="no"))
    m = maybe(x=200)
    u = conditional("none").if_(m.is_none()).then(say(s="none")).else_().then(say(s="some"))
    return r, t, u
