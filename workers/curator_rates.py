"""Transactions of some days -> the rows of `rates_hourly` for these days. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa

from services.lake_schema import AMOUNT_BANDS, DIMENSIONS, MATURITY_DAYS, RATES_HOURLY, UNKNOWN

# The columns of `transactions` a rollup reads.
INPUT = (
    "event_time",
    "amount_minor",
    "category",
    "channel",
    "merchant_country",
    "entry_mode",
    "segment",
    "alert_status",
    "label",
)

_BANDS = " ".join(
    f"WHEN amount_minor < {bound} THEN '{name}'" if bound is not None else f"ELSE '{name}'"
    for bound, name in AMOUNT_BANDS
)
_QUERY = f"""
    SELECT date_trunc('hour', event_time) AS hour,
           coalesce(category, '{UNKNOWN}') AS category,
           coalesce(channel, '{UNKNOWN}') AS channel,
           coalesce(merchant_country, '{UNKNOWN}') AS country,
           coalesce(entry_mode, '{UNKNOWN}') AS entry_mode,
           coalesce(segment, '{UNKNOWN}') AS segment,
           CASE {_BANDS} END AS amount_band,
           count(*) AS transactions,
           sum(amount_minor)::BIGINT AS amount_minor,
           count(*) FILTER (alert_status IS NOT NULL) AS alerted,
           coalesce(sum(amount_minor) FILTER (alert_status IS NOT NULL), 0)::BIGINT AS alerted_amount_minor,
           count(*) FILTER (label = 'fraud') AS fraud,
           coalesce(sum(amount_minor) FILTER (label = 'fraud'), 0)::BIGINT AS fraud_amount_minor,
           count(*) FILTER (label = 'genuine') AS genuine,
           count(*) FILTER (label IS NOT NULL OR event_time < $mature_before) AS matured
    FROM happened
    GROUP BY ALL ORDER BY ALL
"""


def hourly_rates(transactions: pa.Table, now: datetime) -> pa.Table:
    """The rollup in the schema of `rates_hourly`.

    `transactions` has the columns of INPUT. Fraud and genuine are counted by the label known now; a transaction is
    matured when it is labelled (whatever the label says) or happened more than MATURITY_DAYS before `now`.
    """
    names = [field.name for field in RATES_HOURLY]
    assert names[1 : 1 + len(DIMENSIONS)] == list(DIMENSIONS)
    # Without their zone: DuckDB computes with zones only in an extension that would have to be downloaded.
    at = transactions.schema.get_field_index("event_time")
    naive = transactions.set_column(at, "event_time", transactions["event_time"].cast(pa.timestamp("us")))
    mature_before = (now.astimezone(UTC) - timedelta(days=MATURITY_DAYS)).replace(tzinfo=None)
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("happened", naive)
        result = connection.sql(_QUERY, params={"mature_before": mature_before}).to_arrow_table()
    return result.select(names).cast(RATES_HOURLY)
