"""The model card: what the model is, learned from, worth and not meant for; as JSON and as Markdown for people.

Sections follow Mitchell et al., Model Cards for Model Reporting (2019), as far as the training job knows the answers.
"""

from __future__ import annotations

from typing import Any

LIMITS = (
    "It scores card transactions with the features named here, computed as at training; other inputs are refused or "
    "meaningless.",
    "Transactions without a verdict count as genuine once they are old enough, so fraud nobody noticed was learned "
    "as genuine, and shares of fraud are lower bounds.",
    "The split is by time. Figures hold for days like those measured; fraud changes, so train again when they fall.",
    "A score supports a decision of a person or a rule the desk has set. It is no evidence against a customer.",
)


def card(metadata: dict[str, Any]) -> dict[str, Any]:
    """The card of a metadata.json; absent parts are None or empty, never invented."""
    training, about = metadata["training"], metadata["training_set"]
    words = about.get("features", {})
    return {
        "model": "Gradient boosted trees (XGBoost) that score card transactions for fraud",
        "experiment_id": about.get("experiment_id"),
        "data": {
            **{
                name: about.get(name)
                for name in ("window_start", "window_end", "label_cutoff", "snapshot_id", "labels_snapshot_id")
            },
            "flow": metadata["flow"],
            "train": {"rows": training["rows"], "frauds": training["positives"]},
            "tuning": {"rows": training["tuning"]["rows"], "frauds": training["tuning"]["positives"]},
            "measured": {"rows": training["measured"]["rows"], "frauds": training["measured"]["positives"]},
            "measured_apart": training["measured_apart"],
            "young": _young(training),
        },
        "features": [
            {"name": name, "title": words.get(name, {}).get("title", name), "unit": words.get(name, {}).get("unit")}
            for name in metadata["features"]
        ],
        "features_version": metadata["features_version"],
        "constant_features": training["constant_features"],
        "method": {
            name: training[name]
            for name in (
                "tree_method", "tree_method_because", "parameters", "hyperparameters", "seeds", "rounds", "threads",
                "xgboost", "code_sha256", "refit_rows",
            )
        },
        "metrics": metadata["metrics"],
        "by_segment": metadata["by_segment"],
        "segments": {key: about.get("segments", {}).get(key, key) for key in metadata["by_segment"]},
        "thresholds": metadata["thresholds"],
        "calibration": metadata["calibration"],
        "parity": metadata["parity"],
        "limits": list(LIMITS),
        "booster_sha256": metadata["booster_sha256"],
        "reproduce": f"python -m services reproduce {about['experiment_id']}" if about.get("experiment_id") else None,
    }  # fmt: skip


def _young(training: dict[str, Any]) -> dict[str, Any] | None:
    """Rows too new to measure on: how many, and whether the last fit learned from them; None where it is not known."""
    young = training.get("young")
    if young is None:
        return None
    return {"rows": young["rows"], "frauds": young["positives"], "learned": bool(training.get("refit_young"))}


def text(held: dict[str, Any]) -> str:
    """Markdown."""
    sections = [
        ("Data", _data(held)),
        ("Method", _method(held)),
        ("Measured", _table(("Metric", "Value"), [(name, _number(v)) for name, v in sorted(held["metrics"].items())])),
        *(
            (f"By {held['segments'][key][:1].lower()}{held['segments'][key][1:]}", _segments(values))
            for key, values in held["by_segment"].items()
        ),
        ("Thresholds", _thresholds(held["thresholds"])),
        ("Calibration", _calibration(held["calibration"])),
        ("Serving", _parity(held["parity"])),
        ("Features", _table(("Feature", "Meaning", "Unit"), [_feature(f) for f in held["features"]])),
        ("Limits of use", "\n".join(f"- {sentence}" for sentence in held["limits"])),
        ("Reproduce", f"`{held['reproduce']}`" if held["reproduce"] else "The job was started outside an experiment."),
    ]  # fmt: skip
    title = f"# Model card: {held['experiment_id'] or 'a training job of its own'}\n\n{held['model']}."
    return "\n\n".join([title, *(f"## {name}\n\n{body}" for name, body in sections)]) + "\n"


def _data(held: dict[str, Any]) -> str:
    data = held["data"]
    lines = [
        f"- {what}: {_rows(data[part])}"
        for part, what in (
            ("train", "Learned from"),
            ("tuning", "Tuned on (when to stop, calibration, thresholds)"),
            ("measured", "Measured on"),
        )
    ]
    if not data["measured_apart"]:
        lines.append("- Too few frauds to measure apart: the figures are of the rows it was tuned on, and flatter.")
    if data["young"] and data["young"]["rows"]:
        learned = "only the last fit, on all rows, learned from them" if data["young"]["learned"] else "left out"
        lines.append(f"- Too new to measure on, though a verdict is known: {_rows(data['young'])}; {learned}")
    if data["window_start"]:
        lines.insert(
            0, f"- Window: {data['window_start']} to {data['window_end']}, labels until {data['label_cutoff']}"
        )
        snapshots = f"- Snapshots: transactions {data['snapshot_id']}, labels {data['labels_snapshot_id']}"
        lines.insert(1, snapshots)
    if data["flow"]:
        lines.append(f"- Flow: {data['flow'].get('id')}, version {data['flow'].get('version')}")
    return "\n".join(lines)


def _method(held: dict[str, Any]) -> str:
    method = held["method"]
    lines = [
        f"- Tree method {method['tree_method']}: {method['tree_method_because']}",
        f"- Trees: {', '.join(map(str, method['rounds']))}; seeds {', '.join(map(str, method['seeds']))}",
        f"- XGBoost {method['xgboost']}; threads: {method['threads']}",
    ]
    if method["refit_rows"]:
        lines.append(
            f"- Afterwards trained again on all {method['refit_rows']:,} rows; every figure here is of the model "
            "before, which had seen neither the validation rows nor any younger"
        )
    if held["constant_features"]:
        lines.append(f"- Never changed, so not used: {', '.join(held['constant_features'])}")
    return "\n".join(lines) + "\n\n" + _table(("Setting", "Value"), sorted(method["hyperparameters"].items()))


def _segments(values: list[dict[str, Any]]) -> str:
    names = ("average_precision", "recall_at_review", "precision_at_review", "alert_rate")
    rows = [
        (v["value"], f"{v['rows']:,}", f"{v['frauds']:,}", *(_number(v[n]) if n in v else "" for n in names))
        for v in values
    ]
    return _table(("Value", "Rows", "Frauds", "AP", "Recall", "Precision", "Alert rate"), rows)


def _thresholds(held: dict[str, Any]) -> str:
    pair = f"Review from {held['review_threshold']:.6g}, decline from {held['decline_threshold']:.6g}."
    if held["kind"] != "cost":
        return f"{pair} {held['reason']} They follow the alert rate and precision aimed at."
    costs = held["costs"]
    return (
        f"{pair} They cost least on the tuning rows within the desk's limits: {held['cost_minor']:,.0f} instead of "
        f"{held['cost_without_desk_minor']:,.0f} minor units without a desk, with {costs['cost_review_minor']:g} a "
        f"review, {costs['cost_insult_minor']:g} a genuine customer declined, {costs['recovered_share']:.0%} recovered "
        f"later and {costs['review_prevents']:.0%} of a loss still prevented by a review (assumptions, unless set)."
    )


def _calibration(held: dict[str, Any]) -> str:
    quality, before = held["quality"], held["uncalibrated"]
    if held["kind"] == "none":
        said = f"None: {held['reason']} The score ranks; it is no probability."
    else:
        said = f"Logistic on the log-odds, slope {held['slope']:.4g}, intercept {held['intercept']:.4g}."
    said += (
        f" Brier score {quality['brier']:.3g} (before {before['brier']:.3g}), expected calibration error "
        f"{quality['ece']:.3g} (before {before['ece']:.3g})."
    )
    rows = [
        (f"{b['low']:g} to {b['high']:g}", f"{b['rows']:,}", _number(b["mean_score"]), _number(b["fraud_share"]))
        for b in quality["bins"]
    ]
    return said + "\n\n" + _table(("Score", "Rows", "Mean score", "Share of fraud"), rows)


def _parity(held: dict[str, Any]) -> str:
    if held["max_abs_difference"] is None:
        return str(held.get("note", "The booster itself serves."))
    return f"ONNX and booster differ by at most {held['max_abs_difference']:.2g} in {held['rows']:,} rows."


def _feature(held: dict[str, Any]) -> tuple[str, str, str]:
    return f"`{held['name']}`", held["title"], held["unit"] or ""


def _rows(held: dict[str, int]) -> str:
    return f"{held['rows']:,} transactions, {held['frauds']:,} of them fraud"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
