"""Connectors of MSK Connect by the beginning of their names. Satisfies `services.connectors.ConnectApi`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.adapters.aws import client, translated
from services.connectors import Connector, ConnectorState, Tasks

DEPENDENCY = "MSK Connect"
_MOST = 50
# CloudWatch has a minute's count about a minute later.
_METRICS = {"running": "RunningTaskCount", "paused": "PausedTaskCount", "failed": "ErroredTaskCount"}
_RECENT = timedelta(minutes=5)
_DESCRIBED = (ConnectorState.FAILED,)


class MskConnect:
    def __init__(self, *, region: str, prefix: str, read_seconds: float, attempts: int = 1) -> None:
        options: dict[str, Any] = {"region": region, "read_seconds": read_seconds, "attempts": attempts}
        self._connect, self._cloudwatch = client("kafkaconnect", **options), client("cloudwatch", **options)
        self._prefix = prefix

    def connectors(self) -> tuple[Connector, ...]:
        """At most 50. The reason of a failed one is asked for; the tasks are CloudWatch's newest count."""
        found: list[dict[str, Any]] = []
        with translated(DEPENDENCY):
            token: dict[str, str] = {}
            while len(found) < _MOST:
                page = self._connect.list_connectors(connectorNamePrefix=self._prefix, maxResults=_MOST, **token)
                found += page["connectors"]
                if not page.get("nextToken"):
                    break
                token = {"nextToken": page["nextToken"]}
        return tuple(self._connector(summary) for summary in found[:_MOST])

    def pause(self, ref: str) -> None:
        with translated(DEPENDENCY):
            self._connect.pause_connector(connectorArn=ref)

    def resume(self, ref: str) -> None:
        with translated(DEPENDENCY):
            self._connect.resume_connector(connectorArn=ref)

    def _connector(self, summary: dict[str, Any]) -> Connector:
        state = ConnectorState(summary["connectorState"])
        failure = None
        if state in _DESCRIBED:
            with translated(DEPENDENCY):
                described = self._connect.describe_connector(connectorArn=summary["connectorArn"])
            failure = (described.get("stateDescription") or {}).get("message")
        return Connector(
            name=summary["connectorName"],
            ref=summary["connectorArn"],
            state=state,
            description=summary.get("connectorDescription", ""),
            created_at=summary.get("creationTime"),
            tasks=self._tasks(summary["connectorName"]),
            failure=failure,
        )

    def _tasks(self, name: str) -> Tasks | None:
        """None when nothing was counted in the last minutes."""
        now = datetime.now(UTC)
        dimensions = [{"Name": "ConnectorName", "Value": name}]
        queries = [
            {
                "Id": key,
                "MetricStat": {
                    "Metric": {"Namespace": "AWS/KafkaConnect", "MetricName": metric, "Dimensions": dimensions},
                    "Period": 60,
                    "Stat": "Average",
                },
            }
            for key, metric in _METRICS.items()
        ]
        with translated("CloudWatch"):
            answer = self._cloudwatch.get_metric_data(
                MetricDataQueries=queries,
                StartTime=now - _RECENT,
                EndTime=now + timedelta(minutes=1),
                ScanBy="TimestampDescending",
            )
        newest = {r["Id"]: (r["Timestamps"][0], r["Values"][0]) for r in answer["MetricDataResults"] if r["Values"]}
        if "running" not in newest:
            return None
        counts = {key: round(value) for key, (_, value) in newest.items()}
        return Tasks(counts["running"], counts.get("paused", 0), counts.get("failed", 0), newest["running"][0])
