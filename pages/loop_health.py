"""Every hop of the loop from intake to endpoint: does it work, how far behind is it, what went wrong last.

Below: the hops in full, the connectors (pause, resume), what is in quarantine, and MongoDB against the lake on demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from services.access import Permission
from services.errors import ServiceError
from services.health import Hop
from ui import format as fmt
from ui import loop_connectors, loop_quarantine, loop_reconciliation, loop_view, page, wiring

TITLE = "Is the loop closed?"
PARTS = {"hops": "Hops", "connectors": "Connectors", "quarantine": "Quarantine", "reconciliation": "Reconciliation"}


def _read() -> wiring.Read[tuple[Hop, ...]]:
    return wiring.last_good(
        ("health.hops",), lambda: wiring.services().health.hops(), ttl=1.5, source="health", background=True
    )


def _verdict(hops: Sequence[Hop]) -> None:
    """The answer in one line, and the loop as a line of hops, each with its state, lag and rate."""
    found = loop_view.verdict(hops)
    look = loop_view.LOOKS[found.state]
    with st.container(border=True, gap="small"):
        st.markdown(
            f"##### :{look.color}[:material/{look.icon}:] {fmt.literal(found.title)} "
            f":small[:gray[{fmt.literal(found.sentence)}]]",
            anchors=False,
        )
        widths = [9, *[1, 9] * (len(hops) - 1), 1]
        places = st.columns(widths, gap="xsmall", vertical_alignment="top")
        for index, hop in enumerate(hops):
            name, state, figures = loop_view.station(hop)
            with places[2 * index].container(gap=None):
                st.markdown(name)
                st.markdown(state)
                st.caption(figures)
            last = index == len(hops) - 1
            places[2 * index + 1].markdown(
                f":gray[:material/{'replay' if last else 'arrow_forward'}:]", text_alignment="center"
            )


def _table(hops: Sequence[Hop], now: datetime) -> None:
    st.table(
        [loop_view.row(hop, now) for hop in hops],
        hide_index=True,
        border="horizontal",
        alt="Every hop: state, what it says, lag, rate, counts in and out, waiting, quarantined, and the last error",
    )
    st.caption(
        "Behind: how long ago what the hop has yet to hand on came in from the hop before. Rate: the mean of the last "
        "five minutes. In, out and quarantined: since the beginning. –: not known, or no such thing."
    )


@st.fragment(run_every="2s", key="loop-line")
def _line() -> None:
    """The verdict and the line of hops; stands on top of every part."""
    page.guard(Permission.VIEW_HEALTH)
    try:
        with st.skeleton(150):
            read = _read()
    except ServiceError as error:
        page.broken(error)
        return
    page.stale(read)
    if not read.value:
        page.empty("No hop has reported yet", "The workers report within seconds of their start.")
        return
    _verdict(read.value)


@st.fragment(run_every="2s", key="loop-hops")
def _hops() -> None:
    page.guard(Permission.VIEW_HEALTH)
    try:
        hops = _read().value
    except ServiceError:  # said above, by the line
        return
    if hops:
        _table(hops, datetime.now(UTC))


@st.fragment(run_every="2s", key="loop-chip")
def _chip() -> None:
    try:
        page.chip(page.live(_read(), datetime.now(UTC)))
    except ServiceError as error:
        page.chip(page.unreadable(error))


def _render() -> None:
    page.guard(Permission.VIEW_HEALTH)
    caption = "From a transaction's arrival to the model that scores the next one. Renewed every 2 seconds."
    with page.header(TITLE, caption=caption):
        _chip()
    _line()
    part = st.segmented_control(
        "Part", list(PARTS), format_func=PARTS.__getitem__, default="hops", required=True, key="loop_part",
        bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    if part == "hops":
        _hops()
    elif part == "connectors":
        loop_connectors.show(_stream)
    elif part == "quarantine":
        loop_quarantine.show()
    elif part == "reconciliation":
        loop_reconciliation.show()


def _stream() -> Hop | None:
    try:
        return next((hop for hop in _read().value if hop.key == "stream"), None)
    except ServiceError:
        return None


_render()
