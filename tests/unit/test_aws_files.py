"""Log files, archives, counters and job states of the embedded AWS server, on a temporary folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.aws.archives import BadArchive, extract_tar, extract_zip, pack_tar
from embedded.aws.cloudwatch.counters import Minute
from embedded.aws.log_files import LogFiles, complete_size, read_backward, read_forward, seek_time
from embedded.aws.sagemaker.job_state import MetricScan, enter

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """100 events, one every 10 ms from 1000 on, of growing length; then half a line."""
    path = tmp_path / "stream.log"
    lines = b"".join(b"%d event %d %s\n" % (1000 + 10 * n, n, b"x" * n) for n in range(100))
    path.write_bytes(lines + b"2000 not complete")
    return path


def test_incomplete_last_line_is_not_read(stream: Path) -> None:
    assert complete_size(stream) == stream.stat().st_size - len(b"2000 not complete")


@pytest.mark.parametrize("at_ms", [0, 1000, 1001, 1009, 1010, 1505, 1990, 1991, 5000])
def test_time_is_found_by_bisection_as_by_reading_everything(stream: Path, at_ms: int) -> None:
    size = complete_size(stream)
    offset = 0
    for line in stream.read_bytes()[:size].splitlines(keepends=True):
        if int(line.split()[0]) >= at_ms:
            break
        offset += len(line)
    assert seek_time(stream, at_ms, size) == offset


def test_backward_pages_are_the_forward_pages_reversed(stream: Path) -> None:
    size = complete_size(stream)
    everything = read_forward(stream, 0, size, limit=1000, max_bytes=1 << 20).events
    assert len(everything) == 100
    found: list[Any] = []
    end = size
    while end > 0:
        page = read_backward(stream, 0, end, limit=7, max_bytes=1 << 20)
        found = [*page.events, *found]
        end = page.start
    assert tuple(found) == everything


def test_full_streams_are_followed_by_new_ones_and_old_ones_removed(tmp_path: Path) -> None:
    logs = LogFiles(tmp_path)
    writer = logs.writer("/g", lambda n: f"s/{n}", max_bytes=100, keep=2)
    for _ in range(20):
        writer.write("x" * 40)
    writer.close()
    streams = logs.streams("/g")
    assert streams is not None
    assert len(streams) == 2
    assert writer.stream in streams


@pytest.mark.parametrize("name", ["..", "../../x", "/etc/passwd", "a/../b"])
def test_names_of_streams_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    logs = LogFiles(tmp_path / "logs")
    writer = logs.writer(name, lambda _: name)
    writer.write("x")
    writer.close()
    assert all(path.is_relative_to(tmp_path / "logs") for path in tmp_path.rglob("*.log"))
    assert logs.streams(name) == (name,)


def _tar(path: Path, info: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return path


def test_hostile_tars_are_refused(tmp_path: Path) -> None:
    outside = tarfile.TarInfo("../outside")
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device = tarfile.TarInfo("device")
    device.type = tarfile.CHRTYPE
    for number, info in enumerate((outside, link, device)):
        with pytest.raises(BadArchive):
            extract_tar(_tar(tmp_path / f"{number}.tar.gz", info), tmp_path / "out", max_bytes=1000)
    with pytest.raises(BadArchive, match="more than 10 bytes"):
        extract_tar(_tar(tmp_path / "big.tar.gz", tarfile.TarInfo("big"), b"x" * 11), tmp_path / "out", max_bytes=10)
    (tmp_path / "no.tar.gz").write_bytes(b"no archive")
    with pytest.raises(BadArchive):
        extract_tar(tmp_path / "no.tar.gz", tmp_path / "out", max_bytes=10)


def test_hostile_zips_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    for number, name in enumerate(("../x", "/x", link)):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as bundle:
            bundle.writestr(name, "/etc/passwd")
        with pytest.raises(BadArchive):
            extract_zip(tmp_path / f"{number}.zip", tmp_path / "out", max_bytes=1000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("bomb", b"0" * 10_000)
    with pytest.raises(BadArchive, match="more than 1000 bytes"):
        extract_zip(tmp_path / "bomb.zip", tmp_path / "out", max_bytes=1000)


def test_packed_folder_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "model" / "code").mkdir(parents=True)
    (tmp_path / "model" / "code" / "inference.py").write_text("x")
    pack_tar(tmp_path / "model", tmp_path / "1.tar.gz")
    (tmp_path / "model" / "code" / "inference.py").touch()
    pack_tar(tmp_path / "model", tmp_path / "2.tar.gz")
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()
    extract_tar(tmp_path / "1.tar.gz", tmp_path / "out", max_bytes=1000)
    assert (tmp_path / "out" / "code" / "inference.py").read_text() == "x"


def test_statistics_of_minutes_merge() -> None:
    one, two = Minute(), Minute()
    for value in range(1, 51):
        one.add(value)
    for value in range(51, 101):
        two.add(value)
    one.merge(two)
    assert (one.count, one.total, one.low, one.high) == (100, 5050, 1, 100)
    assert one.percentile(0.5) == pytest.approx(50, rel=0.05)
    assert one.percentile(0.99) == pytest.approx(99, rel=0.05)
    assert one.percentile(1.0) == pytest.approx(100, rel=0.05)


def test_transitions_end_when_the_next_begins() -> None:
    record: dict[str, Any] = {}
    for seconds, status in enumerate(("Starting", "Downloading", "Training", "Uploading", "Completed")):
        record |= enter(record, status, AT + timedelta(seconds=10 * seconds))
    steps = record["SecondaryStatusTransitions"]
    assert [step["EndTime"] for step in steps[:-1]] == [step["StartTime"] for step in steps[1:]]
    assert (record["TrainingJobStatus"], record["TrainingTimeInSeconds"]) == ("Completed", 20)


def test_a_stopping_job_stays_stopping_while_it_uploads() -> None:
    record: dict[str, Any] = {}
    for status in ("Starting", "Training", "Stopping", "Uploading"):
        record |= enter(record, status, AT)
    assert (record["TrainingJobStatus"], record["SecondaryStatus"]) == ("Stopping", "Uploading")
    record |= enter(record, "Stopped", AT)
    assert record["TrainingJobStatus"] == "Stopped"


def test_last_value_of_each_metric_counts_and_text_is_passed_over() -> None:
    scan = MetricScan([{"Name": "a", "Regex": "a=([^ ;]+)"}, {"Name": "b", "Regex": "b=([0-9.]+)"}])
    for line in ("a=1 b=2", "a=3", "a=none", "nothing"):
        scan.line(line, AT)
    assert {metric["MetricName"]: metric["Value"] for metric in scan.final()} == {"a": 3.0, "b": 2.0}
