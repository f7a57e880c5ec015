"""The REST interface of Kafka Connect for the same connector, as a cluster of one's own serves it behind a proxy.

Basic authentication with the server's own credentials, on every path. Answers and status codes are those of Kafka
Connect: 202 without a body for pause and resume, `{"error_code", "message"}` for what is refused.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from embedded.aws.errors import AwsError
from embedded.aws.kafkaconnect.stream import NAME, Seen

if TYPE_CHECKING:
    from embedded.aws.cloud import Cloud

# Kafka Connect has no word for "on its way": it shows what was asked for.
_STATES = {"PAUSING": "PAUSED", "RESUMING": "RUNNING", "RESTARTING": "UNASSIGNED"}
_CONFIG = {"name": NAME, "tasks.max": "1", "topics": "fraud.transactions,fraud.labels"}


class Connect:
    """`cloud()` is the running server's, None while it starts."""

    def __init__(self, cloud: Callable[[], Cloud | None], user: str, password: str) -> None:
        self._cloud = cloud
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._wanted = f"Basic {token}".encode()

    def router(self) -> Router:
        one = "/connectors/{name}"
        return Router(
            [
                Route("/", self.root),
                Route("/connectors", self.connectors),
                Route(one, self.info),
                Route(f"{one}/status", self.status),
                Route(f"{one}/tasks", self.tasks),
                Route(f"{one}/pause", self.pause, methods=["PUT"]),
                Route(f"{one}/resume", self.resume, methods=["PUT"]),
            ]
        )

    async def root(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        return _json({"version": "3.7.0", "commit": "fraud-desk", "kafka_cluster_id": "fraud-desk"})

    async def connectors(self, request: Request) -> Response:
        """Names, or with `?expand=status&expand=info` what is known of each."""
        found = await self._look(request)
        if isinstance(found, Response):
            return found
        wanted = request.query_params.getlist("expand")
        if not wanted:
            return _json([NAME] if found else [])
        parts = {"status": _status, "info": _info}
        return _json({NAME: {key: parts[key](found) for key in wanted if key in parts}} if found else {})

    async def info(self, request: Request) -> Response:
        return await self._of_one(request, _info)

    async def status(self, request: Request) -> Response:
        return await self._of_one(request, _status)

    async def tasks(self, request: Request) -> Response:
        return await self._of_one(request, lambda _: [{"id": {"connector": NAME, "task": 0}, "config": _CONFIG}])

    async def pause(self, request: Request) -> Response:
        return await self._tell(request, paused=True)

    async def resume(self, request: Request) -> Response:
        return await self._tell(request, paused=False)

    async def _tell(self, request: Request, *, paused: bool) -> Response:
        """Asking for what is so already is no error, as in Kafka Connect."""
        found = await self._look(request)
        if isinstance(found, Response):
            return found
        cloud = self._cloud()
        if not found or cloud is None or request.path_params["name"] != NAME:
            return _error(404, f"Unknown connector: {request.path_params['name']}")
        try:
            await cloud.connector.tell(paused=paused)
        except AwsError as error:
            return _error(503, error.message)
        return Response(status_code=202)

    async def _of_one(self, request: Request, shown: Callable[[Seen], Any]) -> Response:
        found = await self._look(request)
        if isinstance(found, Response):
            return found
        if not found or request.path_params["name"] != NAME:
            return _error(404, f"Connector {request.path_params['name']} not found")
        return _json(shown(found))

    async def _look(self, request: Request) -> Seen | Response | None:
        if (refused := self._refused(request)) is not None:
            return refused
        cloud = self._cloud()
        if cloud is None:
            return _error(503, "The server is starting.")
        try:
            return await cloud.connector.look()
        except AwsError as error:
            return _error(503, error.message)

    def _refused(self, request: Request) -> Response | None:
        if hmac.compare_digest(request.headers.get("authorization", "").encode(), self._wanted):
            return None
        answer = _error(401, "User cannot access the resource.")
        answer.headers["WWW-Authenticate"] = 'Basic realm="connect"'
        return answer


def _info(_: Seen) -> dict[str, Any]:
    return {"name": NAME, "config": _CONFIG, "tasks": [{"connector": NAME, "task": 0}], "type": "source"}


def _status(seen: Seen) -> dict[str, Any]:
    task: dict[str, Any] = {"id": 0, "state": seen.task, "worker_id": seen.worker_id}
    if seen.task == "FAILED":
        task["trace"] = seen.trace or "The worker failed."
    state = {"state": _STATES.get(seen.state, seen.state), "worker_id": seen.worker_id}
    return {"name": NAME, "connector": state, "tasks": [task], "type": "source"}


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    return _json({"error_code": status, "message": message}, status)
