"""What stands in the place of the reset where a process runs one call and ends: it keeps nothing and undoes nothing."""

from __future__ import annotations

import builtins
import contextvars
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import is_not
from types import FunctionType, ModuleType
from typing import Any, Final

from greenroom_replica.reset import Owner, Report

_STANDS_ON: Final = (builtins, os, time, socket, signal, threading)


class NoReset:
    """The doors of `Reset`, with nothing behind them."""

    def __init__(self) -> None:
        self._stands_on: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.reseed_after_fork()

    @contextmanager
    def importing(self, bundle_id: str) -> Iterator[None]:
        """An import needs no snapshot."""
        yield

    def adopt(self, bundle_id: str, modules: Iterable[ModuleType], definitions: Iterable[FunctionType] = ()) -> None:
        """Modules need none either."""

    def imported(self, bundle_id: str, module: ModuleType) -> None:
        """Nor one that comes later."""

    def forget(self, bundle_id: str) -> None:
        """Nothing is known."""

    def not_checked(self, bundle_id: str) -> list[str]:
        """Nothing has to be checked."""
        return []

    def before(self, bundle_id: str, environment: Mapping[str, str] | None = None) -> contextvars.Context:
        """Set the call's variables, for good."""
        if environment:
            os.environ.update(environment)
        self._stands_on = [(vars(module), dict(vars(module))) for module in _STANDS_ON]
        return contextvars.copy_context()

    def steady(self) -> None:
        """Put back what the outcome is written with: functions that the call has put something else in place of."""
        for space, kept in self._stands_on:
            if any(map(is_not, map(space.get, kept), kept.values())):
                space.update(kept)

    def after(self) -> Report | None:
        """The process ends, and all that the call has left with it."""
        return None

    check_strays = after

    @contextmanager
    def owned(self, name: str = "entry") -> Iterator[Owner]:
        """What a load makes ends with the process."""
        yield Owner(name)

    def release(self, owner: Owner) -> list[str]:
        """So does an entry."""
        return []

    def reseed_after_fork(self) -> None:
        """Random generators of libraries that were imported before the fork must not repeat each other."""
        mtrand: Any = sys.modules.get("numpy.random.mtrand")
        if mtrand is not None and hasattr(mtrand, "_rand"):
            mtrand._rand.seed([random.SystemRandom().getrandbits(32) for _ in range(4)])
        torch: Any = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "seed"):
            torch.seed()
