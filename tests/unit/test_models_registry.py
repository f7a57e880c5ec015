from __future__ import annotations

import math
import re

import pytest

from services.errors import InvalidData, NotFound
from services.models import MAX_PROPERTIES, Models, Package, model_version, properties, thresholds
from tests.unit.lifecycle_fakes import NOW

FACTS = {
    "experiment_id": "exp-20261122-1415-ab12",
    "features_version": "1",
    "review_threshold": 0.1 + 0.2,
    "decline_threshold": 0.9,
    "rows": 1200,
    "positives": 31,
    "source_uri": "s3://bucket/training/exp/source/sourcedir.tar.gz",
}


def package(version: int = 3, **held: str) -> Package:
    return Package(f"arn:{version}", version, NOW, "PendingManualApproval", "s3://b/model.tar.gz", "image", held)


class Registry:
    def __init__(self, *packages: Package, missing: bool = False) -> None:
        self.held, self.missing = packages, missing

    def packages(self, group: str, *, limit: int) -> tuple[Package, ...]:
        if self.missing:
            raise NotFound(group)
        return self.held[:limit]


def test_what_is_written_on_a_package_is_read_back_exactly() -> None:
    model = model_version(package(**properties(**FACTS, metrics={"auc": 0.98765432109, "alert_rate": 1e-7})))  # type: ignore[arg-type]
    assert (model.model_version, model.experiment_id, model.features_version) == ("v3", FACTS["experiment_id"], "1")
    assert (model.review_threshold, model.decline_threshold) == (0.1 + 0.2, 0.9)
    assert model.metrics == {"auc": 0.98765432109, "alert_rate": 1e-7}


def test_properties_stay_within_the_registrys_limits() -> None:
    many = {f"metric <{n}>": float(n) for n in range(200)} | {"broken": math.nan}
    held = properties(**FACTS, metrics=many)  # type: ignore[arg-type]
    assert len(held) == MAX_PROPERTIES
    assert "metric.broken" not in held
    assert all(len(key) <= 128 and 0 < len(value) <= 256 for key, value in held.items())
    assert all(re.fullmatch(r"[\w .:/=+\-@]*", text) for pair in held.items() for text in pair)


def test_a_group_nobody_wrote_to_is_empty() -> None:
    assert Models(registry=Registry(missing=True), group="fraud-desk").candidates() == ()


def test_an_unknown_version_is_not_found() -> None:
    models = Models(registry=Registry(package(2), package(1)), group="fraud-desk")
    assert models.get("v1").package_arn == "arn:1"
    with pytest.raises(NotFound, match="v9"):
        models.get("v9")


@pytest.mark.parametrize(
    ("review", "decline"),
    [("0", "0.5"), ("0.5", "1"), ("0.6", "0.5"), ("nan", "0.5"), ("abc", "0.5"), ("", "0.5"), ("-0.1", "0.5")],
)
def test_a_version_with_unusable_thresholds_cannot_be_used(review: str, decline: str) -> None:
    with pytest.raises(InvalidData):
        thresholds(model_version(package(review_threshold=review, decline_threshold=decline)))


def test_equal_thresholds_are_usable() -> None:
    assert thresholds(model_version(package(review_threshold="0.5", decline_threshold="0.5"))) == (0.5, 0.5)
