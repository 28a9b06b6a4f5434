"""What a container is made of, from an actor environment or from a plain task's arguments, in the program's terms."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from greenroom import images, pods
from greenroom.definition_errors import BadArgument
from greenroom.quantities import seconds, size
from greenroom.resources import Resources, plain
from greenroom_core import program
from greenroom_core.values import pack
from greenroom_core.wire import to_wire

if TYPE_CHECKING:
    from greenroom.accelerators import BaseAccelerator
    from greenroom.environment import ActorEnvironment
    from greenroom.pods import PodTemplate
    from greenroom.secrets import Secret


@dataclass(frozen=True)
class Container:
    """Image, resources, variables and the rest of what one replica, or one call of a plain task, runs in."""

    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    requests: Resources | None = None
    limits: Resources | None = None
    accelerator: BaseAccelerator | None = None
    secrets: tuple[Secret, ...] = ()
    pod_template: PodTemplate | None = None
    pod_template_name: str | None = None
    shared_memory: bool | str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    interruptible: bool | None = None

    @classmethod
    def of(cls, environment: ActorEnvironment) -> Container:
        """The container of an actor environment's replicas."""
        return cls(
            image=environment.container_image,
            environment=environment.environment or {},
            requests=environment.requests,
            limits=environment.limits,
            accelerator=environment.accelerator,
            secrets=tuple(environment.secret_requests or ()),
            pod_template=environment.pod_template,
            interruptible=environment.interruptible,
        )

    def compiled(self) -> program.Environment:
        """The same in plain data, without a name and without the pool's own figures.

        A pod template's variables win over `environment`, its image over `image`; `requests` takes the place of the
        template's requests and limits.
        """
        parts = pods.read(self.pod_template)
        image = parts.image or self.image
        spec = images.spec_of(image)
        asked, limit = (self.requests, self.limits) if self.requests else (parts.requests, self.limits or parts.limits)
        variables = {**((spec.env if spec else None) or {}), **self.environment, **parts.env}
        return program.Environment(
            name="",
            image=None if image is None else str(image),
            from_spec=spec is not None,
            packages=images.requirements_of(spec) if spec else (),
            image_notes=images.notes_of(spec) if spec else (),
            env=variables,
            requests=plain(asked, self.accelerator),
            limits=plain(limit),
            secrets=tuple(dict.fromkeys(secret.variable for secret in self.secrets)),
            pod=self._pod(parts.rest),
            interruptible=self.interruptible,
        )

    def _pod(self, rest: Mapping[str, Any]) -> dict[str, Any]:
        extras: dict[str, Any] = {"template_name": self.pod_template_name}
        if self.shared_memory:
            told = self.shared_memory
            extras["shared_memory"] = True if told is True else size(told, "shared_memory")
        for name, own in (("labels", self.labels), ("annotations", self.annotations)):
            extras[name] = {**(rest.get(name) or {}), **own}
        return {**rest, **{name: value for name, value in extras.items() if value}}


def actor(environment: ActorEnvironment) -> program.Environment:
    """An actor environment in plain data."""
    return replace(
        Container.of(environment).compiled(),
        name=environment.name,
        replica_count=environment.replica_count,
        ttl=_seconds(environment.ttl_seconds, "ttl_seconds"),
        min_replicas=environment.min_replicas,
        scaledown_ttl=_seconds(environment.scaledown_ttl, "scaledown_ttl"),
        concurrency=environment.concurrency,
        cache_memory=_size(environment.cache_memory, "cache_memory"),
        cache_gpu_memory=_size(environment.cache_gpu_memory, "cache_gpu_memory"),
        max_calls=environment.max_calls,
        max_memory=_size(environment.max_memory, "max_memory"),
        max_age=_seconds(environment.max_age, "max_age"),
        prewarm=tuple(_bound(load) for load in environment.prewarm),
        launcher=environment.launcher,
    )


def regular(container: Container) -> program.Environment:
    """The environment behind plain tasks with this container; its name tells containers apart."""
    made = container.compiled()
    bare = made == program.Environment(name="")
    told = "" if bare else "-" + hashlib.sha256(pack(to_wire(made))).hexdigest()[:6]
    return replace(made, name=f"regular{told}", regular=True)


def _seconds(value: Any, name: str) -> float | None:
    return None if value is None else seconds(value, f"ActorEnvironment({name}=)")


def _size(value: Any, name: str) -> int | None:
    return None if value is None else size(value, f"ActorEnvironment({name}=)")


def _bound(load: Any) -> Mapping[str, Any]:
    describe = getattr(load, "to_wire", None)
    if describe is None:
        raise BadArgument("ActorEnvironment", "prewarm", load, "bound loaders, like (load_model.bind(state=3),)")
    described: Mapping[str, Any] = describe()
    return described


def split_resources(
    who: str, requests: Resources | None, limits: Resources | None, resources: Resources | None
) -> tuple[Resources | None, Resources | None]:
    """Requests and limits, from those or from `resources=`.

    Raises:
        BadArgument: Both are given, or pairs where there is nothing to pair.
    """
    if resources is not None:
        if requests is not None or limits is not None:
            raise BadArgument(who, "resources", resources, "none beside requests and limits")
        low, high = resources.split()
        return low, (high if resources.pairs() else None)
    for name, asked in (("requests", requests), ("limits", limits)):
        if asked is not None and asked.pairs():
            raise BadArgument(who, name, asked, "one amount for each resource: pairs are for resources=")
    return requests, limits


def check_secrets(who: str, secrets: Sequence[Secret] | None) -> tuple[Secret, ...]:
    """Secrets as a tuple.

    Raises:
        BadArgument: Something among them is no `Secret`.
    """
    from greenroom.secrets import Secret

    for secret in secrets or ():
        if not isinstance(secret, Secret):
            raise BadArgument(who, "secret_requests", secret, 'a list of Secret(key="...")')
    return tuple(secrets or ())
