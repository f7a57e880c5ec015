"""What if: the controls that every payment has, whatever its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from typing import Any

import streamlit as st

KEY = "what-if-"
SAME = "As it is"


def of_payment(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the amount (major units) and the time of day (UTC) stand at before anything is changed."""
    moment = datetime.fromisoformat(record["event_time"])
    return {"amount": record["amount_minor"] / 10 ** record["exponent"], "time": time(moment.hour, moment.minute)}


def amount(record: Mapping[str, Any]) -> None:
    """From nothing to ten times as much, at least to 1,000."""
    most = float(max(1_000, round(record["amount_minor"] / 10 ** record["exponent"] * 10, -2)))
    st.slider(f"Amount ({record['currency']})", 0.0, most, step=most / 1000, format="%.2f", key=f"{KEY}amount")


def clock() -> None:
    st.slider("Time of day (UTC)", time(0, 0), time(23, 59), step=timedelta(minutes=1), key=f"{KEY}time")


def reset_button(reset: Callable[[], None]) -> None:
    st.button(
        "Reset", icon=":material/restart_alt:", key=f"{KEY}reset", on_click=reset, shortcut="Alt+Z",
        help="All as it is", width="stretch",
    )  # fmt: skip


def at(moment: datetime, clock: time, now: datetime) -> datetime:
    """The moment at another time of day: its latest that is not in the future."""
    if (moment.hour, moment.minute) == (clock.hour, clock.minute):
        return moment
    found = moment.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    return found if found <= now else found - timedelta(days=1)
