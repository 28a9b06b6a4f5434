"""Settings that programs for Flyte make to serialize themselves: kept as they are, since nothing is built from them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final


@dataclass(frozen=True)
class Image:
    """An image's name, in parts."""

    name: str
    fqn: str
    tag: str | None
    digest: str | None = None

    @property
    def full(self) -> str:
        """The name as registries know it."""
        if self.digest:
            return f"{self.fqn}@{self.digest}"
        return f"{self.fqn}:{self.tag}" if self.tag else self.fqn

    @property
    def version(self) -> str | None:
        """The digest, or the tag."""
        return self.digest or self.tag

    @staticmethod
    def look_up_image_info(name: str, image_identifier: str, allow_no_tag_or_digest: bool = False) -> Image:
        """The parts of a name.

        Raises:
            ValueError: It has neither tag nor digest, and needs one.
        """
        found = _IMAGE.fullmatch(image_identifier)
        if found is None or not (found["tag"] or found["digest"] or allow_no_tag_or_digest):
            raise ValueError(f"{image_identifier!r} is no image with a tag or a digest, like registry/name:tag")
        return Image(name, found["fqn"], found["tag"], found["digest"])


_IMAGE: Final = re.compile(r"(?P<fqn>[\w.\-]+(?::\d+(?=/))?(?:/[\w.\-]+)*)(?::(?P<tag>[\w.\-]+))?(?:@(?P<digest>\S+))?")


@dataclass
class ImageConfig:
    """The image of tasks that name none, and others by name."""

    default_image: Image | None = None
    images: list[Image] | None = None

    def find_image(self, name: str) -> Image | None:
        """The image of a name."""
        return next((image for image in self.images or () if image.name == name), None)

    @classmethod
    def create_from(cls, default_image: Image | None, other_images: list[Image] | None = None) -> ImageConfig:
        """From the default image and others.

        Raises:
            ValueError: The default one is no Image.
        """
        if default_image is not None and not isinstance(default_image, Image):
            raise ValueError(f"the default image must be an Image, got {default_image!r}")
        return cls(default_image, [*([default_image] if default_image else []), *(other_images or [])])

    @classmethod
    def auto(cls, config_file: Any = None, img_name: str | None = None) -> ImageConfig:
        """From a name; none without one."""
        if img_name is None:
            return cls()
        return cls.create_from(Image.look_up_image_info("default", img_name))

    @classmethod
    def auto_default_image(cls) -> ImageConfig:
        """No image: replicas choose."""
        return cls()

    @classmethod
    def from_images(cls, default_image: str, m: Mapping[str, str] | None = None) -> ImageConfig:
        """From names."""
        others = [Image.look_up_image_info(name, told) for name, told in (m or {}).items()]
        return cls.create_from(Image.look_up_image_info("default", default_image), others)


@dataclass(frozen=True)
class EntrypointSettings:
    """How a container is started elsewhere."""

    path: str | None = None


@dataclass
class FastSerializationSettings:
    """How code reaches containers elsewhere; here bundles carry it."""

    enabled: bool = False
    destination_dir: str | None = None
    distribution_location: str | None = None


@dataclass
class SerializationSettings:
    """What a program says of itself when it is serialized."""

    image_config: ImageConfig
    project: str | None = None
    domain: str | None = None
    version: str | None = None
    env: dict[str, str] | None = None
    git_repo: str | None = None
    python_interpreter: str = "/opt/venv/bin/python3"
    flytekit_virtualenv_root: str | None = None
    fast_serialization_settings: FastSerializationSettings | None = None
    source_root: str | None = None

    def __post_init__(self) -> None:
        if self.flytekit_virtualenv_root is None:
            root = os.path.dirname(os.path.dirname(self.python_interpreter))
            self.flytekit_virtualenv_root = root

    @property
    def entrypoint_settings(self) -> EntrypointSettings:
        """How a container is started elsewhere."""
        return EntrypointSettings(os.path.join(str(self.flytekit_virtualenv_root), "bin/pyflyte-execute"))

    @classmethod
    def for_image(
        cls, image: str, version: str, project: str = "", domain: str = "", **_: Any
    ) -> SerializationSettings:
        """From an image's name."""
        config = ImageConfig([Image.look_up_image_info("default", image)][0])
        return cls(config, project, domain, version)

    def should_fast_serialize(self) -> bool:
        """Whether code is sent beside the image."""
        fast = self.fast_serialization_settings
        return fast is not None and fast.enabled

    def new_builder(self) -> SettingsBuilder:
        """The same settings, to be changed."""
        return SettingsBuilder(self)


@dataclass
class SettingsBuilder:
    """Settings that are being changed: what is assigned to it becomes a setting."""

    of: SerializationSettings
    changes: dict[str, Any] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("of", "changes"):
            object.__setattr__(self, name, value)
        else:
            self.changes[name] = value

    def with_fast_serialization_settings(self, fss: FastSerializationSettings) -> SettingsBuilder:
        """Say how code is sent."""
        self.changes["fast_serialization_settings"] = fss
        return self

    def build(self) -> SerializationSettings:
        """The settings."""
        return replace(self.of, **self.changes)
