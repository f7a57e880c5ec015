"""What a search needs from S3 before it begins: its code put there, its features and the size of its data read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedded.aws.archives import pack_tar
from embedded.aws.objects import Objects

_HERE = Path(__file__).resolve().parent
_MODEL_CODE = _HERE.parents[2] / "model"
PROGRAM = "auto_ml_program.py"


class SearchFailed(Exception):
    """The search cannot go on; the text is its FailureReason."""


def upload_code(objects: Objects, uri: str) -> None:
    """The candidates' program and the container's own code, as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        code.mkdir()
        for path in (*_MODEL_CODE.glob("*.py"), _HERE / PROGRAM):
            (code / path.name).write_bytes(path.read_bytes())
        packed = Path(folder) / "sourcedir.tar.gz"
        pack_tar(code, packed)
        objects.upload(packed, uri)


def features(objects: Objects, tabular: Mapping[str, Any]) -> list[str]:
    """FeatureAttributeNames of FeatureSpecificationS3Uri; empty for every column but the target.

    ObjectError when it cannot be read, SearchFailed when it is no such list.
    """
    uri = tabular.get("FeatureSpecificationS3Uri")
    if uri is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.json"
        objects.download(uri, path, max_bytes=2**20)
        try:
            names = json.loads(path.read_text())["FeatureAttributeNames"]
        except (ValueError, KeyError, TypeError):
            names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise SearchFailed(f'{uri} must be JSON like {{"FeatureAttributeNames": ["a", "b"]}}.')
    if tabular["TargetAttributeName"] in names:
        raise SearchFailed("The target column must not be listed among the features.")
    return names


def size(objects: Objects, record: Mapping[str, Any]) -> int:
    """Bytes of the channels' objects."""
    sources = [channel["DataSource"]["S3DataSource"] for channel in record["AutoMLJobInputDataConfig"]]
    return sum(objects.size(source["S3Uri"]) for source in sources)
