from __future__ import annotations

from services.domain.kpi import KpiCounts, figures


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
