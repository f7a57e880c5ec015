"""The flow of the version that serves is the one that is run, also while versions change; reasons in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from services.access import system
from services.domain.thresholds import Thresholds
from services.endpoint import EndpointScores
from services.errors import InvalidData, Unavailable
from services.features import DEMO
from services.flow_engine import FittedFlow, fit, from_json
from services.flow_inputs import from_documents, from_lake, lake_columns, table
from services.flow_steps import Flow, Step
from services.flow_training import with_flow
from services.flows import Flows
from services.lake import Lake
from services.scoring import Scoring
from services.training import Experiment, ExperimentState
from services.training_build import build_for
from services.training_data_import import Selection, read_raw, read_set
from tests.pages.fakes import Faults
from tests.pages.fakes_training_data import MemoryFlows, MemoryTables, lake_rows
from workers.curator_flatten import _transaction

NOW = datetime(2026, 11, 1, tzinfo=UTC)
STEPS = (
    Step("impute", {"column": "amount_minor", "with": "median"}),
    Step("log", {"column": "amount_minor"}),
    Step("one_hot", {"column": "category"}),
    Step("date_parts", {"column": "event_time", "parts": ["hour"]}),
    Step("cast", {"column": "attributes.loyalty", "to": "number"}),
    Step("expression", {"to": "per day", "sql": "customer_count_7d / 7"}),
)
FLOW = Flow((*DEMO.names, "category", "event_time", "attributes.loyalty"), STEPS)


def document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "_id": row["transaction_id"], "event_time": row["event_time"], "amount_minor": row["amount_minor"],
        "currency": row["currency"], "exponent": 2, "customer_id": row["customer_id"], "channel": row["channel"],
        "entry_mode": row["entry_mode"], "card": {"issuer_country": row["issuer_country"]},
        "merchant": {"id": row["merchant_id"], "category": row["category"], "country": row["merchant_country"]},
        "attributes": json.loads(row["attributes"]),
    }  # fmt: skip


class Model:
    """Answers 0.9 with the contributions given, as the versions listed, and refuses another width than `width`."""

    def __init__(self, versions: Sequence[str], widths: dict[str, int]) -> None:
        self.versions, self.widths, self.asked = list(versions), widths, list[Any]()

    def score(self, rows: Any, explain: bool = False) -> EndpointScores:
        version = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        matrix = np.asarray(rows)
        self.asked.append(matrix)
        if matrix.shape[1] != self.widths[version]:
            raise InvalidData("The model takes another number of columns.")
        terms = tuple(tuple(float(i + 1) for i in range(matrix.shape[1])) for _ in rows) if explain else None
        return EndpointScores((0.9,) * len(matrix), terms, version, "1", 1.0)


class Limits:
    def for_version(self, model_version: str) -> Thresholds:
        return Thresholds(model_version, 0.5, 0.95)


class Source:
    def __init__(self, of: dict[str, FittedFlow | None]) -> None:
        self.of = of

    def of_model(self, model_version: str) -> FittedFlow | None:
        return self.of[model_version]

    def recent_versions(self) -> Sequence[str]:
        return tuple(self.of)


@pytest.fixture(scope="module")
def trained() -> Any:
    """(rows of the lake, training set with the flow, the fitted flow, set without it)."""
    transactions, labels = lake_rows(NOW)
    lake = Lake(MemoryTables(Faults(), NOW, {"transactions": transactions, "labels": labels}))  # type: ignore[arg-type]
    selection = Selection(1, 1, datetime(2026, 10, 1, tzinfo=UTC), NOW, NOW)
    plain = read_set(lake, selection, plan=DEMO)
    raw = ["category", "event_time", "attributes.loyalty"]
    data, fitted = with_flow(plain, read_raw(lake, selection, raw), FLOW, flow_id="f", version=1)
    return transactions, data, fitted.flow, plain


def test_every_training_row_equals_its_scoring_vector(trained: Any) -> None:
    transactions, data, flow, plain = trained
    rows = {row["transaction_id"]: row for row in transactions.to_pylist()}
    kept = [row["transaction_id"] for row in data.rows.to_pylist() if row["split"] != "excluded"]
    documents = [document(rows[key]) for key in kept]
    model = Model(["v1"], {"v1": len(flow.outputs)})
    scoring = Scoring(model, Limits(), DEMO, Source({"v1": flow}))
    # The features themselves are the engine's to keep equal; float64 stands for what is computed online.
    vectors = plain.matrix.astype(np.float64)
    scoring.assess(vectors.tolist(), transactions=documents)
    assert model.asked[0].shape == data.matrix.shape
    assert int((~((model.asked[0] == data.matrix) | (np.isnan(model.asked[0]) & np.isnan(data.matrix)))).sum()) == 0
    assert data.schema["flow"] == {"id": "f", "version": 1}


def test_the_lake_and_a_document_give_the_same_raw_values(trained: Any) -> None:
    rows = trained[0].slice(0, 50)
    raw = ["event_time", "category", "currency", "issuer_country", "segment", "attributes.loyalty", "attributes.shop"]
    of_lake = from_lake(rows.select(lake_columns(raw)), raw)
    of_documents = from_documents([document(row) for row in rows.to_pylist()], raw)
    assert {k: v.to_pylist() for k, v in of_lake.items()} == {k: v.to_pylist() for k, v in of_documents.items()}
    flat = _transaction("k", document(rows.to_pylist()[0]))
    assert rows.to_pylist()[0]["category"] in flat


def scored(model: Model, source: Source, trained: Any, **options: Any) -> Any:
    row = trained[0].to_pylist()[-1]
    vector = trained[3].matrix[-1].astype(float).tolist()
    return Scoring(model, Limits(), DEMO, source).assess([vector], transactions=[document(row)], **options)[0]


def test_a_version_that_switches_is_asked_again_with_its_own_columns(trained: Any) -> None:
    flow = trained[2]
    widths = {"v1": len(DEMO.names), "v2": len(flow.outputs)}
    model = Model(["v2"], widths)
    assert scored(model, Source({"v1": None, "v2": flow}), trained).thresholds.model_version == "v2"
    assert [asked.shape[1] for asked in model.asked] == [widths["v1"], widths["v2"], widths["v2"]]
    model = Model(["v1", "v2", "v2", "v2", "v2"], widths)
    assert scored(model, Source({"v1": None, "v2": flow}), trained).thresholds.model_version == "v2"


def test_the_same_width_of_another_version_is_noticed_by_its_name(trained: Any) -> None:
    doubled = fit(
        Flow(DEMO.names, (Step("log", {"column": "amount_minor"}),)),
        table(DEMO.names, {n: i for i, n in enumerate(DEMO.names)}, trained[3].matrix, {}),
        train=np.ones(len(trained[3].labels), bool), labels=trained[3].labels,
    ).flow  # fmt: skip
    model = Model(["v2"], {"v2": len(DEMO.names)})
    scored(model, Source({"v1": None, "v2": doubled}), trained)
    amount = trained[3].matrix[-1][0]
    assert [float(asked[0, 0]) for asked in model.asked] == pytest.approx([amount, np.log1p(amount), np.log1p(amount)])


def test_a_refusal_of_every_version_stays_a_refusal(trained: Any) -> None:
    model = Model(["v1"], {"v1": 1})
    with pytest.raises(InvalidData):
        scored(model, Source({"v1": None, "v0": None}), trained)
    assert len(model.asked) == 1


def test_an_endpoint_that_never_settles_decides_nothing(trained: Any) -> None:
    flow = trained[2]

    class Mad(Model):
        def score(self, rows: Any, explain: bool = False) -> EndpointScores:
            return EndpointScores(
                (0.9,), None, "v1" if np.asarray(rows).shape[1] == len(flow.outputs) else "v2", "1", 1.0
            )

    with pytest.raises(Unavailable):
        scored(Mad(["v1"], {}), Source({"v1": None, "v2": flow}), trained)


def test_without_flows_the_vectors_are_passed_on_untouched(trained: Any) -> None:
    model = Model(["v1"], {"v1": len(DEMO.names)})
    vector = trained[3].matrix[-1].astype(float).tolist()
    Scoring(model, Limits(), DEMO).assess([vector])
    assert np.array_equal(model.asked[0][0], vector, equal_nan=True)


def test_reasons_are_in_the_words_of_what_came_in(trained: Any) -> None:
    flow = trained[2]
    model = Model(["v1"], {"v1": len(flow.outputs)})
    made = scored(model, Source({"v1": flow}), trained, explain_all=True, reasons_shown=200).reasons
    text = {reason.feature: reason.text for reason in made}
    category = trained[0].to_pylist()[-1]["category"]
    assert text["category"] == f"Category is {category}"
    assert text["event_time.hour"].startswith("Event time: ")
    assert text["attributes.loyalty"].startswith("Loyalty is ")
    assert text["per day"].startswith("Per day is ")
    assert "amount_minor" in text
    hot = [i + 1 for i, name in enumerate(flow.outputs) if name.startswith("category=")]
    assert next(r.contribution for r in made if r.feature == "category") == sum(hot)


def test_a_flow_that_needs_the_transaction_says_so_where_there_is_none(trained: Any) -> None:
    model = Model(["v1"], {"v1": len(trained[2].outputs)})
    with pytest.raises(InvalidData, match="needs category of each transaction"):
        Scoring(model, Limits(), DEMO, Source({"v1": trained[2]})).assess([trained[3].matrix[-1].tolist()])


def test_an_experiment_with_a_flow_keeps_what_it_fitted_and_says_so_in_its_files() -> None:
    transactions, labels = lake_rows(NOW)
    lake = Lake(MemoryTables(Faults(), NOW, {"transactions": transactions, "labels": labels}))  # type: ignore[arg-type]
    store, objects = MemoryFlows(Faults()), dict[str, bytes]()
    held = Flows(store).save(FLOW, name="F", note="", actor=system("a"))
    experiment = Experiment(
        "exp-1", "E", ExperimentState.PREPARING, "a", NOW, datetime(2026, 10, 1, tzinfo=UTC), NOW, NOW, "xgboost", {},
        snapshot_id=1, labels_snapshot_id=1, flow=(held.flow_id, 1),
    )  # fmt: skip
    manifest = build_for(experiment, lake, objects.__setitem__, DEMO, store)
    fitted = store.fits["exp-1"]
    assert manifest["flow"] == {"id": held.flow_id, "version": 1}
    assert json.loads(objects["training/exp-1/schema.json"])["features"] == list(fitted.outputs)
    assert from_json(json.loads(objects["training/exp-1/flow.json"])) == fitted
    assert list(objects)[-1] == "training/exp-1/manifest.json"
