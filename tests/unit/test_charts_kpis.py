"""KPI tiles by hand-computed numbers: deltas, chance, cautions, maturity; and the daily course."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from services.domain.kpi import KpiCounts, figures
from services.kpis import KpiPeriod
from ui import charts, charts_kpis
from ui.kpi_tiles import Good, Tile, beyond_chance, caution, delta, maturity_sentence, tiles
from ui.rates_frames import with_alert_rate

AT = datetime(2026, 11, 22, tzinfo=UTC)
COUNTS = KpiCounts(
    transactions=100_000, amount_minor=500_000_00, scored=99_000, alerts=1_000, fraud=300, fraud_amount_minor=6_000_00,
    decided=800, confirmed=240, prevented_loss_minor=4_500_00, matured=62_000,
)  # fmt: skip
FORMER = KpiCounts(
    transactions=100_000, amount_minor=400_000_00, scored=100_000, alerts=900, fraud=200, fraud_amount_minor=4_000_00,
    decided=800, confirmed=232, prevented_loss_minor=3_000_00, matured=100_000,
)  # fmt: skip


def period(now: KpiCounts = COUNTS, before: KpiCounts = FORMER) -> KpiPeriod:
    return KpiPeriod(AT, AT, AT, AT, figures(now), figures(before))


def tile(key: str, **over: KpiCounts) -> Tile:
    return next(t for t in tiles(period(**over)) if t.key == key)


def test_rates_stand_with_their_counts_and_signed_change() -> None:
    by_count = tile("fraud_bps_count")
    assert (by_count.value, by_count.beneath) == ("30.0 bps", "300 of 100,000")
    assert by_count.delta is not None
    assert (by_count.delta.text, by_count.delta.arrow, by_count.delta.color) == ("+10.0 bps", "up", "red")
    by_value = tile("fraud_bps_value")
    assert (by_value.value, by_value.beneath) == ("120.0 bps", "€6,000 of €500.0k")


def test_a_change_that_chance_explains_is_grey() -> None:
    precision = tile("precision")
    assert precision.value == "30.0 %"
    assert precision.delta is not None
    assert (precision.delta.text, precision.delta.color) == ("+1.0 pp", "gray")


def test_volume_and_prevented_loss_change_in_percent_and_are_never_judged() -> None:
    volume, prevented = tile("volume"), tile("prevented_loss")
    assert volume.delta is not None
    assert prevented.delta is not None
    assert (volume.delta.text, volume.delta.color) == ("+25.0 %", "gray")
    assert (prevented.value, prevented.beneath, prevented.delta.text) == ("€4,500", "75 % of fraud value", "+50.0 %")


def test_nothing_decided_is_unknown_not_zero() -> None:
    precision = tile("precision", now=KpiCounts(transactions=5, scored=5, alerts=1))
    assert (precision.value, precision.beneath, precision.delta) == ("–", "No alert decided yet", None)


def test_an_empty_former_period_leaves_no_comparison() -> None:
    assert all(t.delta is None for t in tiles(period(before=KpiCounts())))


@pytest.mark.parametrize(
    ("sample", "beyond"),
    [
        ((300, 100_000, 200, 100_000), True),
        ((30, 1_000, 25, 1_000), False),
        ((0, 10, 0, 10), False),
        ((1, 0, 1, 9), False),
    ],
)
def test_beyond_chance(sample: tuple[int, int, int, int], beyond: bool) -> None:
    assert beyond_chance(*sample) is beyond


def test_good_news_is_green_in_the_direction_that_is_good() -> None:
    down = delta(-2.0, unit="bps", good=Good.DOWN, certain=True)
    up = delta(2.0, unit="pp", good=Good.UP, certain=True)
    none = delta(0.01, unit="bps", good=Good.DOWN, certain=True)
    assert down is not None
    assert up is not None
    assert none is not None
    assert (down.color, up.color) == ("green", "green")
    assert (none.text, none.arrow, none.color) == ("±0.0 bps", "off", "gray")


def test_few_events_are_named_once_for_the_period() -> None:
    few = KpiCounts(transactions=5_000, amount_minor=1, scored=5_000, alerts=60, fraud=12, decided=20, confirmed=4)
    assert (
        caution(period(now=few))
        == "Only 12 frauds and 20 decided alerts so far: rates built on them move much by chance."
    )
    assert caution(period()) is None


def test_maturity_is_said_plainly_and_only_while_it_matters() -> None:
    assert maturity_sentence(0.62) == (
        "62 % of the labels of the last 30 days have matured; fraud rates will still rise as the rest arrives."
    )
    assert maturity_sentence(None) is None
    assert maturity_sentence(1.0) is None


TODAY = date(2026, 11, 22)


def days(count: int) -> pd.DataFrame:
    return with_alert_rate(
        pd.DataFrame(
            [
                {
                    "bucket": TODAY - timedelta(days=n),
                    "transactions": 100,
                    "alerted": 2,
                    "fraud": 1,
                    "fraud_bps_value": 5.0,
                }
                for n in range(count)
            ]
        )
    )


def test_the_former_thirty_days_lie_under_the_last_thirty() -> None:
    figure = charts_kpis.daily(days(60), "alert_rate", today=TODAY, colors=charts.LIGHT)
    former, current = figure.data
    assert list(former.x) == list(current.x)
    assert (current.x[0], current.x[-1]) == ("2026-10-24", "2026-11-22")
    assert set(current.y) == {2.0}
    assert former.line.dash == "dot"
    assert "22 Oct 2026" in former.hovertext[-2]
    assert "2 alerts of 100 transactions" in current.hovertext[0]


def test_a_course_without_transactions_is_a_labelled_empty_figure() -> None:
    empty = pd.DataFrame(columns=["bucket", "transactions", "alerted", "fraud", "fraud_bps_value", "alert_rate"])
    figure = charts_kpis.daily(empty, "fraud_bps_value", today=TODAY, colors=charts.DARK)
    assert "No transactions" in figure.layout.annotations[0].text


def test_a_fall_of_fraud_on_younger_labels_is_not_good_news_yet() -> None:
    """COUNTS has 62 % matured labels, FORMER 100 %: the fall is grey and says why, a rise stays red."""
    fallen = replace(COUNTS, fraud=100, fraud_amount_minor=1_000_00)
    change = tile("fraud_bps_count", now=fallen).delta
    assert change is not None
    assert (change.text, change.color) == ("−10.0 bps", "gray")
    assert "62 % of these labels have matured against 100 %" in change.why
    complete = tile("fraud_bps_count", now=replace(fallen, matured=100_000)).delta
    assert complete is not None
    assert complete.color == "green"
