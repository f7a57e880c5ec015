"""What every benchmark answers, and how it is printed."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `against` names the peer or limit of the same run and its value; `ratio` is value / it.

    `goal` states the promise in words; `holds` whether it was met (None: nothing was promised).
    """

    figure: str
    value: float
    unit: str
    against: str
    ratio: float | None
    goal: str
    holds: bool | None


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    peer: str,
    peer_value: float | None,
    goal: str = "",
    holds: bool | None = None,
) -> Figure:
    ratio = value / peer_value if peer_value else None
    against = f"{peer}: {peer_value:.3g} {unit}" if peer_value is not None else peer
    return Figure(name, round(value, 4), unit, against, round(ratio, 3) if ratio is not None else None, goal, holds)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-len(ordered) * int(share * 1000) // 1000) - 1))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def as_json(name: str, figures: Sequence[Figure]) -> str:
    report = {
        "name": name,
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": [asdict(f) for f in figures],
    }
    return json.dumps(report)


def as_text(name: str, figures: Sequence[Figure]) -> str:
    lines = [f"{name}  ({machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC)"]
    for f in figures:
        verdict = {True: "holds", False: "MISSED", None: ""}[f.holds]
        ratio = f"{f.ratio:g}x" if f.ratio is not None else ""
        lines.append(f"  {f.figure:<44} {f.value:>10g} {f.unit:<4} {ratio:>8}  {f.against:<44} {f.goal} {verdict}")
    return "\n".join(lines)
