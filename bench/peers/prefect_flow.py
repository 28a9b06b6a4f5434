"""prefect 3 with its ephemeral server: a flow maps a task over a thread pool; its database records task runs."""

import logging
import os
import tempfile
from typing import Any

os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="prefect-"))
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("DO_NOT_TRACK", "1")

from bench.peers import common, work
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


class Prefect:
    name, durable, packages = "prefect", False, ("prefect",)

    def open(self, workers: int) -> None:
        logging.disable(logging.CRITICAL)
        runner = ThreadPoolTaskRunner(max_workers=workers)
        tasks = {name: task(function, persist_result=False) for name, function in work.TASKS.items()}

        @flow(task_runner=runner, log_prints=False)
        def mapped(name: str, items: list[Any]) -> list[Any]:
            return tasks[name].map(items).result()

        @flow(task_runner=runner, log_prints=False)
        def single(name: str, item: Any) -> Any:
            return tasks[name](item)

        self.mapped, self.single = mapped, single

    def map(self, task: str, items: list[Any]) -> list[Any]:
        return self.mapped(task, items)

    def call(self, task: str, item: Any) -> Any:
        return self.single(task, item)

    def close(self) -> None:
        pass


if __name__ == "__main__":
    common.main(Prefect())
