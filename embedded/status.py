"""What a stack holds and serves right now, read from the parts themselves; a part that is down leaves a null."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from threading import Thread
from typing import Any

from embedded.control import Control, NotRunning
from embedded.environment import BUCKET
from embedded.state_folder import StateFolder, read_json

PATIENCE_SECONDS = 4.5
_LAKE_TABLE = ("fraud", "transactions")
_NOTHING: dict[str, Any] = {"ready": False, "processes": [], "transactions": None, "scored": None, "labelled": None,
                            "lake_rows": None, "endpoint": None}  # fmt: skip


def collect(folder: StateFolder) -> dict[str, Any]:
    """{ready, processes, transactions, scored, labelled, lake_rows, endpoint}; at most about five seconds.

    `transactions`, `scored` and `labelled` come from one scan of the collection, so they agree with each other.
    """
    questions: list[Callable[[], dict[str, Any]]] = [
        lambda: _processes(folder),
        lambda: {"lake_rows": lake_rows(folder)},
    ]
    variables = read_json(folder.environment)
    if isinstance(variables, dict):
        questions += [lambda: _counts(variables), lambda: {"endpoint": _endpoint(variables)}]
    found = dict(_NOTHING)
    for answer in _ask_all(questions):
        found |= answer
    return found


def _ask_all(questions: list[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Ask in parallel and take what came back in time. The threads are daemons: a hung one never delays the exit."""
    answers: list[dict[str, Any]] = []

    def ask(question: Callable[[], dict[str, Any]]) -> None:
        answers.append(question())

    threads = [Thread(target=ask, args=(question,), daemon=True) for question in questions]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return list(answers)


def _processes(folder: StateFolder) -> dict[str, Any]:
    try:
        with Control(folder) as control:
            answer = control.ask("status")
    except NotRunning:
        return {}
    return {"ready": answer["ready"], "processes": answer["processes"]}


def _counts(variables: Mapping[str, str]) -> dict[str, Any]:
    """Counted, not estimated: the server's own estimate is wrong after a crash, which is when people look."""
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    def present(field: str) -> dict[str, Any]:
        return {"$sum": {"$cond": [{"$gt": [f"${field}", None]}, 1, 0]}}

    group = {
        "_id": None,
        "transactions": {"$sum": 1},
        "scored": present("score.value"),
        "labelled": present("label.value"),
    }
    try:
        with MongoClient[dict[str, Any]](variables["MONGODB_URI"], serverSelectionTimeoutMS=2000) as client:
            collection = client[variables.get("FRAUD_DESK_DATABASE", "fraud_desk")]["transactions"]
            rows = list(collection.aggregate([{"$group": group}], maxTimeMS=4000))
    except PyMongoError:
        return {}
    return {name: rows[0][name] if rows else 0 for name in ("transactions", "scored", "labelled")}


def lake_rows(folder: StateFolder) -> int | None:
    """Rows of the lake's transactions as of its current snapshot; 0 before the first one, None without a catalog.

    The catalog names the table's metadata file, and that file's snapshot summary carries the total (`total-records`,
    Iceberg specification, "Optional Snapshot Summary Fields"). Both are files of the state folder and are read as
    such: no Iceberg library to load, no server to wait for.
    """
    if not folder.catalog.exists():
        return None
    query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?"
    try:
        with closing(sqlite3.connect(f"file:{folder.catalog}?mode=ro", uri=True, timeout=2)) as catalog:
            row = catalog.execute(query, _LAKE_TABLE).fetchone()
        if row is None or not row[0].startswith(f"s3://{BUCKET}/"):
            return None
        metadata = json.loads((folder.path / "s3" / row[0].removeprefix("s3://")).read_text(encoding="utf-8"))
    except (sqlite3.Error, OSError, ValueError):
        return None
    current = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots", ()):
        if snapshot["snapshot-id"] == current:
            return int(snapshot["summary"]["total-records"])
    return 0


def _endpoint(variables: Mapping[str, str]) -> dict[str, Any] | None:
    """{name, status, model_version} as SageMaker describes it; the version is in the name of the configuration."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "sagemaker",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1}, proxies={}),
    )
    name = variables["FRAUD_DESK_ENDPOINT"]
    try:
        found = client.describe_endpoint(EndpointName=name)
    except (BotoCoreError, ClientError):
        return None
    version = re.search(r"-(v\d+)-", found.get("EndpointConfigName", ""))
    return {"name": name, "status": found["EndpointStatus"], "model_version": version[1] if version else None}
