from __future__ import annotations

from datetime import UTC, datetime

from services.domain.kpi import CurrencySums, KpiCounts, Sum, figures
from services.kpis import KpiPeriod
from ui import format as fmt
from ui import kpi_tiles


def test_figures_by_hand():
    f = figures(
        KpiCounts(
            transactions=2000,
            amount_minor=5_000_000,
            scored=1000,
            alerts=20,
            fraud=9,
            fraud_amount_minor=40_000,
            decided=10,
            confirmed=6,
            prevented_loss_minor=30_000,
            matured=500,
        )
    )
    assert f.fraud_bps_count == 45.0  # 10,000 x 9 / 2,000
    assert f.fraud_bps_value == 80.0  # 10,000 x 400 / 50,000
    assert f.alert_rate == 0.02
    assert f.precision == 0.6
    assert f.matured_share == 0.25


def test_a_ratio_without_a_denominator_is_unknown_not_zero():
    f = figures(KpiCounts())
    assert f.fraud_bps_count is None
    assert f.fraud_bps_value is None
    assert f.alert_rate is None
    assert f.precision is None
    assert f.matured_share is None


def test_amounts_of_several_currencies_give_no_rate_and_are_told_apart():
    apart = (CurrencySums("USD", 2, 3, 100_000, 5_000, 2_000), CurrencySums("JPY", 0, 1, 9_000, 0, 0))
    now = figures(KpiCounts(transactions=4, amount_minor=109_000, fraud=1, fraud_amount_minor=5_000, by_currency=apart))
    assert now.fraud_bps_value is None
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    found = {tile.key: tile for tile in kpi_tiles.tiles(KpiPeriod(moment, moment, moment, moment, now, now))}
    for key in ("fraud_bps_value", "prevented_loss", "volume"):
        assert (found[key].value, found[key].beneath, found[key].delta) == (fmt.MISSING, kpi_tiles.APART, None)
    assert kpi_tiles.by_currency(now).to_dict("records") == [
        {"Currency": "USD", "Transactions": 3, "Volume": "$1,000", "Fraud": "$50", "Fraud by value (bps)": 500.0,
         "Prevented loss": "$20"},
        {"Currency": "JPY", "Transactions": 1, "Volume": "¥9,000", "Fraud": "¥0", "Fraud by value (bps)": 0.0,
         "Prevented loss": "¥0"},
    ]  # fmt: skip


def test_one_currency_is_named_though_the_data_could_have_several():
    one = figures(KpiCounts(transactions=1, amount_minor=500, by_currency=(CurrencySums("CHF", 2, 1, 500, 0, 0),)))
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    other = figures(KpiCounts(transactions=1, amount_minor=500, by_currency=(CurrencySums("EUR", 2, 1, 500, 0, 0),)))
    volume = kpi_tiles.tiles(KpiPeriod(moment, moment, moment, moment, one, other))[-1]
    assert (volume.value, volume.delta) == ("CHF 5", None)


def test_sums_are_written_each_in_its_currency():
    parts = [Sum(code, 2, 100_000, 1) for code in ("EUR", "USD", "SEK", "GBP")]
    assert fmt.sums(parts[:2]) == "€1,000, $1,000"
    assert fmt.sums(parts) == "€1,000, $1,000, SEK 1,000 and 1 more"
    assert fmt.sums(()) == "€0"
