"""What runs inside the training job of one Autopilot candidate, beside the files of model/ it is packed with.

`sagemaker_automl` (JSON) among the hyperparameters says what to do: {role: analyse | train, family, target, features,
fraction}. Data: channel `training`, perhaps `validation`, CSV with a header or Parquet, in time order; without a
channel `validation` the last `fraction` of the rows are held out. Every family ends as one booster of trees, so that
the serving code needs to know nothing of it: dart's weights and a blend's are multiplied into the leaves.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import train
import training_fit
import xgboost as xgb
from measures import average_precision
from training_options import Failure

_FAMILIES: dict[str, dict[str, Any]] = {
    "trees": {},
    "stumps": {"num_round": 800, "max_depth": 1, "eta": 0.3},
    "dart": {"num_round": 60, "max_depth": 5, "eta": 0.3},
    "forest": {"max_depth": 12, "subsample": 0.7, "min_child_weight": 5.0},
}
_DART_DROP, _FOREST_TREES, _FOREST_COLUMNS = 0.1, 100, 0.5
_BLEND_STEPS = 12
_CHANNELS = ("training", "validation")
_NUMERIC = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)


def prepare(base: Path, task: dict[str, Any]) -> dict[str, int]:
    """Rewrite the channels as model/train.py reads them; returns the counts of rows. Failure says what is wrong."""
    found = {
        name: read(base / "input/data" / name, name) for name in _CHANNELS if (base / "input/data" / name).is_dir()
    }
    parts = {name: shaped(table, task, name) for name, table in found.items()}
    if "validation" not in parts:
        whole = parts["training"]
        cut = round(whole.num_rows * (1.0 - task["fraction"]))
        parts = {"training": whole.slice(0, cut), "validation": whole.slice(cut)}
    for name, table in parts.items():
        kinds = pc.count_distinct(table.column("label")).as_py()
        if table.num_rows < 10 or kinds < 2:
            raise Failure(f"The {name} rows ({table.num_rows:,}) hold {kinds} of the two values of '{task['target']}'.")
    for name, table in zip(("train", "validation"), (parts["training"], parts["validation"]), strict=True):
        folder = base / "prepared" / "input/data" / name
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "part.parquet")
    return {name: table.num_rows for name, table in parts.items()}


def read(folder: Path, channel: str) -> pa.Table:
    """All files of a channel, one below the other by name."""
    tables = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            with path.open("rb") as file:
                parquet = file.read(4) == b"PAR1"
            tables.append(pq.read_table(path) if parquet else pyarrow.csv.read_csv(path))
        except (pa.ArrowInvalid, OSError) as error:
            said = str(error).splitlines()[0]
            what = f"{path.name} of the channel '{channel}'"
            raise Failure(f"{what} is neither CSV with a header nor Parquet: {said}") from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise Failure(f"The files of the channel '{channel}' do not have the same columns.") from error


def shaped(table: pa.Table, task: dict[str, Any], channel: str) -> pa.Table:
    """`label`, what stands beside the features (two underscores), then the features as float32."""
    target, names = task["target"], task["features"] or None
    if target not in table.column_names:
        raise Failure(f"The channel '{channel}' has no column '{target}' to learn.")
    names = names or [n for n in table.column_names if n != target and not n.startswith("__")]
    absent = [name for name in names if name not in table.column_names]
    if absent:
        raise Failure(f"The channel '{channel}' has no column '{absent[0]}', which is listed as a feature.")
    labels = table.column(target)
    if not set(pc.unique(labels).to_pylist()) <= {0, 1}:  # equal to 0.0, 1.0, false and true
        raise Failure(f"The column '{target}' must hold 0 and 1 only.")
    columns = {"label": labels.cast(pa.int8())}
    columns |= {n: table.column(n) for n in table.column_names if n.startswith("__")}
    for name in names:
        kind = table.column(name).type
        if not any(test(kind) for test in _NUMERIC):
            raise Failure(f"The column '{name}' is {kind}; Autopilot takes numbers here: make them in a flow.")
        number = table.column(name).cast(pa.int8()) if pa.types.is_boolean(kind) else table.column(name)
        columns[name] = number.cast(pa.float32(), safe=False)
    return pa.table(columns).replace_schema_metadata(table.schema.metadata)


def fitted(family: str, data: Any, tuning: Any, settings: dict[str, Any]) -> Any:
    """training_fit.Fitted of one family."""
    if family in ("trees", "stumps"):
        return training_fit.fit(data, tuning, settings)
    parameters = training_fit._parameters(data, settings, "hist") | {"seed": settings["seed"]}
    matrix = training_fit.Prepared.of(data, tuning, "hist", settings["max_bin"], parameters["nthread"])
    if family == "forest":
        parameters |= {"num_parallel_tree": _FOREST_TREES, "colsample_bynode": _FOREST_COLUMNS, "eta": 1.0}
        booster = joined([(xgb.train(parameters, matrix.train, num_boost_round=1), 1.0)])
    else:
        parameters |= {"booster": "dart", "rate_drop": _DART_DROP}
        booster = joined([(xgb.train(parameters, matrix.train, num_boost_round=settings["num_round"]), 1.0)])
    return training_fit.Fitted(booster, _about(booster, family, settings, parameters))


def blended(base: Path, data: Any, tuning: Any, settings: dict[str, Any]) -> Any:
    """Greedy selection with replacement (Caruana et al. 2004) by average precision on the tuning rows."""
    members = dict(base_models(base / "input/data"))
    odds = {name: training_fit.log_odds(booster, tuning.matrix) for name, booster in members.items()}
    chosen: list[str] = []
    total, best = np.zeros(len(tuning.labels)), -1.0
    for step in range(1, _BLEND_STEPS + 1):
        scored = {n: average_precision(tuning.labels, (total + o) / step) for n, o in odds.items()}
        name = max(scored, key=lambda n: (scored[n], n))
        if scored[name] <= best:
            break
        best, total = scored[name], total + odds[name]
        chosen.append(name)
    weights = {name: chosen.count(name) / len(chosen) for name in sorted(set(chosen))}
    print(f"Blended: {', '.join(f'{name} {weight:.2f}' for name, weight in weights.items())}", flush=True)
    booster = joined([(members[name], weight) for name, weight in weights.items()])
    return training_fit.Fitted(booster, _about(booster, "blend", settings, {}) | {"weights": weights})


def _about(booster: xgb.Booster, family: str, settings: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """What metadata.json and the model card tell of how the booster came about."""
    return {
        "family": family,
        "tree_method": "hist",
        "tree_method_because": "Autopilot's candidates of this family use histograms.",
        "parameters": parameters,
        "seeds": [settings["seed"]],
        "rounds": [booster.num_boosted_rounds()],
        "threads": parameters.get("nthread", 1),
        "xgboost": xgb.__version__,
        "refit_rows": None,
    }


def base_models(folder: Path) -> Iterator[tuple[str, xgb.Booster]]:
    """(name, booster) of each channel base-*; archives are read, never unpacked."""
    for path in sorted(folder.glob("base-*/model.tar.gz")):
        with tarfile.open(path, "r:gz") as archive:
            member = archive.extractfile("model.ubj")
            assert member is not None, "a candidate's artifact has its booster"
            body = io.BytesIO(member.read()).getvalue()
        booster = xgb.Booster()
        booster.load_model(bytearray(body))
        yield path.parent.name.removeprefix("base-"), booster


def joined(members: list[tuple[xgb.Booster, float]]) -> xgb.Booster:
    """One booster of trees whose log-odds are the weighted sum of theirs. All have a base score of 0.5: log-odds 0."""
    models = [(json.loads(booster.save_raw("json")), weight) for booster, weight in members]
    trees: list[dict[str, Any]] = []
    for model, weight in models:
        held = model["learner"]["gradient_booster"]
        drops = held.get("weight_drop")
        for place, tree in enumerate(held["gbtree"]["model"]["trees"] if drops else held["model"]["trees"]):
            factor = weight * (drops[place] if drops else 1.0)
            tree["split_conditions"] = [
                value * factor if child == -1 else value
                for value, child in zip(tree["split_conditions"], tree["left_children"], strict=True)
            ]
            tree["base_weights"] = [value * factor for value in tree["base_weights"]]
            trees.append(tree | {"id": len(trees)})
    whole = models[0][0]
    learner = whole["learner"]
    if "gbtree" in learner["gradient_booster"]:
        learner["gradient_booster"] = {"name": "gbtree", "model": learner["gradient_booster"]["gbtree"]["model"]}
    inner = learner["gradient_booster"]["model"]
    inner["trees"], inner["tree_info"] = trees, [0] * len(trees)
    inner["iteration_indptr"] = list(range(len(trees) + 1))
    inner["gbtree_model_param"] |= {"num_trees": str(len(trees)), "num_parallel_tree": "1"}
    learner["attributes"] = {}
    one = xgb.Booster()
    one.load_model(bytearray(json.dumps(whole).encode()))
    return one


def run(base: Path) -> None:
    """Do the task; a model lands in `model/` under `base`."""
    given = json.loads((base / "input/config/hyperparameters.json").read_text())
    task = json.loads(given["sagemaker_automl"])
    counts = prepare(base, task)
    print(f"Rows: {', '.join(f'{name} {count:,}' for name, count in counts.items())}.", flush=True)
    if task["role"] == "analyse":
        (base / "model/analysis.json").write_text(json.dumps(counts))
        return
    family = task["family"]
    names = {k: str(v) for k, v in _FAMILIES.get(family, {}).items()} | {
        k: v for k, v in given.items() if not k.startswith("sagemaker_")
    }
    # A candidate is served as it was measured; learning again from all rows is the desk's own training's to do.
    names["refit"] = "no"
    there = base / "prepared"
    (there / "input/config").mkdir(parents=True)
    (there / "input/config/hyperparameters.json").write_text(json.dumps(names))
    (there / "input/config/inputdataconfig.json").write_text(json.dumps({"train": {}, "validation": {}}))
    if family == "blend":
        train.train(there, lambda data, tuning, settings: blended(base, data, tuning, settings))
    else:
        train.train(there, lambda data, tuning, settings: fitted(family, data, tuning, settings))
    for path in (there / "model").iterdir():
        path.rename(base / "model" / path.name)
    metrics = json.loads((base / "model/metadata.json").read_text())["metrics"]
    precision, recall = (metrics.get(f"{kind}_at_review") or 0.0 for kind in ("precision", "recall"))
    both = precision + recall
    print(f"metric:validation_f1={2 * precision * recall / both if both else 0.0:.6g};", flush=True)


def main() -> int:
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    try:
        run(base)
    except Failure as error:
        (base / "output/failure").write_text(str(error)[:900])
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
