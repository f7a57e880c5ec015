"""GetMetricData for the metrics of endpoints (AWS/SageMaker) and connectors (AWS/KafkaConnect)."""

from __future__ import annotations

import re
from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.cloudwatch.counters import CONNECTORS, Key, Minute
from embedded.aws.errors import AwsError
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation

Params = dict[str, Any]
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
_MOST_POINTS = 100_800


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)


def _statistic(stat: str, data: Minute) -> float:
    simple = {
        "Sum": data.total,
        "SampleCount": float(data.count),
        "Average": data.total / data.count,
        "Minimum": data.low,
        "Maximum": data.high,
    }
    if stat in simple:
        return simple[stat]
    percentile = _PERCENTILE.fullmatch(stat)
    if percentile is None:
        raise _invalid(f"The value {stat} for parameter Stat is not supported.")
    return data.percentile(float(percentile[1]) / 100)


def _key(namespace: str | None, dimensions: dict[str, str], name: str) -> Key | None:
    if namespace == "AWS/SageMaker" and set(dimensions) == {"EndpointName", "VariantName"}:
        return dimensions["EndpointName"], dimensions["VariantName"], name
    if namespace == CONNECTORS and set(dimensions) == {"ConnectorName"}:
        return dimensions["ConnectorName"], CONNECTORS, name
    return None


def _result(cloud: Cloud, query: Params, params: Params) -> Params:
    if "MetricStat" not in query:
        raise _invalid("Metric math expressions are not offered by the embedded server: give a MetricStat.")
    wanted = query["MetricStat"]
    metric = wanted["Metric"]
    label = query.get("Label", metric.get("MetricName", query["Id"]))
    period = wanted["Period"]
    if period < 1 or (period % 60 and period not in (1, 5, 10, 20, 30)):
        raise _invalid("Period must be 1, 5, 10, 20, 30 or a multiple of 60.")
    dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", ())}
    points: list[tuple[Any, float]] = []
    key = _key(metric.get("Namespace"), dimensions, metric.get("MetricName", ""))
    if key is not None:
        series = cloud.metrics.series(key, params["StartTime"], params["EndTime"], max(period, 60))
        points = [(at, _statistic(wanted["Stat"], data)) for at, data in series]
    if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
        points.reverse()
    timestamps, values = [at for at, _ in points], [value for _, value in points]
    return {"Id": query["Id"], "Label": label, "Timestamps": timestamps, "Values": values, "StatusCode": "Complete"}


@operation("cloudwatch", "GetMetricData", needs_store=False)
async def get_metric_data(cloud: Cloud, params: Params) -> Params:
    """Metrics nobody counted have no points, as in the service. Pages are made of whole results."""
    if params["StartTime"] >= params["EndTime"]:
        raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
    queries = params["MetricDataQueries"]
    if len({query["Id"] for query in queries}) != len(queries):
        raise _invalid("The values for parameter id in MetricDataQueries must be unique.")
    shown = [query for query in queries if query.get("ReturnData", True)]
    try:
        first = int(decode_token(params["NextToken"])) if "NextToken" in params else 0
    except (ValueError, TypeError):
        raise AwsError("InvalidNextToken", "The token provided is not valid.") from None
    budget = params.get("MaxDatapoints", _MOST_POINTS)
    results: list[Params] = []
    for at, query in enumerate(shown[first:], first):
        result = _result(cloud, query, params)
        if results and len(result["Values"]) > budget:
            return {"MetricDataResults": results, "NextToken": encode_token(at), "Messages": []}
        budget -= len(result["Values"])
        results.append(result)
    return {"MetricDataResults": results, "Messages": []}
