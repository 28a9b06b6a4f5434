# ruff: noqa: UP045
"""Classes that the tests of values use; in a module, as a program's are."""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, NamedTuple, NotRequired, Optional, TypedDict, TypeVar

from greenroom.files import Directory, File

T = TypeVar("T")
U = TypeVar("U")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Odd(enum.Enum):
    """Values that have no hash, and one that only Python code can tell apart."""

    LIST = [1, 2]
    PAIR = (1, "a")
    NOTHING = None


class Operation(enum.Enum):
    ADD = enum.member(lambda a, b: a + b)
    FIRST = enum.member(lambda a, b: a)


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Single(NamedTuple):
    only: int


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Loose(TypedDict, total=False):
    a: int
    b: str


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass
class Point3(Point):
    z: int = 0


@dataclass(frozen=True)
class Frozen:
    point: Point
    tags: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Slotted:
    a: int
    b: list[Point] = field(default_factory=list)


@dataclass
class Node:
    value: int
    next: Optional[Node] = None


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    by_name: dict[str, Tree] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class Crate(Box[U], Generic[U]):
    label: str = ""


@dataclass
class IntBox(Box[int]):
    pass


@dataclass
class Doubled:
    """Changes its own field when it is made: arriving must not do that again."""

    x: int
    helper: Any = field(init=False, default=None, compare=False)

    def __post_init__(self):
        self.x *= 2
        self.helper = ["made"]


@dataclass
class Seeded:
    """Takes what it does not keep."""

    x: int
    seed: InitVar[int]
    total: int = field(init=False, default=0)

    def __post_init__(self, seed):
        self.total = self.x + seed


@dataclass
class Documents:
    main: File
    others: list[File] = field(default_factory=list)
    folder: Optional[Directory] = None


@dataclass
class Careless:
    """Defaults that the annotations do not allow, as people write them."""

    name: str = None
    points: list[Point] = None


class CarelessPair(NamedTuple):
    left: int = None


class Plain:
    """A class with no form of its own."""

    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return type(other) is type(self) and other.n == self.n

    def __hash__(self):
        return hash(self.n)

    def __repr__(self):
        return f"Plain({self.n})"


class Special(Plain):
    pass
