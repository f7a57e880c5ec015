"""The Lambda function `fraud-desk-score`: rows of features in, scores of the live model out.

Event `{"instances": [[number or null, ..], ..], "explain": bool}`. Answer `{"statusCode": 200, "body": {model_version,
features_version, scores, contributions, model_latency_ms}}`, or 400 (the request), 429 (throttled, try later), 502 (the
model failed or answered nonsense) or 504 (out of time) with `{"error": sentence}`. The endpoint is named by the
environment, never by the caller. Scoring changes nothing, so a transient failure is tried once more while time allows.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, ReadTimeoutError

MAX_ROWS = 1_000
MAX_FEATURES = 1_000
MAX_BODY_BYTES = 4 * 1024 * 1024
CONNECT_SECONDS = 0.5
READ_SECONDS = 4.0
# What one attempt may take, with a little left to answer. The function's own timeout should allow two.
ATTEMPT_MS = int((CONNECT_SECONDS + READ_SECONDS) * 1_000) + 250
ATTEMPTS = 2
PAUSE_SECONDS = 0.1

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


class Refused(Exception):
    """The answer is an error: an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str, *, transient: bool = False) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.transient = transient


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
    endpoint = os.environ.get("FRAUD_DESK_ENDPOINT", "")
    if not endpoint:
        raise Refused(502, "The scoring function has no endpoint: set FRAUD_DESK_ENDPOINT.")
    rows, width, payload = _payload(event)
    for attempt in range(1, ATTEMPTS + 1):
        left_ms = context.get_remaining_time_in_millis()
        if left_ms < ATTEMPT_MS:
            raise Refused(504, f"Only {left_ms} ms are left and a call to the model may take {ATTEMPT_MS} ms.")
        try:
            asked = time.perf_counter()
            answer = _invoke(endpoint, payload)
            latency_ms = (time.perf_counter() - asked) * 1_000
            break
        except Refused as refusal:
            enough_ms = ATTEMPT_MS + PAUSE_SECONDS * 1_000
            if not refusal.transient or attempt == ATTEMPTS or context.get_remaining_time_in_millis() < enough_ms:
                raise
            time.sleep(PAUSE_SECONDS)
    body = _checked(answer, rows=rows, width=width, explain=event.get("explain", False))
    return {**body, "model_latency_ms": round(latency_ms, 2)}


def _payload(event: Any) -> tuple[int, int, bytes]:
    """(rows, features, request body) of a well-formed event; Refused 400 otherwise."""
    if not isinstance(event, dict) or not isinstance(event.get("instances"), list):
        raise Refused(400, "The event must be an object with 'instances', a list of rows.")
    unknown = sorted(str(key)[:40] for key in event if key not in ("instances", "explain"))
    if unknown:
        raise Refused(400, f"The event has fields that are not known: {', '.join(unknown[:5])}.")
    instances, explain = event["instances"], event.get("explain", False)
    if not isinstance(explain, bool):
        raise Refused(400, "'explain' must be true or false.")
    if not 1 <= len(instances) <= MAX_ROWS:
        raise Refused(400, f"Between 1 and {MAX_ROWS:,} rows can be scored at once, got {len(instances):,}.")
    width = len(instances[0]) if isinstance(instances[0], list) else 0
    if not 1 <= width <= MAX_FEATURES:
        raise Refused(400, f"Row 0 must be a list of 1 to {MAX_FEATURES:,} numbers.")
    rows = [_row(index, row, width) for index, row in enumerate(instances)]
    payload = json.dumps({"instances": rows, "explain": explain}, separators=(",", ":"), allow_nan=False).encode()
    if len(payload) > MAX_BODY_BYTES:
        raise Refused(
            400, f"The rows are {len(payload):,} bytes long; at most {MAX_BODY_BYTES:,} can be scored at once."
        )
    return len(rows), width, payload


def _row(index: int, row: Any, width: int) -> list[float | None]:
    """One row with missing values (null or NaN) as None."""
    if not isinstance(row, list) or len(row) != width:
        raise Refused(400, f"Row {index} must be a list of {width} numbers like the first.")
    out: list[float | None] = []
    for place, value in enumerate(row):
        if value is None or value != value:
            out.append(None)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(400, f"Feature {place} of row {index} must be a number or null.")
        elif abs(value) > 3.4e38:
            raise Refused(400, f"Feature {place} of row {index} is infinite or too large.")
        else:
            out.append(value)
    return out


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
