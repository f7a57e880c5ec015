"""What every chart of the desk has in common: colours with one meaning each, one template, the labelled empty figure.

Colours are those of .streamlit/config.toml: Okabe-Ito, told apart by the colour-blind; the dark set is the same hues
lightened to 4.5:1 on the dark background. Never colour alone: put a word or a sign beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import streamlit as st

CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2},
}


@dataclass(frozen=True, slots=True)
class Palette:
    fraud: str
    review: str
    genuine: str
    accent: str
    neutral: str
    unknown: str
    text: str
    muted: str
    grid: str
    background: str

    @property
    def series(self) -> tuple[str, ...]:
        """At most five series in one chart; more belong in a table."""
        return (self.accent, self.review, self.genuine, self.fraud, self.unknown)


LIGHT = Palette(
    fraud="#D55E00", review="#E69F00", genuine="#009E73", accent="#0072B2", neutral="#56B4E9", unknown="#8893A1",
    text="#0F1720", muted="#56616F", grid="#E3E7EC", background="#FFFFFF",
)  # fmt: skip
DARK = Palette(
    fraud="#FF8A4C", review="#F2B33D", genuine="#2DBE95", accent="#56B4E9", neutral="#A9D8F5", unknown="#8893A1",
    text="#E6EAF0", muted="#A1ABB8", grid="#232A34", background="#0E1217",
)  # fmt: skip


def palette() -> Palette:
    """The colours of the theme in the person's browser."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def figure(
    *, colors: Palette, height: int = 260, x_title: str | None = None, y_title: str | None = None, legend: bool = False
) -> go.Figure:
    """A blank figure with the desk's axes. Titles of axes carry the unit: 'Amount (€)'."""
    axis = {
        "gridcolor": colors.grid,
        "linecolor": colors.grid,
        "zeroline": False,
        "automargin": True,
        "tickfont": {"color": colors.muted, "size": 12},
    }
    title_font = {"color": colors.muted, "size": 12}
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": colors.text, "size": 13, "family": "'IBM Plex Sans', system-ui, sans-serif"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": colors.unknown, "activecolor": colors.text},
            "xaxis": {**axis, "showgrid": False, "title": {"text": x_title, "font": title_font}},
            "yaxis": {**axis, "showline": False, "title": {"text": y_title, "font": title_font}},
            "colorway": list(colors.series),
            "showlegend": legend,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"color": colors.muted}},
            "hoverlabel": {
                "bgcolor": colors.background,
                "bordercolor": colors.grid,
                "font": {"color": colors.text, "size": 12},
            },
            "hovermode": "closest",
            "bargap": 0.25,
        }
    )


def empty(message: str, *, colors: Palette, height: int = 260) -> go.Figure:
    """A figure for no rows: it says so in its middle, in the place and size of the chart."""
    chart = figure(colors=colors, height=height)
    chart.update_xaxes(visible=False)
    chart.update_yaxes(visible=False)
    chart.add_annotation(
        text=message, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"color": colors.muted}
    )
    return chart


def faded(color: str, alpha: float) -> str:
    """'#0072B2' at an opacity in [0, 1], for bands and immature data."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def show(chart: go.Figure, *, key: str, alt: str, on_select: Any = "ignore") -> Any:
    """Draw with the shared settings. `alt` says what the chart shows, for people who do not see it."""
    return st.plotly_chart(chart, key=key, width="stretch", config=CONFIG, alt=alt, on_select=on_select, theme=None)
