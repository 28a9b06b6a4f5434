"""`ImageSpec`: what a container image must hold, as users describe it.

Nothing is built here. On processes its packages are compared with the interpreter's and what cannot be honoured is
said; on containers the launcher builds it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from greenroom.definition_errors import BadArgument

Listed: TypeAlias = Sequence[str]

_FIELDS: Final[dict[str, Any]] = {
    "name": "greenroom",
    "python_version": None,
    "builder": None,
    "source_root": None,
    "env": None,
    "registry": None,
    "packages": None,
    "conda_packages": None,
    "conda_channels": None,
    "requirements": None,
    "apt_packages": None,
    "cuda": None,
    "cudnn": None,
    "base_image": None,
    "platform": "linux/amd64",
    "pip_index": None,
    "pip_extra_index_url": None,
    "pip_secret_mounts": None,
    "pip_extra_args": None,
    "registry_config": None,
    "entrypoint": None,
    "commands": None,
    "tag_format": None,
    "source_copy_mode": None,
    "copy": None,
    "python_exec": None,
    "runtime_packages": None,
    "builder_options": None,
    "builder_config": None,
}
_LISTS: Final = frozenset(
    {
        "packages",
        "conda_packages",
        "conda_channels",
        "apt_packages",
        "pip_extra_index_url",
        "pip_secret_mounts",
        "entrypoint",
        "commands",
        "copy",
        "runtime_packages",
    }
)
_SILENT: Final = frozenset({"name", "registry", "platform", "builder", "tag_format", "registry_config"})
"""Of no meaning where no image is made."""

_known: dict[str, ImageSpec] = {}
"""Every spec by its name, since models that validate keep only the text."""


class ImageSpec(str):
    """An image, described. It is text, its own name, so that it can stand wherever an image's name can.

    (Kubernetes' client models take nothing else for `V1Container(image=)`.) Two specs are equal if all their fields
    are. Fields are those of flytekit's `ImageSpec`, positional in its order; all are attributes.
    """

    _given: dict[str, Any]

    def __new__(cls, *args: Any, **fields: Any) -> ImageSpec:
        given = _arguments(args, fields)
        spec = super().__new__(cls, _image_name(given))
        spec._given = given
        return _known.setdefault(str(spec), spec)

    def __getattr__(self, field: str) -> Any:
        try:
            return self._given[field]
        except KeyError:
            raise AttributeError(f"ImageSpec has no field {field!r}") from None

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._given.items() if value != _FIELDS[name])
        return f"ImageSpec({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_again, (self._given,))

    @property
    def tag(self) -> str:
        """The image's tag: `tag_format` around the hash of all fields."""
        return str(self).rsplit(":", 1)[1]

    def image_name(self) -> str:
        """The image's full name; nothing is built for it."""
        return str(self)

    def is_container(self) -> bool:
        """Whether the code that asks runs in this image; also true where no image is used at all."""
        return os.environ.get("GREENROOM_IMAGE", str(self)) == str(self)

    def exist(self) -> bool:
        """Whether the image has been built: never from here, since builds belong to the launcher."""
        return False

    def force_push(self) -> ImageSpec:
        """The same image; content decides what is built, so that there is nothing to force."""
        return self

    def with_packages(self, packages: str | Listed) -> ImageSpec:
        """The same with more Python packages."""
        return self._more("packages", packages)

    def with_apt_packages(self, apt_packages: str | Listed) -> ImageSpec:
        """The same with more Debian packages."""
        return self._more("apt_packages", apt_packages)

    def with_commands(self, commands: str | Listed) -> ImageSpec:
        """The same with more commands to run in the build."""
        return self._more("commands", commands)

    def with_copy(self, src: str | Listed) -> ImageSpec:
        """The same with more files copied in."""
        return self._more("copy", src)

    def with_runtime_packages(self, runtime_packages: str | Listed) -> ImageSpec:
        """The same with more packages that are installed when the container starts."""
        return self._more("runtime_packages", runtime_packages)

    def with_builder_options(self, builder_options: dict[str, Any]) -> ImageSpec:
        """The same with more options for the builder."""
        return type(self)(**{**self._given, "builder_options": {**(self.builder_options or {}), **builder_options}})

    def _more(self, field: str, items: str | Listed) -> ImageSpec:
        added = [items] if isinstance(items, str) else list(items)
        return type(self)(**{**self._given, field: [*(self._given[field] or ()), *added]})

    @classmethod
    def from_env(cls, *, pinned_packages: Listed | None = None, **fields: Any) -> ImageSpec:
        """An image with this interpreter's version, and the named packages at the versions installed here."""
        from importlib.metadata import version

        pinned = [f"{name}=={version(name)}" for name in pinned_packages or ()]
        fields.setdefault("python_version", f"{sys.version_info.major}.{sys.version_info.minor}")
        return cls(**{**fields, "packages": [*(fields.get("packages") or ()), *pinned]})


def _again(given: dict[str, Any]) -> ImageSpec:
    return ImageSpec(**given)


def _arguments(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    names = list(_FIELDS)
    if len(args) > len(names):
        raise BadArgument("ImageSpec", "arguments", len(args), f"at most {len(names)}")
    given = dict(zip(names, args, strict=False))
    for name, value in fields.items():
        if name not in _FIELDS:
            raise BadArgument("ImageSpec", name, value, f"no such field; it has {', '.join(names)}")
        if name in given:
            raise BadArgument("ImageSpec", name, value, "given twice, by position and by name")
        given[name] = value
    given = {name: given.get(name, default) for name, default in _FIELDS.items()}
    for name in _LISTS:
        value = given[name]
        if value is not None and (isinstance(value, str) or not all(isinstance(item, str) for item in value)):
            raise BadArgument("ImageSpec", name, value, 'a list of text, like ["numpy>=2"]')
        given[name] = value if value is None else list(value)
    if not given["name"] or not isinstance(given["name"], str):
        raise BadArgument("ImageSpec", "name", given["name"], 'text, like "my-image"')
    return given


def _image_name(given: dict[str, Any]) -> str:
    told = repr([(name, _stable(given[name])) for name in _FIELDS])
    spec_hash = hashlib.sha256(told.encode()).hexdigest()[:16]
    tag = (given["tag_format"] or "{spec_hash}").format(spec_hash=spec_hash)
    registry = f"{given['registry']}/" if given["registry"] else ""
    return f"{registry}{given['name']}:{tag}"


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((str(key), _stable(item)) for key, item in value.items())
    return str(value) if isinstance(value, ImageSpec) else value


def spec_of(image: str | None) -> ImageSpec | None:
    """The spec that an image's name stands for, also where a model has turned it into plain text."""
    if image is None or isinstance(image, ImageSpec):
        return image
    return _known.get(image)


def requirements_of(spec: ImageSpec) -> tuple[str, ...]:
    """The Python packages that an image asks for, its requirements file included.

    Raises:
        BadArgument: The requirements file cannot be read.
    """
    asked = [*(spec.packages or ()), *(spec.runtime_packages or ())]
    if spec.requirements and str(spec.requirements).endswith((".txt", ".in")):
        asked += _read_requirements(str(spec.requirements))
    return tuple(dict.fromkeys(asked))


def _read_requirements(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.split(" #")[0].strip() for line in file]
    except OSError as fault:
        raise BadArgument("ImageSpec", "requirements", path, f"a file that can be read ({fault.strerror})") from fault
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def notes_of(spec: ImageSpec) -> tuple[str, ...]:
    """What of an image cannot be had where replicas are processes, in words for people."""
    notes = []
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if spec.python_version and ".".join(str(spec.python_version).split(".")[:2]) != own:
        notes.append(f"python {spec.python_version} (runs on {own})")
    for field, word in (("apt_packages", "apt"), ("conda_packages", "conda"), ("commands", "commands")):
        if given := getattr(spec, field):
            notes.append(f"{word}: {', '.join(given)}")
    if spec.requirements and not str(spec.requirements).endswith((".txt", ".in")):
        notes.append(f"requirements from {spec.requirements}")
    told = {"python_version", "packages", "runtime_packages", "requirements", "apt_packages", "conda_packages"}
    rest = [name for name in _FIELDS if name not in told | _SILENT | {"commands", "env"} and getattr(spec, name)]
    return (*notes, *(f"{name}={getattr(spec, name)!r}" for name in rest))
