"""What the Retrain screen reads, through the cache: experiments, flows, frozen sets, what a window holds."""

from __future__ import annotations

from services.errors import ServiceError
from services.features import FeatureSpec
from services.flows import FlowVersion
from services.frozen_sets import FrozenSet
from services.training import Experiment
from services.training_survey import Survey
from ui import wiring
from ui.retrain_draft import FROZEN, Draft
from ui.retrain_request import Window

LISTED = 200


def experiments() -> wiring.Read[tuple[Experiment, ...]]:
    """Newest first."""
    return wiring.last_good(
        ("training.experiments",), lambda: wiring.services().training.experiments(LISTED), ttl=1.5, background=True
    )


def features() -> tuple[FeatureSpec, ...]:
    return tuple(wiring.services().training_data.plan.features)


def flows() -> tuple[FlowVersion, ...]:
    """The newest version of each."""
    return wiring.last_good(("flows",), lambda: wiring.services().flows.list(100), ttl=10.0, background=True).value


def versions(flow_id: str) -> tuple[FlowVersion, ...]:
    return wiring.last_good(
        ("flows", flow_id), lambda: wiring.services().flows.versions(flow_id), ttl=10.0, background=True
    ).value


def frozen_sets() -> tuple[FrozenSet, ...]:
    """Newest first."""
    return wiring.last_good(
        ("training.frozen",), lambda: wiring.services().training_data.frozen(100), ttl=5.0, background=True
    ).value


def frozen_of(draft: Draft) -> FrozenSet | None:
    if draft.source != FROZEN:
        return None
    return next((held for held in frozen_sets() if held.frozen_id == draft.frozen), None)


def survey(draft: Draft, span: Window) -> Survey | ServiceError:
    """What the lake holds of the window; the error where that cannot be told now, which stops nobody."""
    try:
        return wiring.last_good(
            # The window of the last days moves with the clock: what it is called stays.
            ("training.survey", draft.preset, draft.days, draft.cutoff),
            lambda: wiring.services().training_data.survey((span.start, span.end), label_cutoff=span.cutoff),
            ttl=20.0, source="S3", background=True,
        ).value  # fmt: skip
    except ServiceError as error:
        return error


def champion() -> str | None:
    """The model version that scores live transactions; None where nothing does or it cannot be told."""
    try:
        return wiring.last_good(
            ("deployment.current",), lambda: wiring.services().deployment.current(), ttl=1.5, background=True
        ).value.model_version
    except ServiceError:
        return None
