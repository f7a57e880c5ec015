"""The plan of a mapping, and the demo's own."""

from __future__ import annotations

from services.domain.mapping import Mapping
from services.features.plan import Kind, Number, Plan
from services.features.roles import Role

# Kinds that have amounts, habits and places of their own, as the customer has.
_PAYERS = ("customer", "card", "account")
_PREPOSITIONS = {"customer": "of", "card": "of", "account": "of", "merchant": "at", "terminal": "at", "device": "on"}


def plan_of(mapping: Mapping | None) -> Plan:
    """The features of a desk whose data `mapping` describes; None: those of the demo's desk.

    The mapping's first entity pays. Cards and accounts have a history of their own beside it; every other entity is
    something that is paid to or through. A category is known by its share of fraud and by whether the payer has met
    it, numbers and flags are features as they are, text is none.
    """
    if mapping is None:
        return DEMO
    kinds = [_entity(name, first=not place) for place, name in enumerate(mapping.entities)]
    kinds += [
        Kind(feature.name, Role.CATEGORY, f"feature.{feature.name}", _inside(feature.title), "in")
        for feature in mapping.features
        if feature.kind == "category"
    ]
    numbers = [
        Number(
            feature.name, f"feature.{feature.name}", feature.title, "flag" if feature.kind == "flag" else feature.unit
        )
        for feature in mapping.features
        if feature.kind in ("number", "flag")
    ]
    places = "merchant" in mapping.places
    return Plan(tuple(kinds), tuple(numbers), places=places, homes=places and "home" in mapping.places)


def _entity(name: str, *, first: bool) -> Kind:
    role = Role.PAYER if first or name in _PAYERS else Role.COUNTERPARTY
    return Kind(name, role, f"entity.{name}", name.replace("_", " "), _PREPOSITIONS.get(name, "with"))


def _inside(title: str) -> str:
    """A title as it stands inside a sentence; abbreviations stay as they are."""
    return title[:1].lower() + title[1:] if title[1:2].islower() else title


DEMO = Plan(
    (
        _entity("customer", first=True),
        _entity("merchant", first=False),
        _entity("terminal", first=False),
        _entity("device", first=False),
        Kind("country", Role.KNOWN, "feature.country", "country", "in"),
        Kind("category", Role.KNOWN, "feature.category", "category", "in"),
    ),
    (
        Number(
            "foreign",
            "feature.foreign",
            "Outside the home country",
            "flag",
            "Outside the customer's home country",
            "In the customer's home country",
        ),
        Number("ecom", "feature.ecom", "Bought online", "flag", "Bought online", "Not bought online"),
        Number("atm", "feature.atm", "Cash machine", "flag", "At a cash machine", "Not at a cash machine"),
        Number(
            "weak_entry",
            "feature.weak_entry",
            "Card keyed or swiped",
            "flag",
            "The card was keyed in or swiped",
            "The card was read by chip or contactless, or is on file",
        ),
    ),
    places=True,
    homes=True,
    own=True,
)
