"""Tell a person what a bundle holds, and what it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenroom.bundling.errors import mib

if TYPE_CHECKING:
    from greenroom.bundling.make import Bundle


def describe(bundle: Bundle) -> str:
    """What `greenroom bundle FILE` prints: every file with its size, what is missing and why."""
    manifest = bundle.manifest
    what = f"module {bundle.module}" if bundle.module else "no entry module"
    kind = "project" if bundle.is_project else "no project: the file and what it imports"
    lines = [
        f"{bundle.root}  ({kind})",
        f"bundle {bundle.hash[:12]}  {what}  {len(manifest.files):,} files, {mib(manifest.size)}",
        f"sys.path  {', '.join(root or '.' for root in (*manifest.roots, *manifest.late_roots))}",
        *(f"from      {origin} as {folder}" for folder, origin in manifest.mounts),
        "",
        *(f"{mib(file.size):>10}  {file.path}{'*' if file.executable else ''}" for file in manifest.files),
    ]
    if bundle.left_out:
        lines += ["", "left out"]
        lines += [f"{mib(item.size) if item.size else '':>10}  {item.path}  {item.reason}" for item in bundle.left_out]
    warnings = list(notes(bundle))
    return "\n".join([*lines, *(["", *warnings] if warnings else [])])


def notes(bundle: Bundle, most: int = 3) -> Iterator[str]:
    """What a person who runs the program should hear once: data that stays behind, names that collide."""
    heard = [item for item in bundle.left_out if item.size or item.reason.startswith("a link")]
    for item in heard[:most]:
        size = f" ({mib(item.size)})" if item.size else ""
        yield f"not in the bundle: {item.path}{size}, {item.reason}"
    if len(heard) > most:
        yield f"not in the bundle: {len(heard) - most} more files; `greenroom bundle {bundle.layout.path}` lists them"
    yield from _hidden_by_python(bundle)


def _hidden_by_python(bundle: Bundle) -> Iterator[str]:
    roots = {*bundle.manifest.roots}
    for file in bundle.manifest.files:
        folder, _, name = file.path.rpartition("/")
        stem = name.removesuffix(".py")
        if folder in roots and name != stem and stem in sys.stdlib_module_names and file.path != bundle.layout.path:
            yield f"{file.path} has the name of a module of Python's own, which replicas may import instead: rename it"
