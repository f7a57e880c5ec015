"""The transactions behind a point of a chart: the days of its range, its filters, a page at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import pandas as pd
import pyarrow as pa

from services import lake_queries
from services.domain.dimensions import Dimension
from services.errors import InvalidData, NotFound
from services.lake import Lake
from services.lake_engine import Engine
from services.lake_queries import JUDGED, SHOWN
from services.lake_schema import TRANSACTIONS, TRANSACTIONS_TABLE

MAX_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class DrillDown:
    """`frame`: transaction_id, event_time, amount_minor, currency, customer_id, merchant_name, then a column
    for each dimension, then score, decision, alert_status, label, label_source; newest first, equal times by id.

    `matching`: how many there are in all. `next_cursor` is None on the last page.
    """

    frame: pd.DataFrame
    matching: int
    next_cursor: str | None
    current_to: datetime | None
    snapshot_id: int | None


class Range(Protocol):
    @property
    def start(self) -> datetime: ...
    @property
    def end(self) -> datetime: ...
    @property
    def filters(self) -> Mapping[str, tuple[str, ...]]: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page ended: snapshot, event time, id, and how many rows match in all."""

    snapshot_id: int
    event_time: str
    transaction_id: str
    matching: int

    def text(self) -> str:
        fields = [self.snapshot_id, self.event_time, self.transaction_id, self.matching]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()

    @classmethod
    def of(cls, text: str) -> _Place:
        try:
            snapshot_id, event_time, transaction_id, matching = json.loads(base64.urlsafe_b64decode(text))
            datetime.fromisoformat(event_time)
            return cls(int(snapshot_id), event_time, str(transaction_id), int(matching))
        except (ValueError, TypeError) as error:
            raise InvalidData("This place in the list cannot be read; begin at the first page.") from error


def drill_down(
    lake: Lake,
    engine: Engine,
    dimensions: Sequence[Dimension],
    query: Range,
    *,
    only_fraud: bool,
    limit: int,
    cursor: str | None,
) -> DrillDown:
    """One page. Raises InvalidData for a cursor that is none, or of a snapshot that is not kept any more."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidData(f"A page has 1 to {MAX_PAGE} transactions, not {limit}.")
    after = _Place.of(cursor) if cursor else None
    state = lake.reader.state(TRANSACTIONS_TABLE.name)
    if state is None:
        return DrillDown(_frame(None, dimensions), 0, None, None, None)
    snapshot_id = after.snapshot_id if after else state.snapshot_id
    # What matches lies before the last row seen: days after it need not be read again.
    end = (
        min(query.end, datetime.fromisoformat(f"{after.event_time}+00:00") + timedelta(microseconds=1))
        if after
        else query.end
    )
    try:
        days = lake.reader.partitions(TRANSACTIONS_TABLE.name, snapshot_id=snapshot_id, starts=_days(query.start, end))
    except NotFound as error:
        raise InvalidData("The list is too old to go on with; begin at the first page.") from error
    asked = lake_queries.drill_down(
        dimensions, query.start, end, query.filters,
        only_fraud=only_fraud, after=(after.event_time, after.transaction_id) if after else None, limit=limit + 1,
    )  # fmt: skip
    rows = engine.run(asked, sorted(days.values(), key=lambda part: part.start), snapshot_id)
    matching = after.matching if after else (rows["matching"][0].as_py() if rows.num_rows else 0)
    frame = _frame(rows.slice(0, limit), dimensions)
    following = None
    if rows.num_rows > limit:
        last = frame.iloc[-1]
        moment = last["event_time"].tz_convert("UTC").tz_localize(None).strftime("%Y-%m-%d %H:%M:%S.%f")
        following = _Place(snapshot_id, moment, last["transaction_id"], matching).text()
    return DrillDown(frame, matching, following, lake.current_to(), snapshot_id)


def _frame(rows: pa.Table | None, dimensions: Sequence[Dimension]) -> pd.DataFrame:
    columns = {}
    for name in SHOWN:
        columns[name] = _column(rows, name)
    for dimension in dimensions:
        values = rows[dimension.key] if rows is not None else pa.array([], pa.string())
        columns[dimension.key] = values.cast(pa.string())
    for name in JUDGED:
        columns[name] = _column(rows, name)
    frame = pa.table(columns).to_pandas()
    frame["event_time"] = (
        frame["event_time"].dt.tz_localize(UTC) if frame["event_time"].dt.tz is None else frame["event_time"]
    )
    return frame


def _column(rows: pa.Table | None, name: str) -> pa.Array:
    kind = TRANSACTIONS.field(name).type
    if pa.types.is_timestamp(kind):
        kind = pa.timestamp("us")
    return rows[f"shown_{name}"].cast(kind) if rows is not None else pa.array([], kind)


def _days(start: datetime, end: datetime) -> list[date]:
    """The UTC days with moments of start <= t < end."""
    first = start.astimezone(UTC).date()
    last = (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
