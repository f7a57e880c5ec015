"""Two experiments, or candidates of them, side by side: settings, data, results; what differs first. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.training import Experiment
from ui import format as fmt
from ui import retrain_settings, retrain_summary

# Metric -> (what it is called, digits); shares as they are. Further ones are shown by their own names.
METRICS: Mapping[str, tuple[str, int]] = {
    "average_precision": ("Average precision", 3),
    "auc": ("AUC", 3),
    "cp100": ("Card precision (CP@100)", 3),
    "precision_at_review": ("Precision at review", 3),
    "recall_at_review": ("Frauds caught at review", 3),
    "value_detection_rate": ("Value of fraud caught", 3),
    "alert_rate": ("Alert rate", 4),
    "prevalence": ("Prevalence, a blind guess", 4),
    "calibration_error": ("Calibration error", 4),
    "brier": ("Brier score", 4),
    "cost_per_1000_minor": ("Cost of 1,000, minor units", 0),
    "trees": ("Trees", 0),
}


@dataclass(frozen=True, slots=True)
class Side:
    """One that can be compared. `key` is the experiment's id, with /candidate for one of a search."""

    key: str
    title: str
    experiment: Experiment
    metrics: Mapping[str, float]
    job: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One fact of both; `change` is the second less the first where that means something."""

    group: str
    fact: str
    a: str
    b: str
    change: str = ""

    @property
    def differs(self) -> bool:
        return self.a != self.b


def sides(experiments: Sequence[Experiment]) -> dict[str, Side]:
    """By key: every experiment that was measured, newest first, each followed by the candidates of its search."""
    found = {}
    for one in experiments:
        if one.metrics:
            version = f" ({one.model_version})" if one.model_version else ""
            found[one.experiment_id] = Side(
                one.experiment_id, f"{one.name}{version}", one, one.metrics, one.training_job
            )
        for candidate in one.candidates:
            if candidate.metrics:
                key = f"{one.experiment_id}/{candidate.name}"
                short = candidate.name.rpartition("-")[2]
                found[key] = Side(key, f"{one.name}: {short}", one, candidate.metrics, candidate.training_job)
    return found


def lines(a: Side, b: Side) -> tuple[Line, ...]:
    """Settings, then data, then results; in each what differs comes first, in its order."""
    made = [*_settings(a.experiment, b.experiment), *_data(a.experiment, b.experiment)]
    told = [line for group in ("Settings", "Data") for line in _differing_first(made, group)]
    return (*told, *_metrics(a.metrics, b.metrics))


def _differing_first(made: Sequence[Line], group: str) -> list[Line]:
    return sorted((line for line in made if line.group == group), key=lambda line: not line.differs)


def _settings(a: Experiment, b: Experiment) -> list[Line]:
    def pair(fact: str, left: str, right: str) -> Line:
        return Line("Settings", fact, left, right)

    names = retrain_summary.METHOD_NAMES
    found = [pair("Method", names.get(a.method, a.method), names.get(b.method, b.method))]
    given = {key for one in (a, b) for key in one.hyperparameters}
    for key in [*retrain_settings.USUAL, *sorted(given - set(retrain_settings.USUAL))]:
        label = retrain_settings.LABELS.get(key, key)
        found.append(pair(label, _setting(a, key), _setting(b, key)))
    if a.autopilot or b.autopilot:
        for fact, field in (("Mode", "mode"), ("Candidates, at most", "max_candidates"), ("Seconds", "max_runtime_s")):
            found.append(pair(fact, _limit(a, field), _limit(b, field)))
    where = [one.endpoint_name if one.auto_deploy else "Not by itself" for one in (a, b)]
    return [*found, pair("Deployed", where[0], where[1])]


def _setting(one: Experiment, key: str) -> str:
    """As it was: what was given, else what training takes by itself; a search finds its own."""
    if one.method != "xgboost":
        return fmt.MISSING
    value = one.hyperparameters.get(key, retrain_settings.USUAL.get(key))
    if value is None:
        return "Usual"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _limit(one: Experiment, field: str) -> str:
    return str(getattr(one.autopilot, field)) if one.autopilot else fmt.MISSING


def _data(a: Experiment, b: Experiment) -> list[Line]:
    facts = {
        "From (UTC)": lambda e: f"{e.window_start:%Y-%m-%d %H:%M}",
        "To (UTC)": lambda e: f"{e.window_end:%Y-%m-%d %H:%M}",
        "Labels until (UTC)": lambda e: f"{e.label_cutoff:%Y-%m-%d %H:%M}",
        "Lake snapshot": lambda e: fmt.short_id(str(e.snapshot_id)) if e.snapshot_id is not None else fmt.MISSING,
        "Frozen set": lambda e: e.frozen or "None",
        "Flow": lambda e: f"{e.flow[0]}, version {e.flow[1]}" if e.flow else "None",
    }
    found = [Line("Data", fact, read(a), read(b)) for fact, read in facts.items()]
    for fact, field in (("Rows with a label", "rows"), ("Frauds among them", "positives")):
        left, right = getattr(a, field), getattr(b, field)
        change = "" if left is None or right is None else fmt.signed(right - left, digits=0)
        found.append(Line("Data", fact, fmt.count(left), fmt.count(right), change))
    return found


def _metrics(a: Mapping[str, float], b: Mapping[str, float]) -> list[Line]:
    found = []
    for key, (title, digits) in METRICS.items():
        if key in a or key in b:
            left, right = a.get(key), b.get(key)
            change = "" if left is None or right is None else fmt.signed(right - left, digits=digits)
            found.append(Line("Result", title, _number(left, digits), _number(right, digits), change))
    return found


def _number(value: float | None, digits: int) -> str:
    return fmt.MISSING if value is None else f"{value:,.{digits}f}"
