"""A Kafka Connect cluster of one's own, by its REST interface. Satisfies `services.connectors.ConnectApi`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from services.connectors import Connector, ConnectorState, Tasks
from services.errors import Conflict, InvalidData, NotFound, ServiceError, Unavailable

DEPENDENCY = "Kafka Connect"
_LARGEST_ANSWER = 4 * 2**20
_SHOWN = 300


class KafkaConnect:
    """`url` is what stands before /connectors. `user` and `password`: HTTP basic authentication, or neither."""

    def __init__(self, url: str, *, user: str = "", password: str = "", timeout_seconds: float = 2.5) -> None:
        if not url.startswith(("http://", "https://")):
            raise InvalidData("FRAUD_DESK_CONNECT_URL must begin with http:// or https://.")
        self._url, self._timeout = url.rstrip("/"), timeout_seconds
        self._headers = {"Accept": "application/json"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def connectors(self) -> tuple[Connector, ...]:
        answer = self._call("GET", "/connectors?expand=status&expand=info")
        if not isinstance(answer, dict):
            raise Unavailable("Kafka Connect gave an answer that is none of its own.", dependency=DEPENDENCY)
        try:
            return tuple(_connector(name, parts["status"], parts.get("info", {})) for name, parts in answer.items())
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("Kafka Connect gave an answer that is none of its own.", dependency=DEPENDENCY) from error

    def pause(self, ref: str) -> None:
        self._call("PUT", f"/connectors/{quote(ref, safe='')}/pause")

    def resume(self, ref: str) -> None:
        self._call("PUT", f"/connectors/{quote(ref, safe='')}/resume")

    def _call(self, method: str, path: str) -> Any:
        request = Request(f"{self._url}{path}", method=method, headers=self._headers)
        try:
            with urlopen(request, timeout=self._timeout) as answer:
                body = answer.read(_LARGEST_ANSWER)
        except HTTPError as error:
            with error:
                raise _refusal(error) from error
        except (URLError, HTTPException, OSError) as error:
            raise Unavailable("Kafka Connect is not reachable.", dependency=DEPENDENCY) from error
        try:
            return json.loads(body) if body else None
        except ValueError as error:
            raise Unavailable("Kafka Connect gave an answer that is no JSON.", dependency=DEPENDENCY) from error


def _refusal(error: HTTPError) -> ServiceError:
    try:
        said = str(json.loads(error.read(_LARGEST_ANSWER)).get("message", ""))[:_SHOWN]
    except (ValueError, AttributeError, OSError):
        said = ""
    if error.code in (401, 403):
        return Unavailable("Kafka Connect refused the desk's credentials.", dependency=DEPENDENCY)
    if error.code == 404:
        return NotFound(f"Kafka Connect does not know it: {said or 'not found'}.")
    if error.code == 409:  # a rebalance is under way; the call can be repeated
        return Conflict("Kafka Connect is rebalancing; nothing was changed, try again in a moment.")
    return Unavailable(f"Kafka Connect answered {error.code}. {said}".rstrip(), dependency=DEPENDENCY)


def _connector(name: str, status: Mapping[str, Any], info: Mapping[str, Any]) -> Connector:
    tasks = list(status.get("tasks", ()))
    failed = [str(task.get("trace", "")).splitlines()[:1] for task in tasks if task["state"] == "FAILED"]
    failures = tuple(line[0][:_SHOWN] for line in failed if line)
    state = ConnectorState(status["connector"]["state"])
    if state is ConnectorState.RUNNING and failed:
        state = ConnectorState.FAILED  # Kafka Connect calls a connector running whose tasks have all failed
    trace = str(status["connector"].get("trace", "")).split("\n")[0][:_SHOWN]
    return Connector(
        name=name,
        ref=name,
        state=state,
        description=str(info.get("config", {}).get("connector.class", "")),
        tasks=Tasks(
            running=sum(task["state"] == "RUNNING" for task in tasks),
            paused=sum(task["state"] == "PAUSED" for task in tasks),
            failed=len(failed),
            failures=failures,
        ),
        failure=trace or (failures[0] if failures else None),
    )
