"""Money is an integer of minor units with an ISO 4217 currency and its exponent; card numbers are never kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MIN_DIGITS, _MAX_DIGITS = 13, 19
# Groups of digits, one space or dash apart: "4111 1111 1111 1111 123" is one run of five groups.
_RUN = re.compile(r"\d+(?:[ \u00a0-]\d+)*")
_GROUP = re.compile(r"\d+")


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
    """Whether whole groups of digits, a space or dash apart, make 13 to 19 digits that pass the Luhn check.

    Every stretch of neighbouring groups counts, so an expiry date or a security code after the number hides nothing.
    """
    return len(text) >= _MIN_DIGITS and next(_card_numbers(text), None) is not None


def mask_card_numbers(text: str) -> str:
    """The text with every card number replaced; for error messages and logs."""
    kept, done = [], 0
    for start, end in _card_numbers(text):
        kept += [text[done:start], "[card number]"]
        done = end
    return "".join([*kept, text[done:]])


def _card_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Where they stand, from left to right and without overlap; of several at one place the longest."""
    for run in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        first = 0
        while first < len(groups):
            last = _last_group(text, groups, first)
            if last is not None:
                yield groups[first][0], groups[last][1]
            first = first + 1 if last is None else last + 1


def _last_group(text: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The last group of the longest card number that begins with group `first`."""
    digits, found = "", None
    for index in range(first, len(groups)):
        start, end = groups[index]
        digits += text[start:end]
        if len(digits) > _MAX_DIGITS:
            break
        if len(digits) >= _MIN_DIGITS and len(set(digits)) > 1 and luhn_holds(digits):
            found = index
    return found
