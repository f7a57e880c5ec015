"""What is remembered of the things of a kind."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """A payer's own history; of a counterparty who deals with it; of a category only its share of known fraud; of what
    is `known` nothing but whether the payer has met it."""

    PAYER = "payer"
    COUNTERPARTY = "counterparty"
    CATEGORY = "category"
    KNOWN = "known"
