"""celery, prefork, with a redis of its own for messages and results, which keeps them in memory alone."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.peers import common, work
from celery import Celery, group

PORT = int(os.environ.get("BENCH_REDIS_PORT", "6399"))
app = Celery("bench", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(
    task_serializer="pickle", result_serializer="pickle", accept_content=["pickle"], worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)  # fmt: skip
tasks = {name: app.task(name=f"bench.{name}")(function) for name, function in work.TASKS.items()}


class CeleryPeer:
    name, durable, packages = "celery + redis", False, ("celery", "redis")

    def open(self, workers: int) -> None:
        server = shutil.which("redis-server")
        if server is None:
            raise SystemExit("redis-server is not installed (Debian: apt-get install redis-server)")
        self.folder = tempfile.mkdtemp(prefix="redis-")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        words = [server, "--port", str(PORT), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.redis = subprocess.Popen(words, **quiet)
        _until_it_listens()
        worker = [sys.executable, "-m", "celery", "-A", "bench.peers.celery_redis", "worker", "-c", str(workers),
                  "--without-gossip", "--without-mingle", "-l", "ERROR"]  # fmt: skip
        self.worker = subprocess.Popen(worker, env={**os.environ, "C_FORCE_ROOT": "1"}, **quiet)

    def map(self, task: str, items: list[Any]) -> list[Any]:
        return group(tasks[task].s(item) for item in items)().get(timeout=300)

    def call(self, task: str, item: Any) -> Any:
        return tasks[task].delay(item).get(timeout=60, interval=0.0005)

    def close(self) -> None:
        self.worker.terminate()
        try:
            self.worker.wait(10)
        except subprocess.TimeoutExpired:
            self.worker.kill()
        self.redis.terminate()
        self.redis.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _until_it_listens() -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", PORT), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("redis does not listen")


if __name__ == "__main__":
    common.main(CeleryPeer())
