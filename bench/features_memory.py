"""How much memory and time the offline features of many rows take, in a process that does nothing else.

`python -m bench.features_memory ROWS` prints JSON: rows_per_second (median of three calls after the first),
first_rows_per_second, matrix_mb (the result), peak_mb (the most that was resident while a call ran, beyond what was
before it: the result included, the columns given not).
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from bench.features import PLAN, labels_of, rows_of
from bench.report import median

_AGAIN = 3


def main(count: int) -> None:
    columns, fraud = rows_of(count, payers=count // 60)
    labels = labels_of(columns, fraud)
    # Resets the peak to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before, seconds, size, peak = _kilobytes("VmRSS"), [], 0, 0
    for _ in range(1 + _AGAIN):
        begun = time.perf_counter()
        matrix = PLAN.matrix(columns, labels)
        seconds.append(time.perf_counter() - begun)
        size, peak = matrix.nbytes, peak or _kilobytes("VmHWM") - before
        del matrix
    found = {
        "rows_per_second": count / median(seconds[1:]),
        "first_rows_per_second": count / seconds[0],
        "matrix_mb": size / 2**20,
        "peak_mb": peak / 2**10,
    }
    print(json.dumps(found))


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"the kernel says {name} of each process"
    return int(found[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))
