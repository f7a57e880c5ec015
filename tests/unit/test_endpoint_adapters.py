"""What the AWS adapters make of the answers and errors of the vendor; no network."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import Any

import orjson
import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from services.adapters import aws
from services.adapters.lambda_functions import LambdaFunctions
from services.adapters.model_artifacts import ModelArtifacts
from services.adapters.sagemaker import SageMaker
from services.adapters.sagemaker_runtime import SageMakerRuntime
from services.endpoint import NOT_SCORED
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable
from services.scoring_api import ScoringApi

GOOD = {"model_version": "v3", "features_version": "1", "scores": [0.25], "contributions": None, "model_latency_ms": 4}


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def body(raw: bytes) -> StreamingBody:
    return StreamingBody(io.BytesIO(raw), len(raw))


def invoked(answer: Any, *, function_error: str | None = None) -> LambdaFunctions:
    functions = LambdaFunctions(region="eu-central-1")
    stub = Stubber(functions._client)
    raw = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    reply: dict[str, Any] = {"StatusCode": 200, "Payload": body(raw)}
    if function_error:
        reply["FunctionError"] = function_error
    stub.add_response("invoke", reply)
    stub.activate()
    return functions


@pytest.mark.parametrize("status", [200, 207])
def test_a_good_answer_is_its_body(status: int) -> None:
    assert invoked({"statusCode": status, "body": {"a": 1}}).invoke("f", {}) == {"a": 1}
    assert invoked({"statusCode": status, "body": '{"a": 1}'}).invoke("f", {}) == {"a": 1}


def test_a_refusal_carries_every_problem() -> None:
    problems = [{"row": 2, "field": "amount_minor", "message": "is negative"}, {"row": "x"}]
    functions = invoked({"statusCode": 400, "body": {"error": "1 row is wrong", "problems": problems}})
    with pytest.raises(InvalidData, match="1 row is wrong") as refused:
        functions.invoke("f", {})
    assert [(p.row, p.field, p.message) for p in refused.value.problems] == [(2, "amount_minor", "is negative")]


@pytest.mark.parametrize(
    ("answer", "function_error"),
    [
        ({"errorType": "KeyError", "errorMessage": "'x'", "stackTrace": ["secret.py"]}, "Unhandled"),
        ({"statusCode": 429, "body": {"error": "Busy."}}, None),
        ({"statusCode": 502, "body": {"error": "The model failed."}}, None),
        ({"statusCode": 504, "body": {}}, None),
        ({"statusCode": 200}, None),
        ({"body": {}}, None),
        (b"null", None),
        (b"<html>", None),
    ],
)
def test_everything_else_is_no_answer_and_shows_no_stack_trace(answer: Any, function_error: str | None) -> None:
    with pytest.raises(Unavailable) as refused:
        invoked(answer, function_error=function_error).invoke("f", {})
    assert refused.value.dependency == "the scoring API"
    assert refused.value.message.startswith("The scoring API ")
    assert "secret.py" not in refused.value.message


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "TooManyRequestsException", "AccessDeniedException"])
def test_a_missing_or_throttled_function_is_unavailable(code: str) -> None:
    functions = LambdaFunctions(region="eu-central-1")
    with Stubber(functions._client) as stub:
        stub.add_client_error("invoke", code, "no", http_status_code=400)
        with pytest.raises(Unavailable):
            functions.invoke("f", {})


def test_scores_come_through_the_api_with_the_models_own_time() -> None:
    api = ScoringApi(functions=invoked({"statusCode": 200, "body": GOOD}), function="fraud-desk-score")
    answer = api.score([[1.0, float("nan")]])
    assert (answer.scores, answer.model_version, answer.latency_ms) == ((0.25,), "v3", 4.0)


def test_an_api_without_scores_did_not_answer() -> None:
    api = ScoringApi(functions=invoked({"statusCode": 200, "body": {}}), function="fraud-desk-score")
    with pytest.raises(Unavailable):
        api.score([[1.0]])


def runtime_error(code: str, http: int = 400, **more: Any) -> ServiceError:
    runtime = SageMakerRuntime(region="eu-central-1")
    with Stubber(runtime._client) as stub:
        stub.add_client_error("invoke_endpoint", code, "said", http_status_code=http, modeled_fields=more)
        with pytest.raises(ServiceError) as refused:
            runtime.invoke("fraud-desk", b"{}")
    return refused.value


@pytest.mark.parametrize("status", [400, 413, 415])
def test_rows_the_container_refuses_are_invalid(status: int) -> None:
    error = runtime_error("ModelError", 424, OriginalStatusCode=status, OriginalMessage="Feature 3 is infinite.")
    assert isinstance(error, InvalidData)
    assert "Feature 3 is infinite." in error.message


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_container_in_trouble_is_unavailable(status: int) -> None:
    error = runtime_error("ModelError", 424, OriginalStatusCode=status)
    assert isinstance(error, Unavailable)
    assert error.message.startswith(NOT_SCORED)


@pytest.mark.parametrize(
    "code", ["ValidationError", "ThrottlingException", "ServiceUnavailable", "ModelNotReadyException", "AccessDenied"]
)
def test_an_endpoint_that_is_missing_or_busy_is_no_fault_of_the_rows(code: str) -> None:
    error = runtime_error(code)
    assert isinstance(error, Unavailable)
    assert (error.dependency, error.message[: len(NOT_SCORED)]) == ("the model endpoint", NOT_SCORED)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("ResourceNotFound", "Requested resource not found.", NotFound),
        ("ValidationException", 'Could not find endpoint "x".', NotFound),
        ("ValidationException", "Cannot create already existing endpoint", Conflict),
        ("ValidationException", "Cannot update in-progress endpoint", Conflict),
        ("ResourceInUse", "Training job names must be unique", Conflict),
        ("ValidationException", "1 validation error detected", InvalidData),
        ("ThrottlingException", "Rate exceeded", Unavailable),
        ("ResourceLimitExceeded", "The account-level service limit", Unavailable),
        ("AccessDeniedException", "not authorized", Unavailable),
    ],
)
def test_sagemakers_codes_and_sentences_become_the_desks_errors(code: str, message: str, kind: type) -> None:
    sagemaker = SageMaker(region="eu-central-1")
    with Stubber(sagemaker._client) as stub:
        stub.add_client_error("describe_endpoint", code, message, http_status_code=400)
        with pytest.raises(ServiceError) as refused:
            sagemaker.describe_endpoint("fraud-desk")
    assert type(refused.value) is kind


METADATA = {
    "features_version": "1",
    "suggested": {"review_threshold": 0.4, "decline_threshold": 0.8},
    "metrics": {"auc": 0.9, "note": "x"},
}


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, raw in files.items():
            member = tarfile.TarInfo(name.replace("_json", ".json"))
            member.size = len(raw)
            made.addfile(member, io.BytesIO(raw))
    return out.getvalue()


class S3:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def get_object(self, **where: str) -> dict[str, Any]:
        assert where == {"Bucket": "b", "Key": "models/job/output/model.tar.gz"}
        return {"ContentLength": len(self.raw), "Body": body(self.raw)}


def read(raw: bytes) -> Any:
    return ModelArtifacts(region="eu-central-1", client=S3(raw)).metadata("s3://b/models/job/output/model.tar.gz")


def test_metadata_is_read_without_unpacking_and_keeps_only_numbers_as_metrics() -> None:
    held = read(archive(model=b"x" * 100_000, metadata_json=orjson.dumps(METADATA)))
    assert held["metrics"] == {"auc": 0.9}
    assert held["suggested"] == METADATA["suggested"]


def card(raw: bytes) -> str:
    return ModelArtifacts(region="eu-central-1", client=S3(raw)).card("s3://b/models/job/output/model.tar.gz")


def test_the_model_card_is_read_and_its_absence_said() -> None:
    assert card(archive(model=b"x", **{"model_card.md": "# Café".encode()})) == "# Café"
    with pytest.raises(InvalidData, match=r"has no model_card\.md"):
        card(archive(metadata_json=orjson.dumps(METADATA)))
    with pytest.raises(InvalidData, match="not text"):
        card(archive(**{"model_card.md": b"\xff"}))


@pytest.mark.parametrize(
    "raw",
    [
        b"no archive",
        gzip.compress(b"no archive either"),
        archive(model=b"x"),
        archive(metadata_json=b"{"),
        archive(metadata_json=b"[]"),
        archive(metadata_json=b" " * (1024 * 1024 + 1)),
        archive(metadata_json=orjson.dumps(METADATA | {"features_version": ""})),
        archive(metadata_json=orjson.dumps(METADATA | {"suggested": {"review_threshold": 0, "decline_threshold": 1}})),
        archive(metadata_json=orjson.dumps(METADATA | {"suggested": {"review_threshold": "a"}})),
        archive(model=b"x" * 5000, metadata_json=orjson.dumps(METADATA))[:-200],
    ],
    ids=lambda raw: f"{len(raw)} bytes",
)
def test_an_artifact_that_is_not_what_training_writes_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidData):
        read(raw)


def test_an_artifact_of_another_maker_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InvalidData, match=r"has no metadata\.json: .*Nothing was registered; train with method XGBoost"
    ):
        read(archive(model=b"as AWS's own Autopilot leaves it"))


@pytest.mark.parametrize(
    "gone",
    [
        EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
        ConnectTimeoutError(endpoint_url="http://127.0.0.1:9"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:9"),
        ConnectionClosedError(endpoint_url="http://127.0.0.1:9"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nobody_answering_is_unavailable_in_every_way_botocore_says_it(gone: Exception) -> None:
    def lost() -> None:
        with aws.translated("SageMaker"):
            raise gone

    with pytest.raises(Unavailable) as refused:
        lost()
    assert refused.value.dependency == "SageMaker"


def test_an_endpoint_nobody_listens_at_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="Not scored"):
        SageMakerRuntime(region="eu-central-1", attempts=1).invoke("fraud-desk", b"{}")
