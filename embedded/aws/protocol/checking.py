"""Decode and check a request against botocore's model, as the service does on its side of the wire.

botocore itself only checks types, required members and some minima before it sends; the service also checks enums,
patterns, maxima and ranges. A wrong JSON type is a SerializationException at once; constraint violations are collected
and reported together in the wording of the real services.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from embedded.aws.errors import AwsError

# Unicode properties of Java regular expressions, as text that can stand inside a Python character class.
_PROPERTIES = {
    "L": r"a-zA-Z\u00aa-\U0010ffff",
    "M": r"\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20ff",
    "N": r"\d\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2189",
    "P": r"!-#%-*,-/:;?@\[-\]_{}\u00a1-\u00bf\u2010-\u2027\u2030-\u205e",
    "S": r"$+<->^`|~\u00a2-\u00b4\u20a0-\u2bff",
    "Z": r" \u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    "Print": r" -~",
    "ASCII": r"\x00-\x7f",
    "Alnum": r"a-zA-Z0-9",
}
_PROPERTY = re.compile(r"\\p\{(\w+)\}")
_REPEATED_ANCHOR = re.compile(r"(?<!\\)\$\{\d+,\d*\}")
_SHOWN_VALUE = 256


@lru_cache(maxsize=512)
def python_pattern(pattern: str) -> re.Pattern[str]:
    r"""The Python equivalent of a service model's (Java) pattern; `\p{..}` classes become ranges.

    Java allows an anchor to be repeated (`${1,128}` stands in some models), Python does not and it means nothing more.
    """
    pattern = _REPEATED_ANCHOR.sub("$", pattern)
    parts: list[str] = []
    at = 0
    in_class = False
    while at < len(pattern):
        match = _PROPERTY.match(pattern, at)
        if match:
            ranges = _PROPERTIES[match[1]]
            parts.append(ranges if in_class else f"[{ranges}]")
            at = match.end()
            continue
        character = pattern[at]
        if character == "\\":
            escape = pattern[at : at + 2]
            parts.append(r"\Z" if escape in (r"\z", r"\Z") else escape)
            at += 2
            continue
        if character == "[" and not in_class:
            in_class = True
            parts.append(character)
            at += 1
            if pattern[at : at + 1] == "^":
                parts.append("^")
                at += 1
            continue
        if character == "[":
            parts.append(r"\[")
            at += 1
            continue
        if character == "]" and in_class:
            in_class = False
        parts.append(character)
        at += 1
    return re.compile("".join(parts))


def _mismatch(expected: str, value: Any) -> AwsError:
    kind = {bool: "BOOLEAN_VALUE", str: "STRING_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE", list: "START_LIST"}
    found = kind.get(type(value), "START_OBJECT" if isinstance(value, dict) else type(value).__name__)
    return AwsError("SerializationException", f"{found} can not be converted to {expected}")


class Checker:
    """Collects every violation of one request. `decode` returns the value with timestamps and blobs as Python's."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def decode(self, shape: Shape, value: Any, path: str = "") -> Any:
        kind = shape.type_name
        if isinstance(shape, StructureShape):
            return self._structure(shape, value, path)
        if isinstance(shape, ListShape):
            if not isinstance(value, list):
                raise _mismatch("a list", value)
            self._length(shape, len(value), value, path)
            return [self.decode(shape.member, item, f"{path}.{i}.member") for i, item in enumerate(value, 1)]
        if isinstance(shape, MapShape):
            return self._map(shape, value, path)
        if kind in ("string", "character"):
            if not isinstance(value, str):
                raise _mismatch("a String", value)
            self._string(shape, value, path)
            return value
        if kind in ("integer", "long"):
            if isinstance(value, bool) or not isinstance(value, int):
                raise _mismatch("an Integer", value)
            self._range(shape, value, path)
            return value
        if kind in ("float", "double"):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise _mismatch("a Float", value)
            self._range(shape, value, path)
            return float(value)
        if kind == "boolean":
            if not isinstance(value, bool):
                raise _mismatch("a Boolean", value)
            return value
        if kind == "timestamp":
            return _timestamp(value)
        if kind == "blob":
            raw = value if isinstance(value, bytes) else _blob(value)
            self._length(shape, len(raw), None, path)
            return raw
        raise AwsError("SerializationException", f"Unknown type {kind} at {path}")

    def raise_violations(self, code: str) -> None:
        """Raise all violations as one error of this code; nothing when there are none."""
        if self.violations:
            count = len(self.violations)
            plural = "s" if count > 1 else ""
            raise AwsError(code, f"{count} validation error{plural} detected: {'; '.join(self.violations)}")

    def _structure(self, shape: StructureShape, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _mismatch("an Object", value)
        if shape.is_document_type:
            return value
        decoded: dict[str, Any] = {}
        for name, member in shape.members.items():
            wire_name = member.serialization.get("name", name)
            given = value.get(wire_name, value.get(name))
            where = f"{path}.{name[0].lower()}{name[1:]}" if path else name[0].lower() + name[1:]
            if given is None:
                if name in shape.required_members:
                    self._violation(None, where, "Member must not be null")
                continue
            decoded[name] = self.decode(member, given, where)
        if shape.is_tagged_union and len(decoded) != 1:
            self._violation(value, path, "Exactly one member must be set")
        return decoded

    def _map(self, shape: MapShape, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _mismatch("a Map", value)
        self._length(shape, len(value), value, path)
        for key in value:
            self._string(shape.key, key, f"{path}.{key}.key")
        return {key: self.decode(shape.value, item, f"{path}.{key}.member") for key, item in value.items()}

    def _string(self, shape: Shape, value: str, path: str) -> None:
        self._length(shape, len(value), value, path)
        allowed = shape.metadata.get("enum")
        if allowed and value not in allowed:
            self._violation(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not python_pattern(pattern).fullmatch(value):
            self._violation(value, path, f"Member must satisfy regular expression pattern: {pattern}")

    def _length(self, shape: Shape, length: int, value: Any, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and length < low:
            self._violation(value, path, f"Member must have length greater than or equal to {low}")
        if high is not None and length > high:
            self._violation(value, path, f"Member must have length less than or equal to {high}")

    def _range(self, shape: Shape, value: float, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            self._violation(value, path, f"Member must have value greater than or equal to {low}")
        if high is not None and value > high:
            self._violation(value, path, f"Member must have value less than or equal to {high}")

    def _violation(self, value: Any, path: str, rule: str) -> None:
        shown = "null" if value is None else f"'{str(value)[:_SHOWN_VALUE]}'"
        self.violations.append(f"Value {shown} at '{path}' failed to satisfy constraint: {rule}")


def _timestamp(value: Any) -> datetime:
    """Accepts what the JSON protocols allow: epoch seconds, or an ISO 8601 string."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise _mismatch("a Timestamp", value)


def _blob(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _mismatch("a Blob", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("SerializationException", "A blob is not valid base64") from None
