"""Objects in the desk's bucket. Satisfies the object stores that workers and services declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from services.adapters import aws
from services.errors import Conflict, Unavailable

_DEPENDENCY = "S3"
_PAGE = 1000
# Precondition failed, and the 409 S3 answers when two conditional writes of one key meet.
_PRECONDITION = {"PreconditionFailed", "412", "ConditionalRequestConflict"}


@contextmanager
def _translated() -> Iterator[None]:
    """The desk's errors, also for a connection that was never made, which botocore keeps apart from one that broke."""
    try:
        with aws.translated(_DEPENDENCY):
            yield
    except BotoConnectionError as error:
        raise Unavailable("S3 is not reachable.", dependency=_DEPENDENCY) from error


def _etag_of(answer: Mapping[str, Any]) -> str:
    """Raises Unavailable for an answer without one: its headers broke off, which HTTP clients take for their end."""
    if "ETag" not in answer:
        raise Unavailable("S3 broke off its answer.", dependency=_DEPENDENCY)
    return str(answer["ETag"]).strip('"')


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object. `etag` changes whenever the bytes do; `size` is in bytes."""

    key: str
    etag: str
    size: int
    modified_at: datetime


class ObjectStore:
    """One bucket. Every call ends within about `attempts` x (`connect_seconds` + `read_seconds`).

    Raises Unavailable(dependency="S3") when it does not answer, NotFound for an absent key.
    Clients are safe to share between threads.
    """

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        connect_seconds: float = 1.0,
        read_seconds: float = 3.0,
        attempts: int = 1,
        client: Any = None,
    ) -> None:
        self.bucket = bucket
        self._s3 = client or aws.client(
            "s3", region=region, connect_seconds=connect_seconds, read_seconds=read_seconds, attempts=attempts
        )

    def put(self, key: str, body: bytes) -> None:
        """Write or replace the object as a whole: readers see all of it or what was there before."""
        with _translated():
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def put_if(self, key: str, body: bytes, *, former_etag: str | None) -> None:
        """Write only over what the caller has seen: nothing (None), or the object with `former_etag`.

        Raises Conflict when something else is there. A server that ignores conditional headers writes anyway; the
        condition is a second fence behind the caller's own lease, never the only one.
        """
        condition = {"IfNoneMatch": "*"} if former_etag is None else {"IfMatch": f'"{former_etag}"'}
        with _translated():
            try:
                self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, **condition)
            except ClientError as error:
                if aws.code_of(error) not in _PRECONDITION:
                    raise
                raise Conflict(f"Another process wrote {key} first; nothing was overwritten.") from error

    def get(self, key: str) -> tuple[bytes, str]:
        """The bytes and their etag."""
        with _translated():
            answer = self._s3.get_object(Bucket=self.bucket, Key=key)
            return answer["Body"].read(), _etag_of(answer)

    def etag(self, key: str) -> str | None:
        """The etag of the object, or None when there is none."""
        with _translated():
            try:
                return _etag_of(self._s3.head_object(Bucket=self.bucket, Key=key))
            except ClientError as error:
                if aws.code_of(error) not in {"404", "NoSuchKey", "NotFound"}:
                    raise
                return None

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[ObjectInfo]:
        """Objects under `prefix` in key order, beginning after `start_after` (exclusive). Pages are fetched as read."""
        token: dict[str, str] = {}
        while True:
            with _translated():
                page = self._s3.list_objects_v2(
                    Bucket=self.bucket, Prefix=prefix, StartAfter=start_after, MaxKeys=_PAGE, **token
                )
            for item in page.get("Contents", ()):
                if item["Key"] > start_after:
                    yield ObjectInfo(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the objects; an absent one is not an error."""
        for start in range(0, len(keys), _PAGE):
            batch = [{"Key": key} for key in keys[start : start + _PAGE]]
            with _translated():
                self._s3.delete_objects(Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True})
