"""The states of a training job as the service reports them, as pure functions of the record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Record = dict[str, Any]

MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Restarting": "The host was interrupted. The training job starts again from the beginning.",
}
# The overall status that belongs to a secondary status; every other one is InProgress.
STATUS = {
    "Completed": "Completed",
    "Failed": "Failed",
    "Stopping": "Stopping",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
}
FINAL = frozenset({"Completed", "Failed", "Stopped"})
_LONGEST_REASON = 1024


def enter(record: Mapping[str, Any], secondary: str, at: datetime) -> Record:
    """The fields that change when the job enters a secondary status: the former transition ends, a new one starts.

    A job that is being stopped stays in status Stopping until it is final (it may still upload).
    """
    transitions = [dict(step) for step in record.get("SecondaryStatusTransitions", ())]
    if transitions:
        transitions[-1].setdefault("EndTime", at)
    step: Record = {"Status": secondary, "StartTime": at, "StatusMessage": MESSAGES[secondary]}
    status = STATUS.get(secondary, "InProgress")
    if status == "InProgress" and record.get("TrainingJobStatus") == "Stopping":
        status = "Stopping"
    changes: Record = {
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": [*transitions, step],
        "LastModifiedTime": at,
    }
    if secondary == "Training":
        changes["TrainingStartTime"] = at
    if status in FINAL:
        step["EndTime"] = at
        changes["TrainingEndTime"] = at
        started = record.get("TrainingStartTime")
        if started is not None:
            # The service counts begun seconds; zero is not a value it knows.
            seconds = max(1, round((at - started).total_seconds()))
            changes["TrainingTimeInSeconds"] = changes["BillableTimeInSeconds"] = seconds
    return changes


def failure_reason(kind: str, detail: str) -> str:
    """`kind`: AlgorithmError, ClientError or InternalServerError, as the service distinguishes them."""
    return f"{kind}: {detail}"[:_LONGEST_REASON]


class MetricScan:
    """Finds the metrics of a job's MetricDefinitions in its output; the last value of each counts."""

    def __init__(self, definitions: Iterable[Mapping[str, str]]) -> None:
        self._expressions = [(d["Name"], re.compile(d["Regex"])) for d in definitions]
        self._found: dict[str, tuple[float, datetime]] = {}

    def line(self, text: str, at: datetime) -> None:
        """Looks at the first 4 KiB of a line; a match whose first group is no number is passed over."""
        for name, expression in self._expressions:
            for match in expression.finditer(text[:4096]):
                try:
                    self._found[name] = (float(match[1] if expression.groups else match[0]), at)
                except (ValueError, TypeError):
                    continue

    def final(self) -> list[Record]:
        return [{"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in self._found.items()]
