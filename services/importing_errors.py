"""The list of what was refused, as a CSV file: row, column, message. It survives a killed import without doubles."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from services.errors import InvalidData
from services.mapped_file import RowProblem

_HEADER = ("row", "column", "message")
# A spreadsheet takes cells that begin like this for formulas.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ErrorsFile:
    """Opened at `start` bytes, which an import saves with its place: what was written after that is cut off.

    `start` 0 begins the file anew. Raises InvalidData where the file cannot be written.
    """

    def __init__(self, path: Path, *, start: int = 0) -> None:
        self.path = path
        try:
            self._file = path.open("r+b" if start else "wb")
        except OSError as error:
            raise InvalidData(
                f"The list of errors {path.name} cannot be written ({error.strerror}): choose another place for it."
            ) from error
        self._file.truncate(start)
        self._file.seek(start)
        self.size = start
        if not start:
            self._write([_HEADER])

    @staticmethod
    def reaches(path: Path, size: int) -> bool:
        """Whether the file is there with at least the bytes that were saved."""
        return path.is_file() and path.stat().st_size >= size

    def add(self, problems: Sequence[RowProblem]) -> None:
        """On disk when it returns."""
        if problems:
            self._write([(str(problem.row), _cell(problem.column), _cell(problem.message)) for problem in problems])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", errors="replace"))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.size = self._file.tell()

    def __enter__(self) -> ErrorsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
