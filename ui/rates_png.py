"""The button that saves a chart as PNG, in one place with the other exports.

The picture is made by the person's own browser, where the chart already is: the server needs no browser for it. The
button presses the chart's own "Download plot as a PNG".
"""

from __future__ import annotations

import streamlit as st

_HTML = '<button type="button" part="button"><span class="word"></span></button>'
_CSS = """
button {
  width: 100%; min-height: 2.5rem; padding: 0.25rem 0.75rem; cursor: pointer;
  font: inherit; font-size: 0.875rem; color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius, 6px);
}
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color); }
"""
_JS = """
export default function (component) {
  const { parentElement, data } = component
  const button = parentElement.querySelector("button")
  button.querySelector(".word").textContent = data.label
  button.title = data.help
  button.onclick = () => {
    const chart = document.querySelector(`.st-key-${data.chart}`)
    const save = chart && chart.querySelector('.modebar-btn[data-title*="PNG"]')
    if (save) save.click()
    else button.querySelector(".word").textContent = data.missing
  }
}
"""


def button(chart: str, *, label: str = "PNG") -> None:
    """A button for the Plotly chart whose key is `chart`. The file's name is in the chart's own settings."""
    mount = st.components.v2.component("fraud_desk_png", html=_HTML, css=_CSS, js=_JS)
    mount(
        key=f"{chart}-png",
        data={
            "chart": chart,
            "label": label,
            "help": "The chart as a picture, in the colours shown",
            "missing": "There is no chart to save",
        },
    )
