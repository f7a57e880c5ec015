"""File access of the Iceberg tables: PyArrow reads and writes, boto3 deletes.

PyArrow begins every file as a multipart upload unless it may wait with opening it: three requests for a file that fits
in one, three to pay for, and of the servers over a plain folder some fail at a part now and then.

PyArrow's S3 delete also puts an empty marker object at the parent "folder", so that the folder goes on existing. S3
needs no such thing, and a server over a plain folder (the embedded one) takes the marker for a file in place of the
folder and loses sight of everything in it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from services.adapters import aws


@lru_cache(maxsize=4)
def _client(region: str, _endpoint: str) -> Any:
    """One a process: making a client costs more than what it is made for. It reads the endpoint itself."""
    return aws.client("s3", region=region)


class LakeFileIO(PyArrowFileIO):
    """Named in the catalog's `py-io-impl`. It reads the `s3.` properties that `iceberg_catalog.open_catalog` sets."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        given = self.properties
        return S3FileSystem(
            region=given["s3.region"],
            endpoint_override=given.get("s3.endpoint"),
            connect_timeout=float(given["s3.connect-timeout"]),
            request_timeout=float(given["s3.request-timeout"]),
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=int(given["s3.attempts"])),
            allow_delayed_open=True,
        )

    @property
    def _s3(self) -> Any:
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        return _client(str(self.properties.get("s3.region", "us-east-1")), endpoint)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete one object; absent is fine, as S3 has it."""
        uri = location if isinstance(location, str) else location.location
        scheme, bucket, path = self.parse_location(uri, self.properties)
        if scheme not in ("s3", "s3a", "s3n"):
            super().delete(location)
            return
        self._s3.delete_object(Bucket=bucket, Key=path.removeprefix(f"{bucket}/"))
