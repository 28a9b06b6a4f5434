"""A fake hub as a process of its own: `python hub_main.py serve --local --state DIR`, as the real one is started."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from tests.sdk.client.fake_hub import Answer, Asked, FakeHub, as_json


def main() -> None:
    state = Path(sys.argv[sys.argv.index("--state") + 1])
    with open(state / "starts", "a") as file:
        file.write(f"{os.getpid()}\n")
    if (state / "refuse").exists():
        print("database hub.db is from a newer version: upgrade greenroom")
        sys.exit(5)
    descriptors = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    (state / "seen.json").write_text(
        json.dumps({"fds": descriptors, "cwd": os.getcwd(), "sid": os.getsid(0), "env": dict(os.environ)})
    )
    over = threading.Event()

    def stop(asked: Asked) -> Answer:
        (state / "hub.json").unlink(missing_ok=True)
        threading.Timer(0.05, over.set).start()
        return as_json({}, 202)

    with FakeHub(state) as hub:
        hub.route("POST", "/api/hub/stop", stop)
        hub.write_record()
        over.wait()


if __name__ == "__main__":
    main()
