"""What a training job may be told: every hyperparameter, its default and its bounds. Standard library only."""

from __future__ import annotations

import json
from typing import Any

# Anything else is refused, so that a misspelt one is not silently unused.
DEFAULTS: dict[str, Any] = {
    "num_round": 200,
    "max_depth": 3,
    "eta": 0.2,
    "min_child_weight": 1.0,
    "gamma": 0.0,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 1.0,
    "scale_pos_weight": 1.0,
    "class_weight": "none",
    "early_stopping_rounds": 30,
    "tree_method": "auto",
    "max_bin": 4096,
    # JSON, {feature: 1 | 0 | -1}: 1 where a higher value never lowers the score.
    "monotone_constraints": "",
    "seed": 7,
    "seeds": 1,
    # 0: all of the machine's. Sums of histograms depend on it in their last bits, so it is recorded.
    "threads": 0,
    "calibration": "logistic",
    # Whether the model that is kept learns from the validation rows too, after everything was measured without them.
    "refit": "auto",
    # The share of transactions analysts can look at, and how much of what they see must be fraud.
    "target_alert_rate": 0.01,
    "precision_floor": 0.1,
    "decline_precision": 0.9,
    # Assumptions, to be replaced by one's own figures: an analyst's five minutes, a genuine customer declined, the
    # share of a fraud's amount that comes back later, and the share of the rest that a review still prevents.
    "cost_review_minor": 400.0,
    "cost_insult_minor": 2000.0,
    "recovered_share": 0.0,
    "review_prevents": 1.0,
    # Only where the Parquet files do not say it themselves.
    "features_version": "",
}
_CHOICES = {
    "tree_method": ("auto", "exact", "hist"),
    "class_weight": ("none", "balanced"),
    "calibration": ("logistic", "none"),
    "refit": ("auto", "yes", "no"),
}
_KINDS = {int: "whole number", float: "number", str: "text"}
_AT_LEAST = {
    **dict.fromkeys(("num_round", "max_depth", "early_stopping_rounds", "seeds"), 1),
    **dict.fromkeys(("threads", "seed", "min_child_weight", "gamma", "reg_lambda"), 0),
    **dict.fromkeys(("cost_review_minor", "cost_insult_minor", "recovered_share", "review_prevents"), 0),
    "max_bin": 16,
}
_BETWEEN_0_AND_1 = ("target_alert_rate", "precision_floor", "decline_precision")
_ABOVE_0 = {"eta": 1.0, "subsample": 1.0, "colsample_bytree": 1.0, "scale_pos_weight": 1e6}


class Failure(Exception):
    """The training set or its settings cannot be used; the message is for the person who started the job."""


def hyperparameters(given: dict[str, str]) -> dict[str, Any]:
    """The defaults overlaid with what was given (texts). Names starting with sagemaker_ belong to the platform.

    `monotone_constraints` comes back as {feature: sign}. Failure names the first that is unknown or out of bounds.
    """
    out = dict(DEFAULTS)
    for name, text in given.items():
        if name.startswith("sagemaker_"):
            continue
        if name not in DEFAULTS:
            raise Failure(f"The hyperparameter '{name}' is not known; known are {', '.join(sorted(DEFAULTS))}.")
        out[name] = _value(name, str(text).strip())
    _check(out)
    out["monotone_constraints"] = _signs(out["monotone_constraints"])
    if out["class_weight"] == "balanced" and out["scale_pos_weight"] != 1.0:
        raise Failure("Set either the hyperparameter class_weight or scale_pos_weight, not both.")
    return out


def _value(name: str, text: str) -> Any:
    kind = type(DEFAULTS[name])
    value = text if text.startswith("{") else text.strip('"')
    try:
        number = kind(value)
    except ValueError:
        raise Failure(f"The hyperparameter {name} must be a {_KINDS[kind]}, got '{value[:40]}'.") from None
    if number != number:
        raise Failure(f"The hyperparameter {name} must be a {_KINDS[kind]}, got '{value[:40]}'.")
    return number


def _check(out: dict[str, Any]) -> None:
    for name, low in _AT_LEAST.items():
        if not low <= out[name] < float("inf"):
            raise Failure(f"The hyperparameter {name} must be at least {low}, got {out[name]}.")
    for name in _BETWEEN_0_AND_1:
        if not 0.0 < out[name] < 1.0:
            raise Failure(f"The hyperparameter {name} must lie between 0 and 1, got {out[name]}.")
    for name, high in _ABOVE_0.items():
        if not 0.0 < out[name] <= high:
            raise Failure(f"The hyperparameter {name} must be above 0 and at most {high:g}, got {out[name]}.")
    for name in ("recovered_share", "review_prevents"):
        if out[name] > 1.0:
            raise Failure(f"The hyperparameter {name} must be at most 1, got {out[name]}.")
    for name, known in _CHOICES.items():
        if out[name] not in known:
            listed = f"{', '.join(known[:-1])} or {known[-1]}"
            raise Failure(f"The hyperparameter {name} must be {listed}, got '{out[name][:40]}'.")


def _signs(text: str) -> dict[str, int]:
    wrong = f"""The hyperparameter monotone_constraints must be JSON like {{"feature": 1}}, got '{text[:60]}'."""
    try:
        held = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        raise Failure(wrong) from None
    if not isinstance(held, dict) or not all(type(sign) is int and sign in (-1, 0, 1) for sign in held.values()):
        raise Failure(wrong)
    return {name: sign for name, sign in held.items() if sign}
