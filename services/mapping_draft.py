"""A mapping while a person still edits it: one role for each column, and a few words more. Pure.

`toml_of` writes the mapping file; `services.domain.mapping.read_mapping` is the one judge of it, so a draft may be
wrong in every way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum

import orjson

from services.domain.dimensions import MAX_DIMENSIONS
from services.domain.mapping import TimeColumn


class Role(StrEnum):
    IGNORE = "not used"
    ID = "id"
    TIME = "time"
    AMOUNT = "amount"
    CURRENCY = "currency"
    ENTITY = "entity"
    MERCHANT_LON = "merchant longitude"
    MERCHANT_LAT = "merchant latitude"
    HOME_LON = "home longitude"
    HOME_LAT = "home latitude"
    LABEL = "label"
    KNOWN_AT = "label known at"
    NUMBER = "number"
    CATEGORY = "category"
    FLAG = "flag"
    TEXT = "text"


FEATURES = (Role.NUMBER, Role.CATEGORY, Role.FLAG, Role.TEXT)
_ONCE = tuple(role for role in Role if role not in (*FEATURES, Role.IGNORE, Role.ENTITY))


@dataclass(frozen=True, slots=True)
class DraftColumn:
    """`name`: the kind of an entity, the name of a feature, "" for every other role. `sample` is for people only;
    `card_number`: its values are tokenised; `broken_down`: rates are shown by it."""

    column: str
    role: Role = Role.IGNORE
    name: str = ""
    card_number: bool = False
    broken_down: bool = False
    title: str = ""
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    name: str
    columns: tuple[DraftColumn, ...]
    time: TimeColumn
    currency: str = "EUR"
    exponent: int | None = None
    minor: bool = False
    fraud: tuple[str, ...] = ("1",)
    delay_days: float | None = None
    decimal: str = "."
    # Columns that could be features, of which a payment cannot have more.
    left_out: int = 0

    def column(self, role: Role) -> str | None:
        return next((c.column for c in self.columns if c.role is role), None)


def toml_of(draft: Draft) -> str:
    """The mapping file. What a draft does not say is left out, and read_mapping will say what is missing."""
    lines = [f"name = {_text(draft.name)}"]
    if (identifier := draft.column(Role.ID)) is not None:
        lines.append(f"id = {_text(identifier)}")
    if tokens := [c.column for c in draft.columns if c.card_number and c.role is not Role.IGNORE]:
        lines.append(f"tokenise = {_list(tokens)}")
    if draft.decimal != ".":
        lines.append(f"decimal = {_text(draft.decimal)}")
    lines += ["", "[time]", *_time(draft), "", "[amount]", *_amount(draft), "", "[entities]", *_entities(draft)]
    lines += _places(draft) + _label(draft)
    features = [c for c in draft.columns if c.role in FEATURES]
    for c in features:
        lines += ["", f"[features.{_key(c.name)}]", f"column = {_text(c.column)}", f'kind = "{c.role}"']
        lines += [f"title = {_text(c.title)}"] if c.title else []
    shown = [c for c in features if c.broken_down][: MAX_DIMENSIONS - 1]
    lines += ["", "[dimensions]"]
    lines += [_dimension(c) for c in shown]
    lines.append('amount_band = { column = "amount_band", title = "Amount" }')
    return "\n".join(lines) + "\n"


def doubles(columns: Sequence[DraftColumn]) -> list[str]:
    """Roles that only one column can have but several do: a sentence each."""
    found = []
    for role in _ONCE:
        named = [c.column for c in columns if c.role is role]
        if len(named) > 1:
            found.append(f"{', '.join(named)} cannot all be the {role}; choose one")
    names = [c.name for c in columns if c.role in FEATURES]
    found += [f"several features are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    return found


def _time(draft: Draft) -> list[str]:
    time, column = draft.time, draft.column(Role.TIME)
    lines = [f"column = {_text(column)}"] if column else []
    lines.append(f'kind = "{time.kind}"')
    if time.kind == "number":
        lines.append(f'unit = "{time.unit}"')
        lines += [f"origin = {time.origin.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"] if time.origin else []
    else:
        lines += [f"format = {_text(time.format)}"] if time.format else []
    return [*lines, f"zone = {_text(time.zone)}"] if time.zone != "UTC" else lines


def _amount(draft: Draft) -> list[str]:
    column, currency_column = draft.column(Role.AMOUNT), draft.column(Role.CURRENCY)
    lines = [f"column = {_text(column)}"] if column else []
    lines.append(
        f"currency_column = {_text(currency_column)}" if currency_column else f"currency = {_text(draft.currency)}"
    )
    lines += [f"exponent = {draft.exponent}"] if draft.exponent is not None else []
    return [*lines, "minor = true"] if draft.minor else lines


def _entities(draft: Draft) -> list[str]:
    """The customer first: it pays. Columns of one kind name it together."""
    kinds: dict[str, list[str]] = {}
    for c in draft.columns:
        if c.role is Role.ENTITY:
            kinds.setdefault(c.name, []).append(c.column)
    order = sorted(kinds, key=lambda kind: kind != "customer")
    return [f"{_key(kind)} = {_list(kinds[kind]) if len(kinds[kind]) > 1 else _text(kinds[kind][0])}" for kind in order]


def _places(draft: Draft) -> list[str]:
    lines = []
    for place, lon, lat in (("merchant", Role.MERCHANT_LON, Role.MERCHANT_LAT), ("home", Role.HOME_LON, Role.HOME_LAT)):
        columns = [column for role in (lon, lat) if (column := draft.column(role)) is not None]
        if columns:
            lines.append(f"{place} = {_list(columns)}")
    return ["", "[places]", *lines] if lines else []


def _label(draft: Draft) -> list[str]:
    column, known_at = draft.column(Role.LABEL), draft.column(Role.KNOWN_AT)
    if column is None:
        return []
    lines = ["", "[label]", f"column = {_text(column)}", f"fraud = {_list(draft.fraud)}"]
    if known_at is not None:
        return [*lines, f"known_at = {_text(known_at)}"]
    return [*lines, f"delay_days = {draft.delay_days:g}"] if draft.delay_days is not None else lines


def _dimension(c: DraftColumn) -> str:
    title = c.title or c.name.replace("_", " ").capitalize()
    return f"{_key(c.name)} = {{ column = {_text('attributes.' + c.name)}, title = {_text(title)} }}"


def _text(value: str | None) -> str:
    """JSON's strings are TOML's basic strings, apart from DEL, which TOML wants escaped."""
    return orjson.dumps(value or "").decode().replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name and all(sign.isascii() and (sign.isalnum() or sign == "_") for sign in name) else _text(name)


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"
