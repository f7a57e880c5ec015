"""Compile botocore's service models into a dispatch table once, at start.

Requests come in two forms: `json` services post to `/` and name the operation in X-Amz-Target; `rest-json` services
name it by method and path, with parameters in path, query, headers and body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import botocore.session
import orjson
from botocore.model import OperationModel, Shape

from embedded.aws.errors import AwsError
from embedded.aws.protocol.checking import Checker
from embedded.aws.registry import OPERATIONS, Registration

# The code each service uses for a request that breaks its model.
VALIDATION_CODES = {
    "sagemaker": "ValidationException",
    "sagemaker-runtime": "ValidationError",
    "lambda": "ValidationException",
    "logs": "InvalidParameterException",
    "cloudwatch": "ValidationError",
    "kafkaconnect": "BadRequestException",
}
_LABEL = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of one service. `located` are input members outside the body: (member, place, wire name, shape)."""

    service: str
    name: str
    model: OperationModel
    registration: Registration | None
    payload: str | None
    located: tuple[tuple[str, str, str, Shape], ...]
    json_version: str

    @property
    def query_compatible(self) -> bool:
        """Whether error codes must be repeated in the x-amzn-query-error header."""
        return self.model.service_model.is_query_compatible

    def read(self, path: Mapping[str, str], query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """The request's parameters, checked. A payload blob is passed through as bytes and never parsed."""
        shape = self.model.input_shape
        if shape is None:
            return {}
        raw: dict[str, Any] = {}
        if self.payload is not None:
            member = shape.members[self.payload]
            raw[self.payload] = body if member.type_name == "blob" else _json(body)
        elif body:
            parsed = _json(body)
            if not isinstance(parsed, dict):
                raise AwsError("SerializationException", "The body must be a JSON object")
            raw.update(parsed)
        if self.located:
            queried = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
            for member_name, place, wire_name, member in self.located:
                source = path if place == "uri" else queried if place == "querystring" else headers
                text = source.get(wire_name.lower() if place == "header" else wire_name)
                raw.pop(member_name, None)
                if text is not None:
                    raw[member_name] = raw[wire_name] = _scalar(member, text)
        checker = Checker()
        params: dict[str, Any] = checker.decode(shape, raw)
        checker.raise_violations(VALIDATION_CODES[self.service])
        return params


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise AwsError("SerializationException", "The body is not valid JSON") from None


def _scalar(shape: Shape, text: str) -> Any:
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name == "boolean":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise AwsError("SerializationException", f"'{text[:64]}' is not a valid {shape.type_name}") from None
    return text


def _path_expression(uri: str) -> re.Pattern[str]:
    parts = []
    at = 0
    uri = uri.split("?")[0]
    for label in _LABEL.finditer(uri):
        parts.append(re.escape(uri[at : label.start()]))
        parts.append(f"(?P<{label[1]}>.+)" if label[2] else f"(?P<{label[1]}>[^/]+)")
        at = label.end()
    parts.append(re.escape(uri[at:]))
    return re.compile("".join(parts).rstrip("/") + "/?")


class Router:
    """Finds the operation of a request among every service in VALIDATION_CODES."""

    def __init__(self) -> None:
        session = botocore.session.get_session()
        self._targets: dict[str, Route] = {}
        self._paths: dict[str, list[tuple[re.Pattern[str], Route]]] = {}
        for service in VALIDATION_CODES:
            model = session.get_service_model(service)
            protocol = model.resolved_protocol
            prefix = model.metadata.get("targetPrefix")
            for name in model.operation_names:
                registration = OPERATIONS.get((service, name))
                if protocol != "json" and registration is None:
                    continue
                if protocol == "json":
                    if registration is not None:
                        route = self._route(service, name, model.operation_model(name), registration)
                    else:
                        route = Route(service, name, model.operation_model(name), None, None, (), "1.1")
                    self._targets[f"{prefix}.{name}"] = route
                else:
                    route = self._route(service, name, model.operation_model(name), registration)
                    expression = _path_expression(route.model.http["requestUri"])
                    self._paths.setdefault(route.model.http["method"], []).append((expression, route))

    @staticmethod
    def _route(service: str, name: str, model: OperationModel, registration: Registration | None) -> Route:
        shape = model.input_shape
        located = []
        if shape is not None:
            for member_name, member in shape.members.items():
                place = member.serialization.get("location")
                if place:
                    located.append((member_name, place, member.serialization.get("name", member_name), member))
        payload = shape.serialization.get("payload") if shape is not None else None
        version = model.service_model.metadata.get("jsonVersion", "1.1")
        return Route(service, name, model, registration, payload, tuple(located), version)

    def find(self, method: str, raw_path: str, target: str | None) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. Raises UnknownOperationException for what is not implemented."""
        if target is not None:
            route = self._targets.get(target)
            if route is None or route.registration is None:
                raise AwsError("UnknownOperationException", f"{target} is not offered by the embedded server", 404)
            return route, {}
        for expression, route in self._paths.get(method, ()):
            match = expression.fullmatch(raw_path)
            if match:
                return route, {name: unquote(text) for name, text in match.groupdict().items()}
        raise AwsError("UnknownOperationException", f"{method} {raw_path} is not offered by the embedded server", 404)
