"""Two tables of the same transactions, MongoDB's and the lake's: are they the same, and where not. Pure.

A row's digest is the last 8 bytes, little-endian, of the MD5 of its compared values in `COLUMNS` order, joined by the
unit separator, an absent value being the record separator. A checksum is the sum of the digests modulo 2^64:
independent of the order, and a row that occurs twice changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from services.lake_schema import TIME, TRANSACTIONS

COLUMNS = (
    "transaction_id", "event_time", "amount_minor", "currency", "customer_id", "merchant_id", "category", "channel",
    "score", "decision", "model_version", "alert_status", "label", "label_source", "version",
)  # fmt: skip
# Of the lake also when MongoDB committed the row; of MongoDB when the document says it came.
LAKE_SCHEMA = pa.schema([TRANSACTIONS.field(name) for name in (*COLUMNS, "cluster_time")])
MONGO_SCHEMA = pa.schema([*(TRANSACTIONS.field(name).with_nullable(True) for name in COLUMNS), ("received_at", TIME)])
_MOST_CONFIRMED = 10_000
_DIGEST = "md5_number_lower(concat_ws(chr(31), {}))".format(
    ", ".join(f"coalesce(cast({name} as varchar), chr(30))" for name in COLUMNS)
)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is compared with what. `lake_to`: MongoDB's commit time of the newest change in the lake's snapshot.

    `mongo_at`: the lake has every change up to here, and MongoDB is read as it was then; None when MongoDB does not
    remember that time, and is read as it is now.
    """

    snapshot_id: int
    lake_to: datetime
    mongo_at: datetime | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not the same. `field` is a column, or "row" where a whole row is only on one side or doubled.

    Values are text as it is compared (times in UTC); None: absent. Never card data: no such column is compared.
    """

    day: date
    transaction_id: str
    field: str
    mongo: str | None
    lake: str | None


@dataclass(frozen=True, slots=True)
class Side:
    """Rows, the sum of their amounts in minor units, and their checksum (16 hexadecimal digits)."""

    rows: int = 0
    amount_minor: int = 0
    checksum: int = 0

    def __add__(self, other: Side) -> Side:
        total = (self.checksum + other.checksum) % 2**64
        return Side(self.rows + other.rows, self.amount_minor + other.amount_minor, total)

    @property
    def hex(self) -> str:
        return f"{self.checksum:016x}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`differing` counts rows (ids); `under_way` are rows changed after the moment, left out of both sides."""

    mongo: Side = Side()
    lake: Side = Side()
    under_way: int = 0
    differing: int = 0
    differences: tuple[Difference, ...] = ()


def compare(
    day: date,
    mongo: pa.Table,
    lake: pa.Table,
    moment: Moment,
    *,
    latest: Callable[[list[str]], pa.Table],
    most: int,
) -> Comparison:
    """Rows of one stretch of time, of MONGO_SCHEMA and LAKE_SCHEMA. At most `most` differences are listed.

    `latest(ids)` reads documents as they are now: a lake that is ahead of the moment for a row is no fault.
    """
    with _tables(mongo, lake) as db:
        _find_differing(db)
        _find_under_way(db, moment, latest)
        return Comparison(
            mongo=_side(db, "m"),
            lake=_side(db, "l"),
            under_way=_count(db, "select count(distinct id) from under_way"),
            differing=_count(
                db, "select count(distinct id) from (select id from wrong union all select id from twice)"
            ),
            differences=tuple(_listed(db, day, most)),
        )


@contextmanager
def _tables(mongo: pa.Table, lake: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as db:
        for name, table in (("m", mongo), ("l", lake)):
            db.register(f"{name}_rows", _plain(table))
            db.execute(
                f"create temp view {name} as select *, transaction_id as id, {_DIGEST} as digest from {name}_rows"
            )
        yield db


def _plain(table: pa.Table) -> pa.Table:
    """Times as whole milliseconds since 1970, so that both sides are written out alike."""
    for index, field in enumerate(table.schema):
        if field.type == TIME:
            column = table.column(index).cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
            table = table.set_column(index, field.name, column)
    return table


def _find_differing(db: duckdb.DuckDBPyConnection) -> None:
    fields = ", ".join(f"m.{name} as m_{name}, l.{name} as l_{name}" for name in COLUMNS)
    db.execute(
        f"create temp table differing as select coalesce(m.id, l.id) as id, m.id is not null as in_mongo, "
        f"l.id is not null as in_lake, l.digest as l_digest, l.cluster_time, m.received_at, {fields} "
        "from m full join l on m.id = l.id where m.digest is distinct from l.digest"
    )
    db.execute("create temp table twice as select id, count(*) as times from l group by id having count(*) > 1")


def _find_under_way(db: duckdb.DuckDBPyConnection, moment: Moment, latest: Callable[[list[str]], pa.Table]) -> None:
    """Differing rows that were changed after the moment, on either side."""
    db.execute("create temp table under_way (id varchar)")
    if moment.mongo_at is not None:
        after = _milliseconds(moment.mongo_at)
        db.execute("insert into under_way select id from differing where in_lake and cluster_time > ?", [after])
    else:  # MongoDB as it is now: whatever is newer there than in the lake is on its way
        since = _milliseconds(moment.lake_to) - 60_000
        db.execute(
            "insert into under_way select id from differing where in_mongo and "
            "(m_version > l_version or (not in_lake and received_at >= ?))",
            [since],
        )
    ahead = db.execute(
        "select distinct id from differing where in_lake and (not in_mongo or l_version > m_version) "
        f"and id not in (select id from under_way) order by id limit {_MOST_CONFIRMED}"
    ).fetchall()
    if ahead:
        db.register("now_rows", _plain(latest([row[0] for row in ahead])))
        db.execute(
            "insert into under_way select d.id from differing d join "
            f"(select transaction_id as id, {_DIGEST} as digest from now_rows) n "
            "on d.id = n.id and d.l_digest = n.digest"
        )
    db.execute("create temp table wrong as select * from differing where id not in (select id from under_way)")


def _side(db: duckdb.DuckDBPyConnection, name: str) -> Side:
    row = db.execute(
        f"select count(*), coalesce(sum(amount_minor), 0), coalesce(sum(digest), 0) % 18446744073709551616 "
        f"from {name} where id not in (select id from under_way)"
    ).fetchone()
    assert row is not None
    return Side(int(row[0]), int(row[1]), int(row[2]))


def _count(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = db.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def _listed(db: duckdb.DuckDBPyConnection, day: date, most: int) -> Iterator[Difference]:
    left = most
    for key, times in db.execute(f"select id, times from twice order by id limit {max(left, 0)}").fetchall():
        left -= 1
        yield Difference(day, key, "row", "once", f"{times} times")
    found = db.execute(f"select * from wrong order by id limit {max(left, 0)}")
    names = [column[0] for column in found.description or ()]
    for values in found.fetchall():
        row = dict(zip(names, values, strict=True))
        for difference in _of_row(day, row):
            if left <= 0:
                return
            left -= 1
            yield difference


def _of_row(day: date, row: dict[str, Any]) -> Iterator[Difference]:
    if not row["in_lake"]:
        yield Difference(day, row["id"], "row", "there", None)
    elif not row["in_mongo"]:
        yield Difference(day, row["id"], "row", None, "there")
    else:
        for name in COLUMNS:
            if row[f"m_{name}"] != row[f"l_{name}"]:
                yield Difference(day, row["id"], name, _text(name, row[f"m_{name}"]), _text(name, row[f"l_{name}"]))


def _text(name: str, value: Any) -> str | None:
    if value is None or name != "event_time":
        return None if value is None else str(value)
    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds")


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
