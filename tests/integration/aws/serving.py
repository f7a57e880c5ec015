"""Models, configurations and endpoints of a small serving program."""

from __future__ import annotations

import io
import tarfile
import textwrap
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from tests.integration.aws.servers import IMAGE, ROLE, Aws


def tar_of(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            data = textwrap.dedent(text).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


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
