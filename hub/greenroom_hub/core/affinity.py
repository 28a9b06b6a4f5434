"""Which inputs of a task decide which entries of the actor cache: learned from the loads that replicas tell of.

A load's telemetry names the call that caused it and, where the loader's arguments could be traced by identity, the
inputs that they came from. One such example is a rule: calls with the same values in those inputs want the same entry.
Where nothing could be traced, the rule is the smallest set of inputs of which the entry's key is still a function.
What is remembered is bounded: per task `MAX_VALUES` values, `MAX_EXAMPLES` examples, `MAX_CANDIDATES` candidates.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, TypeAlias

from greenroom_core.program import Task
from greenroom_core.values import Path, Value, ValueFault, access

MAX_VALUES: Final = 16_384
MAX_EXAMPLES: Final = 64
MAX_CANDIDATES: Final = 8
MAX_LOADERS: Final = 8
"""Loaders of one task that count; of more, the costliest."""

WORTH_MS: Final = 2.0
"""A load that takes less is not worth a way around: about what a few round trips take."""

ASKED: Final = "@affinity"
"""Stands for a loader where a task says itself which calls belong together."""

_ASKED_MS: Final = 1000.0
"""What going elsewhere is taken to cost where nothing was measured."""

EntryKey: TypeAlias = tuple[str, str]
"""(loader, key digest)."""

SHORT: Final = 64
"""Bytes up to which an encoded value is its own key."""

Told: TypeAlias = bytes
"""The values of the inputs that decide, joined: equal for calls that want the same entries."""


@dataclass(frozen=True, slots=True)
class InputPath:
    """A part of a task's inputs: `state`, `config.model`, `batch[0]`."""

    name: str
    path: Path = ()

    @classmethod
    def parse(cls, text: str) -> InputPath | None:
        """Read a candidate as telemetry writes it; None for what cannot be read from an encoded value."""
        match = re.match(r"\w+", text)
        if match is None:
            return None
        steps: list[str | int] = []
        rest = text[match.end() :]
        for step in re.finditer(r"\.(\w+)|\[(\d+)\]|\['([^']*)'\]", rest):
            number = step.group(2)
            steps.append(int(number) if number is not None else step.group(1) or step.group(3) or "")
        joined = "".join(step.group(0) for step in re.finditer(r"\.(\w+)|\[(\d+)\]|\['([^']*)'\]", rest))
        return cls(match.group(), tuple(steps)) if joined == rest else None

    def of(self, inputs: Mapping[str, Value]) -> Told:
        """The value there, short enough to be a key; empty where there is none."""
        value = inputs.get(self.name, b"")
        if self.path and value:
            try:
                value = access(value, self.path)
            except ValueFault:
                return b""
        return as_told(value)


def as_told(value: Value) -> Told:
    """An encoded value, short enough to be a key."""
    return value if len(value) <= SHORT else hashlib.blake2b(value, digest_size=16).digest()


@dataclass(slots=True)
class Rule:
    """How the inputs of a task decide one loader's entry."""

    paths: tuple[InputPath, ...] = ()
    """What decides; empty while all calls want the same entry."""
    load_ms: float = 0.0
    traced: bool = False
    """Whether the loader's arguments were traced to the inputs, rather than guessed from examples."""
    examples: list[tuple[tuple[Told, ...], str]] = field(default_factory=list)
    """Values of all candidates, and the key that they led to."""
    candidates: tuple[InputPath, ...] = ()

    def told(self, inputs: Mapping[str, Value]) -> Told:
        """The values that decide."""
        return b"\0".join(path.of(inputs) for path in self.paths)

    def learn(self, inputs: Mapping[str, Value], key: str, traced: Sequence[InputPath] | None) -> None:
        """Take one example: these inputs led to a load of this key."""
        if traced is not None and (self.traced or not self.examples) and set(traced) != set(self.paths):
            self.paths, self.traced = tuple(dict.fromkeys((*(self.paths if self.traced else ()), *traced))), True
        if not self.candidates:
            names = [InputPath(name) for name in list(inputs)[:MAX_CANDIDATES]]
            self.candidates = tuple(dict.fromkeys((*(traced or ()), *names)))[: 2 * MAX_CANDIDATES]
        self.examples.append((tuple(path.of(inputs) for path in self.candidates), key))
        del self.examples[:-MAX_EXAMPLES]
        if not self._explains(self._places(self.paths)):
            self.paths, self.traced = self._smallest(), False

    def _places(self, paths: Iterable[InputPath]) -> tuple[int, ...] | None:
        try:
            return tuple(self.candidates.index(path) for path in paths)
        except ValueError:
            return None

    def _explains(self, places: Sequence[int] | None) -> bool:
        """Whether the key is a function of these candidates, over all examples."""
        if places is None:
            return True  # Not among what the examples hold: nothing speaks against it.
        seen: dict[tuple[Told, ...], str] = {}
        return all(seen.setdefault(tuple(values[p] for p in places), key) == key for values, key in self.examples)

    def _smallest(self) -> tuple[InputPath, ...]:
        """The smallest set of candidates that explains all examples; all of them if none does."""
        for size in range(min(len(self.candidates), 4) + 1):
            for places in combinations(range(len(self.candidates)), size):
                if self._explains(places):
                    return tuple(self.candidates[place] for place in places)
        return self.candidates


class Affinity:
    """What one pool's tasks have taught."""

    def __init__(self) -> None:
        self._rules: dict[str, dict[str, Rule]] = {}
        self._keys: dict[str, OrderedDict[tuple[str, Told], str]] = {}
        self.version = 0
        """Raised with each rule that changes: what was sorted by the old ones is sorted anew."""

    def rules(self, task: Task) -> Mapping[str, Rule]:
        """Loaders of a task that are worth going where they are warm, with their rules.

        What the task itself says (`affinity=`) stands in for all that was learned.
        """
        learned = self._rules.get(task.name, {})
        asked = task.options.get("affinity")
        if not asked:
            return learned
        paths = tuple(InputPath(str(path[0]), tuple(path[1:])) for path in asked)
        return {ASKED: Rule(paths, sum(rule.load_ms for rule in learned.values()) or _ASKED_MS)}

    def learn(self, task: str, inputs: Mapping[str, Value], told: Mapping[str, Any]) -> tuple[str, Told] | None:
        """Take the telemetry of one load, and the inputs of the call that caused it.

        Returns:
            The loader and the values for which another key is known than before; None where nothing new was learned.
        """
        loader, key, load_ms = str(told.get("loader", "")), str(told.get("key", "")), float(told.get("load_ms") or 0)
        if not loader or not key:
            return None
        rules = self._rules.setdefault(task, {})
        rule = rules.get(loader)
        if rule is None:
            if load_ms < WORTH_MS or not self._admit(rules, load_ms):
                return None
            rule = rules[loader] = Rule()
            self.version += 1
        before = rule.paths
        rule.load_ms = load_ms if not rule.load_ms else 0.7 * rule.load_ms + 0.3 * load_ms
        rule.learn(inputs, key, _traced(told.get("provenance")))
        if rule.paths != before:
            self.version += 1
            self._relearn(task, loader, rule)
        values = rule.told(inputs)
        return (loader, values) if self._remember(task, loader, values, key) else None

    def _admit(self, rules: dict[str, Rule], load_ms: float) -> bool:
        if len(rules) < MAX_LOADERS:
            return True
        cheapest = min(rules, key=lambda name: rules[name].load_ms)
        if rules[cheapest].load_ms >= load_ms:
            return False
        del rules[cheapest]
        return True

    def _relearn(self, task: str, loader: str, rule: Rule) -> None:
        """The rule has changed: what was remembered under the old one is read again from its examples."""
        keys = self._keys.get(task)
        if keys is None:
            return
        for name in [name for name in keys if name[0] == loader]:
            del keys[name]
        places = rule._places(rule.paths)
        for values, key in rule.examples if places is not None else ():
            self._remember(task, loader, b"\0".join(values[place] for place in places or ()), key)

    def _remember(self, task: str, loader: str, told: Told, key: str) -> bool:
        """Keep what these values lead to; whether that is new."""
        keys = self._keys.setdefault(task, OrderedDict())
        before = keys.get((loader, told))
        keys[loader, told] = key
        keys.move_to_end((loader, told))
        if len(keys) > MAX_VALUES:
            keys.popitem(last=False)
        return before != key

    def key_of(self, task: str, loader: str, told: Told) -> str | None:
        """The entry that calls with these values want; None for values that nobody has seen load."""
        if loader == ASKED:
            return hashlib.blake2b(told, digest_size=8).hexdigest()
        keys = self._keys.get(task)
        return keys.get((loader, told)) if keys is not None else None


def _traced(provenance: Any) -> list[InputPath] | None:
    """The inputs that a loader's arguments came from; None where one of them came from elsewhere."""
    if not isinstance(provenance, (list, tuple)):
        return None
    found: list[InputPath] = []
    for argument in provenance:
        candidates = [InputPath.parse(str(text)) for text in argument[1]]
        readable = [path for path in candidates if path is not None]
        if not readable:
            return None
        found.append(readable[0])
    return found
