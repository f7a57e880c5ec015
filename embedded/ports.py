"""Loopback ports, chosen once and kept, so that addresses survive a restart of the stack."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"
# Below the ephemeral range of Linux and macOS (32768.., 49152..): an outgoing connection never takes one of these.
FIRST, LAST = 20000, 31999


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now. Connections of a former server in TIME_WAIT do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(names: Iterable[str], kept: Mapping[str, int] | None = None) -> dict[str, int]:
    """A free port for each name: the kept one where it is still free, else a random one. All are different."""
    kept = kept or {}
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        if not isinstance(port, int) or port in chosen.values() or not is_free(port):
            port = _random_free(set(chosen.values()) | set(kept.values()))
        chosen[name] = port
    return chosen


def _random_free(taken: set[int]) -> int:
    for port in random.sample(range(FIRST, LAST + 1), k=500):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"No free port was found between {FIRST} and {LAST}.")
