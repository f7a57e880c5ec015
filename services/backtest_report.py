"""What a backtest found: per fold, mean and spread, per segment, and whether it may be believed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from services.backtest_protocol import CARDS_A_DAY, KNOWN_DAYS, Request
from services.backtest_segments import Segment

METRICS = ("auc", "ap", "cp100", "value_detection_rate")


@dataclass(frozen=True, slots=True)
class FoldResult:
    """Days are ISO dates, both ends included. `dropped_rows`: tested by nobody, because their cards were already known
    to be defrauded. A metric is None where the fold has nothing to measure (no fraud)."""

    fold: int
    train_from: str
    train_to: str
    test_from: str
    test_to: str
    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    dropped_rows: int
    trees: int
    prevalence: float
    auc: float | None
    ap: float | None
    cp100: float | None
    value_detection_rate: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """`holds` False fails the backtest; None: there was too little to judge by. `sentence` says what was found."""

    name: str
    holds: bool | None
    sentence: str
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    request: Request
    source: str
    features_version: str
    features: tuple[str, ...]
    model: dict[str, Any]
    rows: int
    frauds: int
    folds: tuple[FoldResult, ...]
    segments: tuple[Segment, ...]
    gains: tuple[tuple[str, float], ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def believable(self) -> bool:
        """No check failed."""
        return all(check.holds is not False for check in self.checks)

    def mean(self) -> dict[str, float | None]:
        return {name: _mean(_values(self.folds, name)) for name in METRICS}

    def spread(self) -> dict[str, dict[str, float] | None]:
        """Over the folds: standard deviation (n - 1; None of one fold), least and greatest."""
        return {name: _spread(_values(self.folds, name)) for name in METRICS}

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints; NaN becomes null."""
        request = asdict(self.request) | {
            "first": self.request.first.isoformat(),
            "last": self.request.last.isoformat(),
        }
        return {
            "source": self.source,
            "request": request
            | {"label_days": self.request.known_after, "known_days": KNOWN_DAYS, "cards_a_day": CARDS_A_DAY},
            "features_version": self.features_version,
            "features": list(self.features),
            "model": self.model,
            "rows": self.rows,
            "frauds": self.frauds,
            "folds": [asdict(fold) for fold in self.folds],
            "mean": self.mean(),
            "spread": self.spread(),
            "segments": [asdict(segment) for segment in self.segments],
            "gains": [{"feature": name, "share": round(share, 5)} for name, share in self.gains],
            "checks": [asdict(check) for check in self.checks],
            "believable": self.believable,
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }


def number(value: float) -> float | None:
    """A metric for JSON: nan is None."""
    return None if math.isnan(value) else round(float(value), 6)


def as_text(report: Report) -> str:
    request = report.request
    lines = [
        f"{report.source}: {report.rows:,} transactions, {report.frauds:,} frauds. Train {request.train_days} days, "
        f"delay {request.delay_days}, test {request.test_days}; labels known to the features after "
        f"{request.known_after:g} days; {len(report.features)} features.",
        "",
        f"{'fold':>4}  {'tested':<24}{'rows':>9}{'frauds':>8}{'AUC':>8}{'AP':>8}{'CP@100':>8}{'value':>8}",
    ]
    for fold in report.folds:
        lines.append(
            f"{fold.fold:>4}  {fold.test_from + '..' + fold.test_to:<24}{fold.test_rows:>9,}{fold.test_frauds:>8,}"
            + "".join(_cell(getattr(fold, name)) for name in METRICS)
        )
    mean, spread = report.mean(), report.spread()
    lines.append(f"{'':>4}  {'mean':<41}" + "".join(_cell(mean[name]) for name in METRICS))
    lines.append(
        f"{'':>4}  {'standard deviation':<41}" + "".join(_cell((spread[name] or {}).get("sd")) for name in METRICS)
    )
    lines += ["", f"{'segment':<44}{'rows':>9}{'frauds':>8}{'AP':>8}{'recall':>8}"]
    for one in report.segments:
        few = "  few frauds" if one.few else ""
        name = f"{one.dimension}: {one.segment}"[:43]
        lines.append(f"{name:<44}{one.rows:>9,}{one.frauds:>8,}{_cell(one.average_precision)}{_cell(one.recall)}{few}")
    lines += ["", *(f"{_WORDS[check.holds]:<10} {check.name}: {check.sentence}" for check in report.checks)]
    lines += [f"{'note':<10} {warning}" for warning in report.warnings]
    return "\n".join(lines)


_WORDS = {True: "holds", False: "FAILED", None: "not judged"}


def _cell(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:>8.3f}"


def _values(folds: Sequence[FoldResult], name: str) -> list[float]:
    return [value for fold in folds if (value := getattr(fold, name)) is not None]


def _mean(values: list[float]) -> float | None:
    return round(float(np.mean(values)), 6) if values else None


def _spread(values: list[float]) -> dict[str, float] | None:
    if len(values) < 2:
        return None
    return {"sd": round(float(np.std(values, ddof=1)), 6), "min": min(values), "max": max(values)}
