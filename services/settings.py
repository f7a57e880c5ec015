"""Everything that differs from one installation to another, read once from the environment.

The desk has no notion of "embedded" or "production": both set the same variables, and only endpoints and
credentials differ. Credentials of AWS are not here: boto3 and pyarrow read their own standard variables.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.errors import ServiceError


class MissingSettings(ServiceError):
    """Required variables are not set, or numbers are none; the message names all of them."""


REQUIRED = ("MONGODB_URI", "FRAUD_DESK_BUCKET")
# Numbers and what they are where nobody sets them.
NUMBERS = {
    "FRAUD_DESK_STREAM_FLUSH_EVENTS": "5000",
    "FRAUD_DESK_STREAM_FLUSH_BYTES": "33554432",
    "FRAUD_DESK_STREAM_FLUSH_SECONDS": "5",
    "FRAUD_DESK_CURATOR_SECONDS": "10",
}


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
    # What an hour of one training instance costs (0: nothing), and the currency; None: not known.
    training_price: float | None
    training_currency: str
    # Where the application's first-start progress is written, or None where nobody sets the desk up for you.
    setup_progress: Path | None
    oidc_role_claim: str
    stream_flush_events: int
    # Of the lines before compression: what the stream has in memory at most, twice (one set fills, one is stored).
    stream_flush_bytes: int
    stream_flush_seconds: float
    curator_interval_seconds: float
    # Brokers of the Kafka leg (host:port, comma-separated); empty: there is none.
    kafka_bootstrap: str
    # Sign in to the brokers with the role of the process (Amazon MSK).
    kafka_iam: bool
    kafka_group: str
    # The beginning of the names of the MSK Connect connectors that fill the raw zone; empty: none are shown.
    connectors: str
    # A Kafka Connect of one's own instead: the address before /connectors, and basic authentication where it asks.
    connect_url: str
    connect_user: str
    connect_password: str = field(repr=False)
    # Subjects of the identity provider who may write scored transactions back, beside administrators.
    write_back: frozenset[str]
    # The mapping of a data set of one's own (TOML); None: the demo's columns and the usual dimensions.
    mapping: Path | None
    # Keys the hashes that stand for card numbers in imported files; empty: such files are refused.
    token_key: str = field(repr=False)
    # Where Athena runs the lake's queries; empty: DuckDB runs them in the process that asks.
    athena_workgroup: str
    # The S3 address of results; empty: the workgroup says it.
    athena_output: str
    # The database of the Glue catalog in which the lake's tables are.
    athena_database: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Raises MissingSettings naming every required variable that is absent or empty, and every number that is none.

        A variable that is set to nothing counts as not set.
        """
        e = {name: value for name, value in (os.environ if env is None else env).items() if value}
        problems = [f"set {name}" for name in REQUIRED if name not in e]
        numbers = {name: number for name, usual in NUMBERS.items() if (number := _number(e.get(name, usual)))}
        problems += [f"{name} must be a number above 0" for name in NUMBERS if name not in numbers]
        price = _number(e.get("FRAUD_DESK_TRAINING_PRICE", ""), zero=True)
        if price is None and "FRAUD_DESK_TRAINING_PRICE" in e:
            problems.append("FRAUD_DESK_TRAINING_PRICE must be a number, 0 or above")
        if 0 < len(e.get("FRAUD_DESK_TOKEN_KEY", "")) < 16:
            problems.append("FRAUD_DESK_TOKEN_KEY must have at least 16 characters")
        if problems:
            text = "; ".join(problems)
            raise MissingSettings(f"Before Fraud Desk can start: {text} (see README, 'Configuration').")
        bucket = e["FRAUD_DESK_BUCKET"]
        progress, mapping = e.get("FRAUD_DESK_SETUP_PROGRESS"), e.get("FRAUD_DESK_MAPPING")
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
            training_price=price,
            training_currency=e.get("FRAUD_DESK_TRAINING_CURRENCY", "USD"),
            setup_progress=Path(progress) if progress else None,
            oidc_role_claim=e.get("FRAUD_DESK_ROLE_CLAIM", "fraud_desk_role"),
            stream_flush_events=math.ceil(numbers["FRAUD_DESK_STREAM_FLUSH_EVENTS"]),
            stream_flush_bytes=math.ceil(numbers["FRAUD_DESK_STREAM_FLUSH_BYTES"]),
            stream_flush_seconds=numbers["FRAUD_DESK_STREAM_FLUSH_SECONDS"],
            curator_interval_seconds=numbers["FRAUD_DESK_CURATOR_SECONDS"],
            connectors=e.get("FRAUD_DESK_CONNECTORS", ""),
            connect_url=e.get("FRAUD_DESK_CONNECT_URL", ""),
            connect_user=e.get("FRAUD_DESK_CONNECT_USER", ""),
            connect_password=e.get("FRAUD_DESK_CONNECT_PASSWORD", ""),
            kafka_bootstrap=e.get("FRAUD_DESK_KAFKA_BOOTSTRAP", ""),
            kafka_iam=e.get("FRAUD_DESK_KAFKA_IAM") == "1",
            kafka_group=e.get("FRAUD_DESK_KAFKA_GROUP", "fraud-desk-sink"),
            write_back=frozenset(e.get("FRAUD_DESK_WRITE_BACK", "").replace(",", " ").split()),
            mapping=Path(mapping) if mapping else None,
            token_key=e.get("FRAUD_DESK_TOKEN_KEY", ""),
            athena_workgroup=e.get("FRAUD_DESK_ATHENA_WORKGROUP", ""),
            athena_output=e.get("FRAUD_DESK_ATHENA_OUTPUT", ""),
            athena_database=e.get("FRAUD_DESK_ATHENA_DATABASE", "fraud"),
        )


def _number(text: str, *, zero: bool = False) -> float | None:
    """The number above 0 (with `zero`: or 0) that the text says; None for anything else, infinity and NaN included."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") or (zero and number == 0) else None
