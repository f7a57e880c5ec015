"""What Autopilot tried, best first."""

from __future__ import annotations

import streamlit as st

from services.training import Candidate, Experiment
from ui import format as fmt

_FIGURES = {
    "AP": "average_precision",
    "AUC": "auc",
    "CP@100": "cp100",
    "Precision": "precision_at_review",
    "Recall": "recall_at_review",
    "Alert rate": "alert_rate",
    "Calibration error": "calibration_error",
}


def rows(candidates: tuple[Candidate, ...]) -> list[dict[str, object]]:
    """Best AUC first, those without a figure last; what was not measured is None."""
    ranked = sorted(candidates, key=lambda c: (-c.metrics.get("auc", -1.0), c.name))
    return [
        {
            "Candidate": f"{c.name.rpartition('-')[2]}{' (best)' if c.best else ''}",
            "State": fmt.word(c.status),
            **{title: c.metrics.get(key) for title, key in _FIGURES.items()},
            "Why not": c.failure,
        }
        for c in ranked
    ]


def show(experiment: Experiment) -> None:
    if not experiment.candidates:
        return
    st.dataframe(
        rows(experiment.candidates), hide_index=True, key="retrain-candidates", placeholder=fmt.MISSING,
        column_config={title: st.column_config.NumberColumn(format="%.3f") for title in _FIGURES},
        alt="Candidates of the search, best first, with their figures on rows that tuned nothing",
    )  # fmt: skip
