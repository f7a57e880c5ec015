"""For operators: `python -m services backfill`, `import`, `backtest`, `reproduce`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from services import backtest_command, importing_command, reproduce_command
from services.errors import ServiceError
from services.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 nothing was changed, 2 variables missing or a command nobody knows; one sentence each."""
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    backfill = commands.add_parser(
        "backfill",
        help="copy every document to the raw zone again, in a new epoch (after lost history or a restored database)",
    )
    backfill.add_argument("--to", choices=["kafka"], help="the stream that fills Kafka's topics")
    importing_command.add_parser(commands)
    backtest_command.add_to(commands)
    reproduce_command.add_to(commands)
    chosen = parser.parse_args(arguments)
    if chosen.command == "backtest":  # a file and nothing else: needs no desk
        return backtest_command.run(chosen)
    try:
        settings = Settings.from_environment()
    except ServiceError as error:
        return _say(error.message, 2)
    try:
        if chosen.command == "import":
            return importing_command.run(settings, chosen)
        if chosen.command == "reproduce":
            return reproduce_command.run(settings, chosen)
        return _backfill(settings, chosen.to)
    except ServiceError as error:
        return _say(error.message, 1)


def _backfill(settings: Settings, to: str | None) -> int:
    from services.adapters.mongo.client import connect
    from services.adapters.stream_place import PlaceStore

    db = connect(settings, app="fraud-desk-backfill")
    try:
        epoch = PlaceStore(db, "stream-kafka" if to else "stream").begin_epoch()
    finally:
        db.client.close()
    sys.stdout.write(
        f"Epoch {epoch} begins: the stream copies every document again, at once if it runs, else when it starts.\n"
    )
    return 0


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
