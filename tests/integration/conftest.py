"""A real mongod and a real S3 server for the whole session; a database and a bucket for every test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from services.adapters import aws
from services.adapters.mongo import client as mongo_client
from services.adapters.mongo import schema
from services.settings import Settings
from tests.integration.lake_desk import Desk

_ACCESS = {"AWS_ACCESS_KEY_ID": "AKIDFRAUDDESKTEST", "AWS_SECRET_ACCESS_KEY": "fraud-desk-test-secret"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} exited with {process.returncode}"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _mongod() -> str:
    wheel = Path(sysconfig.get_path("purelib")) / "fiftyone" / "db" / "bin" / "mongod"
    found = os.environ.get("FRAUD_DESK_MONGOD") or (str(wheel) if wheel.exists() else shutil.which("mongod"))
    if not found:
        pytest.fail("no mongod: install the wheel in requirements.txt or set FRAUD_DESK_MONGOD")
    return found


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A single-node replica set primary on loopback.

    Nobody kills it, so that majority need not wait for the disk: an index, a write, a drop take half the time or less.
    """
    folder, port = tmp_path_factory.mktemp("mongod"), _free_port()
    arguments = [_mongod(), "--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"]
    arguments += ["--wiredTigerCacheSizeGB", "0.5", "--quiet", "--logpath", str(folder / "log")]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        _wait_for_port(port, process)
        uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
        with MongoClient[dict[str, object]](uri) as client:
            members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
            config = {"_id": "rs0", "members": members, "writeConcernMajorityJournalDefault": False}
            client.admin.command("replSetInitiate", config)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    if client.admin.command("hello")["isWritablePrimary"]:
                        break
                except PyMongoError:
                    pass
                time.sleep(0.05)
        yield uri
    finally:
        _stop(process)


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """rclone's S3 server over a folder. The standard variables of AWS point to it while the session lasts."""
    folder, port = tmp_path_factory.mktemp("s3"), _free_port()
    rclone = Path(sysconfig.get_path("scripts")) / "rclone"
    arguments = [str(rclone if rclone.exists() else "rclone"), "serve", "s3", str(folder)]
    arguments += ["--addr", f"127.0.0.1:{port}", "--auth-key", ",".join(_ACCESS.values()), "--config", os.devnull]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    patch = pytest.MonkeyPatch()
    patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the credentials of whoever made a client first
    try:
        _wait_for_port(port, process)
        for name, value in _ACCESS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_REGION", "eu-central-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        patch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        yield f"http://127.0.0.1:{port}"
    finally:
        patch.undo()
        _stop(process)


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    aws.client("s3", region="us-east-1").create_bucket(Bucket=name)
    return name


def _settings(mongo_uri: str, bucket: str, folder: Path) -> Settings:
    return Settings.from_environment(
        {
            "MONGODB_URI": mongo_uri,
            "FRAUD_DESK_DATABASE": f"test_{uuid.uuid4().hex[:12]}",
            "FRAUD_DESK_BUCKET": bucket,
            "FRAUD_DESK_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
            "FRAUD_DESK_STREAM_FLUSH_SECONDS": "0.2",
            "FRAUD_DESK_STREAM_FLUSH_EVENTS": "500",
            "AWS_REGION": "eu-central-1",
        }
    )


@contextmanager
def _database(settings: Settings) -> Iterator[mongo_client.Db]:
    database = mongo_client.connect(settings)
    schema.ensure(database)
    yield database
    database.client.drop_database(database.name)
    database.client.close()


@pytest.fixture
def settings(mongo_uri: str, bucket: str, tmp_path: Path) -> Settings:
    """An installation of its own: database, bucket and catalog."""
    return _settings(mongo_uri, bucket, tmp_path)


@pytest.fixture
def db(settings: Settings) -> Iterator[mongo_client.Db]:
    """The test's database with the desk's collections and indexes; dropped afterwards."""
    with _database(settings) as database:
        yield database


@pytest.fixture(scope="module")
def module_db(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongo_client.Db]:
    """A database that the tests of one module share: for those that only look at what was put there once."""
    with _database(_settings(mongo_uri, "none", tmp_path_factory.mktemp("module"))) as database:
        yield database


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    """An empty lake in the test's bucket."""
    desk = Desk(settings)
    yield desk
    desk.tables.close()
    desk.reader.close()
