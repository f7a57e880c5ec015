"""Every hop of the loop from intake to endpoint: does it work, how far behind is it, what went wrong last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from services.access import Permission
from services.errors import ServiceError
from services.health import Hop
from ui import format as fmt
from ui import loop_view, page, wiring

TITLE = "Is the loop closed?"


def _read() -> wiring.Read[tuple[Hop, ...]]:
    return wiring.last_good(
        ("health.hops",), lambda: wiring.services().health.hops(), ttl=1.5, source="health", background=True
    )


def _verdict(hops: Sequence[Hop]) -> None:
    """The answer in one line, and the loop as a line of hops in the colour of their state."""
    found = loop_view.verdict(hops)
    look = loop_view.LOOKS[found.state]
    with st.container(border=True, gap="small"):
        st.markdown(
            f"##### :{look.color}[:material/{look.icon}:] {fmt.literal(found.title)} "
            f":small[:gray[{fmt.literal(found.sentence)}]]",
            anchors=False,
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            for index, hop in enumerate(hops):
                if index:
                    st.markdown(":gray[:material/arrow_forward:]", width="content")
                st.markdown(loop_view.mark(hop), width="content")
            st.markdown(":gray[:material/replay:]", width="content", help="The endpoint scores what comes in next.")


def _table(hops: Sequence[Hop], now: datetime) -> None:
    st.table(
        [loop_view.row(hop, now) for hop in hops],
        hide_index=True,
        border="horizontal",
        alt="Every hop: state, what it says, how far behind it is, counts and the last error",
    )
    st.caption("Behind: the age of the newest thing that the hop has handed on.")


@st.fragment(run_every="2s", key="loop-body")
def _body() -> None:
    page.guard(Permission.VIEW_HEALTH)
    now = datetime.now(UTC)
    try:
        with st.skeleton(520):
            read = _read()
    except ServiceError as error:
        page.header(TITLE)
        page.broken(error)
        return
    caption = "From a transaction's arrival to the model that scores the next one. Renewed every 2 seconds."
    page.header(TITLE, caption=caption, freshness=page.live(read, now))
    page.stale(read)
    hops = read.value
    if not hops:
        page.empty("No hop has reported yet", "The workers report within seconds of their start.")
        return
    _verdict(hops)
    _table(hops, now)


_body()
