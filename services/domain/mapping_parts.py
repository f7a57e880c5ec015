"""The parts of a mapping: what the columns of somebody's own data mean. Pure; `services.domain.mapping` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.domain.dimensions import Dimension

FeatureKind = Literal["number", "category", "flag", "text"]
TimeKind = Literal["datetime", "number"]
TimeUnit = Literal["s", "ms", "h", "d"]

# Kinds of entities that have a field of their own in a document; every other kind is an attribute.
DOCUMENT_KINDS = ("customer", "card", "merchant", "terminal", "device")
PLACES = ("merchant", "home")


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Where an event's time is. `origin` None: 1970-01-01 UTC. `zone` is for datetimes without an offset."""

    column: str
    kind: TimeKind = "datetime"
    unit: TimeUnit = "s"
    origin: datetime | None = None
    zone: str = "UTC"
    format: str | None = None


@dataclass(frozen=True, slots=True)
class AmountColumn:
    """Either `currency` (ISO 4217) or `currency_column` is set. `exponent` None: the currency's own.

    Amounts are in major units (12.34) unless `minor`; what is finer than a minor unit is rounded half to even.
    """

    column: str
    currency: str | None = None
    currency_column: str | None = None
    exponent: int | None = None
    minor: bool = False


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """`fraud`: the values that mean fraud, as texts (see `label_word`). When a label became known: the time in
    `known_at` (read like the event's time), or `delay_days` after the event, or not said (both None).

    `most_ap`: (days, average precision), by days: with labels that become known after so many days or more, no model
    can be better than that, as whoever knows the data knows; a backtest that is better saw what it should not."""

    column: str
    fraud: tuple[str, ...]
    known_at: str | None = None
    delay_days: float | None = None
    most_ap: tuple[tuple[float, float], ...] = ()

    def plausible_ap(self, known_after: float) -> float | None:
        """The greatest average precision that can be with labels known after so many days; None where none is said."""
        return next((most for days, most in reversed(self.most_ap) if days <= known_after), None)


@dataclass(frozen=True, slots=True)
class PlainFeature:
    """A column that is used as it is. `name` is small letters, digits and _; `unit` "" where there is none.

    `optional`: a file without the column is read as if all its cells were empty.
    """

    name: str
    column: str
    kind: FeatureKind
    title: str
    unit: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Mapping:
    """`entities`: kind -> the columns whose values together name the entity; the first is the payer.

    `places`: place -> (column of longitude, column of latitude). `id` None: ids are made from the rows' content.
    """

    name: str
    id: str | None
    time: TimeColumn
    amount: AmountColumn
    entities: dict[str, tuple[str, ...]]
    places: dict[str, tuple[str, str]]
    label: LabelColumn | None
    features: tuple[PlainFeature, ...]
    dimensions: tuple[Dimension, ...]
    tokenise: tuple[str, ...] = ()
    # Of numbers in CSV: "." or ",".
    decimal: str = "."

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the source that is read, each once, in the order above."""
        return tuple(dict.fromkeys(_named(self)))


def _named(mapping: Mapping) -> list[str]:
    label, amount = mapping.label, mapping.amount
    singles = [mapping.id, mapping.time.column, amount.column, amount.currency_column]
    several = [column for columns in (*mapping.entities.values(), *mapping.places.values()) for column in columns]
    labels = [label.column, label.known_at] if label else []
    return [c for c in (*singles, *several, *labels, *(f.column for f in mapping.features)) if c is not None]


def label_word(value: Any) -> str:
    """How values of a label column are compared: 1, 1.0, "1" and true are the same word, and so are "Yes" and "yes"."""
    if isinstance(value, bool):
        return str(int(value))
    text = str(value).strip().casefold()
    if text in ("true", "false"):
        return str(int(text == "true"))
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def canonical_columns(mapping: Mapping) -> dict[str, str]:
    """The columns of `services.mapped_file` with the names of their Arrow types, in order."""
    columns = {"transaction_id": "string", "event_ms": "int64", "amount_minor": "int64", "currency": "string"}
    columns |= {f"entity.{kind}": "string" for kind in mapping.entities}
    for place in mapping.places:
        columns |= {f"place.{place}_lon": "double", f"place.{place}_lat": "double"}
    numeric = ("number", "flag")
    columns |= {f"feature.{f.name}": "double" if f.kind in numeric else "string" for f in mapping.features}
    return columns | {"label": "int8", "labelled_ms": "int64"}
