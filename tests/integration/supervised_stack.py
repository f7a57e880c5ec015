"""The command line of the embedded stack with a small table: real stores, and a worker that is a few lines.

Run as a program by test_supervisor.py, so that the supervisor is a process of its own and can be killed.
"""

import os
import sys
from datetime import datetime
from pathlib import Path

from embedded import keeper
from embedded.__main__ import main
from embedded.programs import SEEDED, Program, Stack, Stage, Table, stores

WORKER = """
import pathlib, signal, sys, time
place = pathlib.Path(sys.argv[1])
if (place / "crash").exists():
    sys.exit("the worker has no bread")
(place / "worker.started").write_text("x")
while True:
    time.sleep(0.05)
"""
SEED = """
import json, pathlib, sys
place = pathlib.Path(sys.argv[1])
if (place / "no-seed").exists():
    sys.exit("there is no history to seed")
print(json.dumps({"step": "history", "title": "Seed history", "fraction": 0.5, "detail": "half"}), flush=True)
print(json.dumps({"step": "history", "done": True}), flush=True)
with (place / "seeded.times").open("a") as file:
    file.write("x")
"""


def table(stack: Stack) -> Table:
    place = stack.folder.path

    async def started(pid: int, started_at: datetime) -> bool:
        return (place / "worker.started").exists()

    worker = Program(
        "worker", "The worker", Stage.LIVE, (sys.executable, "-c", WORKER, str(place)), started, ("mongod", SEEDED)
    )
    return Table((*stores(stack), worker), (sys.executable, "-c", SEED, str(Path(place))))


if backoff := os.environ.get("FRAUD_DESK_TEST_BACKOFF"):
    keeper.BACKOFF_SECONDS = (float(backoff),)  # waiting a minute for a process to be given up is no test

if __name__ == "__main__":
    sys.exit(main(table_of=table))
