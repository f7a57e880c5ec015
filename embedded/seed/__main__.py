"""`python -m embedded.seed`: progress as JSON lines on stdout, exit 0 when everything is in place, 1 on failure.

Where the desk is set up already this returns before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys

from embedded.seed import MAX_HISTORY, MIN_HISTORY
from embedded.seed.marks import Marks, functions_fingerprint
from services.adapters.mongo.client import connect, translated
from services.errors import ServiceError
from services.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.seed", description=__doc__)
    parser.add_argument("--history", type=int, default=125_000, metavar="N", help="transactions of history to make")
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="seed of the simulated world")
    parser.add_argument("--own-data", action="store_true", help="make no history: the data will be a company's own")
    options = parser.parse_args(arguments)
    if not MIN_HISTORY <= options.history <= MAX_HISTORY:
        parser.error(f"--history must lie between {MIN_HISTORY} and {MAX_HISTORY}")
    try:
        settings = Settings.from_environment()
        with translated():
            marks = Marks(connect(settings, timeout_seconds=20.0, app="fraud-desk-seed"))
            ready = marks.done("all") and marks.detail("functions").get("fingerprint") == functions_fingerprint()
        if ready:
            return 0
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        for chatty in ("pyiceberg", "botocore"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from embedded.seed.run import SetUp, set_up_empty

        with translated():
            if options.own_data:
                set_up_empty(settings, marks)
            else:
                SetUp(settings, marks, history=options.history, seed=options.seed).run()
    except ServiceError as error:
        return _failed(error.message)
    except Exception as error:
        logging.getLogger(__name__).exception("the set-up stopped")
        return _failed(f"The first-start set-up stopped on an error of its own ({type(error).__name__}: {error}).")
    return 0


def _failed(sentence: str) -> int:
    """The sentence once for programs and once, as the log's last words, for people."""
    print(json.dumps({"failed": sentence}), sentence, sep="\n", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
