"""An experiment whose model Autopilot looks for: ask for the search, follow it and its candidates."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.errors import Conflict, InvalidData
from services.training import Autopilot, Candidate, Experiment, TimelineEntry
from services.training_jobs import Search, SearchCandidate, SearchSpec
from workers.lifecycle_ports import Artifacts, Builder, Compute, Searches


def search_name(experiment_id: str) -> str:
    """At most 32 characters, as SageMaker wants it."""
    return f"fd-{experiment_id}"[:32]


def create(experiment: Experiment, searches: Searches, builder: Builder, compute: Compute) -> None:
    """Ask for the search; our own from before a crash or a lost reply is taken as it is. InvalidData: a stranger's."""
    limits = experiment.autopilot or Autopilot()
    home = f"s3://{compute.bucket}/training/{experiment.experiment_id}"
    spec = SearchSpec(
        name=search_name(experiment.experiment_id),
        role_arn=compute.role_arn,
        mode=limits.mode,
        target=experiment.target,
        features_uri=builder.features_uri(experiment.experiment_id),
        channels={"train": f"{home}/train/", "validation": f"{home}/validation/"},
        output_uri=f"s3://{compute.bucket}/models",
        max_candidates=limits.max_candidates,
        max_runtime_seconds=limits.max_runtime_s,
        max_candidate_runtime_seconds=limits.max_candidate_runtime_s,
        tags={"fraud-desk:experiment": experiment.experiment_id},
    )
    try:
        searches.create_search(spec)
    except Conflict:
        if searches.describe_search(spec.name).features_uri != spec.features_uri:
            raise InvalidData(f"An Autopilot job named {spec.name} exists and is not this experiment's.") from None


def followed(
    experiment: Experiment, search: Search, listed: tuple[SearchCandidate, ...], *, now: datetime
) -> Experiment:
    """The experiment with what the search says of itself; the very same object where nothing is new.

    A secondary status becomes a timeline entry when it is first seen. Metrics known already are kept.
    """
    known = {c.name: c for c in experiment.candidates}
    candidates = tuple(_merged(known.get(c.name), c, best=c.name == search.best) for c in listed)
    last = next((e.state for e in reversed(experiment.timeline) if e.state[:1].isupper()), None)
    timeline = experiment.timeline
    if search.secondary_status != last:
        timeline = (*timeline, TimelineEntry(now, search.secondary_status, "Autopilot"))
    done = sum(c.status == "Completed" for c in candidates)
    limit = (experiment.autopilot or Autopilot()).max_candidates
    at_work = next((c.name for c in candidates if c.status == "InProgress"), None)
    seen = replace(
        experiment,
        timeline=timeline,
        candidates=candidates,
        training_job=search.best or at_work or experiment.training_job,
        note=f"Autopilot: {done} of up to {limit} candidates are trained.",
    )
    return experiment if seen == experiment else seen


def _merged(former: Candidate | None, now: SearchCandidate, *, best: bool) -> Candidate:
    metrics = dict(now.metrics) | (dict(former.metrics) if former else {})
    return Candidate(now.name, now.status, metrics, now.artifact_uri, now.name, now.failure, best)


def measured(experiment: Experiment, artifacts: Artifacts) -> Experiment:
    """Candidates with the metrics of their own artifacts; one without usable metadata keeps what the search told."""
    found = []
    for candidate in experiment.candidates:
        if candidate.artifact_uri is not None and "average_precision" not in candidate.metrics:
            try:
                held = artifacts.metadata(candidate.artifact_uri)
                candidate = replace(candidate, metrics=dict(candidate.metrics) | dict(held["metrics"]))
            except InvalidData:
                pass  # not made by our code: what Autopilot measured is all there is
        found.append(candidate)
    return replace(experiment, candidates=tuple(found))
