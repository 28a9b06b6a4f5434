"""Classify every file below a folder by its content, on warm replicas.

    greenroom run examples/classify_files.py classify_files --folder ~/Downloads

One task lists the files, `map` classifies them in batches on two replicas that load the model once each and keep it,
a last task counts the types. The second run finds the replicas, the import and the model warm.
"""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import greenroom

actor = greenroom.ActorEnvironment(name="classify", replica_count=2)


@dataclass
class Batch:
    """What one call found out."""

    types: dict[str, int]
    import_s: float
    """Seconds to import the library; 0 where it was there."""
    load_s: float
    """Seconds to load the model; 0 where it was there."""


class Model:
    """The model, and what it cost to get it."""

    def __init__(self) -> None:
        started = time.perf_counter()
        from magika import Magika

        imported = time.perf_counter()
        self.magika = Magika()
        self.import_s = imported - started
        self.load_s = time.perf_counter() - imported


@greenroom.actor_cache
def load_model() -> Model:
    return Model()


@greenroom.task
def list_files(folder: str, most: int, batch: int) -> list[list[str]]:
    """Paths below `folder`, the first `most` in order of their names, in batches."""
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    if not paths:
        raise ValueError(f"no files below {folder}")
    chosen = paths[:most]
    print(f"{len(paths):,} files below {folder}, classifying {len(chosen):,}")
    return [chosen[start : start + batch] for start in range(0, len(chosen), batch)]


@actor.task
def classify(paths: list[str]) -> Batch:
    """Types of these files."""
    started = time.perf_counter()
    model = load_model()
    fresh = time.perf_counter() - started > model.load_s / 2
    results = model.magika.identify_paths([Path(path) for path in paths])
    types = Counter(result.output.label if result.ok else "unreadable" for result in results)
    return Batch(dict(types), model.import_s if fresh else 0.0, model.load_s if fresh else 0.0)


@greenroom.task
def count_types(batches: list[Batch], began: float) -> greenroom.File:
    """A table of the types, printed and written to a report."""
    counts: Counter[str] = Counter()
    for batch in batches:
        counts.update(batch.types)
    files = sum(counts.values())
    lines = [f"{label:<16} {count:>7,} {100 * count / files:>6.1f} %" for label, count in counts.most_common()]
    loads = [batch for batch in batches if batch.load_s]
    lines += [
        "",
        f"{files:,} files in {len(batches)} calls, {time.time() - began:.1f} s in all",
        f"library imported {len(loads)} times, {sum(batch.import_s for batch in loads):.2f} s together",
        f"model loaded {len(loads)} times, {sum(batch.load_s for batch in loads):.2f} s together",
        f"{len(batches) - len(loads)} of {len(batches)} calls found the model in the actor cache",
    ]
    report = Path("types.txt")
    report.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return greenroom.File(report)


@greenroom.task
def clock() -> float:
    """The wall clock, when the workflow begins."""
    return time.time()


@greenroom.workflow
def classify_files(folder: str = ".", most: int = 1000, batch: int = 20) -> greenroom.File:
    """Classify the first `most` files below `folder`, `batch` of them a call."""
    began = clock()
    batches = list_files(folder=folder, most=most, batch=batch)
    found = greenroom.map(classify)(paths=batches)
    return count_types(batches=found, began=began)
