"""Which local image a container is made from: the replica image, one that is named, or one that a setting maps to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from greenroom_core.program import Environment
from greenroom_core.requirements import Lacking, lacking


class BadImages(ValueError):
    """A mapping of images that cannot be read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"images: cannot read {self.text!r}; expected PATTERN=IMAGE, like 'ghcr.io/acme/*=acme-replica:7'"


class NoImage(RuntimeError):
    """No local image serves an environment; trying again changes nothing before somebody acts."""

    def __init__(self, environment: str, told: str) -> None:
        super().__init__(environment, told)
        self.environment, self.told = environment, told

    def __str__(self) -> str:
        return self.told


@dataclass(frozen=True, slots=True)
class Images:
    """The operator's settings about images."""

    replica: str
    """For environments that name none, and for image specs that it satisfies."""
    mapped: tuple[tuple[str, str], ...] = ()
    """`(pattern, image)`: a name, or a shell pattern over names; names go before patterns, then the first one wins."""

    @classmethod
    def read(cls, replica: str, text: str) -> Images:
        """Read `PATTERN=IMAGE,PATTERN=IMAGE`.

        Raises:
            BadImages: A part has no `=`, or nothing on one side of it.
        """
        mapped = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            pattern, _, image = (piece.strip() for piece in part.partition("="))
            if not pattern or not image:
                raise BadImages(part)
            mapped.append((pattern, image))
        return cls(replica, tuple(mapped))

    def mapping(self, name: str) -> str | None:
        """The local image that stands for a name; None where the operator says nothing about it."""
        exact = next((image for pattern, image in self.mapped if pattern == name), None)
        return exact or next((image for pattern, image in self.mapped if fnmatchcase(name, pattern)), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """An image, and what must still be looked at before it is used."""

    image: str
    wants: tuple[str, ...] = ()
    """Requirements of an image spec that it must satisfy."""


def choose(environment: Environment, images: Images) -> Choice:
    """The image of an environment's containers."""
    if environment.image is None:
        return Choice(images.replica)
    mapped = images.mapping(environment.image)
    if mapped is not None:
        return Choice(mapped)
    if environment.from_spec:
        return Choice(images.replica, environment.packages)
    return Choice(environment.image)


def check(environment: Environment, choice: Choice, have: Mapping[str, str]) -> None:
    """Refuse an image that lacks what a spec asks for.

    Args:
        environment: Whose containers.
        choice: Of `choose`.
        have: Distributions in the image: normalised name to version.

    Raises:
        NoImage: With what is missing and what to build.
    """
    missing = list(lacking(choice.wants, have))
    if missing:
        raise NoImage(environment.name, _not_satisfied(environment, choice.image, missing))


def _not_satisfied(environment: Environment, image: str, missing: Sequence[Lacking]) -> str:
    asked = ", ".join(f"{one.requirement} ({f'it has {one.have}' if one.have else 'not installed'})" for one in missing)
    packages = " ".join(f"'{one.requirement}'" if _ODD & set(one.requirement) else one.requirement for one in missing)
    return (
        f"the image of environment {environment.name!r} asks for {asked}, which the replica image {image} does not "
        f'give: build one that does (docker build --target replica --build-arg PACKAGES="{packages}" --tag NAME .) '
        f"and start the hub with --image '{environment.image}=NAME'"
    )


_ODD: Final = frozenset("<>=~!;[] ")


def not_here(environment: Environment, choice: Choice) -> str:
    """What to tell where the engine does not have an image."""
    name = choice.image
    if environment.image == name:
        return (
            f"image {name}, which environment {environment.name!r} names, is not on this machine: docker pull {name}, "
            f"or build it, or start the hub with --image '{name}=LOCAL' for one that is here"
        )
    return (
        f"the replica image {name} for environment {environment.name!r} is not on this machine: build it "
        f"(docker build --target replica --tag {name} .), or name another one with --replica-image or --image"
    )
