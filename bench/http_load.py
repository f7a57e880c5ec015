"""A light HTTP client that keeps a server busy: one process, several kept connections, each sending its next request as
soon as it has its answer. Stands alone, so that it starts at once and is the same for every server.

`python bench/http_load.py PORT CONNECTIONS SECONDS < body`; prints {"requests", "seconds", "p50_ms", "p99_ms",
"refused", "client_share"}. client_share: of one core, what this client itself took; near 1 the client was the limit.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time


def head_of(port: int, length: int) -> bytes:
    return (
        f"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def complete(data: bytes) -> bool:
    """Whether `data` is a whole answer; every server measured here states its length."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = data[:end].lower()
    at = head.find(b"content-length:")
    if at < 0:
        raise SystemExit(f"An answer without a length: {head[:200]!r}")
    return len(data) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])


def run(port: int, connections: int, seconds: float, body: bytes) -> dict[str, float]:
    request = head_of(port, len(body)) + body
    selector = selectors.DefaultSelector()
    received: dict[socket.socket, bytes] = {}
    sent: dict[socket.socket, float] = {}
    took: list[float] = []
    refused = 0
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", port), timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ, one)
        received[one], sent[one] = b"", time.perf_counter()
        one.sendall(request)
    begun, worked = time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) < begun + seconds:
        for key, _ in selector.select(1.0):
            one = key.data
            data = received[one] + (piece := one.recv(65_536))
            if not piece:
                raise SystemExit("The server closed a connection that was to be kept.")
            if not complete(data):
                received[one] = data
                continue
            now = time.perf_counter()
            refused += not data.startswith(b"HTTP/1.1 200 ")
            took.append(now - sent[one])
            received[one], sent[one] = b"", now
            one.sendall(request)
    wall, share = now - begun, time.process_time() - worked
    for one in received:
        one.close()
    took.sort()
    return {
        "requests": len(took),
        "seconds": wall,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] * 1e3,
        "refused": refused,
        "client_share": share / wall,
    }


if __name__ == "__main__":
    port, connections = map(int, sys.argv[1:3])
    print(json.dumps(run(port, connections, float(sys.argv[3]), sys.stdin.buffer.read())))
