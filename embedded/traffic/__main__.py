"""`python -m embedded.traffic --rate TPS --seed S`: runs until it is told to stop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading

import numpy as np

from embedded.seed.marks import Marks
from embedded.simulator.live import Live
from embedded.simulator.population import build
from embedded.traffic import MAX_RATE
from embedded.traffic.outbox import Outbox
from embedded.traffic.run import BACKOFF_SECONDS, Traffic
from embedded.traffic.truth import DueReports
from services import bootstrap_workers
from services.adapters.lambda_functions import LambdaFunctions
from services.adapters.mongo.client import connect, translated
from services.errors import ServiceError, Unavailable
from services.settings import Settings
from services.worker_status import WorkerState

NAME = "traffic"
HISTORY = 125_000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.traffic", description=__doc__)
    parser.add_argument("--rate", type=float, default=1.0, metavar="TPS", help="transactions a second on average")
    parser.add_argument(
        "--seed", type=int, default=7, metavar="S", help="seed of the simulated world, if none is set up"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.rate <= MAX_RATE:
        parser.error(f"--rate must be above 0 and at most {MAX_RATE:g}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _traffic(Settings.from_environment(), options.rate, options.seed, stop).run(stop)
    except ServiceError as error:
        print(error.message, file=sys.stderr, flush=True)
        return 1
    return 0


def _traffic(settings: Settings, rate: float, seed: int, stop: threading.Event) -> Traffic:
    db = connect(settings, timeout_seconds=5.0, app="fraud-desk-traffic")
    reporter = bootstrap_workers.reporter(NAME, db)
    reporter.beat(WorkerState.STARTING)
    outbox = Outbox(db)
    failures = 0
    while True:
        try:
            with translated():
                history, seed = Marks(db).world() or (HISTORY, seed)
            outbox.open()
            break
        except Unavailable as error:
            if stop.wait(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]):
                raise
            failures += 1
            reporter.beat(WorkerState.WAITING, error=error.message)
    # Each run of the same world goes on differently, and a run is still determined by where it starts.
    rng = np.random.default_rng([seed, 404, outbox.next_number])
    return Traffic(
        Live(build(transactions=history, seed=seed), rng, rate),
        outbox,
        DueReports(db, rng),
        LambdaFunctions(region=settings.region, dependency="the front door", attempts=1),
        reporter,
        function=settings.intake_function,
        prefix=f"tx-l{seed}-",
    )


if __name__ == "__main__":
    sys.exit(main())
