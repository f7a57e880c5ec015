"""The plan of a mapping, and the demo's own."""

from __future__ import annotations

from services.domain.mapping import Mapping
from services.features.plan import Kind, Number, Plan, Role

# Kinds that have amounts, habits and places of their own, as the customer has.
_PAYERS = ("customer", "card", "account")


def plan_of(mapping: Mapping | None) -> Plan:
    """The features of a desk whose data `mapping` describes; None: those of the demo's desk.

    The mapping's first entity pays. Cards and accounts have a history of their own beside it; every other entity is
    something that is paid to or through. A category is known by its share of fraud, numbers and flags are features as
    they are, text is none.
    """
    if mapping is None:
        return DEMO
    kinds = [
        Kind(
            name,
            Role.PAYER if not place or name in _PAYERS else Role.COUNTERPARTY,
            f"entity.{name}",
            name.replace("_", " "),
        )
        for place, name in enumerate(mapping.entities)
    ]
    for feature in mapping.features:
        if feature.kind == "category":
            kinds.append(Kind(feature.name, Role.CATEGORY, f"feature.{feature.name}", feature.title))
    numbers = [
        Number(
            feature.name, f"feature.{feature.name}", feature.title, "flag" if feature.kind == "flag" else feature.unit
        )
        for feature in mapping.features
        if feature.kind in ("number", "flag")
    ]
    places = "merchant" in mapping.places
    return Plan(tuple(kinds), tuple(numbers), places=places, homes=places and "home" in mapping.places)


DEMO = Plan(
    (
        Kind("customer", Role.PAYER, "entity.customer", "customer"),
        Kind("merchant", Role.COUNTERPARTY, "entity.merchant", "merchant"),
        Kind("terminal", Role.COUNTERPARTY, "entity.terminal", "terminal"),
        Kind("device", Role.COUNTERPARTY, "entity.device", "device"),
        Kind("country", Role.KNOWN, "feature.country", "country"),
        Kind("category", Role.KNOWN, "feature.category", "category"),
    ),
    (
        Number("foreign", "feature.foreign", "Outside the home country", "flag"),
        Number("ecom", "feature.ecom", "Bought online", "flag"),
        Number("atm", "feature.atm", "Cash machine", "flag"),
        Number("weak_entry", "feature.weak_entry", "Card keyed or swiped", "flag"),
    ),
    places=True,
    homes=True,
)
