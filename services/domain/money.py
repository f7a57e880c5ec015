"""Money is an integer of minor units with an ISO 4217 currency and its exponent; card numbers are never kept."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MIN_DIGITS, _MAX_DIGITS = 13, 19
# Groups of digits, one space or dash apart: "4111 1111 1111 1111 123" is one run of five groups.
_RUN = re.compile(r"\d+(?:[ \u00a0-]\d+)*")
_GROUP = re.compile(r"\d+")
# A hash or random id of 128, 160 or 256 bits in small hexadecimal letters; one in 8,000 of those of 128 has by chance
# digits in a row that pass the check.
_DIGEST = re.compile(r"(?=(?:\d*[a-f]){4})(?:[\da-f]{32}|[\da-f]{40}|[\da-f]{64})", re.ASCII)
_WORD = re.compile(r"[^\W_]*")


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
    Digits within a hash are none.
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
        if run.end() - run.start() < _MIN_DIGITS or _in_digest(text, *run.span()):
            continue
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        first = 0
        while first < len(groups):
            last = _last_group(text, groups, first)
            if last is not None:
                yield groups[first][0], groups[last][1]
            first = first + 1 if last is None else last + 1


def _in_digest(text: str, first: int, end: int) -> bool:
    """Whether the word around text[first:end], as far as letters and digits reach, is a hash that holds all of it."""
    start = first
    while start > 0 and text[start - 1].isalnum() and first - start < 64:
        start -= 1
    word = _WORD.match(text, start)
    return word is not None and word.end() >= end and _DIGEST.fullmatch(word[0]) is not None


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
