"""From the choices of the retrain form to a request, and what the request means in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from services.training import TrainingRequest
from ui import format as fmt

WINDOWS: dict[str, int] = {"30d": 30, "60d": 60, "90d": 90, "120d": 120}
USUAL_WINDOW = "90d"
CUSTOM = "custom"
MATURITY_DAYS = 90


@dataclass(frozen=True, slots=True)
class Field:
    """A hyperparameter as a person sets it: `usual` is the value model/train.py takes when it is left alone."""

    key: str
    label: str
    usual: float
    whole: bool
    help: str


FIELDS: tuple[Field, ...] = (
    Field("num_round", "Boosting rounds, at most", 200, True, "Stops earlier when the validation curve stops rising."),
    Field("max_depth", "Tree depth", 3, True, "Deeper trees combine more conditions and overfit sooner."),
    Field("eta", "Learning rate", 0.2, False, "Smaller learns slower and needs more rounds."),
    Field("min_child_weight", "Least weight of a leaf", 1.0, False, "Larger ignores rare patterns."),
    Field("subsample", "Share of rows a tree", 1.0, False, "Below 1 each tree sees a random part of the rows."),
    Field("target_alert_rate", "Alert rate to aim at", 0.01, False,
          "The share of transactions that analysts can look at; sets the suggested review threshold."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """Half open, aware UTC: start <= event time < end; labels as known at `cutoff`."""

    start: datetime
    end: datetime
    cutoff: datetime

    @property
    def days(self) -> float:
        return (self.end - self.start).total_seconds() / 86_400


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def preset_window(days: int, *, now: datetime) -> Window:
    """The last `days` x 24 hours, with every label known by now: the newest verdicts, given a moment ago on payments of
    today, are what a retraining is for."""
    return Window(now - timedelta(days=days), now, now)


def custom_window(first: date, last: date, cutoff: date, *, now: datetime) -> Window:
    """Both days inclusive; nothing reaches into the future: a day that is not over ends now."""
    day = timedelta(days=1)
    return Window(midnight(first), min(midnight(last) + day, now), min(midnight(cutoff) + day, now))


def usual_name(now: datetime, window: Window) -> str:
    return (
        f"XGBoost {window.days:.0f} days to {window.end.day} {window.end:%b}" if window.days else f"XGBoost {now:%d %b}"
    )


def request(name: str, window: Window, given: Mapping[str, float | None]) -> TrainingRequest:
    """Only what differs from the usual values is sent, so that a later change of them is not overruled by habit."""
    usual = {field.key: field.usual for field in FIELDS}
    changed = {key: value for key, value in given.items() if value is not None and value != usual.get(key)}
    return TrainingRequest(
        name=name.strip(),
        window_start=window.start,
        window_end=window.end,
        label_cutoff=window.cutoff,
        method="xgboost",
        hyperparameters=changed,
    )


def explained(window: Window) -> str:
    """Which rows and which labels are taken, in plain words (Markdown)."""
    end = window.end - timedelta(milliseconds=1)
    cutoff = f"{window.cutoff.day} {window.cutoff:%b %Y}, {fmt.clock(window.cutoff)}"
    return (
        f"**Rows**: transactions of {window.start.day} {window.start:%b} to {end.day} {end:%b %Y} "
        f"({window.days:.0f} days). **Labels**: as known on {cutoff}."
    )


DETAILS = (
    "The latest label known at the cut-off counts: fraud or genuine; inconclusive ones are left out. Without a label a "
    "transaction counts as genuine once it is 7 days old, younger ones are left out. Features are computed as they "
    "stood at each transaction. The last fifth of the time validates, never a random part: its earlier half says when "
    "to stop, calibrates and sets thresholds, its later half only measures. Small sets then learn again from all "
    "rows. One snapshot of the lake is pinned, so the experiment can be repeated."
)


def young_labels(window: Window) -> str | None:
    """A caution when part of the window is younger at the cut-off than labels take to arrive; None when none is."""
    complete_until = window.cutoff - timedelta(days=MATURITY_DAYS)
    if window.end <= complete_until:
        return None
    young = (window.end - max(window.start, complete_until)).total_seconds() / 86_400
    return f"{young:.0f} of {window.days:.0f} days are younger than {MATURITY_DAYS} days: late chargebacks are missing."
