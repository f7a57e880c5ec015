"""Calling the desk's own Lambda functions and reading their one answer format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from services.adapters import aws
from services.errors import InvalidData, NotFound, Problem, Unavailable

SCORING_API = "the scoring API"
# The limit of a synchronous invocation, in bytes of JSON.
MAX_PAYLOAD = 6 * 1024 * 1024


class LambdaFunctions:
    """`LambdaFunctions(region=settings.region)`. `dependency` names the API for people when it does not answer."""

    def __init__(
        self,
        *,
        region: str,
        dependency: str = SCORING_API,
        connect_seconds: float = aws.CONNECT_SECONDS,
        read_seconds: float = aws.READ_SECONDS,
        attempts: int = 2,
    ) -> None:
        self._dependency = dependency
        self._client = aws.client(
            "lambda", region=region, connect_seconds=connect_seconds, read_seconds=read_seconds, attempts=attempts
        )

    def invoke(self, function: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The `body` of a 200 or 207 answer.

        Raises InvalidData (400 and 413, with the function's list of problems) and Unavailable for anything else: the
        function crashed, timed out, was throttled, does not exist, or said 429, 502 or 504.
        """
        body = orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
        if len(body) > MAX_PAYLOAD:
            raise InvalidData("This is more than 6 MB, too much for one call; send fewer rows.")
        try:
            with aws.translated(self._dependency):
                answer = self._client.invoke(FunctionName=function, InvocationType="RequestResponse", Payload=body)
                with answer["Payload"] as reply:  # closed also when it breaks off, or its connection would stay open
                    raw = reply.read()
        except NotFound as error:
            raise self._unavailable(f"the function {function} does not exist") from error
        if answer.get("FunctionError"):
            raise self._unavailable(_why(raw))
        return self._body(_decoded(raw))

    def _body(self, document: Any) -> dict[str, Any]:
        if not isinstance(document, dict) or not isinstance(document.get("statusCode"), int):
            raise self._unavailable("its answer has no status")
        status, body = document["statusCode"], document.get("body")
        if isinstance(body, str):  # as a function behind an HTTP gateway has to write it
            body = _decoded(body.encode())
        if not isinstance(body, dict):
            raise self._unavailable("its answer has no body")
        if status in (200, 207):
            return body
        sentence = str(body.get("error") or f"it answered with status {status}")
        if status in (400, 413):
            raise InvalidData(sentence, _problems(body.get("problems")))
        raise self._unavailable(sentence)

    def _unavailable(self, why: str) -> Unavailable:
        name = self._dependency[0].upper() + self._dependency[1:]
        return Unavailable(f"{name} did not answer usably: {why.rstrip('.')}.", dependency=self._dependency)


def _decoded(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _why(raw: bytes) -> str:
    """What a crashed function says of itself: type and message, without its stack trace."""
    document = _decoded(raw)
    if not isinstance(document, dict):
        return "it failed"
    said = f"{document.get('errorType', 'Error')}: {document.get('errorMessage', '')}"
    return " ".join(said.split())[:300]


def _problems(held: Any) -> list[Problem]:
    if not isinstance(held, list):
        return []
    return [
        Problem(int(p["row"]), str(p.get("field", "")), str(p.get("message", "")))
        for p in held
        if isinstance(p, dict) and isinstance(p.get("row"), int)
    ]
