"""Rows of a file -> records of the front door's shape, with the file's own row numbers and names of columns.

Without a mapping the columns are the contract's dotted paths ("card.last4", `attributes.<name>`), in CSV, Parquet or
JSON lines (nested objects, or dotted names). With one they are the mapping's, read by `services.mapped_file`; what a
verdict says is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from services import mapped_file
from services.domain.mapping import Mapping
from services.domain.transaction_rules import DEMO_RULES, check_transaction, plain, rules_of, shown
from services.errors import InvalidData
from services.importing_records import located, records
from services.mapped_raw import RawBatch
from services.mapped_sources import JsonSource, open_source
from services.scoring_runs_state import Refused

REQUIRED = (
    "transaction_id", "event_time", "amount_minor", "currency", "customer_id", "card.token", "card.bin", "card.last4",
    "merchant.id", "merchant.name", "merchant.mcc", "merchant.category", "merchant.country", "channel", "entry_mode",
)  # fmt: skip
OPTIONAL = (
    "exponent", "customer.home_country", "customer.segment", "customer.home.lon", "customer.home.lat", "card.network",
    "card.type", "card.issuer_country", "merchant.location.lon", "merchant.location.lat", "terminal_id", "device.id",
    "device.ip", "device.email_domain", "device.user_agent_family",
)  # fmt: skip
_ATTRIBUTE = "attributes."
_NUMBERS: dict[str, Callable[[str], Any]] = {
    "amount_minor": int, "exponent": int, "customer.home.lon": float, "customer.home.lat": float,
    "merchant.location.lon": float, "merchant.location.lat": float,
}  # fmt: skip
MAX_COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Checked:
    """`documents[i]` is the checked document of row `rows[i]`; refused rows are not among them."""

    documents: list[dict[str, Any]]
    rows: list[int]
    refused: list[Refused]
    last_row: int


class Rows(Protocol):
    """Reads files of one shape, whose usual columns are `columns`."""

    @property
    def columns(self) -> tuple[str, ...]: ...

    def check_header(self, path: Path) -> None:
        """Raises InvalidData with everything that is wrong with the file as a file."""
        ...

    def batches(self, path: Path, *, after_row: int, batch_rows: int, now: datetime) -> Iterator[Checked]: ...


class OwnRows:
    """Files in the contract's own columns."""

    columns = (*REQUIRED, *OPTIONAL)

    def check_header(self, path: Path) -> None:
        names = open_source(path).names
        if len(names) > MAX_COLUMNS:
            raise InvalidData(f"The file has {len(names):,} columns; at most {MAX_COLUMNS} are read.")
        known = {*REQUIRED, *OPTIONAL}
        unknown = [name for name in names if name not in known and not name.startswith(_ATTRIBUTE)]
        problems = []
        if missing := [name for name in REQUIRED if name not in names]:
            problems.append(f"missing columns: {', '.join(missing)}")
        if unknown:
            problems.append(f"unknown columns: {', '.join(shown(name) for name in unknown[:10])}")
        if doubles := sorted({name for name in names if names.count(name) > 1}):
            problems.append(f"columns named twice: {', '.join(plain(name) for name in doubles[:10])}")
        if problems:
            raise InvalidData(f"The columns do not fit ({'; '.join(problems)}). The template has the right ones.")

    def batches(self, path: Path, *, after_row: int, batch_rows: int, now: datetime) -> Iterator[Checked]:
        source = open_source(path)
        wanted = list(source.names)
        if isinstance(source, JsonSource):  # it names only what its first objects have
            wanted = list(dict.fromkeys((*wanted, *REQUIRED, *OPTIONAL)))
        for raw in source.batches(wanted, batch_rows=batch_rows, after_row=after_row):
            yield self._checked(raw, now)

    def _checked(self, raw: RawBatch, now: datetime) -> Checked:
        columns = {name: column.to_pylist() for name, column in raw.columns.items()}
        refused = [Refused(p.row, p.column, p.message) for p in raw.problems]
        documents, rows = [], []
        for index, row in enumerate(map(int, raw.rows)):
            record = record_of({name: cells[index] for name, cells in columns.items()})
            document, problems = check_transaction(record, row=row, now=now, rules=DEMO_RULES)
            refused += [Refused(row, p.field, p.message) for p in problems]
            if document is not None:
                documents.append(document)
                rows.append(row)
        return Checked(documents, rows, refused, raw.last_row)


class MappedRows:
    """Files in the columns that the desk's mapping names. `token_key` keys the hashes that stand for card numbers."""

    def __init__(self, mapping: Mapping, token_key: bytes | None) -> None:
        if mapping.tokenise and not token_key:
            raise InvalidData(
                f"The mapping replaces {', '.join(mapping.tokenise)} by keyed hashes: set FRAUD_DESK_TOKEN_KEY "
                "as at the import. Nothing was scored."
            )
        self._mapping, self._key, self._rules = replace(mapping, label=None), token_key, rules_of(mapping)

    @property
    def columns(self) -> tuple[str, ...]:
        return self._mapping.columns

    def check_header(self, path: Path) -> None:
        next(mapped_file.read(path, self._mapping, batch_rows=1), None)

    def batches(self, path: Path, *, after_row: int, batch_rows: int, now: datetime) -> Iterator[Checked]:
        found = mapped_file.read(path, self._mapping, batch_rows=batch_rows, after_row=after_row, token_key=self._key)
        for batch in found:
            refused = [Refused(p.row, p.column, p.message) for p in batch.problems]
            documents, rows = [], []
            for row, (record, _) in zip(map(int, batch.rows), records(batch.table, self._mapping), strict=True):
                document, problems = check_transaction(record, row=row, now=now, rules=self._rules)
                for problem in (located(row, p, self._mapping) for p in problems):
                    refused.append(Refused(row, problem.column, problem.message))
                if document is not None:
                    documents.append(document)
                    rows.append(row)
            yield Checked(documents, rows, sorted(refused, key=lambda r: r.row), batch.last_row)


def ahead(batches: Iterator[Checked]) -> Generator[Checked, None, None]:
    """The same batches, each read while the one before it is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="scoring-reader") as reader:
        following = reader.submit(next, batches, None)
        while (found := following.result()) is not None:
            following = reader.submit(next, batches, None)
            yield found


def record_of(cells: dict[str, Any]) -> dict[str, Any]:
    """One row by its dotted names -> a nested record; empty cells are absent. A cell that should be a number and is
    none stays text, so that the rules name the problem."""
    record: dict[str, Any] = {}
    for name, cell in cells.items():
        value = cell.strip() if isinstance(cell, str) else cell
        if value is None or value == "":
            continue
        # Columns of ours nest as deep as they have dots; what follows `attributes.` is the attribute's own name.
        parts = name.split(".", 1) if name.startswith(_ATTRIBUTE) else name.split(".")
        target = record
        for part in parts[:-1]:
            target = target.setdefault(part, {})
        target[parts[-1]] = _value(name, value)
    return record


def _value(name: str, value: Any) -> Any:
    number = _NUMBERS.get(name)
    if number is None or not isinstance(value, str):
        return value
    try:
        return number(value)
    except ValueError:
        return value
