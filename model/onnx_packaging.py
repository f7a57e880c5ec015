"""Packaging for serving: the booster as an ONNX tree ensemble, kept only when it answers as the booster does.

Why an own converter: onnxmltools brings skl2onnx, scikit-learn and scipy (260 MB) for what is one operator here. The
operator is ai.onnx.ml TreeEnsembleRegressor (ONNX operator set 3 of that domain): a branch goes left when
`value < threshold` in float32, which is XGBoost's own rule, and a missing value goes where the tree learned to send it.
The graph ends in log-odds, so that calibration and the logistic function are done in float64 by whoever serves.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

FILE = "model.onnx"
INPUT = "rows"
# What goes into an artifact's code/ folder: everything that serving imports.
SERVING_FILES = (
    "inference.py",
    "http_protocol.py",
    "http_serving.py",
    "loaded_model.py",
    "onnx_packaging.py",
    "row_formats.py",
)
# The largest difference of a score (a number from 0 to 1) between ONNX Runtime and the booster.
TOLERANCE = 1e-5
# Rows made for the comparison: at thresholds, just below them, and with missing values.
_EDGE_ROWS = 2_000
_GIVEN_ROWS = 20_000
_NO_RUNTIME = "onnx and onnxruntime are not installed here; the booster itself serves."


class PackagingFailed(RuntimeError):
    """The booster cannot be packaged as ONNX, or the package would answer otherwise; nothing was left in the folder."""


def export_onnx(booster: xgb.Booster, folder: Path, rows: NDArray[np.float32]) -> dict[str, Any]:
    """Write model.onnx into `folder`; returns {max_abs_difference, rows} of the comparison with the booster.

    `rows` [n, f] float32 with nan for missing: the first 20,000 are compared, and rows derived from them that hold
    missing values and values at the trees' thresholds. Where onnx or onnxruntime is not installed (AWS's XGBoost
    image) nothing is written and {max_abs_difference: None, rows: 0, note} says so: the booster serves. Raises
    PackagingFailed when the difference exceeds 1e-5 or the booster is no sum of trees over numbers with a log-odds
    link; a model.onnx that was in the folder is gone then, so it can never belong to another booster.
    """
    path = folder / FILE
    path.unlink(missing_ok=True)
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError:
        return {"max_abs_difference": None, "rows": 0, "note": _NO_RUNTIME}
    model = json.loads(booster.save_raw("json"))["learner"]
    partial = folder / f"{FILE}.partial"
    try:
        onnx.save(_graph(model), str(partial))
        compared = _comparison_rows(model, np.asarray(rows, dtype=np.float32))
        difference = _difference(booster, partial, compared)
        if not difference <= TOLERANCE:
            raise PackagingFailed(
                f"The ONNX model differs from the booster by {difference:.2g} in {len(compared):,} rows; "
                f"at most {TOLERANCE:g} is allowed. The model was not packaged."
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return {"max_abs_difference": difference, "rows": len(compared)}


def copy_serving_code(folder: Path) -> None:
    """The programs that serve a model, from beside this one into `folder` (an artifact's code/), made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SERVING_FILES:
        shutil.copyfile(Path(__file__).with_name(name), folder / name)


def open_session(path: Path) -> Any:
    """A single-threaded session: requests are what runs in parallel. Raises ImportError without onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # One operator: nothing can be rewritten, and patterns of memory only pay for graphs of many.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _graph(model: dict[str, Any]) -> Any:
    """The ModelProto: float[n, f] `rows` to float[n, 1] `log_odds`."""
    from onnx import TensorProto, helper

    width = int(model["learner_model_param"]["num_feature"])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["log_odds"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[_base_log_odds(model)],
        **_tree_attributes(_trees(model)),
    )
    graph = helper.make_graph(
        [node],
        "booster",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, [None, 1])],
    )
    sets = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 15)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8, producer_name="fraud-desk")


def _trees(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The booster's trees; PackagingFailed for what the operator cannot say."""
    objective, kind = model["objective"]["name"], model["gradient_booster"]["name"]
    if objective != "binary:logistic" or kind != "gbtree":
        raise PackagingFailed(f"Only gbtree boosters of binary:logistic can be packaged, not {kind} of {objective}.")
    trees: list[dict[str, Any]] = model["gradient_booster"]["model"]["trees"]
    for tree in trees:
        if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
            raise PackagingFailed("Trees with categorical splits or several outputs cannot be packaged.")
    return trees


def _base_log_odds(model: dict[str, Any]) -> float:
    """XGBoost 3 writes the base score as a vector in text, "[5E-1]", earlier versions as a number; a probability."""
    base = float(str(model["learner_model_param"]["base_score"]).strip("[]"))
    return math.log(base / (1.0 - base))


def _tree_attributes(trees: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's parallel lists. A leaf is a node without children; its value stands in split_conditions."""
    out: dict[str, Any] = {
        f"nodes_{name}": []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    out |= {"nodes_missing_value_tracks_true": []}
    out |= {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(trees):
        left = tree["left_children"]
        nodes = range(len(left))
        leaves = [node for node in nodes if left[node] == -1]
        out["nodes_treeids"] += [number] * len(left)
        out["nodes_nodeids"] += nodes
        out["nodes_modes"] += ["LEAF" if child == -1 else "BRANCH_LT" for child in left]
        out["nodes_featureids"] += [0 if left[i] == -1 else tree["split_indices"][i] for i in nodes]
        out["nodes_values"] += [0.0 if left[i] == -1 else tree["split_conditions"][i] for i in nodes]
        out["nodes_truenodeids"] += [max(child, 0) for child in left]
        out["nodes_falsenodeids"] += [max(child, 0) for child in tree["right_children"]]
        out["nodes_missing_value_tracks_true"] += [int(i) for i in tree["default_left"]]
        out["target_treeids"] += [number] * len(leaves)
        out["target_nodeids"] += leaves
        out["target_ids"] += [0] * len(leaves)
        out["target_weights"] += [tree["split_conditions"][leaf] for leaf in leaves]
    return out


def _comparison_rows(model: dict[str, Any], given: NDArray[np.float32]) -> NDArray[np.float32]:
    """The given rows, then (seeded) rows with missing values, rows at a threshold and rows just below one."""
    width = int(model["learner_model_param"]["num_feature"])
    if given.ndim != 2 or given.shape[1] != width:
        raise PackagingFailed(f"The rows to compare must have {width} features, not the shape {given.shape}.")
    given = given[:_GIVEN_ROWS]
    r = np.random.default_rng(7)
    base = given if len(given) else np.zeros((1, width), dtype=np.float32)
    splits = [
        (tree["split_indices"][node], tree["split_conditions"][node])
        for tree in model["gradient_booster"]["model"]["trees"]
        for node, left in enumerate(tree["left_children"])
        if left != -1
    ]
    gaps = base[r.integers(0, len(base), 500)].copy()
    gaps[r.random(gaps.shape) < 0.3] = np.nan
    parts = [given, gaps, np.full((1, width), np.nan, dtype=np.float32)]
    if splits:
        chosen = r.permutation(len(splits))[:_EDGE_ROWS]
        places = np.array([splits[i][0] for i in chosen])
        edges = np.array([splits[i][1] for i in chosen], dtype=np.float32)
        for values in (edges, np.nextafter(edges, np.float32(-np.inf), dtype=np.float32)):
            rows = base[r.integers(0, len(base), len(chosen))].copy()
            rows[np.arange(len(chosen)), places] = values
            parts.append(rows)
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def _difference(booster: xgb.Booster, path: Path, rows: NDArray[np.float32]) -> float:
    """The largest absolute difference of the two scores; nan when one of them is no number."""
    log_odds = open_session(path).run(None, {INPUT: rows})[0][:, 0].astype(np.float64)
    theirs = 1.0 / (1.0 + np.exp(-log_odds))
    ours = booster.inplace_predict(rows, validate_features=False).astype(np.float64)
    return float(np.abs(theirs - ours).max())
