"""Turn a handler's result into the JSON of the service model's output shape."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape


def encode(shape: Shape, value: Any) -> Any:
    """`value` as plain JSON types. Members the shape does not have, and members that are None, are left out.

    Timestamps become epoch seconds (or ISO 8601 where the model says so), bytes become base64.
    """
    if isinstance(shape, StructureShape):
        if shape.is_document_type:
            return value
        return {
            member.serialization.get("name", name): encode(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None and "location" not in member.serialization
        }
    if isinstance(shape, ListShape):
        return [encode(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {str(key): encode(shape.value, item) for key, item in value.items()}
    if shape.type_name == "timestamp":
        return _timestamp(shape, value)
    if shape.type_name == "blob":
        return base64.b64encode(value).decode("ascii")
    return value


def _timestamp(shape: Shape, value: datetime) -> Any:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    if shape.serialization.get("timestampFormat") == "iso8601":
        return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return aware.timestamp()
