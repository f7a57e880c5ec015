"""The Lambda function `fraud-desk-score`: rows of features in, scores of the live model out.

Event `{"instances": [[number or null, ..] or {feature: number or null}, ..], "explain": bool}`, or the plain event
`{"endpoint_name": alias, "input": CSV, a row, rows or features by name}`. Answer `{"statusCode": 200, "body":
{model_version, features_version, scores, contributions, model_latency_ms}}`, or 400 (the request), 429 (throttled, try
later), 502 (the model failed or answered nonsense) or 504 (out of time) with `{"error": sentence}`.

The endpoint is named by the environment, never by the caller: FRAUD_DESK_ENDPOINT, and for the plain event besides it
the aliases of FRAUD_DESK_ENDPOINT_ALIASES (`name` or `name=endpoint`, comma-separated). Rows are checked against the
features that the model itself tells. Scoring changes nothing, so a transient failure is tried once more while time
allows.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import time
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError
from score_event import Refused, in_order, payload, read_event

CONNECT_SECONDS = 0.5
READ_SECONDS = 4.0
# What one attempt may take, with a little left to answer. The function's own timeout should allow two.
ATTEMPT_MS = int((CONNECT_SECONDS + READ_SECONDS) * 1_000) + 250
ATTEMPTS = 2
PAUSE_SECONDS = 0.1
# A model that did not tell its features (one packaged before it could) is asked again after this time.
UNTOLD_SECONDS = 300.0

_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"}
_TRANSIENT = {"ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalDependencyException"}

_log = logging.getLogger("fraud-desk-score")
_log.setLevel(logging.INFO)

# Made once for the life of the execution environment. Retries are ours: the vendor's do not know the time left.
runtime = boto3.client(
    "sagemaker-runtime",
    config=Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": 1, "mode": "standard"},
        tcp_keepalive=True,
    ),
)


@dataclass(frozen=True)
class Schema:
    """What a model said of itself. `read` is of the monotonic clock, in seconds."""

    features: list[str] | None
    model_version: str
    read: float


_schemas: dict[str, Schema] = {}

# What was loaded stays for the life of the execution environment: no collection looks through it in mid-event.
gc.freeze()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """The entry point; never raises for what a caller or the endpoint can do."""
    began = time.perf_counter()
    try:
        body = _score(event, context)
    except Refused as refusal:
        _log.warning(json.dumps({"event": "refused", "status": refusal.status, "error": refusal.sentence}))
        return {"statusCode": refusal.status, "body": {"error": refusal.sentence}}
    took = round((time.perf_counter() - began) * 1_000, 2)
    _log.info(json.dumps({"event": "scored", "rows": len(body["scores"]), "total_ms": took}))
    return {"statusCode": 200, "body": body}


def _score(event: Any, context: Any) -> dict[str, Any]:
    asked = read_event(event)
    endpoint = _endpoint(asked.alias)
    schema = _schema(endpoint, context)
    try:
        rows = in_order(asked, schema)
    except Refused:
        # Perhaps another model serves since its schema was read: only today's may refuse the caller.
        _schemas.pop(endpoint, None)
        rows = in_order(asked, _schema(endpoint, context))
    answer, latency_ms = _asked(endpoint, payload(rows, explain=asked.explain), context)
    body = _checked(answer, rows=len(rows), width=len(rows[0]), explain=asked.explain)
    known = _schemas.get(endpoint)
    if known is not None and known.model_version not in ("", body["model_version"]):
        del _schemas[endpoint]
        if asked.named:  # the columns were put in the order of the model before
            raise Refused(502, "The model was replaced while it was asked; send the same again.")
    return {**body, "model_latency_ms": round(latency_ms, 2)}


def _endpoint(alias: str | None) -> str:
    """The endpoint of the environment, or the one an allowed alias stands for. Refused 400 for any other name."""
    own = os.environ.get("FRAUD_DESK_ENDPOINT", "")
    if not own:
        raise Refused(502, "The scoring function has no endpoint: set FRAUD_DESK_ENDPOINT.")
    if alias is None or alias == own:
        return own
    for entry in os.environ.get("FRAUD_DESK_ENDPOINT_ALIASES", "").split(","):
        name, _, target = entry.strip().partition("=")
        if name and name.strip() == alias:
            return target.strip() or alias
    raise Refused(400, f"The endpoint '{alias[:63]}' is not one that this function may ask.")


def _schema(endpoint: str, context: Any) -> list[str] | None:
    """The model's features in order, asked once and kept; None where it does not tell (it then checks alone)."""
    known = _schemas.get(endpoint)
    if known is None or (known.features is None and time.monotonic() - known.read > UNTOLD_SECONDS):
        known = _schemas[endpoint] = _described(endpoint, context)
    return known.features


def _described(endpoint: str, context: Any) -> Schema:
    try:
        answer, _ = _asked(endpoint, b'{"describe":true}', context)
    except Refused as refusal:
        if refusal.status != 400:
            raise
        return Schema(None, "", time.monotonic())
    features = answer.get("features") if isinstance(answer, dict) else None
    if not isinstance(features, list) or not features or not all(isinstance(name, str) for name in features):
        raise Refused(502, "The model's answer has no features.")
    return Schema(features, str(answer.get("model_version", "")), time.monotonic())


def _asked(endpoint: str, body: bytes, context: Any) -> tuple[Any, float]:
    """(the endpoint's parsed answer, milliseconds it took), within the time that is left. Raises Refused."""
    for attempt in range(1, ATTEMPTS + 1):
        left_ms = context.get_remaining_time_in_millis()
        if left_ms < ATTEMPT_MS:
            raise Refused(504, f"Only {left_ms} ms are left and a call to the model may take {ATTEMPT_MS} ms.")
        try:
            asked = time.perf_counter()
            return _invoke(endpoint, body), (time.perf_counter() - asked) * 1_000
        except Refused as refusal:
            enough_ms = ATTEMPT_MS + PAUSE_SECONDS * 1_000
            if not refusal.transient or attempt == ATTEMPTS or context.get_remaining_time_in_millis() < enough_ms:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def _invoke(endpoint: str, payload: bytes) -> Any:
    """The endpoint's parsed answer. Refused with the status the caller should see."""
    try:
        response = runtime.invoke_endpoint(
            EndpointName=endpoint, Body=payload, ContentType="application/json", Accept="application/json"
        )
        raw = response["Body"].read()
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise Refused(
            504, "The model did not answer in time.", transient=isinstance(error, ConnectTimeoutError)
        ) from error
    except ClientError as error:
        raise _translated(error) from error
    except BotoCoreError as error:
        raise Refused(502, f"The model endpoint cannot be reached ({type(error).__name__}).", transient=True) from error
    try:
        return json.loads(raw)
    except ValueError as error:
        raise Refused(502, "The model's answer is not JSON.") from error


def _translated(error: ClientError) -> Refused:
    # Throttling is not in the service model, so there is no exception class to catch.
    code = str(error.response.get("Error", {}).get("Code", ""))
    http = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _THROTTLED or http == 429:
        return Refused(429, "The model endpoint is throttling; try again shortly.", transient=True)
    if code == "ModelError":
        status = int(error.response.get("OriginalStatusCode", 0))
        if status == 400:
            return Refused(400, _sentence(error) or "The model refused the rows.")
        return Refused(502, f"The model failed with status {status}.")
    if code == "ModelNotReadyException":
        return Refused(502, "The model is not ready yet.", transient=True)
    if code in _TRANSIENT or http >= 500:
        return Refused(502, "The model endpoint is not available.", transient=True)
    return Refused(502, f"The model endpoint refused the call ({code or http}).")


def _sentence(error: ClientError) -> str:
    """The container's own sentence out of a ModelError, or '' where it has none."""
    original = str(error.response.get("OriginalMessage", ""))
    try:
        said = json.loads(original)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(said)[:300]


def _checked(answer: Any, *, rows: int, width: int, explain: bool) -> dict[str, Any]:
    """The part of the answer that goes on, after making sure that it belongs to what was asked."""
    if not isinstance(answer, dict) or not isinstance(answer.get("scores"), list):
        raise Refused(502, "The model's answer has no scores.")
    scores, contributions = answer["scores"], answer.get("contributions")
    if len(scores) != rows:
        raise Refused(502, f"The model returned {len(scores)} scores for {rows} rows.")
    if not all(_finite(score) and 0.0 <= score <= 1.0 for score in scores):
        raise Refused(502, "The model returned a score outside 0 to 1.")
    if explain and not _explained(contributions, rows, width):
        raise Refused(502, "The model's contributions do not match the rows.")
    return {
        "model_version": str(answer.get("model_version", "")),
        "features_version": str(answer.get("features_version", "")),
        "scores": scores,
        "contributions": contributions if explain else None,
    }


def _explained(contributions: Any, rows: int, width: int) -> bool:
    if not isinstance(contributions, list) or len(contributions) != rows:
        return False
    return all(isinstance(row, list) and len(row) == width and all(map(_finite, row)) for row in contributions)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
