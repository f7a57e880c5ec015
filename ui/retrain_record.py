"""The record of an experiment: everything that it was made of, and the command that makes it again."""

from __future__ import annotations

import streamlit as st

from services.training import Experiment
from ui import format as fmt
from ui import retrain_settings, retrain_summary


def facts(experiment: Experiment) -> dict[str, str]:
    """What was recorded, in words; what is not there yet is left out."""
    e = experiment
    held = {
        "Experiment": e.experiment_id,
        "Rows": f"{e.window_start:%Y-%m-%d %H:%M:%S} to {e.window_end:%Y-%m-%d %H:%M:%S} UTC",
        "Labels known until": fmt.utc(e.label_cutoff),
        "Lake snapshots": _snapshots(e),
        "Frozen set": e.frozen,
        "SHA-256 of the frozen set": e.frozen_sha256,
        "Flow": f"{e.flow[0]}, version {e.flow[1]}" if e.flow else None,
        "Features chosen": f"{len(e.features)}" if e.features else None,
        "Target": e.target,
        "Method": _method(e),
        "Endpoint": f"{e.endpoint_name}, deployed by itself" if e.auto_deploy else None,
        "Deployment": e.deployment_id,
        "Training job": e.training_job,
        "Artifact": e.artifact_uri,
        "Model package": e.package_arn,
    }
    return {fact: value for fact, value in held.items() if value}


def _snapshots(e: Experiment) -> str | None:
    if e.snapshot_id is None:
        return None
    labels = f", labels {e.labels_snapshot_id}" if e.labels_snapshot_id is not None else ""
    return f"transactions {e.snapshot_id}{labels}"


def _method(e: Experiment) -> str:
    if e.autopilot is not None:
        return f"Autopilot, {e.autopilot.mode}, {e.autopilot.max_candidates} candidates, {e.autopilot.max_runtime_s} s"
    given = ", ".join(retrain_settings.words(key, value) for key, value in e.hyperparameters.items())
    return f"{retrain_summary.METHOD_NAMES.get(e.method, e.method)}, {given or 'usual settings'}"


def why_not(experiment: Experiment) -> str | None:
    """Why it cannot be made again, None when it can."""
    if not experiment.finished:
        return "It can be made again once it has ended."
    if experiment.artifact_uri is None or experiment.snapshot_id is None:
        return "It left no model, so there is nothing to make again."
    return None


def show(experiment: Experiment) -> None:
    reason = why_not(experiment)
    if reason is None:
        st.caption("Makes the same training set and the same model from this record, and compares them:")
        st.code(f"python -m services reproduce {experiment.experiment_id}", language=None)
    else:
        st.caption(reason)
    st.dataframe(
        [{"What": fact, "Recorded": value} for fact, value in facts(experiment).items()],
        hide_index=True, key="retrain-record", height="content",
        column_config={"What": st.column_config.TextColumn(width="small")},
        alt="Everything that was recorded of this experiment",
    )  # fmt: skip
