"""A real mongod and a real S3 server for one campaign, and installations of the desk on them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from embedded import mongod, s3_server
from embedded.ports import choose

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDFRAUDDESKTEST", "AWS_SECRET_ACCESS_KEY": "fraud-desk-test-secret"}


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses. `folder` holds a folder for each bucket."""

    mongo_uri: str
    s3_port: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Installation:
    """One desk: a database, a bucket and a catalog of its own."""

    database: str
    bucket: str
    catalog: Path
    servers: Servers

    def environment(self, endpoint: str, **more: str) -> Mapping[str, str]:
        """Everything a worker reads; S3 is at `endpoint`. Flushes are frequent, so that much happens in a second."""
        return {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
            **KEYS,
            "MONGODB_URI": self.servers.mongo_uri,
            "FRAUD_DESK_DATABASE": self.database,
            "FRAUD_DESK_BUCKET": self.bucket,
            "FRAUD_DESK_CATALOG": f"sqlite:///{self.catalog}",
            "FRAUD_DESK_STREAM_FLUSH_SECONDS": "0.1",
            "FRAUD_DESK_STREAM_FLUSH_EVENTS": "40",
            "FRAUD_DESK_CURATOR_SECONDS": "0.05",
            "AWS_ENDPOINT_URL_S3": endpoint,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "OPENBLAS_NUM_THREADS": "1",
            **more,
        }


def install(servers: Servers, folder: Path) -> Installation:
    """An empty desk; its bucket is there."""
    name = uuid.uuid4().hex[:10]
    bucket = f"faults-{name}"
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{servers.s3_port}",
        region_name=REGION,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=bucket)  # not a folder made behind the server's back: it remembers what it has seen
    client.close()
    folder.mkdir(parents=True, exist_ok=True)
    return Installation(f"faults_{name}", bucket, folder / f"catalog-{name}.db", servers)


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """mongod as a replica set of one, and rclone over `folder`/s3."""
    ports = choose(("mongod", "s3"))
    with mongo_server(folder / "mongo", ports["mongod"]) as uri, s3(folder / "s3", ports["s3"]) as port:
        yield Servers(uri, port, folder / "s3")


@contextmanager
def mongo_server(folder: Path, port: int) -> Iterator[str]:
    folder.mkdir(parents=True)
    command = [str(mongod.find_mongod()), "--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--replSet", mongod.REPLICA_SET, "--oplogSize", "990", "--wiredTigerCacheSizeGB", "0.5", "--quiet"]
    command += ["--nounixsocket", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    process = subprocess.Popen([*command, "--logpath", str(folder / "log")], stdout=subprocess.DEVNULL)
    try:
        _wait(process, lambda: mongod.become_primary(port))
        yield f"mongodb://127.0.0.1:{port}/?directConnection=true"
    finally:
        _end(process)


@contextmanager
def s3(folder: Path, port: int) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(s3_server.find_rclone()), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--config", ""]
    command += ["--vfs-cache-mode", "off", "--no-cleanup", "--poll-interval", "0"]
    environment = os.environ | {"RCLONE_AUTH_KEY": f'"{",".join(KEYS.values())}"'}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        _wait(process, listening)
        yield port
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], ready: object, seconds: float = 30.0) -> None:
    assert callable(ready)
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.args!r} is not ready")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
