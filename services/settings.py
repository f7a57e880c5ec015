"""Everything that differs from one installation to another, read once from the environment.

The desk has no notion of "embedded" or "production": both set the same variables, and only endpoints and
credentials differ. Credentials of AWS are not here: boto3 and pyarrow read their own standard variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.errors import ServiceError


class MissingSettings(ServiceError):
    """A required variable is not set; the message names all that are missing."""


REQUIRED = ("MONGODB_URI", "FRAUD_DESK_BUCKET")


@dataclass(frozen=True, slots=True)
class Settings:
    """One installation. Durations are seconds; empty strings mean "the vendor's default"."""

    mongodb_uri: str
    database: str
    region: str
    bucket: str
    # The SQL URL of the Iceberg catalog, or "glue" for the AWS Glue catalog of the account.
    catalog_uri: str
    endpoint_name: str
    score_function: str
    intake_function: str
    model_package_group: str
    sagemaker_role_arn: str
    training_image: str
    training_instance: str
    serving_instance: str
    # Where the application's first-start progress is written, or None where nobody sets the desk up for you.
    setup_progress: Path | None
    oidc_role_claim: str
    stream_flush_events: int
    stream_flush_seconds: float
    curator_interval_seconds: float

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Raises MissingSettings naming every required variable that is absent or empty."""
        e = os.environ if env is None else env
        missing = [name for name in REQUIRED if not e.get(name)]
        if missing:
            raise MissingSettings(f"Set {', '.join(missing)} before starting Fraud Desk (see README, 'Configuration').")
        bucket = e["FRAUD_DESK_BUCKET"]
        progress = e.get("FRAUD_DESK_SETUP_PROGRESS")
        return cls(
            mongodb_uri=e["MONGODB_URI"],
            database=e.get("FRAUD_DESK_DATABASE", "fraud_desk"),
            region=e.get("AWS_REGION", e.get("AWS_DEFAULT_REGION", "us-east-1")),
            bucket=bucket,
            catalog_uri=e.get("FRAUD_DESK_CATALOG", "glue"),
            endpoint_name=e.get("FRAUD_DESK_ENDPOINT", "fraud-desk"),
            score_function=e.get("FRAUD_DESK_SCORE_FUNCTION", "fraud-desk-score"),
            intake_function=e.get("FRAUD_DESK_INTAKE_FUNCTION", "fraud-desk-intake"),
            model_package_group=e.get("FRAUD_DESK_MODEL_GROUP", "fraud-desk"),
            sagemaker_role_arn=e.get("FRAUD_DESK_SAGEMAKER_ROLE", ""),
            training_image=e.get("FRAUD_DESK_TRAINING_IMAGE", ""),
            training_instance=e.get("FRAUD_DESK_TRAINING_INSTANCE", "ml.m5.xlarge"),
            serving_instance=e.get("FRAUD_DESK_SERVING_INSTANCE", "ml.m5.large"),
            setup_progress=Path(progress) if progress else None,
            oidc_role_claim=e.get("FRAUD_DESK_ROLE_CLAIM", "fraud_desk_role"),
            stream_flush_events=int(e.get("FRAUD_DESK_STREAM_FLUSH_EVENTS", "5000")),
            stream_flush_seconds=float(e.get("FRAUD_DESK_STREAM_FLUSH_SECONDS", "5")),
            curator_interval_seconds=float(e.get("FRAUD_DESK_CURATOR_SECONDS", "10")),
        )
