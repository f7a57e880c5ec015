"""Charts of the fraud rates: maturity, small numbers, bands and the former period are each drawn in their own way."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from tests.unit.test_rates_frames import TWO_WEEKS, W1, W2, frame
from ui import charts, charts_rates, rates_heat
from ui.charts_rates import Look
from ui.rates_frames import OTHER, Folded, Measure, Rank, aligned, cells, fold, series

LOOK = Look(Measure.COUNT, "week", "UTC", charts.LIGHT)


def drawn(data: pd.DataFrame, look: Look = LOOK, former: pd.DataFrame | None = None) -> Any:
    folded = fold(data, "first", look.measure, Rank.FRAUD)
    return charts_rates.rates(series(data, folded), folded.names, former, look)


def lines(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_lines_are_lighter_from_the_last_mature_bucket_and_the_ground_is_hatched() -> None:
    figure = drawn(TWO_WEEKS)
    full, light = lines(figure, "pos")
    assert (full.line.color, light.line.color) == (charts.faded("#E69F00", 1.0), charts.faded("#E69F00", 0.5))
    assert list(full.x) == ["2026-06-01T00:00"]
    assert list(light.x) == ["2026-06-01T00:00", "2026-06-08T00:00"]
    (ground,) = lines(figure, "Labels still arriving")
    assert ground.fillpattern.shape == "/"
    assert ground.x[0] == "2026-06-08T00:00"
    assert any(a.text == "23 % of labels matured: will rise" for a in figure.layout.annotations)


def test_a_mature_range_is_neither_lighter_nor_hatched() -> None:
    figure = drawn(TWO_WEEKS.assign(matured=TWO_WEEKS["transactions"], matured_share=1.0))
    assert not lines(figure, "Labels still arriving")
    assert len(lines(figure, "pos")) == 1


def test_points_on_few_frauds_are_hollow_and_say_so() -> None:
    rows = frame(
        (W1, "all", "all", 2_000, 10_000, 5, 3, 100, 2_000), (W2, "all", "all", 2_000, 10_000, 5, 12, 100, 2_000)
    )
    (trace,) = lines(drawn(rows), "all")
    assert list(trace.marker.color) == [charts.LIGHT.background, charts.LIGHT.accent]
    assert "Few frauds" in trace.hovertext[0]
    assert "12 frauds of 2,000 transactions" in trace.hovertext[1]
    assert "with 95 % confidence" in trace.hovertext[1]


def test_the_band_is_the_interval_of_the_frame_and_is_not_drawn_over_what_has_none() -> None:
    weeks = [W1 + pd.Timedelta(days=7 * n) for n in range(4)]
    rows = frame(*((week, "all", "all", 2_000, 10_000, 5, 30, 100, 2_000) for week in weeks))
    rows.loc[1, ["bps_count_low", "bps_count_high"]] = float("nan")
    first, second = lines(drawn(rows), "95 % interval")
    assert list(first.x) == ["2026-06-01T00:00", "2026-06-01T00:00"]
    assert list(first.y) == [round(rows["bps_count_high"][0], 3), round(rows["bps_count_low"][0], 3)]
    assert len(second.x) == 4
    without = Look(Measure.COUNT, "week", "UTC", charts.LIGHT, band=False)
    assert not lines(drawn(rows, without), "95 % interval")


def test_the_former_period_is_dashed_in_the_same_places_and_names_its_own_dates() -> None:
    before = TWO_WEEKS.assign(bucket=TWO_WEEKS["bucket"] - pd.Timedelta(days=14))
    figure = drawn(TWO_WEEKS, former=aligned(TWO_WEEKS, before))
    (trace,) = lines(figure, "pos, former period")
    assert trace.line.dash == "5px,4px"
    assert list(trace.x) == ["2026-06-01T00:00", "2026-06-08T00:00"]
    assert "Former period: Week of 18 May 2026" in trace.hovertext[0]


def test_the_picked_point_is_ringed_and_every_point_says_what_it_is() -> None:
    look = Look(Measure.COUNT, "week", "UTC", charts.LIGHT, chosen=(W2.to_pydatetime(), "pos"))
    light = lines(drawn(TWO_WEEKS, look), "pos")[1]
    assert list(light.marker.line.color) == ["#E69F00", charts.LIGHT.text]
    assert list(light.customdata[1]) == [W2.isoformat(), "pos"]


def test_axis_carries_the_unit_of_the_measure() -> None:
    assert drawn(TWO_WEEKS).layout.yaxis.title.text == "Fraud, bps of transactions"
    by_value = Look(Measure.VALUE, "week", "UTC", charts.LIGHT)
    assert drawn(TWO_WEEKS, by_value).layout.yaxis.title.text == "Fraud, bps of amount"


def test_direct_labels_never_overlap() -> None:
    rows = frame(*((W1, f"c{n}", "all", 1_000, 10_000, 5, 20 + n, 100 + n, 1_000) for n in range(7)))
    labels = [a for a in drawn(rows).layout.annotations if a.xref == "paper"]
    places = sorted(a.y for a in labels)
    assert "Other" in {a.text for a in labels}
    assert len(places) == 5
    assert min(b - a for a, b in pairwise(places)) >= 0.069
    assert places[0] >= 0
    assert places[-1] <= 1


def test_names_from_data_stay_inert_in_the_figures() -> None:
    rows = frame((W1, "<b>x</b>", "<i>", 10, 10, 0, 1, 1, 10), (W1, "y", "z", 10, 10, 0, 1, 1, 10))
    for figure in (drawn(rows), pairs(rows)):
        assert "<b>x" not in str([a.text for a in figure.layout.annotations])
        assert "<b>x" not in str([(t.x, t.y) for t in figure.data])
        assert "&lt;b&gt;x" in str([t.hovertext for t in figure.data])


def pairs(rows: pd.DataFrame, measure: Measure = Measure.COUNT) -> Any:
    first, second = (fold(rows, column, measure, Rank.FRAUD, limit=8) for column in ("first", "second"))
    look = Look(measure, "week", "UTC", charts.LIGHT)
    return rates_heat.heat(cells(rows, first, second), first, second, look, titles=("Channel", "Country"))


def test_a_cell_holds_its_rate_and_small_numbers_are_marked_and_paler() -> None:
    rows = frame(
        (W1, "pos", "DE", 2_000, 10_000, 5, 40, 100, 2_000), (W1, "ecom", "DE", 100, 10_000, 5, 2, 100, 100)
    )  # fmt: skip
    heatmap, targets = pairs(rows).data
    assert list(targets.text) == ["200.0", "200.0*"]
    assert heatmap.z[0][0] == pytest.approx(200.0)
    assert heatmap.z[1][0] < 60
    assert list(targets.customdata[1]) == ["range", "ecom", "DE"]


def test_other_in_the_heat_table_is_the_rest() -> None:
    rows = frame(*((W1, f"c{n}", "DE", 100, 1_000, 0, n, 10, 100) for n in range(10)))
    figure = pairs(rows)
    assert list(figure.data[0].y)[-1] == OTHER
    assert figure.data[1].text[-1] == "100.0*"  # c0, c1 and c2: 3 frauds in 300


@pytest.mark.parametrize("colors", [charts.LIGHT, charts.DARK])
def test_no_rows_draw_a_labelled_empty_figure(colors: charts.Palette) -> None:
    look = Look(Measure.VALUE, "day", "UTC", colors)
    nothing = TWO_WEEKS.head(0)
    assert "No transactions" in charts_rates.rates(nothing, (), None, look).layout.annotations[0].text
    empty = Folded((), ())
    made = rates_heat.heat(cells(nothing, empty, empty), empty, empty, look, titles=("a", "b"))
    assert "No transactions" in made.layout.annotations[0].text
