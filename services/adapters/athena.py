"""Amazon Athena as the engine of the lake's queries: the same text, translated, on the same snapshot.

sqlglot turns DuckDB's SQL into Athena's; it is imported only here, when the first query is asked. Results are read as
the file Athena leaves in S3, not a thousand rows at a time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from services.adapters import aws
from services.errors import Unavailable
from services.lake import StoredPartition
from services.lake_queries import LakeQuery

# A query that takes longer is stopped: a person is waiting for it.
LIMIT_SECONDS = 30.0
_READ_SECONDS, _ATTEMPTS = 2.0, 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.15, 1.0
_NAME = "Athena"
# A text in quotes, or a parameter outside of them.
_TOKEN = re.compile(r"'(?:[^']|'')*'|:([a-z][a-z0-9_]*)")
_TYPES: Mapping[str, pa.DataType] = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "varchar": pa.string(),
}


class AthenaEngine:
    """Satisfies `services.lake_engine.Engine`. Safe to share between threads.

    Raises Unavailable(dependency="Athena") when it does not answer, is too busy, fails, or takes LIMIT_SECONDS.
    """

    # Each question costs seconds and money: charts follow the lake less closely than where DuckDB reads it.
    recheck_seconds = 60.0

    def __init__(
        self,
        *,
        region: str,
        workgroup: str,
        database: str,
        output: str = "",
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`output`: the S3 address of results where the workgroup does not set it."""
        self._athena = aws.client("athena", region=region, read_seconds=_READ_SECONDS, attempts=_ATTEMPTS)
        self._s3 = aws.client("s3", region=region, read_seconds=10.0, attempts=2)
        self._workgroup, self._database, self._output = workgroup, database, output
        self._sleep, self._monotonic = sleep, monotonic

    def run(self, query: LakeQuery, days: Sequence[StoredPartition], snapshot_id: int) -> pa.Table:
        """`days` are in the query's own range: Athena prunes by that."""
        text, values = compiled(query, snapshot_id)
        asked: dict[str, Any] = {
            "QueryString": text,
            "QueryExecutionContext": {"Database": self._database},
            "WorkGroup": self._workgroup,
        }
        if values:
            asked["ExecutionParameters"] = values
        if self._output:
            asked["ResultConfiguration"] = {"OutputLocation": self._output}
        with aws.translated(_NAME):
            identifier = self._athena.start_query_execution(**asked)["QueryExecutionId"]
            location = self._finished(identifier)
            columns = self._columns(identifier)
        with aws.translated("S3"):
            bucket, _, key = location.removeprefix("s3://").partition("/")
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                return read_result(body.read(), columns)

    def _finished(self, identifier: str) -> str:
        """Where the result is, once there is one."""
        until, pause = self._monotonic() + LIMIT_SECONDS, _FIRST_PAUSE
        while True:
            execution = self._athena.get_query_execution(QueryExecutionId=identifier)["QueryExecution"]
            status = execution["Status"]
            if status["State"] == "SUCCEEDED":
                return str(execution["ResultConfiguration"]["OutputLocation"])
            if status["State"] in ("FAILED", "CANCELLED"):
                reason = str(status.get("StateChangeReason", "no reason given")).rstrip(".")
                raise Unavailable(f"Athena could not run a query of the lake: {reason}.", dependency=_NAME)
            if self._monotonic() >= until:
                self._athena.stop_query_execution(QueryExecutionId=identifier)
                sentence = f"Athena did not finish within {LIMIT_SECONDS:.0f} seconds; ask for a shorter range."
                raise Unavailable(sentence, dependency=_NAME)
            self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _columns(self, identifier: str) -> list[tuple[str, str]]:
        """Names and types of the result."""
        page = self._athena.get_query_results(QueryExecutionId=identifier, MaxResults=1)
        return [(c["Name"], c["Type"]) for c in page["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]]


def compiled(query: LakeQuery, snapshot_id: int) -> tuple[str, list[str]]:
    """The query in Athena's SQL with a ? for each parameter, and their values as literals, in order."""
    import sqlglot
    from sqlglot import exp

    tree = sqlglot.parse_one(query.sql, read="duckdb")
    for table in tree.find_all(exp.Table):
        if table.name == query.table:
            version = exp.Version(this="VERSION", kind="AS OF", expression=exp.Literal.number(snapshot_id))
            table.set("version", version)
    values: list[str] = []

    def placed(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return found.group()
        values.append(_literal(query.parameters[found.group(1)]))
        return "?"

    return _TOKEN.sub(placed, tree.sql("athena")), values


def read_result(body: bytes, columns: Sequence[tuple[str, str]]) -> pa.Table:
    """Athena's CSV: every value in quotes, nothing at all for null, times as text in UTC."""
    types = {name: _TYPES.get(kind, pa.string()) for name, kind in columns}
    options = csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    rows = csv.read_csv(pa.BufferReader(body), convert_options=options)
    for number, (name, kind) in enumerate(columns):
        if kind.startswith("timestamp"):
            times = pc.replace_substring(rows[name], " UTC", "").cast(pa.timestamp("us"))
            rows = rows.set_column(number, name, times)
    return rows


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
