"""Files and the lake as portfolios: what is a fraud, what is genuine, what is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from services import backtest
from services.backtest_engine import PlanEngine
from services.backtest_protocol import Request
from services.backtest_source import read_file, read_lake
from services.domain.mapping import read_mapping
from services.errors import InvalidData, NotFound
from services.lake import Lake
from tests.unit import small_portfolio

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")


class Tables:
    """The reader of a lake that holds these rows."""

    def __init__(self, transactions: list[dict[str, Any]], labels: list[dict[str, Any]]) -> None:
        self._rows = {"transactions": transactions, "labels": labels}

    def state(self, name: str) -> Any:
        rows = self._rows["transactions"]
        return type("State", (), {"snapshot_id": 5, "rows": len(rows), "position": {}}) if rows else None

    def read(self, name: str, *, columns: Any = None, **_: Any) -> pa.Table:
        rows = self._rows["labels" if name.endswith("labels") else "transactions"]
        names = columns or list(rows[0])
        return pa.table({column: pa.array([row[column] for row in rows], _type(column)) for column in names})


def _type(column: str) -> pa.DataType:
    if column.endswith(("_time", "_at")):
        return INSTANT
    if column.endswith(("lon", "lat")):
        return pa.float64()
    return pa.int64() if column == "amount_minor" else pa.string()


def payment(number: int, day: float, **changes: Any) -> dict[str, Any]:
    empty = ("device_id", "home_country", "merchant_lon", "merchant_lat", "home_lon", "home_lat")
    at = START + timedelta(days=day)
    return {
        **dict.fromkeys(empty), "transaction_id": f"t{number:05}", "event_time": at, "received_at": at,
        "amount_minor": 1_000, "currency": "EUR", "customer_id": f"c{number % 7}", "merchant_id": f"m{number % 5}",
        "terminal_id": f"T{number % 5}", "channel": ("pos", "ecom")[number % 2], "entry_mode": "chip",
        "category": ("food", "fuel")[number % 2], "merchant_country": "DE", "issuer_country": "DE", **changes,
    }  # fmt: skip


def verdict(of: dict[str, Any], value: str, day: float) -> dict[str, Any]:
    return {"label_id": f"{of['transaction_id']}:{day}", "transaction_id": of["transaction_id"], "value": value,
            "labelled_at": START + timedelta(days=day)}  # fmt: skip


def test_the_lakes_latest_verdicts_count_and_silence_is_genuine_after_the_delay() -> None:
    rows = [payment(n, n) for n in range(6)]
    labels = [verdict(rows[0], "genuine", 2), verdict(rows[0], "fraud", 3), verdict(rows[1], "inconclusive", 3)]
    now = START + timedelta(days=10)
    data, notes = read_lake(Lake(Tables(rows, labels)), None, now=now, delay_days=6)  # type: ignore[arg-type]
    assert not notes
    assert data.labels.tolist() == [1, -1, 0, 0, 0, -1]


def test_an_empty_lake_says_so() -> None:
    with pytest.raises(NotFound, match="The lake has no"):
        read_lake(Lake(Tables([], [])), None, now=START, delay_days=7)  # type: ignore[arg-type]


def test_the_desks_own_transactions_are_backtested_by_channel_and_category() -> None:
    r = np.random.default_rng(4)
    rows = [
        payment(n, n / 60, amount_minor=int(r.integers(500, 2_000)), customer_id=f"c{r.integers(300)}")
        for n in range(2_400)
    ]
    frauds = [row for row in rows if r.random() < 0.06]
    for row in frauds:
        row["amount_minor"] *= 2
    lake = Lake(Tables(rows, [verdict(row, "fraud", 30) for row in frauds]))  # type: ignore[arg-type]
    data, _ = read_lake(lake, None, now=START + timedelta(days=60), delay_days=7)
    first = (START + timedelta(days=30)).date()
    asked = Request(first, first + timedelta(days=6), train_days=14)
    report = backtest.run(data, PlanEngine(None), asked, source="lake", threads=1)
    assert report.believable, report.checks
    assert {one.dimension for one in report.segments} == {"Amount", "Category", "Channel", "Merchant country"}
    assert (report.mean()["ap"] or 0) > 0.15


def test_rows_left_out_and_repeated_ids_of_a_file_are_noted(tmp_path: Path) -> None:
    made = small_portfolio.columns(days=3, a_day=20)
    made["amount"][4] = "a lot"
    made["id"][10] = made["id"][11]
    names = list(made)
    lines = [",".join(names), *(",".join(str(made[name][i]) for name in names) for i in range(60))]
    (tmp_path / "payments.csv").write_text("\n".join(lines))
    data, notes = read_file(tmp_path / "payments.csv", small_portfolio.mapping())
    assert len(data) == 59
    assert notes[0].startswith("1 rows were left out because of problems, such as: row 5, amount")
    assert notes[1].startswith("1 rows repeat the id")


def test_a_mapping_without_a_label_is_refused(tmp_path: Path) -> None:
    text = small_portfolio.MAPPING
    unlabelled = text[: text.index("[label]")] + text[text.index("[features.kind]") :]
    with pytest.raises(InvalidData, match="no \\[label\\]"):
        read_file(tmp_path / "nothing.csv", read_mapping(unlabelled))
