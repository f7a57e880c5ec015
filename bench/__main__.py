"""`python -m bench list`, `python -m bench NAME [--json]`, `python -m bench screenshots --out DIR`."""

from __future__ import annotations

import argparse
import importlib
import sys

from bench.report import as_json, as_text

# name -> what it measures; the module bench.<name> has run() -> list[Figure].
BENCHMARKS = {
    "start": "cold start on an empty state folder and warm start on a used one",
    "pages": "rerun time of every page over the websocket, against a minimal page",
    "kills": "stream and curator killed at every crash point, S3 failing every call: is anything lost?",
    "stream": "events a second MongoDB to S3, against the bare change stream and dlt; lag of the lake",
    "curate": "raw objects to Iceberg: rows a second into tables of 0.1 to 3 million rows, cost of a small commit",
    "charts": "fraud rates and a day's transactions at 1, 10 and 100 million, against pandas and DuckDB on the files",
    "train": "a training job on 1.2 million rows, Parquet to model, against the bare fit; peak memory of both",
    "detection": "how much fraud is found, week by week, beside what was published on the same data",
    "features": "offline rows a second against pandas, online milliseconds on MongoDB, one entity's long history",
    "score": "one transaction: model, endpoint over HTTP beside MLflow's and BentoML's, front door to stored score",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    commands.add_parser("list", help="every benchmark, a line each")
    pictures = commands.add_parser("screenshots", help="every screen, light and dark, signed in as each role")
    pictures.add_argument("--out", required=True, metavar="DIR")
    pictures.add_argument("--state", metavar="DIR", help="use this state folder (default: a new one, removed after)")
    for name, about in BENCHMARKS.items():
        one = commands.add_parser(name, help=about)
        one.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if name == "charts":
            one.add_argument(
                "--sizes", type=_sizes, default=(1, 10, 100), metavar="N,N", help="millions of transactions"
            )
        if name == "train":
            one.add_argument("--rows", type=int, default=1_200_000, metavar="N", help="training rows (default 1200000)")
        if name == "detection":
            one.add_argument("--data", metavar="FILE", help="the handbook's file (default: $FRAUD_DESK_HANDBOOK)")
        if name == "kills":
            one.add_argument("--kills", type=int, default=500, metavar="N", help="how many (default 500)")
            one.add_argument("--seed", type=int, default=1, metavar="N", help="of the plan (default 1)")
    chosen = parser.parse_args(arguments)
    if chosen.name == "list":
        for name, about in (*BENCHMARKS.items(), ("screenshots", "every screen, light and dark (--out DIR)")):
            print(f"{name:<12} {about}")
        return 0
    if chosen.name == "screenshots":
        from bench.screenshots import NoFolder, take

        try:
            for path in take(chosen.out, chosen.state):
                print(path)
        except NoFolder as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    figures = importlib.import_module(f"bench.{chosen.name}").run(
        **{name: value for name, value in vars(chosen).items() if name not in ("name", "json")}
    )
    print(as_json(chosen.name, figures) if chosen.json else as_text(chosen.name, figures))
    return 1 if any(f.holds is False for f in figures) else 0


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
