"""The index of keys: which files hold a row, also after a reading that failed in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pytest

from services.adapters.iceberg_keys import KeyIndex

FILES = {"a": ["t1", "t2"], "b": ["t3"], "c": ["t4", "t5"]}
ROWS = {path: len(keys) for path, keys in FILES.items()}


@pytest.fixture
def index() -> Iterator[KeyIndex]:
    made = KeyIndex()
    yield made
    made.close()


def read(paths: Iterable[str]) -> Iterator[tuple[str, pa.Array]]:
    for path in paths:
        yield path, pa.array(FILES[path])


def found(answer: tuple[np.ndarray, list[str]]) -> list[tuple[int, str]]:
    return sorted(zip(answer[0].tolist(), answer[1], strict=True))


def test_every_key_is_found_in_its_file(index: KeyIndex) -> None:
    keys = pa.array(["t5", "t1", "unknown", "t3"])
    assert found(index.find(keys, ROWS, read)) == [(0, "c"), (1, "a"), (3, "b")]


def test_a_file_that_could_not_be_read_is_read_the_next_time(index: KeyIndex) -> None:
    def breaks_off(paths: Iterable[str]) -> Iterator[tuple[str, pa.Array]]:
        for path, keys in read(paths):
            if path == "c":
                raise ConnectionError("S3 is gone")
            yield path, keys

    keys = pa.array(["t1", "t3", "t5"])
    with pytest.raises(ConnectionError):
        index.find(keys, ROWS, breaks_off)
    assert found(index.find(keys, ROWS, read)) == [(0, "a"), (1, "b"), (2, "c")]


def test_files_that_are_new_are_read_once_and_those_that_went_are_not_named(index: KeyIndex) -> None:
    keys = pa.array(["t1", "t5"])
    assert found(index.find(keys, {"a": 2}, read)) == [(0, "a")]
    asked: list[str] = []

    def noted(paths: Iterable[str]) -> Iterator[tuple[str, pa.Array]]:
        asked.extend(paths)
        return read(asked)

    assert found(index.find(keys, {"b": 1, "c": 2}, noted)) == [(1, "c")]
    assert asked == ["b", "c"]
