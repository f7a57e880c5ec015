"""librdkafka's own cluster of three brokers, in a process of its own: it speaks the protocol to any other process.

`python -m tests.integration.kafka_cluster` prints the brokers' addresses and serves until its input ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

ROOT = Path(__file__).parents[2]


@contextmanager
def brokers() -> Iterator[str]:
    """host:port,host:port,host:port while the context lasts."""
    command = [sys.executable, "-m", "tests.integration.kafka_cluster"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=10)


if __name__ == "__main__":
    cluster = Producer({"test.mock.num.brokers": 3})
    known = cluster.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in known), flush=True)
    sys.stdin.read()
