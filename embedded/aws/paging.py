"""Sorting, filtering and paging shared by the List operations.

A page ends at a position in the sort order, not at a number of rows, so records created or removed between two pages
neither repeat nor hide others.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from embedded.aws.errors import validation

Record = dict[str, Any]
_DEFAULT_PAGE = 10
_TIME_FILTERS = {
    "CreationTimeAfter": ("CreationTime", lambda at, bound: at >= bound),
    "CreationTimeBefore": ("CreationTime", lambda at, bound: at <= bound),
    "LastModifiedTimeAfter": ("LastModifiedTime", lambda at, bound: at >= bound),
    "LastModifiedTimeBefore": ("LastModifiedTime", lambda at, bound: at <= bound),
}


def encode_token(position: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode("ascii").rstrip("=")


def decode_token(token: str) -> Any:
    """Raises ValueError for text that no page ever ended with."""
    try:
        return orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as exc:
        raise ValueError("invalid token") from exc


def _sort_value(record: Record, field: str, name: str) -> list[Any]:
    value = record.get(field)
    if isinstance(value, datetime):
        # Integers keep the order of times exactly; milliseconds is what is stored.
        value = round(value.timestamp() * 1000)
    return [value if value is not None else "", record[name]]


def select(
    records: Iterable[Record],
    params: Mapping[str, Any],
    *,
    name: str,
    sort_fields: Mapping[str, str],
    descending: bool,
    keep: Callable[[Record], bool] = lambda _: True,
) -> tuple[list[Record], str | None]:
    """The page that `params` (SortBy, SortOrder, NextToken, MaxResults, NameContains, time bounds) ask for.

    `name` is the member holding the record's unique name, `sort_fields` maps SortBy values to members (the default
    is CreationTime), `descending` the order when none is asked for. Ties are ordered by name.
    """
    field = sort_fields.get(params.get("SortBy", "CreationTime"), "CreationTime")
    if "SortOrder" in params:
        descending = params["SortOrder"] == "Descending"
    contains = params.get("NameContains", "").lower()
    bounds = [(member, test, params[key]) for key, (member, test) in _TIME_FILTERS.items() if key in params]
    chosen = [
        (_sort_value(record, field, name), record)
        for record in records
        if contains in record[name].lower()
        and all(test(record[member], bound) for member, test, bound in bounds)
        and keep(record)
    ]
    chosen.sort(key=lambda pair: pair[0], reverse=descending)
    if "NextToken" in params:
        try:
            after = decode_token(params["NextToken"])
            chosen = [pair for pair in chosen if (pair[0] < after if descending else pair[0] > after)]
        except (ValueError, TypeError):
            raise validation("Invalid NextToken") from None
    size = params.get("MaxResults", _DEFAULT_PAGE)
    page = chosen[:size]
    token = encode_token(page[-1][0]) if len(chosen) > size else None
    return [record for _, record in page], token
