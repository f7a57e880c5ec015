"""Every successful answer is checked against the service's output shape: types and required members by botocore, enums,
patterns and lengths by us. Each operation seen is recorded in `EXERCISED`.
"""

from __future__ import annotations

from typing import Any

from botocore.response import StreamingBody
from botocore.validate import ParamValidator

EXERCISED: set[tuple[str, str]] = set()


def _without_blobs(shape: Any, value: Any) -> Any:
    """Streaming bodies are bytes in the model; ParamValidator wants to see bytes."""
    if isinstance(value, StreamingBody):
        return b""
    if isinstance(value, dict) and shape.type_name == "structure":
        return {k: _without_blobs(shape.members[k], v) for k, v in value.items() if k in shape.members}
    return value


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Registered for every call of every client: a success must satisfy the output shape."""
    from embedded.aws.protocol.checking import Checker
    from embedded.aws.protocol.encoding import encode

    if http_response.status_code >= 300:
        return
    EXERCISED.add((model.service_model.service_name, model.name))
    if model.output_shape is None:
        return
    value = {name: item for name, item in parsed.items() if name != "ResponseMetadata"}
    value = _without_blobs(model.output_shape, value)
    report = ParamValidator().validate(value, model.output_shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
    checker = Checker()
    body_only = encode(model.output_shape, value)
    located = {
        name: value[name]
        for name, member in model.output_shape.members.items()
        if "location" in member.serialization and name in value
    }
    checker.decode(model.output_shape, {**body_only, **located})
    assert not checker.violations, f"{model.name}: {checker.violations}"
