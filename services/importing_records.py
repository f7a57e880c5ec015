"""A canonical row of somebody's file -> the record that the front door would get, and the verdict it carries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from services.domain.mapping import DOCUMENT_KINDS, Mapping
from services.domain.states import LabelValue
from services.errors import Problem
from services.mapped_file import RowProblem, exponent_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = {
    "customer": "customer_id",
    "merchant": "merchant",
    "card": "card",
    "terminal": "terminal_id",
    "device": "device",
}
_INNER = {"merchant": "id", "card": "token", "device": "id"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`known_at` None: the source does not say when it was known."""

    value: LabelValue
    known_at: datetime | None


def records(table: pa.Table, mapping: Mapping) -> Iterator[tuple[dict[str, Any], Verdict | None]]:
    """Each row in the front door's shape (docs/contracts.md). What is missing in the row is absent in the record."""
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    flags = {feature.name for feature in mapping.features if feature.kind == "flag"}
    others = [kind for kind in mapping.entities if kind not in DOCUMENT_KINDS]
    for row in range(table.num_rows):
        currency = columns["currency"][row]
        record: dict[str, Any] = {
            "transaction_id": columns["transaction_id"][row],
            "event_time": _moment(columns["event_ms"][row]),
            "amount_minor": columns["amount_minor"][row],
            "currency": currency,
            "exponent": exponent_of(mapping, currency),
        }
        for kind in mapping.entities:
            if kind in _FIELDS and (name := columns[f"entity.{kind}"][row]) is not None:
                record[_FIELDS[kind]] = {_INNER[kind]: name} if kind in _INNER else name
        _place(record, columns, row, mapping)
        attributes = {kind: columns[f"entity.{kind}"][row] for kind in others}
        for feature in mapping.features:
            value = columns[f"feature.{feature.name}"][row]
            attributes[feature.name] = bool(value) if feature.name in flags and value is not None else value
        if attributes := {name: value for name, value in attributes.items() if value is not None}:
            record["attributes"] = attributes
        yield record, _verdict(columns["label"][row], columns["labelled_ms"][row])


def _place(record: dict[str, Any], columns: dict[str, list[Any]], row: int, mapping: Mapping) -> None:
    for place in mapping.places:
        lon, lat = columns[f"place.{place}_lon"][row], columns[f"place.{place}_lat"][row]
        if lon is None or lat is None:
            continue
        if place == "home":
            record["customer"] = {"home": {"lon": lon, "lat": lat}}
        else:
            record.setdefault("merchant", {})["location"] = {"lon": lon, "lat": lat}


def _verdict(label: int | None, labelled_ms: int | None) -> Verdict | None:
    if label is None:
        return None
    value = LabelValue.FRAUD if label else LabelValue.GENUINE
    return Verdict(value, None if labelled_ms is None else _moment(labelled_ms))


def _moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def located(row: int, problem: Problem, mapping: Mapping) -> RowProblem:
    """A problem of the front door at the source's column; where the source has none, the message says the field."""
    column = column_of(problem.field, mapping)
    return RowProblem(row, column, problem.message if column else f"{problem.field} {problem.message}")


def column_of(field: str, mapping: Mapping) -> str:
    """The source's column behind a field of a record, or "" where there is none: where a person looks for the fault."""
    head = field.split(".")[0]
    if head == "attributes":
        name = field.removeprefix("attributes").lstrip(".")
        plain = next((feature.column for feature in mapping.features if feature.name == name), "")
        return plain or ", ".join(mapping.entities.get(name, ()))
    for kind, name in _FIELDS.items():
        if head == name and kind in mapping.entities:
            return ", ".join(mapping.entities[kind])
    amount = mapping.amount
    simple = {
        "transaction_id": mapping.id, "event_time": mapping.time.column, "amount_minor": amount.column,
        "currency": amount.currency_column,
    }  # fmt: skip
    return simple.get(head) or ""
