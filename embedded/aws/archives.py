"""Unpack archives that others made, within bounds and inside one folder; pack the artifacts of jobs."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath


class BadArchive(Exception):
    """The archive is damaged, too large, or wants to write outside its folder. The text is for people."""


def extract_tar(archive: Path, folder: Path, *, max_bytes: int, max_files: int = 10_000) -> None:
    """Unpack a .tar.gz. Links and names that leave `folder`, devices, and anything over the bounds are refused."""
    folder.mkdir(parents=True, exist_ok=True)
    total = files = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                total += member.size
                files += 1
                if total > max_bytes or files > max_files:
                    raise BadArchive(f"the archive holds more than {max_bytes} bytes or {max_files} files")
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise BadArchive(f"the archive cannot be unpacked: {exc}") from exc


def extract_zip(archive: Path, folder: Path, *, max_bytes: int, max_files: int = 10_000) -> None:
    """Unpack a .zip under the same rules as `extract_tar`."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as bundle:
            infos = bundle.infolist()
            if len(infos) > max_files or sum(info.file_size for info in infos) > max_bytes:
                raise BadArchive(f"the archive holds more than {max_bytes} bytes or {max_files} files")
            for info in infos:
                name = PurePosixPath(info.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                    raise BadArchive(f"{info.filename!r} would be written outside the folder")
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise BadArchive(f"{info.filename!r} is a link")
                bundle.extract(info, folder)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as exc:
        raise BadArchive(f"the archive cannot be unpacked: {exc}") from exc


def pack_tar(folder: Path, archive: Path) -> None:
    """Pack the content of `folder` as .tar.gz; the same content gives the same bytes (sorted, times at zero)."""

    def neutral(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        return info

    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=neutral)
