"""The training job of an experiment, as it is asked for."""

from __future__ import annotations

from services.hyperparameters import as_text
from services.training import Experiment
from services.training_jobs import TrainingJobSpec
from workers.lifecycle_ports import Compute

# What model/train.py prints, and under which name SageMaker shall keep it.
METRIC_DEFINITIONS = {
    "train:aucpr": r"train-aucpr:([0-9.eE+-]+)",
    "validation:aucpr": r"validation-aucpr:([0-9.eE+-]+)",
    **{
        name: rf"metric:validation_{name}=([0-9.eE+-]+);"
        for name in (
            "average_precision",
            "auc",
            "cp100",
            "precision_at_review",
            "recall_at_review",
            "alert_rate",
            "prevalence",
        )
    },
}


def job_name(experiment_id: str) -> str:
    return f"fraud-desk-{experiment_id}"


def job_spec(experiment: Experiment, compute: Compute, source_uri: str) -> TrainingJobSpec:
    home = f"s3://{compute.bucket}/training/{experiment.experiment_id}"
    channels = ("train", "validation", *(("young",) if experiment.young else ()))
    given = {name: as_text(value) for name, value in experiment.hyperparameters.items()}
    return TrainingJobSpec(
        name=job_name(experiment.experiment_id),
        image=compute.image,
        role_arn=compute.role_arn,
        instance_type=compute.instance_type,
        hyperparameters=given | {"sagemaker_program": "train.py", "sagemaker_submit_directory": source_uri},
        channels={channel: f"{home}/{channel}/" for channel in channels},
        output_uri=f"s3://{compute.bucket}/models/",
        metric_definitions=METRIC_DEFINITIONS,
        tags={"fraud-desk:experiment": experiment.experiment_id},
    )
