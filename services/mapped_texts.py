"""Columns of a source -> names, categories, flags and verdicts, each with what is wrong in which row. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.domain.field_checks import DIGEST, ID_PATTERN, MAX_TEXT, shown
from services.domain.mapping import label_word
from services.domain.money import holds_card_number
from services.mapped_values import Column

CARD_NUMBER = "looks like a card number, which is never kept; name the column under tokenise"
_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
_FLAGS = {"1": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "0": 0.0, "no": 0.0, "n": 0.0, "f": 0.0}


def _each(column: pa.Array, convert: Callable[[str], tuple[str | None, str | None]]) -> Column:
    """Texts through `convert` (-> value, problem), each different text once. Missing stays null."""
    if pa.types.is_nested(column.type):
        wrong_type = f"is {'an object' if pa.types.is_struct(column.type) else 'a list'}, not a value"
        there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        return Column(pa.nulls(len(column), pa.string()), dict.fromkeys(map(int, there), wrong_type))
    encoded = texts(column).dictionary_encode()
    made = [convert(text) for text in encoded.dictionary.to_pylist()]
    values = pa.array([value for value, _ in made], pa.string()).take(encoded.indices)
    wrong = {number: problem for number, (_, problem) in enumerate(made) if problem}
    problems: dict[int, str] = {}
    if wrong:
        for index, number in enumerate(encoded.indices.to_pylist()):
            if number in wrong:
                problems[index] = wrong[number]
    return Column(values, problems)


def texts(column: pa.Array) -> pa.Array:
    """Trimmed text, null where empty. A number that is whole is written without a fraction, whatever kind of file it
    comes from: 321.0 is 321. Bytes are their text in UTF-8, or hexadecimal where they are none."""
    kind = column.type
    if pa.types.is_floating(kind):
        cells = [
            None if v is None or v != v else str(int(v)) if v.is_integer() else repr(v) for v in column.to_pylist()
        ]
        return pa.array(cells, pa.string())
    if pa.types.is_nested(kind):
        return pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        column = pa.array([None if v is None else _bytes_text(v) for v in column.to_pylist()], pa.string())
    trimmed = pc.utf8_trim_whitespace(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    whole = pc.replace_substring_regex(trimmed, r"^(-?[0-9]{1,19})\.0+$", r"\1")
    return pc.if_else(pc.equal(whole, ""), pa.scalar(None, pa.string()), whole)


def _bytes_text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()


def as_id(text: str) -> str:
    """A name that the front door takes: the text itself where it does, else its readable part with a hash of it all."""
    if ID_PATTERN.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_.:-]+", "_", text)[:40].strip("_")
    return f"{readable}-{letters(hashlib.blake2b(text.encode(), digest_size=8).hexdigest())}".lstrip("-")


def joined_id(parts: Sequence[str | None]) -> str | None:
    """One name of several, missing only where all of them are: 8072:117::226, readable wherever no part has a colon."""
    if not any(parts):
        return None
    if any(part and ":" in part for part in parts):
        return as_id("|".join(part or "" for part in parts))
    return as_id(":".join(part or "" for part in parts))


def letters(digest: str) -> str:
    """A hex digest in letters only, which no check takes for a card number."""
    return digest.encode().translate(_LETTERS).decode()


def token(text: str, key: bytes) -> str:
    """What stands for a card number: HMAC-SHA256 of its digits (or of the text, where it has none), 128 bits of it."""
    bare = re.sub(r"[\s-]", "", text)
    return "tok_" + letters(hmac.new(key, bare.encode(), hashlib.sha256).hexdigest()[:32])


def names(column: pa.Array, *, key: bytes | None) -> Column:
    """Ids of entities or transactions. With a `key` every value is replaced by its token."""
    if key is not None:
        return _each(column, lambda text: (token(text, key), None))
    return _each(column, lambda text: (None, CARD_NUMBER) if _is_card(text) else (as_id(text), None))


def _is_card(text: str) -> bool:
    return len(text) > 12 and not DIGEST.fullmatch(text) and holds_card_number(text)


def words(column: pa.Array, *, key: bytes | None) -> Column:
    """Categories and texts, at most MAX_TEXT long."""
    if key is not None:
        return names(column, key=key)

    def convert(text: str) -> tuple[str | None, str | None]:
        if len(text) > MAX_TEXT:
            return None, f"is {len(text):,} characters long; at most {MAX_TEXT} are allowed"
        return (None, CARD_NUMBER) if len(text) > 12 and holds_card_number(text) else (text, None)

    return _each(column, convert)


def flags(column: pa.Array) -> Column:
    """1.0 or 0.0; true/false, yes/no, t/f, y/n and 1/0 in any case."""
    made = _each(
        column,
        lambda text: (
            (label_word(text), None) if label_word(text) in _FLAGS else (None, f"must be yes or no, got {shown(text)}")
        ),
    )
    values = [None if word is None else _FLAGS[word] for word in made.values.to_pylist()]
    return Column(pa.array(values, pa.float64()), made.problems)


def verdicts(column: pa.Array, fraud: tuple[str, ...]) -> Column:
    """int8: 1 fraud, 0 genuine, null unknown (missing)."""
    made = _each(column, lambda text: (str(int(label_word(text) in fraud)), None))
    return Column(made.values.cast(pa.int8()), made.problems)
