"""Where the model is good and where not: by amount band and by the categories of the mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.backtest_data import Portfolio
from services.detection_metrics import average_precision, card_days
from services.domain.dimensions import AMOUNT_BANDS, UNKNOWN

# Fewer frauds than this say little about a segment.
FEW_FRAUDS = 30
# Of a category's values, those with most frauds are told; the others are one segment.
MOST_VALUES = 12
OTHERS = "all others"
OWN = (("Category", "feature.category"), ("Channel", "feature.channel"), ("Merchant country", "feature.country"))


@dataclass(frozen=True, slots=True)
class Segment:
    """`average_precision` None without a fraud. `recall`: share of the frauds there were that the k cards a day found;
    cards found on an earlier day are in neither number. `few`: fewer than FEW_FRAUDS frauds."""

    dimension: str
    segment: str
    rows: int
    frauds: int
    average_precision: float | None
    recall: float | None
    few: bool


@dataclass(slots=True)
class Tested:
    """One fold's test rows of the portfolio and their scores."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def segments(data: Portfolio, tested: list[Tested], *, k: int) -> tuple[Segment, ...]:
    """Over all folds together. Scores of two folds come from two models: average precision is the mean over the folds
    in which the segment had a fraud, weighted by its frauds."""
    looked = [_looked_at(data, one, k=k) for one in tested]
    out = []
    for dimension, values in _dimensions(data):
        for name in _names(values, data, tested):
            out.append(_segment(dimension, name, values, data, tested, looked))
    return tuple(out)


def amount_bands(amounts_minor: NDArray[np.int64]) -> NDArray[Any]:
    """[n] names of the bands of services.domain.dimensions."""
    bounds = [bound for bound, _ in AMOUNT_BANDS if bound is not None]
    names = np.array([name for _, name in AMOUNT_BANDS], dtype=object)
    banded: NDArray[Any] = names[np.searchsorted(bounds, amounts_minor, side="right")]
    return banded


def _dimensions(data: Portfolio) -> Iterator[tuple[str, NDArray[Any]]]:
    yield "Amount", amount_bands(data.amounts)
    for title, name in _categories(data):
        column = pc.fill_null(data.table.column(name).cast("string"), UNKNOWN)
        yield title, column.to_numpy().astype(object)


def _categories(data: Portfolio) -> Iterator[tuple[str, str]]:
    """(title, column) of the mapping's categories; of the desk's own data, those that it always has."""
    if data.mapping is None:
        yield from ((title, name) for title, name in OWN if name in data.table.column_names)
        return
    for plain in data.mapping.features:
        if plain.kind == "category":
            yield plain.title, f"feature.{plain.name}"


def _names(values: NDArray[Any], data: Portfolio, tested: list[Tested]) -> list[str]:
    """Bands in their own order; values of a category by frauds, the rest together."""
    rows = np.concatenate([one.rows for one in tested])
    found, place = np.unique(values[rows], return_inverse=True)
    frauds = np.bincount(place, weights=data.labels[rows] == 1, minlength=len(found))
    bands = [name for _, name in AMOUNT_BANDS]
    if set(found) <= set(bands):
        return [name for name in bands if name in set(found)]
    ranked = [str(found[index]) for index in np.lexsort((found, -frauds))]
    return ranked if len(ranked) <= MOST_VALUES else [*ranked[: MOST_VALUES - 1], OTHERS]


def _looked_at(data: Portfolio, one: Tested, *, k: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(was looked at, was still there) for each test row of a fold."""
    looked, there = np.zeros(len(one.rows), bool), np.zeros(len(one.rows), bool)
    rows = one.rows
    for day in card_days(data.labels[rows] == 1, one.scores, data.cards[rows], data.days[rows], k=k):
        looked[day.looked_at], there[day.there] = True, True
    return looked, there


def _segment(
    dimension: str,
    name: str,
    values: NDArray[Any],
    data: Portfolio,
    tested: list[Tested],
    looked: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> Segment:
    rows = frauds = caught = possible = 0
    weighted = 0.0
    others = None if name != OTHERS else set(_names(values, data, tested)) - {OTHERS}
    for one, (seen, there) in zip(tested, looked, strict=True):
        mine = values[one.rows]
        inside = mine == name if others is None else ~np.isin(mine, list(others))
        hit = (data.labels[one.rows] == 1) & inside
        count = int(hit.sum())
        rows, frauds = rows + int(inside.sum()), frauds + count
        caught, possible = caught + int((hit & seen).sum()), possible + int((hit & there).sum())
        if count:
            weighted += count * average_precision(hit[inside], one.scores[inside])
    return Segment(
        dimension,
        name,
        rows,
        frauds,
        weighted / frauds if frauds else None,
        caught / possible if possible else None,
        frauds < FEW_FRAUDS,
    )
