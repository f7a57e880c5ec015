"""Money is an integer of minor units with an ISO 4217 currency and its exponent; card numbers are never kept."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")


def luhn_holds(digits: str) -> bool:
    """ISO/IEC 7812-1 check digit over a string of decimal digits."""
    total = 0
    for position, character in enumerate(reversed(digits)):
        value = int(character)
        if position % 2 == 1:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def holds_card_number(text: str) -> bool:
    """Whether the text contains 13 to 19 digits (spaces or dashes between allowed) that pass the Luhn check."""
    for match in _DIGITS.finditer(text):
        digits = re.sub(r"[ -]", "", match.group())
        if luhn_holds(digits) and len(set(digits)) > 1:
            return True
    return False


def mask_card_numbers(text: str) -> str:
    """The text with every card number replaced; for error messages and logs."""
    return _DIGITS.sub(lambda m: "[card number]" if holds_card_number(m.group()) else m.group(), text)
