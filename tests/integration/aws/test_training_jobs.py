"""Training jobs run for real: data in, metrics and artifact out, every way to end, and a crash of the server."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.aws.servers import IMAGE, ROLE, Aws, error_of, wait_until
from tests.integration.aws.serving import tar_of

pytestmark = pytest.mark.timeout(60)

TRAIN = """
    import json, os, pathlib, sys, time
    base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
    parameters = json.loads((base / "input/config/hyperparameters.json").read_text())
    channels = json.loads((base / "input/config/inputdataconfig.json").read_text())
    json.loads((base / "input/config/resourceconfig.json").read_text())
    assert os.environ["OMP_NUM_THREADS"] == "1" and "AWS_SECRET_ACCESS_KEY" not in os.environ
    assert os.nice(0) >= 5, "jobs yield to what somebody waits for"
    rows = sorted(str(p.relative_to(base)) + "=" + p.read_text() for p in (base / "input/data").rglob("*.csv"))
    print("pid", os.getpid(), sorted(channels), rows)
    print("[1] validation-aucpr:0.25")
    print("[2] validation-aucpr:0.75")
    mode = parameters["mode"]
    if mode == "fail":
        (base / "output/failure").write_text("the labels are all the same")
        sys.exit(1)
    if mode == "raise":
        raise ValueError("no such column")
    if mode == "sleep":
        while not (pathlib.Path(parameters["release"])).exists():
            time.sleep(0.02)
    (base / "model/weights.txt").write_text(",".join(rows) + mode)
    (base / "output/data/report.txt").write_text("fine")
    print("metric:ap=0.5;", flush=True)
"""

Start = Callable[..., str]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a job on the shared server, or on the one given as `on`."""

    def begin(mode: str, *, on: Aws | None = None, seconds: int = 60, **hyperparameters: str) -> str:
        aws: Aws = on or request.getfixturevalue("aws")
        bucket = f"train-{uuid.uuid4().hex[:10]}"
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="t/train/a.csv", Body=b"1,2")
        s3.put_object(Bucket=bucket, Key="t/train/deep/b.csv", Body=b"3,4")
        s3.put_object(Bucket=bucket, Key="t/validation/c.csv", Body=b"5,6")
        s3.put_object(Bucket=bucket, Key="source/sourcedir.tar.gz", Body=tar_of({"train.py": TRAIN}))
        name = f"job-{uuid.uuid4().hex[:10]}"
        channel = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
        aws.sagemaker.create_training_job(
            TrainingJobName=name,
            RoleArn=ROLE,
            AlgorithmSpecification={
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "MetricDefinitions": [
                    {"Name": "validation:aucpr", "Regex": r"validation-aucpr:([0-9.]+)"},
                    {"Name": "ap", "Regex": r"metric:ap=([0-9.]+);"},
                ],
            },
            HyperParameters={
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": json.dumps(f"s3://{bucket}/source/sourcedir.tar.gz"),
                "mode": mode,
                **hyperparameters,
            },
            InputDataConfig=[
                {"ChannelName": c, "DataSource": {"S3DataSource": {**channel, "S3Uri": f"s3://{bucket}/t/{c}/"}}}
                for c in ("train", "validation")
            ],
            OutputDataConfig={"S3OutputPath": f"s3://{bucket}/models/"},
            ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
            StoppingCondition={"MaxRuntimeInSeconds": seconds},
            Tags=[{"Key": "experiment", "Value": "e-1"}],
        )
        return name

    return begin


def _artifact(aws: Aws, job: dict[str, Any]) -> dict[str, str]:
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    data = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {m.name: tar.extractfile(m) for m in tar if m.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_job_trains_and_uploads_its_model(aws: Aws, start: Start) -> None:
    name = start("fine")
    job = aws.wait_job(name, "Completed", "Failed")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    ends = [step["EndTime"] for step in job["SecondaryStatusTransitions"]]
    assert ends == sorted(ends)
    assert {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]} == {"validation:aucpr": 0.75, "ap": 0.5}
    rows = "input/data/train/a.csv=1,2,input/data/train/deep/b.csv=3,4,input/data/validation/c.csv=5,6"
    assert _artifact(aws, job) == {"weights.txt": rows + "fine"}
    lines = aws.log_lines("/aws/sagemaker/TrainingJobs", name)
    assert "[2] validation-aucpr:0.75" in lines
    assert lines[-1] == "metric:ap=0.5;"
    listed = aws.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert [item["TrainingJobStatus"] for item in listed] == ["Completed"]
    tags = aws.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "experiment", "Value": "e-1"}]
    ended = error_of(lambda: aws.sagemaker.stop_training_job(TrainingJobName=name))
    assert ended[0] == "ValidationException"
    assert "Completed" in ended[2]


def test_failures_say_why(aws: Aws, start: Start) -> None:
    written, raised = start("fail"), start("raise")
    job = aws.wait_job(written, "Failed", "Completed")
    assert job["FailureReason"] == "AlgorithmError: the labels are all the same, exit code: 1"
    job = aws.wait_job(raised, "Failed", "Completed")
    assert job["FailureReason"] == "AlgorithmError: ValueError: no such column, exit code: 1"
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]][-1] == "Failed"


def test_missing_source_and_data_are_client_errors(aws: Aws, start: Start) -> None:
    source = start("fine", sagemaker_submit_directory="s3://no-such-bucket-here/x.tar.gz")
    program = start("fine", sagemaker_program="../../etc/passwd")
    assert aws.wait_job(source, "Failed")["FailureReason"].startswith("ClientError: Data download failed")
    assert "is not in the source archive" in aws.wait_job(program, "Failed")["FailureReason"]


def test_source_archive_cannot_write_outside_its_folder(aws: Aws, start: Start, bucket: str) -> None:
    body = tar_of({"../../../escaped.txt": "x", "train.py": "print()"})
    aws.client("s3").put_object(Bucket=bucket, Key="evil.tar.gz", Body=body)
    job = aws.wait_job(start("fine", sagemaker_submit_directory=f"s3://{bucket}/evil.tar.gz"), "Failed", "Completed")
    assert "cannot be unpacked" in job["FailureReason"]
    assert not list(aws.state.rglob("escaped.txt"))


def test_stop_ends_a_running_job(aws: Aws, start: Start) -> None:
    name = start("sleep", release="/nonexistent/never")
    wait_until(lambda: _pids(aws, name), what="the program's first line")
    aws.sagemaker.stop_training_job(TrainingJobName=name)
    aws.sagemaker.stop_training_job(TrainingJobName=name)
    job = aws.wait_job(name, "Stopped")
    assert job["TrainingJobStatus"] == "Stopped"
    assert "Stopping" in [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert not os.path.exists(f"/proc/{_pids(aws, name)[0]}")


def test_waiting_jobs_can_be_stopped_before_their_turn(aws: Aws, start: Start, tmp_path: Any) -> None:
    release = tmp_path / "release"
    running = [start("sleep", release=str(release)) for _ in range(2)]
    for name in running:
        wait_until(lambda name=name: _pids(aws, name), what="both places taken")
    waiting = start("fine")
    aws.sagemaker.stop_training_job(TrainingJobName=waiting)
    job = aws.wait_job(waiting, "Stopped", "Completed")
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]] == ["Starting", "Stopping", "Stopped"]
    release.touch()
    for name in running:
        assert aws.wait_job(name, "Completed", "Failed")["TrainingJobStatus"] == "Completed"


def test_runtime_limit_stops_a_job(aws: Aws, start: Start) -> None:
    job = aws.wait_job(start("sleep", seconds=1, release="/nonexistent/never"), "Stopped", "Failed")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_names_are_unique_and_unknown_ones_are_refused(aws: Aws, start: Start) -> None:
    name = start("fine")
    described = aws.sagemaker.describe_training_job(TrainingJobName=name)
    keys = ("TrainingJobName", "AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "RoleArn")
    again = {key: described[key] for key in keys} | {"StoppingCondition": described["StoppingCondition"]}
    assert error_of(lambda: aws.sagemaker.create_training_job(**again))[0] == "ResourceInUse"
    unknown = error_of(lambda: aws.sagemaker.describe_training_job(TrainingJobName="nobody"))
    assert unknown == ("ValidationException", 400, "Requested resource not found.")


def _pids(aws: Aws, name: str) -> list[int]:
    try:
        lines = aws.log_lines("/aws/sagemaker/TrainingJobs", name)
    except aws.client("logs").exceptions.ResourceNotFoundException:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]


def test_killed_server_leaves_no_process_and_runs_the_job_again(own_aws: Aws, start: Start, tmp_path: Any) -> None:
    release = tmp_path / "release"
    name = start("sleep", on=own_aws, release=str(release))
    first = wait_until(lambda: _pids(own_aws, name), what="the program")[0]
    own_aws.kill()
    wait_until(lambda: not _alive(first), what="the program's end with its server")
    release.touch()
    own_aws.start()
    job = own_aws.wait_job(name, "Completed", "Failed")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps[:4] == ["Starting", "Downloading", "Training", "Restarting"]
    assert steps[-1] == "Completed"
    assert len(set(_pids(own_aws, name))) == 2
    assert "weights.txt" in _artifact(own_aws, job)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_database_away_is_503_and_work_goes_on_when_it_is_back(
    own_aws: Aws, start: Start, restless_mongod: Any, tmp_path: Any
) -> None:
    release = tmp_path / "release"
    name = start("sleep", on=own_aws, release=str(release))
    wait_until(lambda: _pids(own_aws, name), what="the program")
    restless_mongod.kill()
    try:
        wait_until(
            lambda: (
                error_of(lambda: own_aws.sagemaker.create_model_package_group(ModelPackageGroupName="g"))[:2]
                == ("ServiceUnavailable", 503)
            ),
            what="503",
        )
        began = time.monotonic()
        assert error_of(lambda: own_aws.sagemaker.describe_training_job(TrainingJobName=name))[1] == 503
        assert time.monotonic() - began < 1
        release.touch()
        time.sleep(0.3)
    finally:
        restless_mongod.start()
    wait_until(lambda: _describes(own_aws, name), what="the database's return")
    assert own_aws.wait_job(name, "Completed", "Failed")["TrainingJobStatus"] == "Completed"
    own_aws.sagemaker.create_model_package_group(ModelPackageGroupName="g")


def _describes(aws: Aws, name: str) -> bool:
    try:
        aws.sagemaker.describe_training_job(TrainingJobName=name)
    except aws.sagemaker.exceptions.ClientError:
        return False
    return True
