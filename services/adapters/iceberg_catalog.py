"""Opening the Iceberg catalog, the filters its partitions understand, and the one translation of its failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import ValidationError
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan
from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.typedef import EMPTY_DICT
from sqlalchemy.exc import OperationalError

from services.adapters import aws
from services.errors import Unavailable
from services.lake_schema import LakeTable, PartitionBy
from services.settings import Settings

CONNECT_SECONDS, REQUEST_SECONDS = 1.0, 3.0
_EPOCH = date(1970, 1, 1)


def open_catalog(settings: Settings, *, patient: bool) -> MetastoreCatalog:
    """The catalog of `settings.catalog_uri`: the account's Glue catalog, or tables in a SQL database.

    `patient` is a worker, which writes many files in one commit: one lost reply need not undo them all. A person waits
    for the answer: better an error in time than a second try.
    """
    attempts = 3 if patient else 1
    properties = {
        "warehouse": f"s3://{settings.bucket}/warehouse",
        "py-io-impl": "services.adapters.iceberg_io.LakeFileIO",
        "s3.region": settings.region,
        "s3.connect-timeout": str(CONNECT_SECONDS),
        "s3.request-timeout": str(REQUEST_SECONDS * (3 if patient else 1)),
        "s3.attempts": str(attempts),
    }
    # The one standard variable PyArrow does not read by itself in every version.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        properties["s3.endpoint"] = endpoint
    if settings.catalog_uri == "glue":
        client = aws.client("glue", region=settings.region, read_seconds=REQUEST_SECONDS, attempts=attempts)
        return _Glue("fraud_desk", client=client, **properties)
    return _Sql("fraud_desk", uri=settings.catalog_uri, **properties)


class _Remembering:
    """The tables last loaded or committed, by name. Metadata files never change: a table whose location is the same is
    the same. Without it every look at a table would fetch and parse all of its metadata, over a connection of its own.
    """

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self._files: dict[tuple[tuple[str, Any], ...], FileIO] = {}
        self._lock = threading.Lock()

    def recall(self, name: str, location: str | None, load: Callable[[], Table]) -> Table:
        with self._lock:
            known = self._tables.get(name)
        if known is None or known.metadata_location != location:
            known = load()
            with self._lock:
                self._tables[name] = known
        # A copy: a table object moves on when something is committed through it.
        return Table(known.name(), known.metadata, known.metadata_location, known.io, known.catalog)

    def committed(self, table: Table, answer: CommitTableResponse) -> CommitTableResponse:
        after = Table(table.name(), answer.metadata, answer.metadata_location, table.io, table.catalog)
        with self._lock:
            self._tables[table.name()[-1]] = after
        return answer

    def files(self, properties: Mapping[str, Any], load: Callable[[], FileIO]) -> FileIO:
        which = tuple(sorted(properties.items()))
        with self._lock:
            known = self._files.get(which)
        if known is None:
            known = load()
            with self._lock:
                self._files[which] = known
        return known


class _Sql(SqlCatalog):
    def __init__(self, name: str, **properties: str) -> None:
        self._known = _Remembering()
        super().__init__(name, **properties)

    def _convert_orm_to_iceberg(self, orm_table: Any) -> Table:
        name, location = orm_table.table_name, orm_table.metadata_location
        return self._known.recall(name, location, lambda: super(_Sql, self)._convert_orm_to_iceberg(orm_table))

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        return self._known.committed(table, super().commit_table(table, requirements, updates))

    def _load_file_io(self, properties: Mapping[str, Any] = EMPTY_DICT, location: str | None = None) -> FileIO:
        return self._known.files(properties, lambda: super(_Sql, self)._load_file_io(dict(properties), location))


class _Glue(GlueCatalog):
    def __init__(self, name: str, client: Any, **properties: str) -> None:
        self._known = _Remembering()
        super().__init__(name, client, **properties)

    def _convert_glue_to_iceberg(self, glue_table: Any) -> Table:
        name, location = glue_table["Name"], glue_table.get("Parameters", {}).get("metadata_location")
        return self._known.recall(name, location, lambda: super(_Glue, self)._convert_glue_to_iceberg(glue_table))

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        return self._known.committed(table, super().commit_table(table, requirements, updates))

    def _load_file_io(self, properties: Mapping[str, Any] = EMPTY_DICT, location: str | None = None) -> FileIO:
        return self._known.files(properties, lambda: super(_Glue, self)._load_file_io(dict(properties), location))


@contextmanager
def translated() -> Iterator[None]:
    """Turn "S3 or the catalog did not answer" into Unavailable; every other error is ours and propagates."""
    try:
        with aws.translated("S3"):
            yield
    except OperationalError as error:
        raise Unavailable("The lake's catalog does not answer.", dependency="S3") from error
    except EOFError as error:  # a connection that broke in the middle of a manifest: PyArrow hands out what it got
        raise Unavailable("S3 broke off its answer.", dependency="S3") from error
    except ValidationError as error:  # the same of a table's metadata
        raise Unavailable("S3 broke off the description of a table.", dependency="S3") from error
    except FileNotFoundError as error:
        raise Unavailable("S3 does not have a file the lake's catalog names.", dependency="S3") from error
    except OSError as error:  # what PyArrow makes of every failure of S3, after its own attempts
        raise Unavailable("S3 is not reachable.", dependency="S3") from error


def partition_of_value(kind: LakeTable, value: Any) -> date:
    """The first day of a partition from the value Iceberg stores: days or months since 1970, or a date."""
    if isinstance(value, date):
        return value
    if kind.partition_by is PartitionBy.DAY:
        return _EPOCH + timedelta(days=int(value))
    return date(1970 + int(value) // 12, int(value) % 12 + 1, 1)


def value_of_partition(kind: LakeTable, start: date) -> int:
    """What Iceberg stores for the partition that begins on this day: days or months since 1970."""
    return (start - _EPOCH).days if kind.partition_by is PartitionBy.DAY else (start.year - 1970) * 12 + start.month - 1


def between(column: str, start: datetime | None, end: datetime | None) -> BooleanExpression:
    """start <= column < end; None leaves that side open. Both are aware."""
    # PyIceberg's constructors are generated; its types describe the generated form, not the documented one.
    terms: list[BooleanExpression] = []
    if start is not None:
        terms.append(GreaterThanOrEqual(column, start.astimezone(UTC).isoformat()))  # type: ignore[arg-type,call-arg]
    if end is not None:
        terms.append(LessThan(column, end.astimezone(UTC).isoformat()))  # type: ignore[arg-type,call-arg]
    return And(*terms) if len(terms) == 2 else terms[0] if terms else AlwaysTrue()


def midnight(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
