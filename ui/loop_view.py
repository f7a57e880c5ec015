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
    HopState.PAUSED: Look("Paused", "pause_circle", "orange"),
    HopState.DOWN: Look("Down", "cancel", "red"),
    HopState.IDLE: Look("Idle", "radio_button_unchecked", "gray"),
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
    """One sentence over the loop. Down outweighs paused, paused outweighs lagging; idle hops count as working."""
    down = [hop for hop in hops if hop.state is HopState.DOWN]
    paused = [hop for hop in hops if hop.state is HopState.PAUSED]
    lagging = [hop for hop in hops if hop.state is HopState.LAGGING]
    working = len(hops) - len(down) - len(paused) - len(lagging)
    rest = f"{working} of {len(hops)} hops work."
    if not hops:
        return Verdict(HopState.DOWN, "Nothing is known about the loop", "No hop has reported.")
    if down:
        return Verdict(HopState.DOWN, f"The loop is broken at {listed([h.name for h in down])}", rest)
    if paused:
        return Verdict(HopState.PAUSED, f"The loop is paused at {listed([h.name for h in paused])}", rest)
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


def rate(per_second: float | None) -> str:
    """'2.1/s', by the minute below one a second: '12/min'; 0 is said, not known is not."""
    if per_second is None:
        return fmt.MISSING
    if per_second >= 0.95:
        return f"{per_second:,.1f}/s" if per_second < 100 else f"{per_second:,.0f}/s"
    return f"{per_second * 60:.0f}/min" if per_second * 60 >= 0.95 or per_second == 0 else "<1/min"


def behind(hop: Hop) -> str:
    """'31 s · 64 events'; what is not known is left out."""
    events = "" if not hop.lag_events else f"{fmt.count(hop.lag_events)} event{'' if hop.lag_events == 1 else 's'}"
    seconds = "" if hop.lag_seconds is None else lag(hop.lag_seconds)
    return " · ".join(part for part in (seconds, events) if part) or fmt.MISSING


def station(hop: Hop) -> tuple[str, str, str]:
    """The hop in the line of the loop (Markdown): its name, its state, and its two figures.

    A hop that has neither says what it has to say.
    """
    look = LOOKS[hop.state]
    icon, _ = ROLES.get(hop.key, ("settings_ethernet", ""))
    name = f":material/{icon}: **{_whole(fmt.literal(hop.name))}**"
    state = f":{look.color}-badge[:material/{look.icon}: {look.word}]"
    figures = [_whole(part) for part in (behind(hop), rate(hop.per_second)) if part != fmt.MISSING]
    return name, state, "  \n".join(figures) or fmt.literal(hop.sentence)


def row(hop: Hop, now: datetime) -> dict[str, str]:
    """One line of the table (Markdown cells)."""
    look = LOOKS[hop.state]
    icon, role = ROLES.get(hop.key, ("settings_ethernet", ""))
    return {
        "Hop": f":material/{icon}: **{_whole(fmt.literal(hop.name))}**  \n:gray[:small[{_whole(role)}]]",
        "State": f":{look.color}-badge[:material/{look.icon}: {look.word}]",
        "What it says": fmt.literal(hop.sentence),
        "Behind": _whole(lag(hop.lag_seconds)),
        "Rate": _whole(rate(hop.per_second)),
        "In": fmt.count(hop.flow.taken),
        "Out": fmt.count(hop.flow.handed),
        "Waiting": fmt.count(hop.flow.waiting),
        "Quarantined": fmt.count(hop.flow.quarantined),
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
