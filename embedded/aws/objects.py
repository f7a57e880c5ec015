"""The S3 side of jobs and models: list, download and upload, with bounded time and attempts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


class ObjectError(Exception):
    """S3 refused or did not answer; the text says what was wanted and why it failed."""


class Cancelled(Exception):
    """The caller's cancel event was set in mid-transfer."""


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` as (bucket, key). Raises ObjectError for anything else."""
    parsed = urlparse(uri)
    if parsed.scheme != "s3" or not parsed.netloc:
        raise ObjectError(f"'{uri}' is not an S3 URI")
    return parsed.netloc, parsed.path.lstrip("/")


class Objects:
    """Blocking; call it in a thread. One client is shared by all (botocore clients are thread-safe)."""

    def __init__(self, endpoint: str | None, region: str, access_key: str, secret_key: str) -> None:
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=Config(
                connect_timeout=2,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 4},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def download(self, uri: str, path: Path, *, max_bytes: int, cancel: threading.Event | None = None) -> None:
        """One object into a file. Raises ObjectError, also when it is larger than `max_bytes`."""
        bucket, key = split_uri(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            if answer["ContentLength"] > max_bytes:
                raise ObjectError(f"{uri} is larger than {max_bytes} bytes")
            with path.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(1 << 20):
                    if cancel is not None and cancel.is_set():
                        raise Cancelled
                    file.write(chunk)
        except (ClientError, BotoCoreError) as exc:
            raise ObjectError(f"{uri} could not be read: {exc}") from exc

    def download_prefix(self, uri: str, folder: Path, *, max_bytes: int, cancel: threading.Event) -> int:
        """Every object under an S3 prefix, named as after its last '/'; returns how many there were.

        Raises ObjectError when there are none, or more than `max_bytes` in all.
        """
        bucket, prefix = split_uri(uri)
        root = folder.resolve()
        root.mkdir(parents=True, exist_ok=True)
        base = prefix.rfind("/") + 1
        count = total = 0
        for key, size in self._list(bucket, prefix):
            if cancel.is_set():
                raise Cancelled
            name = key[base:] if key != prefix else key.rpartition("/")[2]
            if not name or key.endswith("/"):
                continue
            target = (root / name.lstrip("/")).resolve()
            if not target.is_relative_to(root):
                raise ObjectError(f"the object key {key!r} leads outside the channel")
            total += size
            if total > max_bytes:
                raise ObjectError(f"{uri} holds more than {max_bytes} bytes")
            self.download(f"s3://{bucket}/{key}", target, max_bytes=max_bytes, cancel=cancel)
            count += 1
        if count == 0:
            raise ObjectError(f'No S3 objects found under S3 URL "{uri}" given in input data source.')
        return count

    def size(self, uri: str) -> int:
        """Bytes of all objects under a prefix."""
        return sum(size for _, size in self._list(*split_uri(uri)))

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = split_uri(uri)
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=bucket, Key=key, Body=file)
        except (ClientError, BotoCoreError) as exc:
            raise ObjectError(f"{uri} could not be written: {exc}") from exc

    def _list(self, bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    yield item["Key"], item["Size"]
        except (ClientError, BotoCoreError) as exc:
            raise ObjectError(f"s3://{bucket}/{prefix} could not be listed: {exc}") from exc
