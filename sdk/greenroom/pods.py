"""`PodTemplate`: a pod as Kubernetes' client models describe it, read without importing them.

Models of every age are taken (the current ones validate with pydantic, older ones carry `attribute_map`), and plain
dicts. On processes the primary container's variables and resources are honoured; the rest is carried along and said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.definition_errors import BadArgument
from greenroom.resources import Resources


@dataclass
class PodTemplate:
    """What a pod needs beside its image and resources.

    Attributes:
        pod_spec: A `V1PodSpec`, or a dict as in a manifest.
        primary_container_name: The container in which tasks run; it is added where `pod_spec` has none of that name.
        labels: Of the pod.
        annotations: Of the pod.
    """

    pod_spec: Any = None
    primary_container_name: str = "primary"
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.primary_container_name or not isinstance(self.primary_container_name, str):
            raise BadArgument(
                "PodTemplate",
                "primary_container_name",
                self.primary_container_name,
                'the name of a container, like "primary"',
            )

    def __hash__(self) -> int:
        return hash(self.primary_container_name)

    def __reduce__(self) -> Any:
        # As in a manifest: whoever reads it needs no client of Kubernetes.
        spec = None if self.pod_spec is None else plain(self.pod_spec)
        return (PodTemplate, (spec, self.primary_container_name, self.labels, self.annotations))


@dataclass(frozen=True, slots=True)
class PodParts:
    """A pod template taken apart: what every launcher understands, and the rest."""

    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    requests: Resources | None = None
    limits: Resources | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)
    """As in a manifest: `spec` without what stands above, `labels`, `annotations`, `primary`."""


def read(template: PodTemplate | None) -> PodParts:
    """Take a pod template apart.

    Raises:
        BadArgument: Its `pod_spec` is neither a model nor a dict, or holds an amount that is none.
    """
    if template is None:
        return PodParts()
    spec = plain(template.pod_spec) if template.pod_spec is not None else {}
    if not isinstance(spec, dict):
        raise BadArgument("PodTemplate", "pod_spec", template.pod_spec, "a V1PodSpec, or a dict as in a manifest")
    containers = [dict(container) for container in spec.get("containers") or ()]
    primary = next((c for c in containers if c.get("name") == template.primary_container_name), {})
    env = {e["name"]: str(e["value"]) for e in primary.get("env") or () if e.get("value") is not None}
    asked = primary.get("resources") or {}
    parts = PodParts(
        image=primary.get("image"),
        env=env,
        requests=_resources(asked.get("requests")),
        limits=_resources(asked.get("limits")),
    )
    return PodParts(parts.image, parts.env, parts.requests, parts.limits, _rest(template, spec, containers, primary))


def _rest(
    template: PodTemplate, spec: dict[str, Any], containers: list[dict[str, Any]], primary: dict[str, Any]
) -> dict[str, Any]:
    left = {key: value for key, value in primary.items() if key not in ("image", "env")}
    if refs := [e for e in primary.get("env") or () if e.get("value") is None]:
        left["env"] = refs
    if resources := _odd_resources(primary.get("resources") or {}):
        left["resources"] = resources
    else:
        left.pop("resources", None)
    others = [c for c in containers if c is not primary]
    kept = {key: value for key, value in spec.items() if key != "containers"}
    if len(left) > 1 or others:
        kept["containers"] = [*([left] if left else []), *others]
    rest: dict[str, Any] = {"spec": kept, "labels": template.labels, "annotations": template.annotations}
    rest = {key: value for key, value in rest.items() if value}
    return {**rest, "primary": template.primary_container_name} if rest else {}


_KNOWN = {"cpu": "cpu", "memory": "mem", "nvidia.com/gpu": "gpu", "ephemeral-storage": "ephemeral_storage"}


def _resources(amounts: Mapping[str, Any] | None) -> Resources | None:
    known = {_KNOWN[name]: amount for name, amount in (amounts or {}).items() if name in _KNOWN}
    return Resources(**known) if known else None


def _odd_resources(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Resources that are not among ours, such as huge pages and other devices."""
    odd: dict[str, Any] = {}
    for side, amounts in resources.items():
        left = {n: a for n, a in amounts.items() if n not in _KNOWN} if isinstance(amounts, Mapping) else amounts
        if left:
            odd[side] = left
    return odd


def plain(model: Any) -> Any:
    """Plain data with the names of a manifest, from a client model of any age, or from what is plain already."""
    if isinstance(model, Mapping):
        return {str(key): plain(item) for key, item in model.items() if item is not None}
    if isinstance(model, (list, tuple)):
        return [plain(item) for item in model]
    if isinstance(model, str):
        return str(model)
    names = getattr(model, "attribute_map", None)
    if isinstance(names, Mapping):
        parts = {name: getattr(model, attribute, None) for attribute, name in names.items()}
        return {name: plain(part) for name, part in parts.items() if part is not None}
    if hasattr(model, "model_dump"):
        return plain(model.model_dump(mode="json", by_alias=True, exclude_none=True))
    if hasattr(model, "isoformat"):
        return model.isoformat()
    return model
