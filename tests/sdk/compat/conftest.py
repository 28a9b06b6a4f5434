"""The alias in this process, undone after each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from greenroom import compat

TOPS = ("union", "unionai", "flytekit", "flytekitplugins", "flyte")


@pytest.fixture
def alias() -> Iterator[None]:
    modules, meta = dict(sys.modules), list(sys.meta_path)
    compat.install()
    yield
    compat.uninstall()
    sys.meta_path[:] = meta
    for name in [name for name in sys.modules if name.partition(".")[0] in TOPS]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in modules.items() if name.partition(".")[0] in TOPS})
