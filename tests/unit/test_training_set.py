"""Which rows a model learns from, with which labels, and what is written for the job."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.errors import InvalidData
from services.features import DEMO
from services.training_files import write
from services.training_set import TrainingSet, build, check_features, columns_of

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
NAMES = list(DEMO.names)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def transaction(key: str, on: float, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": key,
        "event_time": day(on),
        "received_at": day(on),
        "amount_minor": 1_000,
        "customer_id": "c",
        "merchant_id": "m",
        "terminal_id": "T",
        "device_id": None,
        "channel": "pos",
        "entry_mode": "chip",
        "category": "grocery",
        "merchant_country": "DE",
        "home_country": None,
        "issuer_country": "DE",
        "merchant_lon": None,
        "merchant_lat": None,
        "home_lon": None,
        "home_lat": None,
        **changes,
    }


def label(of: dict[str, Any], value: str, known: float, *, source: str = "analyst") -> dict[str, Any]:
    return {
        "label_id": f"{of['transaction_id']}:{source}:{known}",
        "transaction_id": of["transaction_id"],
        "customer_id": of["customer_id"],
        "merchant_id": of["merchant_id"],
        "device_id": of["device_id"],
        "event_time": of["event_time"],
        "amount_minor": of["amount_minor"],
        "value": value,
        "source": source,
        "labelled_at": day(known),
    }


TRANSACTIONS = pa.schema(
    [
        (name, INSTANT if name.endswith(("_time", "_at")) else pa.int64() if name == "amount_minor" else pa.string())
        if not name.endswith(("lon", "lat"))
        else (name, pa.float64())
        for name in columns_of(DEMO)
    ]
)
LABELS = pa.schema(
    [
        *((name, pa.string()) for name in ("label_id", "transaction_id", "customer_id", "merchant_id", "device_id")),
        ("event_time", INSTANT),
        ("amount_minor", pa.int64()),
        ("value", pa.string()),
        ("source", pa.string()),
        ("labelled_at", INSTANT),
    ]
)


def history(days: int = 40) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Four transactions a day; the dear one of each second day is a fraud, known the day after."""
    transactions, labels = [], []
    for d in range(days):
        for n in range(4):
            dear = n == 3 and d % 2 == 0
            key = f"t{d:02}-{n}"
            transactions.append(transaction(key, d + n / 10, amount_minor=9_000 if dear else 1_000 + d))
            if dear:
                labels.append(label(transactions[-1], "fraud", d + 1))
    return transactions, labels


def made(transactions: list[dict[str, Any]], labels: list[dict[str, Any]], **changes: Any) -> TrainingSet:
    given: dict[str, Any] = {"window_start": day(5), "window_end": day(40), "label_cutoff": day(60), **changes}
    return build(pa.Table.from_pylist(transactions, TRANSACTIONS), pa.Table.from_pylist(labels, LABELS), **given)


def by_id(data: TrainingSet) -> dict[str, dict[str, Any]]:
    return {row["transaction_id"]: row for row in data.rows.to_pylist()}


def test_the_window_is_half_open_and_rows_are_in_time_order() -> None:
    transactions, labels = history()
    data = made(list(reversed(transactions)), labels, window_start=day(5), window_end=day(39))
    rows = data.rows.to_pylist()
    assert rows[0]["transaction_id"] == "t05-0"
    assert rows[-1]["transaction_id"] == "t38-3"
    assert [r["event_time"] for r in rows] == sorted(r["event_time"] for r in rows)
    assert data.matrix.shape == (len(rows), len(NAMES))
    assert data.matrix.dtype == np.float32
    assert data.labels.tolist() == [int(r["label"]) for r in rows]
    assert data.schema == {"features_version": DEMO.version, "features": NAMES}


def test_history_before_the_window_is_looked_back_on() -> None:
    data = made(*history())
    # Day 5 at midnight: day 4's four are within 24 hours; frauds of days 0, 2 and, at this moment, 4 are known.
    first = dict(zip(NAMES, data.matrix[0].tolist(), strict=True))
    assert first["customer_count_24h"] == 4
    assert first["terminal_frauds_28d"] == 3
    assert first["customer_tenure_days"] == 5.0


def test_labels_follow_the_latest_verdict_known_at_the_cutoff() -> None:
    transactions, labels = history()
    t = {row["transaction_id"]: row for row in transactions}
    labels += [
        label(t["t10-0"], "fraud", 12),
        label(t["t10-0"], "genuine", 14),  # a changed mind
        label(t["t10-1"], "genuine", 12),
        label(t["t10-1"], "fraud", 45, source="chargeback"),  # after the cut-off
        label(t["t10-2"], "inconclusive", 12),
        label(t["t11-0"], "genuine", 12),
        label(t["t11-0"], "fraud", 44, source="chargeback"),  # at the cut-off
    ]
    rows = by_id(made(transactions, labels, label_cutoff=day(44)))
    assert [rows[k]["label"] for k in ("t10-0", "t10-1", "t10-2", "t11-0", "t11-1")] == [0, 0, None, 1, 0]
    assert rows["t10-2"]["split"] == "excluded"
    assert rows["t10-2"]["label_source"] == "analyst"
    assert (rows["t11-0"]["label_source"], rows["t11-0"]["labelled_at"]) == ("chargeback", day(44))
    assert (rows["t11-1"]["label_source"], rows["t11-1"]["labelled_at"]) == (None, None)


def test_without_a_verdict_only_mature_transactions_are_genuine() -> None:
    transactions, labels = history()
    rows = by_id(made(transactions, labels, label_cutoff=day(40), maturity_days=7))
    assert rows["t33-0"]["label"] == 0  # exactly seven days old
    assert rows["t33-1"]["label"] is None
    assert rows["t34-3"]["label"] == 1  # known, however young
    excluded = [r for r in rows.values() if r["split"] == "excluded"]
    assert all(r["label"] is None for r in excluded)


def test_the_last_fifth_of_the_time_is_validation() -> None:
    data = made(*history())
    rows = data.rows.to_pylist()
    # Included from day 5 to day 39.3: the last fifth begins at 39.3 - 0.2 x 34.3 = 32.44.
    assert {r["split"] for r in rows if r["event_time"] < day(32.44)} == {"train"}
    assert {r["split"] for r in rows if r["event_time"] >= day(32.44)} == {"validation"}
    matrix, labels = data.part("validation")
    assert len(matrix) == len(labels) == sum(r["split"] == "validation" for r in rows)
    np.testing.assert_array_equal(matrix, data.matrix[-len(matrix) :])


def test_young_rows_teach_the_last_fit_only_and_never_measure() -> None:
    # Mature until day 33: of the seven days after it only frauds are known.
    data = made(*history(), label_cutoff=day(40), maturity_days=7)
    rows = by_id(data)
    young = {key for key, r in rows.items() if r["event_time"] > day(33) and r["label"] is not None}
    assert young == {"t34-3", "t36-3", "t38-3"} == {key for key, r in rows.items() if r["split"] == "young"}
    assert data.part("young")[1].tolist() == [1, 1, 1]
    # The last fifth of day 5 to day 33 begins at 27.4.
    measured = [r["event_time"] for r in rows.values() if r["split"] == "validation"]
    assert (min(measured), max(measured)) == (day(28), day(33))


def test_where_nothing_is_mature_the_latest_verdicts_measure() -> None:
    transactions, labels = history()
    labels += [label(row, "genuine", 40) for row in transactions if row["transaction_id"][-1] in "01"]
    data = made(transactions, labels, label_cutoff=day(60), maturity_days=60)
    splits = [r["split"] for r in data.rows.to_pylist() if r["label"] is not None]
    assert splits == sorted(splits, key=("train", "validation").index)
    assert set(splits) == {"train", "validation"}


def test_a_verdict_after_a_transaction_never_changes_its_vector() -> None:
    transactions, labels = history()
    early = made(transactions, [x for x in labels if x["labelled_at"] != day(31)])
    late = made(transactions, labels)
    before = [i for i, r in enumerate(late.rows.to_pylist()) if r["event_time"] < day(31)]
    np.testing.assert_array_equal(early.matrix[before], late.matrix[before])
    assert not np.array_equal(early.matrix, late.matrix, equal_nan=True)


def test_transactions_after_the_window_and_labels_after_the_cutoff_are_not_there() -> None:
    transactions, labels = history()
    whole = made(transactions, labels, window_end=day(30), label_cutoff=day(35))
    cut = made(
        [t for t in transactions if t["event_time"] < day(30)],
        [x for x in labels if x["labelled_at"] <= day(35)],
        window_end=day(30),
        label_cutoff=day(35),
    )
    np.testing.assert_array_equal(whole.matrix, cut.matrix)
    assert whole.rows.equals(cut.rows)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window_start": day(50), "window_end": day(55)}, "The window holds no transactions."),
        ({"window_start": day(9), "window_end": day(9)}, "The window must end after it starts."),
        ({"validation_share": 1.0}, "The validation share must lie between 0 and 1"),
        ({"window_start": day(39), "label_cutoff": day(39.2)}, "None of the 4 transactions of the window has a label"),
        ({"window_start": day(35)}, "The window holds 2 known frauds among 20 usable transactions; at least 10"),
        ({"validation_share": 0.001}, "Split by time, the later part of the window has 0 frauds among 1"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_before_a_job_starts(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidData) as caught:
        made(*history(), **changes)
    assert caught.value.message.startswith(sentence)


def test_only_frauds_or_the_same_transaction_over_and_over_teach_nothing() -> None:
    transactions, _ = history()
    with pytest.raises(InvalidData, match="are frauds; a model needs both kinds"):
        made(transactions, [label(t, "fraud", 50) for t in transactions])
    # Every one the first of its customer, merchant and terminal.
    same = [
        transaction(f"t{n}", n / 10, customer_id=f"c{n}", merchant_id=f"m{n}", terminal_id=None) for n in range(100)
    ]
    with pytest.raises(InvalidData, match="Every feature is the same"):
        made(same, [label(t, "fraud", 50) for t in same[::3]], window_start=day(0))
    with pytest.raises(InvalidData, match="Every feature is missing in all transactions to train on"):
        check_features(np.full((3, 2), np.nan, np.float32))


def written(data: TrainingSet) -> tuple[dict[str, bytes], dict[str, Any]]:
    files: dict[str, bytes] = {}
    manifest = write(
        data,
        files.__setitem__,
        experiment_id="exp-1",
        snapshot_id=77,
        window_start=day(5),
        window_end=day(40),
        label_cutoff=day(60),
    )
    return files, manifest


def test_the_layout_is_the_contracts_and_the_manifest_is_last() -> None:
    data = made(*history())
    files, manifest = written(data)
    prefix = "training/exp-1/"
    assert list(files) == [
        f"{prefix}{name}"
        for name in (
            "train/part-00000.parquet",
            "validation/part-00000.parquet",
            "rows.parquet",
            "schema.json",
            "manifest.json",
        )
    ]
    assert json.loads(files[f"{prefix}manifest.json"]) == manifest
    assert manifest["rows"] == len(data.labels)
    assert manifest["positives"] == data.positives == 18 - 1
    assert (manifest["snapshot_id"], manifest["window_start"]) == (77, "2026-03-06T00:00:00+00:00")
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256(files[prefix + name]).hexdigest() == digest
    assert json.loads(files[f"{prefix}schema.json"])["features"] == NAMES
    assert pq.read_table(io.BytesIO(files[f"{prefix}rows.parquet"])).equals(data.rows)


def test_a_channel_has_the_label_first_then_what_is_no_feature_and_says_what_it_is() -> None:
    data = made(*history())
    table = pq.read_table(io.BytesIO(written(data)[0]["training/exp-1/train/part-00000.parquet"]))
    assert table.column_names == ["label", "__amount_minor", "__card", "__day", "__segment.channel", *NAMES]
    assert table.column("__amount_minor").to_pylist() == table.column("amount_minor").to_pylist()
    about = json.loads(table.schema.metadata[b"training_set"])
    assert about["experiment_id"] == "exp-1"
    assert about["features"]["amount_minor"] == {"title": "Amount", "unit": "minor"}
    assert table.schema.field("label").type == pa.int8()
    assert {table.schema.field(name).type for name in NAMES} == {pa.float32()}
    assert table.schema.metadata[b"features_version"] == DEMO.version.encode()
    matrix, labels = data.part("train")
    np.testing.assert_array_equal(table.column("label").to_numpy(), labels)
    np.testing.assert_array_equal(table.column("amount_to_mean").to_numpy(), matrix[:, NAMES.index("amount_to_mean")])


def test_the_same_lake_gives_the_same_bytes() -> None:
    assert written(made(*history()))[0] == written(made(*history()))[0]
