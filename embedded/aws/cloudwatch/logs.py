"""DescribeLogStreams and GetLogEvents, over the files that jobs, containers and functions write."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError
from embedded.aws.log_files import Page, complete_size, read_backward, read_forward, seek_time
from embedded.aws.paging import decode_token, encode_token
from embedded.aws.registry import operation

Params = dict[str, Any]
_MOST_EVENTS = 10_000
_PAGE_BYTES = 1 << 20
_MOST_STREAMS = 50
_TOKEN = re.compile(r"(?P<way>[fb])/(?P<offset>\d{20})")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def _group(params: Params) -> str:
    """The group by name or by identifier (a name or an ARN); exactly one must be given."""
    if ("logGroupName" in params) == ("logGroupIdentifier" in params):
        raise _invalid("Exactly one of logGroupName and logGroupIdentifier must be provided")
    given: str = params.get("logGroupName") or params["logGroupIdentifier"]
    return given.partition(":log-group:")[2] if given.startswith("arn:") else given


def _describe(cloud: Cloud, group: str, stream: str, path: Path) -> Params:
    size = complete_size(path)
    first = read_forward(path, 0, size, limit=1, max_bytes=_PAGE_BYTES).events
    last = read_backward(path, 0, size, limit=1, max_bytes=_PAGE_BYTES).events
    described = {
        "logStreamName": stream,
        "arn": cloud.config.arn("logs", f"log-group:{group}:log-stream:{stream}"),
        "creationTime": first[0].at_ms if first else int(path.stat().st_ctime * 1000),
        "storedBytes": 0,
    }
    if first and last:
        described["firstEventTimestamp"] = first[0].at_ms
        described["lastEventTimestamp"] = described["lastIngestionTime"] = last[0].at_ms
    return described


@operation("logs", "DescribeLogStreams", needs_store=False)
async def describe_log_streams(cloud: Cloud, params: Params) -> Params:
    return await asyncio.to_thread(_describe_streams, cloud, params)


def _describe_streams(cloud: Cloud, params: Params) -> Params:
    group = _group(params)
    by_time = params.get("orderBy") == "LastEventTime"
    prefix = params.get("logStreamNamePrefix", "")
    if by_time and prefix:
        raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    names = cloud.logs.streams(group)
    if names is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    descending = params.get("descending", False)
    chosen = []
    for name in names:
        path = cloud.logs.path(group, name)
        if path is not None and name.startswith(prefix):
            chosen.append(([round(path.stat().st_mtime * 1000), name] if by_time else ["", name], name, path))
    chosen.sort(key=lambda item: item[0], reverse=descending)
    if "nextToken" in params:
        try:
            after = decode_token(params["nextToken"])
            chosen = [item for item in chosen if (item[0] < after if descending else item[0] > after)]
        except (ValueError, TypeError):
            raise _invalid("The specified nextToken is invalid.") from None
    size = params.get("limit", _MOST_STREAMS)
    page = chosen[:size]
    token = encode_token(page[-1][0]) if len(chosen) > size else None
    return {"logStreams": [_describe(cloud, group, name, path) for _, name, path in page], "nextToken": token}


@operation("logs", "GetLogEvents", needs_store=False)
async def get_log_events(cloud: Cloud, params: Params) -> Params:
    return await asyncio.to_thread(_get_events, cloud, params)


def _get_events(cloud: Cloud, params: Params) -> Params:
    """Tokens are positions: the forward token given back unchanged means the end was reached (for now)."""
    group = _group(params)
    if cloud.logs.streams(group) is None:
        raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
    path = cloud.logs.path(group, params["logStreamName"])
    if path is None:
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    size = complete_size(path)
    low = seek_time(path, params["startTime"], size) if "startTime" in params else 0
    high = seek_time(path, params["endTime"], size) if "endTime" in params else size
    page = _page(path, params, low, max(low, high))
    events = [{"timestamp": e.at_ms, "message": e.message, "ingestionTime": e.at_ms} for e in page.events]
    return {
        "events": events,
        "nextForwardToken": f"f/{page.end:020d}",
        "nextBackwardToken": f"b/{page.start:020d}",
    }


def _page(path: Path, params: Params, low: int, high: int) -> Page:
    limit = params.get("limit", _MOST_EVENTS)
    if "nextToken" not in params:
        if params.get("startFromHead"):
            return read_forward(path, low, high, limit=limit, max_bytes=_PAGE_BYTES)
        return read_backward(path, low, high, limit=limit, max_bytes=_PAGE_BYTES)
    token = _TOKEN.fullmatch(params["nextToken"])
    if token is None:
        raise _invalid("The specified nextToken is invalid.")
    offset = int(token["offset"])
    if token["way"] == "f":
        start = max(offset, low)
        if start >= high:
            return Page((), offset, offset)
        return read_forward(path, start, high, limit=limit, max_bytes=_PAGE_BYTES)
    end = min(offset, high)
    if end <= low:
        return Page((), offset, offset)
    return read_backward(path, low, end, limit=limit, max_bytes=_PAGE_BYTES)
