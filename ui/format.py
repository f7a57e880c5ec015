"""Numbers, times and names as a person reads them. No clock, no locale, no Streamlit.

Every function accepts None where the value can be missing and answers `MISSING`, so that an absent number can never be
read as zero. Totals of money are in the desk's own currency, which `speak_of` sets once a process.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.domain.kpi import Sum
from services.domain.transaction_rules import EXPONENTS

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "CHF": "CHF "}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


_totals: tuple[str, int] = ("EUR", 2)


def speak_of(currency: str, exponent: int) -> None:
    """Totals are sums of these minor units from now on; "" where payments have several currencies."""
    global _totals
    _totals = (currency, exponent)


def symbol(currency: str | None = None) -> str:
    """What stands before an amount: '€', 'SEK ', '' for no currency. None: of totals."""
    code = _totals[0] if currency is None else currency
    return _SYMBOLS.get(code, f"{code} " if code else "")


def units(minor: float) -> float:
    """A total in major units."""
    return minor / 10 ** _totals[1]


def exponent_of(currency: str) -> int:
    """Minor units of a currency where nobody says them: those of totals in theirs, else ISO 4217's."""
    return _totals[1] if currency == _totals[0] else EXPONENTS.get(currency, 2)


def minor(units: float) -> int:
    """Minor units of a total."""
    return round(units * 10 ** _totals[1])


def money(minor: int | None, currency: str | None = None, exponent: int | None = None) -> str:
    """Minor units with symbol and thousands: 123456 EUR -> '€1,234.56'. Unknown currencies keep their code in front.

    Without a currency and exponent: a total.
    """
    if minor is None:
        return MISSING
    exponent = _totals[1] if exponent is None else exponent
    whole, rest = divmod(abs(minor), 10**exponent)
    digits = f"{whole:,}" + (f".{rest:0{exponent}d}" if exponent else "")
    return f"{MINUS if minor < 0 else ''}{symbol(currency)}{digits}"


def money_short(minor: int | None, currency: str | None = None, exponent: int | None = None) -> str:
    """Money for a headline: three to four significant digits with k/M/B, '€1.24M'; below 10,000 whole units only.

    Without a currency and exponent: a total.
    """
    if minor is None:
        return MISSING
    sign = (MINUS if minor < 0 else "") + symbol(currency)
    whole = abs(minor) / 10 ** (_totals[1] if exponent is None else exponent)
    for limit, suffix in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if whole >= limit:
            scaled = whole / (1e3 if suffix == "k" else limit)
            return f"{sign}{scaled:,.{2 if scaled < 10 else 1}f}{suffix}"
    return f"{sign}{whole:,.0f}"


def several() -> bool:
    """Whether payments have different currencies, so that their amounts have no total."""
    return not _totals[0]


def sums(parts: Sequence[Sum]) -> str:
    """Totals by currency, '$2.60M, €1.2k': the first three, and how many more there are. Nothing is a plain 0."""
    if not parts:
        return money_short(0)
    said = [money_short(part.amount_minor, part.currency, part.exponent) for part in parts[:3]]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"{', '.join(said)}{more}"


def count(value: int | None, *, cap: int | None = None) -> str:
    """Thousands separated; at or above `cap` the number is a lower bound and says so: '10,000+'."""
    if value is None:
        return MISSING
    if cap is not None and value >= cap:
        return f"{cap:,}+"
    return f"{value:,}".replace("-", MINUS)


def bps(value: float | None) -> str:
    """Basis points to one decimal with the unit: '12.3 bps'."""
    return MISSING if value is None else f"{value:,.1f} bps".replace("-", MINUS)


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage: 0.1234 -> '12.3 %'."""
    return MISSING if share is None else f"{share * 100:,.{digits}f} %".replace("-", MINUS)


def score(value: float | None) -> str:
    """A model score in [0, 1] to three decimals; an absent score is 'Not scored', never 0."""
    return "Not scored" if value is None else f"{value:.3f}"


def signed(value: float | None, *, digits: int = 1, unit: str = "") -> str:
    """A difference with its sign: '+1.2 bps', a true minus sign below zero, '±0.0 bps' when it rounds to nothing."""
    if value is None:
        return MISSING
    rounded = round(value, digits)
    sign = "±" if rounded == 0 else "+" if rounded > 0 else MINUS
    return f"{sign}{abs(rounded):,.{digits}f}{' ' + unit if unit else ''}"


def change(current: float | None, former: float | None) -> str | None:
    """Relative change between two periods: '+12.3 %'; None where there is nothing to compare with."""
    if current is None or former is None or former == 0:
        return None
    return signed((current - former) / abs(former) * 100, digits=1, unit="%")


def duration(seconds: float | None) -> str:
    """The largest unit that fits, rounded down: '45 s', '12 min', '3 h', '8 d'."""
    if seconds is None:
        return MISSING
    whole = int(abs(seconds))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def milliseconds(value: float | None) -> str:
    """Latency: one decimal below 10 ms, whole above, seconds from 10 s."""
    if value is None:
        return MISSING
    if value >= 10_000:
        return f"{value / 1000:,.1f} s"
    return f"{value:,.1f} ms" if value < 10 else f"{value:,.0f} ms"


def relative(at: datetime | None, now: datetime) -> str:
    """'just now' within 5 s, '12 min ago', 'in 3 h'. Both times are aware."""
    if at is None:
        return MISSING
    seconds = (now - at).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    return f"{duration(seconds)} ago" if seconds > 0 else f"in {duration(seconds)}"


def due(at: datetime | None, now: datetime) -> str:
    """What is left of the time promised for an alert: 'in 3 h', 'overdue 12 min'."""
    if at is None:
        return MISSING
    left = (at - now).total_seconds()
    return f"in {duration(left)}" if left >= 0 else f"overdue {duration(left)}"


def utc(at: datetime | None) -> str:
    """The exact moment, for tooltips and audit: '2026-11-22 14:02:11 UTC'."""
    return MISSING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: datetime | None, now: datetime | None = None, *, seconds: bool = False) -> str:
    """Time of day in UTC, with the date in front when `now` is on another day: '14:02 UTC', '21 Nov 14:02 UTC'."""
    if at is None:
        return MISSING
    moment = at.astimezone(UTC)
    time = f"{moment:%H:%M:%S}" if seconds else f"{moment:%H:%M}"
    other_day = now is not None and now.astimezone(UTC).date() != moment.date()
    return f"{moment.day} {moment:%b} {time} UTC" if other_day else f"{time} UTC"


def span(delta: timedelta) -> str:
    return duration(delta.total_seconds())


def short_id(identifier: str | None, *, keep: int = 14) -> str:
    """Long ids lose their middle, not their ends: 'txn_01J8…7QX2'. `keep` is the length of the result."""
    if not identifier:
        return MISSING
    if len(identifier) <= keep:
        return identifier
    tail = (keep - 1) // 2 if keep < 12 else 4
    return f"{identifier[: keep - 1 - tail]}…{identifier[-tail:]}"


def word(code: str | None) -> str:
    """A code of ours as a word: 'grocery_store' -> 'Grocery store'."""
    if not code:
        return MISSING
    text = code.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def literal(text: str | None) -> str:
    """Data inside Markdown: punctuation escaped and line breaks flattened, so that a name stays a name."""
    if text is None:
        return MISSING
    return _PUNCTUATION.sub(r"\\\1", " ".join(str(text).split()))
