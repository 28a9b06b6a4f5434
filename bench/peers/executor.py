"""concurrent.futures.ProcessPoolExecutor, one `submit` for each call: nothing is recorded, no state is reset."""

from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bench.peers import common, work


class Executor:
    name, durable, packages = "ProcessPoolExecutor", False, ()

    def open(self, workers: int) -> None:
        self.pool = ProcessPoolExecutor(workers)

    def map(self, task: str, items: list[Any]) -> list[Any]:
        running = [self.pool.submit(work.TASKS[task], item) for item in items]
        return [future.result() for future in running]

    def call(self, task: str, item: Any) -> Any:
        return self.pool.submit(work.TASKS[task], item).result()

    def close(self) -> None:
        processes = list(self.pool._processes.values())  # Gone from there with the shutdown.
        self.pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


if __name__ == "__main__":
    common.main(Executor())
