"""One view of the fraud rates: changes only against what the lake holds, coloured beyond chance only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from services.rates import RatesQuery, RatesResult
from tests.unit.test_rates_frames import TWO_WEEKS, W1, frame
from ui import charts
from ui import format as fmt
from ui.charts_rates import amounts
from ui.rates_choice import Choice
from ui.rates_frames import Measure, Totals
from ui.rates_headline import Former, figures
from ui.rates_view import View, draw_figure, notes

START = datetime(2026, 6, 1, tzinfo=UTC)
CHOICE = Choice(START, START + timedelta(days=14), "week", "UTC", Measure.COUNT, ("channel",), compare=True)
BEFORE = RatesQuery(START - timedelta(days=14), START, "week", "UTC", ("channel",))


def result(rows: pd.DataFrame) -> RatesResult:
    total: Any = None
    return RatesResult(rows, total, START, 7)


def view(former: pd.DataFrame, choice: Choice = CHOICE) -> View:
    return View(choice, result(TWO_WEEKS), BEFORE, result(former))


EARLIER = TWO_WEEKS.assign(bucket=TWO_WEEKS["bucket"] - pd.Timedelta(days=14))


def test_a_former_period_that_the_lake_holds_is_compared_by_name() -> None:
    held = view(EARLIER).headline_former()
    assert held is not None
    assert (held.words, held.totals.fraud) == ("18 May to 31 May", 64)
    assert "Dashed: the former period." in notes(view(EARLIER))[0]


def test_a_former_period_that_the_lake_holds_in_part_gives_no_changes_and_says_why() -> None:
    half = EARLIER[EARLIER["bucket"] == EARLIER["bucket"].max()]
    assert view(half).headline_former() is None
    assert "The lake holds it from 25 May 2026 only, so changes are not given." in notes(view(half))[0]
    nothing = EARLIER.head(0)
    assert view(nothing).headline_former() is None
    assert "The lake has nothing of the former period." in notes(view(nothing))[0]


def totals(transactions: int, fraud: int, matured: int) -> Totals:
    return Totals(transactions, transactions * 100, 50, fraud, fraud * 100, matured)


def test_a_fall_is_coloured_only_beyond_chance_and_with_labels_as_complete_as_then() -> None:
    then = Former(totals(100_000, 400, 100_000), "May")
    sure = figures(totals(100_000, 200, 100_000), then, "June")[1].change
    young = figures(totals(100_000, 200, 40_000), then, "June")[1].change
    chance = figures(totals(100_000, 390, 100_000), then, "June")[1].change
    assert sure is not None
    assert young is not None
    assert chance is not None
    assert (sure.text, sure.color) == ("−20.0 bps", "green")
    assert (young.color, young.why.startswith("Not judged: 40 % of these labels")) == ("gray", True)
    assert chance.color == "gray"


def test_without_a_former_period_there_is_no_change() -> None:
    assert [figure.change for figure in figures(totals(10, 1, 10), None, "June")] == [None] * 4


@pytest.mark.parametrize("second", [(), ("country",)])
def test_the_picture_says_what_it_shows(second: tuple[str, ...]) -> None:
    rows = frame((W1, "pos", "DE", 2_000, 9_000, 5, 40, 100, 2_000))
    choice = replace(CHOICE, dimensions=("channel", *second), compare=False)
    made = draw_figure(View(choice, result(rows), None, None), charts.LIGHT, (), None)
    assert any(
        "Fraud by count" in str(a.text) and "1 Jun to 14 Jun 2026, UTC" in a.text for a in made.layout.annotations
    )


def test_payments_of_several_currencies_have_rates_by_count_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "_totals", ("", 2))
    by_value, by_count = figures(totals(10_000, 20, 10_000), None, "June")[:2]
    assert (by_value.value, by_value.beneath) == (fmt.MISSING, "Several currencies: no total")
    assert by_count.value == "20.0 bps"
    assert amounts({"fraud_amount_minor": 1, "amount_minor": 2}) == ""
