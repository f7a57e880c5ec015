"""What leaves the Fraud rates screen as a file: figures and transactions as CSV and Parquet, the chart as PNG."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from services.rates import DrillDown
from ui import rates_png
from ui.export import to_csv, to_parquet
from ui.rates_choice import Choice

CHART = "rates-chart"
MAX_ROWS = 20_000
_PAGE = 1_000
Pages = Callable[[str | None, int], DrillDown]


def name_of(choice: Choice, what: str = "fraud-rates") -> str:
    """'fraud-rates-2026-06-25-to-2026-11-22-by-country-week': days of the zone, the last one included."""
    zone = ZoneInfo(choice.zone)
    first = choice.start.astimezone(zone).date()
    last = datetime.fromtimestamp(choice.end.timestamp() - 60, zone).date()
    by = f"-by-{'-and-'.join(choice.dimensions)}" if choice.dimensions else ""
    return f"{what}-{first}-to-{last}{by}-{choice.bucket}"


def table_of(frame: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """The figures with the dimensions' own names for columns; without a breakdown there is none."""
    names = dict(zip(("first", "second"), choice.dimensions, strict=False))
    unused = [column for column in ("first", "second") if column not in names]
    return frame.drop(columns=unused).rename(columns=names)


def rows_csv(frame: pd.DataFrame) -> bytes:
    """Times as ISO 8601 with their offset, absent values empty."""
    times = frame.select_dtypes(include=["datetimetz"]).columns
    shown = frame.assign(**{name: [moment.isoformat() for moment in frame[name]] for name in times})
    shown = shown.astype(object).where(shown.notna(), None)
    return to_csv(list(shown.columns), shown.itertuples(index=False))


def every_row(pages: Pages) -> pd.DataFrame:
    """The transactions of all pages, at most MAX_ROWS. Raises as the service does."""
    frames: list[pd.DataFrame] = []
    cursor: str | None = None
    while sum(map(len, frames)) < MAX_ROWS:
        page = pages(cursor, min(_PAGE, MAX_ROWS - sum(map(len, frames))))
        frames.append(page.frame)
        cursor = page.next_cursor
        if cursor is None:
            break
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def figures(frame: pd.DataFrame, choice: Choice) -> None:
    """One button that opens the three formats of what is shown."""
    table, name = table_of(frame, choice), name_of(choice)
    with st.popover("Export", icon=":material/download:", key="rates-export"):
        st.caption("Every bucket and value of this view, with counts")
        with st.container(horizontal=True, gap="xsmall"):
            _files(lambda: table, name, key="rates")
            with st.container(width=90):
                rates_png.button(CHART)


def _files(load: Callable[[], pd.DataFrame], name: str, *, key: str) -> None:
    st.download_button(
        "CSV", lambda: rows_csv(load()), file_name=f"{name}.csv", mime="text/csv", on_click="ignore",
        key=f"{key}-csv", help="For spreadsheets: text that looks like a formula is quoted",
    )  # fmt: skip
    st.download_button(
        "Parquet", lambda: to_parquet(load()), file_name=f"{name}.parquet", mime="application/vnd.apache.parquet",
        on_click="ignore", key=f"{key}-parquet", help="For programs: typed columns, as they are in the lake",
    )  # fmt: skip


def transactions(pages: Pages, choice: Choice) -> None:
    with st.popover("Export", icon=":material/download:", key="rates-drill-export"):
        st.caption(f"All of these transactions, at most {MAX_ROWS:,}")
        with st.container(horizontal=True, gap="xsmall"):
            _files(lambda: every_row(pages), name_of(choice, "transactions"), key="rates-drill")
