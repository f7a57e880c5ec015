"""What the curator refused: how many for which reason, and where the newest are. Never a record's contents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from services.access import Permission
from services.lake import Quarantined
from ui import format as fmt
from ui import page, wiring
from ui.export import to_csv

NEWEST = 200
_COLUMNS = ("reason", "topic", "at", "object", "line", "offset")


@st.fragment(run_every="10s", key="loop-quarantine")
def show() -> None:
    page.guard(Permission.VIEW_HEALTH)
    lake = wiring.services().lake
    with page.content():
        read = wiring.last_good(
            ("loop.quarantine",), lambda: (lake.quarantine_reasons(), lake.quarantine(NEWEST)), ttl=8.0, source="S3",
            background=True,
        )  # fmt: skip
        page.stale(read)
        reasons, newest = read.value
        if not reasons:
            page.state(
                "Nothing is in quarantine",
                "Every record of the raw zone was folded into the lake. A record that cannot be a row is kept aside "
                "here with its reason, and counted.",
                icon="verified",
            )
            return
        _reasons(reasons)
        _newest(newest)


def _reasons(reasons: dict[str, int]) -> None:
    total = sum(reasons.values())
    noun = "record is" if total == 1 else "records are"
    st.markdown(f"**{fmt.count(total)} {noun} in quarantine** :gray[:small[in = folded + quarantined + waiting]]")
    st.dataframe(
        {
            "Reason": list(reasons),
            "Records": list(reasons.values()),
            "Share": [count / total for count in reasons.values()],
        },
        hide_index=True,
        key="loop-reasons",
        height="content",
        column_config={
            "Reason": st.column_config.TextColumn(width="large"),
            "Records": st.column_config.NumberColumn(format="localized", width=90),
            "Share": st.column_config.NumberColumn(format="percent", width=80),
        },
        alt="Reasons for which records were refused, with how many",
    )


def _newest(newest: tuple[Quarantined, ...]) -> None:
    rows = [(one.reason, one.topic, one.at, one.object, one.line + 1, one.offset) for one in newest]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**The newest {len(rows)}**", help="Of the objects the lake's position still names.")
        st.download_button(
            "CSV", lambda: _csv(rows), file_name=f"fraud-desk-quarantine-{datetime.now(UTC):%Y%m%d-%H%M}.csv",
            mime="text/csv", icon=":material/download:", on_click="ignore", key="loop-quarantine-csv",
        )  # fmt: skip
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in _COLUMNS]
    st.dataframe(
        {
            "Reason": columns[0],
            "Changed at (UTC)": columns[2],
            "Raw object": columns[3],
            "Line": columns[4],
            "Offset": columns[5],
        },
        hide_index=True,
        key="loop-refused",
        placeholder=fmt.MISSING,
        column_config={
            "Reason": st.column_config.TextColumn(width="medium"),
            "Changed at (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", width=150),
            "Raw object": st.column_config.TextColumn(width="large"),
        },
        alt="The newest refused records: reason, time of the change, raw object, line and offset",
    )


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    return to_csv(_COLUMNS, ([v.isoformat() if isinstance(v, datetime) else v for v in row] for row in rows))
