"""Files that leave the desk. CSV is for people who open it in a spreadsheet: a cell that would be read as a formula is
made text first. Parquet is for programs: values as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from services.domain.own_columns import own_columns
from services.transactions import QueueFilter, QueueRow, Sort, Transactions

MAX_EXPORT_ROWS = 5000
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\x00", " ")
COLUMNS = (
    "transaction_id", "event_time", "received_at", "amount", "currency", "customer_id", "card_last4", "merchant_name",
    "category", "country", "channel", "entry_mode", "score", "decision", "top_reason", "alert_status", "due_at",
    "label", "label_source", "model_version",
)  # fmt: skip


def cell(value: object) -> str:
    """Text that a spreadsheet shows as it is. Numbers stay numbers, the only cells that may begin with a minus."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    text = str(value).replace("\x00", "")
    return f"'{text}" if str(value).startswith(_DANGEROUS) else text


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """UTF-8 with a byte-order mark, which spreadsheets need to read names with accents."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([[cell(value) for value in row] for row in rows])
    return ("\N{BYTE ORDER MARK}" + out.getvalue()).encode()


def to_parquet(frame: pd.DataFrame) -> bytes:
    """The frame with its types, zones of times included; no index."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), out)
    return out.getvalue()


def queue_record(row: QueueRow, own: Sequence[str] = ()) -> tuple[object, ...]:
    """One row in the order of COLUMNS, then the columns `own` of the data's mapping; the amount in major units as text
    with a point."""
    told = dict(row.own)
    return (
        row.transaction_id, row.event_time.isoformat(), row.received_at.isoformat(),
        round(row.amount_minor / 10**row.exponent, row.exponent), row.currency, row.customer_id, row.card_last4,
        row.merchant_name, row.category, row.country, row.channel, row.entry_mode, row.score, row.decision,
        row.top_reason, row.alert_status, row.due_at.isoformat() if row.due_at else None, row.label, row.label_source,
        row.model_version, *(told.get(key) for key in own),
    )  # fmt: skip


def queue_csv(transactions: Transactions, filters: QueueFilter, sort: Sort) -> bytes:
    """The filter's rows in the shown order, at most MAX_EXPORT_ROWS. Raises like `Transactions.page`."""
    rows: list[QueueRow] = []
    cursor: str | None = None
    while len(rows) < MAX_EXPORT_ROWS:
        page = transactions.page(filters, sort=sort, cursor=cursor, limit=min(500, MAX_EXPORT_ROWS - len(rows)))
        rows.extend(page.rows)
        cursor = page.next_cursor
        if cursor is None:
            break
    own = [column.key for column in own_columns(transactions.mapping)]
    return to_csv((*COLUMNS, *own), (queue_record(row, own) for row in rows))
