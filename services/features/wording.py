"""How a feature is described: the shape of a specification and the turns of phrase that specifications share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan

from services.features.limits import COUNT_CAP, DAYS_CAP, RATIO_CAP


@dataclass(frozen=True, slots=True)
class Facts:
    """One transaction's features by name (nan where missing) and how its currency is written."""

    values: Mapping[str, float]
    money: Callable[[float], str]

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def usual_per(self, ratio: str) -> float | None:
        """The amount that `ratio` compares with, in minor units; None where a zero or capped ratio does not tell."""
        return self["amount_minor"] / self[ratio] if 0 < self[ratio] < RATIO_CAP else None


Words = Callable[[Facts], str]
Normal = Callable[[Facts], float | None]


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One column of the matrix.

    `unit` is minor, count, ratio, share, sd, s, d, km, km/h, flag (0 or 1) or, of a plain number, whatever its data
    are measured in. `description` says what the value is made of. `words` is only called where the value is known;
    `normal` is the entity's own ordinary value in the same unit, or None where there is no such thing.
    """

    name: str
    title: str
    unit: str
    description: str
    words: Words
    normal: Normal = lambda facts: None


def one(facts: Facts) -> float:
    """The normal of a ratio."""
    return 1.0


def zero(facts: Facts) -> float:
    """The normal of what should not happen."""
    return 0.0


def times(value: float) -> str:
    if value >= RATIO_CAP:
        return f"{RATIO_CAP:.0f}x or more"
    return f"{value:.1f}x" if value < 9.95 else f"{value:.0f}x"


def sentence(text: str) -> str:
    """With a capital first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]


def count(value: float, noun: str, nouns: str = "") -> str:
    shown = f"{COUNT_CAP:.0f} or more" if value >= COUNT_CAP else f"{value:.0f}" if value else "no"
    return f"{shown} {noun}" if value == 1 else f"{shown} {nouns or noun + 's'}"


def duration(seconds: float) -> str:
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{seconds / size:.0f} {noun}" + ("" if round(seconds / size) == 1 else "s")
    return f"{seconds:.0f} second" + ("" if round(seconds) == 1 else "s")


def days(length: float) -> str:
    return "30 days or more" if length >= DAYS_CAP else duration(length * 86_400)


def compared(name: str, whose: str) -> Words:
    def words(facts: Facts) -> str:
        amount, ratio, usual = facts.money(facts["amount_minor"]), facts[name], facts.usual_per(name)
        if usual is None:
            return f"Amount {amount} is {times(ratio)} {whose.rstrip(',')}"
        return f"Amount {amount} is {times(ratio)} {whose} {facts.money(usual)}"

    return words


def flag(name: str, yes: str, no: str) -> Words:
    return lambda facts: yes if facts[name] else no


def frequency(name: str, who: str, span: str) -> Words:
    return lambda facts: sentence(f"{count(facts[name], 'earlier transaction')} by {who} in {span}")


def frauds(name: str, where: str, span: str) -> Words:
    return lambda facts: sentence(f"{count(facts[name], 'fraud')} {where} became known in the last {span}")


def raw(name: str, title: str, unit: str) -> Words:
    return lambda facts: f"{title}: {facts[name]:,.6g} {unit}".rstrip()


def above(name: str, mean: str, who: str) -> Words:
    def words(facts: Facts) -> str:
        z, usual = facts[name], facts.money(facts[mean])
        return f"Amount is {abs(z):.1f} standard deviations {'above' if z >= 0 else 'below'} {who}'s usual {usual}"

    return words


def amount(mean: str, payer: str) -> Words:
    """The amount beside the payer's usual one; without history there is nothing to stand it beside."""

    def words(facts: Facts) -> str:
        paid, usual = facts.money(facts["amount_minor"]), facts[mean]
        if isnan(usual):
            return f"Amount {paid}, this {payer}'s first"
        return f"Amount {paid}; this {payer} usually pays {facts.money(usual)}"

    return words
