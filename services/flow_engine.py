"""Fitting a flow on the training rows, and running it: the same SELECT for a training matrix and for one transaction.

What is fitted (medians, quantiles, categories, target tables) is learned from the training rows alone. A fitted flow
runs as one DuckDB SELECT over its input columns. Only a target-encoding's own training rows are encoded differently,
out of fold: each by the training rows of the time folds before its own, so that no row is encoded by its own label or
by a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services import flow_sql
from services.errors import InvalidData, Problem
from services.flow_fitting import Target, encode_out_of_fold, fit_step
from services.flow_sandbox import run
from services.flow_sql import Columns
from services.flow_steps import KINDS, Flow, Step, as_json, read_flow
from services.flow_trace import Origin, trace

MAX_OUTPUTS = 1_000


@dataclass(frozen=True)
class FittedFlow:
    """A flow with what it learned: `fits[i]` belongs to step i ({} where nothing is learned).

    `outputs` are the model's columns in order; `origins` say what each of them was made of.
    """

    flow: Flow
    fits: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]

    @cached_property
    def layers(self) -> tuple[Columns, ...]:
        columns, made = list(self.flow.columns), []
        for step, fit in zip(self.flow.steps, self.fits, strict=True):
            made.append(flow_sql.layer(step, fit, columns))
            columns = [column for column, _ in made[-1]]
        return tuple(made)

    @cached_property
    def sql(self) -> str:
        return flow_sql.chain(self.layers, self.outputs)

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        return trace(self.flow, self.fits, self.layers)

    def as_json(self) -> dict[str, Any]:
        return {"flow": as_json(self.flow), "fits": [dict(fit) for fit in self.fits], "outputs": list(self.outputs)}

    def transform(self, rows: pa.Table) -> pa.Table:
        """The model's columns (float32, null for missing) of rows with the flow's input columns, in their order."""
        return run(self.sql, rows.select(list(self.flow.columns)), seconds=None)

    def matrix(self, rows: pa.Table) -> NDArray[np.float32]:
        """The same as [n, outputs], nan for missing."""
        return matrix_of(self.transform(rows))


def from_json(given: Mapping[str, Any]) -> FittedFlow:
    """What `as_json` wrote."""
    return FittedFlow(read_flow(given["flow"]), tuple(given["fits"]), tuple(given["outputs"]))


@dataclass(frozen=True, slots=True)
class Change:
    """The columns a step took, as they were, and the columns it made (none for a drop); rows as they came."""

    before: pa.Table
    after: pa.Table


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted flow with the rows it was fitted on: `table` after the last step; `changes[i]` is what step i did.

    `notes` are sentences about what a person should know: text columns left behind, values that became missing.
    """

    flow: FittedFlow
    table: pa.Table
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def matrix(self) -> NDArray[np.float32]:
        """[n, outputs] float32 of all rows; training rows of a target-encoding out of fold."""
        outputs = ", ".join(f"{flow_sql.number(c)} AS {flow_sql.name(c)}" for c in self.flow.outputs)
        return matrix_of(run(f"SELECT {outputs} FROM rows", self.table))


def matrix_of(table: pa.Table) -> NDArray[np.float32]:
    """[n, columns] float32; missing and infinite values are nan, because no model takes an infinity."""
    columns = [column.to_numpy(zero_copy_only=False).astype(np.float32) for column in table.columns]
    matrix = np.column_stack(columns)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def fit(flow: Flow, rows: pa.Table, *, train: NDArray[np.bool_], labels: NDArray[np.int8]) -> Fitted:
    """Fit on the `train` rows [n] of `rows`, which are in time order; labels [n] are 1 for fraud, else 0.

    InvalidData with one problem, whose row is the step, when a step cannot be run.
    """
    missing = [name for name in flow.columns if name not in rows.column_names]
    if missing:
        raise InvalidData(f"The data has no column {missing[0]}; choose the flow's columns anew.")
    table, fits, changes, notes = rows.select(list(flow.columns)), [], list[Change](), list[str]()
    target = Target(np.asarray(train, dtype=bool), np.asarray(labels))
    for place, step in enumerate(flow.steps):
        try:
            learned = fit_step(step, table, target)
            layer = flow_sql.layer(step, learned, table.column_names)
            after = run(f"SELECT {flow_sql.select(layer)} FROM rows", table)
            if step.do == "target_encode":
                after = encode_out_of_fold(step, table, after, target)
        except InvalidData as error:
            raise _at(place, step, error) from error
        notes += _lost(place, step, table, after)
        changes.append(_change(layer, table, after))
        fits.append(learned)
        table = after
    outputs, left = _outputs(table)
    notes += [f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} still text or a time and not given to the model."]
    fitted = FittedFlow(flow, tuple(fits), tuple(outputs))
    return Fitted(fitted, table, tuple(changes), tuple(notes if left else notes[:-1]))


def _change(layer: Columns, before: pa.Table, after: pa.Table) -> Change:
    made = [column for column, sql in layer if sql != flow_sql.name(column)]
    untouched = {column for column, sql in layer if sql == flow_sql.name(column)}
    return Change(before.select([c for c in before.column_names if c not in untouched]), after.select(made))


def _outputs(table: pa.Table) -> tuple[list[str], list[str]]:
    numeric = [f.name for f in table.schema if _is_number(f.type)]
    if not numeric:
        raise InvalidData("No column of numbers is left for the model; encode or keep at least one.")
    if len(numeric) > MAX_OUTPUTS:
        raise InvalidData(f"The flow makes {len(numeric):,} columns; a model takes at most {MAX_OUTPUTS:,}.")
    return numeric, [f.name for f in table.schema if f.name not in set(numeric)]


def _is_number(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_integer(kind) or t.is_floating(kind) or t.is_boolean(kind) or t.is_decimal(kind))


def _at(place: int, step: Step, error: InvalidData) -> InvalidData:
    column = step.column or step.options.get("to", "")
    what = f"{KINDS[step.do].title} {column}".strip()
    return InvalidData(f"Step {place + 1} ({what}): {error.message}", [Problem(place, str(column), error.message)])


def _lost(place: int, step: Step, before: pa.Table, after: pa.Table) -> list[str]:
    """A note when values could not be computed: an expression that failed, a text that is no number."""
    if step.do not in ("cast", "expression"):
        return []
    made = step.column if step.do == "cast" else str(step.options["to"])
    count = after[made].null_count - (before[made].null_count if made in before.column_names else 0)
    if pa.types.is_floating(after[made].type):
        count += pc.sum(pc.invert(pc.is_finite(after[made].drop_null()))).as_py() or 0
    if count <= 0:
        return []
    return [
        f"Step {place + 1}: {made} cannot be computed for {count:,} of {after.num_rows:,} rows and is missing there."
    ]
