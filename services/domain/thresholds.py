"""Where a score becomes an alert and where it becomes a refusal. They belong to one model version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores at or above `review` raise an alert, at or above `decline` are declined: 0 < review <= decline < 1.

    Never compared across versions: the scores of two models are not on one scale.
    """

    model_version: str
    review: float
    decline: float
