"""From (state + event) to features, then to the next state: the one definition that training and scoring share.

`compute` reads, `observe` writes; a transaction is never part of its own history. Windows reach from an event's time
back and include their start and everything already observed at the same millisecond. A verdict counts from the
moment it became known (inclusive), never from the moment the fraud happened. Counts are capped and money is compared
with the entity's own normal, so that a portfolio that grows denser does not look fraudulent for that.
An event that arrives late sees nothing of later transactions in its windows; only the running mean, the seen-before
lists and the known place, which have no window, may already include them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from math import nan

from services.features import families
from services.features.events import Event, LabelEvent
from services.features.state import (
    BAND_MS,
    CARD_PRESENT,
    DAY_MS,
    EXPLAINED_RATIO,
    State,
    add_amount,
    add_to_day,
    add_user,
    add_verdict,
    new_state,
    remember,
)

_WEAK_ENTRY = ("keyed", "swipe")


def entity_keys(event: Event) -> tuple[str, ...]:
    """Ids of the entities whose states `compute` and `observe` need; a terminal or device only where there is one."""
    keys = [f"customer:{event.customer_id}", f"merchant:{event.merchant_id}"]
    if event.terminal_id is not None:
        keys.append(f"terminal:{event.terminal_id}")
    if event.device_id is not None:
        keys.append(f"device:{event.device_id}")
    return tuple(keys)


def label_keys(label: LabelEvent) -> tuple[str, ...]:
    """Ids of the entities whose states `observe_label` needs."""
    named = (("merchant", label.merchant_id), ("terminal", label.terminal_id), ("device", label.device_id))
    return (f"customer:{label.customer_id}", *(f"{kind}:{name}" for kind, name in named if name is not None))


def compute(event: Event, states: Mapping[str, State]) -> list[float]:
    """The event's features in the order of FEATURES; nan where there is nothing to compare with. Changes nothing."""
    get = states.get
    customer = get("customer:" + event.customer_id)
    known = customer is not None and customer["n"] > 0
    out = families.own_history(event, customer) if known and customer else families.no_history(event)
    out += families.novelty(event, customer) if known and customer else [nan, nan, nan, nan]
    out += families.geography(event, customer)
    out += families.device(event, get("device:" + event.device_id) if event.device_id is not None else None)
    out += families.terminal(event, get("terminal:" + event.terminal_id) if event.terminal_id is not None else None)
    out += families.merchant(event, get("merchant:" + event.merchant_id))
    channel, entry_mode = event.channel, event.entry_mode
    out += (
        1.0 if channel == "ecom" else 0.0,
        1.0 if channel == "atm" else 0.0,
        1.0 if entry_mode in _WEAK_ENTRY else 0.0,
    )
    return out


def observe(event: Event, states: MutableMapping[str, State]) -> None:
    """Add the event to the states of its entities, in place; states that are missing are created.

    Observing the same event twice counts it twice: whoever stores states commits them together with the score.
    """
    at, amount = event.at_ms, event.amount_minor
    customer = _of(states, "customer", event.customer_id)
    add_amount(customer, at, amount)
    customer["hours"][at % DAY_MS // BAND_MS] += 1
    remember(customer["merchants"], event.merchant_id)
    remember(customer["countries"], event.country)
    remember(customer["categories"], event.category)
    if event.lon is not None and event.lat is not None and event.channel in CARD_PRESENT:
        place = customer["place"]
        if not place or at >= place[0]:
            customer["place"] = [at, event.lon, event.lat]
    add_to_day(_of(states, "merchant", event.merchant_id), at, amount)
    if event.terminal_id is not None:
        add_to_day(_of(states, "terminal", event.terminal_id), at, amount)
    if event.device_id is not None:
        remember(customer["devices"], event.device_id)
        add_user(_of(states, "device", event.device_id), at, event.customer_id)


def observe_label(label: LabelEvent, states: MutableMapping[str, State]) -> None:
    """Add a verdict to the states of its entities. To be called in the order the verdicts became known."""
    customer = _of(states, "customer", label.customer_id)
    # Nothing is known of the customer's amounts: then the amount explains nothing.
    unexplained = not customer["n"] or label.amount_minor <= EXPLAINED_RATIO * customer["mean"]
    for key in label_keys(label):
        kind, _, name = key.partition(":")
        add_verdict(
            _of(states, kind, name)["frauds"],
            label.transaction_id,
            value=label.value,
            known_ms=label.labelled_ms,
            event_ms=label.event_ms,
            unexplained=unexplained,
        )


def step(event: Event, states: MutableMapping[str, State]) -> list[float]:
    """`compute`, then `observe`."""
    vector = compute(event, states)
    observe(event, states)
    return vector


def _of(states: MutableMapping[str, State], kind: str, name: str) -> State:
    key = f"{kind}:{name}"
    state = states.get(key)
    if state is None:
        state = states[key] = new_state(kind)
    return state
