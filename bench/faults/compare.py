"""The lake against the writer's account, row by row, and the raw zone and quarantine against both."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from bench.faults.documents import CARD_NUMBER, Document
from bench.faults.servers import KEYS, REGION, Installation
from bench.faults.source import Source

_NAME = re.compile(r"\+(\d+)\+(\d+)\.json\.gz$")
_SHOWN = 5


@dataclass
class Verdict:
    """`lost`, `doubled` and `different` are of rows and raw lines; `wrong` are broken sums. All empty: it holds."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    rows: int = 0
    lines: int = 0
    quarantined: int = 0

    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.different or self.wrong)

    def __str__(self) -> str:
        parts = [f"{self.rows} rows, {self.lines} raw lines, {self.quarantined} quarantined"]
        for name in ("lost", "doubled", "different", "wrong"):
            if found := getattr(self, name):
                parts.append(f"{len(found)} {name}: {'; '.join(found[:_SHOWN])}")
        return ". ".join(parts)


def compare(installation: Installation, source: Source) -> Verdict:
    """Only while the writer is paused and the curator has folded all there is."""
    verdict = Verdict()
    catalog = _catalog(installation)
    try:
        tables = {name: catalog.load_table(("fraud", name)) for name in ("transactions", "labels", "rates_hourly")}
        _rows(verdict, _read(tables["transactions"], "transaction_id"), source.good, "transaction_id")
        _rows(verdict, _read(tables["labels"], "label_id"), source.labels, "label_id")
        _rates(verdict, tables["rates_hourly"].scan().to_arrow().to_pylist(), source)
        for topic, name in (("fraud.transactions", "transactions"), ("fraud.labels", "labels")):
            lines = list(raw_lines(installation, topic))
            _raw(verdict, topic, lines)
            _counted(verdict, topic, len(lines), tables[name])
            _quarantine(verdict, installation, topic, lines, source)
    finally:
        catalog.close()
    return verdict


def has(installation: Installation, transaction: str, label: str) -> bool:
    """Whether the lake has both, and its rates speak of that state."""
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.expressions import EqualTo

    catalog = _catalog(installation)
    try:
        found = []
        for name, key, value in (("transactions", "transaction_id", transaction), ("labels", "label_id", label)):
            table = catalog.load_table(("fraud", name))
            wanted = EqualTo(key, value)  # type: ignore[call-arg,arg-type]
            found.append(table.scan(wanted, ("version",) if key != "label_id" else (key,)).to_arrow())
        current = catalog.load_table(("fraud", "transactions")).current_snapshot()
        rates = _position(catalog.load_table(("fraud", "rates_hourly")))
        rolled_up = current is not None and rates.get("transactions_snapshot") == current.snapshot_id
        return rolled_up and found[0].num_rows == 1 and found[0]["version"][0].as_py() >= 2 and found[1].num_rows == 1
    except (NoSuchTableError, FileNotFoundError):
        return False
    finally:
        catalog.close()


def _catalog(installation: Installation) -> SqlCatalog:
    return SqlCatalog(
        "fraud_desk",
        **{
            "uri": f"sqlite:///{installation.catalog}",
            "s3.endpoint": f"http://127.0.0.1:{installation.servers.s3_port}",
            "s3.access-key-id": KEYS["AWS_ACCESS_KEY_ID"],
            "s3.secret-access-key": KEYS["AWS_SECRET_ACCESS_KEY"],
            "s3.region": REGION,
        },
    )


def _position(table: Table) -> Any:
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return {}
    return json.loads(snapshot.summary.additional_properties.get("fraud-desk.position", "{}"))


def _read(table: Table, key: str) -> list[Document]:
    rows: list[Document] = table.scan().to_arrow().sort_by(key).to_pylist()
    return rows


def _rows(verdict: Verdict, rows: list[Document], expected: Mapping[str, Document], key: str) -> None:
    counted = Counter(row[key] for row in rows)
    verdict.rows += len(rows)
    verdict.doubled += [f"{name} is there {count} times" for name, count in counted.items() if count > 1]
    verdict.doubled += [f"{name} should not be there" for name in counted if name not in expected]
    verdict.lost += [f"{name} is missing" for name in expected if name not in counted]
    for row in rows:
        wanted = expected.get(row[key])
        if wanted is None:
            continue
        if "attributes" in wanted:
            row["attributes"] = json.loads(row["attributes"])
        for column, value in wanted.items():
            if row[column] != value:
                verdict.different.append(f"{row[key]}.{column} is {row[column]!r}, not {value!r}"[:200])


def _rates(verdict: Verdict, rates: list[Document], source: Source) -> None:
    """Counts and amounts by hour, category and channel, from the account alone."""
    expected: Counter[tuple[Any, ...]] = Counter()
    for row in source.good.values():
        hour = row["event_time"].replace(minute=0, second=0, microsecond=0)
        place = (hour, row["category"] or "unknown", row["channel"])
        fraud = row["label"] == "fraud"
        expected[(*place, "transactions")] += 1
        expected[(*place, "amount_minor")] += row["amount_minor"]
        expected[(*place, "fraud")] += fraud
        expected[(*place, "fraud_amount_minor")] += row["amount_minor"] if fraud else 0
    found: Counter[tuple[Any, ...]] = Counter()
    for rate in rates:
        if rate.get("cuboid", "cells") != "cells":  # sums of these cells, kept beside them
            continue
        for measure in ("transactions", "amount_minor", "fraud", "fraud_amount_minor"):
            found[(rate["hour"], rate["category"], rate["channel"], measure)] += rate[measure]
    for place in {*expected, *found}:
        if expected[place] != found[place]:
            verdict.wrong.append(f"the rate {place} is {found[place]}, not {expected[place]}")


def raw_lines(installation: Installation, topic: str) -> Iterator[Document]:
    """The raw zone as it lies in the server's folder, in order of partition and offset."""
    files = (installation.servers.folder / installation.bucket / "raw" / "topics" / topic).rglob("*.json.gz")

    def place(file: Path) -> tuple[int, int]:
        found = _NAME.search(file.name)
        if found is None:
            raise AssertionError(f"an object of another name: {file.name}")
        return int(found[1]), int(found[2])

    for file in sorted(files, key=place):
        partition, first = place(file)
        for number, line in enumerate(gzip.decompress(file.read_bytes()).splitlines()):
            yield json.loads(line) | {"partition": partition, "named": first + number}


def _raw(verdict: Verdict, topic: str, lines: list[Document]) -> None:
    """Offsets without a gap, as the objects' names say; no change twice."""
    verdict.lines += len(lines)
    following: dict[int, int] = {}
    changes: Counter[tuple[Any, ...]] = Counter()
    for line in lines:
        wanted = following.get(line["partition"], 0)
        if line["offset"] != wanted or line["named"] != wanted:
            verdict.wrong.append(f"{topic} has offset {line['offset']} (named {line['named']}) where {wanted} belongs")
        following[line["partition"]] = line["offset"] + 1
        if line["operationType"] in ("insert", "update", "replace"):
            changes[(line["documentKey"]["_id"], (line["fullDocument"] or {}).get("version"))] += 1
    verdict.doubled += [f"raw {topic} {key} {count} times" for key, count in changes.items() if count > 1]


def _counted(verdict: Verdict, topic: str, lines: int, table: Table) -> None:
    """in = folded + quarantined, by the lake's own position."""
    position = _position(table)
    folded, quarantined = _sum(position, "folded"), _sum(position, "quarantined")
    verdict.quarantined += quarantined
    if folded + quarantined != lines:
        verdict.wrong.append(f"{topic}: {lines} in, {folded} folded + {quarantined} quarantined")


def _sum(position: Any, name: str) -> int:
    if not isinstance(position, dict):
        return 0
    return sum(
        value if key == name and isinstance(value, int) else _sum(value, name) for key, value in position.items()
    )


def _quarantine(
    verdict: Verdict, installation: Installation, topic: str, lines: list[Document], source: Source
) -> None:
    """Exactly the states outside the contract are refused, each with its place, none with a card number."""
    expected = {
        (line["partition"], line["offset"])
        for line in lines
        if line["fullDocument"] is not None
        and (line["documentKey"]["_id"], line["fullDocument"].get("version")) in source.refused
    }
    found = set()
    for file in (installation.servers.folder / installation.bucket / "quarantine" / topic).rglob("*"):
        if not file.is_file():
            continue
        text = gzip.decompress(file.read_bytes())
        name = _NAME.search(file.name)
        found |= {(int(name[1]) if name else 0, json.loads(line)["offset"]) for line in text.splitlines()}
        if CARD_NUMBER.encode() in text:
            verdict.wrong.append(f"a card number in {file.name}")
    for place in sorted(expected ^ found):
        verdict.wrong.append(f"{topic} {place} is {'not ' if place in expected else ''}in quarantine")
