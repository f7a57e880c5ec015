"""The rules a transaction must meet at the door. Pure: record in, document and problems out.

Every problem of a record is reported, not only the first, and nothing a caller sent is repeated in a message at
length: values are shortened and card numbers masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.domain.field_checks import (
    CARD_NUMBER,
    ID_PATTERN,
    MAX_AMOUNT_MINOR,
    Check,
    amount,
    degrees,
    exponent,
    identifier,
    kind_of,
    matching,
    one_of,
    plain,
    shown,
    text,
)
from services.domain.mapping_parts import Mapping
from services.domain.money import holds_card_number
from services.domain.states import Channel, EntryMode
from services.errors import Problem

__all__ = [
    "CLOCK_SKEW",
    "DEMO_RULES",
    "EXPONENTS",
    "ID_PATTERN",
    "MAX_AMOUNT_MINOR",
    "OLDEST",
    "Rules",
    "check_transaction",
    "plain",
    "rules_of",
    "shown",
]

MAX_ATTRIBUTES = 64
CLOCK_SKEW = timedelta(minutes=5)
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_CURRENCY = re.compile(r"[A-Z]{3}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_SECRETS = {"cvv", "cvv2", "cvc", "cvc2", "cid", "pan", "card_number", "cardnumber", "pin", "track1", "track2"}
# Minor-unit exponents that differ from 2 (ISO 4217).
EXPONENTS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "BHD": 3, "KWD": 3, "OMR": 3, "JOD": 3, "TND": 3}


_PLACE: AnyMapping[str, tuple[Check, bool]] = {"lon": (degrees(180), True), "lat": (degrees(90), True)}
_CODE = matching(_COUNTRY, "a two-letter country code")
# field -> (check, required); a nested mapping is a nested object.
_SHAPE: AnyMapping[str, Any] = {
    "transaction_id": (identifier, True),
    "amount_minor": (amount, True),
    "currency": (matching(_CURRENCY, "a three-letter currency code"), True),
    "exponent": (exponent, False),
    "customer_id": (identifier, True),
    "customer": ({"home_country": (_CODE, False), "home": (_PLACE, False), "segment": (text, False)}, False),
    "card": (
        {
            "token": (identifier, True),
            "bin": (matching(re.compile(r"\d{6}|\d{8}"), "6 or 8 digits"), True),
            "last4": (matching(re.compile(r"\d{4}"), "4 digits"), True),
            "network": (text, False),
            "type": (text, False),
            "issuer_country": (_CODE, False),
        },
        True,
    ),
    "merchant": (
        {
            "id": (identifier, True),
            "name": (text, True),
            "mcc": (matching(re.compile(r"\d{4}"), "a four-digit category code"), True),
            "category": (text, True),
            "country": (_CODE, True),
            "location": (_PLACE, False),
        },
        True,
    ),
    "terminal_id": (identifier, False),
    "channel": (one_of(Channel), True),
    "entry_mode": (one_of(EntryMode), True),
    "device": (
        {
            "id": (identifier, True),
            "ip": (text, False),
            "email_domain": (text, False),
            "user_agent_family": (text, False),
        },
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a record must and may hold: field -> (check, required); a nested mapping is a nested object."""

    shape: AnyMapping[str, Any]


def rules_of(mapping: Mapping | None) -> Rules:
    """The demo's rules where no data set is mapped. With a mapping a merchant and a card are required where it names
    them, by their id and token; what a source seldom has (a merchant's name and codes, a card's digits, the channel,
    the entry mode) may be absent. Whatever is there is checked as strictly.
    """
    if mapping is None:
        return DEMO_RULES
    shape = dict(_SHAPE)
    for field, name in (("merchant", "id"), ("card", "token")):
        named = field in mapping.entities
        parts = {part: (check, named and part == name) for part, (check, _) in _SHAPE[field][0].items()}
        shape[field] = (parts, named)
    shape |= {field: (_SHAPE[field][0], False) for field in ("channel", "entry_mode")}
    return Rules(shape)


DEMO_RULES = Rules(_SHAPE)


def check_transaction(
    record: Any, *, row: int, now: datetime, rules: Rules = DEMO_RULES
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """One record of a batch -> (the document to store, []) or (None, every problem found).

    `event_time` may be an aware datetime or ISO 8601 text with an offset; it must not lie more than CLOCK_SKEW in
    the future nor before 2000. `received_at` is set to `now`. Unknown fields are problems: extras belong in
    `attributes`.
    """
    if not isinstance(record, AnyMapping):
        return None, [Problem(row, "", f"must be an object, not {kind_of(record)}")]
    problems: list[Problem] = []
    document = _object(record, rules.shape, "", row, problems, also=("event_time", "attributes", "received_at"))
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
    record: AnyMapping[Any, Any],
    shape: AnyMapping[str, Any],
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
        elif isinstance(rule, AnyMapping):
            if isinstance(value, AnyMapping):
                out[name] = _object(value, rule, f"{prefix}{name}.", row, problems)
            else:
                problems.append(Problem(row, prefix + name, f"must be an object, not {kind_of(value)}"))
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
        return None, f"must be a date and time, not {kind_of(value)}"
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
    if not isinstance(attributes, AnyMapping):
        return [("attributes", f"must be an object, not {kind_of(attributes)}")]
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
            problem = text(value) if value else None
        elif isinstance(value, bool) or value is None:
            problem = None
        elif isinstance(value, int | float):
            problem = _attribute_number(value)
        else:
            problem = f"must be text, a number or a flag, not {kind_of(value)}"
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
        return CARD_NUMBER
    return None


def _unknown(name: str) -> str:
    if name.startswith("$") or "." in name:
        return "is not an allowed field name (no leading $ and no dots)"
    return "is not a known field; put it under attributes"
