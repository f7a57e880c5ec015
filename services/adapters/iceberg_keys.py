"""Which files of a table hold a row: an index of the keys in memory, built from the files' key columns.

Eight bytes a row: the upper 44 bits of a hash of the key, and the number of the file. Two keys that share a hash only
make a file be read that did not have to be. Files never change, so each is read once; a commit costs what it added.
Beyond `max_rows` nothing is kept and the key columns of the files in question are read anew each time: slow, but
bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import duckdb
import numpy as np
import pyarrow as pa

MAX_ROWS = 24_000_000
_FILE_BITS = np.uint64(20)
_FILE_MASK = np.uint64((1 << 20) - 1)
_MAX_FILES = 1 << 20
# The recent part is searched beside the main one; it is merged into it when it is a fair share of it.
_MIN_RECENT, _SHARE = 50_000, 4

# Reads the key columns of files: yields each path with its keys, in the order asked for.
ReadKeys = Callable[[Iterable[str]], Iterator[tuple[str, pa.Array]]]


class KeyIndex:
    """For one table, by one process at a time."""

    def __init__(self, *, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._hash = duckdb.connect(config={"threads": 1})
        self._paths: list[str] = []
        self._numbers: dict[str, int] = {}
        self._main = self._recent = np.empty(0, dtype=np.uint64)

    def close(self) -> None:
        self._hash.close()

    def find(self, keys: pa.Array, files: Mapping[str, int], read: ReadKeys) -> tuple[np.ndarray, list[str]]:
        """Pairs (position in `keys`, path) of what may be where; `files` are the table's paths with their rows."""
        wanted = self._hashes(keys)
        order = np.argsort(wanted, kind="stable")
        if sum(files.values()) > self._max_rows:
            self._forget()
            return self._scan(wanted, order, files, read)
        self._bring_to(files, read)
        found = [_search(part, wanted, order) for part in (self._main, self._recent)]
        positions = np.concatenate([at for at, _ in found])
        numbers = np.concatenate([number for _, number in found])
        paths = [self._paths[number] for number in numbers.tolist()]
        alive = [at for at, path in enumerate(paths) if path in files]
        return positions[alive], [paths[at] for at in alive]

    def _bring_to(self, files: Mapping[str, int], read: ReadKeys) -> None:
        fresh = [path for path in files if path not in self._numbers]
        if len(self._paths) + len(fresh) >= _MAX_FILES or len(self._paths) > 4 * len(files) + 1000:
            self._forget()
            fresh = list(files)
        # Reading may fail between two files. A file counts as known only together with its keys: one that was known
        # without them would hide its rows from every later commit, which would then store them twice.
        parts = [
            (self._hashes(keys) << _FILE_BITS) | np.uint64(number)
            for number, (_, keys) in enumerate(read(fresh), start=len(self._paths))
        ]
        if not parts:
            return
        self._numbers |= {path: number for number, path in enumerate(fresh, start=len(self._paths))}
        self._paths += fresh
        self._recent = np.sort(np.concatenate([self._recent, *parts]))
        if len(self._recent) > max(_MIN_RECENT, len(self._main) // _SHARE):
            both = np.concatenate([self._main, self._recent])
            alive = np.array([path in files for path in self._paths])
            self._main = np.sort(both[alive[(both & _FILE_MASK).astype(np.int64)]])
            self._recent = np.empty(0, dtype=np.uint64)

    def _scan(
        self, wanted: np.ndarray, order: np.ndarray, files: Iterable[str], read: ReadKeys
    ) -> tuple[np.ndarray, list[str]]:
        positions, paths = [np.empty(0, dtype=np.int64)], []
        for path, keys in read(files):
            at, _ = _search(np.sort(self._hashes(keys) << _FILE_BITS), wanted, order)
            positions.append(at)
            paths += [path] * len(at)
        return np.concatenate(positions), paths

    def _hashes(self, keys: pa.Array) -> np.ndarray:
        """44 bits a key; the hash is DuckDB's, stable within one version and so within one process."""
        names = pa.table({"key": keys})
        hashed = self._hash.from_arrow(names).project("hash(key) AS hash").to_arrow_table()["hash"]
        return hashed.to_numpy() >> _FILE_BITS

    def _forget(self) -> None:
        self._paths, self._numbers = [], {}
        self._main = self._recent = np.empty(0, dtype=np.uint64)


def _search(entries: np.ndarray, wanted: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `wanted` and file numbers of the sorted entries that have a wanted hash."""
    asked = wanted[order] << _FILE_BITS
    first = np.searchsorted(entries, asked, side="left")
    last = np.searchsorted(entries, asked | _FILE_MASK, side="right")
    counts = last - first
    hits = np.repeat(order, counts)
    within = np.arange(len(hits)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(first, counts) + within
    return hits, (entries[places] & _FILE_MASK).astype(np.int64)
