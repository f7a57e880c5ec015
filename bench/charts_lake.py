"""A lake of any size for `bench charts`: real tables on a real S3 server, made-up transactions, the curator's rollup.

A year of days is cut from a few days that are made in full; each gets its own times and ids. The rollup of those days
is the curator's own. So 100 million transactions are written in minutes, and every query reads what it would read.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from embedded.s3_server import find_rclone
from services.adapters import aws
from services.adapters.iceberg import IcebergLake, Partition
from services.adapters.iceberg_rollup import prepare_rollup
from services.domain.dimensions import DEFAULT, as_json
from services.errors import Unavailable
from services.lake_schema import RATES_LAYOUT, TIME
from services.settings import Settings
from workers.curator_rates import hourly_rates

DAYS = 365
LAST = date(2026, 10, 31)
# Only so many days of transactions are stored: all that is read. The rollup is of every day.
STORED_DAYS = 120
_MADE_DAYS = 8
_MADE_ON = date(2026, 1, 1)
_ACCESS = {"AWS_ACCESS_KEY_ID": "AKIDBENCH", "AWS_SECRET_ACCESS_KEY": "bench-secret"}
# A year of retail cards: few categories, countries and hours have most of the traffic; 0.3 % fraud, most of it known.
_DAY = """
    WITH drawn AS (
        SELECT n, random() AS a, random() AS b, random() AS c, random() AS d, random() AS e, random() AS f,
               random() AS g, random() AS h, random() AS u, random() AS v, random() AS w FROM range($rows) AS t(n)
    ), placed AS (
        SELECT *, CASE WHEN b < 0.62 THEN 'pos' WHEN b < 0.9 THEN 'ecom' WHEN b < 0.96 THEN 'atm' ELSE 'moto' END
                  AS channel,
               exp(3.2 + 1.2 * sqrt(-2 * ln(1 - f)) * cos(6.283185 * d)) * 100 AS amount,
               (86400000 * (0.5 + 0.3 * (g + h + u - 1.5)))::BIGINT % 86400000 AS ms
        FROM drawn
    )
    SELECT lpad(n::VARCHAR, 7, '0') AS transaction_id,
           $day::TIMESTAMP + to_milliseconds(ms) AS event_time,
           amount::BIGINT AS amount_minor, 'EUR' AS currency,
           'c' || floor(400000 * v * v)::INTEGER AS customer_id,
           'Merchant ' || floor(5000 * w * w)::INTEGER AS merchant_name,
           'category ' || floor(14 * a * a)::INTEGER AS category, channel,
           'country ' || floor(30 * pow(c, 3.5))::INTEGER AS merchant_country,
           CASE WHEN channel IN ('ecom', 'moto') THEN CASE WHEN v < 0.6 THEN 'keyed' ELSE 'stored' END
                WHEN channel = 'atm' THEN 'chip'
                WHEN v < 0.55 THEN 'contactless' WHEN v < 0.9 THEN 'chip' ELSE 'swipe' END AS entry_mode,
           CASE WHEN e < 0.7 THEN 'standard' WHEN e < 0.9 THEN 'premium' ELSE 'business' END AS segment,
           NULL::VARCHAR AS attributes, round(pow(w, 6), 3) AS score,
           CASE WHEN w > 0.995 THEN 'decline' WHEN w > 0.985 THEN 'review' ELSE 'approve' END AS decision,
           CASE WHEN w > 0.985 THEN 'closed' END AS alert_status,
           CASE WHEN (w > 0.99 AND u < 0.25) OR u < 0.001 THEN 'fraud' WHEN w > 0.985 THEN 'genuine' END AS label,
           CASE WHEN w > 0.985 THEN 'analyst' END AS label_source, n AS raw_offset
    FROM placed ORDER BY event_time"""


@dataclass(frozen=True)
class MadeLake:
    """`files`: where the server keeps the transactions of a day, for the peers that read them without it."""

    settings: Settings
    tables: IcebergLake
    data: Path

    def day_files(self, first: date, last: date) -> list[str]:
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        return sorted(str(p) for day in days for p in (self.data / f"event_time_day={day}").glob("*.parquet"))


@contextmanager
def s3_server(folder: Path) -> Iterator[None]:
    """rclone over a folder; the standard variables point to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "bench").mkdir(parents=True)
    command = [str(find_rclone()), "serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--config", ""]
    process = subprocess.Popen(
        [*command, "--vfs-cache-mode", "off", "--no-cleanup", "--poll-interval", "0"],
        env={**os.environ, "RCLONE_AUTH_KEY": f'"{",".join(_ACCESS.values())}"'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.environ.update(_ACCESS)
    os.environ.update(
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
        AWS_REGION="eu-central-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_REQUEST_CHECKSUM_CALCULATION="when_required",
        AWS_RESPONSE_CHECKSUM_VALIDATION="when_required",
    )
    try:
        client = aws.client("s3", region="eu-central-1", attempts=1)
        for _ in range(100):
            try:
                with aws.translated("S3"):
                    client.list_buckets()
                break
            except Unavailable:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def make(folder: Path, transactions: int) -> MadeLake:
    """A year with this many transactions, in `folder`, which `s3_server` serves."""
    settings = Settings.from_environment(
        {
            "MONGODB_URI": "mongodb://127.0.0.1:1",
            "FRAUD_DESK_BUCKET": "bench",
            "FRAUD_DESK_CATALOG": f"sqlite:///{folder / f'catalog-{transactions}.db'}",
            "AWS_REGION": "eu-central-1",
        }
    )
    tables = IcebergLake(settings, patient=True)
    tables.ensure()
    prepare_rollup(tables, [dimension.key for dimension in DEFAULT])
    made = [_made_day(transactions // DAYS, number) for number in range(_MADE_DAYS)]
    rollups = [hourly_rates(day, datetime(2026, 1, 2, tzinfo=UTC)) for day in made]
    place = {"partitions": {}, "cluster_time": f"{LAST}T23:59:59+00:00", "next_offset": transactions}
    snapshot = tables.replace(
        "transactions", _year(made, "event_time", STORED_DAYS), {"fraud.transactions": place}, expected_snapshot=None
    )
    position: dict[str, Any] = {"transactions_snapshot": snapshot, "current_to": None, "layout": RATES_LAYOUT}
    position["dimensions"] = as_json(DEFAULT)
    tables.replace("rates_hourly", _year(rollups, "hour", DAYS), position, expected_snapshot=None)
    return MadeLake(settings, tables, folder / "bench" / "warehouse" / "fraud" / "transactions" / "data")


def _made_day(rows: int, number: int) -> pa.Table:
    with duckdb.connect(config={"threads": 2}) as db:
        db.execute(f"SELECT setseed({(number + 1) / 100})").fetchall()
        made = db.sql(_DAY, params={"rows": rows, "day": str(_MADE_ON)}).to_arrow_table()
    at = made.schema.get_field_index("event_time")
    made = made.set_column(
        at, pa.field("event_time", TIME, False), made["event_time"].cast(pa.timestamp("us")).cast(TIME)
    )
    return made.append_column(pa.field("cluster_time", TIME, False), made["event_time"])


def _year(made: list[pa.Table], time_column: str, days: int) -> Iterator[tuple[list[Partition], pa.Table]]:
    """The last `days` of the year."""
    for number in range(DAYS - days, DAYS):
        day = LAST - timedelta(days=DAYS - 1 - number)
        rows = made[number % len(made)]
        at = rows.schema.get_field_index(time_column)
        moved = pc.add(rows[time_column], pa.scalar(day - _MADE_ON, pa.duration("us")))
        rows = rows.set_column(at, rows.schema.field(at), moved)
        if "transaction_id" in rows.column_names:
            ids = pc.binary_join_element_wise(pa.scalar(f"{day:%Y%m%d}"), rows["transaction_id"], pa.scalar("-"))
            rows = rows.set_column(0, pa.field("transaction_id", pa.string(), False), ids)
        yield [], rows
