"""`python -m embedded.aws --port P --mongodb-uri URI --state DIR [--s3-endpoint URL]`.

Credentials and region come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; the same credentials are used
towards S3 and must sign every request. Listens on the loopback only.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvicorn

from embedded.aws.app import build_app
from embedded.aws.config import Config


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded.aws", description="The embedded AWS server")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mongodb-uri", required=True)
    parser.add_argument("--state", type=Path, required=True, help="folder for logs, code and running jobs")
    parser.add_argument("--s3-endpoint", help="default: the S3 of the region")
    parser.add_argument("--database", default="embedded_aws")
    parser.add_argument("--desk-database", default=os.environ.get("FRAUD_DESK_DATABASE") or "fraud_desk")
    parser.add_argument("--stop-grace", type=float, default=120.0, help="seconds between SIGTERM and SIGKILL of a job")
    arguments = parser.parse_args()
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    config = Config(
        state=arguments.state.resolve(),
        mongodb_uri=arguments.mongodb_uri,
        s3_endpoint=arguments.s3_endpoint,
        url=f"http://127.0.0.1:{arguments.port}",
        region=os.environ.get("AWS_REGION", os.environ.get("AWS_DEFAULT_REGION", "us-east-1")),
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        database=arguments.database,
        desk_database=arguments.desk_database,
        stop_grace_seconds=arguments.stop_grace,
    )
    uvicorn.run(
        build_app(config),
        host="127.0.0.1",
        port=arguments.port,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
