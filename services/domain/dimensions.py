"""What a fraud rate can be broken down by, and the mapping file in which a data set of one's own says so. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.errors import InvalidData

UNKNOWN = "unknown"
ALL = "all"
# Not a column: the amount, in bands.
AMOUNT_BAND = "amount_band"
ATTRIBUTES = "attributes."
MAX_DIMENSIONS = 8
# Upper bounds (exclusive, minor units of a currency with two decimals) and the name of each band, ascending.
AMOUNT_BANDS: tuple[tuple[int | None, str], ...] = (
    (1_000, "<10"),
    (5_000, "10-50"),
    (20_000, "50-200"),
    (100_000, "200-1000"),
    (None, ">=1000"),
)
# Columns of `transactions` with few values, which alone make a chart readable.
COLUMNS = (
    "currency",
    "home_country",
    "segment",
    "card_bin",
    "card_network",
    "card_type",
    "issuer_country",
    "merchant_id",
    "merchant_name",
    "mcc",
    "category",
    "merchant_country",
    "terminal_id",
    "channel",
    "entry_mode",
    "email_domain",
    "user_agent_family",
    "decision",
    "model_version",
)
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ATTRIBUTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,63}")
# Columns of the rollup and of a drill-down that are no dimension, and SQL words a column had better not be called.
_RESERVED = frozenset(
    """hour minute cuboid day moment bucket first second value transactions amount_minor alerted alerted_amount_minor
    fraud fraud_amount_minor genuine matured amount_squared fraud_amount_squared transaction_id event_time currency
    customer_id merchant_name score decision alert_status label label_source all start end group order table""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Dimension:
    """`key` is the column of `rates_hourly`, `title` its name in words.

    `column` says where the value comes from: a column of `transactions`, `attributes.<name>`, or `amount_band`.
    An absent value is the string "unknown".
    """

    key: str
    title: str
    column: str


DEFAULT = (
    Dimension("category", "Category", "category"),
    Dimension("channel", "Channel", "channel"),
    Dimension("country", "Merchant country", "merchant_country"),
    Dimension("entry_mode", "Entry mode", "entry_mode"),
    Dimension("segment", "Customer segment", "segment"),
    Dimension("amount_band", "Amount", AMOUNT_BAND),
)


def parse(text: str) -> tuple[Dimension, ...]:
    """The dimensions of a mapping file (TOML), in its order. Without `[dimensions]` they are its categories and
    the amount, or the usual ones where it maps no data.

    `[dimensions]` holds `key = {column = "mcc", title = "Merchant code"}`; the title may be left out. Other sections
    are left to their readers. Raises InvalidData naming everything that is wrong.
    """
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidData(f"The mapping is not valid TOML: {error}.") from error
    table = whole.get("dimensions")
    if table is None:
        return _unnamed(whole)
    if not isinstance(table, dict):
        raise InvalidData("In the mapping, [dimensions] must be a table.")
    problems = [problem for key, value in table.items() for problem in _problems(key, value)]
    if not 1 <= len(table) <= MAX_DIMENSIONS:
        problems.append(f"there must be 1 to {MAX_DIMENSIONS} dimensions, not {len(table)}")
    if problems:
        raise InvalidData(f"The mapping's [dimensions] cannot be used: {'; '.join(problems)}.")
    return tuple(
        Dimension(key, str(value.get("title") or _title(key)), value["column"]) for key, value in table.items()
    )


def _unnamed(whole: Mapping[str, Any]) -> tuple[Dimension, ...]:
    features = whole.get("features")
    if "entities" not in whole:
        return DEFAULT
    named = features.items() if isinstance(features, dict) else ()
    categories = [(name, f) for name, f in named if isinstance(f, dict) and f.get("kind") == "category"]
    return of_categories([(name, str(f.get("title") or _title(name))) for name, f in categories])


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def of_categories(categories: Sequence[tuple[str, str]]) -> tuple[Dimension, ...]:
    """The dimensions of a data set whose mapping names none: its categories (name, title), as many as fit, and the
    amount."""
    fitting = [(name, title) for name, title in categories if name not in (*_RESERVED, AMOUNT_BAND)]
    chosen = tuple(Dimension(name, title, ATTRIBUTES + name) for name, title in fitting[: MAX_DIMENSIONS - 1])
    return (*chosen, Dimension(AMOUNT_BAND, "Amount", AMOUNT_BAND))


def as_json(dimensions: Sequence[Dimension]) -> list[dict[str, str]]:
    """What a snapshot of the rollup says about itself."""
    return [{"key": d.key, "title": d.title, "column": d.column} for d in dimensions]


def from_json(stored: Sequence[Mapping[str, str]]) -> tuple[Dimension, ...]:
    return tuple(Dimension(d["key"], d["title"], d["column"]) for d in stored)


def _problems(key: str, value: Any) -> list[str]:
    found = []
    if not _KEY.fullmatch(key) or key in _RESERVED:
        found.append(f"{key!r} cannot be a dimension's name (small letters, digits and _, and no word of the rollup)")
    column = value.get("column") if isinstance(value, dict) else None
    if not isinstance(column, str):
        found.append(f"{key} needs a column, as in {key} = {{column = 'mcc'}}")
    elif column.startswith(ATTRIBUTES):
        if not _ATTRIBUTE.fullmatch(column.removeprefix(ATTRIBUTES)):
            found.append(f"{key} names an attribute of signs that cannot be used: {column!r}")
    elif column not in (*COLUMNS, AMOUNT_BAND):
        found.append(f"{key} names {column!r}, which is neither a column with few values nor attributes.<name>")
    return found
