"""What people read of a payment where the data are somebody's own: the mapping's entities and categories, by its names.

Pure. The demo has columns of its own (merchant, country, channel, card); a data set may have none of them.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass
from typing import Any

from services.domain.dimensions import ATTRIBUTES
from services.domain.mapping_parts import Mapping

# Where the entities that have a field of their own stand in a document; others are attributes.
PATHS = {
    "customer": "customer_id",
    "merchant": "merchant.id",
    "card": "card.token",
    "terminal": "terminal_id",
    "device": "device.id",
}
# With what somebody pays; every other entity beside the payer is somebody or something that is paid.
_MEANS = ("customer", "card", "device")
_CATEGORIES = 3


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """`key` is the mapping's name of it, `path` its place in a document (dotted)."""

    key: str
    title: str
    path: str
    entity: bool = False


def entity_title(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


def entities(mapping: Mapping) -> tuple[OwnColumn, ...]:
    """Every entity but the customer: first what is paid, then what it is paid with, else in the mapping's order."""
    kinds = [kind for kind in mapping.entities if kind != "customer"]
    ordered = [k for k in kinds if k not in _MEANS] + [k for k in kinds if k in _MEANS]
    return tuple(
        OwnColumn(kind, entity_title(kind), PATHS.get(kind, ATTRIBUTES + kind), entity=True) for kind in ordered
    )


def paid(mapping: Mapping) -> OwnColumn | None:
    """Whom or where a payment goes to, in the data's own word; None where they do not say."""
    return next((column for column in entities(mapping) if column.key not in _MEANS), None)


def own_columns(mapping: Mapping | None) -> tuple[OwnColumn, ...]:
    """The columns of a list of payments: the entities, and the first categories that rates are broken down by. Empty
    for the demo's data."""
    if mapping is None:
        return ()
    names = {feature.name: feature.title for feature in mapping.features if feature.kind in ("category", "flag")}
    broken_down = [d.column.removeprefix(ATTRIBUTES) for d in mapping.dimensions if d.column.startswith(ATTRIBUTES)]
    keys = [key for key in dict.fromkeys((*broken_down, *names)) if key in names][:_CATEGORIES]
    return (*entities(mapping), *(OwnColumn(key, names[key], ATTRIBUTES + key) for key in keys))


def at_path(document: AnyMapping[str, Any], path: str) -> str | None:
    """The value as text, None where it is absent; a flag is yes or no."""
    value: Any = document
    for part in path.split(".", 1):
        value = value.get(part) if isinstance(value, AnyMapping) else None
    return as_text(value)


def as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
