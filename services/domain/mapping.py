"""What the columns of somebody's own data mean: the mapping file (TOML), parsed and checked. Pure.

name = "Card payments"             # what it is called
id = "trans_num"                   # left out: ids are made from each row's content
tokenise = ["cc_num"]              # columns of card numbers: only a keyed hash of a value is ever kept or shown
decimal = ","                      # of numbers in CSV; a point where left out
[time]
column = "step"
kind = "number"                    # "datetime" (the usual): text or timestamps; "number": units since the origin
unit = "h"                         # s (the usual), ms, h or d
origin = 2024-01-01T00:00:00Z      # 1970 where left out
zone = "Europe/Berlin"             # of datetimes without an offset; UTC where left out
format = "%d/%m/%Y %H:%M"          # of datetime text that is not ISO 8601
[amount]
column = "amt"
currency = "USD"                   # or currency_column = "..."
exponent = 2                       # minor units; left out: what ISO 4217 says of the currency
minor = false                      # true: the column already counts minor units
[entities]                         # the first one pays; customer is required; several columns name one together
customer = "cc_num"
merchant = "merchant"
[places]                           # longitude, latitude
merchant = ["merch_long", "merch_lat"]
[label]
column = "is_fraud"
fraud = [1]                        # every other value is genuine, an empty cell is unknown
delay_days = 7                     # or known_at = "column"; neither: the data do not say when a label was known
most_ap = { 1 = 0.96, 7 = 0.8 }    # days until labels are known: more than no average precision can be; or left out
[features.category]
column = "category"
kind = "category"                  # number, category, flag or text
title = "Merchant category"        # left out: from the name
unit = ""
optional = false                   # true: a file without the column is read as if all its cells were empty
[dimensions]                       # services.domain.dimensions
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from services.domain import dimensions, mapping_checks
from services.domain.dimensions import Dimension
from services.domain.mapping_checks import Section
from services.domain.mapping_parts import (
    DOCUMENT_KINDS,
    PLACES,
    AmountColumn,
    FeatureKind,
    LabelColumn,
    Mapping,
    PlainFeature,
    TimeColumn,
    TimeKind,
    TimeUnit,
    canonical_columns,
    label_word,
)
from services.domain.transaction_rules import EXPONENTS
from services.errors import InvalidData, Problem

__all__ = [
    "DOCUMENT_KINDS",
    "PLACES",
    "AmountColumn",
    "FeatureKind",
    "LabelColumn",
    "Mapping",
    "PlainFeature",
    "TimeColumn",
    "TimeKind",
    "TimeUnit",
    "canonical_columns",
    "desk_mapping",
    "file_text",
    "label_word",
    "maps_data",
    "read_mapping",
    "totals_currency",
]

# Sections and keys that make a file a mapping of data; one that has none of them only says dimensions.
_DATA = ("name", "id", "tokenise", "decimal", "time", "amount", "entities", "places", "label", "features")
# What a document's attributes may hold (services.domain.transaction_rules.MAX_ATTRIBUTES).
MAX_ATTRIBUTES = 64


def read_mapping(source: str | Path) -> Mapping:
    """The mapping in a file (a Path) or in a text. Raises InvalidData that lists every problem, not only the first."""
    text = file_text(source) if isinstance(source, Path) else source
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidData(f"The mapping is not valid TOML: {error}.") from error
    problems: list[str] = []
    mapping = _parsed(Section(table, "", problems), text)
    if mapping is not None and not problems:
        problems += _across(mapping)
    if problems or mapping is None:
        listed = [Problem(number, "", problem) for number, problem in enumerate(problems)]
        raise InvalidData(f"The mapping cannot be used: {'; '.join(problems)}.", listed)
    return mapping


def desk_mapping(path: Path | None) -> Mapping | None:
    """The mapping of the desk's own data; None where no file is named, or where it only says dimensions."""
    if path is None:
        return None
    text = file_text(path)
    return read_mapping(text) if maps_data(text) else None


def totals_currency(mapping: Mapping | None) -> tuple[str, int]:
    """The currency of sums over all payments and its exponent; "" where each payment names its own. The demo: EUR."""
    if mapping is None:
        return "EUR", 2
    amount = mapping.amount
    usual = EXPONENTS.get(amount.currency or "", 2)
    return amount.currency or "", usual if amount.exponent is None else amount.exponent


def maps_data(text: str) -> bool:
    """Whether a mapping file says what columns mean, beside what rates are broken down by."""
    try:
        return bool(set(tomllib.loads(text)) & set(_DATA))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidData(f"The mapping is not valid TOML: {error}.") from error


def file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidData(f"The mapping {path.name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InvalidData(f"The mapping {path.name} is no text in UTF-8.") from error


def _parsed(top: Section, text: str) -> Mapping | None:
    name, identifier = top.text("name", "mapping"), top.optional_text("id")
    tokenise, decimal = top.texts("tokenise", ()), top.word("decimal", (".", ","), ".")
    time, amount = _time(top.section("time")), _amount(top.section("amount"))
    entities, places = _entities(top.section("entities")), _places(top.section("places", required=False))
    label = _label(top.section("label")) if "label" in top.table else None
    features = _features(top.section("features", required=False))
    chosen: Sequence[Dimension] = ()
    if "dimensions" in top.table:
        top.taken("dimensions")
        try:
            chosen = dimensions.parse(text)
        except InvalidData as error:
            top.problems.append(error.message.rstrip("."))
    top.nothing_else()
    if time is None or amount is None:
        return None
    made = tuple(chosen) or dimensions.of_categories([(f.name, f.title) for f in features if f.kind == "category"])
    return Mapping(name, identifier, time, amount, entities, places, label, features, made, tokenise, decimal)


def _time(section: Section) -> TimeColumn | None:
    column = section.text("column")
    kind = section.word("kind", ("datetime", "number"), "datetime")
    unit = section.word("unit", ("s", "ms", "h", "d"), "s")
    origin, zone, form = section.taken("origin"), section.text("zone", "UTC"), section.optional_text("format")
    if isinstance(origin, date) and not isinstance(origin, datetime):
        origin = datetime(origin.year, origin.month, origin.day)
    if origin is not None and not isinstance(origin, datetime):
        section.problem("origin must be a date and time, as in 2024-01-01T00:00:00Z")
        origin = None
    if not mapping_checks.is_zone(zone):
        section.problem(f"zone names {zone!r}, which is no time zone (as in 'Europe/Berlin')")
        zone = "UTC"
    if kind == "datetime" and (origin is not None or "unit" in section.table):
        section.problem("origin and unit are for kind = 'number'")
    if kind == "number" and form is not None:
        section.problem("format is for kind = 'datetime'")
    if origin is not None:
        origin = (origin if origin.tzinfo else origin.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    section.nothing_else()
    return TimeColumn(column, kind, unit, origin, zone, form) if column else None  # type: ignore[arg-type]


def _amount(section: Section) -> AmountColumn | None:
    column = section.text("column")
    currency, currency_column = section.optional_text("currency"), section.optional_text("currency_column")
    exponent, minor = section.taken("exponent"), section.flag("minor")
    if section.present and (currency is None) == (currency_column is None):
        section.problem("either currency (as in 'EUR') or currency_column must be given")
    if currency is not None and not mapping_checks.CURRENCY.fullmatch(currency):
        section.problem(f"currency must be three capital letters, not {currency!r}")
    if exponent is not None and (isinstance(exponent, bool) or exponent not in (0, 2, 3)):
        section.problem("exponent must be 0, 2 or 3")
    section.nothing_else()
    return AmountColumn(column, currency, currency_column, exponent, minor) if column else None


def _entities(section: Section) -> dict[str, tuple[str, ...]]:
    found = {kind: section.texts(kind) for kind in section.names()}
    if section.present and "customer" not in found:
        section.problem("customer is missing: name the column of who pays")
    return {kind: columns for kind, columns in found.items() if columns}


def _places(section: Section) -> dict[str, tuple[str, str]]:
    places: dict[str, tuple[str, str]] = {}
    for place in PLACES:
        if place in section.table:
            columns = section.texts(place)
            if len(columns) == 2:
                places[place] = (columns[0], columns[1])
            else:
                section.problem(f"{place} needs two columns: longitude, latitude")
    section.nothing_else()
    return places


def _label(section: Section) -> LabelColumn | None:
    column, known_at, delay = section.text("column"), section.optional_text("known_at"), section.number("delay_days")
    fraud = section.taken("fraud", [1])
    fraud = fraud if isinstance(fraud, list) else [fraud]
    if not fraud or any(isinstance(value, list | dict) for value in fraud):
        section.problem("fraud must list the values that mean fraud, as in [1]")
        fraud = []
    if known_at is not None and delay is not None:
        section.problem("either known_at or delay_days can be given, not both")
    most = _most_ap(section.section("most_ap", required=False))
    section.nothing_else()
    words = tuple(dict.fromkeys(label_word(value) for value in fraud))
    return LabelColumn(column, words, known_at, delay, most) if column else None


def _most_ap(section: Section) -> tuple[tuple[float, float], ...]:
    """Ascending by days."""
    found = []
    for key in section.table:
        most = section.number(key)
        if not re.fullmatch(r"\d{1,3}", key) or most is None or not 0 < most <= 1:
            section.problem(f"{key!r} must be whole days, with an average precision above 0 and at most 1")
        else:
            found.append((float(key), most))
    return tuple(sorted(found))


def _features(section: Section) -> tuple[PlainFeature, ...]:
    found = []
    for name in section.names():
        one = section.section(name)
        column = one.text("column")
        kind = one.word("kind", ("number", "category", "flag", "text"))
        title, unit = one.text("title", name.replace("_", " ").capitalize()), one.text("unit", "")
        optional = one.flag("optional")
        one.nothing_else()
        if column and kind:
            found.append(PlainFeature(name, column, kind, title, unit, optional))  # type: ignore[arg-type]
    return tuple(found)


def _across(mapping: Mapping) -> list[str]:
    """What is wrong between the sections."""
    others = [kind for kind in mapping.entities if kind not in DOCUMENT_KINDS]
    names = [feature.name for feature in mapping.features]
    problems = [
        f"{name} is both an entity and a feature; call one of them otherwise" for name in names if name in others
    ]
    if len(others) + len(names) > MAX_ATTRIBUTES:
        problems.append(f"there are {len(others) + len(names)} features and further entities; at most {MAX_ATTRIBUTES}")
    known = mapping.columns
    problems += [f"tokenise names {c!r}, which nothing else reads" for c in mapping.tokenise if c not in known]
    kept = {*(columns for columns in mapping.entities.values())}
    safe = {column for columns in kept for column in columns} | {mapping.id} | _categories(mapping)
    problems += [f"tokenise names {c!r}, which is no id, entity or category" for c in mapping.tokenise if c not in safe]
    if mapping.label and mapping.label.column in {feature.column for feature in mapping.features}:
        problems.append(
            f"the label's column {mapping.label.column!r} is also a feature, which would give the answer away"
        )
    return problems


def _categories(mapping: Mapping) -> set[str]:
    return {feature.column for feature in mapping.features if feature.kind in ("category", "text")}
