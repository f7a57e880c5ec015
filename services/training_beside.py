"""What a training set has beside its features: amounts, who pays, days, segments; kept for measuring, never learned."""

from __future__ import annotations

from collections.abc import Mapping as Record
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.domain import dimensions
from services.domain.dimensions import Dimension
from services.domain.mapping import Mapping
from services.features.sources import milliseconds
from services.lake_queries import source_column, value_sql

AMOUNT, CARD, DAY, SEGMENT = "__amount_minor", "__card", "__day", "__segment."
# Sets of layout 1 knew no days, payers or dimensions, and their young rows were training rows.
LAYOUT = 2
CHANNEL = (Dimension("channel", "Channel", "channel"),)
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set is made of a window, as its manifest remembers it: an older set is made again as it was then.

    `dimensions` are what its model is measured by, part by part.
    """

    dimensions: tuple[Dimension, ...] = CHANNEL
    layout: int = LAYOUT

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the lake's transactions that stand beside the features."""
        return tuple(dict.fromkeys(("amount_minor", *(source_column(d) for d in self.dimensions))))

    def as_json(self) -> dict[str, Any]:
        """What a manifest says of it; nothing where it is of layout 1, as in those days."""
        return {"layout": self.layout, "dimensions": dimensions.as_json(self.dimensions)} if self.layout > 1 else {}


def recipe_for(mapping: Mapping | None) -> Recipe:
    """By the mapping's dimensions; the demo's data by channel."""
    return Recipe() if mapping is None else Recipe(mapping.dimensions)


def recipe_of(manifest: Record[str, Any]) -> Recipe:
    """The recipe of the set that a manifest belongs to."""
    if "layout" not in manifest:
        return Recipe(layout=1)
    return Recipe(dimensions.from_json(manifest["dimensions"]), int(manifest["layout"]))


def beside(rows: pa.Table, payers: Any, recipe: Recipe) -> pa.Table:
    """[n] of `rows` [n] of the lake with the recipe's columns and event_time; `payers` [n] are whom the plan calls so.

    __amount_minor; __card: a code of the payer, equal for equal payers of this set, -1 for none, and nothing else about
    them; __day since 1970 in UTC; __segment.<key>: the values that rates are broken down by, "unknown" for none.
    """
    if recipe.layout == 1:
        return pa.table({AMOUNT: rows["amount_minor"], f"{SEGMENT}channel": rows["channel"]})
    days = milliseconds(rows["event_time"]).to_numpy() // _DAY_MS
    return pa.table(
        {
            AMOUNT: rows["amount_minor"],
            CARD: _codes(payers),
            DAY: pa.array(days.astype(np.int32)),
            **_segments(rows, recipe.dimensions),
        }
    )


def _codes(names: Any) -> pa.Array:
    """Whole numbers, equal where the names are, in the order in which they first appear."""
    held = (names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([names])).combine_chunks()
    held = held if pa.types.is_dictionary(held.type) else held.dictionary_encode()
    held = held.combine_chunks() if isinstance(held, pa.ChunkedArray) else held
    return pc.fill_null(held.indices, -1).cast(pa.int32())


def _segments(rows: pa.Table, by: Sequence[Dimension]) -> dict[str, pa.ChunkedArray]:
    """With the very SQL that rates are made with."""
    import duckdb

    from services.lake_engine import execute

    columns = ", ".join(f'{value_sql(dimension)} AS "{dimension.key}"' for dimension in by)
    held = rows.select(list(dict.fromkeys(source_column(dimension) for dimension in by)))
    with duckdb.connect(config={"threads": 1}) as db:
        found = execute(db, f"SELECT {columns} FROM transactions", {"transactions": held}, {})
    return {f"{SEGMENT}{dimension.key}": found[dimension.key].cast(pa.string()) for dimension in by}
