"""File access of the Iceberg tables: PyArrow reads and writes, boto3 deletes.

PyArrow's S3 delete also puts an empty marker object at the parent "folder", so that the folder goes on existing. S3
needs no such thing, and a server over a plain folder (the embedded one) takes the marker for a file in place of the
folder and loses sight of everything in it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from services.adapters import aws


@lru_cache(maxsize=4)
def _client(region: str, _endpoint: str) -> Any:
    """One a process: making a client costs more than what it is made for. It reads the endpoint itself."""
    return aws.client("s3", region=region)


class LakeFileIO(PyArrowFileIO):
    """Named in the catalog's `py-io-impl`. `s3.region` is the one property read here."""

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
