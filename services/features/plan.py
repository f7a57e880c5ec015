"""What is computed for one desk's data: which entities, which windows, which plain columns, in which order.

A plan is built from a mapping and is the whole definition of the features: the scorer runs it transaction by
transaction on stored states (`compute`, `observe`, `observe_label`), training runs it over whole columns (`matrix`),
and both give the same numbers, bit for bit.

`compute` reads, `observe` writes; a transaction is never part of its own history. A verdict counts from the moment it
became known (inclusive), never from the moment the fraud happened. What counts is what had arrived: a transaction
that arrives late sees nothing of later transactions in its windows, while the usual amount, the habit of the day and
the runs of known frauds, which have no window, are those of the moment of its arrival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features import counterparty, history, online
from services.features.arithmetic import SCALARS, Arithmetic, cap, floor, kilometres
from services.features.inputs import Event, LabelEvent
from services.features.limits import SPEED_CAP_KMH
from services.features.memory import (
    AMOUNT_MAX,
    DAY_MS,
    EXPLAINED_RATIO,
    HOUR_MS,
    SECOND_MS,
    State,
    add_to_day,
    add_to_history,
    add_verdict,
    meet,
    new_category,
    new_counterparty,
    new_history,
    usual,
)
from services.features.roles import Role
from services.features.wording import FeatureSpec

# Raise it whenever the engine computes something differently: models name the version they need.
ENGINE_VERSION = 2
# Two readings closer in time than this say nothing about speed: clocks of terminals differ.
_SPEED_FLOOR_MS = 5 * 60 * SECOND_MS


_MET = (Role.PAYER, Role.COUNTERPARTY)


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is the key of its states; `column` the canonical column of its names; `title` what an analyst calls it,
    `preposition` what stands before it ("frauds at this terminal")."""

    name: str
    role: Role
    column: str
    title: str
    preposition: str = "with"

    @property
    def plural(self) -> str:
        return self.title[:-1] + "ies" if self.title.endswith("y") else self.title + "s"


@dataclass(frozen=True, slots=True)
class Number:
    """A column that is a feature as it is. `unit` is free text; a flag has the unit flag and is 0 or 1, and may have
    sentences for both."""

    name: str
    column: str
    title: str
    unit: str
    yes: str = ""
    no: str = ""


@dataclass(frozen=True)
class Plan:
    """`kinds`: the payer first, then other entities, then categories. `places`: transactions have coordinates, and
    `homes` payers too. `own`: the desk's own documents, whose categories and flags are not attributes."""

    kinds: tuple[Kind, ...]
    numbers: tuple[Number, ...] = ()
    places: bool = False
    homes: bool = False
    own: bool = False

    @cached_property
    def features(self) -> tuple[FeatureSpec, ...]:
        """The words of each feature, in the order of `names`."""
        from services.features.terms import features_of  # they are written against the plan

        return features_of(self)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of every vector and matrix."""
        found = ["amount_minor"]
        for place, kind in enumerate(self.kinds):
            if kind.role is Role.PAYER:
                found += [feature_name(kind.name, suffix, first=not place) for suffix in history.SUFFIXES]
        found += [*self.company_names, *self.geography_names]
        for kind in self.kinds:
            if kind.role is Role.COUNTERPARTY:
                found += [feature_name(kind.name, suffix) for suffix in counterparty.SUFFIXES]
        found += [f"{kind.name}_fraud_rate_28d" for kind in self.kinds if kind.role is Role.CATEGORY]
        return (*found, *(number.name for number in self.numbers))

    @cached_property
    def company_names(self) -> tuple[str, ...]:
        """The features of `company`."""
        many = [f"{self.kinds[0].name}_{kind.name}s_24h" for kind in self.met]
        return (*(f"{kind.name}_new" for kind in self.kinds[1:]), *many)

    @cached_property
    def geography_names(self) -> tuple[str, ...]:
        """The features of `geography`."""
        return ("home_distance_km",) * self.homes + ("travel_kmh",) * self.places

    @cached_property
    def version(self) -> str:
        """Names engine and features: another plan has another version."""
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        return f"{ENGINE_VERSION}-{digest[:8]}"

    @cached_property
    def met(self) -> tuple[Kind, ...]:
        """Entities of which it is counted how many a payer met."""
        return tuple(kind for kind in self.kinds[1:] if kind.role in _MET)

    @cached_property
    def stored(self) -> tuple[tuple[int, str, Role], ...]:
        """(place among the names, prefix of the key, role) of the kinds that have states."""
        return tuple((i, f"{k.name}:", k.role) for i, k in enumerate(self.kinds) if k.role is not Role.KNOWN)

    def entity_keys(self, event: Event | LabelEvent) -> tuple[str, ...]:
        """Ids of the entities whose states `compute`, `observe` and `observe_label` need."""
        names = event.names
        return tuple([prefix + name for i, prefix, _ in self.stored if (name := names[i]) is not None])

    label_keys = entity_keys

    def new_state(self, key: str) -> State:
        """An empty state for an entity's key; KeyError where the plan has no such kind."""
        kind = key.partition(":")[0]
        if kind == self.kinds[0].name:
            return new_history([other.name for other in self.kinds[1:]])
        return _NEW[{k.name: k.role for k in self.kinds}[kind]]()

    def compute(self, event: Event, states: Mapping[str, State]) -> list[float]:
        """The event's features in the order of `names`; nan where there is nothing to compare with. Changes nothing."""
        return online.vector(self, online.read(self, event, states))

    def company(self, event: Event, payer: State | None) -> list[float]:
        """Whether the payer meets each of the others for the first time, and how many others it met in 24 hours."""
        new, many = [], []
        seen = payer["seen"] if payer is not None and payer["n"] else None
        at, names = event.at_ms, event.names
        for place, kind, counted in self._seen:
            name = names[place]
            if name is None:
                new.append(nan)
                if counted:
                    many.append(nan)
                continue
            if seen is None:
                new.append(nan)
                if counted:
                    many.append(0.0)
                continue
            met = seen[kind]
            new.append(0.0 if name in met["names"] else 1.0)
            if counted:
                many.append(float(counterparty.others(met, at, DAY_MS, name)))
        return new + many

    @cached_property
    def _seen(self) -> tuple[tuple[int, str, bool], ...]:
        return tuple((i, k.name, k.role in _MET) for i, k in enumerate(self.kinds) if i)

    def geography(self, event: Event, payer: State | None) -> list[float]:
        here, home = event.place, event.home
        out = []
        if self.homes:
            out.append(nan if here is None or home is None else kilometres(SCALARS, *home, *here))
        if self.places:
            before = payer["place"] if payer is not None else None
            if here is None or not before or before[0] > event.at_ms:
                out.append(nan)
            else:
                out.append(speed(SCALARS, event.at_ms - before[0], kilometres(SCALARS, before[1], before[2], *here)))
        return out

    def observe(self, event: Event, states: MutableMapping[str, State]) -> None:
        """Add the event to the states of its entities, in place; states that are missing are created.

        Observing the same event twice counts it twice: whoever stores states commits them together with the score.
        """
        at, amount, names = event.at_ms, min(event.amount_minor, AMOUNT_MAX), event.names
        for i, prefix, role in self.stored:
            name = names[i]
            if name is None:
                continue
            state = self._state(states, prefix + name)
            if role is Role.PAYER:
                add_to_history(state, at, amount)
                if i == 0:
                    self.observe_company(event, state)
            else:
                add_to_day(state, at, amount)
                if role is Role.COUNTERPARTY and names[0] is not None:
                    meet(state["payers"], at, names[0])

    def observe_company(self, event: Event, payer: State) -> None:
        """What the first payer remembers beside its amounts: whom it met, and where it was last."""
        at, seen = event.at_ms, payer["seen"]
        for place, kind, _ in self._seen:
            name = event.names[place]
            if name is not None:
                meet(seen[kind], at, name)
        if event.place is not None and (not payer["place"] or at >= payer["place"][0]):
            payer["place"] = [at, *event.place]

    def observe_label(self, label: LabelEvent, states: MutableMapping[str, State]) -> None:
        """Add a verdict to the states of its entities. To be called in the order the verdicts became known."""
        payer = None if label.names[0] is None else states.get(self.stored[0][1] + label.names[0])
        # Nothing is known of the payer's amounts: then the amount explains nothing.
        counted, total = usual(payer)[:2] if payer is not None and payer["n"] else (0, 0)
        bare = unexplained(min(label.amount_minor, AMOUNT_MAX), counted, total)
        for key in self.label_keys(label):
            add_verdict(
                self._state(states, key),
                label.transaction_id,
                fraud=label.value == "fraud",
                known_ms=label.labelled_ms,
                event_ms=label.event_ms,
                unexplained=bare,
            )

    def step(self, event: Event, states: MutableMapping[str, State]) -> list[float]:
        """`compute`, then `observe`."""
        vector = self.compute(event, states)
        self.observe(event, states)
        return vector

    def read(self, event: Event, states: Mapping[str, State]) -> online.Reading:
        """What the event's features are made of, for `vectors`. Changes nothing."""
        return online.read(self, event, states)

    def vectors(self, readings: Sequence[online.Reading]) -> list[list[float]]:
        """`compute` of many events, each as it was read: the same numbers in a fraction of the time."""
        return online.vectors(self, readings)

    def matrix(self, transactions: Any, labels: Any = None, *, since_ms: int | None = None) -> NDArray[np.float32]:
        """The same over whole columns: `services.features.offline.matrix`."""
        from services.features.offline import matrix  # it is written against the plan

        return matrix(self, transactions, labels, since_ms=since_ms)

    def _state(self, states: MutableMapping[str, State], key: str) -> State:
        state = states.get(key)
        if state is None:
            state = states[key] = self.new_state(key)
        return state


_NEW = {Role.PAYER: new_history, Role.COUNTERPARTY: new_counterparty, Role.CATEGORY: new_category}


def unexplained(amount: int, counted: int, total: int) -> bool:
    """Whether a fraud's amount is ordinary for its payer: at most EXPLAINED_RATIO times the mean of its amounts."""
    return not counted or amount * counted <= EXPLAINED_RATIO * total


def speed(o: Arithmetic, elapsed_ms: Any, distance_km: Any) -> Any:
    """km/h between two places; the time between is taken as at least five minutes."""
    hours = o.number(floor(o, elapsed_ms, _SPEED_FLOOR_MS)) / HOUR_MS
    return cap(o, distance_km / hours, SPEED_CAP_KMH)


def feature_name(kind: str, suffix: str, *, first: bool = False) -> str:
    """`amount_to_...` and `seconds_since_previous` are the first payer's unless they name another entity."""
    if first and suffix.startswith(("amount_", "seconds_")):
        return suffix
    return suffix.replace("amount_to_", f"amount_to_{kind}_") if suffix.startswith("amount_to_") else f"{kind}_{suffix}"
