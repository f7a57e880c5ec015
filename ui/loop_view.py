"""What the loop health page says of the hops: one verdict over all, one line for each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.health import Hop, HopState
from ui import format as fmt


@dataclass(frozen=True, slots=True)
class Look:
    """A state's word, Material icon and Streamlit colour; never colour alone."""

    word: str
    icon: str
    color: str


LOOKS: dict[HopState, Look] = {
    HopState.OK: Look("Working", "check_circle", "green"),
    HopState.LAGGING: Look("Lagging", "hourglass_top", "orange"),
    HopState.DOWN: Look("Down", "cancel", "red"),
    HopState.IDLE: Look("Idle", "pause_circle", "gray"),
}
NO_BREAK = "\N{NO-BREAK SPACE}"
# What each hop hands on, in the words of the person who depends on it.
ROLES: dict[str, tuple[str, str]] = {
    "intake": ("login", "Into MongoDB"),
    "scoring": ("bolt", "Score and alert"),
    "stream": ("sync_alt", "Every change to S3"),
    "lake": ("database", "Files into tables"),
    "training": ("model_training", "Labels into models"),
    "endpoint": ("rocket_launch", "Serves the model"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`state` is the worst that matters: idle hops are no fault."""

    state: HopState
    title: str
    sentence: str


def verdict(hops: Sequence[Hop]) -> Verdict:
    """One sentence over the loop. Down outweighs lagging; idle hops count as working."""
    down = [hop for hop in hops if hop.state is HopState.DOWN]
    lagging = [hop for hop in hops if hop.state is HopState.LAGGING]
    working = len(hops) - len(down) - len(lagging)
    rest = f"{working} of {len(hops)} hops work."
    if not hops:
        return Verdict(HopState.DOWN, "Nothing is known about the loop", "No hop has reported.")
    if down:
        return Verdict(HopState.DOWN, f"The loop is broken at {listed([h.name for h in down])}", rest)
    if lagging:
        verb = "lags" if len(lagging) == 1 else "lag"
        return Verdict(
            HopState.LAGGING, f"{listed([h.name for h in lagging])} {verb} behind", f"{rest} Nothing is lost."
        )
    idle = [hop.name for hop in hops if hop.state is HopState.IDLE]
    waits = f" {listed(idle)} {'has' if len(idle) == 1 else 'have'} nothing to do now." if idle else ""
    return Verdict(HopState.OK, "The loop is closed", f"All {len(hops)} hops work.{waits}")


def listed(names: Sequence[str]) -> str:
    """'A', 'A and B', 'A, B and C'."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def lag(seconds: float | None) -> str:
    """Below ten seconds to a tenth, for a loop that is usually there: '0.8 s', '12 s', '3 min'."""
    if seconds is None:
        return fmt.MISSING
    return f"{max(seconds, 0.0):.1f} s" if seconds < 10 else fmt.duration(seconds)


def counts(hop: Hop, *, most: int = 3) -> str:
    """'1,204,377 rows, 12 files'; the first `most` of them in the hop's order."""
    names = [f"{fmt.count(value)} {name.replace('_', ' ')}" for name, value in list(hop.counts.items())[:most]]
    return ", ".join(names)


def mark(hop: Hop) -> str:
    """The hop in the line of the loop (Markdown); what is not working carries its word, never colour alone."""
    look = LOOKS[hop.state]
    icon, _ = ROLES.get(hop.key, ("settings_ethernet", ""))
    name = f":{look.color}[:material/{icon}:] {fmt.literal(hop.name)}"
    return name if hop.state is HopState.OK else f"{name} :{look.color}-badge[{look.word}]"


def row(hop: Hop, now: datetime) -> dict[str, str]:
    """One line of the table (Markdown cells)."""
    look = LOOKS[hop.state]
    icon, role = ROLES.get(hop.key, ("settings_ethernet", ""))
    return {
        "Hop": f":material/{icon}: **{_whole(fmt.literal(hop.name))}**  \n:gray[:small[{_whole(role)}]]",
        "State": f":{look.color}-badge[:material/{look.icon}: {look.word}]",
        "What it says": fmt.literal(hop.sentence),
        "Behind": lag(hop.lag_seconds),
        "So far": fmt.literal(counts(hop)) or fmt.MISSING,
        "Last error": last_error(hop, now),
    }


def _whole(text: str) -> str:
    """Text that is not broken over lines."""
    return text.replace(" ", NO_BREAK)


def last_error(hop: Hop, now: datetime, *, limit: int = 120) -> str:
    """'3 h ago: S3 answered 503' (Markdown), cut at `limit`; what the sentence says already is not repeated."""
    if not hop.last_error or hop.last_error == hop.sentence:
        return fmt.MISSING
    text = hop.last_error if len(hop.last_error) <= limit else f"{hop.last_error[: limit - 1]}…"
    when = f"{fmt.relative(hop.last_error_at, now)}: " if hop.last_error_at else ""
    return f":small[{when}{fmt.literal(text)}]"
