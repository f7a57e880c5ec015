"""The comparison on the screen: choose two, read what differs, see both curves."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from services.errors import ServiceError
from services.training import Experiment
from ui import charts, charts_training, page, retrain_address, retrain_compare, wiring
from ui import format as fmt
from ui.retrain_compare import Side

LOG_LINES = 1_000


def show(experiments: Sequence[Experiment], *, champion: str | None) -> None:
    known = retrain_compare.sides(experiments)
    if len(known) < 2:
        page.empty("Nothing to compare yet", "Two experiments that were measured can be put side by side.")
        return
    first, second = _chosen(known, champion)
    missing = [key for key in (st.query_params.get("a"), st.query_params.get("b")) if key and key not in known]
    if missing:
        st.warning(
            f"There is no result of {fmt.literal(missing[0])} to compare; others are shown.",
            icon=":material/search_off:",
        )
    left, right = st.columns(2, gap="small")
    titles = {key: _title(side, champion) for key, side in known.items()}
    for column, name, usual in ((left, "a", first), (right, "b", second)):
        key = f"retrain-{name}"
        if st.session_state.get(key) not in known:
            st.session_state[key] = usual
        column.selectbox(
            "First" if name == "a" else "Second, against it", list(known), key=key, format_func=titles.__getitem__
        )
        retrain_address.put(name, st.session_state[key])
    a, b = known[st.session_state["retrain-a"]], known[st.session_state["retrain-b"]]
    if a.key == b.key:
        st.caption("Both are the same; choose another one.")
    _table(a, b)
    _curves(a, b)


def _title(side: Side, champion: str | None) -> str:
    serves = champion is not None and side.experiment.model_version == champion and "/" not in side.key
    return f"{side.title}{', serving' if serves else ''}"


def _chosen(known: dict[str, Side], champion: str | None) -> tuple[str, str]:
    """By the address; else what serves against the newest other one."""
    keys = list(known)
    serving = next((k for k in keys if champion and known[k].experiment.model_version == champion), keys[-1])
    asked = st.query_params.get("a"), st.query_params.get("b")
    first = asked[0] if asked[0] in known else serving
    second = asked[1] if asked[1] in known else next(key for key in keys if key != first)
    return str(first), str(second)


def _table(a: Side, b: Side) -> None:
    lines = retrain_compare.lines(a, b)
    only = st.toggle("Only what differs", value=True, key="retrain-differs")
    kept = [line for line in lines if line.differs or not only]
    if not kept:
        st.caption("Settings, data and results are the same.")
        return
    names = ("First", "Second")
    st.dataframe(
        [
            {"": line.group, "What": line.fact, names[0]: line.a, names[1]: line.b, "Difference": line.change}
            for line in kept
        ],
        hide_index=True,
        key="retrain-compared",
        height="content",
        column_config={
            "": st.column_config.TextColumn(width=68),
            "What": st.column_config.TextColumn(width=150),
            **{name: st.column_config.TextColumn(alignment="right", width=136) for name in (*names, "Difference")},
        },
        alt="Settings, data and results of both, what differs first, with the second less the first",
    )
    st.caption(
        "Each result is of its own validation rows: where the data differ, compare with prevalence in mind. "
        "Two experiments on one frozen set are measured on the same rows."
    )


def _curves(a: Side, b: Side) -> None:
    colors = charts.palette()
    logs = [(name, _log(side)) for name, side in (("First", a), ("Second", b))]
    figure = wiring.drawn(
        ("retrain.overlay", tuple(logs), colors),
        lambda: charts_training.overlay([(name, charts_training.curves(lines)) for name, lines in logs], colors=colors),
    )
    st.markdown("**Learning curves on the validation rows**")
    charts.show(figure, key="retrain-overlay", alt="Area under the PR curve by boosting round of both, validation rows")


def _log(side: Side) -> tuple[str, ...]:
    """What its own training printed; nothing where that cannot be read or it was a search's candidate."""
    identifier = side.experiment.experiment_id
    if side.job is None or side.job != side.experiment.training_job:
        return ()
    try:
        return wiring.last_good(
            ("training.log", identifier), lambda: wiring.services().training.log_tail(identifier, LOG_LINES),
            ttl=60.0, source="training logs", background=True,
        ).value  # fmt: skip
    except ServiceError:
        return ()
