"""`with_overrides`: one call that is treated otherwise than its task says."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from greenroom.building import Draft, resized
from greenroom.containers import check_secrets, split_resources
from greenroom.definition_errors import BadArgument, PromiseMisuse
from greenroom.environment import check_variables
from greenroom.errors import GreenroomWarning
from greenroom.options import Cache, Options, read_retries, read_timeout
from greenroom_core.graph import NodeKind

_OF_CALL: Final = ("aliases", "name", "retries", "timeout", "queue_timeout", "interruptible", "cache", "cache_version")
_OF_CACHE: Final = ("cache_serialize", "cache_ignore_input_vars")
_OF_CONTAINER: Final = (
    "requests",
    "limits",
    "resources",
    "container_image",
    "environment",
    "accelerator",
    "shared_memory",
    "pod_template",
    "pod_template_name",
    "secret_requests",
    "labels",
    "annotations",
)


def override(draft: Draft, node_name: str | None, given: Mapping[str, Any]) -> None:
    """Apply overrides to a node.

    Raises:
        BadArgument: One is unknown, or its value is not taken.
        PromiseMisuse: One is a promise.
    """
    who = f"with_overrides of {draft.id}"
    _check(who, {"node_name": node_name, **given}, getattr(draft.target, "recoverable_only", False))
    if node_name is not None:
        draft.rename(node_name)
    given = {name: value for name, value in given.items() if value is not None}
    draft.aliases.update(given.get("aliases") or {})
    _of_call(who, draft, given)
    if draft.kind in (NodeKind.TASK, NodeKind.MAP):
        _of_task(who, draft, given)
    elif ignored := sorted({*_OF_CACHE, *_OF_CONTAINER} & given.keys()):
        raise BadArgument(who, ignored[0], given[ignored[0]], "none: it is for calls of tasks")


def _check(who: str, given: Mapping[str, Any], lenient: bool) -> None:
    """Refuse what is no override; where the program was written for Flyte, which ignores it, say so and go on."""
    from greenroom.promises import promises_in

    known = (*_OF_CALL, *_OF_CACHE, *_OF_CONTAINER)
    for name, value in given.items():
        if name not in known and name != "node_name":
            unknown = BadArgument(who, name, value, f"nothing: there are node_name, {', '.join(known)}")
            if not lenient:
                raise unknown
            warnings.warn(f"{unknown} (it has no effect)", GreenroomWarning, stacklevel=4)
        for promise in promises_in(value):
            remedy = "give it a constant; what depends on data belongs in @dynamic"
            raise PromiseMisuse(repr(promise), f"{name}= is settled before the workflow runs", remedy)


def _of_call(who: str, draft: Draft, given: Mapping[str, Any]) -> None:
    cache = given.get("cache")
    if cache is not None and not isinstance(cache, (bool, Cache)):
        raise BadArgument(who, "cache", cache, "True, False or Cache(version=...)")
    version = given.get("cache_version") or (cache.version if isinstance(cache, Cache) else None)
    recoverable_only = getattr(draft.target, "recoverable_only", False)
    draft.overrides = resized(
        draft.overrides,
        name=given.get("name"),
        retries=read_retries(who, given["retries"], recoverable_only) if "retries" in given else None,
        timeout=read_timeout(who, "timeout", given["timeout"]) if "timeout" in given else None,
        queue_timeout=read_timeout(who, "queue_timeout", given["queue_timeout"]) if "queue_timeout" in given else None,
        interruptible=given.get("interruptible"),
        cached=None if cache is None else bool(cache),
        cache_version=version,
    )


def _of_task(who: str, draft: Draft, given: Mapping[str, Any]) -> None:
    """What a node cannot say by itself makes it call a variant of its task."""
    from greenroom.task import Task

    assert isinstance(draft.target, Task)
    changes: dict[str, Any] = {}
    options = draft.target.options
    if given.get("timeout") == 0:
        changes["timeout"] = None
    if cache := _cache(options, given):
        changes["cache"] = cache
    touched = sorted(set(_OF_CONTAINER) & given.keys())
    if touched and options.environment is not None:
        shared = f"replicas of {options.environment.name!r} run already; use an ActorEnvironment of its own"
        notes = (f"{name}= on a call of {draft.target.name} has no effect: {shared}" for name in touched)
        changes["notes"] = (*options.notes, *notes)
    elif touched:
        changes["container"] = replace(options.container, **dict(_container(who, options, given)))
    if changes:
        draft.target = draft.target.variant(replace(options, **changes))


def _cache(options: Options, given: Mapping[str, Any]) -> Cache | None:
    cache = given.get("cache")
    if isinstance(cache, Cache):
        return cache
    rest = {"serialize": given.get("cache_serialize"), "ignored_inputs": given.get("cache_ignore_input_vars")}
    changed = {name: value for name, value in rest.items() if value is not None}
    if cache is True and options.cache is None:
        return Cache(given.get("cache_version"), **changed)
    return replace(options.cache, **changed) if changed and options.cache is not None else None


def _container(who: str, options: Options, given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    sizes = [given.get(name) for name in ("requests", "limits", "resources")]
    if any(size is not None for size in sizes):
        requests, limits = split_resources(who, *sizes)
        yield "requests", requests or options.container.requests
        yield "limits", limits or options.container.limits
    if "container_image" in given:
        yield "image", given["container_image"]
    if "environment" in given:
        check_variables(who, given["environment"])
        yield "environment", {**options.container.environment, **given["environment"]}
    if "secret_requests" in given:
        yield "secrets", check_secrets(who, given["secret_requests"])
    for name in ("accelerator", "shared_memory", "pod_template", "pod_template_name", "labels", "annotations"):
        if name in given:
            yield name, given[name]
