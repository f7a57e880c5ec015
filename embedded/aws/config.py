"""What one embedded server is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class Config:
    """`url`: where this server itself listens (functions call endpoints there). Durations are seconds."""

    state: Path
    mongodb_uri: str
    s3_endpoint: str | None
    url: str
    region: str
    access_key: str
    secret_key: str
    database: str = "embedded_aws"
    # Where the desk's processes report and are told to pause.
    desk_database: str = "fraud_desk"
    stop_grace_seconds: float = 120.0
    concurrent_jobs: int = 2
    # Requests without a valid signature are refused unless this is off.
    verify_signatures: bool = True

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{resource}"

    def sagemaker_arn(self, kind: str, name: str) -> str:
        """SageMaker writes names in ARNs in lower case."""
        return self.arn("sagemaker", f"{kind}/{name.lower()}")
