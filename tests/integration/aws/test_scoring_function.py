"""The scoring function as it is deployed, before the real container behind the embedded server, driven by boto3."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from embedded.seed.functions import _package
from model import onnx_packaging
from tests.integration.aws.servers import IMAGE, ROLE, Aws, wait_until
from tests.integration.aws.serving import Serving

pytestmark = pytest.mark.timeout(90)

ROWS = [[0.5, None, 2.0], [-1.0, 0.25, 0.0]]


def artifact(folder: Path) -> tuple[bytes, xgb.Booster]:
    r = np.random.default_rng(1)
    matrix = r.normal(size=(300, 3)).astype(np.float32)
    labels = (matrix[:, 0] + r.normal(size=300) > 0.5).astype(int)
    settings = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3, "base_score": 0.5}
    booster = xgb.train(settings, xgb.DMatrix(matrix, label=labels, nthread=1), 10)
    booster.save_model(folder / "model.ubj")
    onnx_packaging.copy_serving_code(folder / "code")
    onnx_packaging.export_onnx(booster, folder, matrix)
    (folder / "metadata.json").write_text(json.dumps({"features": ["a", "b", "c"], "features_version": "1"}))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return packed.getvalue(), booster


def endpoint(aws: Aws, serving: Serving, body: bytes) -> str:
    aws.client("s3").put_object(Bucket=serving.bucket, Key="models/model.tar.gz", Body=body)
    name = f"model-{uuid.uuid4().hex[:6]}"
    container = {
        "Image": IMAGE,
        "ModelDataUrl": f"s3://{serving.bucket}/models/model.tar.gz",
        "Environment": {"FRAUD_DESK_MODEL_VERSION": "v3"},
    }
    aws.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    return serving.endpoint(serving.config(name))


def function(aws: Aws, variables: dict[str, str]) -> Callable[[Any], dict[str, Any]]:
    name = f"score-{uuid.uuid4().hex[:8]}"
    client = aws.client("lambda")
    client.create_function(
        FunctionName=name,
        Role=ROLE,
        Runtime="python3.13",
        Handler="score.handler",
        Code={"ZipFile": _package("score")},
        Timeout=30,
        Environment={"Variables": variables},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def call(event: Any) -> dict[str, Any]:
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
        with answer["Payload"] as stream:
            body: dict[str, Any] = json.loads(stream.read())
        assert "FunctionError" not in answer, body
        return body

    return call


def container_pid(aws: Aws, name: str) -> int | None:
    for record in (aws.state / "pids").glob("*.json"):
        held = json.loads(record.read_text())
        if held["what"].startswith(f"endpoint {name} "):
            return int(held["pid"])
    return None


def test_every_form_of_event_is_scored_by_the_container_and_no_other_endpoint_is_reached(
    aws: Aws, serving: Serving, tmp_path: Path
) -> None:
    body, booster = artifact(tmp_path)
    name = endpoint(aws, serving, body)
    aws.wait_endpoint(name, "InService", seconds=40)
    call = function(aws, {"FRAUD_DESK_ENDPOINT": name, "FRAUD_DESK_ENDPOINT_ALIASES": f"live={name}"})
    matrix = np.array([[np.nan if v is None else v for v in row] for row in ROWS], dtype=np.float32)
    expected = booster.inplace_predict(matrix)
    named = [dict(zip("cab", (row[2], row[0], row[1]), strict=True)) for row in ROWS]
    for event in (
        {"instances": ROWS},
        {"instances": named},
        {"endpoint_name": name, "input": ROWS},
        {"endpoint_name": "live", "input": "0.5,,2\n-1,0.25,0"},
    ):
        answer = call(event)
        assert answer["statusCode"] == 200, answer
        np.testing.assert_allclose(answer["body"]["scores"], expected, atol=1e-6)
        assert answer["body"]["model_version"] == "v3"
    explained = call({"instances": ROWS, "explain": True})["body"]["contributions"]
    shares = booster.predict(xgb.DMatrix(matrix, nthread=1), pred_contribs=True)[:, :-1]
    np.testing.assert_allclose(explained, shares, atol=1e-5)
    for event, sentence in (
        ({"instances": [[1.0, 2.0]]}, "Each row must have 3 features, got 2."),
        ({"instances": [{"a": 1.0, "b": 2.0}]}, "Row 0 lacks c. A missing value is sent as null."),
        ({"endpoint_name": "another", "input": ROWS}, "The endpoint 'another' is not one that this function may ask."),
    ):
        assert call(event) == {"statusCode": 400, "body": {"error": sentence}}
    _after_a_kill_it_scores_again(aws, name, call)


def _after_a_kill_it_scores_again(aws: Aws, name: str, call: Callable[[Any], dict[str, Any]]) -> None:
    """While the container is away the answer is an error, never a score; then the same event is scored again."""
    before = container_pid(aws, name)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    seen = []

    def scored() -> bool:
        answer = call({"instances": ROWS})
        seen.append(answer)
        return answer["statusCode"] == 200 and container_pid(aws, name) not in (None, before)

    wait_until(scored, seconds=30, what="a score after the container was killed")
    assert {answer["statusCode"] for answer in seen} <= {200, 502}
    assert all(answer["statusCode"] == 200 or "error" in answer["body"] for answer in seen)
