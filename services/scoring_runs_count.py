"""How many rows a file has at most, before anything of it is scored."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO

from services.errors import InvalidData
from services.mapped_parquet import ParquetSource
from services.mapped_sources import open_source

_BLOCK = 2**20
# What a compressed file may unpack to: a million rows of 4 kB.
MAX_UNPACKED = 4 * 2**30


def count_lines(path: Path, *, most: int) -> int:
    """Rows of a Parquet file; lines of text, the header apart, which is the number of rows or a little more (a cell may
    span lines). Raises InvalidData for no rows, and for more than `most`."""
    source = open_source(path)
    if isinstance(source, ParquetSource):
        lines = source.rows
    else:
        lines = _newlines(path) - (0 if _is_json(path) else 1)
    if lines < 1:
        raise InvalidData(f"{path.name} has a header but no rows.")
    if lines > most:
        raise InvalidData(f"{path.name} has {lines:,} rows; at most {most:,} are scored at once. Nothing was scored.")
    return lines


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _newlines(path: Path) -> int:
    """Lines with an end, and the last one without."""
    lines, size, last = 0, 0, b"\n"
    try:
        with _opened(path) as file:
            while block := file.read(_BLOCK):
                lines, size, last = lines + block.count(b"\n"), size + len(block), block[-1:]
                if size > MAX_UNPACKED:
                    raise InvalidData(f"{path.name} unpacks to more than {MAX_UNPACKED // 2**30} GB.")
    except (OSError, EOFError) as error:
        raise InvalidData(f"{path.name} is not whole: it cannot be unpacked.") from error
    return lines + (last != b"\n")


def _is_json(path: Path) -> bool:
    with _opened(path) as file:
        return file.read(_BLOCK).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"
