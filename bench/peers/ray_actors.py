"""Ray with an actor for each worker, all calls submitted at once in turns: its fastest way. Nothing is durable."""

import os
import tempfile
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")

import ray
from bench.peers import common, work


class Actor:
    def do(self, task: str, item: Any) -> Any:
        return work.TASKS[task](item)


class Ray:
    name, durable, packages = "ray", False, ("ray",)

    def open(self, workers: int) -> None:
        ray.init(
            num_cpus=workers, include_dashboard=False, object_store_memory=1 << 30, log_to_driver=False,
            logging_level="ERROR", _temp_dir=tempfile.mkdtemp(prefix="ray-"),
        )  # fmt: skip
        made = ray.remote(Actor)
        self.actors = [made.options(num_cpus=1).remote() for _ in range(workers)]
        ray.get([actor.do.remote("nap", 0.0) for actor in self.actors])

    def map(self, task: str, items: list[Any]) -> list[Any]:
        actors, count = self.actors, len(self.actors)
        return ray.get([actors[place % count].do.remote(task, item) for place, item in enumerate(items)])

    def call(self, task: str, item: Any) -> Any:
        return ray.get(self.actors[0].do.remote(task, item))

    def close(self) -> None:
        ray.shutdown()


if __name__ == "__main__":
    common.main(Ray())
