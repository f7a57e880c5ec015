"""Raw events -> flat rows of the lake, and the refusal of what cannot be one.

A record is refused as a whole: a row with a hole where a wrong value stood would be a quiet lie. Every line of an
object ends up as a change or as a refusal, so in = folded + quarantined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from services.lake_schema import LABELS_TABLE, TIME, TRANSACTIONS_TABLE, LakeTable

_OPERATIONS = frozenset({"copy", "insert", "update", "replace", "delete"})
_DELETE = "delete"
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,160}")
_NOTHING: Mapping[str, Any] = {}
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not in the lake. Names fields and types, never values: they may hold card data."""

    line: int
    offset: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One raw object. `changes` has the columns of the table (the key, cluster_time and raw_offset for a delete)
    and a boolean column `removed`; rows are in the order of the object. `count` is the number of its lines."""

    changes: pa.Table
    refusals: tuple[Refusal, ...]
    count: int


class _Refused(Exception):
    pass


def changes_schema(table: LakeTable) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in table.schema]).append(pa.field("removed", pa.bool_()))


def parse(lines: Iterable[bytes], table: LakeTable) -> Parsed:
    """Read the lines of one object of the table's topic."""
    flatten = _FLATTEN[table.name]
    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    refusals: list[Refusal] = []
    count = 0
    for number, line in enumerate(lines):
        count += 1
        offset = None
        try:
            event = orjson.loads(line)
            offset = event["offset"]
            rows.append(_row(event, table, flatten))
            places.append((number, offset))
        except orjson.JSONDecodeError:
            refusals.append(Refusal(number, None, "not a line of JSON"))
        except _Refused as error:
            refusals.append(Refusal(number, offset, str(error)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            refusals.append(Refusal(number, offset, _sentence(error)))
    schema = changes_schema(table)
    try:
        arrow = _to_arrow(rows, schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError):
        rows, bad = _sift(rows, places, schema)
        refusals += bad
        arrow = _to_arrow(rows, schema)
    return Parsed(arrow, tuple(sorted(refusals, key=lambda refusal: refusal.line)), count)


def _row(event: Any, table: LakeTable, flatten: Callable[[str, Any], Row]) -> Row:
    operation, key, offset = event["operationType"], event["documentKey"]["_id"], event["offset"]
    if operation not in _OPERATIONS:
        raise _Refused("unknown operation")
    if type(key) is not str or not key or len(key) > 160:
        raise _Refused("the id is not a string of 1 to 160 characters")
    if type(offset) is not int or offset < 0:
        raise _Refused("the offset is not a number")
    if operation == _DELETE:
        return (key, *([None] * (len(table.schema) - 3)), event["clusterTime"], offset, True)
    document = event["fullDocument"]
    if type(document) is not dict:
        raise _Refused("the document is missing")
    return (*flatten(key, document), event["clusterTime"], offset, False)


def _whole(value: Any, name: str) -> int:
    if type(value) is not int:
        raise _Refused(f"{name} is {_kind(value)}, not a whole number")
    if value < 0:
        raise _Refused(f"{name} is negative")
    return value


def _number(value: Any, name: str) -> float | None:
    if value is None or type(value) is float:
        return value
    if type(value) is not int:
        raise _Refused(f"{name} is {_kind(value)}, not a number")
    return float(value)


def _transaction(key: str, d: Mapping[str, Any]) -> Row:
    customer = d.get("customer") or _NOTHING
    home = customer.get("home") or _NOTHING
    card = d.get("card") or _NOTHING
    merchant = d.get("merchant") or _NOTHING
    location = merchant.get("location") or _NOTHING
    device = d.get("device") or _NOTHING
    score = d.get("score") or _NOTHING
    alert = d.get("alert") or _NOTHING
    label = d.get("label") or _NOTHING
    attributes = d.get("attributes")
    if d.get("event_time") is None:
        raise _Refused("event_time is missing")
    return (
        key,
        d["event_time"],
        d.get("received_at"),
        _whole(d.get("amount_minor"), "amount_minor"),
        d.get("currency"),
        d.get("customer_id"),
        customer.get("home_country"),
        _number(home.get("lon"), "customer.home.lon"),
        _number(home.get("lat"), "customer.home.lat"),
        customer.get("segment"),
        card.get("token"),
        card.get("bin"),
        card.get("last4"),
        card.get("network"),
        card.get("type"),
        card.get("issuer_country"),
        merchant.get("id"),
        merchant.get("name"),
        merchant.get("mcc"),
        merchant.get("category"),
        merchant.get("country"),
        _number(location.get("lon"), "merchant.location.lon"),
        _number(location.get("lat"), "merchant.location.lat"),
        d.get("terminal_id"),
        d.get("channel"),
        d.get("entry_mode"),
        device.get("id"),
        device.get("ip"),
        device.get("email_domain"),
        device.get("user_agent_family"),
        None if attributes is None else orjson.dumps(attributes).decode(),
        _number(score.get("value"), "score.value"),
        score.get("decision"),
        _number(score.get("review_threshold"), "score.review_threshold"),
        score.get("model_version"),
        score.get("scored_at"),
        alert.get("status"),
        alert.get("opened_at"),
        label.get("value"),
        label.get("source"),
        label.get("labelled_at"),
        _whole(d.get("version", 1), "version"),
    )


def _label(key: str, d: Mapping[str, Any]) -> Row:
    for name in ("transaction_id", "value", "labelled_at"):
        if d.get(name) is None:
            raise _Refused(f"{name} is missing")
    amount = d.get("amount_minor")
    return (
        key,
        d["transaction_id"],
        d.get("customer_id"),
        d.get("merchant_id"),
        d.get("device_id"),
        d.get("event_time"),
        None if amount is None else _whole(amount, "amount_minor"),
        d["value"],
        d.get("source"),
        d["labelled_at"],
        d.get("labelled_by"),
    )


_FLATTEN: dict[str, Callable[[str, Any], Row]] = {
    TRANSACTIONS_TABLE.name: _transaction,
    LABELS_TABLE.name: _label,
}


def _column(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """Arrow raises for every value of another type, except numbers, which the callers have checked."""
    if kind == TIME:
        return pa.array(values, pa.string()).cast(TIME)
    return pa.array(values, kind)


def _to_arrow(rows: list[Row], schema: pa.Schema) -> pa.Table:
    if not rows:
        return schema.empty_table()
    columns = [_column(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _sift(rows: list[Row], places: list[tuple[int, int]], schema: pa.Schema) -> tuple[list[Row], list[Refusal]]:
    """Find the rows that spoil a column, one value at a time; only objects that hold one pay for it."""
    good: list[Row] = []
    bad: list[Refusal] = []
    for row, (line, offset) in zip(rows, places, strict=True):
        for value, field in zip(row, schema, strict=True):
            try:
                _column([value], field.type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError):
                bad.append(Refusal(line, offset, f"{field.name} is {_kind(value)}, not {_wanted(field.type)}"))
                break
        else:
            good.append(row)
    return good, bad


def _kind(value: Any) -> str:
    names = {str: "text", int: "a number", float: "a number", bool: "true/false", dict: "an object", list: "a list"}
    return "missing" if value is None else names.get(type(value), "something else")


def _wanted(kind: pa.DataType) -> str:
    return "a time" if kind == TIME else "text" if kind == pa.string() else "a number"


def _sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing" if _ID.fullmatch(str(error.args[0])) else "a field is missing"
    return "a part of the record has another shape than the contract"
