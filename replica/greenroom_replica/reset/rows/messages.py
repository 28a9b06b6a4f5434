"""Where messages go: warning filters and logging."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from typing import Any

from greenroom_replica.reset.rows.base import Fields, Row, same


class Warnings(Row):
    """Warning filters; and every call is told anew of a warning that is told once per place, as a fresh process is."""

    name = "warnings"

    def __init__(self) -> None:
        super().__init__()
        names = ("_filters_mutated", "_filters_mutated_lock_held")
        found: list[Callable[[], None]] = [getattr(warnings, name) for name in names if hasattr(warnings, name)]
        self.forget = found[0] if found else _nothing

    def read(self) -> Fields:
        once: Any = getattr(warnings, "onceregistry", {})
        return {"warning filters": tuple(warnings.filters), "once": tuple(once), "list": warnings.filters}

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        filters: Any = warnings.filters
        return [filters, warnings.onceregistry]  # type: ignore[attr-defined]

    def differs(self) -> list[str]:
        return [name for name in super().differs() if name == "warning filters"]

    def write(self, base: Fields) -> None:
        filters: Any = base["list"]
        filters[:] = base["warning filters"]
        warnings.filters = filters
        once: Any = getattr(warnings, "onceregistry", {})
        for key in [key for key in once if key not in base["once"]]:
            del once[key]
        self.forget()
        self.use({**base, "list": filters})


_ATTRIBUTES = ("level", "propagate", "disabled", "handlers", "filters", "parent")
_look = attrgetter(*_ATTRIBUTES)


class Logging(Row):
    """Every logger's level, handlers, filters, `propagate` and `disabled`; ``logging.disable``; level names.

    A logger that a call made stays, as others may hold it, but as it was when it was new. Handlers that a call added
    are flushed and closed, as the end of a process would.
    """

    name = "logging"

    def __init__(self) -> None:
        super().__init__()
        self._root = logging.root
        self._manager: Any = logging.root.manager

    def _loggers(self) -> dict[str, logging.Logger]:
        known = self._manager.loggerDict
        found = {name: logger for name, logger in list(known.items()) if isinstance(logger, logging.Logger)}
        return {"root": self._root, **found}

    def read(self) -> Fields:
        fields: Fields = {"logging.disable": self._manager.disable, "logging.root": logging.root}
        for name, logger in self._loggers().items():
            level, propagate, disabled, handlers, filters, parent = _look(logger)
            fields[f"logger {name}"] = (level, propagate, disabled, handlers, filters, parent)
            fields[f"logger {name}[:]"] = (tuple(handlers), tuple(filters))
            for handler in handlers:
                key = f"handler {type(handler).__name__} of {name}"
                fields[key] = (handler, handler.level, handler.formatter, tuple(handler.filters))
        fields["level names"] = dict(logging._levelToName)
        return fields

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        loggers = list(self._loggers().values())
        lists: list[Any] = list(chain.from_iterable((logger.handlers, logger.filters) for logger in loggers))
        handlers = {id(handler): handler for logger in loggers for handler in logger.handlers}
        spaces = [
            *map(vars, loggers),
            *lists,
            *map(vars, handlers.values()),
            *(item.filters for item in handlers.values()),
        ]
        return [*spaces, vars(self._manager), self._manager.loggerDict, vars(logging), logging._levelToName]

    def differs(self) -> list[str]:
        base = self.base
        names: list[str] = []
        for name, value in self.read().items():
            short = name.removesuffix("[:]")
            if name not in base and name.startswith("logger ") and _is_new(value):
                continue
            if not same(value, base.get(name)) and short not in names:
                names.append(short)
        return names

    def write(self, base: Fields) -> None:
        logging.root = self._root
        self._manager.disable = base["logging.disable"]
        kept = {id(handler) for name, value in base.items() if name.endswith("[:]") for handler in value[0]}
        for name, logger in self._loggers().items():
            was = base.get(f"logger {name}")
            content = base.get(f"logger {name}[:]", ((), ()))
            dropped = [handler for handler in logger.handlers if id(handler) not in kept]
            if was is None:
                logger.level, logger.propagate, logger.disabled = logging.NOTSET, True, False
            else:
                logger.level, logger.propagate, logger.disabled, logger.handlers, logger.filters, logger.parent = was
            logger.handlers[:], logger.filters[:] = content
            for handler in dropped:
                _close(handler)
        for name, value in base.items():
            if name.startswith("handler "):
                known: Any = value[0]
                known.level, known.formatter = value[1], value[2]
                known.filters[:] = value[3]
        _put_back_level_names(base["level names"])
        self._manager._clear_cache()
        self.use(base)


def _nothing() -> None:
    """Stand in where warnings have nothing to forget."""


def _is_new(value: Any) -> bool:
    """Tell whether a logger is as it is when nobody has configured it."""
    if len(value) == 2:
        return bool(value == ((), ()))
    level, propagate, disabled = value[:3]
    return level == logging.NOTSET and propagate is True and not disabled


def _close(handler: logging.Handler) -> None:
    if getattr(handler, "stream", None) in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        return
    try:
        handler.flush()
        handler.close()
    except Exception:
        pass  # As logging.shutdown does: a broken handler is no reason to stop.


def _put_back_level_names(names: dict[int, str]) -> None:
    for level in [level for level in logging._levelToName if level not in names]:
        logging._nameToLevel.pop(logging._levelToName.pop(level), None)
    for level, name in names.items():
        if logging._levelToName.get(level) != name:
            logging.addLevelName(level, name)
