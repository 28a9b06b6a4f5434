"""The row of the global random generators: ``random``, numpy's, torch's."""

from __future__ import annotations

import random
import sys
from typing import Any

from greenroom_replica.reset.images import Word, random_heads
from greenroom_replica.reset.rows.base import Fields, Row
from greenroom_replica.reset.streams import SEEDS, entropy, state_views

_LARGEST_EXPLICIT_SEED = 2**32
"""torch draws its own first seed from 53 bits: a smaller one was almost surely written by a person."""


class Chance(Row):
    """Global generators: a seeded one goes back to its state after the import, any other is seeded anew from entropy.

    Fields hold a state, or None for a generator that user code did not seed.
    """

    name = "random generators"
    silent = True

    def __init__(self) -> None:
        super().__init__()
        self._numpy: Any = None
        self.torch: list[Any] = []
        self._seeds: list[int] = []
        self.discover()

    def discover(self) -> bool:
        """Find the generators of libraries that were loaded meanwhile; tell whether there are new ones."""
        found = False
        mtrand: Any = sys.modules.get("numpy.random.mtrand")
        if self._numpy is None and mtrand is not None and hasattr(mtrand, "_rand"):
            self._numpy = mtrand._rand
            found = True
            if SEEDS.recording and getattr(self._numpy._bit_generator, "_seed_seq", self) is None:
                SEEDS.explicit.add("numpy")  # Loaded and seeded in the same import.
        torch: Any = sys.modules.get("torch")
        generators = self._generators_of(torch) if torch is not None else []
        if len(generators) > len(self.torch):
            if SEEDS.recording and not self.torch and generators[0].initial_seed() < _LARGEST_EXPLICIT_SEED:
                SEEDS.explicit.add("torch")
            self.torch, found = generators, True
            self._seeds = [generator.initial_seed() for generator in generators]
        if found:
            SEEDS.install()
        return found

    def _generators_of(self, torch: Any) -> list[Any]:
        default = getattr(torch, "default_generator", None)
        cuda = getattr(getattr(torch, "cuda", None), "default_generators", ())
        return [default, *cuda] if default is not None else []

    def heads(self) -> list[Word]:
        """See `Watched.heads`."""
        inst: random.Random = random._inst
        heads = random_heads(inst)
        numpy_heads = state_views(self._numpy._bit_generator) if self._numpy is not None else []
        return [*heads, *numpy_heads] if heads and (numpy_heads or self._numpy is None) else []

    @property
    def row(self) -> Row:
        """The row to ask when its memory moved: itself."""
        return self

    def body(self) -> tuple[int, int] | None:
        """See `Watched.body`."""
        return None

    def changed(self) -> bool:
        """See `Watched.changed`: asked only where memory differs, or cannot be read."""
        return True

    def read(self) -> Fields:
        """Read the states of what was seeded since `SEEDS.begin`."""
        seeded = SEEDS.explicit
        return {
            "random": random.getstate() if "random" in seeded else None,
            "numpy": self._numpy.get_state() if "numpy" in seeded and self._numpy is not None else None,
            "torch": [item.get_state() for item in self.torch] if "torch" in seeded and self.torch else None,
        }

    def merge(self, base: Fields, before: Fields, now: Fields) -> Fields:
        return {name: now.get(name) if now.get(name) is not None else base.get(name) for name in now}

    def differs(self) -> list[str]:
        return []

    def quick(self) -> bool:
        """Look after torch, whose state is out of sight: cheaply, by the seed that it was last given."""
        if self.torch and (self.base.get("torch") is not None or self._reseeded()):
            self._renew_torch()
        return True

    def _reseeded(self) -> bool:
        return [generator.initial_seed() for generator in self.torch] != self._seeds

    def write(self, base: Fields) -> None:
        self.use(base)
        state = base.get("random")
        if state is not None:
            random.Random.setstate(random._inst, state)
        else:
            SEEDS.seed(random._inst, entropy())
        if self._numpy is not None:
            if base.get("numpy") is not None:
                self._numpy.set_state(base["numpy"])
            else:
                drawn = entropy()
                self._numpy.seed([drawn >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)])
        if self.torch:
            self._renew_torch()

    def _renew_torch(self) -> None:
        states = self.base.get("torch")
        for place, generator in enumerate(self.torch):
            if states is not None and place < len(states):
                generator.set_state(states[place])
            else:
                generator.seed()
        self._seeds = [generator.initial_seed() for generator in self.torch]
