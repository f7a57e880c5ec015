"""`python -m services reproduce EXPERIMENT_ID`: the arguments, the run, what is printed and with which exit code."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.settings import Settings

if TYPE_CHECKING:
    from services.flow_engine import FittedFlow
    from services.flows import FitOrigin
    from services.reproduce import Verdict
    from services.training_beside import Recipe

_ABOUT = """Rebuild the training set from the lake's pinned snapshots, train again with the code, settings and number of
threads of then, and compare. Of an Autopilot search the candidate that won is trained again. Nothing in the desk is
changed. Exit code 0: the same training set and the same model; 1: they differ, or the experiment cannot
be repeated, with a sentence why; 2: variables missing."""


def add_to(commands: Any) -> None:
    one = commands.add_parser("reproduce", help="repeat an experiment from its record and compare", description=_ABOUT)
    one.add_argument("experiment_id", metavar="EXPERIMENT_ID", help="like exp-20261122-1415-ab12")
    one.add_argument("--json", action="store_true", help="one JSON object instead of text")


def run(settings: Settings, chosen: argparse.Namespace) -> int:
    """The exit code; the verdict goes to standard output. Raises ServiceError."""
    with tempfile.TemporaryDirectory(prefix="fraud-desk-reproduce-") as folder:
        verdict = _verdict(settings, chosen.experiment_id, Path(folder))
    if chosen.json:
        sys.stdout.write(json.dumps(verdict.as_json()) + "\n")
    else:
        result = "Reproduced" if verdict.same else "NOT reproduced"
        sys.stdout.write("\n".join([*verdict.sentences, f"{result}: {verdict.experiment_id}."]) + "\n")
    return 0 if verdict.same else 1


def _verdict(settings: Settings, experiment_id: str, folder: Path) -> Verdict:
    from services.adapters.iceberg import IcebergLake
    from services.adapters.mongo.client import connect
    from services.adapters.mongo.experiments import MongoExperiments
    from services.adapters.mongo.flows import MongoFlows
    from services.adapters.s3 import ObjectStore
    from services.adapters.sagemaker import SageMaker
    from services.domain.mapping import desk_mapping
    from services.features import plan_of
    from services.lake import Lake
    from services.reproduce import reproduce
    from services.reproduce_search import reproduce_search
    from services.training_build import build_for
    from services.training_request import AUTOPILOT

    class ReadFlows(MongoFlows):
        """What is rebuilt here may turn out to be another; the fit that scoring runs stays the experiment's own."""

        def keep_fit(self, origin: FitOrigin, fitted: FittedFlow) -> None:
            del origin, fitted

    db = connect(settings, app="fraud-desk-reproduce")
    try:
        experiment = MongoExperiments(db).get(experiment_id)
        lake, plan = Lake(IcebergLake(settings, patient=True)), plan_of(desk_mapping(settings.mapping))
        objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=60.0, attempts=3)

        def rebuild(put: Callable[[str, bytes], None], recipe: Recipe) -> object:
            return build_for(experiment, lake, put, plan, ReadFlows(db), recipe)

        if experiment.method == AUTOPILOT:
            jobs = SageMaker(region=settings.region)
            return reproduce_search(experiment, rebuild=rebuild, objects=objects, jobs=jobs, folder=folder)
        return reproduce(experiment, rebuild=rebuild, objects=objects, folder=folder)
    finally:
        db.client.close()
