"""Raw events -> flat rows of the lake, and the refusal of what cannot be one.

A record is refused as a whole: a row with a hole where a wrong value stood would be a quiet lie. Every line of an
object ends up as a change or as a refusal, so in = folded + quarantined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from services.lake_schema import TIME, LakeTable
from workers.curator_flatten import FLATTEN, Refused, Row, kind_of, whole
from workers.curator_formats import Event, canonical

# The time a row's partition is cut from lies in these years. Systems write 9999 for "never", and 1 or 1900 for "not
# known"; taken for a time, they would open partitions that no chart shows and calendars that end.
YEARS = range(1970, 2200)
_OPERATIONS = frozenset({"copy", "insert", "update", "replace", "delete"})
_DELETE, _MARKER = "delete", "epoch"
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError)
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,160}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is not in the lake. Names fields and types, never values: they may hold card data."""

    line: int
    offset: int | None
    reason: str
    at: str | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """The end of the copy that began an epoch, in one of `partitions` partitions. `since` is the epoch's start."""

    epoch: int
    partition: int
    partitions: int
    since: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """One raw object. `changes` has the columns of the table (the key, cluster_time and raw_offset for a delete)
    and a boolean column `removed`; rows are in the order of the object. `count` is the number of its records."""

    changes: pa.Table
    refusals: tuple[Refusal, ...]
    count: int
    markers: tuple[Marker, ...] = ()


def changes_schema(table: LakeTable) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in table.schema]).append(pa.field("removed", pa.bool_()))


def parse(records: Iterable[bytes | Event], table: LakeTable, start_offset: int = 0) -> Parsed:
    """Read the records of one object of the table's topic. A record without an offset of its own has that of its
    place: `start_offset` + its number in the object."""
    flatten = FLATTEN[table.name]
    rows: list[Row] = []
    places: list[tuple[int, int, str]] = []
    refusals: list[Refusal] = []
    markers: list[Marker] = []
    number = -1
    for number, record in enumerate(records):
        offset = at = None
        try:
            event, offset = _read(record, start_offset + number)
            at = event["clusterTime"]
            if event["operationType"] == _MARKER:
                markers.append(_marker(event))
                continue
            rows.append(_row(event, offset, table, flatten))
            places.append((number, offset, at))
        except orjson.JSONDecodeError:
            refusals.append(Refusal(number, None, "not a line of JSON"))
        except Refused as error:
            refusals.append(Refusal(number, offset, str(error), _moment(at)))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            refusals.append(Refusal(number, offset, _sentence(error), _moment(at)))
    arrow, bad = _checked(rows, places, table)
    ordered = sorted((*refusals, *bad), key=lambda refusal: refusal.line)
    return Parsed(arrow, tuple(ordered), number + 1, tuple(markers))


def _read(record: bytes | Event, place: int) -> tuple[Any, int]:
    """The event and its offset. What the stream writes needs no second look; every other form is brought to it."""
    event: Any = orjson.loads(record) if type(record) is bytes else record
    plain = type(record) is bytes and b'"$' not in record and type(event) is dict
    if plain and "offset" in event and type(event.get("documentKey")) is dict:
        time, document = event.get("clusterTime"), event.get("fullDocument")
        if type(time) is str and (document is None or type(document) is dict) and "_id" not in event:
            return event, event["offset"]
    event, offset = canonical(event, marked=type(record) is not bytes or not plain)
    return event, place if offset is None else offset


def _checked(
    rows: list[Row], places: list[tuple[int, int, str]], table: LakeTable
) -> tuple[pa.Table, tuple[Refusal, ...]]:
    """The rows in the types of the table, and the refusals of those that have others or lie outside of YEARS."""
    schema = changes_schema(table)
    bad: list[Refusal] = []
    try:
        arrow = _to_arrow(rows, schema)
    except _UNFIT:
        good, bad = _sift(rows, places, schema)
        wrong = {refusal.line for refusal in bad}
        places = [place for place in places if place[0] not in wrong]
        arrow = _to_arrow(good, schema)
    year = pc.fill_null(pc.year(arrow[table.time_column]), YEARS.start)
    inside = pc.and_(pc.greater_equal(year, YEARS.start), pc.less(year, YEARS.stop))
    if pc.all(inside).as_py() is False:
        reason = f"{table.time_column} is not between {YEARS.start} and {YEARS.stop - 1}"
        kept = inside.to_pylist()
        late = [place for place, keep in zip(places, kept, strict=True) if not keep]
        bad += [Refusal(line, offset, reason, at) for line, offset, at in late]
        arrow = arrow.filter(inside)
    return arrow, tuple(bad)


def _marker(event: Event) -> Marker:
    said = event["fullDocument"]
    epoch, partition, partitions = (whole(said[name], name) for name in ("epoch", "partition", "partitions"))
    if not partition < partitions:
        raise Refused("the partition of an epoch's marker is not one of its partitions")
    datetime.fromisoformat(event["clusterTime"])
    return Marker(epoch, partition, partitions, event["clusterTime"])


def _moment(at: Any) -> str | None:
    """A cluster time as text, if it is a time at all: a refused record may say anything."""
    try:
        return at if datetime.fromisoformat(at).tzinfo is not None else None
    except (TypeError, ValueError):
        return None


def _row(event: Any, offset: int, table: LakeTable, flatten: Callable[[str, Any], Row]) -> Row:
    operation, key = event["operationType"], event["documentKey"]["_id"]
    if operation not in _OPERATIONS:
        raise Refused("unknown operation")
    if type(key) is not str or not key or len(key) > 160:
        raise Refused("the id is not a string of 1 to 160 characters")
    if type(offset) is not int or offset < 0:
        raise Refused("the offset is not a number")
    if operation == _DELETE:
        return (key, *([None] * (len(table.schema) - 3)), event["clusterTime"], offset, True)
    document = event["fullDocument"]
    if type(document) is not dict:
        raise Refused("the document is missing")
    return (*flatten(key, document), event["clusterTime"], offset, False)


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


def _sift(rows: list[Row], places: list[tuple[int, int, str]], schema: pa.Schema) -> tuple[list[Row], list[Refusal]]:
    """Find the rows that spoil a column, one value at a time; only objects that hold one pay for it."""
    good: list[Row] = []
    bad: list[Refusal] = []
    for row, (line, offset, at) in zip(rows, places, strict=True):
        for value, field in zip(row, schema, strict=True):
            try:
                _column([value], field.type)
            except _UNFIT:
                reason = f"{field.name} is {kind_of(value)}, not {_wanted(field.type)}"
                bad.append(Refusal(line, offset, reason, _moment(at)))
                break
        else:
            good.append(row)
    return good, bad


def _wanted(kind: pa.DataType) -> str:
    return "a time" if kind == TIME else "text" if kind == pa.string() else "a number"


def _sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing" if _ID.fullmatch(str(error.args[0])) else "a field is missing"
    return "a part of the record has another shape than the contract"
