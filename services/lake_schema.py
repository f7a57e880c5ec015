"""The lake's tables: columns, keys, partitions, and the vocabulary of the raw zone that feeds them.

Everything here is fixed by docs/contracts.md. Schemas grow by adding columns at the end, never by changing one.
All times are UTC with microseconds in the file and milliseconds in practice; money is an integer of minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from services.domain import dimensions
from services.domain.dimensions import AMOUNT_BANDS as AMOUNT_BANDS
from services.domain.dimensions import UNKNOWN as UNKNOWN

NAMESPACE = "fraud"
TRANSACTIONS_TOPIC = "fraud.transactions"
LABELS_TOPIC = "fraud.labels"
RAW_ROOT = "raw/topics"
QUARANTINE_ROOT = "quarantine"
# The key of the folded position in the summary of a snapshot.
POSITION_PROPERTY = "fraud-desk.position"

TIME = pa.timestamp("us", tz="UTC")

TRANSACTIONS = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        ("received_at", TIME),
        ("amount_minor", pa.int64()),
        ("currency", pa.string()),
        ("customer_id", pa.string()),
        ("home_country", pa.string()),
        ("home_lon", pa.float64()),
        ("home_lat", pa.float64()),
        ("segment", pa.string()),
        ("card_token", pa.string()),
        ("card_bin", pa.string()),
        ("card_last4", pa.string()),
        ("card_network", pa.string()),
        ("card_type", pa.string()),
        ("issuer_country", pa.string()),
        ("merchant_id", pa.string()),
        ("merchant_name", pa.string()),
        ("mcc", pa.string()),
        ("category", pa.string()),
        ("merchant_country", pa.string()),
        ("merchant_lon", pa.float64()),
        ("merchant_lat", pa.float64()),
        ("terminal_id", pa.string()),
        ("channel", pa.string()),
        ("entry_mode", pa.string()),
        ("device_id", pa.string()),
        ("device_ip", pa.string()),
        ("email_domain", pa.string()),
        ("user_agent_family", pa.string()),
        ("attributes", pa.string()),
        ("score", pa.float64()),
        ("decision", pa.string()),
        ("review_threshold", pa.float64()),
        ("model_version", pa.string()),
        ("scored_at", TIME),
        ("alert_status", pa.string()),
        ("alert_opened_at", TIME),
        ("label", pa.string()),
        ("label_source", pa.string()),
        ("labelled_at", TIME),
        ("version", pa.int64()),
        pa.field("cluster_time", TIME, nullable=False),
        pa.field("raw_offset", pa.int64(), nullable=False),
    ]
)

LABELS = pa.schema(
    [
        pa.field("label_id", pa.string(), nullable=False),
        ("transaction_id", pa.string()),
        ("customer_id", pa.string()),
        ("merchant_id", pa.string()),
        ("device_id", pa.string()),
        ("event_time", TIME),
        ("amount_minor", pa.int64()),
        ("value", pa.string()),
        ("source", pa.string()),
        pa.field("labelled_at", TIME, nullable=False),
        ("labelled_by", pa.string()),
        pa.field("cluster_time", TIME, nullable=False),
        pa.field("raw_offset", pa.int64(), nullable=False),
    ]
)

# What the rollup sums: counts, minor units, and (doubles) minor units squared, for the spread of amounts.
MEASURES = (
    "transactions",
    "amount_minor",
    "alerted",
    "alerted_amount_minor",
    "fraud",
    "fraud_amount_minor",
    "genuine",
    "matured",
)
SQUARES = ("amount_squared", "fraud_amount_squared")
# The cuboid of the smallest cells there are: quarter hours (`hour` and `minute`) by every dimension.
CELLS = "cells"
# A day of at least so many cells also has cuboids: sums of the whole UTC day by up to so many dimensions, and by all.
CUBOID_ROWS = 20_000
CUBOID_DIMENSIONS = 3
# Raised when the layout of the rollup changes: whoever finds another one builds it anew.
RATES_LAYOUT = 2


def rates_schema(keys: Sequence[str]) -> pa.Schema:
    """Columns of `rates_hourly` for these dimensions."""
    return pa.schema(
        [
            pa.field("hour", TIME, nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in keys),
            *(pa.field(name, pa.int64(), nullable=False) for name in MEASURES),
            pa.field("minute", pa.int32(), nullable=False),
            pa.field("cuboid", pa.string(), nullable=False),
            *(pa.field(name, pa.float64(), nullable=False) for name in SQUARES),
        ]
    )


# The dimensions of a data set without a mapping of its own.
DIMENSIONS = tuple(dimension.key for dimension in dimensions.DEFAULT)
RATES_HOURLY = rates_schema(DIMENSIONS)

# Fraud is reported late: a transaction's label is complete once it is known, or so many days after the UTC day it
# happened on.
MATURITY_DAYS = 90


class PartitionBy(StrEnum):
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class LakeTable:
    """One Iceberg table: where it lies, what identifies a row, and the time column its partitions are cut from."""

    name: str
    schema: pa.Schema
    key: str | None
    time_column: str
    partition_by: PartitionBy


TRANSACTIONS_TABLE = LakeTable("transactions", TRANSACTIONS, "transaction_id", "event_time", PartitionBy.DAY)
LABELS_TABLE = LakeTable("labels", LABELS, "label_id", "labelled_at", PartitionBy.MONTH)
RATES_TABLE = LakeTable("rates_hourly", RATES_HOURLY, None, "hour", PartitionBy.DAY)
TABLES = {table.name: table for table in (TRANSACTIONS_TABLE, LABELS_TABLE, RATES_TABLE)}
