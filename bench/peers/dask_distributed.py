"""dask.distributed with a local cluster of processes of one thread each. Nothing is durable."""

from typing import Any

from bench.peers import common, work
from dask.distributed import Client, LocalCluster


class Dask:
    name, durable, packages = "dask.distributed", False, ("distributed",)

    def open(self, workers: int) -> None:
        self.cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50)
        self.client = Client(self.cluster)

    def map(self, task: str, items: list[Any]) -> list[Any]:
        return self.client.gather(self.client.map(work.TASKS[task], items, pure=False, batch_size=1000))

    def call(self, task: str, item: Any) -> Any:
        return self.client.submit(work.TASKS[task], item, pure=False).result()

    def close(self) -> None:
        self.client.close(timeout=2)
        self.cluster.close(timeout=2)


if __name__ == "__main__":
    common.main(Dask())
