"""Coming back by itself: while a screen could not be read at all, it is drawn again until it can."""

from __future__ import annotations

import time

import streamlit as st

EVERY_SECONDS = 5.0


@st.fragment(run_every=EVERY_SECONDS, key="retry-until-back")
def until_back(drawn_at: float) -> None:
    """Call in the broken state with `time.monotonic()`: later runs of this fragment redraw the whole screen."""
    if time.monotonic() - drawn_at > EVERY_SECONDS / 2:
        st.rerun()
