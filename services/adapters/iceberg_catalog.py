"""Opening the Iceberg catalog, the filters its partitions understand, and the one translation of its failures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan, Or
from sqlalchemy.exc import OperationalError

from services.adapters import aws
from services.errors import Unavailable
from services.lake_schema import LakeTable, PartitionBy
from services.settings import Settings

CONNECT_SECONDS, REQUEST_SECONDS = 1.0, 3.0
_EPOCH = date(1970, 1, 1)
# A filter of more ranges than this costs more to evaluate than the partitions it leaves out.
_MAX_RANGES = 40


class OneAttempt(AwsStandardS3RetryStrategy):
    """A person waits for the answer: better an error in time than a second try."""

    def __init__(self) -> None:
        super().__init__(max_attempts=1)


class ThreeAttempts(AwsStandardS3RetryStrategy):
    """A worker writes many files in one commit: one lost reply need not undo them all."""

    def __init__(self) -> None:
        super().__init__(max_attempts=3)


def open_catalog(settings: Settings, *, patient: bool) -> MetastoreCatalog:
    """The catalog of `settings.catalog_uri`: the account's Glue catalog, or tables in a SQL database."""
    attempts = ThreeAttempts if patient else OneAttempt
    properties = {
        "warehouse": f"s3://{settings.bucket}/warehouse",
        "py-io-impl": "services.adapters.iceberg_io.LakeFileIO",
        "s3.region": settings.region,
        "s3.connect-timeout": str(CONNECT_SECONDS),
        "s3.request-timeout": str(REQUEST_SECONDS * (3 if patient else 1)),
        "s3.retry-strategy-impl": f"{attempts.__module__}.{attempts.__qualname__}",
    }
    # The one standard variable PyArrow does not read by itself in every version.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        properties["s3.endpoint"] = endpoint
    if settings.catalog_uri == "glue":
        client = aws.client("glue", region=settings.region, read_seconds=REQUEST_SECONDS, attempts=3 if patient else 1)
        return GlueCatalog("fraud_desk", client=client, **properties)
    return SqlCatalog("fraud_desk", uri=settings.catalog_uri, **properties)


@contextmanager
def translated() -> Iterator[None]:
    """Turn "S3 or the catalog did not answer" into Unavailable; every other error is ours and propagates."""
    try:
        with aws.translated("S3"):
            yield
    except OperationalError as error:
        raise Unavailable("The lake's catalog does not answer.", dependency="S3") from error
    except FileNotFoundError as error:
        raise Unavailable("S3 does not have a file the lake's catalog names.", dependency="S3") from error
    except OSError as error:  # what PyArrow makes of every failure of S3, after its own attempts
        raise Unavailable("S3 is not reachable.", dependency="S3") from error


def partition_start(kind: LakeTable, moment: datetime) -> date:
    """The first day of the partition a row of this time belongs to."""
    day = moment.astimezone(UTC).date()
    return day if kind.partition_by is PartitionBy.DAY else day.replace(day=1)


def partition_of_value(kind: LakeTable, value: Any) -> date:
    """The first day of a partition from the value Iceberg stores: days or months since 1970, or a date."""
    if isinstance(value, date):
        return value
    if kind.partition_by is PartitionBy.DAY:
        return _EPOCH + timedelta(days=int(value))
    return date(1970 + int(value) // 12, int(value) % 12 + 1, 1)


def partition_end(kind: LakeTable, start: date) -> datetime:
    """The first moment after the partition; the calendar's last moment for the partition that no other follows."""
    try:
        if kind.partition_by is PartitionBy.DAY:
            return midnight(start + timedelta(days=1))
        return midnight((start.replace(day=28) + timedelta(days=4)).replace(day=1))
    except OverflowError:  # a clock can say 31 December 9999, and one such row must not stop all others
        return datetime.max.replace(tzinfo=UTC)


def between(column: str, start: datetime | None, end: datetime | None) -> BooleanExpression:
    """start <= column < end; None leaves that side open. Both are aware."""
    # PyIceberg's constructors are generated; its types describe the generated form, not the documented one.
    terms: list[BooleanExpression] = []
    if start is not None:
        terms.append(GreaterThanOrEqual(column, start.astimezone(UTC).isoformat()))  # type: ignore[arg-type,call-arg]
    if end is not None:
        terms.append(LessThan(column, end.astimezone(UTC).isoformat()))  # type: ignore[arg-type,call-arg]
    return And(*terms) if len(terms) == 2 else terms[0] if terms else AlwaysTrue()


def of_partitions(kind: LakeTable, starts: Sequence[date] | None) -> BooleanExpression:
    """Rows of at least these partitions (None: all); more than needed when they are many."""
    if starts is None:
        return AlwaysTrue()
    runs: list[tuple[date, date]] = []
    for start in sorted(set(starts)):
        if runs and partition_end(kind, runs[-1][1]) == midnight(start):
            runs[-1] = (runs[-1][0], start)
        else:
            runs.append((start, start))
    if len(runs) > _MAX_RANGES:
        runs = [(runs[0][0], runs[-1][1])]
    terms = [between(kind.time_column, midnight(first), partition_end(kind, last)) for first, last in runs]
    return Or(*terms) if len(terms) > 1 else terms[0] if terms else AlwaysTrue()


def midnight(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
