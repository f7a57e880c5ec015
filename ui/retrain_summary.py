"""A draft in words: every choice, what it will take in time and money. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from services.cost_estimate import Estimate, Price
from services.errors import ServiceError
from services.frozen_sets import FrozenSet
from services.training import AUTOPILOT, TrainingRequest
from services.training_survey import Survey
from ui import format as fmt
from ui import retrain_settings
from ui.retrain_draft import FLOW, FROZEN
from ui.retrain_request import Window

METHOD_NAMES = {"xgboost": "XGBoost", AUTOPILOT: "Autopilot"}
MODE_NAMES = {
    "ENSEMBLING": "Blend the best of several kinds",
    "HYPERPARAMETER_TUNING": "Tune one kind",
    "AUTO": "By the size of the data",
}
TARGET = "label: 1 fraud, 0 genuine; without a verdict genuine once 7 days old"


def data(wanted: TrainingRequest, span: Window, held: FrozenSet | None, flow_name: str | None, source: str) -> str:
    """`source` as in a draft: what was asked for and not chosen yet is said."""
    if source == FROZEN and held is None:
        return "A frozen set, not chosen yet"
    days = f"{_day(span.start)} to {_day(span.end)} ({span.days:.0f} days)"
    if held is not None:
        return f"Frozen set {held.name}: {days}"
    if source == FLOW and wanted.flow is None:
        return f"{days}, through a flow, not chosen yet"
    if wanted.flow is not None:
        return f"{days}, through flow {flow_name or wanted.flow[0]}, version {wanted.flow[1]}"
    return days


def counts(found: Survey | ServiceError | None, held: FrozenSet | None) -> str:
    if held is not None:
        return f"{held.usable:,} with a label, {held.frauds:,} of them fraud{_young(held.young)}"
    if isinstance(found, Survey):
        return f"{found.usable:,} of {found.rows:,} with a label, {found.frauds:,} of them fraud{_young(found.young)}"
    return "Not counted now" if found is None else f"Cannot be counted now: {found.message}"


def _young(count: int) -> str:
    """Rows that the last fit learns from, where there is one, and nothing is measured on."""
    return f"; {count:,} too new to measure on" if count else ""


def columns(wanted: TrainingRequest, held: FrozenSet | None, features: Sequence[str]) -> str:
    if held is not None:
        return f"{len(held.features)} columns, as frozen"
    if wanted.flow is not None:
        return "What the flow makes"
    if wanted.features:
        return f"{len(wanted.features)} of {len(features)} features"
    return f"All {len(features)} features"


def method(wanted: TrainingRequest) -> str:
    if wanted.autopilot is not None:
        limits = wanted.autopilot
        return (
            f"Autopilot, {limits.mode}: at most {limits.max_candidates} candidates in {limits.max_runtime_s // 60} min"
        )
    given = [retrain_settings.words(key, value) for key, value in wanted.hyperparameters.items()]
    return "XGBoost, " + (", ".join(given) if given else "usual settings")


def endpoint(wanted: TrainingRequest, desk: str) -> str:
    where = wanted.endpoint_name or desk or "the desk's endpoint"
    if not wanted.auto_deploy:
        return "Not deployed by itself; it waits on Deploy"
    if wanted.endpoint_name and wanted.endpoint_name != desk:
        return f"Deployed to {where} when it is registered; live transactions stay with {desk or 'the desk'}"
    return f"Deployed to {where} when it is registered: it scores live transactions"


def duration(found: Estimate) -> str:
    limit = f"; ends after {fmt.duration(found.at_most)} at the latest" if found.at_most else ""
    if found.seconds is None:
        return f"Not known before a first run by this method{limit}"
    runs = f"{found.runs} run{'s' if found.runs > 1 else ''}"
    return f"About {fmt.duration(found.seconds)}, by the last {runs}{limit}"


def cost(found: Estimate, price: Price | None, *, searches: bool) -> str:
    """In money, only where a price was said; a search may use several instances at once."""
    if price is None:
        return "Not known: nobody set the price of a training instance (FRAUD_DESK_TRAINING_PRICE)"
    if price.per_hour == 0:
        return "On this machine: no charge"
    hour = f"{_money(price.per_hour, price.currency)} an instance-hour"
    amount = found.cost(price.per_hour)
    if amount is None:
        return f"Not known before a first run; {hour}"
    least = fmt.money(1, price.currency)
    said = _money(amount, price.currency) if amount >= 0.01 else f"less than {least}"
    return f"{'At least' if searches else 'About'} {said} at {hour}"


def _money(units: float, currency: str) -> str:
    return fmt.money(round(units * 100), currency)


def _day(at: object) -> str:
    return f"{at:%d %b %Y}".lstrip("0")
