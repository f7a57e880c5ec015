"""What Autopilot tries: configurations by mode, the blend's place, and how one candidate's numbers are read.

AWS does not publish its search; this one is ours. ENSEMBLING trains differing families and blends the best of them in
log-odds. HYPERPARAMETER_TUNING draws one family's settings at random around what usually works (Bergstra and Bengio
2012: random search beats a grid where few settings matter). Seeded: the same request tries the same candidates.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded.aws.errors import validation

Record = dict[str, Any]

# AWS takes ENSEMBLING for smaller data and tuning beyond about this.
AUTO_BYTES = 100 * 2**20
DEFAULT_CANDIDATES = 8
MOST_CANDIDATES = 50
BLEND = "blend"
# Metrics a candidate prints, by the service's word; F1 is of the review threshold.
METRICS = {
    "AUC": "auc",
    "F1": "f1",
    "Precision": "precision_at_review",
    "Recall": "recall_at_review",
}
DEFAULT_OBJECTIVE = "F1"


@dataclass(frozen=True, slots=True)
class Try:
    """One candidate: `key` is the end of its training job's name."""

    key: str
    family: str
    settings: Mapping[str, str] = field(default_factory=dict)


_FAMILIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("trees", {}),
    ("forest", {}),
    ("dart", {}),
    ("trees", {"max_depth": "8", "eta": "0.05", "min_child_weight": "5", "colsample_bytree": "0.6"}),
    ("stumps", {}),
    ("trees", {"max_depth": "3", "eta": "0.15", "num_round": "600"}),
    ("trees", {"class_weight": "balanced", "max_depth": "4", "min_child_weight": "10"}),
    ("trees", {"max_depth": "6", "reg_lambda": "20", "colsample_bytree": "0.4", "subsample": "0.7", "seed": "11"}),
)


def mode_of(tabular: Mapping[str, Any], size_bytes: int) -> str:
    """ENSEMBLING or HYPERPARAMETER_TUNING; AUTO (the default) decides by the size of the data."""
    mode = str(tabular.get("Mode", "AUTO"))
    if mode != "AUTO":
        return mode
    return "ENSEMBLING" if size_bytes <= AUTO_BYTES else "HYPERPARAMETER_TUNING"


def tries(mode: str, most: int) -> tuple[Try, ...]:
    """The base candidates, without the blend, which counts as one of `most` where there are two or more to blend."""
    if mode == "HYPERPARAMETER_TUNING":
        return (Try("c01", "trees"), *(Try(f"c{n:02d}", "trees", _drawn(n)) for n in range(2, most + 1)))
    base = most - 1 if most > 2 else most
    chosen = list(_FAMILIES[:base])
    chosen += [("trees", _drawn(n)) for n in range(len(chosen) + 1, base + 1)]
    return tuple(Try(f"c{n:02d}", family, settings) for n, (family, settings) in enumerate(chosen, start=1))


def blends(mode: str, most: int) -> bool:
    return mode == "ENSEMBLING" and most > 2


def _drawn(number: int) -> dict[str, str]:
    rng = random.Random(number)
    return {
        "max_depth": str(rng.randint(3, 9)),
        "eta": f"{10 ** rng.uniform(-1.7, -0.6):.4f}",
        "min_child_weight": f"{10 ** rng.uniform(-0.3, 1.5):.3f}",
        "subsample": f"{rng.uniform(0.6, 1.0):.3f}",
        "colsample_bytree": f"{rng.uniform(0.4, 1.0):.3f}",
        "reg_lambda": f"{10 ** rng.uniform(-1.0, 1.5):.3f}",
        "num_round": "400",
        "seed": str(number),
    }


def objective_of(params: Mapping[str, Any]) -> str:
    """The metric candidates are ranked by; AwsError for one that is not measured here."""
    name = str(params.get("AutoMLJobObjective", {}).get("MetricName", DEFAULT_OBJECTIVE))
    if name not in METRICS:
        raise validation(f"The embedded server measures {', '.join(METRICS)}; {name} is not one of them.")
    return name


def candidate_of(job: Mapping[str, Any], objective: str) -> Record:
    """An AutoMLCandidate from the record of its training job. Metrics are of rows that tuned nothing."""
    status = job["TrainingJobStatus"]
    found = {m["MetricName"]: float(m["Value"]) for m in job.get("FinalMetricDataList", ())}
    measured = {name: found[source] for name, source in METRICS.items() if source in found}
    done = status == "Completed" and objective in measured
    container = {
        "Image": job["AlgorithmSpecification"]["TrainingImage"],
        "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    candidate: Record = {
        "CandidateName": job["TrainingJobName"],
        "CandidateStatus": status,
        "ObjectiveStatus": "Succeeded" if done else "Pending" if status in ("InProgress", "Stopping") else "Failed",
        "CandidateSteps": [
            {
                "CandidateStepType": "AWS::SageMaker::TrainingJob",
                "CandidateStepArn": job["TrainingJobArn"],
                "CandidateStepName": job["TrainingJobName"],
            }
        ],
        "CreationTime": job["CreationTime"],
        "LastModifiedTime": job["LastModifiedTime"],
    }
    if "TrainingEndTime" in job:
        candidate["EndTime"] = job["TrainingEndTime"]
    if "FailureReason" in job:
        candidate["FailureReason"] = job["FailureReason"]
    if done:
        candidate |= {
            "FinalAutoMLJobObjectiveMetric": {
                "Type": "Maximize",
                "MetricName": objective,
                "Value": measured[objective],
                "StandardMetricName": objective,
            },
            "InferenceContainers": [container],
            "CandidateProperties": {
                "CandidateMetrics": [
                    {"MetricName": name, "StandardMetricName": name, "Value": value, "Set": "Validation"}
                    for name, value in measured.items()
                ]
            },
        }
    return candidate


def value_of(candidate: Mapping[str, Any]) -> float:
    """Its objective; below every possible value where it has none."""
    return float(candidate.get("FinalAutoMLJobObjectiveMetric", {}).get("Value", float("-inf")))
