"""`Secret`: a name for something that programs must not carry, and where its value is found.

A secret travels under the name of an environment variable: `Submission.secrets` maps it to the value that was found
where the program was submitted; what was not found is left out, and the hub fails the node that asked for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from greenroom.definition_errors import BadArgument

PREFIXES: Final = ("_FSEC_", "_UNION_", "")
"""Before the variable's name, in the order in which they are tried."""

FOLDER: Final = "/etc/secrets"
"""Where secrets lie as files: `<group>/<key>`, in lower case."""


class MountType(Enum):
    """How a task wants to read its secret."""

    ANY = "any"
    ENV_VAR = "env_var"
    FILE = "file"


@dataclass(frozen=True)
class Secret:
    """A secret that a task may read by `current_context().secrets.get(group, key)`.

    Attributes:
        group: What it belongs to; optional.
        key: Its name.
        group_version: Which version of the group; part of the group's name where it is looked up.
        mount_requirement: Whether the task reads it from its environment or from a file.
        env_var: The environment variable that shall hold it, for code that reads that and no other.
    """

    group: str | None = None
    key: str | None = None
    group_version: str | None = None
    mount_requirement: MountType = MountType.ANY
    env_var: str | None = None

    ANY = MountType.ANY
    ENV_VAR = MountType.ENV_VAR
    FILE = MountType.FILE
    MountType = MountType

    def __post_init__(self) -> None:
        if not self.key and not self.group:
            raise BadArgument("Secret", "key", self.key, 'the name of the secret, like Secret(key="api-token")')
        if not isinstance(self.mount_requirement, MountType):
            raise BadArgument(
                "Secret", "mount_requirement", self.mount_requirement, "Secret.MountType.ANY, ENV_VAR or FILE"
            )
        if self.env_var is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.env_var):
            raise BadArgument("Secret", "env_var", self.env_var, "a name that an environment variable can have")
        if self.env_var is not None and self.mount_requirement is MountType.FILE:
            raise BadArgument("Secret", "env_var", self.env_var, "none beside mount_requirement=FILE")

    @property
    def variable(self) -> str:
        """The environment variable that the secret travels under: `env_var`, else `_FSEC_GROUP_KEY`."""
        return self.env_var or f"_FSEC_{variable_part(self.group, self.key, self.group_version)}"


def variable_part(group: str | None, key: str | None, version: str | None = None) -> str:
    """`GROUP_KEY` in the letters of an environment variable's name."""
    return "_".join(re.sub(r"[^A-Z0-9]", "_", part.upper()) for part in (group, version, key) if part)


def find(secret: Secret, environ: Mapping[str, str] | None = None, folder: str = FOLDER) -> str | None:
    """The secret's value where this process runs, None if it is nowhere."""
    environ = os.environ if environ is None else environ
    for name in places(secret):
        if name in environ:
            return environ[name]
    for path in files(secret, folder):
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().rstrip("\n")
        except (OSError, UnicodeDecodeError):
            continue
    return None


def places(secret: Secret) -> Iterator[str]:
    """The environment variables in which a secret may stand, in the order in which they are tried."""
    if secret.env_var:
        yield secret.env_var
    part = variable_part(secret.group, secret.key, secret.group_version)
    for prefix in PREFIXES:
        yield prefix + part
    if secret.key and (part := secret.key) != part.upper():
        yield part


def files(secret: Secret, folder: str = FOLDER) -> Iterator[str]:
    """The files in which a secret may stand."""
    parts = [part.lower() for part in (secret.group, secret.group_version, secret.key) if part]
    # A name from a program must not lead out of the folder.
    if all("/" not in part and part not in (".", "..") for part in parts):
        yield os.path.join(folder, *parts)


def resolve(secrets: Iterable[Secret], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Values of those secrets that can be found here, by the variable that they travel under."""
    found = ((secret.variable, find(secret, environ)) for secret in secrets)
    return {variable: value for variable, value in found if value is not None}
