"""The ASGI side: read a request, find and call its operation, answer in the form its SDK expects."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError, unavailable
from embedded.aws.protocol.encoding import encode
from embedded.aws.protocol.routing import Route, Router
from embedded.aws.protocol.signature import SignatureCheck

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = dict[str, str]
_LARGEST_BODY = 80 * 2**20


class Gateway:
    """One ASGI application for all services. `cloud` is set when the server has started."""

    def __init__(self, signatures: SignatureCheck | None) -> None:
        self._router = Router()
        self._signatures = signatures
        self.cloud: Cloud | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, headers, body = await self._answer(scope, receive)
        headers["x-amzn-RequestId"] = str(uuid.uuid4())
        headers["Content-Length"] = str(len(body))
        encoded = [
            (name.lower().encode("latin-1"), text.encode("latin-1", "replace")) for name, text in headers.items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, Headers, bytes]:
        route: Route | None = None
        try:
            headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
            path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
            if scope["method"] == "GET" and path == "/ping":
                return (200, {}, b"") if self._usable() else (503, {}, b"")
            body = await _body(receive)
            query = scope["query_string"].decode("latin-1")
            if self._signatures is not None:
                self._signatures.check(scope["method"], path, query, headers, body)
            route, in_path = self._router.find(scope["method"], path, headers.get("x-amz-target"))
            return await self._call(route, in_path, query, headers, body)
        except AwsError as exc:
            return _error(route, exc)
        except Exception:
            log.exception("operation_broke service=%s name=%s", route and route.service, route and route.name)
            return _error(route, AwsError("InternalFailure", "The service encountered an internal error.", 500))

    def _usable(self) -> bool:
        return self.cloud is not None and self.cloud.store.available

    async def _call(
        self, route: Route, in_path: Headers, query: str, headers: Headers, body: bytes
    ) -> tuple[int, Headers, bytes]:
        registration = route.registration
        if self.cloud is None or registration is None:
            raise unavailable("The server is starting.")
        params = route.read(in_path, query, headers, body)
        if registration.needs_store and not self.cloud.store.available:
            raise unavailable("The service's database does not answer. Nothing was changed; try again.")
        result = await registration.handler(self.cloud, params)
        return _success(route, result)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise AwsError("RequestTimeoutException", "The request body did not arrive.", 408)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > _LARGEST_BODY:
            raise AwsError("RequestEntityTooLargeException", f"The body is larger than {_LARGEST_BODY} bytes", 413)
    return b"".join(chunks)


def _success(route: Route, result: dict[str, Any]) -> tuple[int, Headers, bytes]:
    shape = route.model.output_shape
    status = int(route.model.http.get("responseCode", 200))
    rest = route.model.service_model.resolved_protocol != "json"
    headers = {"Content-Type": "application/json" if rest else f"application/x-amz-json-{route.json_version}"}
    if shape is None:
        return status, headers, b"" if rest else b"{}"
    payload_member = shape.serialization.get("payload")
    if rest:
        for name, member in shape.members.items():
            place = member.serialization.get("location")
            if place and result.get(name) is not None:
                if place == "statusCode":
                    status = int(result[name])
                elif place == "header":
                    headers[member.serialization["name"]] = str(result[name])
    if payload_member is not None:
        return status, headers, result.get(payload_member) or b""
    if status == 204:
        return status, headers, b""
    return status, headers, orjson.dumps(encode(shape, result))


def _error(route: Route | None, error: AwsError) -> tuple[int, Headers, bytes]:
    """JSON protocols carry the code in `__type`, rest-json in a header; members of modelled errors ride along."""
    rest = route is None or route.model.service_model.resolved_protocol != "json"
    version = "1.1" if route is None else route.json_version
    headers = {
        "Content-Type": "application/json" if rest else f"application/x-amz-json-{version}",
        "x-amzn-ErrorType": error.code,
    }
    if route is not None and route.query_compatible:
        sender = "Sender" if error.status < 500 else "Receiver"
        headers["x-amzn-query-error"] = f"{error.code};{sender}"
    body = {"__type": error.code, "message": error.message, "Message": error.message, **error.fields}
    return error.status, headers, orjson.dumps(body)
