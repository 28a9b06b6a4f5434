import typing

from flytekit import LaunchPlan, conditional, dynamic, map_task, task, workflow
from flytekit.types.file import FlyteFile


@task
def write(name: str) -> FlyteFile:
    with open(f"{name}.txt", "w") as f:
        f.write(name * 3)
    return FlyteFile(f"{name}.txt")


@task
def size(f: FlyteFile) -> int:
    with open(f) as text:
        return len(text.read())


@task
def show(d: typing.Dict[str, int]) -> str:
    return str(sorted(d.items()))


@workflow
def one(name: str) -> int:
    return size(f=write(name=name))


lp = LaunchPlan.get_or_create(one, name="fan_out_one")


@task
def isbig(n: int) -> str:
    return "big"


@task
def issmall(n: int) -> str:
    return "small"


@dynamic
def fan(names: typing.List[str]) -> (typing.Dict[str, int], typing.List[int], typing.List[str]):
    d = {}
    for n in names:
        d[n] = one(name=n)
    m = map_task(write)(name=names)
    sizes = map_task(size)(f=m)
    cs = []
    for n in names:
        v = lp(name=n)
        cs.append(conditional(f"c{n}").if_(v > 2).then(isbig(n=v)).else_().then(issmall(n=v)))
    return d, sizes, cs


@workflow
def wf(names: typing.List[str]) -> (str, typing.List[int], typing.List[str]):
    d, s, c = fan(names=names)
    return show(d=d), s, c
