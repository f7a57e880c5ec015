"""XGBoost's settings as a person sets them; names and bounds are `services.hyperparameters`'. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A hyperparameter as a person sets it: `usual` is the value model/train.py takes when it is left alone."""

    key: str
    label: str
    usual: float
    whole: bool
    help: str
    step: float = 0.01


@dataclass(frozen=True, slots=True)
class Choice:
    """A hyperparameter that is one of some words, {word: what it says}; the first is the usual one."""

    key: str
    label: str
    words: Mapping[str, str]
    help: str

    @property
    def usual(self) -> str:
        return next(iter(self.words))


FIELDS: tuple[Field, ...] = (
    Field("num_round", "Boosting rounds, at most", 200, True, "Stops earlier when the validation curve stops rising."),
    Field("max_depth", "Tree depth", 3, True, "Deeper trees combine more conditions and overfit sooner."),
    Field("eta", "Learning rate", 0.2, False, "Smaller learns slower and needs more rounds."),
    Field("min_child_weight", "Least weight of a leaf", 1.0, False, "Larger ignores rare patterns."),
    Field("subsample", "Share of rows a tree", 1.0, False, "Below 1 each tree sees a random part of the rows."),
    Field("target_alert_rate", "Alert rate to aim at", 0.01, False,
          "The share of transactions that analysts can look at; sets the suggested review threshold.", 0.001),
)  # fmt: skip
MORE: tuple[Field, ...] = (
    Field("colsample_bytree", "Share of features a tree", 1.0, False, "Below 1 each tree sees a part of the features."),
    Field("gamma", "Least gain of a split", 0.0, False, "Larger splits less."),
    Field("reg_lambda", "Shrinking of leaves", 1.0, False, "Larger gives smaller steps (L2)."),
    Field("early_stopping_rounds", "Rounds without a rise", 30, True, "After so many the training stops."),
    Field("seed", "Seed", 7, True, "The same seed, data and settings give the same model."),
    Field("seeds", "Models averaged", 1, True, "Trained with as many seeds; steadier, slower."),
)
CHOICES: tuple[Choice, ...] = (
    Choice("class_weight", "Weight of frauds", {"none": "As they are", "balanced": "As much as all genuine ones"},
           "Balanced scores higher and is calibrated back."),
    Choice("tree_method", "How splits are found", {"auto": "By the size", "exact": "Exact", "hist": "Histogram"},
           "Exact tries every value; the histogram is faster on many rows."),
    Choice("calibration", "Calibration", {"logistic": "Logistic", "none": "None"},
           "Makes a score of 0.2 mean two frauds in ten, on matured labels."),
    Choice("refit", "Learn from all rows last", {"auto": "Small sets", "yes": "Yes", "no": "No"},
           "After everything was measured without them, the validation rows teach too."),
)  # fmt: skip
_ALL: tuple[Field | Choice, ...] = (*FIELDS, *MORE, *CHOICES)
USUAL: Mapping[str, float | str] = {one.key: one.usual for one in _ALL}
LABELS: Mapping[str, str] = {one.key: one.label for one in _ALL}


def changed(given: Mapping[str, float | str | None]) -> dict[str, float | str]:
    """Only what differs from the usual values is sent, so that a later change of them is not overruled by habit."""
    return {key: value for key, value in given.items() if value is not None and value != USUAL.get(key)}


def words(key: str, value: float | str) -> str:
    """'Tree depth 5', 'Calibration: None'."""
    choice = next((c for c in CHOICES if c.key == key), None)
    if choice is not None:
        return f"{choice.label}: {choice.words.get(str(value), str(value))}"
    return f"{LABELS.get(key, key)} {value:g}" if isinstance(value, int | float) else f"{LABELS.get(key, key)} {value}"
