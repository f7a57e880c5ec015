"""Run training jobs: download, run the program, upload the artifact, with every state written before it is shown.

A job is a function of its record alone, so a job found unfinished at start is simply run again from the beginning:
its folder is emptied first, and the artifact it uploads has the same name.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from embedded.aws.archives import BadArchive, extract_tar, pack_tar
from embedded.aws.config import Config
from embedded.aws.log_files import LogFiles
from embedded.aws.objects import Cancelled, ObjectError, Objects
from embedded.aws.processes import Processes, base_environment
from embedded.aws.sagemaker.job_state import FINAL, MetricScan, enter, failure_reason
from embedded.aws.store import Record, Table, now

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_INPUT_BYTES = 8 * 2**30
_SOURCE_BYTES = 256 * 2**20
_DEFAULT_RUNTIME_SECONDS = 86_400


class JobFailed(Exception):
    """The job cannot go on; the text is its FailureReason."""


class _Stopped(Exception):
    """The job was asked to stop before its program ran."""


def setting(hyperparameters: dict[str, str], name: str) -> str:
    """A `sagemaker_` hyperparameter; AWS's SDK sends these as JSON strings, others send them plain."""
    text = hyperparameters.get(name, "")
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text
    return text


class JobRunner:
    """Runs at most `concurrent_jobs` at a time; the others wait in Starting."""

    def __init__(self, config: Config, table: Table, objects: Objects, processes: Processes, logs: LogFiles) -> None:
        self._config = config
        self._table = table
        self._objects = objects
        self._processes = processes
        self._logs = logs
        self._slots = asyncio.Semaphore(config.concurrent_jobs)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Event] = {}

    def start(self, name: str) -> None:
        """Run a job that has a record, in the background."""
        self._stops[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name), name=f"job-{name}")

    def stop(self, name: str) -> None:
        event = self._stops.get(name)
        if event is not None:
            event.set()

    async def recover(self) -> None:
        """Continue what a former server left: unfinished jobs start again, stopping ones are stopped."""
        for name, record in self._table.items():
            if record["TrainingJobStatus"] in FINAL:
                continue
            if record["TrainingJobStatus"] == "Stopping":
                await self._enter(name, "Stopped")
                continue
            await self._enter(name, "Restarting")
            self.start(name)

    async def close(self) -> None:
        """End without a trace in the records, so the jobs run again at the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _enter(self, name: str, secondary: str, **fields: Any) -> Record:
        changed = await self._table.update_surely(name, lambda record: {**enter(record, secondary, now()), **fields})
        if changed is None:
            raise KeyError(name)
        return changed

    async def _run(self, name: str) -> None:
        stop = self._stops[name]
        folder = self._config.state / "jobs" / name
        try:
            await self._slot(stop)
            try:
                await self._attempt(name, folder, stop)
            finally:
                self._slots.release()
        except _Stopped:
            await self._enter(name, "Stopped")
        except JobFailed as exc:
            await self._enter(name, "Failed", FailureReason=str(exc))
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            log.exception("job_broke name=%s", name)
            reason = failure_reason("InternalServerError", f"We encountered an internal error ({type(exc).__name__}).")
            await self._enter(name, "Failed", FailureReason=reason)
        finally:
            self._tasks.pop(name, None)
            self._stops.pop(name, None)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _slot(self, stop: asyncio.Event) -> None:
        """Wait for a turn. Raises _Stopped, without one, when the job is stopped while it waits."""
        turn = asyncio.create_task(self._slots.acquire())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({turn, stopping}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            turn.cancel()
            raise
        finally:
            stopping.cancel()
        if not turn.done():
            turn.cancel()
            raise _Stopped

    async def _attempt(self, name: str, folder: Path, stop: asyncio.Event) -> None:
        base = folder / "ml"
        record = self._table.get(name)
        if record is None:
            return
        if stop.is_set():
            raise _Stopped
        await asyncio.to_thread(self._lay_out, record, base)
        await self._enter(name, "Downloading")
        source = await self._download(record, base, stop)
        await self._enter(name, "Training")
        ending, metrics = await self._train(name, record, base, source, stop)
        await self._enter(name, "Uploading", FinalMetricDataList=metrics)
        artifact = f"{record['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output/model.tar.gz"
        try:
            await asyncio.to_thread(self._upload, base, folder, artifact)
        except ObjectError as exc:
            raise JobFailed(failure_reason("ClientError", f"Artifact upload failed: {exc}")) from exc
        await self._enter(name, ending, ModelArtifacts={"S3ModelArtifacts": artifact})

    def _lay_out(self, record: Record, base: Path) -> None:
        shutil.rmtree(base, ignore_errors=True)
        for part in ("input/config", "input/data", "model", "output/data", "code"):
            (base / part).mkdir(parents=True)
        channels = {
            channel["ChannelName"]: {
                "TrainingInputMode": channel.get("InputMode", "File"),
                "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                    "S3DataDistributionType", "FullyReplicated"
                ),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in record.get("InputDataConfig", ())
        }
        resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
        configs = {
            "hyperparameters": record.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": resources,
        }
        for file, content in configs.items():
            (base / "input/config" / f"{file}.json").write_text(json.dumps(content))

    async def _download(self, record: Record, base: Path, stop: asyncio.Event) -> Path:
        """Fetch channels and source; returns the program to run."""
        hyperparameters = record.get("HyperParameters", {})
        program = setting(hyperparameters, "sagemaker_program")
        directory = setting(hyperparameters, "sagemaker_submit_directory")
        if not program or not directory:
            detail = "script mode needs the hyperparameters sagemaker_program and sagemaker_submit_directory"
            raise JobFailed(failure_reason("ClientError", detail))
        cancel = threading.Event()

        def fetch() -> None:
            for channel in record.get("InputDataConfig", ()):
                uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
                target = base / "input/data" / channel["ChannelName"]
                self._objects.download_prefix(uri, target, max_bytes=_INPUT_BYTES, cancel=cancel)
            archive = base / "source.tar.gz"
            self._objects.download(directory, archive, max_bytes=_SOURCE_BYTES, cancel=cancel)
            extract_tar(archive, base / "code", max_bytes=4 * _SOURCE_BYTES)
            archive.unlink()

        fetching = asyncio.create_task(asyncio.to_thread(fetch))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                cancel.set()
            await fetching
        except Cancelled:
            raise _Stopped from None
        except (ObjectError, BadArchive) as exc:
            raise JobFailed(failure_reason("ClientError", f"Data download failed: {exc}")) from exc
        finally:
            cancel.set()
            stopping.cancel()
        path = (base / "code" / program).resolve()
        if not path.is_relative_to((base / "code").resolve()) or not path.is_file():
            raise JobFailed(failure_reason("ClientError", f"{program} is not in the source archive"))
        return path

    async def _train(
        self, name: str, record: Record, base: Path, program: Path, stop: asyncio.Event
    ) -> tuple[str, list[Record]]:
        """Run the program to its end; returns the secondary status to end in, and the metrics found."""
        if stop.is_set():
            raise _Stopped
        scan = MetricScan(record.get("AlgorithmSpecification", {}).get("MetricDefinitions", ()))
        epoch = int(time.time())
        stream = self._logs.writer(LOG_GROUP, lambda n: f"{name}/algo-1-{epoch + n}")
        last_line = ""

        def line(text: str) -> None:
            nonlocal last_line
            last_line = text.strip() or last_line
            stream.write(text)
            scan.line(text, now())

        argv = [sys.executable, str(program)]
        env = self._environment(name, record, base)
        child = await self._processes.start(f"job {name}", argv, cwd=base / "code", env=env, sink=line, job=True)
        limit = record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_RUNTIME_SECONDS)
        waiting = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                ending = "Stopped" if stop.is_set() else "MaxRuntimeExceeded"
                await child.end(self._config.stop_grace_seconds)
                return ending, scan.final()
        finally:
            stopping.cancel()
            waiting.cancel()
            if child.running:
                child.signal(signal.SIGKILL)
            stream.close()
        code = child.returncode
        if code != 0:
            failure = base / "output/failure"
            written = failure.read_text(errors="replace").strip() if failure.is_file() else ""
            detail = (written or last_line or "the program wrote no message")[:960]
            raise JobFailed(failure_reason("AlgorithmError", f"{detail}, exit code: {code}"))
        return "Completed", scan.final()

    def _environment(self, name: str, record: Record, base: Path) -> dict[str, str]:
        channels = [channel["ChannelName"] for channel in record.get("InputDataConfig", ())]
        return {
            **base_environment(),
            "SAGEMAKER_BASE_DIR": str(base),
            "TRAINING_JOB_NAME": name,
            "TRAINING_JOB_ARN": record["TrainingJobArn"],
            "AWS_REGION": self._config.region,
            "SM_MODEL_DIR": str(base / "model"),
            "SM_OUTPUT_DATA_DIR": str(base / "output/data"),
            "SM_CHANNELS": json.dumps(channels),
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            **{f"SM_CHANNEL_{channel.upper()}": str(base / "input/data" / channel) for channel in channels},
            **record.get("Environment", {}),
        }

    def _upload(self, base: Path, folder: Path, artifact: str) -> None:
        packed = folder / "model.tar.gz"
        pack_tar(base / "model", packed)
        self._objects.upload(packed, artifact)
        if any((base / "output/data").iterdir()):
            packed = folder / "output.tar.gz"
            pack_tar(base / "output/data", packed)
            self._objects.upload(packed, artifact.replace("model.tar.gz", "output.tar.gz"))
