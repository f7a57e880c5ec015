"""What model/train.py understands: anything else is refused at the request, not an hour later in the container."""

from __future__ import annotations

import json

# name -> (lowest, highest, whole number)
HYPERPARAMETERS: dict[str, tuple[float, float, bool]] = {
    "num_round": (1, 5_000, True),
    "max_depth": (1, 16, True),
    "eta": (0.001, 1, False),
    "min_child_weight": (0, 1_000, False),
    "gamma": (0, 100, False),
    "subsample": (0.05, 1, False),
    "colsample_bytree": (0.05, 1, False),
    "reg_lambda": (0, 1_000, False),
    "scale_pos_weight": (0.01, 10_000, False),
    "max_bin": (16, 65_536, True),
    "early_stopping_rounds": (1, 1_000, True),
    "seed": (0, 2**31 - 1, True),
    "seeds": (1, 10, True),
    "threads": (0, 256, True),
    "target_alert_rate": (0.0001, 0.5, False),
    "precision_floor": (0.001, 0.99, False),
    "decline_precision": (0.01, 0.999, False),
    "cost_review_minor": (0, 10_000_000, False),
    "cost_insult_minor": (0, 10_000_000, False),
    "recovered_share": (0, 1, False),
    "review_prevents": (0, 1, False),
}
# name -> what it may be
CHOICES: dict[str, tuple[str, ...]] = {
    "tree_method": ("auto", "exact", "hist"),
    "class_weight": ("none", "balanced"),
    "calibration": ("logistic", "none"),
    "refit": ("auto", "yes", "no"),
}
# A JSON object {feature: -1 (a higher value never raises the risk) | 0 | 1 (it never lowers it)}.
MONOTONE = "monotone_constraints"


def wrong_hyperparameter(name: str, value: object) -> str | None:
    """What is wrong with the value as a sentence, None when it can be sent. Features are checked by the job."""
    if name in HYPERPARAMETERS:
        return _wrong_number(name, value)
    if name in CHOICES:
        known = CHOICES[name]
        return None if value in known else f"{name} must be one of: {', '.join(known)}."
    if name == MONOTONE:
        return None if _monotone(value) else f'{name} must be JSON like {{"feature": 1}}, each 1, 0 or -1.'
    known_names = sorted([*HYPERPARAMETERS, *CHOICES, MONOTONE])
    return f"Unknown hyperparameter {name!r}; known are: {', '.join(known_names)}."


def as_text(value: float | str) -> str:
    """As SageMaker takes it: `6`, not `6.0`, for whole numbers, because the container reads some as integers."""
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(float(value))


def _wrong_number(name: str, value: object) -> str | None:
    low, high, whole = HYPERPARAMETERS[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return f"{name} must be a number from {low:g} to {high:g}."
    if whole and value != int(value):
        return f"{name} must be a whole number."
    return None


def _monotone(value: object) -> bool:
    try:
        held = json.loads(value) if isinstance(value, str) else None
    except (ValueError, RecursionError):
        return False
    return isinstance(held, dict) and all(type(sign) is int and sign in (-1, 0, 1) for sign in held.values())
