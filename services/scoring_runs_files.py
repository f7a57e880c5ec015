"""What a scoring run keeps in the desk's bucket, below `scoring/<run_id>/`: its input, its results, what was refused.

    input/00000 ..             the file as it was sent, in pieces
    results/000000.parquet ..  one a batch, replaced whole when a batch is done again
    refused/000000.parquet ..  likewise; absent where a batch had no problem

Only parts of committed batches count: a part beyond them belongs to a batch that was cut off and will be written anew.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from services.errors import InvalidData, NotFound
from services.scoring import Assessment
from services.scoring_runs_rows import Checked
from services.scoring_runs_state import Refused

PIECE_BYTES = 8 * 2**20
RESULTS = pa.schema(
    [
        ("row", pa.int64()),
        ("transaction_id", pa.string()),
        ("score", pa.float64()),
        ("decision", pa.string()),
        ("reason_1", pa.string()),
        ("reason_2", pa.string()),
        ("reason_3", pa.string()),
        ("model_version", pa.string()),
    ]
)
# What a part has beside: which payment it was, and the rest of a score as the desk stores it. `reasons` is JSON.
_REST = pa.schema(
    [
        ("amount_minor", pa.int64()),
        ("event_time", pa.timestamp("ms", "UTC")),
        ("customer_id", pa.string()),
        ("features_version", pa.string()),
        ("review_threshold", pa.float64()),
        ("decline_threshold", pa.float64()),
        ("reasons", pa.string()),
        ("latency_ms", pa.float64()),
        ("scored_at", pa.timestamp("ms", "UTC")),
    ]
)
PART = pa.schema([*RESULTS, *_REST])
REFUSED = pa.schema([("row", pa.int64()), ("column", pa.string()), ("problem", pa.string())])
_REASONS = 3
# What a spreadsheet would read as a formula begins so; such text gets an apostrophe before it.
_FORMULA = r"^([=+\-@\t\r\n ])"


class Objects(Protocol):
    def put(self, key: str, body: bytes) -> None: ...

    def get(self, key: str) -> tuple[bytes, str]: ...

    def list(self, prefix: str) -> Iterable[Any]: ...

    def delete(self, keys: Sequence[str]) -> None: ...


class RunFiles:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def keep_input(self, run_id: str, file: IO[bytes]) -> int:
        """Store the file piece by piece; how many pieces."""
        number = 0
        while piece := file.read(PIECE_BYTES):
            self._objects.put(_input(run_id, number), piece)
            number += 1
        return number

    def fetch_input(self, run_id: str, *, pieces: int, checksum: str, into: Path) -> None:
        """Write the file to `into`. Raises InvalidData where it is not what was sent."""
        digest = hashlib.sha256()
        with into.open("wb") as out:
            for number in range(pieces):
                try:
                    piece, _ = self._objects.get(_input(run_id, number))
                except NotFound as error:
                    raise InvalidData("The file of this run was deleted; send it again.") from error
                digest.update(piece)
                out.write(piece)
        if digest.hexdigest() != checksum:
            raise InvalidData("The stored file of this run is not the one that was sent; send it again.")

    def put_batch(self, run_id: str, batch: int, results: pa.Table, refused: Sequence[Refused]) -> None:
        """The whole outcome of a batch, over what an attempt that was cut off may have left."""
        self._objects.put(_part(run_id, "results", batch), _packed(results))
        if refused:
            self._objects.put(_part(run_id, "refused", batch), _packed(refused_table(refused)))

    def results(self, run_id: str, batches: int) -> Iterator[pa.Table]:
        """The results of each batch (RESULTS)."""
        for batch in range(batches):
            yield _unpacked(self._objects.get(_part(run_id, "results", batch))[0]).select(RESULTS.names)

    def part(self, run_id: str, batch: int) -> pa.Table:
        """A batch's results with everything the desk stores of a score (PART). Raises InvalidData where it is of a
        time before that was kept."""
        try:
            table = _unpacked(self._objects.get(_part(run_id, "results", batch))[0])
        except NotFound as error:
            raise InvalidData("The results of this run were deleted; score the file again.") from error
        if table.schema.names != PART.names:
            raise InvalidData("This file was scored before results could be written back; score it again.")
        return table

    def refused(self, run_id: str, batches: int) -> Iterator[pa.Table]:
        prefix = f"scoring/{run_id}/refused/"
        last = _part(run_id, "refused", batches)
        for found in self._objects.list(prefix):
            if found.key < last:
                yield _unpacked(self._objects.get(found.key)[0])

    def delete(self, run_id: str) -> None:
        self._objects.delete([found.key for found in self._objects.list(f"scoring/{run_id}/")])


def _input(run_id: str, number: int) -> str:
    return f"scoring/{run_id}/input/{number:05d}"


def _part(run_id: str, kind: str, batch: int) -> str:
    return f"scoring/{run_id}/{kind}/{batch:06d}.parquet"


def results_table(checked: Checked, assessed: Sequence[Assessment | None], *, scored_at: datetime) -> pa.Table:
    """The scored rows of a batch in the order of the file (PART); `assessed` has None for rows that the model
    refused."""
    rows = [
        (
            row, d["_id"], a.value, str(a.decision), *_reasons(a), a.thresholds.model_version, d["amount_minor"],
            d["event_time"], d["customer_id"], a.features_version, a.thresholds.review, a.thresholds.decline,
            orjson.dumps(a.reasons).decode(), round(a.latency_ms, 3), scored_at,
        )
        for row, d, a in zip(checked.rows, checked.documents, assessed, strict=True)
        if a is not None
    ]  # fmt: skip
    arrays = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(PART)]
    return pa.table(arrays, schema=PART)


def _reasons(assessment: Assessment) -> tuple[str | None, ...]:
    texts = [reason.text for reason in assessment.reasons[:_REASONS]]
    return (*texts, *[None] * (_REASONS - len(texts)))


def refused_table(refused: Sequence[Refused]) -> pa.Table:
    columns = {
        "row": [r.row for r in refused],
        "column": [r.column for r in refused],
        "problem": [r.message for r in refused],
    }
    return pa.table(columns, schema=REFUSED)


def _packed(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _unpacked(body: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(body))


def write_csv(tables: Iterator[pa.Table], schema: pa.Schema, out: IO[bytes]) -> None:
    """UTF-8 with a byte-order mark; text that a spreadsheet would take for a formula is made text first."""
    out.write("\N{BYTE ORDER MARK}".encode())
    with pa_csv.CSVWriter(out, schema) as writer:
        for table in tables:
            writer.write_table(_as_text(table))


def _as_text(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if field.type == pa.string():
            safe = pc.replace_substring_regex(table.column(place), _FORMULA, r"'\1")
            table = table.set_column(place, field, safe)
    return table


def write_parquet(tables: Iterator[pa.Table], schema: pa.Schema, out: IO[bytes]) -> None:
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
