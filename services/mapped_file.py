"""Somebody's file through a mapping: tables in canonical columns, batch by batch, and every problem by row and column.

Columns of a table (services.domain.mapping.canonical_columns): transaction_id string, event_ms int64 (milliseconds
since 1970 UTC), amount_minor int64 (>= 0), currency (ISO 4217), `entity.<kind>` string (null: the row names none),
`place.<place>_lon`, `place.<place>_lat` float64 degrees, `feature.<name>` float64 (numbers; flags 1.0 or 0.0) or
string, null where missing; label int8 (1 fraud, 0 genuine, null unknown) and labelled_ms int64 (null: not known when).
Rows stay in the file's order. A row with any problem is left out whole. Where the mapping names no id, it is a hash of
the row's canonical values (the label apart), so the same row has the same id wherever it stands.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services import mapped_texts as texts
from services import mapped_values as values
from services.domain.mapping import Mapping, PlainFeature, canonical_columns
from services.domain.mapping_checks import CURRENCY
from services.domain.transaction_rules import EXPONENTS, shown
from services.errors import InvalidData
from services.mapped_parquet import ParquetSource
from services.mapped_raw import RawBatch, RowProblem, Source
from services.mapped_sources import CsvSource, open_source
from services.mapped_values import Column

__all__ = [
    "BATCH_ROWS",
    "Batch",
    "RowProblem",
    "exponent_of",
    "header",
    "open_source",
    "read",
    "read_all",
    "rows_about",
]

BATCH_ROWS = 50_000
_DEGREES = {"lon": 180.0, "lat": 90.0}


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows[i]` is the number in the file (from 1, without the header) of row i of the table.

    `last_row`: the number of the last row read so far, good or not; reading again `after_row` it continues there.
    """

    table: pa.Table
    rows: np.ndarray
    problems: tuple[RowProblem, ...]
    last_row: int


def read(
    path: str | Path,
    mapping: Mapping,
    *,
    batch_rows: int = BATCH_ROWS,
    after_row: int = 0,
    token_key: bytes | None = None,
) -> Iterator[Batch]:
    """The file in batches of up to `batch_rows` rows. Raises InvalidData where the file cannot be read at all, or
    columns that the mapping names are absent or there twice (all are listed).

    `token_key` keys the hash that replaces the values of tokenised columns; without one they are replaced under a key
    of this call, good for everything that is not kept.
    """
    source = open_source(Path(path))
    absent = _check_header(source, mapping, Path(path).name)
    wanted = [column for column in mapping.columns if column not in absent]
    comma = mapping.decimal == "," and isinstance(source, CsvSource)  # numbers of the other kinds have their own type
    reader = Reader(mapping, absent, token_key or secrets.token_bytes(32), comma=comma)
    for raw in source.batches(wanted, batch_rows=batch_rows, after_row=after_row):
        yield reader.batch(raw)


def read_all(
    path: str | Path, mapping: Mapping, *, token_key: bytes | None = None
) -> tuple[pa.Table, tuple[RowProblem, ...]]:
    """The whole file at once, for what fits into memory."""
    key = token_key or secrets.token_bytes(32)
    batches = list(read(path, mapping, token_key=key))
    schema = schema_of(mapping)
    table = pa.concat_tables([batch.table for batch in batches]) if batches else schema.empty_table()
    return table, tuple(problem for batch in batches for problem in batch.problems)


def header(path: str | Path) -> tuple[str, ...]:
    """The names of the file's columns (of JSON lines: those of its first objects)."""
    return open_source(Path(path)).names


def rows_about(path: Path) -> int | None:
    """How many rows there are: Parquet says it, of text lines are counted; None where it is packed."""
    source = open_source(path)
    if isinstance(source, ParquetSource):
        return source.rows
    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            return None
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def schema_of(mapping: Mapping) -> pa.Schema:
    types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "int8": pa.int8()}
    return pa.schema([(name, types[kind]) for name, kind in canonical_columns(mapping).items()])


def exponent_of(mapping: Mapping, currency: str) -> int:
    chosen = mapping.amount.exponent
    return EXPONENTS.get(currency, 2) if chosen is None else chosen


def _check_header(source: Source, mapping: Mapping, name: str) -> frozenset[str]:
    """The optional columns that the file does not have. Raises InvalidData naming everything that is wrong."""
    missing = [column for column in mapping.columns if column not in source.names]
    optional = optional_columns(mapping)
    problems = [f"there is no column '{column}'" for column in missing if column not in optional]
    twice = [column for column in mapping.columns if source.names.count(column) > 1]
    problems += [f"the column '{column}' is there {source.names.count(column)} times" for column in twice]
    if problems:
        has = ", ".join(shown(column)[1:-1] for column in source.names[:60])
        more = f" and {len(source.names) - 60} more" if len(source.names) > 60 else ""
        hint = (
            " If that is several columns in one, the delimiter is none of , ; | and tab."
            if len(source.names) == 1
            else ""
        )
        raise InvalidData(f"{name} does not fit the mapping: {'; '.join(problems)}. Its columns: {has}{more}.{hint}")
    return frozenset(missing)


def optional_columns(mapping: Mapping) -> set[str]:
    """Columns that only optional features read."""
    optional = {feature.column for feature in mapping.features if feature.optional}
    required = {feature.column for feature in mapping.features if not feature.optional}
    fixed = {c for columns in (*mapping.entities.values(), *mapping.places.values()) for c in columns}
    return optional - required - fixed


class Reader:
    """Raw columns into canonical ones. `absent`: optional columns that are not there; `comma`: of decimals in text."""

    def __init__(self, mapping: Mapping, absent: frozenset[str], key: bytes, *, comma: bool = False) -> None:
        self._mapping, self._absent, self._key, self._comma = mapping, absent, key, comma
        self._schema = schema_of(mapping)

    def batch(self, raw: RawBatch) -> Batch:
        """Canonical columns of the rows without problems."""
        made = self._columns(raw)
        bad: set[int] = set()
        problems = list(raw.problems)
        for source_name, column in made.values():
            for index, message in column.problems.items():
                bad.add(index)
                problems.append(RowProblem(int(raw.rows[index]), source_name, message))
        arrays = {name: column.values for name, (_, column) in made.items()}
        rows = raw.rows
        if bad:
            keep = np.ones(len(rows), dtype=bool)
            keep[list(bad)] = False
            arrays, rows = {name: values.filter(pa.array(keep)) for name, values in arrays.items()}, rows[keep]
        if self._mapping.id is None:
            arrays["transaction_id"] = _made_ids(arrays)
        table = pa.table([arrays[name] for name in self._schema.names], schema=self._schema)
        ordered = sorted(set(problems), key=lambda p: (p.row, p.column))
        return Batch(table, rows, tuple(ordered), raw.last_row)

    def _columns(self, raw: RawBatch) -> dict[str, tuple[str, Column]]:
        """canonical name -> (the source's name, the column)."""
        mapping = self._mapping
        made: dict[str, tuple[str, Column]] = {}
        if mapping.id is not None:
            made["transaction_id"] = mapping.id, _required(self._names(raw, (mapping.id,)))
        moment = values.times(raw.columns[mapping.time.column], mapping.time)
        made["event_ms"] = mapping.time.column, moment
        currency = self._currency(raw)
        made["currency"] = mapping.amount.currency_column or "", currency
        amounts = values.amounts(
            raw.columns[mapping.amount.column],
            self._exponents(currency.values),
            minor=mapping.amount.minor,
            comma=self._comma,
        )
        made["amount_minor"] = mapping.amount.column, amounts
        for kind, columns in mapping.entities.items():
            named = self._names(raw, columns)
            made[f"entity.{kind}"] = columns[0], _required(named) if kind == "customer" else named
        for place, columns in mapping.places.items():
            for part, column in zip(("lon", "lat"), columns, strict=True):
                made[f"place.{place}_{part}"] = column, self._degrees(raw.columns[column], _DEGREES[part])
        for feature in mapping.features:
            made[f"feature.{feature.name}"] = feature.column, self._feature(raw, feature)
        return made | self._labels(raw, moment)

    def _key_of(self, column: str) -> bytes | None:
        return self._key if column in self._mapping.tokenise else None

    def _names(self, raw: RawBatch, columns: tuple[str, ...]) -> Column:
        """The id of an entity; several columns are joined, and it is missing only where all of them are."""
        parts = [texts.names(raw.columns[column], key=self._key_of(column)) for column in columns]
        if len(parts) == 1:
            return parts[0]
        problems = {index: text for part in parts for index, text in part.problems.items()}
        cells = zip(*(part.values.to_pylist() for part in parts), strict=True)
        return Column(pa.array(map(texts.joined_id, cells), pa.string()), problems)

    def _currency(self, raw: RawBatch) -> Column:
        amount = self._mapping.amount
        if amount.currency_column is None:
            return Column(pa.array([amount.currency], pa.string()).take(pa.array(np.zeros(len(raw.rows), np.int64))))
        codes = pc.utf8_upper(texts.texts(raw.columns[amount.currency_column]))
        problems = {
            index: f"must be a three-letter currency code, got {shown(text)}"
            for index, text in enumerate(codes.to_pylist())
            if text is None or not CURRENCY.fullmatch(text)
        }
        return Column(codes, problems)

    def _exponents(self, currencies: pa.Array) -> np.ndarray:
        encoded = currencies.fill_null("").dictionary_encode()
        by_number = np.array([exponent_of(self._mapping, c) for c in encoded.dictionary.to_pylist()], dtype=np.int64)
        return by_number[encoded.indices.to_numpy(zero_copy_only=False)]

    def _feature(self, raw: RawBatch, feature: PlainFeature) -> Column:
        if feature.column in self._absent:
            numeric = feature.kind in ("number", "flag")
            return Column(pa.nulls(len(raw.rows), pa.float64() if numeric else pa.string()))
        column = raw.columns[feature.column]
        if feature.kind == "number":
            numbers, problems = values.floats(column, comma=self._comma)
            return Column(pa.array(numbers, mask=np.isnan(numbers)), problems)
        if feature.kind == "flag":
            return texts.flags(column)
        return texts.words(column, key=self._key_of(feature.column))

    def _degrees(self, column: pa.Array, limit: float) -> Column:
        numbers, problems = values.floats(column, comma=self._comma)
        with np.errstate(invalid="ignore"):
            outside = map(int, np.flatnonzero(np.abs(numbers) > limit))
        problems |= {i: f"must be between -{limit:g} and {limit:g} degrees" for i in outside if i not in problems}
        return Column(pa.array(numbers, mask=np.isnan(numbers)), problems)

    def _labels(self, raw: RawBatch, moment: Column) -> dict[str, tuple[str, Column]]:
        label, rows = self._mapping.label, len(raw.rows)
        if label is None:
            return {
                "label": ("", Column(pa.nulls(rows, pa.int8()))),
                "labelled_ms": ("", Column(pa.nulls(rows, pa.int64()))),
            }
        verdicts = texts.verdicts(raw.columns[label.column], label.fraud)
        known = Column(pa.nulls(rows, pa.int64()))
        if label.known_at is not None:
            known = values.times(raw.columns[label.known_at], self._mapping.time, required=False)
        elif label.delay_days is not None:
            known = Column(pc.add(moment.values, int(label.delay_days * 86_400_000)))
        known.values = pc.if_else(verdicts.values.is_valid(), known.values, pa.scalar(None, pa.int64()))
        return {"label": (label.column, verdicts), "labelled_ms": (label.known_at or "", known)}


def _required(column: Column) -> Column:
    for index in np.flatnonzero(column.values.is_null().to_numpy(zero_copy_only=False)):
        column.problems.setdefault(int(index), "is missing")
    return column


def _made_ids(arrays: dict[str, pa.Array]) -> pa.Array:
    """Ids from what the rows say; the verdict is left out, since it is learned later."""
    told = [array.to_pylist() for name, array in arrays.items() if name not in ("label", "labelled_ms")]
    return pa.array(
        [
            "row_" + texts.letters(hashlib.blake2b(repr(row).encode(), digest_size=16).hexdigest())
            for row in zip(*told, strict=True)
        ],
        pa.string(),
    )
