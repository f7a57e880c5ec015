"""The windows that training sets are made of, and what they mean in plain words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from ui import format as fmt

WINDOWS: dict[str, int] = {"30d": 30, "60d": 60, "90d": 90, "120d": 120}
USUAL_WINDOW = "90d"
CUSTOM = "custom"
MATURITY_DAYS = 90


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
