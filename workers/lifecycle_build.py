"""Build the training set of one experiment: `python -m workers.lifecycle_build <experiment id>`.

Started by the lifecycle worker, whose end of the input pipe closes with it. Exit code 0: the manifest is in S3.
2: no training set can be made of this window; 3: something did not answer. The last line printed says why.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from services.adapters.iceberg import IcebergLake
from services.adapters.mongo.client import connect
from services.adapters.mongo.experiments import MongoExperiments
from services.adapters.mongo.flows import MongoFlows, MongoFrozenSets
from services.adapters.s3 import ObjectStore
from services.domain.mapping import desk_mapping
from services.errors import ServiceError, Unavailable
from services.features import plan_of
from services.lake import Lake
from services.settings import Settings
from services.training_beside import recipe_for
from services.training_build import build_for
from services.training_frozen import take_frozen
from workers.lifecycle_building import REFUSED, UNAVAILABLE


def main(experiment_id: str) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("pyiceberg").setLevel(logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        settings = Settings.from_environment()
        db = connect(settings, app="fraud-desk-build")
        experiment = MongoExperiments(db).get(experiment_id)
        objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=60.0, attempts=3)
        if experiment.frozen is not None:
            held = MongoFrozenSets(db).get(experiment.frozen)
            take_frozen(experiment, held, lambda key: objects.get(key)[0], objects.put, MongoFlows(db))
            return 0
        mapping = desk_mapping(settings.mapping)
        lake, plan, recipe = Lake(IcebergLake(settings, patient=True)), plan_of(mapping), recipe_for(mapping)
        build_for(experiment, lake, objects.put, plan, MongoFlows(db), recipe)
    except Unavailable as error:
        return _say(error.message, UNAVAILABLE)
    except ServiceError as error:
        return _say(error.message, REFUSED)
    return 0


def _say(sentence: str, code: int) -> int:
    sys.stdout.write(sentence.replace("\n", " ") + "\n")
    return code


def _end_with_parent() -> None:
    """Block until the parent's end of our input closes, then end at once: its successor starts its own builder."""
    while os.read(0, 4096):  # not through sys.stdin: its lock, held by a waiting thread, would abort a normal exit
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
