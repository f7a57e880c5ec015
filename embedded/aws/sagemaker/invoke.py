"""InvokeEndpoint: hand the body to the variant's container and its answer back, neither of them parsed."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from embedded.aws.cloud import Cloud
from embedded.aws.config import ACCOUNT
from embedded.aws.errors import AwsError
from embedded.aws.registry import operation
from embedded.aws.sagemaker.containers import Container
from embedded.aws.upstream import UpstreamGone

Params = dict[str, Any]
INVOCATION_LIMIT_SECONDS = 60.0
_FORWARDED = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}
_SHOWN_MESSAGE = 1024


def _choose(cloud: Cloud, name: str, variant: str | None) -> Container:
    record = cloud.store["endpoints"].get(name)
    if record is None or record["EndpointStatus"] in ("Creating", "Deleting", "Failed"):
        raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
    fleet = cloud.fleets.live.get(name)
    if fleet is None:
        raise AwsError("ServiceUnavailable", f"The containers of endpoint {name} are being started.", 503)
    container = fleet.choose(variant)
    if container is None:
        raise AwsError("ValidationError", f"Variant {variant} not found for Request.")
    return container


def _model_error(cloud: Cloud, endpoint: str, container: Container, status: int, message: str) -> AwsError:
    kind = "client" if 400 <= status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    console = (
        f"https://{cloud.config.region}.console.aws.amazon.com/cloudwatch/home#logEventViewer:group={quote(group)}"
    )
    text = (
        f'Received {kind} error ({status}) from {container.variant} with message "{message[:_SHOWN_MESSAGE]}". '
        f"See {console} in account {ACCOUNT} for more information."
    )
    fields = {
        "OriginalStatusCode": status,
        "OriginalMessage": message[:_SHOWN_MESSAGE],
        "LogStreamArn": cloud.config.arn("logs", f"log-group:{group}:log-stream:{container.log_stream}"),
    }
    return AwsError("ModelError", text, 424, fields=fields)


@operation("sagemaker-runtime", "InvokeEndpoint", needs_store=False)
async def invoke_endpoint(cloud: Cloud, params: Params) -> Params:
    """Works without MongoDB. Every request that reaches a variant is counted, whatever becomes of it."""
    name = params["EndpointName"]
    began = time.perf_counter()
    container = _choose(cloud, name, params.get("TargetVariant"))
    if not container.ready or container.upstream is None:
        cloud.metrics.invocation(name, container.variant, status=503, model_us=None, overhead_us=None)
        raise AwsError("ServiceUnavailable", f"The container of variant {container.variant} is not up.", 503)
    headers = {header: params[member] for member, header in _FORWARDED.items() if member in params}
    container.inflight += 1
    sent = time.perf_counter()
    try:
        answer = await container.upstream.request(
            "POST",
            "/invocations",
            headers=headers,
            body=params.get("Body", b""),
            timeout_seconds=INVOCATION_LIMIT_SECONDS,
        )
    except TimeoutError:
        cloud.metrics.invocation(name, container.variant, status=500, model_us=None, overhead_us=None)
        message = (
            f"Your invocation timed out while waiting for a response from container {container.variant}. Review the "
            "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        raise _model_error(cloud, name, container, 0, message) from None
    except UpstreamGone as exc:
        cloud.metrics.invocation(name, container.variant, status=503, model_us=None, overhead_us=None)
        text = f"The container of variant {container.variant} ended before it answered."
        raise AwsError("ServiceUnavailable", text, 503) from exc
    finally:
        container.inflight -= 1
    model_us = (time.perf_counter() - sent) * 1e6
    overhead_us = (time.perf_counter() - began) * 1e6 - model_us
    cloud.metrics.invocation(name, container.variant, status=answer.status, model_us=model_us, overhead_us=overhead_us)
    if answer.status >= 400:
        raise _model_error(cloud, name, container, answer.status, answer.body.decode("utf-8", "replace"))
    return {
        "Body": answer.body,
        "ContentType": answer.headers.get("content-type"),
        "InvokedProductionVariant": container.variant,
        "CustomAttributes": answer.headers.get("x-amzn-sagemaker-custom-attributes"),
    }
