"""Checks of single fields of a transaction: a value in, None or what is wrong with it out. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from services.domain.money import holds_card_number, mask_card_numbers
from services.domain.states import Channel, EntryMode

ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
# 128 to 256 random bits in hex, with at least six letters among them.
DIGEST = re.compile(
    r"(?=(?:[^a-f]*[a-f]){6})(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
MAX_TEXT = 256
MAX_AMOUNT_MINOR = 10**12
CARD_NUMBER = "looks like a card number, which is never accepted; send a token"

Check = Callable[[Any], str | None]


def shown(value: Any) -> str:
    """A value as it may appear in a message: short, on one line, printable, without card numbers."""
    if isinstance(value, str):
        return f"'{plain(value)}'"
    if isinstance(value, int) and abs(value) >= 2**128:  # Python refuses to write those of some thousand digits
        return "a number of very many digits"
    if value is None or isinstance(value, bool | int | float):
        return f"'{plain(str(value))}'"
    return kind_of(value)


def plain(text: str) -> str:
    """At most 40 printable characters. A half of a surrogate pair or a NUL would not survive the way to the sender."""
    text = mask_card_numbers(" ".join(text[:200].split()))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 40 else text[:37] + "..."


def text(value: Any) -> str | None:
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}"
    if not value.strip():
        return "must not be empty"
    if len(value) > MAX_TEXT:
        return f"is {len(value):,} characters long; at most {MAX_TEXT} are allowed"
    if "\x00" in value:
        return "contains a NUL character"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "contains half of a surrogate pair, which is no character"
    if holds_card_number(value):
        return CARD_NUMBER
    return None


def identifier(value: Any) -> str | None:
    problem = text(value)
    # Random hex names hold digits that pass the check of card numbers by chance; no card number is written like that.
    if problem and not (problem is CARD_NUMBER and DIGEST.fullmatch(value)):
        return problem
    return None if ID_PATTERN.fullmatch(value) else "may hold only letters, digits and _ . : - (at most 64)"


def matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, str) and pattern.fullmatch(value):
            return None
        return f"must be {what}, got {shown(value)}"

    return check


def one_of(vocabulary: type[Channel] | type[EntryMode]) -> Check:
    allowed = tuple(str(member) for member in vocabulary)

    def check(value: Any) -> str | None:
        return None if value in allowed else f"must be one of {', '.join(allowed)}, got {shown(value)}"

    return check


def amount(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a whole number of minor units, not {kind_of(value)}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"must be a number, got {value}"
        return "must be a whole number of minor units without a fraction"
    if value < 0:
        return f"must not be negative, got {shown(value)}"
    return None if value <= MAX_AMOUNT_MINOR else f"is larger than {MAX_AMOUNT_MINOR:,}"


def exponent(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value in (0, 2, 3) else f"must be 0, 2 or 3, got {shown(value)}"


def degrees(limit: float) -> Check:
    def check(value: Any) -> str | None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and -limit <= value <= limit:
            return None
        return f"must be between -{limit:g} and {limit:g} degrees, got {shown(value)}"

    return check


def kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true/false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
