"""Environment variables: the mapping, the C environment behind it, and the time zone that follows from it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from greenroom_replica.reset.rows.base import Fields, Row

Raw = dict[bytes, bytes]


class Environ(Row):
    """``os.environ`` with what it is bound to, ``os.putenv`` past it, and ``time.tzset``.

    What is right is the bundle's environment, then the submitter's variables (`overlay`), then what the loaders of
    living cache entries set (`owned`), which the entry may need for as long as it lives.
    """

    name = "os.environ"

    def __init__(self) -> None:
        super().__init__()
        self._environ: Any = os.environ
        self._data: Raw = os.environ._data  # type: ignore[attr-defined]
        self._putenv: Callable[[bytes, bytes], None] = os.putenv
        self._unsetenv: Callable[[bytes], None] = os.unsetenv
        self.drift: set[bytes] = set()
        self._target: Raw = dict(self._data)
        self.zone = time.tzname
        self.overlay: Mapping[str, str] | None = None
        self._overlay_raw: Raw = {}
        self._owned: dict[object, dict[bytes, bytes | None]] = {}

    def install(self) -> None:
        """Note the names that go past the mapping, straight into the C environment."""
        putenv, unsetenv, drift = self._putenv, self._unsetenv, self.drift

        def noting_putenv(name: Any, value: Any, /) -> None:
            drift.add(os.fsencode(name))
            putenv(name, value)

        def noting_unsetenv(name: Any, /) -> None:
            drift.add(os.fsencode(name))
            unsetenv(name)

        for function, name in ((noting_putenv, "putenv"), (noting_unsetenv, "unsetenv")):
            function.__name__ = function.__qualname__ = name
            function.__module__ = "os"
        module: Any = os
        module.putenv, module.unsetenv = noting_putenv, noting_unsetenv

    def uninstall(self) -> None:
        """Put the functions back."""
        module: Any = os
        module.putenv, module.unsetenv = self._putenv, self._unsetenv

    def read(self) -> Fields:
        fields: Fields = {"": self._data if os.environ is self._environ else os.environ}
        fields.update((os.fsdecode(name), value) for name, value in self._data.items())
        return fields

    def raw(self) -> Raw:
        """Copy the variables as they are now."""
        return dict(self._data)

    def use(self, base: Fields) -> None:
        super().use(base)
        self._compose()

    def lay(self, variables: Mapping[str, str] | None) -> None:
        """Set the submitter's variables for the calls that follow; None for none."""
        if variables is not self.overlay and variables != self.overlay:
            self._overlay_raw = {os.fsencode(name): os.fsencode(value) for name, value in (variables or {}).items()}
            self._compose()
            self._apply()
        self.overlay = variables

    def own(self, owner: object, before: Raw, now: Raw) -> None:
        """Keep what a loader changed for as long as its entry lives."""
        mine: dict[bytes, bytes | None] = {name: value for name, value in now.items() if before.get(name) != value}
        mine.update((name, None) for name in before if name not in now)
        if mine:
            self._owned[owner] = {**self._owned.get(owner, {}), **mine}
            self._compose()

    def disown(self, owner: object) -> None:
        """Forget what an evicted entry's loader set."""
        if self._owned.pop(owner, None) is not None:
            self._compose()
            self._apply()

    def quick(self) -> bool:
        return not self.drift and time.tzname is self.zone

    def spaces(self) -> list[dict[Any, Any] | list[Any]]:
        return [self._data, vars(os), vars(self._environ)]

    def differs(self) -> list[str]:
        same_mapping = vars(os)["environ"] is self._environ and self._environ._data is self._data
        names = [] if same_mapping else ["os.environ"]
        changed = {name for name, value in self._target.items() if self._data.get(name) != value}
        changed |= {name for name in self._data if name not in self._target}
        names += [f"os.environ[{os.fsdecode(name)!r}]" for name in sorted(changed)]
        # Setting a variable and putting it back notes it as drifted: that alone is nothing to tell.
        return names or (["time zone"] if time.tzname is not self.zone else [])

    def write(self, base: Fields) -> None:
        self.use(base)
        vars(os)["environ"] = self._environ
        self._environ._data = self._data
        self._apply()

    def _compose(self) -> None:
        target = {os.fsencode(name): value for name, value in self.base.items() if name}
        target.update(self._overlay_raw)
        for owned in self._owned.values():
            for name, value in owned.items():
                if value is None:
                    target.pop(name, None)
                else:
                    target[name] = value
        self._target = target

    def _apply(self) -> None:
        data, target, drift = self._data, self._target, self.drift
        for name in [name for name in data if name not in target]:
            del data[name]
            drift.add(name)
        for name, value in target.items():
            if data.get(name) != value:
                data[name] = value
                drift.add(name)
        zoned = b"TZ" in drift or time.tzname is not self.zone
        for name in drift:
            if name in target:
                self._putenv(name, target[name])
            else:
                self._unsetenv(name)
        drift.clear()
        if zoned:
            time.tzset()
            self.zone = time.tzname

    def merge(self, base: Fields, before: Fields, now: Fields) -> Fields:
        return super().merge(base, {**before, "": None}, {**now, "": None})
