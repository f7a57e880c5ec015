"""The rows of a CSV, Parquet or JSON-lines file as columns, batch by batch; nothing is interpreted yet.

Memory is bounded by the batch: no file is read whole. What kind of file it is is told by its first bytes. Rows are
numbered from 1, without the header; blank lines are no rows.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import orjson
import pyarrow as pa

from services.domain.transaction_rules import plain
from services.errors import InvalidData
from services.mapped_parquet import ParquetSource
from services.mapped_raw import RawBatch, RowProblem, Source

# A cell, or a JSON line, is at most this many characters.
MAX_CELL = 16 * 2**20
_DELIMITERS = ",;\t|"
_JSON_SAMPLE = 100
# bzip2, xz, zstd, lz4, 7z, rar
_PACKED_OTHERWISE = (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"7z\xbc\xaf", b"Rar!")
_NOT_WHOLE = (gzip.BadGzipFile, EOFError, zlib.error)


def open_source(path: Path) -> Source:
    """Raises InvalidData where the file cannot be read as one of the three kinds."""
    try:
        with path.open("rb") as file:
            head = file.read(65536)
    except OSError as error:
        raise InvalidData(f"The file {path.name} cannot be read ({error.strerror}).") from error
    if not head:
        raise InvalidData(f"The file {path.name} is empty.")
    if head[:4] == b"PAR1":
        return ParquetSource(path)
    if head[:2] == b"PK":
        raise InvalidData(f"{path.name} is a zip or Excel file. Save its table as CSV and import that.")
    if head.startswith(_PACKED_OTHERWISE):
        raise InvalidData(f"{path.name} is packed in a way that is not read here: unpack it, or pack it with gzip.")
    packed = head[:2] == b"\x1f\x8b"
    try:
        if packed:
            with gzip.open(path) as unpacked:
                head = unpacked.read(65536)
        return _text_source(path, packed, head)
    except _NOT_WHOLE as error:
        raise InvalidData(f"The file {path.name} is not whole: it cannot be unpacked.") from error


def _text_source(path: Path, packed: bool, head: bytes) -> Source:
    encoding = _encoding(head)
    if encoding == "utf-8-sig" and b"\x00" in head:
        raise InvalidData(f"{path.name} is neither text nor Parquet. CSV, Parquet and JSON lines can be imported.")
    start = head.decode(encoding, errors="replace").lstrip("\ufeff \t\r\n")[:1]
    if start == "[":
        raise InvalidData(f"{path.name} is one JSON array. Write one object a line (JSON lines) and import that.")
    if not start:
        raise InvalidData(f"The file {path.name} is empty.")
    return JsonSource(path, packed, encoding) if start == "{" else CsvSource(path, packed, encoding)


def _encoding(head: bytes) -> str:
    return "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _opened(path: Path, packed: bool, encoding: str) -> IO[str]:
    """Bytes that are no text in the encoding become half surrogates, so that only the cells they are in are refused."""
    errors = "surrogateescape" if encoding == "utf-8-sig" else "replace"
    if packed:
        return cast(IO[str], gzip.open(path, "rt", encoding=encoding, errors=errors, newline=""))
    return path.open(encoding=encoding, errors=errors, newline="")


def _whole(path: Path, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
    """The same batches; a packed file that ends too early or is damaged is InvalidData behind the last good batch."""
    last = 0
    try:
        for batch in batches:
            last = batch.last_row
            yield batch
    except _NOT_WHOLE as error:
        raise InvalidData(
            f"The file {path.name} is not whole: it cannot be unpacked to its end. Its rows up to {last:,} were read."
        ) from error


class CsvSource:
    """Delimiter (comma, semicolon, tab or |) by the header; quotes as in RFC 4180."""

    def __init__(self, path: Path, packed: bool, encoding: str) -> None:
        self._open, self._path = lambda: _opened(path, packed, encoding), path
        with self._open() as file:
            line = next((line for line in iter(lambda: file.readline(MAX_CELL), "") if line.strip()), "")
        self._delimiter = max(_DELIMITERS, key=lambda sign: len(next(csv.reader([line], delimiter=sign))))
        self.names = tuple(name.strip() for name in next(csv.reader([line], delimiter=self._delimiter)))
        if bad := [name for name in self.names if _no_text(name)]:
            raise InvalidData(
                f"The header of {path.name} is no text in UTF-8 ('{plain(bad[0])}'): save it as UTF-8 and import that."
            )

    def batches(self, wanted: Sequence[str], *, batch_rows: int, after_row: int) -> Iterator[RawBatch]:
        return _whole(self._path, self._batches(wanted, batch_rows, after_row))

    def _batches(self, wanted: Sequence[str], batch_rows: int, after_row: int) -> Iterator[RawBatch]:
        first = {name: place for place, name in reversed(list(enumerate(self.names)))}
        places = [first[name] for name in wanted]
        csv.field_size_limit(MAX_CELL)
        with self._open() as file:
            rows = _numbered(csv.reader(file, delimiter=self._delimiter), len(self.names))
            yield from _gathered(rows, wanted, places, batch_rows, after_row)


def _numbered(reader: Any, width: int) -> Iterator[tuple[int, list[str] | RowProblem]]:
    """Every row after the header with its number: its cells, or what is wrong with it."""
    number, header = 0, True
    while True:
        line = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            yield number, RowProblem(number, "", f"cannot be read ({error})")
            continue
        if not cells:
            continue
        if header:
            header = False
            continue
        number += 1
        if len(cells) != width:
            lines = reader.line_num - line
            open_quote = f"; it spans {lines:,} lines of the file: is a quotation mark left open?" if lines > 1 else ""
            yield number, RowProblem(number, "", f"has {len(cells)} cells, the header has {width}{open_quote}")
        else:
            yield number, cells


class JsonSource:
    """An object a line; members of nested objects are called outer.inner."""

    def __init__(self, path: Path, packed: bool, encoding: str) -> None:
        self._open, self._path = lambda: _opened(path, packed, encoding), path
        names: dict[str, None] = {}
        with self._open() as file:
            for _, cells in zip(range(_JSON_SAMPLE), self._objects(file), strict=False):
                if isinstance(cells[1], dict):
                    names |= dict.fromkeys(cells[1])
        self.names = tuple(names)
        if not names:
            raise InvalidData(
                f"The first lines of {path.name} hold no JSON object: write one object a line (JSON lines)."
            )

    def batches(self, wanted: Sequence[str], *, batch_rows: int, after_row: int) -> Iterator[RawBatch]:
        return _whole(self._path, self._batches(wanted, batch_rows, after_row))

    def _batches(self, wanted: Sequence[str], batch_rows: int, after_row: int) -> Iterator[RawBatch]:
        with self._open() as file:
            yield from _gathered(self._objects(file), wanted, list(wanted), batch_rows, after_row)

    @staticmethod
    def _objects(file: IO[str]) -> Iterator[tuple[int, dict[str, Any] | RowProblem]]:
        number = 0
        while line := file.readline(MAX_CELL):
            if not line.strip():
                continue
            number += 1
            if len(line) >= MAX_CELL and not line.endswith("\n"):
                while (rest := file.readline(MAX_CELL)) and not rest.endswith("\n"):
                    pass
                yield number, RowProblem(number, "", f"is longer than {MAX_CELL:,} characters")
                continue
            try:
                record = orjson.loads(line.encode("utf-8", errors="surrogateescape"))
            except orjson.JSONDecodeError as error:
                yield number, RowProblem(number, "", f"is no JSON ({error.msg})")
                continue
            yield number, _cells(number, record)


def raw_rows(objects: Sequence[Any], wanted: Sequence[str]) -> RawBatch:
    """Objects as somebody sends them, read like the lines of a JSON file; numbered from 1. Members that are not wanted
    are passed by; those that are absent are empty."""
    rows = ((number, _cells(number, record)) for number, record in enumerate(objects, 1))
    found = next(_gathered(rows, wanted, list(wanted), max(len(objects), 1), 0), None)
    return found or _batch(wanted, [[] for _ in wanted], [], [], 0)


def _cells(number: int, record: Any) -> dict[str, Any] | RowProblem:
    if not isinstance(record, dict):
        return RowProblem(number, "", "is no JSON object")
    try:
        return _flat(record, "")
    except RecursionError:
        return RowProblem(number, "", "is nested too deeply")


def _flat(record: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _gathered(
    rows: Iterator[tuple[int, Any]], wanted: Sequence[str], places: Sequence[Any], batch_rows: int, after_row: int
) -> Iterator[RawBatch]:
    """Cells by name, so many rows at once. `places` says where in a row's cells a wanted column is."""
    kept: list[list[str | None]] = [[] for _ in wanted]
    numbers: list[int] = []
    problems: list[RowProblem] = []
    seen, number = 0, after_row
    for number, cells in rows:
        if number <= after_row:
            continue
        seen += 1
        if isinstance(cells, RowProblem):
            problems.append(cells)
        elif isinstance(cells, dict):
            found = [_word(cells.get(place)) for place in places]
            wrong = [name for name, word in zip(wanted, found, strict=True) if word is _NO_VALUE]
            problems += [RowProblem(number, name, "is a list, not a value") for name in wrong]
            if not wrong:
                numbers.append(number)
                for column, word in zip(kept, found, strict=True):
                    column.append(cast("str | None", word))
        else:
            numbers.append(number)
            for column, place in zip(kept, places, strict=True):
                column.append(cells[place] or None)
        if seen == batch_rows:
            yield _batch(wanted, kept, numbers, problems, number)
            kept, numbers, problems, seen = [[] for _ in wanted], [], [], 0
    if seen:
        yield _batch(wanted, kept, numbers, problems, number)


_NO_VALUE = object()


def _word(value: Any) -> object:
    """A JSON value as the text a CSV file would have."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return repr(value) if isinstance(value, int | float) else _NO_VALUE


def _batch(
    wanted: Sequence[str], kept: list[list[str | None]], numbers: list[int], problems: list[RowProblem], last: int
) -> RawBatch:
    """Cells that are no text in UTF-8, or hold a NUL, refuse their rows."""
    bad: set[int] = set()
    for name, cells in zip(wanted, kept, strict=True):
        for index, cell in enumerate(cells):
            if cell is not None and not (cell.isascii() and "\x00" not in cell) and (trouble := _no_text(cell)):
                problems.append(RowProblem(numbers[index], name, f"{trouble}: '{plain(cell)}'"))
                bad.add(index)
    if bad:
        kept = [[cell for index, cell in enumerate(cells) if index not in bad] for cells in kept]
        numbers = [number for index, number in enumerate(numbers) if index not in bad]
    columns = {name: pa.array(cells, pa.string()) for name, cells in zip(wanted, kept, strict=True)}
    return RawBatch(columns, np.array(numbers, dtype=np.int64), tuple(problems), last)


def _no_text(cell: str) -> str | None:
    if "\x00" in cell:
        return "contains a NUL character"
    return "is no text in UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in cell) else None
