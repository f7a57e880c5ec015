"""Reading what a training job left in S3, without ever unpacking it: the archive was written by code we do not run."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import orjson

from services.adapters import aws
from services.errors import InvalidData

_DEPENDENCY = "S3"
MAX_ARCHIVE_BYTES = 512 * 1024 * 1024
MAX_UNPACKED_BYTES = 2 * 1024 * 1024 * 1024
MAX_MEMBERS = 10_000
MAX_METADATA_BYTES = 1024 * 1024
METADATA = "metadata.json"
CARD = "model_card.md"


class ModelArtifacts:
    """`ModelArtifacts(region=settings.region)`. Satisfies `workers.lifecycle_ports.Artifacts`."""

    def __init__(self, *, region: str, client: Any = None) -> None:
        self._s3 = client or aws.client("s3", region=region)

    def metadata(self, uri: str) -> Mapping[str, Any]:
        """The checked metadata.json of the model.tar.gz at `uri`.

        The archive is read as a stream and abandoned at the file sought, so memory stays at one block plus 1 MB. Raises
        InvalidData when it is too large, no archive, or its metadata lacks what registering needs (features_version;
        suggested review_threshold <= decline_threshold in (0, 1); metrics as numbers).
        """
        return _checked(self._member(uri, METADATA))

    def card(self, uri: str) -> str:
        """The model card (Markdown) in the model.tar.gz at `uri`. InvalidData when there is none or it is not text."""
        try:
            return self._member(uri, CARD).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidData(f"{CARD} of the model is not text.") from None

    def _member(self, uri: str, name: str) -> bytes:
        where = urlsplit(uri)
        with aws.translated(_DEPENDENCY):
            answer = self._s3.get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))
            with answer["Body"] as body:
                if answer["ContentLength"] > MAX_ARCHIVE_BYTES:
                    raise InvalidData(f"The model artifact is larger than {MAX_ARCHIVE_BYTES // 2**20} MB.")
                return _file(body, name)


def _file(body: Any, name: str) -> bytes:
    unpacked = 0
    try:
        with tarfile.open(fileobj=body, mode="r|gz") as archive:
            for count, member in enumerate(archive):
                unpacked += member.size
                if count >= MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES:
                    raise InvalidData("The model artifact unpacks to more than a model can be.")
                if member.name.removeprefix("./") != name or not member.isreg():
                    continue
                if member.size > MAX_METADATA_BYTES:
                    raise InvalidData(f"{name} of the model is larger than 1 MB.")
                file = archive.extractfile(member)
                assert file is not None, "a regular member has contents"
                return file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidData("The model artifact is not a readable model.tar.gz.") from error
    if name == METADATA:
        raise InvalidData(
            f"The model artifact has no {METADATA}: the desk's training code did not make it (AWS's own Autopilot "
            "makes such artifacts), so its features and thresholds are not known. Nothing was registered; train with "
            "method XGBoost."
        )
    raise InvalidData(f"The model artifact has no {name}.")


def _checked(raw: bytes) -> Mapping[str, Any]:
    try:
        held = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"{METADATA} of the model is not JSON.") from error
    suggested = held.get("suggested") if isinstance(held, dict) else None
    if not isinstance(suggested, dict) or not isinstance(held.get("metrics"), dict) or not held.get("features_version"):
        raise InvalidData(f"{METADATA} of the model lacks features_version, suggested thresholds or metrics.")
    review, decline = suggested.get("review_threshold"), suggested.get("decline_threshold")
    if not (_is_number(review) and _is_number(decline) and 0 < review <= decline < 1):
        raise InvalidData(f"The model suggests unusable thresholds: review {review!r}, decline {decline!r}.")
    return held | {"metrics": {name: value for name, value in held["metrics"].items() if _is_number(value)}}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
