"""The mapping of a data set of one's own, the bands around rates, and the period before."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services import rates_cells
from services.domain import intervals, local_time
from services.domain.dimensions import DEFAULT, Dimension, as_json, from_json, parse
from services.errors import InvalidData
from services.rates import RatesQuery
from tests.unit.rates_lake import NOW, rates_of
from workers import curator_rates
from workers.curator_rollup import mapped_dimensions

MAPPING = """
[columns]            # for others to read
amount_minor = "amt"

[dimensions]
store = {column = "attributes.store type", title = "Type of store"}
merchant_code = {column = "mcc"}
amount_band = {column = "amount_band", title = "Amount"}
"""


def test_a_mapping_names_columns_attributes_and_titles_in_its_order() -> None:
    found = parse(MAPPING)
    assert found == (
        Dimension("store", "Type of store", "attributes.store type"),
        Dimension("merchant_code", "Merchant code", "mcc"),
        Dimension("amount_band", "Amount", "amount_band"),
    )
    assert from_json(json.loads(json.dumps(as_json(found)))) == found
    assert parse("[columns]\nx = 1\n") == DEFAULT


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[dimensions", "TOML"),
        ("dimensions = 3", "table"),
        ("[dimensions]", "1 to 8"),
        ('[dimensions]\n"a; DROP" = {column = "mcc"}', "a; DROP"),
        ('[dimensions]\nhour = {column = "mcc"}', "hour"),
        ("[dimensions]\nstore = {title = 'x'}", "store"),
        ('[dimensions]\nstore = {column = "attributes.x\' OR 1=1 --"}', "store"),
        ('[dimensions]\nwho = {column = "card_token"}\nwhat = {column = "nothing"}', "what"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_with_everything_that_is_wrong(text: str, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        parse(text)


def test_a_mapping_that_cannot_be_read_is_a_sentence(tmp_path: Any) -> None:
    assert mapped_dimensions(None) == DEFAULT
    (tmp_path / "mapping.toml").write_text(MAPPING)
    assert [d.key for d in mapped_dimensions(tmp_path / "mapping.toml")] == ["store", "merchant_code", "amount_band"]
    with pytest.raises(InvalidData, match="cannot be read"):
        mapped_dimensions(tmp_path / "absent.toml")


@pytest.mark.parametrize("cuboids", [False, True])
def test_rates_by_mapped_dimensions_equal_plain_counts(cuboids: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if cuboids:
        monkeypatch.setattr(rates_cells, "SMALL_ROWS", 0)
        for module in (rates_cells, curator_rates):
            monkeypatch.setattr(module, "CUBOID_ROWS", 3)
    stores = ['{"store type": "O\'Hara"}', '{"store type": "kiosk", "n": 1}', "{}", None, '{"store type": true}']
    rows = [
        {"event_time": NOW - timedelta(hours=at), "amount_minor": 100, "attributes": stores[at % 5], "mcc": f"{at % 3}"}
        for at in range(60)
    ]
    rates = rates_of(rows, parse(MAPPING))
    assert [d.title for d in rates.dimensions()] == ["Type of store", "Merchant code", "Amount"]
    query = RatesQuery(
        NOW.replace(minute=0) - timedelta(days=4), NOW.replace(minute=0) + timedelta(hours=1), "month", "Europe/Paris",
        ("merchant_code", "store"), {"store": ("O'Hara", "unknown")},
    )  # fmt: skip
    frame = rates.table(query).frame.groupby(["first", "second"])["transactions"].sum()
    expected: dict[tuple[str, str], int] = {}
    for at in range(60):
        store = ("O'Hara", "kiosk", "unknown", "unknown", "true")[at % 5]
        if store in ("O'Hara", "unknown"):
            expected[f"{at % 3}", store] = expected.get((f"{at % 3}", store), 0) + 1
    assert frame[frame > 0].to_dict() == expected
    assert set(rates.values("store")) == {"O'Hara", "kiosk", "unknown", "true"}
    page = rates.transactions(query)
    assert page.matching == sum(expected.values())
    assert set(page.frame["store"]) == {"O'Hara", "unknown"}
    with pytest.raises(InvalidData):
        rates.values("category")


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    low, high = intervals.wilson(np.array([0.0, 10, 100, 0]), np.array([10.0, 100, 100, 0]))
    assert low[:3] == pytest.approx([0, 0.0552, 0.9630], abs=1e-4)
    assert high[:3] == pytest.approx([0.2775, 0.1744, 1], abs=1e-4)
    assert np.isnan([low[3], high[3]]).all()
    for share in (low[1], high[1]):  # where the normal test of 10 in 100 just passes
        assert (0.1 - share) ** 2 == pytest.approx(1.959964**2 * share * (1 - share) / 100, rel=1e-6)


def test_the_interval_of_value_is_the_ratio_estimators_over_every_amount() -> None:
    rng = np.random.default_rng(5)
    amounts = rng.lognormal(3, 1.2, 5_000).round(2)
    fraud = rng.random(5_000) < 0.02
    got = intervals.ratio(
        *(
            np.array([x])
            for x in (amounts[fraud].sum(), amounts.sum(), (amounts[fraud] ** 2).sum(), (amounts**2).sum())
        ),
        np.array([fraud.sum()]),
    )
    share = amounts[fraud].sum() / amounts.sum()
    spread = math.sqrt(sum((a * f - share * a) ** 2 for a, f in zip(amounts, fraud, strict=True))) / amounts.sum()
    assert [got[0][0], got[1][0]] == pytest.approx([share - 1.959964 * spread, share + 1.959964 * spread], rel=1e-6)
    few = intervals.ratio(*(np.array([x]) for x in (10.0, 100.0, 50.0, 900.0)), np.array([intervals.SMALL_FRAUD - 1]))
    none = intervals.ratio(*(np.array([x]) for x in (0.0, 0.0, 0.0, 0.0)), np.array([50]))
    assert np.isnan([*few, *none]).all()


def test_ninety_five_percent_of_value_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(11)
    probability, held = 0.03, 0
    for _ in range(400):
        amounts = rng.lognormal(3, 0.8, 4_000)
        fraud = rng.random(4_000) < probability
        low, high = intervals.ratio(
            *(np.array([x]) for x in (amounts[fraud].sum(), amounts.sum(), (amounts[fraud] ** 2).sum())),
            np.array([(amounts**2).sum()]),
            np.array([fraud.sum()]),
        )
        held += bool(low[0] <= probability <= high[0])
    assert 0.92 <= held / 400 <= 0.98


def at(zone: str, *moment: int) -> datetime:
    return datetime(*moment, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("zone", "start", "end", "former"),
    [
        ("Europe/Paris", (2026, 4, 1), (2026, 5, 1), (2026, 3, 1)),  # whole months, also over the change of clocks
        ("UTC", (2026, 1, 1), (2026, 4, 1), (2025, 10, 1)),
        ("Europe/Paris", (2026, 3, 30), (2026, 4, 6), (2026, 3, 23)),  # a week of 168 hours, before it one of 167
        ("Asia/Kolkata", (2026, 5, 2), (2026, 5, 3), (2026, 5, 1)),
        ("UTC", (2026, 5, 2, 6), (2026, 5, 2, 18), (2026, 5, 1, 18)),
    ],
)
def test_the_former_period_is_as_long_on_the_calendar(zone: str, start: Any, end: Any, former: Any) -> None:
    query = RatesQuery(at(zone, *start), at(zone, *end), "day", zone, ("channel",), {"channel": ("pos",)})
    before = rates_of([]).former(query)
    assert before.start == at(zone, *former)
    assert before.end == query.start
    assert (before.zone, before.dimensions, before.filters) == (zone, query.dimensions, query.filters)


@pytest.mark.parametrize("zone", ["Europe/Paris", "America/Santiago", "Asia/Kathmandu", "Africa/Cairo", "UTC"])
def test_local_dates_are_those_of_the_zone_at_every_quarter_hour_of_a_year(zone: str) -> None:
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    moves = local_time.offsets(zone, start, start + 365 * 86_400)
    for second in range(start, start + 365 * 86_400, 900):
        local = datetime.fromtimestamp(second, ZoneInfo(zone))
        assert moves.day(second) == (local.date() - local_time.EPOCH).days
