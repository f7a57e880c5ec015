"""DuckDB shut in: no files, no network, no extensions, no settings, little memory; and which expressions may run.

What a person writes is one scalar expression. It is parsed by DuckDB itself and every node of its syntax tree must be
of a kind, and every function of a name, that is listed here: there are no subqueries, tables, windows, lambdas,
aggregates, clocks or random numbers, and nothing that makes one value much larger than those it is given.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

from services.errors import InvalidData

MEMORY = "512MB"
SECONDS = 15.0


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NODES: Mapping[str, set[str] | None] = {
    "COLUMN_REF": None,
    "CONSTANT": None,
    "FUNCTION": None,
    "COMPARISON": None,
    "CONJUNCTION": None,
    "BETWEEN": None,
    "CASE": None,
    "CAST": None,
    "TYPE": None,
    "OPERATOR": {
        "OPERATOR_NOT", "OPERATOR_TRY", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE",
        "OPERATOR_NULLIF", "COMPARE_IN", "COMPARE_NOT_IN",
    },
}  # fmt: skip
FUNCTIONS = _words(
    "+ - * / % // ** ^ || ~~ !~~ ~~* !~~* abs ceil ceiling floor round trunc sqrt cbrt exp ln log log2 log10 pow power "
    "sign greatest least mod fdiv isnan isinf isfinite sin cos tan asin acos atan atan2 radians degrees pi lower upper "
    "length trim ltrim rtrim substring substr left right contains starts_with ends_with prefix suffix strpos concat "
    "regexp_matches date_part year month day hour minute second dayofweek isodow dayofyear week epoch epoch_ms "
    "date_trunc datediff date_diff ifnull"
)
# Lists, maps and blobs can be made large or cannot be computed with.
_TYPES = _words(
    "boolean bool tinyint smallint int int2 int4 int8 integer bigint hugeint float float4 float8 real double decimal "
    "numeric varchar text string date timestamp time"
)


@cache
def database() -> duckdb.DuckDBPyConnection:
    """One shut-in database of this process; every use takes a cursor of its own."""
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY,
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "lock_configuration": True,
        }
    )


@contextmanager
def _cursor(seconds: float | None) -> Iterator[duckdb.DuckDBPyConnection]:
    with database().cursor() as cursor:
        timer = threading.Timer(seconds, cursor.interrupt) if seconds else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield cursor
        finally:
            if timer:
                timer.cancel()


def run(sql: str, rows: pa.Table, *, seconds: float | None = SECONDS) -> pa.Table:
    """The result of a query over `rows`, in the order of the rows. InvalidData, one sentence, when it cannot be run."""
    try:
        with _cursor(seconds) as cursor:
            cursor.register("rows", rows)
            return cursor.sql(sql).to_arrow_table()
    except duckdb.InterruptException as error:
        raise InvalidData(f"It took longer than {seconds:g} s and was stopped.") from error
    except duckdb.Error as error:
        raise InvalidData(sentence(error)) from error


def sentence(error: duckdb.Error) -> str:
    """DuckDB's first line, without its class and the echo of the query."""
    first = str(error).strip().split("\n")[0]
    kind, _, rest = first.partition("Error: ")
    return (rest if rest and len(kind) < 40 else first).rstrip(".") + "."


def check_expression(sql: str, columns: Sequence[str]) -> frozenset[str]:
    """The columns that an expression reads. InvalidData, one sentence, for all that is not one scalar expression."""
    tree = _statement(f"(\n{sql}\n)")
    shape = _statement("(1)")
    found = tree["node"].pop("select_list")
    shape["node"].pop("select_list")
    if len(found) != 1 or _bare(tree) != _bare(shape):
        raise InvalidData("Write one expression that gives one value for a row, such as amount_minor / 100.")
    read: set[str] = set()
    _walk(found[0], {name.lower(): name for name in columns}, read)
    return frozenset(read)


def _statement(expression: str) -> dict[str, Any]:
    text = f'SELECT {expression} AS "__value" FROM rows'
    with _cursor(None) as cursor:
        row = cursor.execute("SELECT json_serialize_sql(?)", [text]).fetchone()
    assert row is not None
    answer = json.loads(row[0])
    if answer["error"]:
        raise InvalidData(f"The expression cannot be read: {answer['error_message'].splitlines()[0]}.")
    if len(answer["statements"]) != 1:
        raise InvalidData("Write one expression; there is a ; in it.")
    statement: dict[str, Any] = answer["statements"][0]
    return statement


def _bare(node: Any) -> Any:
    """The tree without the places of its words in the text."""
    if isinstance(node, Mapping):
        return {key: _bare(value) for key, value in node.items() if key != "query_location"}
    return [_bare(value) for value in node] if isinstance(node, list) else node


def _walk(node: Any, columns: Mapping[str, str], read: set[str]) -> None:
    if isinstance(node, list):
        for item in node:
            _walk(item, columns, read)
    if not isinstance(node, Mapping):
        return
    if "class" in node:
        _allow(node, columns, read)
    for value in node.values():
        _walk(value, columns, read)


def _allow(node: Mapping[str, Any], columns: Mapping[str, str], read: set[str]) -> None:
    kind, form = node["class"], node.get("type")
    forms = _NODES.get(kind)
    if kind not in _NODES or (forms is not None and form not in forms):
        what = {"SUBQUERY": "a subquery", "STAR": "*", "WINDOW": "a window function", "LAMBDA": "a lambda"}
        raise InvalidData(f"An expression cannot have {what.get(kind, str(form or kind).lower().replace('_', ' '))}.")
    if kind == "FUNCTION":
        name = str(node["function_name"]).lower()
        plain = (
            not node.get("schema") and not node.get("catalog") and not node.get("distinct") and not node.get("filter")
        )
        if name not in FUNCTIONS or not plain:
            raise InvalidData(f"The function {name} cannot be used here.")
    elif kind == "COLUMN_REF":
        name = ".".join(node["column_names"])
        known = columns.get(name.lower())
        if known is None:
            raise InvalidData(f"There is no column {name} at this step.")
        if len(node["column_names"]) > 1:
            raise InvalidData(f'Write the name in quotation marks: "{known}".')
        read.add(known)
    elif kind == "TYPE" and str(node["type_name"]).lower() not in _TYPES:
        raise InvalidData(f"An expression cannot change a type to {str(node['type_name']).lower()}.")
