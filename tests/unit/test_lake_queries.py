"""Every lake query in Athena's dialect, bound values in order, and the same answers from the translated text."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from services import lake_queries
from services.adapters.athena import compiled, read_result
from services.domain.dimensions import DEFAULT, Dimension
from services.domain.local_time import offsets
from services.lake_queries import LakeQuery

DAY = date(2026, 3, 28)
PARIS = offsets("Europe/Paris", 1_774_600_000, 1_775_000_000)  # the clocks change in between
STORE = Dimension("store", "Store type", "attributes.store type")
START, END = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC)
FILTERS = {"store": ("O'Hara", ":first"), "amount_band": ("<10",), "country": ("FR",)}

QUERIES = {
    "cells by quarter hour": lake_queries.cells((), DAY, DAY, None),
    "cells by local date": lake_queries.cells(("category", "channel"), DAY, DAY, PARIS),
    "days from cuboids": lake_queries.daily_cells(("channel",), "day:channel", DAY, DAY, PARIS),
    "values": lake_queries.values(("channel", "country"), DAY, DAY, dense=False),
    "values from cuboids": lake_queries.values(("channel", "country"), DAY, DAY, dense=True),
    "first page": lake_queries.drill_down(
        (*DEFAULT, STORE), START, END, FILTERS, only_fraud=True, after=None, limit=201
    ),
    "next page": lake_queries.drill_down(
        DEFAULT, START, END, {}, only_fraud=False, after=("2026-03-28 10:00:00.000000", "t'1"), limit=201
    ),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_query_is_valid_in_athenas_dialect_on_one_snapshot(query: LakeQuery) -> None:
    text, values = compiled(query, 4711)
    for dialect in ("athena", "trino"):
        (statement,) = sqlglot.parse(text, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert isinstance(statement, exp.Query)
    tables = [table for table in statement.find_all(exp.Table) if table.name == query.table]
    assert tables
    assert all(table.args["version"].expression.name == "4711" for table in tables)
    assert len(list(statement.find_all(exp.Placeholder))) == len(values)
    for foreign in ("//", "::", "epoch(", "json_extract_string", "$first"):
        assert foreign not in text.lower()


def test_the_columns_of_a_query_are_all_it_reads() -> None:
    for query in QUERIES.values():
        tree = sqlglot.parse_one(query.sql, read="duckdb")
        defined = {alias.alias for alias in tree.find_all(exp.Alias)} | {"sign"}
        read = {column.name for column in tree.find_all(exp.Column)} - defined
        assert read <= set(query.columns), query.name
        assert set(query.columns) <= read | defined


def test_values_are_bound_in_the_order_of_the_text_and_never_part_of_it() -> None:
    text, values = compiled(QUERIES["first page"], 1)
    assert "O'Hara" not in text
    assert values[:2] == ["'2026-03-28 00:00:00.000000'", "'2026-03-29 00:00:00.000000'"]
    assert sorted(values[2:]) == sorted(["'FR'", "'<10'", "'O''Hara'", "':first'"])
    bound = iter(values)
    back = sqlglot.parse_one(text, read="athena").transform(
        lambda node: sqlglot.parse_one(next(bound)) if isinstance(node, exp.Placeholder) else node
    )
    country = next(node for node in back.find_all(exp.In) if "merchant_country" in node.this.sql())
    assert country.expressions[0].name == "FR"


def test_a_result_of_athena_keeps_types_nulls_and_times() -> None:
    body = (
        b'"id","at","amount","score","label"\n"a,""b""","2026-03-01 10:00:00.123456 UTC","5","0.25",\n"","","","",""\n'
    )
    columns = [("id", "varchar"), ("at", "timestamp with time zone"), ("amount", "bigint"), ("score", "double")]
    rows = read_result(body.replace(b'"","","","",""', b'"",,,,""'), [*columns, ("label", "varchar")])
    assert rows.to_pylist() == [
        {"id": 'a,"b"', "at": datetime(2026, 3, 1, 10, 0, 0, 123456), "amount": 5, "score": 0.25, "label": None},
        {"id": "", "at": None, "amount": None, "score": None, "label": ""},
    ]
    assert rows.schema.field("at").type == pa.timestamp("us")
