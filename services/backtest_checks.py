"""May the figures be believed? A leak makes a model look better than it can be in production; these look for one.

Each returns a Check whose sentence says what was found and what it means; `holds` None where there is too little to
judge by. A check that fails makes the backtest fail: a flattering figure is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from services import backtest_protocol as protocol
from services.backtest_data import DAY_MS, UNKNOWN, Engine, Portfolio, known_moments
from services.backtest_model import fit
from services.backtest_protocol import Fold, Request
from services.backtest_report import Check
from services.detection_metrics import auc_roc, average_precision
from services.domain.mapping_parts import Mapping
from services.errors import InvalidData

# A single feature that ranks better than this knows the answer.
MOST_AUC = 0.99
# So does a column of the source that alone has such a precision and is so much better than chance.
MOST_COLUMN_AP, MOST_COLUMN_LIFT = 0.5, 10.0
# With labels that arrive after days, what happens at a place or to a card not yet known cannot be seen coming. How much
# that is, is known of simulated data only, whose mappings say it (most_ap); of others, only that these are never
# reached: real portfolios have about .1.
LATE_DAYS, MOST_AP_LATE, MOST_AP_EARLY = 3.0, 0.85, 0.97
FEWEST = 20
# The features of the 30 days before a training window are what its features look back on.
HISTORY_DAYS = 30
_DRAWS = 100
_SAMPLE = 60_000


def ids(data: Portfolio, folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Check:
    """No transaction may be in a fold's training and test rows: the same id in both is the same transaction."""
    column = data.table.column("transaction_id")
    shared = 0
    for train, test in folds:
        shared += int(pc.sum(pc.is_in(column.take(test), value_set=column.take(train).combine_chunks())).as_py() or 0)
    if shared:
        return Check("ids", False, f"{shared:,} transactions with the same id are in training and in test.", shared, 0)
    return Check("ids", True, "No transaction id is in training and in test.", 0, 0)


def label_among_features(data: Portfolio, names: Sequence[str]) -> Check:
    """Neither the label's columns nor a feature called like them may be among the features."""
    mapping = data.mapping
    label = mapping.label if mapping else None
    columns = {c.casefold() for c in ((label.column, label.known_at) if label else ()) if c}
    words = columns | {"label", "labelled_ms", "target", "is_fraud"}
    wrong = [f.name for f in (mapping.features if mapping else ()) if f.column.casefold() in columns]
    wrong += [name for name in names if name.rpartition(".")[2].casefold() in words and name not in wrong]
    if wrong:
        return Check("target", False, f"The label itself is among the features: {', '.join(wrong)}.", len(wrong), 0)
    return Check("target", True, "No feature is the label or its time.", 0, 0)


def single_features(matrix: NDArray[np.float32], frauds: NDArray[Any], names: Sequence[str], *, seed: int) -> Check:
    """No feature alone may rank frauds with an AUC above MOST_AUC, in either direction; missing ranks lowest.

    `matrix` and `frauds` are the training rows; all frauds and a sample of the others are looked at.
    """
    count = int(frauds.sum())
    if count < FEWEST:
        return Check("single features", None, f"Only {count} frauds: too few to judge single features.")
    genuine = np.flatnonzero(~frauds)
    rng = np.random.default_rng(seed)
    rows = np.concatenate((np.flatnonzero(frauds), rng.permutation(genuine)[:_SAMPLE]))
    found = []
    for place, name in enumerate(names):
        column = np.nan_to_num(matrix[rows, place].astype(np.float64), nan=-np.inf)
        area = auc_roc(frauds[rows], column)
        found.append((max(area, 1.0 - area), name))
    best, name = max(found)
    if best > MOST_AUC:
        sentence = f"The feature {name} alone separates frauds almost perfectly (AUC {best:.4f}): it knows the answer."
        return Check("single features", False, sentence, best, MOST_AUC)
    return Check("single features", True, f"The best single feature, {name}, has AUC {best:.3f}.", best, MOST_AUC)


def source_columns(data: Portfolio, train: NDArray[np.int64], test: NDArray[np.int64]) -> Check:
    """No column of the source may alone find most frauds: such a column was written after the verdict."""
    plain = [name for name in data.table.column_names if name.startswith("feature.")]
    frauds = data.labels[test] == 1
    if not plain:
        return Check("columns", True, "The mapping takes no columns as they are.")
    if frauds.sum() < FEWEST:
        return Check("columns", None, f"Only {int(frauds.sum())} frauds: too few to judge single columns.")
    found = max((_column_precision(data, name, train, test), name) for name in plain)
    bound = max(MOST_COLUMN_AP, min(0.7, MOST_COLUMN_LIFT * float(frauds.mean())))
    title = found[1].removeprefix("feature.")
    if found[0] > bound:
        sentence = (
            f"The column {title} alone finds frauds with an average precision of {found[0]:.3f}: it was probably "
            "written after the verdict. Take it out of the mapping."
        )
        return Check("columns", False, sentence, found[0], bound)
    return Check(
        "columns", True, f"The best single column, {title}, has average precision {found[0]:.3f}.", found[0], bound
    )


def _column_precision(data: Portfolio, name: str, train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
    """Of a number in its better direction; of a text by each value's fraud rate in training."""
    column = data.table.column(name)
    frauds = data.labels[test] == 1
    if column.type == "string":
        encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        count = np.bincount(encoded[train], minlength=encoded.max() + 1)
        hits = np.bincount(encoded[train], weights=data.labels[train] == 1, minlength=len(count))
        prior = float((data.labels[train] == 1).mean())
        return average_precision(frauds, ((hits + prior) / (count + 1.0))[encoded[test]])
    values = pc.fill_null(column.take(test).cast("float64"), np.nan).to_numpy()
    up, down = np.nan_to_num(values, nan=-np.inf), np.nan_to_num(-values, nan=-np.inf)
    return max(average_precision(frauds, up), average_precision(frauds, down))


def most_ap(request: Request, mapping: Mapping | None) -> float:
    """The greatest mean average precision that can be: as asked, else as the mapping knows of its data, else what is
    never reached with labels as late as these."""
    told = mapping.label.plausible_ap(request.known_after) if mapping and mapping.label else None
    usual = MOST_AP_LATE if request.known_after >= LATE_DAYS else MOST_AP_EARLY
    return next(bound for bound in (request.most_ap, told, usual) if bound is not None)


def implausible(mean_ap: float | None, prevalence: float, request: Request, mapping: Mapping | None) -> Check:
    """Is the mean average precision better than it can be?"""
    bound = most_ap(request, mapping)
    if mean_ap is None:
        return Check("plausible", None, "No fold had a fraud to find.")
    if mean_ap > bound:
        sentence = (
            f"A mean average precision of {mean_ap:.3f} is implausibly high (above {bound:g}) where labels become "
            f"known after {request.known_after:g} days: look for a column that is written after the verdict."
        )
        return Check("plausible", False, sentence, mean_ap, bound)
    sentence = f"Average precision {mean_ap:.3f} against a prevalence of {prevalence:.4f}; implausible above {bound:g}."
    return Check("plausible", True, sentence, mean_ap, bound)


def future_rows(
    data: Portfolio, engine: Engine, matrix: NDArray[np.float32], offset: int, fold: Fold, request: Request
) -> Check:
    """Features must be the same when everything after a moment is taken away: later rows, and labels not known by then.

    The moment is the middle of the fold's test window; every row from the start of training up to it is compared,
    bit for bit. `matrix` has the features of the rows from `offset` on.
    """
    cut = (fold.test_start + fold.test_end) * DAY_MS // 2
    past = data.before(cut)
    known = known_moments(past, request.known_after)
    # The labels that nobody could know at the cut are gone altogether.
    past = past.labelled(np.where(known < cut, past.labels, UNKNOWN).astype(np.int8))
    again = engine.matrix(past.table, past.labels, known)[offset:]
    before = matrix[: len(again)]
    same = (again == before) | (np.isnan(again) & np.isnan(before))
    if same.all():
        return Check("future rows", True, f"{len(again):,} rows have the same features without what came later.", 0, 0)
    rows = int((~same.all(axis=1)).sum())
    worst = engine.names[int(np.argmin(same.all(axis=0)))]
    sentence = f"{rows:,} of {len(again):,} rows have other features when the future is taken away, {worst} among them."
    return Check("future rows", False, sentence, rows, 0)


def shuffled_labels(data: Portfolio, engine: Engine, fold: Fold, request: Request, *, threads: int = 0) -> Check:
    """With labels that mean nothing, nothing can be found: average precision must fall to about the prevalence.

    The labels of each day are shuffled among its transactions, features and model are made from them, and the shuffled
    test labels are looked for. Whatever still finds them saw a row's own label. The bound is what chance does: 6
    standard deviations above its mean over random orders, and at least twice the prevalence.
    """
    start = (fold.train_start - HISTORY_DAYS) * DAY_MS
    part = data.since(start).before(fold.test_end * DAY_MS)
    rng = np.random.default_rng(request.seed)
    part = part.labelled(_shuffled_by_day(part, rng))
    matrix = engine.matrix(part.table, part.labels, known_moments(part, request.known_after))
    train = protocol.train_rows(fold, part.days, part.labels)
    test, _ = protocol.test_rows(fold, part.days, part.labels, part.cards, delay_days=request.delay_days)
    frauds = part.labels[test] == 1
    if frauds.sum() < FEWEST:
        return Check("shuffled labels", None, f"Only {int(frauds.sum())} frauds in the test window: too few to judge.")
    try:
        model = fit(
            matrix[train], part.labels[train], part.times[train], engine.names, seed=request.seed, threads=threads
        )
    except InvalidData as error:
        return Check("shuffled labels", None, f"It could not be tried: {error.message}")
    scores = model.scores(matrix[test])
    precision = average_precision(frauds, scores)
    chance = [average_precision(rng.permutation(frauds), scores) for _ in range(_DRAWS)]
    bound = max(2.0 * float(frauds.mean()), float(np.mean(chance) + 6.0 * np.std(chance)))
    told = f"With shuffled labels the average precision is {precision:.4f}, the prevalence {frauds.mean():.4f}"
    if precision > bound:
        sentence = f"{told}: something still finds labels that mean nothing, so it sees a row's own label."
        return Check("shuffled labels", False, sentence, precision, bound)
    return Check(
        "shuffled labels", True, f"{told}: what is found is found through labels known before.", precision, bound
    )


def _shuffled_by_day(data: Portfolio, rng: np.random.Generator) -> NDArray[np.int8]:
    """The known labels of each day in another order; prevalence by day and the unknown rows stay."""
    labels = data.labels.copy()
    known = np.flatnonzero(labels != UNKNOWN)
    order = np.lexsort((rng.random(len(known)), data.days[known]))
    # Within a day both are in the day's rows; only which row gets which label changes.
    labels[known[np.argsort(data.days[known], kind="stable")]] = data.labels[known[order]]
    return labels
