"""multiprocessing.Pool, `imap` with chunks of one: nothing is recorded, no state is reset."""

import multiprocessing
from typing import Any

from bench.peers import common, work


class Pool:
    name, durable, packages = "multiprocessing.Pool", False, ()

    def open(self, workers: int) -> None:
        self.pool = multiprocessing.Pool(workers)

    def map(self, task: str, items: list[Any]) -> list[Any]:
        return list(self.pool.imap(work.TASKS[task], items, chunksize=1))

    def call(self, task: str, item: Any) -> Any:
        return self.pool.apply(work.TASKS[task], (item,))

    def close(self) -> None:
        self.pool.terminate()


if __name__ == "__main__":
    common.main(Pool())
