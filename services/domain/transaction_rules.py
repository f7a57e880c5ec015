"""The rules a transaction must meet at the door. Pure: record in, document and problems out.

Every problem of a record is reported, not only the first, and nothing a caller sent is repeated in a message at
length: values are shortened and card numbers masked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.domain.money import holds_card_number, mask_card_numbers
from services.domain.states import Channel, EntryMode
from services.errors import Problem

ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# 128 to 256 random bits in hex, with at least six letters among them.
DIGEST = re.compile(
    r"(?=(?:[^a-f]*[a-f]){6})(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
MAX_TEXT = 256
MAX_ATTRIBUTES = 64
MAX_AMOUNT_MINOR = 10**12
CLOCK_SKEW = timedelta(minutes=5)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_SECRETS = {"cvv", "cvv2", "cvc", "cvc2", "cid", "pan", "card_number", "cardnumber", "pin", "track1", "track2"}
# Minor-unit exponents that differ from 2 (ISO 4217).
EXPONENTS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "KWD": 3, "OMR": 3, "JOD": 3, "TND": 3}

_CARD_NUMBER = "looks like a card number, which is never accepted; send a token"

Check = Callable[[Any], str | None]


def shown(value: Any) -> str:
    """A value as it may appear in a message: short, on one line, printable, without card numbers."""
    if isinstance(value, str):
        return f"'{plain(value)}'"
    if isinstance(value, int) and abs(value) >= 2**128:  # Python refuses to write those of some thousand digits
        return "a number of very many digits"
    if value is None or isinstance(value, bool | int | float):
        return f"'{plain(str(value))}'"
    return _kind(value)


def plain(text: str) -> str:
    """At most 40 printable characters. A half of a surrogate pair or a NUL would not survive the way to the sender."""
    text = mask_card_numbers(" ".join(text[:200].split()))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 40 else text[:37] + "..."


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be text, not {_kind(value)}"
    if not value.strip():
        return "must not be empty"
    if len(value) > MAX_TEXT:
        return f"is {len(value):,} characters long; at most {MAX_TEXT} are allowed"
    if "\x00" in value:
        return "contains a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "contains half of a surrogate pair, which is no character"
    if holds_card_number(value):
        return _CARD_NUMBER
    return None


def _identifier(value: Any) -> str | None:
    problem = _text(value)
    # Random hex names hold digits that pass the check of card numbers by chance; no card number is written like that.
    if problem and not (problem is _CARD_NUMBER and DIGEST.fullmatch(value)):
        return problem
    return None if ID_PATTERN.fullmatch(value) else "may hold only letters, digits and _ . : - (at most 64)"


def _matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, str) and pattern.fullmatch(value):
            return None
        return f"must be {what}, got {shown(value)}"

    return check


def _one_of(kind: type[Channel] | type[EntryMode]) -> Check:
    allowed = tuple(str(member) for member in kind)

    def check(value: Any) -> str | None:
        return None if value in allowed else f"must be one of {', '.join(allowed)}, got {shown(value)}"

    return check


def _amount(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a whole number of minor units, not {_kind(value)}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"must be a number, got {value}"
        return "must be a whole number of minor units without a fraction"
    if value < 0:
        return f"must not be negative, got {shown(value)}"
    return None if value <= MAX_AMOUNT_MINOR else f"is larger than {MAX_AMOUNT_MINOR:,}"


def _exponent(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value in (0, 2, 3) else f"must be 0, 2 or 3, got {shown(value)}"


def _degrees(limit: float) -> Check:
    def check(value: Any) -> str | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and -limit <= value <= limit:
            return None
        return f"must be between -{limit:g} and {limit:g} degrees, got {shown(value)}"

    return check


_PLACE: Mapping[str, tuple[Check, bool]] = {"lon": (_degrees(180), True), "lat": (_degrees(90), True)}
_CODE = _matching(_COUNTRY, "a two-letter country code")
# field -> (check, required); a nested mapping is a nested object.
_SHAPE: Mapping[str, Any] = {
    "transaction_id": (_identifier, True),
    "amount_minor": (_amount, True),
    "currency": (_matching(_CURRENCY, "a three-letter currency code"), True),
    "exponent": (_exponent, False),
    "customer_id": (_identifier, True),
    "customer": ({"home_country": (_CODE, False), "home": (_PLACE, False), "segment": (_text, False)}, False),
    "card": (
        {
            "token": (_identifier, True),
            "bin": (_matching(re.compile(r"\d{6}|\d{8}"), "6 or 8 digits"), True),
            "last4": (_matching(re.compile(r"\d{4}"), "4 digits"), True),
            "network": (_text, False),
            "type": (_text, False),
            "issuer_country": (_CODE, False),
        },
        True,
    ),
    "merchant": (
        {
            "id": (_identifier, True),
            "name": (_text, True),
            "mcc": (_matching(re.compile(r"\d{4}"), "a four-digit category code"), True),
            "category": (_text, True),
            "country": (_CODE, True),
            "location": (_PLACE, False),
        },
        True,
    ),
    "terminal_id": (_identifier, False),
    "channel": (_one_of(Channel), True),
    "entry_mode": (_one_of(EntryMode), True),
    "device": (
        {
            "id": (_identifier, True),
            "ip": (_text, False),
            "email_domain": (_text, False),
            "user_agent_family": (_text, False),
        },
        False,
    ),
}


def check_transaction(record: Any, *, row: int, now: datetime) -> tuple[dict[str, Any] | None, list[Problem]]:
    """One record of a batch -> (the document to store, []) or (None, every problem found).

    `event_time` may be an aware datetime or ISO 8601 text with an offset; it must not lie more than CLOCK_SKEW in
    the future nor before 2000. `received_at` is set to `now`. Unknown fields are problems: extras belong in
    `attributes`.
    """
    if not isinstance(record, Mapping):
        return None, [Problem(row, "", f"must be an object, not {_kind(record)}")]
    problems: list[Problem] = []
    document = _object(record, _SHAPE, "", row, problems, also=("event_time", "attributes", "received_at"))
    moment, trouble = _moment(record.get("event_time"), now)
    if trouble:
        problems.append(Problem(row, "event_time", trouble))
    attributes = record.get("attributes", {})
    problems += [Problem(row, field, message) for field, message in _attribute_problems(attributes)]
    if problems:
        return None, problems
    document["_id"] = document.pop("transaction_id")
    document["event_time"], document["received_at"] = moment, now
    document.setdefault("exponent", EXPONENTS.get(document["currency"], 2))
    document["attributes"] = dict(attributes)
    document["version"] = 1
    return document, []


def _object(
    record: Mapping[Any, Any],
    shape: Mapping[str, Any],
    prefix: str,
    row: int,
    problems: list[Problem],
    *,
    also: tuple[str, ...] = (),
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key in record:
        name = key if isinstance(key, str) else repr(key)
        if name.lower() in _SECRETS:
            problems.append(
                Problem(row, prefix + plain(name), "is card data that must never be sent; nothing of it was kept")
            )
        elif key not in shape and key not in also:
            problems.append(Problem(row, prefix + plain(name), _unknown(name)))
    for name, (rule, required) in shape.items():
        value = record.get(name)
        if value is None:
            if required:
                problems.append(Problem(row, prefix + name, "is missing"))
        elif isinstance(rule, Mapping):
            if isinstance(value, Mapping):
                out[name] = _object(value, rule, f"{prefix}{name}.", row, problems)
            else:
                problems.append(Problem(row, prefix + name, f"must be an object, not {_kind(value)}"))
        elif problem := rule(value):
            problems.append(Problem(row, prefix + name, problem))
        else:
            out[name] = value
    return out


def _moment(value: Any, now: datetime) -> tuple[datetime | None, str | None]:
    if value is None:
        return None, "is missing"
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip()[:40])
        except ValueError:
            return None, f"must be a date and time like 2026-01-31T12:00:00Z, got {shown(value)}"
    if not isinstance(value, datetime):
        return None, f"must be a date and time, not {_kind(value)}"
    if value.tzinfo is None:
        return None, "must carry an offset from UTC (for example a final Z)"
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        return None, "is out of range"
    value = value.replace(microsecond=value.microsecond // 1000 * 1000)
    if value > now + CLOCK_SKEW:
        return None, f"lies in the future ({value:%Y-%m-%d %H:%M} UTC)"
    if value < OLDEST:
        return None, f"lies before {OLDEST:%Y} ({value:%Y-%m-%d})"
    return value, None


def _attribute_problems(attributes: Any) -> list[tuple[str, str]]:
    if not isinstance(attributes, Mapping):
        return [("attributes", f"must be an object, not {_kind(attributes)}")]
    found: list[tuple[str, str]] = []
    if len(attributes) > MAX_ATTRIBUTES:
        found.append(("attributes", f"has {len(attributes)} entries; at most {MAX_ATTRIBUTES} are allowed"))
    for key, value in list(attributes.items())[: MAX_ATTRIBUTES + 1]:
        name = key if isinstance(key, str) else repr(key)
        field = f"attributes.{plain(name)}"
        if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_ -]{1,64}", key):
            found.append((field, _unknown(name) if name.startswith("$") else "has a name that is not allowed"))
        if name.lower() in _SECRETS or holds_card_number(name):
            found.append((field, "is card data that must never be sent; nothing of it was kept"))
        if isinstance(value, str):
            problem = _text(value) if value else None
        elif isinstance(value, bool) or value is None:
            problem = None
        elif isinstance(value, int | float):
            problem = _attribute_number(value)
        else:
            problem = f"must be text, a number or a flag, not {_kind(value)}"
        if problem:
            found.append((field, problem))
    return found


def _attribute_number(value: float) -> str | None:
    """Numbers that a double holds exactly. A card number can come as a number: those begin with 2 to 6 (ISO/IEC 7812),
    times in milli- or microseconds since 1970, which have as many digits, with 1.
    """
    if not abs(value) < 2**53:
        return "must be a finite number below 2^53"
    digits = str(int(abs(value)))
    if value == int(value) and digits[0] in "23456" and holds_card_number(digits):
        return _CARD_NUMBER
    return None


def _unknown(name: str) -> str:
    if name.startswith("$") or "." in name:
        return "is not an allowed field name (no leading $ and no dots)"
    return "is not a known field; put it under attributes"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true/false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
