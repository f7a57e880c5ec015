"""What steps learn from training rows. Every statistic is of values that are there, of training rows only.

Target encoding is the m-estimate of Micci-Barreca (2001, "A preprocessing scheme for high-cardinality categorical
attributes"): (frauds of the category + m x prior) / (rows of the category + m), prior being the share of frauds among
the training rows and m the smoothing. Training rows themselves are encoded by the rows of earlier time folds only
(ordered target statistics, Prokhorenkova et al. 2018, CatBoost); of the first fold nothing is known: missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.errors import InvalidData
from services.flow_sandbox import check_expression, run
from services.flow_sql import name
from services.flow_steps import Step

MOST_CATEGORIES = 20
MOST_TARGETS = 5_000
SMOOTHING, FOLDS = 20.0, 5
_NUMERIC = {"clip", "log", "bucket"}


@dataclass(frozen=True, slots=True)
class Target:
    """train [n]: which rows may be learned from; labels [n]: 1 fraud, 0 genuine. Rows are in time order."""

    train: NDArray[np.bool_]
    labels: NDArray[np.int8]


def fit_step(step: Step, table: pa.Table, target: Target) -> dict[str, Any]:
    """What the step learns, as JSON; {} where it learns nothing. InvalidData says in a sentence why it cannot."""
    o, column = step.options, step.column
    if column and column not in table.column_names:
        raise InvalidData(f"There is no column {column} at this step.")
    if step.do in _NUMERIC or (step.do == "impute" and o["with"] in ("mean", "median")):
        _require_number(table, column)
    if step.do == "date_parts" and not pa.types.is_timestamp(table.schema.field(column).type):
        raise InvalidData(f"{column} is not a time; change its type to time first.")
    if step.do == "impute":
        return {"value": _fill(o, table, column, target.train)}
    if step.do == "clip":
        if "quantiles" not in o:
            return {side: o.get(side) for side in ("low", "high")}
        low, high = _quantiles(table, column, target.train, o["quantiles"])
        return {"low": low, "high": high}
    if step.do == "bucket":
        if "edges" in o:
            return {"edges": o["edges"]}
        shares = [i / o["quantiles"] for i in range(1, o["quantiles"])]
        return {"edges": sorted(set(_quantiles(table, column, target.train, shares)))}
    if step.do == "one_hot":
        counted = _counts(table, column, target.train, int(o.get("most", MOST_CATEGORIES)))
        return {"categories": [category for category, _ in counted]}
    if step.do == "target_encode":
        return _target_table(step, table, target)
    if step.do == "expression":
        check_expression(o["sql"], table.column_names)
        kind = run(f"SELECT TRY((\n{o['sql']}\n)) FROM rows LIMIT 0", table).schema.field(0).type
        return {"floating": pa.types.is_floating(kind)}
    return {}


def _require_number(table: pa.Table, column: str) -> None:
    kind = table.schema.field(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InvalidData(f"{column} is not a number; change its type to number first.")


def _present(table: pa.Table, column: str, train: NDArray[np.bool_]) -> pa.Table:
    values = table.select([column]).filter(pa.array(train)).drop_null()
    if pa.types.is_floating(values.schema.field(0).type):
        values = values.filter(pc.is_finite(values[column]))
    if not values.num_rows:
        raise InvalidData(f"{column} is missing in every training row; there is nothing to learn from.")
    return values


def _fill(o: Any, table: pa.Table, column: str, train: NDArray[np.bool_]) -> Any:
    kind = table.schema.field(column).type
    is_text = pa.types.is_string(kind)
    if o["with"] == "constant":
        if is_text != isinstance(o["value"], str):
            raise InvalidData(f"{column} is {'text' if is_text else 'not text'}, the constant is not.")
        return o["value"]
    values = _present(table, column, train)
    if o["with"] == "mode":  # of values equally frequent the smallest
        sql = f"SELECT {name(column)} FROM rows GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    elif o["with"] == "mean":
        sql = f"SELECT avg({name(column)}) FROM rows"
    else:
        sql = f"SELECT quantile_cont({name(column)}, 0.5) FROM rows"
    value = run(sql, values).column(0)[0].as_py()
    if not is_text and not isinstance(value, bool | int | float):
        raise InvalidData(f"{column} is neither text nor a number; it cannot be filled.")
    return value if is_text else float(value)


def _quantiles(table: pa.Table, column: str, train: NDArray[np.bool_], shares: list[float]) -> list[float]:
    """With linear interpolation between neighbours."""
    values = _present(table, column, train)
    listed = ", ".join(f"{share!r}::DOUBLE" for share in shares)
    sql = f"SELECT quantile_cont({name(column)}::DOUBLE, [{listed}]) FROM rows"
    return [float(value) for value in run(sql, values).column(0)[0].as_py()]


def _counts(table: pa.Table, column: str, train: NDArray[np.bool_], most: int) -> list[tuple[str, int]]:
    """The most frequent texts with their counts; of equally frequent ones the first in the alphabet."""
    if not pa.types.is_string(table.schema.field(column).type):
        raise InvalidData(f"{column} is not text; change its type to text first.")
    values = _present(table, column, train)
    sql = f"SELECT {name(column)}, count(*) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {most}"
    found = run(sql, values)
    return list(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))


def _target_table(step: Step, table: pa.Table, target: Target) -> dict[str, Any]:
    column = step.column
    categories = [category for category, _ in _counts(table, column, target.train, MOST_TARGETS + 1)]
    if len(categories) > MOST_TARGETS:
        raise InvalidData(
            f"{column} has more than {MOST_TARGETS:,} values; that is too many to encode by their target."
        )
    values = np.asarray(table[column].to_pylist(), dtype=object)[target.train]
    labels = target.labels[target.train]
    prior = float(labels.mean())
    table_of = _estimates(values, labels, prior, float(step.options.get("smoothing", SMOOTHING)))
    return {"prior": prior, "table": {key: table_of[key] for key in sorted(table_of)}}


def _estimates(values: Any, labels: NDArray[np.int8], prior: float, smoothing: float) -> dict[str, float]:
    rows: dict[str, int] = {}
    frauds: dict[str, int] = {}
    for value, label in zip(values, labels.tolist(), strict=True):
        if value is not None:
            rows[value] = rows.get(value, 0) + 1
            frauds[value] = frauds.get(value, 0) + label
    return {v: (frauds[v] + smoothing * prior) / (n + smoothing) for v, n in rows.items()}


def encode_out_of_fold(step: Step, before: pa.Table, after: pa.Table, target: Target) -> pa.Table:
    """`after` with the training rows encoded by the folds before theirs; all other rows stay as they are."""
    made = step.options.get("to", step.column)
    smoothing = float(step.options.get("smoothing", SMOOTHING))
    values = np.asarray(before[step.column].to_pylist(), dtype=object)
    out = after[made].to_numpy(zero_copy_only=False).astype(np.float64).copy()
    places = np.flatnonzero(target.train)
    for fold in np.array_split(np.arange(len(places)), int(step.options.get("folds", FOLDS))):
        if not len(fold):
            continue
        known = places[: fold[0]]
        prior = float(target.labels[known].mean()) if len(known) else np.nan
        table = _estimates(values[known], target.labels[known], prior, smoothing)
        out[places[fold]] = [table.get(value, prior) for value in values[places[fold]]]
    return after.set_column(after.column_names.index(made), made, pa.array(out, from_pandas=True))
