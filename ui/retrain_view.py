"""An experiment as a person follows it: steps with times, result against its baseline, rows for the list. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.training import Experiment, ExperimentState, TimelineEntry
from ui import format as fmt
from ui import retrain_summary

S = ExperimentState
STEPS: tuple[tuple[ExperimentState, str], ...] = (
    (S.REQUESTED, "Requested"),
    (S.PREPARING, "Preparing"),
    (S.TRAINING, "Training"),
    (S.REGISTERING, "Registering"),
    (S.CANDIDATE, "Candidate"),
)
ICONS: dict[ExperimentState, tuple[str, str]] = {
    S.REQUESTED: ("schedule", "gray"),
    S.PREPARING: ("table_rows", "blue"),
    S.TRAINING: ("model_training", "blue"),
    S.REGISTERING: ("inventory_2", "blue"),
    S.CANDIDATE: ("check_circle", "green"),
    S.FAILED: ("cancel", "red"),
    S.STOPPED: ("stop_circle", "orange"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """`phase` is done, now, ended (failed or stopped here) or waiting; times are None until it began."""

    title: str
    phase: str
    began_at: datetime | None
    seconds: float | None


def entered_at(experiment: Experiment, state: ExperimentState) -> datetime | None:
    """When a state was first entered, by the timeline."""
    return next((entry.at for entry in experiment.timeline if entry.state == state.value), None)


def steps(experiment: Experiment, *, now: datetime) -> tuple[Step, ...]:
    """The five steps in order. A step lasts until the next one began; the current one until `now`."""
    began = [entered_at(experiment, state) for state, _ in STEPS]
    began[0] = began[0] or experiment.requested_at
    reached = max(i for i, at in enumerate(began) if at is not None)
    if experiment.state in dict(STEPS):
        reached = max(reached, [state for state, _ in STEPS].index(experiment.state))
    stopped = experiment.state in (S.FAILED, S.STOPPED)
    found = []
    for index, (_, title) in enumerate(STEPS):
        at = began[index]
        after = next((later for later in began[index + 1 :] if later is not None), None)
        until = after or experiment.finished_at or now
        last = index == len(STEPS) - 1
        phase = "waiting" if index > reached else "done" if index < reached or experiment.finished else "now"
        if stopped and index == reached:
            phase = "ended"
        seconds = (until - at).total_seconds() if at and not last else None
        found.append(Step(title, phase, at, seconds))
    return tuple(found)


def average_precision(experiment: Experiment) -> float | None:
    """On the validation rows, under the name the container reports it by; None until training ends."""
    return experiment.metrics.get("average_precision")


def prevalence(experiment: Experiment) -> float | None:
    """What a blind guess reaches: the share of fraud among the validation rows, where average precision is measured;
    until that is known, among all rows of the training set; None until that is built."""
    if (measured := experiment.metrics.get("prevalence")) is not None:
        return measured
    if not experiment.rows or experiment.positives is None:
        return None
    return experiment.positives / experiment.rows


def lift(score: float | None, baseline: float | None) -> str | None:
    """'62 × a blind guess'; None without both."""
    if score is None or not baseline:
        return None
    times = score / baseline
    return f"{times:,.0f} × a blind guess" if times >= 10 else f"{times:,.1f} × a blind guess"


def duration(experiment: Experiment, *, now: datetime) -> float:
    return ((experiment.finished_at or now) - experiment.requested_at).total_seconds()


def rows(experiments: Sequence[Experiment], *, champion: str | None = None) -> list[dict[str, object]]:
    """The list, newest first, as given; missing numbers stay None. The champion is the model that serves."""
    found = [
        {
            "Experiment": e.name,
            "Model": e.model_version,
            "State": "Champion" if champion and e.model_version == champion else fmt.word(e.state.value),
            "AP": average_precision(e),
            "AUC": e.metrics.get("auc"),
            "CP@100": e.metrics.get("cp100"),
            "Precision": e.metrics.get("precision_at_review"),
            "Recall": e.metrics.get("recall_at_review"),
            "Value caught": e.metrics.get("value_detection_rate"),
            "Calibration": e.metrics.get("calibration_error"),
            "Alert rate": e.metrics.get("alert_rate"),
            "Prevalence": prevalence(e),
            "Rows": e.rows,
            "Frauds": e.positives,
            "Took (s)": round(duration(e, now=e.requested_at)) if e.finished_at else None,
            "Method": retrain_summary.METHOD_NAMES.get(e.method, e.method),
            "Data": f"{e.window_start.day} {e.window_start:%b} to {e.window_end.day} {e.window_end:%b %Y}",
            "Frozen set": e.frozen,
            "Requested (UTC)": e.requested_at,
            "By": e.requested_by,
            "Id": e.experiment_id,
        }
        for e in experiments
    ]
    # What nobody measured or used takes no room.
    optional = [key for key in ("CP@100", "Frozen set") if all(row[key] is None for row in found)]
    return [{key: value for key, value in row.items() if key not in optional} for row in found]


def timeline(experiment: Experiment) -> tuple[TimelineEntry, ...]:
    """Newest first: what just happened is what one looks for."""
    return tuple(sorted(experiment.timeline, key=lambda entry: entry.at, reverse=True))


def entry_word(entry: TimelineEntry) -> str:
    """'job:Downloading' is the training job's own word."""
    return f"Job: {fmt.word(entry.state[4:])}" if entry.state.startswith("job:") else fmt.word(entry.state)
