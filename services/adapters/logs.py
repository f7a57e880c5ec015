"""What training jobs printed, from CloudWatch Logs. Satisfies `services.training.TrainingLogs`."""

from __future__ import annotations

from services.adapters import aws

DEPENDENCY = "CloudWatch Logs"
GROUP = "/aws/sagemaker/TrainingJobs"
# Reading backwards, a page can be empty although there is more; this bounds how often that is believed.
_MAX_PAGES = 10


class TrainingJobLogs:
    """`TrainingJobLogs(region=settings.region)`; pages pass read_seconds=2.5, attempts=1 to answer in time."""

    def __init__(
        self,
        *,
        region: str,
        connect_seconds: float = aws.CONNECT_SECONDS,
        read_seconds: float = aws.READ_SECONDS,
        attempts: int = aws.ATTEMPTS,
    ) -> None:
        self._client = aws.client(
            "logs", region=region, connect_seconds=connect_seconds, read_seconds=read_seconds, attempts=attempts
        )

    def tail(self, job: str, *, lines: int) -> tuple[str, ...]:
        """The last `lines` lines of the job, oldest first; NotFound while the job has printed nothing."""
        with aws.translated(DEPENDENCY):
            streams = self._client.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{job}/", limit=1)
            if not streams["logStreams"]:
                return ()
            name = streams["logStreams"][0]["logStreamName"]
            found: list[str] = []
            token: str | None = None
            for _ in range(_MAX_PAGES):
                more = {"nextToken": token} if token else {}
                page = self._client.get_log_events(
                    logGroupName=GROUP,
                    logStreamName=name,
                    startFromHead=False,
                    limit=min(lines - len(found), 10_000),
                    **more,
                )
                found = [event["message"].rstrip("\n") for event in page["events"]] + found
                former, token = token, page.get("nextBackwardToken")
                if len(found) >= lines or not token or token == former:
                    break
        return tuple(found[-lines:])
