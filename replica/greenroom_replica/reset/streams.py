"""Random generators: what an import seeded starts there in every call, all others start anew from entropy.

Whether a call has touched a generator is read from its memory, so that a call that never draws pays nothing, and a
clean generator's stream is not advanced by looking at it.
"""

from __future__ import annotations

import functools
import os
import random
import secrets
import sys
from collections.abc import Callable
from typing import Any

from greenroom_replica.reset.images import LAYOUT, Word, random_heads, view
from greenroom_replica.reset.nodes import Node


def entropy() -> int:
    """Draw 128 bits that no other call, process or machine has."""
    return int.from_bytes(os.urandom(16), "little")


class Seeds:
    """Notes which generators user code seeded itself while it was imported."""

    def __init__(self) -> None:
        self.explicit: set[str] = set()
        """Global generators (``random``, ``numpy``, ``torch``) seeded since the last `begin`."""
        self.recording = False
        self._instances: dict[int, bool] = {}
        self._drawn: set[int] = set()
        self._undo: list[Callable[[], None]] = []
        self._wrapped: set[tuple[str, str]] = set()
        self._plain_seed = random.Random.seed

    def install(self) -> None:
        """Put recorders before the seeding functions of the libraries that are loaded; again when more are."""
        self._wrap(random, "seed", self._on_global("random"))
        self._wrap(random, "setstate", self._on_global("random", by_state=True))
        self._wrap(random.Random, "seed", self._on_instance)
        self._wrap(secrets, "randbits", self._on_entropy)
        if (numpy_random := sys.modules.get("numpy.random")) is not None and hasattr(numpy_random, "mtrand"):
            self._wrap(numpy_random, "seed", self._on_global("numpy"))
            self._wrap(numpy_random, "set_state", self._on_global("numpy", by_state=True))
            generators: Any = numpy_random.bit_generator
            if getattr(generators, "randbits", None) is not secrets.randbits:
                self._wrap(generators, "randbits", self._on_entropy)
        if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "manual_seed"):
            self._wrap(torch, "manual_seed", self._on_global("torch"))
            self._wrap(torch, "set_rng_state", self._on_global("torch", by_state=True))

    def uninstall(self) -> None:
        """Put the functions back."""
        while self._undo:
            self._undo.pop()()
        self._wrapped.clear()

    def begin(self) -> None:
        """Start noting: user code is about to be imported."""
        self.explicit.clear()
        self.recording = True

    def end(self) -> set[str]:
        """Stop noting; return which global generators were seeded on purpose."""
        self.recording = False
        return set(self.explicit)

    def seeded(self, instance: random.Random) -> bool:
        """Tell whether an instance of ``random.Random`` was last seeded with a value."""
        return self._instances.get(id(instance), False)

    def drew(self, seed: object) -> bool:
        """Tell whether this seed came from entropy, not from user code."""
        return seed in self._drawn

    def seed(self, instance: random.Random, value: int) -> None:
        """Seed a generator without noting it."""
        self._plain_seed(instance, value)

    def _wrap(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        key = (getattr(owner, "__name__", ""), name)
        original = owner.__dict__.get(name)
        if original is None or key in self._wrapped:
            return
        self._wrapped.add(key)
        setattr(owner, name, functools.wraps(original)(make(original)))
        self._undo.append(lambda: setattr(owner, name, original))

    def _on_global(self, name: str, by_state: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def recorded(*args: Any, **named: Any) -> Any:
                if self.recording:
                    value = args[0] if args else next(iter(named.values()), None)
                    (self.explicit.add if value is not None or by_state else self.explicit.discard)(name)
                return original(*args, **named)

            return recorded

        return make

    def _on_instance(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def seed(instance: random.Random, a: Any = None, version: int = 2) -> None:
            if self.recording:
                self._instances[id(instance)] = a is not None
            original(instance, a, version)

        return seed

    def _on_entropy(self, original: Callable[[int], int]) -> Callable[[int], int]:
        def randbits(k: int) -> int:
            drawn = original(k)
            if self.recording:
                self._drawn.add(drawn)
            return drawn

        return randbits


SEEDS = Seeds()


class TwisterNode(Node):
    """A ``random.Random`` that a user module holds."""

    __slots__ = ()

    silent = True

    def heads(self) -> list[Word]:
        return random_heads(self.target)

    def peek(self) -> Any:
        return random.Random.getstate(self.target) if SEEDS.seeded(self.target) else None

    def same(self, one: Any, other: Any) -> bool:
        return bool(one == other)

    def changed(self) -> bool:
        return True  # Asked only where its memory differs, or cannot be read.

    def restore(self) -> None:
        if self.saved is not None:
            random.Random.setstate(self.target, self.saved)
        else:
            SEEDS.seed(self.target, entropy())

    def renew(self) -> None:
        """Start anew in a forked child, unless it was seeded on purpose."""
        if self.saved is None:
            self.restore()


class NumpyStreamNode(Node):
    """A numpy ``Generator``, ``RandomState`` or bit generator that a user module holds."""

    __slots__ = ("_views",)

    silent = True

    def __init__(self, target: object, parent: Node | None, label: str) -> None:
        super().__init__(target, parent, label)
        self._views = state_views(self._generator())

    def _generator(self) -> Any:
        return getattr(self.target, "bit_generator", None) or getattr(self.target, "_bit_generator", self.target)

    def heads(self) -> list[Word]:
        return self._views

    def peek(self) -> Any:
        generator = self._generator()
        sequence = getattr(generator, "_seed_seq", None)
        return None if sequence is not None and SEEDS.drew(sequence.entropy) else generator.state

    def same(self, one: Any, other: Any) -> bool:
        return repr(one) == repr(other)

    def changed(self) -> bool:
        if self._views:
            return True  # Asked only where its memory differs.
        self.restore()  # Comparing its state would be as dear as putting it back.
        return False

    def restore(self) -> None:
        if self.saved is not None:
            self._generator().state = self.saved
        elif self._views:
            self.renew()

    def renew(self) -> None:
        """Start anew from entropy, unless it was seeded on purpose."""
        generator = self._generator()
        if self.saved is None:
            generator.state = type(generator)().state


def state_views(generator: Any) -> list[Word]:
    """Find the memory of a bit generator's state, for the two kinds in use; none where it does not look right."""
    if not LAYOUT.lists:
        return []
    try:
        kind, address = type(generator).__name__, generator.ctypes.state_address
        if kind == "MT19937":
            words = view(address, 4 * 625)
            key = generator.state["state"]["key"].tobytes()
            return [words] if bytes(words[: len(key)]) == key else []
        if kind in ("PCG64", "PCG64DXSM"):
            words = view(int.from_bytes(view(address, 8), "little"), 32)
            state = generator.state["state"]["state"].to_bytes(16, "little")
            return [words, view(address + 8, 8)] if bytes(words[:16]) == state else []
    except Exception:
        return []
    return []


def held_stream(value: object, parent: Node | None, label: str) -> Node | None:
    """Make the node of a random generator; None for anything else."""
    kind = type(value)
    if kind is random.Random:
        return TwisterNode(value, parent, label)
    module = kind.__module__
    if not (type(module) is str and module.startswith("numpy.random")):
        return None
    streams = any(hasattr(value, name) for name in ("bit_generator", "_bit_generator", "random_raw"))
    return NumpyStreamNode(value, parent, label) if streams else None
