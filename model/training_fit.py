"""Fitting: the tree method, early stopping on later rows, class weight, monotone constraints, several seeds."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

if __package__:
    from model import measures
    from model.training_channels import Channel
    from model.training_options import Failure
else:
    import measures  # type: ignore[no-redef]
    from training_channels import Channel  # type: ignore[no-redef]
    from training_options import Failure  # type: ignore[no-redef]

# `auto` tries exact splits against histograms up to so many cells (rows x features) of the training part; beyond, exact
# splits cost nine times the time for .002 of average precision.
TRIAL_CELLS = 1_000_000
_TRIAL_ROUNDS = 60
_TRIAL_SHARE = 0.75
# What exact splits must gain in the trial: less is chance, and they are slow.
_TRIAL_MARGIN = 0.005
# `auto` learns again from all rows up to so many cells: below, the newest fifth of the time is worth .004 of
# average precision a week later; beyond, a second fit costs more than it brings.
REFIT_CELLS = 20_000_000
# A thread for each so many values: with fewer, waiting for each other costs more than is saved.
_CELLS_A_THREAD = 500_000
# The training curve is drawn from every k-th row, at most so many: sorting a million scores each round would cost more
# than the tree.
_CURVE_ROWS = 25_000
_CHECKED_ROWS, _CHECKED_VALUES = 200, 25


@dataclass(frozen=True)
class Fitted:
    """The booster, cut at its best round, and how it came about (for metadata.json)."""

    booster: xgb.Booster
    training: dict[str, Any]


class _Watched(xgb.callback.TrainingCallback):
    """The area under the precision-recall curve of some rows after each round, kept for early stopping.

    With `shown` also one line a round in the form the job's metric definitions read. No custom metric of XGBoost's: it
    rounds those to five digits, and early stopping would take chance for a tie.
    """

    def __init__(self, rows: list[tuple[xgb.DMatrix, str]], *, shown: bool) -> None:
        super().__init__()
        self._rows, self._shown = [(part, name, part.get_label()) for part, name in rows], shown

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        found = {name: measures.curve_area(labels, model.predict(part)) for part, name, labels in self._rows}
        for name, value in found.items():
            evals_log.setdefault(name, {}).setdefault("aucpr", []).append(value)
        if self._shown:
            print(f"[{epoch}] {' '.join(f'{name}-aucpr:{value:.5f}' for name, value in found.items())}", flush=True)
        return False


def fit(train: Channel, tuning: Channel, settings: dict[str, Any], *, told: bool = True) -> Fitted:
    """A booster cut at the round with the best average precision on the later rows `tuning`; `told` prints each.

    With `seeds` > 1 as many boosters, seeds counting up from `seed`, averaged in log-odds. Failure when a monotone
    constraint names no feature, or the booster does not keep one.
    """
    method, why = _method(train, settings)
    parameters = _parameters(train, settings, method)
    if told:
        rows = f"{len(train.labels):,} rows, {len(train.names)} features"
        print(f"Training on {rows}, tree method {method}: {why}", flush=True)
    data = Prepared.of(train, tuning, method, settings["max_bin"], parameters["nthread"])
    seeds = [settings["seed"] + number for number in range(settings["seeds"])]
    boosters = [
        _boost(parameters | {"seed": seed}, data, settings, shown=told and number == 0)
        for number, seed in enumerate(seeds)
    ]
    booster = boosters[0] if len(boosters) == 1 else averaged(boosters)
    _check_monotone(booster, tuning, settings["monotone_constraints"])
    return Fitted(
        booster,
        {
            "tree_method": method,
            "tree_method_because": why,
            "parameters": parameters,
            "seeds": seeds,
            "rounds": [b.num_boosted_rounds() for b in boosters],
            "threads": parameters["nthread"],
            "xgboost": xgb.__version__,
        },
    )


def refitted(
    fitted: Fitted,
    train: Channel,
    validation: Channel,
    settings: dict[str, Any],
    young: Channel | None = None,
    *,
    told: bool = True,
) -> Fitted:
    """The same parameters, seeds and numbers of trees on all rows, where that is asked for or pays; else as it was.

    `young` are rows that nothing was measured on or with, the newest of all.
    """
    parts = [part for part in (train, validation, young) if part is not None]
    cells = sum(part.matrix.size for part in parts)
    wanted = settings["refit"] == "yes" or (settings["refit"] == "auto" and cells <= REFIT_CELLS)
    if not wanted:
        return Fitted(fitted.booster, fitted.training | {"refit_rows": None})
    training = fitted.training
    rows = replace(
        train,
        matrix=np.concatenate([part.matrix for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )
    if told:
        print(f"Training again on all {len(rows.labels):,} rows.", flush=True)
    parameters = training["parameters"]
    data = _binned(rows, training["tree_method"], settings["max_bin"], parameters["nthread"])
    boosters = [
        xgb.train(parameters | {"seed": seed}, data, num_boost_round=rounds, verbose_eval=False)
        for seed, rounds in zip(training["seeds"], training["rounds"], strict=True)
    ]
    booster = boosters[0] if len(boosters) == 1 else averaged(boosters)
    _check_monotone(booster, validation, settings["monotone_constraints"])
    return Fitted(booster, training | {"refit_rows": len(rows.labels), "refit_young": young is not None})


@dataclass(frozen=True)
class Prepared:
    """The rows in XGBoost's own form; those learned from binned for histograms: two bytes a value and not eight."""

    train: xgb.DMatrix
    curve: xgb.DMatrix
    tuning: xgb.DMatrix

    @staticmethod
    def of(train: Channel, tuning: Channel, method: str, bins: int, threads: int) -> Prepared:
        every = -(-len(train.labels) // _CURVE_ROWS)
        some = train.rows(slice(None, None, every))
        if not 0 < some.labels.sum() < len(some.labels):
            some = train
        whole = _binned(train, method, bins, threads)
        # Judged rows are not binned: trees are walked fifteen times faster over plain values, to the same answer.
        curve = whole if len(some.labels) == len(train.labels) else _binned(some, "exact", bins, threads)
        return Prepared(whole, curve, _binned(tuning, "exact", bins, threads))


def _binned(part: Channel, method: str, bins: int, threads: int) -> xgb.DMatrix:
    """Quantile bins for histograms, plain values for exact splits."""
    shared: dict[str, Any] = {"label": part.labels, "feature_names": list(part.names), "nthread": threads}
    if method == "exact":
        return xgb.DMatrix(part.matrix, **shared)
    return xgb.QuantileDMatrix(part.matrix, max_bin=bins, **shared)


def _method(train: Channel, settings: dict[str, Any]) -> tuple[str, str]:
    asked = settings["tree_method"]
    if asked != "auto":
        return asked, "as asked."
    if train.matrix.size > TRIAL_CELLS:
        return "hist", f"{train.matrix.size:,} values, more than the {TRIAL_CELLS:,} up to which both are tried."
    cut = int(len(train.labels) * _TRIAL_SHARE)
    early, late = train.rows(slice(0, cut)), train.rows(slice(cut, None))
    if not (0 < early.labels.sum() < cut and 0 < late.labels.sum() < len(late.labels)):
        return "exact", "too few frauds to try both on, and few rows."
    found = {}
    for method in ("exact", "hist"):
        parameters = _parameters(early, settings, method) | {"seed": settings["seed"]}
        data = Prepared.of(early, late, method, settings["max_bin"], parameters["nthread"])
        rounds = min(_TRIAL_ROUNDS, settings["num_round"])
        booster = xgb.train(parameters, data.train, num_boost_round=rounds, verbose_eval=False)
        found[method] = measures.average_precision(late.labels, log_odds(booster, late.matrix))
    better = "exact" if found["exact"] >= found["hist"] + _TRIAL_MARGIN else "hist"
    return better, (
        f"tried on the last quarter of the training rows, average precision {found['exact']:.3f} with exact splits, "
        f"{found['hist']:.3f} with histograms."
    )


def threads(train: Channel, settings: dict[str, Any]) -> int:
    """As asked, else as many as there are processors and as the training part is worth."""
    return settings["threads"] or max(1, min(os.cpu_count() or 1, train.matrix.size // _CELLS_A_THREAD))


def _parameters(train: Channel, settings: dict[str, Any], method: str) -> dict[str, Any]:
    weight = settings["scale_pos_weight"]
    if settings["class_weight"] == "balanced":
        weight = float((len(train.labels) - train.labels.sum()) / train.labels.sum())
    parameters: dict[str, Any] = {
        "objective": "binary:logistic",
        # Estimated from the data by default since version 2, which loses much on rare classes.
        "base_score": 0.5,
        # `_Watched` measures while boosting, not XGBoost.
        "disable_default_eval_metric": 1,
        "tree_method": method,
        "nthread": threads(train, settings),
        "max_depth": settings["max_depth"],
        "eta": settings["eta"],
        "min_child_weight": settings["min_child_weight"],
        "gamma": settings["gamma"],
        "subsample": settings["subsample"],
        "colsample_bytree": settings["colsample_bytree"],
        "lambda": settings["reg_lambda"],
        "scale_pos_weight": weight,
    }
    if method == "hist":
        parameters["max_bin"] = settings["max_bin"]
    signs = settings["monotone_constraints"]
    unknown = sorted(set(signs) - set(train.names))
    if unknown:
        raise Failure(f"The hyperparameter monotone_constraints names no feature of the training set: {unknown[0]}.")
    if signs:
        parameters["monotone_constraints"] = tuple(signs.get(name, 0) for name in train.names)
    return parameters


def _boost(parameters: dict[str, Any], data: Prepared, settings: dict[str, Any], *, shown: bool) -> xgb.Booster:
    evaluated = [(data.curve, "train"), (data.tuning, "validation")] if shown else [(data.tuning, "validation")]
    stopping = xgb.callback.EarlyStopping(
        rounds=settings["early_stopping_rounds"],
        metric_name="aucpr",
        data_name="validation",
        maximize=True,
        save_best=True,
    )
    return xgb.train(
        parameters,
        data.train,
        num_boost_round=settings["num_round"],
        evals=evaluated,
        callbacks=[_Watched(evaluated, shown=shown), stopping],
        verbose_eval=False,
    )


def log_odds(booster: xgb.Booster, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n] the trees' sum for rows [n, f]."""
    margins = booster.inplace_predict(matrix, predict_type="margin", validate_features=False)
    return np.asarray(margins, dtype=np.float64)


def averaged(boosters: list[xgb.Booster]) -> xgb.Booster:
    """One booster whose log-odds are the mean of theirs: all their trees, leaves divided by their number.

    The base score is 0.5, log-odds 0, so nothing but leaves adds up.
    """
    models = [json.loads(booster.save_raw("json")) for booster in boosters]
    trees = [tree for model in models for tree in model["learner"]["gradient_booster"]["model"]["trees"]]
    for number, tree in enumerate(trees):
        tree["id"] = number
        tree["split_conditions"] = [
            value / len(boosters) if child == -1 else value
            for value, child in zip(tree["split_conditions"], tree["left_children"], strict=True)
        ]
        tree["base_weights"] = [value / len(boosters) for value in tree["base_weights"]]
    whole = models[0]
    inner = whole["learner"]["gradient_booster"]["model"]
    inner["trees"], inner["tree_info"] = trees, [0] * len(trees)
    inner["iteration_indptr"] = list(range(len(trees) + 1))
    inner["gbtree_model_param"]["num_trees"] = str(len(trees))
    whole["learner"]["attributes"] = {}
    joined = xgb.Booster()
    joined.load_model(bytearray(json.dumps(whole).encode()))
    return joined


def _check_monotone(booster: xgb.Booster, data: Channel, signs: dict[str, int]) -> None:
    """Vary each constrained feature over its range on some rows; the score may only go its way."""
    some = data.matrix[:: -(-len(data.matrix) // _CHECKED_ROWS)]
    for name, sign in signs.items():
        place = data.names.index(name)
        known = data.matrix[:, place][~np.isnan(data.matrix[:, place])]
        if not len(known):
            continue
        values = np.unique(np.quantile(known, np.linspace(0.0, 1.0, _CHECKED_VALUES)).astype(np.float32))
        varied = np.repeat(some, len(values), axis=0)
        varied[:, place] = np.tile(values, len(some))
        scores = log_odds(booster, varied).reshape(len(some), len(values))
        if (np.diff(scores, axis=1) * sign < -1e-5).any():
            raise Failure(f"The model did not keep the constraint on '{name}'; nothing was written.")
