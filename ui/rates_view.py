"""One view of the fraud rates: the choice with its frames, and everything that is drawn or said of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pandas as pd
import plotly.graph_objects as go

from services.rates import SMALL_FRAUD, SMALL_TRANSACTIONS, Dimension, RatesQuery, RatesResult
from ui import charts, charts_rates, rates_choice, rates_frames, rates_heat
from ui import format as fmt
from ui.rates_bar import title_of
from ui.rates_choice import Choice, Point
from ui.rates_frames import MAX_COLUMNS, MAX_ROWS, OTHER, Folded, Totals
from ui.rates_headline import Former


@dataclass(frozen=True)
class View:
    """`before` and `former` are the former period's question and answer, None where it is not compared."""

    choice: Choice
    result: RatesResult
    before: RatesQuery | None
    former: RatesResult | None

    @property
    def words(self) -> str:
        """The range, from where there are data."""
        frame, start = self.result.frame, self.choice.start
        if not frame.empty:
            start = max(start, frame["bucket"].min().to_pydatetime())
        return rates_choice.range_words(start, self.choice.end, self.choice.zone)

    @cached_property
    def totals(self) -> Totals:
        return rates_frames.totals(self.result.frame)

    @property
    def pairs(self) -> bool:
        return len(self.choice.dimensions) > 1

    @cached_property
    def first(self) -> Folded:
        """What the lines (or the rows of the heat table) are."""
        limit = MAX_ROWS if self.pairs else rates_frames.MAX_SERIES
        return self._fold("first", limit)

    @cached_property
    def second(self) -> Folded:
        return self._fold("second", MAX_COLUMNS)

    def _fold(self, column: str, limit: int) -> Folded:
        choice = self.choice
        return rates_frames.fold(self.result.frame, column, choice.measure, choice.rank, limit=limit)

    @cached_property
    def aligned(self) -> pd.DataFrame | None:
        """The former period's rows in the places of this one's."""
        if self.former is None or self.former.frame.empty or self.result.frame.empty:
            return None
        return rates_frames.aligned(self.result.frame, self.former.frame)

    @property
    def former_from(self) -> datetime | None:
        """When the former data begin, where they miss more than a tenth of the period; its end where there are none."""
        if self.former is None or self.before is None:
            return None
        frame, length = self.former.frame, self.before.end - self.before.start
        seen = frame.loc[frame["transactions"] > 0, "bucket"]
        first: datetime = seen.min().to_pydatetime() if len(seen) else self.before.end
        return first if first - self.before.start > length / 10 else None

    def headline_former(self) -> Former | None:
        """Nothing where the lake holds only a part of it: a change against that would say little."""
        if self.former is None or self.before is None or self.former_from is not None:
            return None
        words = rates_choice.range_words(self.before.start, self.before.end, self.choice.zone)
        words = words.removesuffix(f" {self.choice.end:%Y}")
        return Former(rates_frames.totals(self.former.frame), words)

    def title(self, dimensions: Sequence[Dimension]) -> str:
        names = [title_of(dimensions, key).lower() for key in self.choice.dimensions]
        if self.pairs:
            return f"Fraud by {self.choice.measure} by {names[0]} and {names[1]}, basis points"
        return charts_rates.title(self.choice.measure, self.choice.bucket, "".join(names))

    def key(self) -> tuple[object, ...]:
        """Names what is drawn: the choice, and the state of the data on both sides."""
        choice, former = self.choice, self.former
        drawn = (choice.measure, choice.rank, choice.band, choice.compare)
        return (*choice.key(), *drawn, self.result.snapshot_id, former.snapshot_id if former else None)

    def behind(self, point: Point) -> RatesQuery:
        """The question for the transactions of a point; "Other" means the values it sums."""
        rest = (
            self.first.rest if point.first == OTHER else (),
            self.second.rest if point.second == OTHER and self.pairs else (),
        )
        return rates_choice.behind(self.choice, point, rest=rest)


def draw_figure(view: View, colors: charts.Palette, dimensions: Sequence[Dimension], point: Point | None) -> go.Figure:
    choice = view.choice
    chosen = (point.bucket, point.first) if point is not None and point.bucket is not None else None
    look = charts_rates.Look(choice.measure, choice.bucket, choice.zone, colors, band=choice.band, chosen=chosen)
    frame = view.result.frame
    if view.pairs:
        titles = [title_of(dimensions, key) for key in choice.dimensions]
        made = rates_frames.cells(frame, view.first, view.second)
        drawn = rates_heat.heat(made, view.first, view.second, look, titles=(titles[0], titles[1]))
    else:
        former = None if view.aligned is None else _former_series(view.aligned, view.first)
        drawn = charts_rates.rates(rates_frames.series(frame, view.first), view.first.names, former, look)
    # In the figure, not above it: a picture that is pasted elsewhere still says what it shows.
    drawn.add_annotation(
        text=charts_rates.inert(f"{view.title(dimensions)}, {view.words}, {choice.zone}"), showarrow=False,
        x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", yshift=50 if view.pairs else 8,
        font={"color": colors.text, "size": 13},
    )  # fmt: skip
    return drawn


def _former_series(aligned: pd.DataFrame, folded: Folded) -> pd.DataFrame:
    """The former rows under this period's names: what was not there then has no line, what is new here is "Other"."""
    known = aligned[aligned["first"].isin((*folded.names, *folded.rest))]
    rows = rates_frames.series(known, folded)
    if not folded.rest:
        return rows
    places = known.drop_duplicates("bucket").set_index("bucket")["at"]
    return rows.assign(at=rows["at"].fillna(rows["bucket"].map(places)))


def notes(view: View) -> list[str]:
    """The sentences under the chart: the scale, what Other is, unfinished labels, small numbers. Markdown."""
    found = [_scale(view)]
    small = view.result.frame["small"] & (view.result.frame["transactions"] > 0)
    if small.any() and not view.pairs:
        found.append(
            f"Hollow points rest on fewer than {SMALL_FRAUD} frauds or {SMALL_TRANSACTIONS:,} payments: "
            "they move much by chance."
        )
    if view.pairs:
        few = f"fewer than {SMALL_FRAUD} frauds or {SMALL_TRANSACTIONS:,} payments"
        found.append(f"\\* {few}: moves much by chance, drawn paler.")
    share = view.totals.matured_share
    if share is not None and share < rates_frames.MATURE_AT:
        hatched = "Hatched and lighter" if not view.pairs else "This range"
        found.append(
            f"{hatched}: labels are still arriving (a payment counts as matured once labelled or after 90 days), "
            "so fraud there is a lower bound."
        )
    return [" ".join(found)]


def _former(view: View) -> str:
    if view.before is None or view.former is None:
        return ""
    if view.former.frame.empty:
        return " The lake has nothing of the former period."
    text = "" if view.pairs else " Dashed: the former period."
    if view.former_from is not None:
        since = rates_choice.bucket_words(view.former_from, "day", view.choice.zone)
        text += f" The lake holds it from {since} only, so changes are not given."
    return text


def _scale(view: View) -> str:
    choice = view.choice
    zone = fmt.literal(choice.zone)
    if view.pairs:
        text = f"Basis points over {view.words}, {zone}; click a cell for its transactions."
    else:
        text = f"Basis points per {choice.bucket}, {zone}; click a point for its transactions."
    if fmt.several():
        text += " Payments have several currencies, whose amounts are never added: rates are by count."
    if choice.coarser:
        text += f" By the {choice.coarser} this range has too many points to read."
    text += _former(view)
    for dimension, folded in zip(choice.dimensions, (view.first, view.second), strict=False):
        if folded.rest:
            text += f" Other: {len(folded.rest)} more by {fmt.literal(fmt.word(dimension)).lower()}."
    return text
