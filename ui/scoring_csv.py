"""A CSV of payments -> records of the intake's shape. Pure; what a record may hold is decided by the service.

Column names are the contract's dotted paths ("card.last4"). Only the shape of the file is judged here: size, encoding,
header, number of rows. A cell that should be a number and is none stays text, so that the service names the problem.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.errors import InvalidData
from services.live_scoring import MAX_ROWS
from services.transactions import Transaction
from ui import export

MAX_BYTES = 5 * 1024 * 1024
MAX_CELL = 2000
MAX_COLUMNS = 120
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


@dataclass(frozen=True, slots=True)
class Parsed:
    """Row k of `records` stands in line k + 2 of the file (the header is line 1, no cell spans lines)."""

    records: tuple[dict[str, Any], ...]


def parse(data: bytes) -> Parsed:
    """Raises InvalidData with one sentence that names everything wrong with the file as a file."""
    if len(data) > MAX_BYTES:
        raise InvalidData(f"The file has {len(data) / 2**20:,.1f} MB; at most {MAX_BYTES // 2**20} MB are read.")
    if b"\x00" in data:
        raise InvalidData("This is not a CSV file: it contains NUL bytes. Export it as CSV (UTF-8) and try again.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidData("The file is not UTF-8 text. Export it as CSV (UTF-8) and try again.") from None
    lines = csv.reader(io.StringIO(text), delimiter=_delimiter(text))
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(header)
        records = _records(header, lines)
    except csv.Error as error:
        raise InvalidData(f"The file cannot be read as CSV ({error}).") from error
    if not records:
        raise InvalidData("The file has a header but no rows.")
    return Parsed(tuple(records))


def _records(header: list[str], lines: Any) -> list[dict[str, Any]]:
    """One record a line, up to the last line that holds anything; a line without anything is an empty record."""
    records: list[dict[str, Any]] = []
    empty = 0
    for cells in lines:
        if not any(cell.strip() for cell in cells):
            empty += 1
            continue
        records += [{} for _ in range(empty)]
        empty = 0
        records.append(_record(header, cells))
        if len(records) > MAX_ROWS:
            raise InvalidData(f"The file has more than {MAX_ROWS:,} rows, which is what is scored at once.")
        if lines.line_num != len(records) + 1:
            raise InvalidData(f"Line {len(records) + 1} has a cell that does not end there: a quote is left open.")
    return records


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return ";" if first.count(";") > first.count(",") else ","


def _check_header(header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise InvalidData(f"The file has {len(header):,} columns; at most {MAX_COLUMNS} are read.")
    known = {*REQUIRED, *OPTIONAL}
    unknown = [h for h in header if h not in known and not h.startswith(_ATTRIBUTE)]
    problems = []
    if missing := [name for name in REQUIRED if name not in header]:
        problems.append(f"missing columns: {', '.join(missing)}")
    if unknown:
        problems.append(f"unknown columns: {', '.join(repr(h[:40]) for h in unknown[:10])}")
    if doubles := [name for name, times in Counter(header).items() if times > 1]:
        problems.append(f"columns named twice: {', '.join(name[:40] for name in doubles[:10])}")
    if problems:
        raise InvalidData(f"The header does not fit ({'; '.join(problems)}). The template has the right one.")


def _record(header: list[str], cells: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        text = cell.strip()[:MAX_CELL]
        if not text:
            continue
        # Columns of ours nest as deep as they have dots; what follows `attributes.` is the attribute's own name.
        parts = name.split(".", 1) if name.startswith(_ATTRIBUTE) else name.split(".")
        target = record
        for part in parts[:-1]:
            target = target.setdefault(part, {})
        target[parts[-1]] = _value(name, text)
    if len(cells) > len(header):
        record[f"cell {len(header) + 1}"] = "beyond the header"
    return record


def _value(name: str, text: str) -> Any:
    number = _NUMBERS.get(name)
    if number is None:
        return text
    try:
        return number(text)
    except ValueError:
        return text


def template(example: Transaction | None = None) -> bytes:
    """The header with one example row, taken from a real transaction where there is one."""
    columns = (*REQUIRED, *OPTIONAL)
    values = _example(example) if example else _EXAMPLE
    return export.to_csv(columns, [[values.get(name, "") for name in columns]])


_EXAMPLE: dict[str, Any] = {
    "transaction_id": "example-1", "event_time": "2026-01-31T12:00:00Z", "amount_minor": 12999, "currency": "EUR",
    "customer_id": "cus_00001", "card.token": "tok_00000001", "card.bin": "431940", "card.last4": "1234",
    "merchant.id": "mer_0001", "merchant.name": "Example Store", "merchant.mcc": "5732",
    "merchant.category": "electronics", "merchant.country": "DE", "channel": "ecom", "entry_mode": "stored",
}  # fmt: skip


def _example(t: Transaction) -> dict[str, Any]:
    found = {
        **_EXAMPLE, "event_time": t.event_time.isoformat(), "amount_minor": t.amount_minor, "currency": t.currency,
        "customer_id": t.customer_id, "channel": t.channel, "entry_mode": t.entry_mode,
    }  # fmt: skip
    found |= {f"card.{key}": value for key, value in t.card.items() if f"card.{key}" in found}
    return found | {f"merchant.{key}": value for key, value in t.merchant.items() if f"merchant.{key}" in found}
