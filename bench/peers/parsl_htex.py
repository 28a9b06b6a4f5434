"""parsl with its HighThroughputExecutor on this machine. Nothing is durable without its checkpoints."""

import os
import sys
import tempfile
from typing import Any

import parsl
from bench.peers import common, work
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


class Parsl:
    name, durable, packages = "parsl", False, ("parsl",)

    def open(self, workers: int) -> None:
        beside = os.path.dirname(sys.executable)  # Where its own programs lie; it looks for them on the PATH.
        os.environ["PATH"] = f"{beside}:{os.environ.get('PATH', '')}"
        os.environ["PYTHONPATH"] = os.getcwd()  # Its workers start elsewhere, and import the tasks from here.
        provider = LocalProvider(init_blocks=1, max_blocks=1)
        htex = HighThroughputExecutor(
            label="htex", max_workers_per_node=workers, provider=provider, cores_per_worker=0.01, address="127.0.0.1"
        )
        folder = tempfile.mkdtemp(prefix="parsl-")
        self.kernel = parsl.load(Config(executors=[htex], run_dir=folder, usage_tracking=0))
        self.apps = {name: parsl.python_app(task, data_flow_kernel=self.kernel) for name, task in work.TASKS.items()}

    def map(self, task: str, items: list[Any]) -> list[Any]:
        app = self.apps[task]
        running = [app(item) for item in items]
        return [future.result() for future in running]

    def call(self, task: str, item: Any) -> Any:
        return self.apps[task](item).result()

    def close(self) -> None:
        self.kernel.cleanup()


if __name__ == "__main__":
    common.main(Parsl())
