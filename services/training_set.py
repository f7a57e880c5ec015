"""From the lake to a training matrix: every transaction replayed as scoring would have met it, labels as of a cut-off.

The label columns of the lake's transactions are never read: they hold today's truth. What counts is the append-only
labels table up to `label_cutoff`, and inside a vector only verdicts known before the transaction happened.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.errors import InvalidData
from services.features import (
    FEATURES,
    FEATURES_VERSION,
    LAKE_COLUMNS,
    Event,
    LabelEvent,
    epoch_ms,
    events_from_columns,
    replay,
)

MINIMUM_FRAUDS = 10
TRAIN, VALIDATION, EXCLUDED = "train", "validation", "excluded"
_INSTANT = pa.timestamp("us", "UTC")
_ROWS = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("event_time", _INSTANT),
        ("label", pa.int8()),
        ("label_source", pa.string()),
        ("labelled_at", _INSTANT),
        ("split", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a training job learns from.

    `rows` has every transaction of the window in time order: transaction_id, event_time, label (1 fraud, 0 genuine,
    null when excluded), label_source and labelled_at (null where no verdict is known), split (train, validation,
    excluded). `matrix` [n, f] float32, nan for missing, and `labels` [n] int8 are the n rows that are not excluded,
    in the same order. `schema` is {features_version, features}. `beside` has what the job needs of those n rows without
    learning from it: __amount_minor (int64) and __segment.<key> (text); names begin with two underscores.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    rows: pa.Table
    schema: Mapping[str, Any]
    beside: pa.Table

    @property
    def positives(self) -> int:
        return int(self.labels.sum())

    def part(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """(matrix, labels) of train or validation."""
        chosen = self.chosen(split)
        return self.matrix[chosen], self.labels[chosen]

    def chosen(self, split: str) -> NDArray[np.bool_]:
        """[n] true where a row that is not excluded belongs to train or validation."""
        splits = np.asarray(self.rows.column("split").to_pylist(), dtype=object)
        return np.asarray(splits[splits != EXCLUDED] == split, dtype=bool)


@dataclass(frozen=True, slots=True)
class _Verdict:
    value: str
    source: str | None
    labelled_ms: int


def build(
    lake_transactions: pa.Table,
    lake_labels: pa.Table,
    *,
    window_start: datetime,
    window_end: datetime,
    label_cutoff: datetime,
    maturity_days: int = 7,
    validation_share: float = 0.2,
) -> TrainingSet:
    """The training set of the transactions with window_start <= event_time < window_end.

    A transaction's label is its latest verdict known at `label_cutoff` (inclusive; of two at the same moment the one
    with the greater label_id): fraud is 1, genuine 0, inconclusive is excluded. Without a verdict it is genuine when
    it happened at least `maturity_days` before the cut-off, excluded otherwise. Transactions before the window only
    build the history that features look back on. The last `validation_share` of the time spanned by the included
    rows is validation. InvalidData when nothing can be learned: no rows, one class, fewer than MINIMUM_FRAUDS frauds,
    a part without both classes, or features that never change.
    """
    if not window_start < window_end:
        raise InvalidData("The window must end after it starts.")
    if not 0.0 < validation_share < 1.0:
        raise InvalidData(f"The validation share must lie between 0 and 1, got {validation_share}.")
    start_ms, end_ms, cutoff_ms = epoch_ms(window_start), epoch_ms(window_end), epoch_ms(label_cutoff)
    events = _events(lake_transactions, end_ms)
    verdicts, label_events = _labels(lake_labels, cutoff_ms, {e.transaction_id: e.terminal_id for e in events})
    mature_ms = cutoff_ms - maturity_days * 86_400_000
    rows: list[tuple[Event, int | None]] = []
    cells = array("f")

    def on_row(event: Event, vector: list[float]) -> None:
        label = _label(verdicts.get(event.transaction_id), mature=event.at_ms <= mature_ms)
        rows.append((event, label))
        if label is not None:
            cells.extend(vector)

    replay(events, label_events, on_row=on_row, since_ms=start_ms)
    matrix = np.frombuffer(cells, dtype=np.float32).reshape(-1, len(FEATURES))
    labels = np.array([label for _, label in rows if label is not None], dtype=np.int8)
    _check_whole(matrix, labels, in_window=len(rows))
    times = [event.at_ms for event, label in rows if label is not None]
    boundary_ms = times[-1] - (times[-1] - times[0]) * validation_share
    _check_parts(labels, np.array(times) >= boundary_ms)
    return TrainingSet(
        matrix=matrix,
        labels=labels,
        rows=_rows_table(rows, verdicts, boundary_ms),
        schema={"features_version": FEATURES_VERSION, "features": [spec.name for spec in FEATURES]},
        beside=_beside([event for event, label in rows if label is not None]),
    )


def _beside(events: list[Event]) -> pa.Table:
    return pa.table(
        {
            "__amount_minor": pa.array([event.amount_minor for event in events], pa.int64()),
            "__segment.channel": pa.array([event.channel for event in events], pa.string()),
        }
    )


def _label(verdict: _Verdict | None, *, mature: bool) -> int | None:
    if verdict is None:
        return 0 if mature else None
    return {"fraud": 1, "genuine": 0}.get(verdict.value)


def _events(lake_transactions: pa.Table, end_ms: int) -> list[Event]:
    """Transactions before `end_ms` by (event time, id)."""
    table = lake_transactions.select(list(LAKE_COLUMNS))
    table = table.set_column(1, "event_time", _milliseconds(table.column("event_time")))
    table = table.filter(pc.less(table.column("event_time"), end_ms))
    table = table.sort_by([("event_time", "ascending"), ("transaction_id", "ascending")])
    return list(events_from_columns({name: table.column(name).to_pylist() for name in LAKE_COLUMNS}))


def _labels(
    lake_labels: pa.Table, cutoff_ms: int, terminals: Mapping[str, str | None]
) -> tuple[dict[str, _Verdict], list[LabelEvent]]:
    """(latest verdict by transaction, every verdict in the order they became known), up to the cut-off."""
    table = lake_labels
    for name in ("event_time", "labelled_at"):
        table = table.set_column(table.column_names.index(name), name, _milliseconds(table.column(name)))
    table = table.filter(pc.less_equal(table.column("labelled_at"), cutoff_ms))
    table = table.sort_by([("labelled_at", "ascending"), ("label_id", "ascending")])
    verdicts: dict[str, _Verdict] = {}
    label_events: list[LabelEvent] = []
    for row in table.to_pylist():
        transaction_id = row["transaction_id"]
        verdicts[transaction_id] = _Verdict(row["value"], row["source"], row["labelled_at"])
        label_events.append(
            LabelEvent(
                transaction_id=transaction_id,
                customer_id=row["customer_id"],
                merchant_id=row["merchant_id"],
                terminal_id=terminals.get(transaction_id),
                device_id=row["device_id"],
                event_ms=row["event_time"],
                amount_minor=row["amount_minor"],
                value=row["value"],
                labelled_ms=row["labelled_at"],
            )
        )
    return verdicts, label_events


def _milliseconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Epoch milliseconds, rounded down, of a timestamp column."""
    return column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())


def _check_whole(matrix: NDArray[np.float32], labels: NDArray[np.int8], *, in_window: int) -> None:
    if not in_window:
        raise InvalidData("The window holds no transactions. Choose other dates.")
    if not len(labels):
        raise InvalidData(
            f"None of the {in_window:,} transactions of the window has a label yet, and none is old enough to count as "
            "genuine. Choose an earlier window or a later label cut-off."
        )
    frauds = int(labels.sum())
    if frauds == len(labels):
        raise InvalidData(f"All {frauds:,} usable transactions of the window are frauds; a model needs both kinds.")
    if frauds < MINIMUM_FRAUDS:
        raise InvalidData(
            f"The window holds {frauds} known frauds among {len(labels):,} usable transactions; at least "
            f"{MINIMUM_FRAUDS} are needed. Choose a longer window or a later label cut-off."
        )
    first = matrix[0]
    if ((matrix == first) | (np.isnan(matrix) & np.isnan(first))).all():
        raise InvalidData(
            "Every feature is the same for all transactions of the window; there is nothing to learn from."
        )


def _check_parts(labels: NDArray[np.int8], validation: NDArray[np.bool_]) -> None:
    for name, part in (("earlier", labels[~validation]), ("later", labels[validation])):
        if len(np.unique(part)) < 2:
            raise InvalidData(
                f"Split by time, the {name} part of the window has {int(part.sum())} frauds among {len(part):,} "
                "transactions; training and validation need both kinds. Choose a longer window."
            )


def _rows_table(rows: list[tuple[Event, int | None]], verdicts: Mapping[str, _Verdict], boundary_ms: float) -> pa.Table:
    known = [verdicts.get(event.transaction_id) for event, _ in rows]
    splits = [
        EXCLUDED if label is None else VALIDATION if event.at_ms >= boundary_ms else TRAIN for event, label in rows
    ]

    def instants(values: list[int | None]) -> pa.Array:
        return pa.array(values, pa.int64()).cast(pa.timestamp("ms", "UTC")).cast(_INSTANT)

    return pa.Table.from_arrays(
        [
            pa.array([event.transaction_id for event, _ in rows], pa.string()),
            instants([event.at_ms for event, _ in rows]),
            pa.array([label for _, label in rows], pa.int8()),
            pa.array([verdict.source if verdict else None for verdict in known], pa.string()),
            instants([verdict.labelled_ms if verdict else None for verdict in known]),
            pa.array(splits, pa.string()),
        ],
        schema=_ROWS,
    )
