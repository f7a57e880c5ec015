"""The right side of Training data: columns and their problems, what each step changed, a quick model, drift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from services.flow_engine import Fitted
from services.flow_inputs import LATER
from services.flow_steps import words
from services.frozen_sets import FrozenSet
from services.profile import LEAK_AUC, OUTLIER_RANGES, ColumnProfile, Profile, profile
from services.profile_measures import PSI_BINS, PSI_LARGE, PSI_SMALL
from services.profile_model import Drift, QuickModel, quick_model
from services.training_data_import import Imported
from ui import charts, errors, page, training_data_charts, wiring
from ui import format as fmt
from ui.training_data_step import kinds_of

VIEWS = ("Columns", "Steps", "Quick model", "Drift")


def profile_of(imported: Imported, fitted: Fitted, key: str) -> Profile:
    return wiring.drawn(
        ("training_data.profile", key),
        lambda: profile(fitted.table, labels=imported.labels, train=imported.train),
    )


def problems(imported: Imported, found: Profile) -> list[str]:
    """What speaks against learning from these rows, in words, the gravest first."""
    said = [f"{c.name}: {text}" for c in found.columns for text in c.problems if text.startswith("Leaks")]
    share = imported.frauds / imported.usable
    if share < 0.001:
        said.append(f"Frauds are {share:.3%} of the rows: judge models by average precision, never by accuracy.")
    if imported.duplicates:
        said.append(
            f"{imported.duplicates:,} of {imported.usable:,} rows are equal to an earlier one in features and label."
        )
    empty = [c.name for c in found.columns if c.missing == c.rows]
    constant = [c.name for c in found.columns if c.distinct == 1 and not c.missing]
    if empty:
        said.append(f"Missing in every row: {_few(empty)}.")
    if constant:
        said.append(f"The same in every row: {_few(constant)}.")
    return said


def _few(names: list[str], most: int = 5) -> str:
    """The first names; the table has them all."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def columns(imported: Imported, fitted: Fitted, key: str) -> None:
    """The profile as a table, and the chosen column's distribution."""
    found = profile_of(imported, fitted, key)
    for sentence in problems(imported, found):
        st.markdown(f":orange[:material/warning:] {fmt.literal(sentence)}")
    for note in fitted.notes:
        st.caption(f":material/info: {fmt.literal(note)}")
    names = [c.name for c in found.columns]
    place = _chosen("td-profile", names)
    st.dataframe(
        [_row(c) for c in found.columns],
        hide_index=True,
        key="td-profile",
        height=330,
        placeholder=fmt.MISSING,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Column": st.column_config.TextColumn(pinned=True, width="medium"),
            "Missing": st.column_config.NumberColumn(format="percent"),
            "Distinct": st.column_config.NumberColumn(format="localized"),
            "AUC": st.column_config.NumberColumn(
                format="%.3f", help=f"Of this column alone, on later rows; from {LEAK_AUC} on it leaks the label."
            ),
            "Outliers": st.column_config.NumberColumn(
                format="localized", help=f"Beyond {OUTLIER_RANGES:g} interquartile ranges outside the quartiles."
            ),
            "Skew": st.column_config.NumberColumn(format="%.1f", help="m3 / m2^1.5"),
            **{
                c: st.column_config.NumberColumn(format="compact") for c in ("Min", "Q1", "Median", "Mean", "Q3", "Max")
            },
        },
        alt="Columns after the last step with type, missing share, distinct values, quantiles, skew, outliers and AUC",
    )
    _one(imported, fitted, names[place])
    st.caption(_sampled(imported))
    with st.expander("Columns that are not offered", icon=":material/block:"):
        st.markdown("\n".join(f"- `{name}`: {why}" for name, why in LATER.items()))


def _chosen(key: str, names: list[str]) -> int:
    rows = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
    return rows[0] if rows and rows[0] < len(names) else 0


def _row(c: ColumnProfile) -> dict[str, Any]:
    return {
        "Column": c.name,
        "Type": c.kind,
        "Missing": c.missing / c.rows,
        "Distinct": c.distinct,
        "AUC": c.auc,
        "Min": c.minimum,
        "Q1": c.lower,
        "Median": c.median,
        "Mean": c.mean,
        "Q3": c.upper,
        "Max": c.maximum,
        "Skew": c.skew,
        "Outliers": c.outliers,
        "Problems": " ".join(c.problems),
    }


def _one(imported: Imported, fitted: Fitted, name: str) -> None:
    colors, column = charts.palette(), fitted.table[name]
    left, right = st.columns(2, gap="small")
    with left:
        figure = training_data_charts.distribution(column, title=name, colors=colors, after=True)
        charts.show(figure, key="td-distribution", alt=f"Distribution of {name}; its numbers are in the table above")
    with right:
        if kinds_of([name], [column.type])[name] in ("text", "time"):
            st.caption("Frauds against genuine transactions are drawn for numbers.")
            return
        figure = training_data_charts.by_label(column, imported.labels, title=name, colors=colors)
        charts.show(figure, key="td-by-label", alt=f"{name} of frauds against genuine transactions")


def _sampled(imported: Imported) -> str:
    rows = f"{imported.table.num_rows:,}"
    if not imported.sampled:
        return f"All {rows} rows with a label. Fitted values are of the training rows among them."
    return (
        f"A random sample of {rows} of {imported.usable:,} rows with a label, the same each time. Fitted values shown "
        "are of its training rows; a frozen set is fitted on all of them."
    )


def steps(fitted: Fitted) -> None:
    """What the chosen step took and made: values of the same rows, and both distributions."""
    flow = fitted.flow.flow
    if not flow.steps:
        page.empty("No step yet", "Add one at the left: this shows what it changes before anything is saved.")
        return
    place = st.selectbox(
        "Step", range(len(flow.steps)), index=len(flow.steps) - 1, key=f"td-shown-{len(flow.steps)}",
        format_func=lambda i: f"{i + 1}. {words(flow.steps[i])}",
    )  # fmt: skip
    change, learned = fitted.changes[place], fitted.flow.fits[place]
    if learned and flow.steps[place].do not in ("expression",):
        st.caption(f"Learned from the training rows: {fmt.literal(_learned(learned))}")
    before, after = change.before, change.after
    sides = [(f"{name} (before)", before[name]) for name in before.column_names[:6]]
    sides += [(f"{name} (after)", after[name]) for name in after.column_names[:8]]
    st.dataframe(
        {name: column.slice(0, 8).to_pylist() for name, column in sides},
        hide_index=True,
        placeholder=fmt.MISSING,
        alt="The first eight rows of the sample before and after the step",
    )
    left, right = st.columns(2, gap="small")
    colors = charts.palette()
    for side, table, said in ((left, before, "Before"), (right, after, "After")):
        with side:
            if not table.num_columns:
                st.caption(f"{said}: no column.")
                continue
            name = table.column_names[0]
            figure = training_data_charts.distribution(
                table[name], title=f"{name}, {said.lower()}", colors=colors, after=said == "After"
            )
            charts.show(figure, key=f"td-{said}", alt=f"Distribution of {name} {said.lower()} the step")


def _learned(fit: Any) -> str:
    parts = []
    for key, value in fit.items():
        if isinstance(value, dict):
            parts.append(f"{key} of {len(value)} values")
        elif isinstance(value, list):
            shown = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value[:8])
            parts.append(f"{key} {shown}{' …' if len(value) > 8 else ''}")
        elif value is not None:
            parts.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return "; ".join(parts) + "."


def model(imported: Imported, fitted: Fitted, key: str) -> None:
    """A small model on the sample: what the columns are worth together."""
    with errors.shown(), st.spinner("Training a small model on the sample …"):
        made: QuickModel = wiring.drawn(
            ("training_data.model", key),
            lambda: quick_model(fitted.matrix(), fitted.flow.outputs, labels=imported.labels, train=imported.train),
        )
        first, second, third = st.columns(3)
        first.metric("Average precision", f"{made.average_precision:.3f}", border=True)
        second.metric("Prevalence", f"{made.prevalence:.4f}", help="What a blind guess reaches.", border=True)
        third.metric("Measured rows", f"{made.rows:,}", help="Later than all it was trained on.", border=True)
        figure = training_data_charts.gains(made.gains, colors=charts.palette())
        charts.show(figure, key="td-gains", alt="Shares of the total gain of the ten most useful columns")
        st.caption(
            f"60 trees of depth 4, trained on the {made.train_rows:,} earlier rows of the sample: a direction, not a "
            "candidate."
        )


def drifted(former: FrozenSet | None, read: Callable[[FrozenSet], tuple[Drift, ...]]) -> None:
    """Columns against the training rows of the last frozen set."""
    if former is None:
        page.empty("Nothing to compare with yet", "Freeze a training set; the next one is compared with it.")
        return
    with errors.shown():
        found = read(former)
        shifted = [item.column for item in found if item.shifted]
        st.markdown(
            f"Against **{fmt.literal(former.name)}**: "
            + (
                f"{len(shifted)} of {len(found)} columns shifted."
                if shifted
                else f"none of {len(found)} columns shifted."
            )
        )
        st.dataframe(
            [{"Column": d.column, "PSI": d.psi, "Verdict": _verdict(d.psi)} for d in found],
            hide_index=True,
            height=380,
            column_config={"PSI": st.column_config.NumberColumn(format="%.3f")},
            alt="Population stability index of each column, the greatest first",
        )
        st.caption(
            f"PSI: the sum of (c − r) · ln(c / r) over {PSI_BINS} bins of equal count of the older set and one for "
            f"missing. Below {PSI_SMALL:g} stable, from {PSI_LARGE:g} shifted (Siddiqi 2006)."
        )


def _verdict(value: float) -> str:
    return "shifted" if value >= PSI_LARGE else "moved a little" if value >= PSI_SMALL else "stable"
