"""`python -m services backtest`: the arguments, the run, what is printed and with which exit code."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from services.backtest_data import Portfolio
from services.backtest_protocol import Request
from services.backtest_report import Report, as_text
from services.errors import ServiceError

# Exit codes: the figures may be believed; nothing was tested; a check failed (the figures are printed all the same).
BELIEVABLE, NOT_TESTED, LEAK = 0, 1, 3
HELP = "walk-forward backtest of a file: AUC, AP, CP@100, value detection rate per fold, with checks for leaks"
_ABOUT = """Walk forward through FILE: train on --train-days, wait --delay-days until their labels are known, test the
--test-days after. --from and --to are the first and the last day that is tested, both included: `--from 2024-03-04
--to 2024-03-17` with --test-days 7 is two folds. Training data come from the days before. Days that fill no whole
window at the end are left out and said. Exit code 0: believable; 3: a check failed, so a leak is likely and the figures
must not be used; 1: nothing was tested, with a sentence why; 2: wrong arguments."""


def add_to(commands: Any) -> None:
    one = commands.add_parser("backtest", help=HELP, description=_ABOUT)
    what = one.add_mutually_exclusive_group(required=True)
    what.add_argument("file", metavar="FILE", type=Path, nargs="?", help="CSV, Parquet or JSON lines")
    what.add_argument("--lake", action="store_true", help="the desk's own transactions instead of a file")
    one.add_argument("--mapping", metavar="MAP.toml", type=Path, help="what the file's columns mean")
    one.add_argument("--from", dest="first", metavar="DATE", type=date.fromisoformat, required=True,
                     help="first day tested (UTC), included")  # fmt: skip
    one.add_argument("--to", dest="last", metavar="DATE", type=date.fromisoformat, required=True,
                     help="last day tested (UTC), included")  # fmt: skip
    one.add_argument("--train-days", type=int, default=28, metavar="N", help="default 28")
    one.add_argument("--delay-days", type=int, default=7, metavar="N",
                     help="days between training and test, until labels are known (default 7)")  # fmt: skip
    one.add_argument("--test-days", type=int, default=7, metavar="N", help="of one fold (default 7)")
    one.add_argument("--label-days", type=float, metavar="N",
                     help="days until a label is known to the features (default: --delay-days)")  # fmt: skip
    one.add_argument("--most-ap", type=float, metavar="P", help="a mean average precision above P is a leak")
    one.add_argument(
        "--seed", type=int, default=7, metavar="N", help="of the model and the shuffled labels (default 7)"
    )
    one.add_argument("--threads", type=int, default=0, metavar="N", help="of the training (default: all cores)")
    one.add_argument("--json", action="store_true", help="one JSON object instead of text")
    one.add_argument("--progress", action="store_true", help="one line a step to standard error")


def run(chosen: argparse.Namespace) -> int:
    """The exit code; the report goes to standard output, sentences about failures to standard error."""
    if chosen.file is not None and chosen.mapping is None:
        sys.stderr.write("A file needs --mapping MAP.toml, which says what its columns mean.\n")
        return 2
    try:
        report = _report(chosen)
    except ServiceError as error:
        sys.stderr.write(f"{error.message}\n")
        return NOT_TESTED
    sys.stdout.write((json.dumps(report.as_dict(), allow_nan=False) if chosen.json else as_text(report)) + "\n")
    for check in report.checks:
        if check.holds is False:
            sys.stderr.write(f"Not believable ({check.name}): {check.sentence}\n")
    return BELIEVABLE if report.believable else LEAK


def _report(chosen: argparse.Namespace) -> Report:
    from services import backtest  # numpy, xgboost and duckdb load only where they are used
    from services.backtest_engine import PlanEngine

    request = Request(
        chosen.first,
        chosen.last,
        train_days=chosen.train_days,
        delay_days=chosen.delay_days,
        test_days=chosen.test_days,
        label_days=chosen.label_days,
        most_ap=chosen.most_ap,
        seed=chosen.seed,
    )
    _progress(chosen, "Reading the transactions", 0.0)
    data, notes = _read_lake(request) if chosen.lake else _read_file(chosen)
    return backtest.run(
        data,
        PlanEngine(data.mapping),
        request,
        source="The desk's own transactions" if chosen.lake else chosen.file.name,
        progress=lambda step, share: _progress(chosen, step, share),
        threads=chosen.threads,
        notes=notes,
    )


def _read_file(chosen: argparse.Namespace) -> tuple[Portfolio, tuple[str, ...]]:
    from services import backtest_source
    from services.domain.mapping import read_mapping

    return backtest_source.read_file(chosen.file, read_mapping(chosen.mapping))


def _read_lake(request: Request) -> tuple[Portfolio, tuple[str, ...]]:
    from services import backtest_source
    from services.adapters.iceberg import IcebergLake
    from services.domain.mapping import desk_mapping
    from services.lake import Lake
    from services.settings import Settings

    settings = Settings.from_environment()
    lake, now = Lake(IcebergLake(settings)), datetime.now(UTC)
    return backtest_source.read_lake(lake, desk_mapping(settings.mapping), now=now, delay_days=request.delay_days)


def _progress(chosen: argparse.Namespace, step: str, share: float) -> None:
    if chosen.progress:
        sys.stderr.write(json.dumps({"step": step, "share": round(share, 3)}) + "\n")
        sys.stderr.flush()
