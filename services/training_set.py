"""From the lake to a training matrix: every transaction replayed as scoring would have met it, labels as of a cut-off.

The label columns of the lake's transactions are never read: they hold today's truth. What counts is the append-only
labels table up to `label_cutoff`, and inside a vector only verdicts known before the transaction happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.errors import InvalidData
from services.features import DEMO, Plan, epoch_ms, from_lake, lake_columns
from services.features.sources import milliseconds
from services.training_beside import Recipe, beside

MINIMUM_FRAUDS = 10
TRAIN, VALIDATION, YOUNG, EXCLUDED = "train", "validation", "young", "excluded"
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
    young, excluded). `matrix` [n, f] float32, nan for missing, and `labels` [n] int8 are the n rows that are not
    excluded, in the same order. `schema` is {features_version, features}. `beside` has what the job needs of those n
    rows without learning from it (services.training_beside); `recipe` says what. `plan` is what the features mean.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    rows: pa.Table
    schema: Mapping[str, Any]
    beside: pa.Table
    plan: Plan
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def positives(self) -> int:
        return int(self.labels.sum())

    def part(self, split: str) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """(matrix, labels) of train, validation or young."""
        chosen = self.chosen(split)
        return self.matrix[chosen], self.labels[chosen]

    def chosen(self, split: str) -> NDArray[np.bool_]:
        """[n] true where a row that is not excluded belongs to train, validation or young."""
        splits = np.asarray(self.rows.column("split").to_pylist(), dtype=object)
        return np.asarray(splits[splits != EXCLUDED] == split, dtype=bool)


_LATEST = ("value", "source", "labelled_ms")
# What arrived later than this after it happened was imported: history, as if it had arrived as it happened.
_LIVE_MS = 86_400_000


def columns_of(plan: Plan, recipe: Recipe | None = None) -> tuple[str, ...]:
    """The columns of the lake's transactions that a training set is made of."""
    return tuple(dict.fromkeys((*lake_columns(plan), *(recipe or Recipe()).columns)))


def build(
    lake_transactions: pa.Table,
    lake_labels: pa.Table,
    *,
    window_start: datetime,
    window_end: datetime,
    label_cutoff: datetime,
    maturity_days: int = 7,
    validation_share: float = 0.2,
    plan: Plan = DEMO,
    recipe: Recipe | None = None,
) -> TrainingSet:
    """The training set of the transactions with window_start <= event_time < window_end.

    A transaction's label is its latest verdict known at `label_cutoff` (inclusive; of two at the same moment the one
    with the greater label_id): fraud is 1, genuine 0, inconclusive is excluded. Without a verdict it is genuine when
    it happened at least `maturity_days` before the cut-off, excluded otherwise. Transactions before the window only
    build the history that features look back on. The last `validation_share` of the time spanned by the mature rows is
    validation. Of the younger ones only those with a verdict are known, mostly frauds: a model that was measured on
    them would look far better than it is, and one that learned from them would be measured on days before those it
    knows. They are young: only the last fit, on all rows, learns from them; unless the window holds nothing mature.
    InvalidData when nothing can be learned: no rows, one class, fewer than MINIMUM_FRAUDS frauds,
    a part without both classes, or features that never change.
    """
    if not window_start < window_end:
        raise InvalidData("The window must end after it starts.")
    if not 0.0 < validation_share < 1.0:
        raise InvalidData(f"The validation share must lie between 0 and 1, got {validation_share}.")
    start_ms, end_ms, cutoff_ms = epoch_ms(window_start), epoch_ms(window_end), epoch_ms(label_cutoff)
    recipe = recipe or Recipe()
    history = _history(lake_transactions.select(list(columns_of(plan, recipe))), end_ms)
    verdicts = _verdicts(lake_labels, cutoff_ms)
    columns = from_lake(plan, history)
    columns["received_ms"] = _arrival(columns["event_ms"], columns["received_ms"])
    matrix = plan.matrix(columns, verdicts, since_ms=start_ms)
    rows = history.filter(pc.greater_equal(columns["event_ms"], start_ms))
    latest = _latest(rows["transaction_id"], verdicts)
    event_ms = milliseconds(rows["event_time"]).to_numpy()
    mature = event_ms <= cutoff_ms - maturity_days * 86_400_000
    label = _label(latest["value"], mature)
    split = _split(event_ms, label, mature, share=validation_share, recipe=recipe)
    included = split != EXCLUDED
    matrix, labels, splits = matrix[included], label[included], split[included]
    _check_parts(labels, splits)
    check_features(matrix[splits == TRAIN])
    payers = columns[plan.kinds[0].column].filter(pc.greater_equal(columns["event_ms"], start_ms))
    kept = pa.array(included)
    return TrainingSet(
        matrix=matrix,
        labels=labels,
        rows=_rows_table(rows, latest, label, split),
        schema={"features_version": plan.version, "features": list(plan.names)},
        beside=beside(rows.filter(kept), payers.filter(kept), recipe),
        plan=plan,
        recipe=recipe,
    )


def young_rows(label: NDArray[np.int8], mature: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[n] which rows with a label (1 or 0) are too young to measure; none where no mature row has one."""
    known = label >= 0
    return known & ~mature if (known & mature).any() else np.zeros(len(label), dtype=bool)


def _split(
    event_ms: NDArray[np.int64], label: NDArray[np.int8], mature: NDArray[np.bool_], *, share: float, recipe: Recipe
) -> NDArray[np.object_]:
    """[n] the split of each row, in time order; the last `share` of the time of those that measure is validation."""
    young = young_rows(label, mature)
    among = (label >= 0) & ~young
    check_labels(label[among], in_window=len(label))
    times = event_ms[among]
    later = among & (event_ms >= times[-1] - (times[-1] - times[0]) * share)
    return np.select(
        [label < 0, young, later], [EXCLUDED, TRAIN if recipe.layout == 1 else YOUNG, VALIDATION], TRAIN
    ).astype(object)


def _history(table: pa.Table, end_ms: int) -> pa.Table:
    """Transactions before `end_ms` by (event time, id)."""
    table = table.filter(pc.less(milliseconds(table["event_time"]), end_ms))
    return table.sort_by([("event_time", "ascending"), ("transaction_id", "ascending")])


def _arrival(event_ms: pa.ChunkedArray, received_ms: pa.ChunkedArray) -> pa.ChunkedArray:
    """When each transaction arrived: when it was received, or, imported as history, as it happened."""
    live = pc.less_equal(pc.subtract(received_ms, event_ms), _LIVE_MS)
    return pc.if_else(live, received_ms, event_ms)


def _verdicts(lake_labels: pa.Table, cutoff_ms: int) -> pa.Table:
    """transaction_id, value, source, labelled_ms of every verdict up to the cut-off, in the order they became known."""
    known = lake_labels.append_column("labelled_ms", milliseconds(lake_labels["labelled_at"]))
    known = known.filter(pc.less_equal(known["labelled_ms"], cutoff_ms))
    known = known.sort_by([("labelled_ms", "ascending"), ("label_id", "ascending")])
    return known.select(["transaction_id", *_LATEST])


def _latest(ids: pa.ChunkedArray, verdicts: pa.Table) -> pa.Table:
    """For each transaction its latest verdict, null where there is none."""
    backwards = verdicts.take(pa.array(np.arange(verdicts.num_rows)[::-1]))
    return backwards.select(list(_LATEST)).take(pc.index_in(ids, backwards["transaction_id"].combine_chunks()))


def _label(value: pa.ChunkedArray, mature: NDArray[np.bool_]) -> NDArray[np.int8]:
    """1 fraud, 0 genuine, -1 excluded."""
    told = [pc.fill_null(pc.equal(value, word), False).to_numpy() for word in ("fraud", "genuine")]
    unknown = pc.is_null(value).to_numpy()
    return np.where(told[0], 1, np.where(told[1] | (unknown & mature), 0, -1)).astype(np.int8)


def known_labels(
    rows: pa.Table, lake_labels: pa.Table, *, label_cutoff: datetime, maturity: timedelta
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """([n] the label that `build` gives each transaction (transaction_id, event_time): 1, 0, or -1 for excluded; [n]
    whether it is young)."""
    cutoff_ms = epoch_ms(label_cutoff)
    latest = _latest(rows["transaction_id"], _verdicts(lake_labels, cutoff_ms))
    event_ms = milliseconds(rows["event_time"]).to_numpy()
    mature = event_ms <= cutoff_ms - maturity.total_seconds() * 1000
    label = _label(latest["value"], mature)
    return label, young_rows(label, mature)


def check_labels(labels: NDArray[np.int8], *, in_window: int) -> None:
    """InvalidData, one sentence, when nothing can be learned from these labels (1 and 0) of `in_window` rows."""
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


def check_features(matrix: NDArray[np.float32]) -> None:
    """InvalidData, one sentence, when nothing can be learned from the features [n >= 1, f] of the rows to train on."""
    if np.isnan(matrix).all():
        raise InvalidData("Every feature is missing in all transactions to train on; there is nothing to learn from.")
    first = matrix[0]
    if ((matrix == first) | (np.isnan(matrix) & np.isnan(first))).all():
        raise InvalidData("Every feature is the same in all transactions to train on; there is nothing to learn from.")


def _check_parts(labels: NDArray[np.int8], splits: NDArray[np.object_]) -> None:
    for name, part in (("earlier", labels[splits == TRAIN]), ("later", labels[splits == VALIDATION])):
        if len(np.unique(part)) < 2:
            raise InvalidData(
                f"Split by time, the {name} part of the window has {int(part.sum())} frauds among {len(part):,} "
                "transactions; training and validation need both kinds. Choose a longer window."
            )


def _rows_table(rows: pa.Table, latest: pa.Table, label: NDArray[np.int8], split: NDArray[np.object_]) -> pa.Table:
    instants = (milliseconds(rows["event_time"]), latest["labelled_ms"])
    happened, known = (column.cast(pa.timestamp("ms", "UTC")).cast(_INSTANT) for column in instants)
    told = pa.array(label, mask=label < 0)
    columns = [rows["transaction_id"], happened, told, latest["source"], known, pa.array(split.tolist())]
    return pa.table(columns, schema=_ROWS)
