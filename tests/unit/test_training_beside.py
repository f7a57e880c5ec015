"""What stands beside the features: payers as codes, days, and the dimensions of the desk's own data."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model import measures
from model.training_channels import Channel, read_channel
from model.training_options import Failure
from services.detection_metrics import card_precision
from services.domain.mapping import read_mapping
from services.features import plan_of
from services.training_beside import Recipe, recipe_for, recipe_of
from services.training_set import TrainingSet, build, columns_of
from tests.unit.test_training_job import channel, trained
from tests.unit.test_training_set import LABELS, START, day, history, label, made, transaction

MAPPING = read_mapping("""
name = "Own"
[time]
column = "t"
[amount]
column = "a"
currency = "EUR"
[entities]
customer = "who"
[features.kind]
column = "k"
kind = "category"
[features.weight]
column = "w"
kind = "number"
[dimensions]
kind = {column = "attributes.kind", title = "Kind of payment"}
size = {column = "amount_band"}
""")
KINDS = ("card", "transfer", None)


def own() -> tuple[TrainingSet, list[dict[str, Any]]]:
    """Four transactions a day for forty days, of seven payers, with attributes as the lake has them."""
    plan, recipe = plan_of(MAPPING), recipe_for(MAPPING)
    rows, labels = [], []
    for n in range(160):
        row = transaction(f"t{n:03}", n / 4, amount_minor=900 * (n % 9) + 100, customer_id=f"c{(n * 5) % 7}")
        kind = KINDS[n % 3]
        row["attributes"] = json.dumps({"weight": n % 5} | ({"kind": kind} if kind else {}))
        rows.append(row)
        if n % 6 == 0:
            labels.append(label(row, "fraud", n / 4 + 1))
    types = {"event_time": pa.timestamp("us", "UTC"), "received_at": pa.timestamp("us", "UTC")}
    wanted = columns_of(plan, recipe)
    assert "channel" not in wanted
    table = pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in wanted})
    data = build(
        table, pa.Table.from_pylist(labels, LABELS), window_start=day(5), window_end=day(40), label_cutoff=day(60),
        plan=plan, recipe=recipe,
    )  # fmt: skip
    return data, [row for row in rows if row["event_time"] >= START + timedelta(days=5)]


def test_segments_are_the_dimensions_of_the_mapping() -> None:
    data, rows = own()
    assert data.beside.column_names == ["__amount_minor", "__card", "__day", "__segment.kind", "__segment.size"]
    assert data.beside["__segment.kind"].to_pylist() == [
        json.loads(row["attributes"]).get("kind", "unknown") for row in rows
    ]
    bands = [
        "<10" if row["amount_minor"] < 1_000 else "10-50" if row["amount_minor"] < 5_000 else "50-200" for row in rows
    ]
    assert data.beside["__segment.size"].to_pylist() == bands
    assert recipe_of(json.loads(json.dumps(data.recipe.as_json()))) == data.recipe == recipe_for(MAPPING)


def test_payers_are_codes_and_days_are_utc() -> None:
    data, rows = own()
    names: dict[str, int] = {}
    codes = [names.setdefault(row["customer_id"], len(names)) for row in rows]
    assert data.beside["__card"].to_pylist() == codes
    assert data.beside["__day"].to_pylist() == [(row["event_time"].date() - START.date()).days + 20_513 for row in rows]
    assert START.timestamp() / 86_400 == 20_513


def test_the_demo_is_told_by_channel_and_a_set_of_layout_1_stays_what_it_was() -> None:
    assert made(*history()).beside.column_names == ["__amount_minor", "__card", "__day", "__segment.channel"]
    assert recipe_for(None) == Recipe()
    former = made(*history(), label_cutoff=day(40), recipe=Recipe(layout=1))
    assert former.beside.column_names == ["__amount_minor", "__segment.channel"]
    assert {row["split"] for row in former.rows.to_pylist() if row["event_time"] > day(34)} == {"train", "excluded"}
    assert recipe_of({}) == Recipe(layout=1)


def test_card_precision_is_the_one_of_the_backtest() -> None:
    r = np.random.default_rng(5)
    for digits in (1, 2, 6):
        for k in (1, 5, 100):
            n = 1_500
            labels, cards, days = (r.random(n) < 0.05).astype(float), r.integers(-1, 200, n), r.integers(0, 9, n)
            scores = np.round(r.random(n) * 0.7 + labels * 0.3, digits)
            theirs = card_precision(labels, scores, cards, days, k=k)
            assert measures.card_precision(labels, scores, cards, days, k=k) == pytest.approx(theirs, abs=1e-15)
    none = np.zeros(0)
    assert np.isnan(measures.card_precision(none, none, none.astype(int), none.astype(int)))


def beside(data: Channel, seed: int) -> dict[str, Any]:
    n = len(data.labels)
    return {"cards": np.random.default_rng(seed).integers(0, 300, n), "days": 20_000 + np.arange(n) * 10 // n}


@pytest.mark.parametrize("codes", [pa.array([1, None] * 20), pa.array([0.5] * 40), pa.array(["c"] * 40)])
def test_payers_that_are_no_codes_are_refused(tmp_path: Path, codes: pa.Array) -> None:
    table = pa.table({"label": [0, 1] * 20, "__card": codes, "amount": [1.0] * 40})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(Failure, match="The column '__card' of the channel 'train' must hold a whole number in every"):
        read_channel(tmp_path, "train")


def test_it_is_measured_on_whole_days_and_left_out_where_payers_are_not_known(tmp_path: Path) -> None:
    plain = channel(2_000, 2)
    held = trained(tmp_path / "a", {}, validation=channel(2_000, 2, **beside(plain, 4)))
    # The measured half has the days 5 to 9; the first and the last may be cut off.
    assert 0.0 < held["metrics"]["cp100"] <= 1.0
    card = (tmp_path / "a/model/model_card.md").read_text()
    assert f"| cp100 | {held['metrics']['cp100']:.4g} |" in card
    assert "cp100" not in trained(tmp_path / "b", {})["metrics"]
    short = channel(2_000, 2, cards=np.zeros(2_000, int), days=np.full(2_000, 20_000))
    assert "cp100" not in trained(tmp_path / "c", {}, validation=short)["metrics"]
