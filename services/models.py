"""The model registry as the desk sees it: one `ModelVersion` per package of the model package group.

The registry is the truth about which versions exist. What the desk needs to know of a version beside its artifact
(thresholds, metrics, which experiment made it) travels with the package as customer metadata: strings of at most 256
characters, written by `properties` and read back by `model_version`, so both directions live here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.errors import InvalidData, NotFound

MAX_PROPERTIES = 50
_METRIC = "metric."
_FORBIDDEN = re.compile(r"[^\w .:/=+\-@]")


@dataclass(frozen=True, slots=True)
class Package:
    """A model package as the registry holds it. `version` counts from 1 within the group."""

    arn: str
    version: int
    created_at: datetime
    approval_status: str
    artifact_uri: str
    image: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A trained model that can be deployed.

    Thresholds are scores in (0, 1), review <= decline, as suggested by training; None when the package carries none
    (such a version cannot be deployed). `metrics` are the figures of the validation window.
    """

    model_version: str
    package_arn: str
    created_at: datetime
    experiment_id: str
    metrics: Mapping[str, float]
    review_threshold: float | None
    decline_threshold: float | None
    approval_status: str
    artifact_uri: str
    image: str = ""
    features_version: str = ""


class Registry(Protocol):
    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]:
        """Newest first; NotFound when the group does not exist; Unavailable."""
        ...


class Models:
    """`Models(registry=SageMaker(...), group=settings.model_package_group)`."""

    def __init__(self, *, registry: Registry, group: str) -> None:
        self._registry, self._group = registry, group

    def candidates(self, limit: int = 50) -> tuple[ModelVersion, ...]:
        """Every registered version, newest first. A group that nobody has written to yet is empty, not an error."""
        try:
            packages = self._registry.packages(self._group, limit=limit)
        except NotFound:
            return ()
        return tuple(model_version(package) for package in packages)

    def get(self, version: str) -> ModelVersion:
        """Raises NotFound when the registry has no such version among its newest 200."""
        for candidate in self.candidates(limit=200):
            if candidate.model_version == version:
                return candidate
        raise NotFound(f"There is no model version {version} in the registry.")


def thresholds(model: ModelVersion) -> tuple[float, float]:
    """(review, decline), or InvalidData when they are missing, not finite, outside (0, 1) or in the wrong order."""
    review, decline = model.review_threshold, model.decline_threshold
    if review is None or decline is None:
        raise InvalidData(f"{model.model_version} carries no thresholds, so nothing could be decided with it.")
    if not (math.isfinite(review) and math.isfinite(decline) and 0 < review <= decline < 1):
        raise InvalidData(
            f"{model.model_version} has unusable thresholds (review {review:g}, decline {decline:g}): "
            "they must lie between 0 and 1, review not above decline."
        )
    return review, decline


def properties(
    *,
    experiment_id: str,
    features_version: str,
    review_threshold: float,
    decline_threshold: float,
    rows: int,
    positives: int,
    source_uri: str,
    metrics: Mapping[str, float],
) -> dict[str, str]:
    """The customer metadata of a package: at most 50 entries, characters outside the registry's alphabet become `_`.

    Metrics are added in name order until the limit; the fixed facts always fit.
    """
    facts = {
        "experiment_id": experiment_id,
        "features_version": features_version,
        "review_threshold": repr(float(review_threshold)),
        "decline_threshold": repr(float(decline_threshold)),
        "rows": str(rows),
        "positives": str(positives),
        "source_uri": source_uri,
    }
    for name in sorted(metrics):
        value = float(metrics[name])
        if len(facts) < MAX_PROPERTIES and math.isfinite(value):
            facts[_FORBIDDEN.sub("_", _METRIC + name)[:128]] = repr(value)
    return {key: _FORBIDDEN.sub("_", value)[:256] for key, value in facts.items() if value}


def model_version(package: Package) -> ModelVersion:
    """Reads what `properties` wrote; a property that is missing or not a number is None or left out, never 0."""
    held = package.properties
    metrics = {
        key.removeprefix(_METRIC): number
        for key, text in held.items()
        if key.startswith(_METRIC) and (number := _number(text)) is not None
    }
    return ModelVersion(
        model_version=f"v{package.version}",
        package_arn=package.arn,
        created_at=package.created_at,
        experiment_id=held.get("experiment_id", ""),
        metrics=metrics,
        review_threshold=_number(held.get("review_threshold")),
        decline_threshold=_number(held.get("decline_threshold")),
        approval_status=package.approval_status,
        artifact_uri=package.artifact_uri,
        image=package.image,
        features_version=held.get("features_version", ""),
    )


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
