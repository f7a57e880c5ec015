"""A function's code: taken from the request or from S3, checked, unpacked under the name of its hash."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.aws.archives import BadArchive, extract_zip
from embedded.aws.cloud import Cloud
from embedded.aws.errors import AwsError
from embedded.aws.objects import ObjectError

_ZIP_BYTES = 50 * 2**20
_UNZIPPED_BYTES = 250 * 2**20


@dataclass(frozen=True, slots=True)
class Code:
    """`sha256` is in base64, as Lambda reports it."""

    sha256: str
    size_bytes: int


def _refused(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message, fields={"Type": "User"})


def code_folder(state: Path, name: str, sha256: str) -> Path:
    """Where this version of the function's code is unpacked."""
    return state / "functions" / name / base64.b64decode(sha256).hex()


async def take_code(cloud: Cloud, name: str, source: Mapping[str, Any]) -> Code:
    """Unpack ZipFile or S3Bucket and S3Key. The same bytes give the same folder, which is complete once it exists."""
    if "ZipFile" in source:
        data = source["ZipFile"]
    elif "S3Bucket" in source and "S3Key" in source:
        data = await asyncio.to_thread(_from_s3, cloud, source["S3Bucket"], source["S3Key"])
    else:
        raise _refused("Please provide a source for function code: ZipFile, or S3Bucket and S3Key.")
    if len(data) > _ZIP_BYTES:
        raise AwsError("RequestEntityTooLargeException", f"The zip file is larger than {_ZIP_BYTES} bytes", 413)
    digest = hashlib.sha256(data).digest()
    sha256 = base64.b64encode(digest).decode()
    await asyncio.to_thread(_unpack, data, code_folder(cloud.config.state, name, sha256))
    return Code(sha256, len(data))


def _from_s3(cloud: Cloud, bucket: str, key: str) -> bytes:
    scratch = cloud.config.state / "functions" / f".fetch-{os.urandom(6).hex()}"
    try:
        cloud.objects.download(f"s3://{bucket}/{key}", scratch, max_bytes=_ZIP_BYTES)
        return scratch.read_bytes()
    except ObjectError as exc:
        raise _refused(f"Error occurred while GetObject. {exc}") from exc
    finally:
        scratch.unlink(missing_ok=True)


def _unpack(data: bytes, folder: Path) -> None:
    if folder.is_dir():
        return
    scratch = folder.with_name(f".unpack-{os.urandom(6).hex()}")
    scratch.mkdir(parents=True)
    archive = scratch / "code.zip"
    try:
        archive.write_bytes(data)
        extract_zip(archive, scratch / "code", max_bytes=_UNZIPPED_BYTES)
        (scratch / "code").rename(folder)
    except BadArchive as exc:
        raise _refused(
            f"Could not unzip uploaded file. Please check your file, then try to upload again. ({exc})"
        ) from exc
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_other_code(state: Path, name: str, keep: str | None) -> None:
    """Remove unpacked versions of a function other than the one with hash `keep` (all of them when None)."""
    root = state / "functions" / name
    kept = code_folder(state, name, keep).name if keep is not None else None
    for folder in root.glob("*"):
        if folder.name != kept:
            shutil.rmtree(folder, ignore_errors=True)
