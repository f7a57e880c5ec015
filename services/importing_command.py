"""`python -m services import FILE --mapping MAP.toml`: progress on stderr, the result on stdout."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from services.access import system
from services.domain.mapping import Mapping, desk_mapping, read_mapping
from services.errors import Unavailable
from services.importing import Importer
from services.importing_state import Import, ImportState, audited
from services.mapped_file import RowProblem
from services.settings import Settings
from services.worker_status import utc_now

# Problems shown at once; the file of errors has all of them.
_SHOWN = 20
_EVERY_SECONDS = 2.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "import", help="bring transactions of your own into the desk (CSV, Parquet, JSON lines)"
    )
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--mapping", type=Path, required=True, help="what the file's columns mean (TOML; see mappings/)"
    )
    parser.add_argument("--errors", type=Path, help="where every problem is listed (usual: FILE.errors.csv)")
    parser.add_argument(
        "--score-since", type=_moment, metavar="DATE",
        help="score rows from this time on as if they arrived now; older ones are history (usual: the last 24 hours)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")


def run(settings: Settings, chosen: argparse.Namespace) -> int:
    """0 it came to its end and kept rows (what was refused is listed), 1 every row was refused or it was cancelled.

    Raises ServiceError.
    """
    from services.adapters.mongo import schema
    from services.adapters.mongo.client import connect
    from services.adapters.mongo.imports import MongoImports

    mapping = read_mapping(chosen.mapping)
    if note := other_mapping(mapping, settings.mapping):
        _say(note)
    errors = chosen.errors or chosen.file.with_name(chosen.file.name + ".errors.csv")
    key = settings.token_key.encode() or None
    db = connect(settings, timeout_seconds=20.0, app="fraud-desk-import")
    try:
        schema.ensure(db)
        store, actor = MongoImports(db), system("import")
        importer = Importer(store, clock=utc_now, token_key=key)
        begun = importer.begin(chosen.file, mapping, started_by="import", errors=errors, score_since=chosen.score_since)
        store.note(audited(begun, actor, "requested", at=utc_now()))
        if begun.rows:
            _say(f"Going on after row {begun.rows:,} of {begun.file_name}.")
        with _cancelled_by_signals() as cancel:
            ended = importer.run(begun, chosen.file, mapping, on_progress=_teller(begun), cancel=cancel)
        store.note(audited(ended, actor, str(ended.state), at=utc_now()))
    except Unavailable as error:
        advice = "What was imported stays; run the same command again to go on."
        raise Unavailable(f"{error.message} {advice}", dependency=error.dependency) from error
    finally:
        db.client.close()
    _report(ended, chosen.json)
    return 0 if ended.state is ImportState.DONE and (ended.refused < ended.rows or not ended.rows) else 1


def other_mapping(mapping: Mapping, desk_file: Path | None) -> str | None:
    """A sentence where the desk itself works by another mapping than the file is imported by."""
    own = desk_mapping(desk_file)
    if own == mapping:
        return None
    works = f"the mapping {own.name}" if own else "the demo's columns"
    return (
        f"Note: this desk works by {works}, not by {mapping.name}: its features, front door and rates do not know "
        "these columns. Set FRAUD_DESK_MAPPING for every process of a desk that shall."
    )


@contextmanager
def _cancelled_by_signals() -> Iterator[threading.Event]:
    """SIGTERM and Ctrl+C end the import after the batch under way."""
    cancel = threading.Event()
    before = {n: signal.signal(n, lambda *_: cancel.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _teller(begun: Import) -> Callable[[Import, Sequence[RowProblem]], None]:
    started, said, shown = time.monotonic(), 0.0, 0

    def tell(state: Import, problems: Sequence[RowProblem]) -> None:
        nonlocal said, shown
        for problem in problems[: _SHOWN - shown]:
            column = f" {problem.column}" if problem.column else ""
            _say(f"row {problem.row}{column}: {problem.message}")
        shown += len(problems[: _SHOWN - shown])
        now = time.monotonic()
        if now - said > _EVERY_SECONDS:
            rate = (state.rows - begun.rows) / max(now - started, 1e-3)
            _say(f"{state.rows:,} rows, {state.refused:,} refused, {rate:,.0f} rows/s")
            said = now

    return tell


def _report(ended: Import, as_json: bool) -> None:
    if as_json:
        result = {name: value for name, value in asdict(ended).items() if name not in ("owner", "errors_bytes")}
        sys.stdout.write(json.dumps(result, default=str) + "\n")
        return
    sys.stdout.write(f"{ended.sentence}\n")
    if ended.awaited:
        sys.stdout.write(f"{ended.awaited:,} verdicts are not known yet: import the file again later to add them.\n")
    if ended.problems:
        sys.stdout.write(f"Every problem is listed in {ended.errors_path}.\n")
    if ended.state is ImportState.CANCELLED:
        sys.stdout.write("Run the same command again to go on.\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date (as in 2026-01-31 or 2026-01-31T12:00:00Z)") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
