"""Drive Autopilot jobs: look at the data, train the candidates as training jobs, blend, choose, deploy.

Everything long is a training job of its own (one subprocess, recovered as they are), named after the search. So a
search found unfinished at start is simply driven again: what exists is waited for, what does not is begun.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from embedded.aws.errors import AwsError
from embedded.aws.objects import ObjectError
from embedded.aws.sagemaker import auto_ml_inputs as inputs
from embedded.aws.sagemaker import auto_ml_plan as plan
from embedded.aws.sagemaker.auto_ml_deploy import NotDeployed, deploy
from embedded.aws.sagemaker.auto_ml_inputs import SearchFailed
from embedded.aws.sagemaker.job_state import FINAL
from embedded.aws.store import Record, now

if TYPE_CHECKING:
    from embedded.aws.cloud import Cloud

log = logging.getLogger(__name__)

_IMAGE = "embedded/autopilot:1"
_POLL_SECONDS = 0.1
_ANALYSIS_SECONDS = 3600
_CANDIDATE_SECONDS = 24 * 3600
_DEFAULT_FRACTION = 0.2
_METRIC_NAMES = ("average_precision", *plan.METRICS.values())


class Searches:
    """The AutoML jobs under way, one task each."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, cloud: Cloud, name: str) -> None:
        self._tasks[name] = asyncio.create_task(self._run(cloud, name), name=f"auto-ml-{name}")

    def recover(self, cloud: Cloud) -> None:
        """Continue what a former server left; its training jobs must have been recovered before."""
        for name, record in cloud.store["auto_ml_jobs"].items():
            if record["AutoMLJobStatus"] not in FINAL:
                self.start(cloud, name)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def jobs_of(self, cloud: Cloud, name: str) -> list[Record]:
        """The training jobs of a search's candidates, in the order of their names."""
        arn = cloud.config.sagemaker_arn("automl-job", name)
        jobs = [job for job in cloud.store["training_jobs"] if job.get("AutoMLJobArn") == arn]
        candidates = [job for job in jobs if not job["TrainingJobName"].endswith("-analysis")]
        return sorted(candidates, key=lambda job: str(job["TrainingJobName"]))

    async def _run(self, cloud: Cloud, name: str) -> None:
        search = Search(cloud, name)
        try:
            await search.drive()
        except asyncio.CancelledError:
            raise
        except (SearchFailed, ObjectError) as exc:
            await search.end("Failed", "Failed", FailureReason=str(exc)[:1024])
        except Exception as exc:
            log.exception("auto_ml_broke name=%s", name)
            reason = f"We encountered an internal error ({type(exc).__name__})."
            await search.end("Failed", "Failed", FailureReason=reason)
        finally:
            self._tasks.pop(name, None)


class Search:
    def __init__(self, cloud: Cloud, name: str) -> None:
        self._cloud, self._name = cloud, name
        record = cloud.store["auto_ml_jobs"].get(name)
        assert record is not None, "a search has a record"
        self._record = record
        self._tabular: dict[str, Any] = record["AutoMLProblemTypeConfig"]["TabularJobConfig"]
        self._limits: dict[str, int] = self._tabular.get("CompletionCriteria", {})
        self._out = record["OutputDataConfig"]["S3OutputPath"].rstrip("/") + f"/{name}"
        self._features: list[str] = []

    async def drive(self) -> None:
        """From wherever it is to its end."""
        await asyncio.to_thread(inputs.upload_code, self._cloud.objects, self._code_uri)
        self._features = await asyncio.to_thread(inputs.features, self._cloud.objects, self._tabular)
        await self._enter("AnalyzingData")
        analysis = await self._all([await self._begin("analysis", {"role": "analyse"}, {}, _ANALYSIS_SECONDS)])
        if self._stopping():
            return await self.end("Stopped", "Stopped")
        if analysis[0]["TrainingJobStatus"] != "Completed":
            said = (
                str(analysis[0].get("FailureReason", "")).removeprefix("AlgorithmError: ").partition(", exit code")[0]
            )
            raise SearchFailed(said or "The data could not be looked at.")
        size = await asyncio.to_thread(inputs.size, self._cloud.objects, self._record)
        mode = plan.mode_of(self._tabular, size)
        most = self._limits.get("MaxCandidates", plan.DEFAULT_CANDIDATES)
        await self._enter("ModelTuning" if mode == "HYPERPARAMETER_TUNING" else "TrainingModels")
        await self._train(plan.tries(mode, most), blend=plan.blends(mode, most))
        if self._stopping():
            best = self._best(self._candidates())
            return await self.end("Stopped", "Stopped", **({"BestCandidate": best} if best else {}))
        await self._choose(most)
        return None

    async def _train(self, tries: Sequence[plan.Try], *, blend: bool) -> None:
        """All candidates, as many at a time as training jobs run, then the blend of those that completed."""
        places = asyncio.Semaphore(self._cloud.config.concurrent_jobs)

        async def one(candidate: plan.Try) -> None:
            async with places:
                if self._stopping() or self._overdue():
                    return
                task = {"role": "train", "family": candidate.family}
                await self._all([await self._begin(candidate.key, task, dict(candidate.settings), self._each())])

        await asyncio.gather(*(one(candidate) for candidate in tries))
        done = [
            j for j in self._cloud.searches.jobs_of(self._cloud, self._name) if j["TrainingJobStatus"] == "Completed"
        ]
        base = [job for job in done if not job["TrainingJobName"].endswith(plan.BLEND)]
        if blend and len(base) > 1 and not (self._stopping() or self._overdue()):
            channels = {
                f"base-{job['TrainingJobName'].rpartition('-')[2]}": job["ModelArtifacts"]["S3ModelArtifacts"]
                for job in base
            }
            task = {"role": "train", "family": plan.BLEND}
            await self._all([await self._begin(plan.BLEND, task, {}, self._each(), channels)])

    async def _choose(self, most: int) -> None:
        found = self._candidates()
        best = self._best(found)
        bad = [f"{c['CandidateName']}: {why}"[:1024] for c in found if (why := self._why_not(c))]
        if best is None:
            late = "The time for the whole search was over before one candidate was trained."
            raise SearchFailed(next(filter(None, map(self._why_not, found)), late))
        fields: Record = {"BestCandidate": best}
        if bad:
            fields["PartialFailureReasons"] = [{"PartialFailureMessage": text} for text in bad[:10]]
        secondary = "MaxCandidatesReached" if len(found) >= most else "Completed"
        if self._overdue():
            secondary = "MaxAutoMLJobRuntimeReached"
        endpoint = self._record.get("endpoint_name")
        if endpoint:
            await self._enter("DeployingModel", **fields)
            try:
                await deploy(self._cloud, self._name, endpoint, best, self._record["RoleArn"])
                fields["ModelDeployResult"] = {"EndpointName": endpoint}
            except NotDeployed as exc:
                secondary = "ModelDeploymentError"
                said = {"PartialFailureMessage": str(exc)[:1024]}
                fields["PartialFailureReasons"] = [said, *fields.get("PartialFailureReasons", ())][:10]
        await self.end("Completed", secondary, **fields)

    def _candidates(self) -> list[Record]:
        objective = self._record["AutoMLJobObjective"]["MetricName"]
        return [plan.candidate_of(job, objective) for job in self._cloud.searches.jobs_of(self._cloud, self._name)]

    @staticmethod
    def _best(found: Sequence[Record]) -> Record | None:
        """The best so far; None where none was trained to its end."""
        done = [c for c in found if c["ObjectiveStatus"] == "Succeeded"]
        return max(done, key=lambda c: (plan.value_of(c), c["CandidateName"]), default=None)

    def _why_not(self, candidate: Record) -> str | None:
        """Why a candidate has no objective, where that is its own: it failed, or took longer than each may."""
        if "FailureReason" in candidate:
            return str(candidate["FailureReason"])
        job = self._cloud.store["training_jobs"].get(candidate["CandidateName"]) or {}
        if job.get("SecondaryStatus") != "MaxRuntimeExceeded":
            return None
        return f"Not trained within the {self._each()} s that each candidate may take; allow more time for each."

    async def _begin(
        self, key: str, task: Record, settings: dict[str, str], seconds: int, extra: dict[str, str] | None = None
    ) -> str:
        """Create the training job `key` unless it exists; its name."""
        from embedded.aws.sagemaker.training_jobs import create_training_job

        name = f"{self._name}-{key}"
        if self._cloud.store["training_jobs"].get(name) is not None:
            return name
        fraction = self._record.get("DataSplitConfig", {}).get("ValidationFraction", _DEFAULT_FRACTION)
        task = {
            **task,
            "target": self._tabular["TargetAttributeName"],
            "features": self._features,
            "fraction": fraction,
        }
        channels = {
            channel.get("ChannelType", "training"): channel["DataSource"]["S3DataSource"]["S3Uri"]
            for channel in self._record["AutoMLJobInputDataConfig"]
        }
        params = {
            "TrainingJobName": name,
            "AutoMLJobArn": self._record["AutoMLJobArn"],
            "RoleArn": self._record["RoleArn"],
            "HyperParameters": settings
            | {
                "sagemaker_program": inputs.PROGRAM,
                "sagemaker_submit_directory": self._code_uri,
                "sagemaker_automl": json.dumps(task),
            },
            "AlgorithmSpecification": {
                "TrainingImage": _IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": metric, "Regex": rf"metric:validation_{metric}=([0-9.eE+-]+);"} for metric in _METRIC_NAMES
                ],
            },
            "InputDataConfig": [
                {"ChannelName": c, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
                for c, uri in {**channels, **(extra or {})}.items()
            ],
            "OutputDataConfig": {"S3OutputPath": f"{self._out}/training-jobs/"},
            "ResourceConfig": {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
        }
        while True:
            try:
                await create_training_job(self._cloud, params)
                return name
            except AwsError as exc:
                if exc.status != 503:
                    raise
                await asyncio.sleep(1.0)  # the database is away: background work waits for it

    async def _all(self, names: Sequence[str]) -> list[Record]:
        """Wait until all jobs have ended; asks them to stop once when the search is stopped or its time is over."""
        table, told = self._cloud.store["training_jobs"], False
        while True:
            jobs = [job for name in names if (job := table.get(name)) is not None]
            if all(job["TrainingJobStatus"] in FINAL for job in jobs):
                return jobs
            if not told and (self._stopping() or self._overdue()):
                await asyncio.gather(*(self._stop(name) for name in names))
                told = True
            await asyncio.sleep(_POLL_SECONDS)

    async def _stop(self, name: str) -> None:
        from embedded.aws.sagemaker.training_jobs import stop_training_job

        try:
            await stop_training_job(self._cloud, {"TrainingJobName": name})
        except AwsError as exc:
            log.info("auto_ml_stop name=%s %s", name, exc.message)  # it ended by itself in between

    def _stopping(self) -> bool:
        record = self._cloud.store["auto_ml_jobs"].get(self._name) or {}
        return record.get("AutoMLJobStatus") == "Stopping"

    def _overdue(self) -> bool:
        limit = self._limits.get("MaxAutoMLJobRuntimeInSeconds")
        return limit is not None and (now() - self._record["CreationTime"]).total_seconds() >= limit

    def _each(self) -> int:
        return self._limits.get("MaxRuntimePerTrainingJobInSeconds", _CANDIDATE_SECONDS)

    @property
    def _code_uri(self) -> str:
        return f"{self._out}/code/sourcedir.tar.gz"

    async def _enter(self, secondary: str, **fields: Any) -> None:
        def entered(record: Record) -> Record:
            if record["AutoMLJobStatus"] != "InProgress":
                return fields
            return {**fields, "AutoMLJobSecondaryStatus": secondary, "LastModifiedTime": now()}

        await self._cloud.store["auto_ml_jobs"].update_surely(self._name, entered)

    async def end(self, status: str, secondary: str, **fields: Any) -> None:
        at = now()
        ended = {
            "AutoMLJobStatus": status,
            "AutoMLJobSecondaryStatus": secondary,
            "EndTime": at,
            "LastModifiedTime": at,
            **fields,
        }
        await self._cloud.store["auto_ml_jobs"].update_surely(self._name, lambda _: ended)
