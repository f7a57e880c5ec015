"""Flows: fitted on training rows alone, the same at scoring time, every number beside plain Python."""

from __future__ import annotations

import json
import math
import random
import statistics
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from services.access import Actor, Role, system
from services.errors import Conflict, Denied, InvalidData
from services.flow_engine import Fitted, fit, from_json
from services.flow_sandbox import FUNCTIONS, check_expression, run
from services.flow_steps import Flow, Step, as_json, read_flow
from services.flows import Flows, export
from tests.pages.fakes import Faults
from tests.pages.fakes_training_data import MemoryFlows

N, CUT = 400, 300
S = Step


def rows() -> pa.Table:
    rng = random.Random(5)
    start = datetime(2026, 3, 1)
    return pa.table(
        {
            "amount": pa.array(
                [None if rng.random() < 0.1 else rng.lognormvariate(3, 1) for _ in range(N)], pa.float64()
            ),
            "x": pa.array([rng.uniform(-5, 5) for _ in range(N)], pa.float64()),
            "category": pa.array([rng.choice(["a", "b's", "c[1]", None]) for _ in range(N)], pa.string()),
            "event_time": pa.array([start + timedelta(hours=7 * i) for i in range(N)], pa.timestamp("ms")),
        }
    )


TABLE = rows()
LABELS = np.array([random.Random(i).random() < 0.15 for i in range(N)], dtype=np.int8)
TRAIN = np.arange(N) < CUT


def fitted(*steps: Step, table: pa.Table = TABLE) -> Fitted:
    return fit(Flow(tuple(table.column_names), steps), table, train=TRAIN, labels=LABELS)


def column(made: Fitted, name: str) -> list[Any]:
    return made.table[name].to_pylist()


def present(name: str, until: int = CUT) -> list[Any]:
    return [value for value in TABLE[name].to_pylist()[:until] if value is not None]


@pytest.mark.parametrize(
    ("way", "oracle"), [("mean", statistics.fmean), ("median", statistics.median), ("mode", statistics.mode)]
)
def test_missing_values_are_filled_from_training_rows_only(way: str, oracle: Any) -> None:
    name = "category" if way == "mode" else "amount"
    made = fitted(S("impute", {"column": name, "with": way}))
    values = present(name)
    expected = min(set(values), key=lambda v: (-values.count(v), v)) if way == "mode" else oracle(values)
    filled = [
        after for before, after in zip(TABLE[name].to_pylist(), column(made, name), strict=True) if before is None
    ]
    assert filled
    assert all(v == pytest.approx(expected) if way != "mode" else v == expected for v in filled)


def quantile(values: list[float], share: float) -> float:
    ordered, place = sorted(values), share * (len(values) - 1)
    low = math.floor(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


def test_clip_log_and_bucket_against_plain_python() -> None:
    made = fitted(
        S("clip", {"column": "amount", "quantiles": [0.05, 0.9]}),
        S("log", {"column": "x"}),
        S("bucket", {"column": "amount", "edges": [10, 20]}),
    )
    low, high = quantile(present("amount"), 0.05), quantile(present("amount"), 0.9)
    for before, after in zip(TABLE["amount"].to_pylist(), column(made, "amount"), strict=True):
        clipped = None if before is None else min(max(before, low), high)
        assert after == (None if clipped is None else (clipped >= 10) + (clipped >= 20))
    logs = [math.copysign(math.log1p(abs(v)), v) for v in TABLE["x"].to_pylist()]
    assert column(made, "x") == pytest.approx(logs)


def test_one_hot_gives_unknown_and_missing_all_zero() -> None:
    made = fitted(S("one_hot", {"column": "category"}))
    assert sorted(made.flow.outputs) == ["amount", "category=a", "category=b's", "category=c_1_", "x"]
    odd = pa.table(
        {
            "amount": [1.0, 1.0],
            "x": [0.0, 0.0],
            "category": pa.array(["new", None], pa.string()),
            "event_time": TABLE["event_time"][:2],
        }
    )
    assert made.flow.matrix(odd)[:, 2:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_target_encoding_never_uses_a_rows_own_or_later_labels() -> None:
    made = fitted(S("target_encode", {"column": "category", "smoothing": 10.0, "folds": 5, "to": "te"}))
    values, labels = TABLE["category"].to_pylist(), LABELS.tolist()

    def estimate(category: Any, until: int, prior: float) -> float:
        of = [labels[i] for i in range(until) if values[i] == category]
        return (sum(of) + 10 * prior) / (len(of) + 10) if of else prior

    for i, encoded in enumerate(column(made, "te")):
        known = CUT if i >= CUT else i // 60 * 60
        if not known:
            assert encoded is None
            continue
        prior = sum(labels[:known]) / known
        expected = estimate(values[i], known, prior) if values[i] is not None else prior
        assert encoded == pytest.approx(expected), i
    flipped = LABELS.copy()
    flipped[299] = 1 - flipped[299]
    again = fit(made.flow.flow, TABLE, train=TRAIN, labels=flipped)
    assert column(again, "te")[:300] == column(made, "te")[:300]


def test_date_parts_are_of_utc() -> None:
    made = fitted(S("date_parts", {"column": "event_time", "parts": ["hour", "weekday", "weekend", "day", "month"]}))
    times = TABLE["event_time"].to_pylist()
    assert column(made, "event_time.hour") == [t.hour for t in times]
    assert column(made, "event_time.weekday") == [t.isoweekday() for t in times]
    assert column(made, "event_time.weekend") == [int(t.isoweekday() >= 6) for t in times]
    assert column(made, "event_time.day") == [t.day for t in times]
    assert column(made, "event_time.month") == [t.month for t in times]


EVERYTHING = (
    S("expression", {"to": "ratio", "sql": "amount / x"}),
    S("expression", {"to": "bad", "sql": "ln(x)"}),
    S("impute", {"column": "bad", "with": "median"}),
    S("impute", {"column": "amount", "with": "mean"}),
    S("clip", {"column": "ratio", "low": -10, "high": 10}),
    S("bucket", {"column": "x", "quantiles": 7}),
    S("log", {"column": "amount"}),
    S("date_parts", {"column": "event_time", "parts": ["hour", "weekend"]}),
    S("one_hot", {"column": "category", "most": 2}),
    S("rename", {"column": "ratio", "to": "share of x"}),
    S("cast", {"column": "bad", "to": "number"}),
)


def test_one_transaction_gets_the_very_row_of_the_matrix() -> None:
    made = fitted(*EVERYTHING)
    stored = from_json(json.loads(json.dumps(made.flow.as_json())))
    matrix = made.matrix()
    assert np.array_equal(stored.matrix(TABLE), matrix, equal_nan=True)
    for i in range(0, N, 23):
        assert np.array_equal(stored.matrix(TABLE.slice(i, 1)), matrix[i : i + 1], equal_nan=True)


def test_validation_rows_change_nothing_that_is_learned() -> None:
    other = TABLE.slice(0, CUT)
    strange = pa.concat_tables([other, TABLE.slice(CUT).set_column(0, "amount", pa.array([1e9] * (N - CUT)))])
    assert fitted(*EVERYTHING, table=strange).flow.fits == fitted(*EVERYTHING).flow.fits


def test_division_by_zero_and_failed_functions_are_missing_and_said() -> None:
    made = fitted(S("expression", {"to": "y", "sql": "amount / 0 + ln(-1)"}))
    assert column(made, "y") == [None] * N
    assert "y cannot be computed for 400 of 400 rows" in made.notes[0]
    assert "category, event_time are still text or a time" in made.notes[1]


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((S("drop", {"columns": ["x"]}), S("log", {"column": "x"})), "Step 2 (Logarithm x): There is no column x"),
        ((S("drop", {"columns": ["amount", "x", "category", "event_time"]}),), "No column would be left."),
        ((S("keep", {"columns": ["category"]}),), "No column of numbers is left for the model"),
        ((S("log", {"column": "category"}),), "category is not a number"),
        ((S("one_hot", {"column": "x"}),), "x is not text"),
        ((S("rename", {"column": "x", "to": "AMOUNT"}),), "There is already a column"),
        ((S("date_parts", {"column": "x", "parts": ["hour"]}),), "x is not a time"),
        ((S("expression", {"to": "y", "sql": "nothing + 1"}),), "There is no column nothing at this step."),
        ((S("expression", {"to": "y", "sql": "category + 1"}),), "Step 1 (SQL expression y)"),
        ((S("expression", {"to": "y", "sql": "x +"}),), "The expression cannot be read"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_with_its_column(steps: tuple[Step, ...], sentence: str) -> None:
    with pytest.raises(InvalidData) as caught:
        fitted(*steps)
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


ATTACKS = [
    "(SELECT 1)", "x) AS y FROM rows; DROP TABLE rows; --", "x) , (1", "1; ATTACH '/tmp/a.db'", "EXISTS(SELECT 1)",
    "read_text('/etc/passwd')", "read_csv('/etc/passwd')", "read_parquet('s3://b/k')", "getenv('HOME')",
    "x IN (SELECT 1)",
    "COPY rows TO '/tmp/x'", "query('select 1')", "random()", "now()", "current_setting('threads')", "count(*)",
    "sum(x)",
    "row_number() OVER ()", "unnest([1,2])", "[y FOR y IN [1,2]]", "repeat('x', 1000000000)", "*", "COLUMNS(*)", "$1",
    "x::BLOB", "x::INT[]", "list_transform([1], y -> y)", "x COLLATE nocase", "rows.x", "", " ", "/* x", "nextval('s')",
    "(FROM rows)", "(TABLE rows)", "x FROM read_text('/etc/passwd')", "'a' SIMILAR TO 'b'", "system('id')",
]  # fmt: skip


@pytest.mark.parametrize("sql", ATTACKS)
def test_an_expression_is_nothing_but_an_expression(sql: str) -> None:
    with pytest.raises(InvalidData):
        check_expression(sql, ["x"])


def test_no_listed_function_reads_or_writes_and_the_database_is_shut_in() -> None:
    assert not {name for name in FUNCTIONS if name.startswith(("read", "write", "getenv", "glob", "parquet", "sniff"))}
    for sql in ("SELECT * FROM '/etc/passwd'", "COPY rows TO '/tmp/x.csv'", "SET threads = 4", "INSTALL httpfs"):
        with pytest.raises(InvalidData):
            run(sql, TABLE)


def test_an_endless_query_is_stopped() -> None:
    wide = pa.table({"x": list(range(3_000))})
    with pytest.raises(InvalidData, match="took longer"):
        run("SELECT count(*) FROM rows a, rows b, rows c, rows d WHERE a.x + b.x + c.x + d.x = -1", wide, seconds=0.2)


def test_a_flow_survives_its_json_and_bad_json_lists_every_problem() -> None:
    flow = Flow(tuple(TABLE.column_names), EVERYTHING)
    assert read_flow(json.dumps(as_json(flow))) == flow
    with pytest.raises(InvalidData) as caught:
        read_flow(
            {
                "format": "fraud-desk-flow/1",
                "columns": ["a", "A"],
                "steps": [{"do": "nothing"}, {"do": "log"}, {"do": "clip", "column": "a"}],
            }
        )
    assert [(p.row, p.field) for p in caught.value.problems] == [
        (0, "columns"),
        (0, "do"),
        (1, "column"),
        (2, "quantiles"),
    ]
    with pytest.raises(InvalidData, match="not JSON"):
        read_flow("{")


def test_versions_are_added_and_of_two_who_save_one_is_told() -> None:
    flows, flow = Flows(MemoryFlows(Faults())), Flow(("x",))
    first = flows.save(flow, name="F", note="", actor=system("a"))
    second = flows.save(Flow(("x",), (S("log", {"column": "x"}),)), name="F", note="log", actor=system("a"),
                        flow_id=first.flow_id, after=1)  # fmt: skip
    with pytest.raises(Conflict):
        flows.save(flow, name="F", note="", actor=system("b"), flow_id=first.flow_id, after=1)
    assert [v.version for v in flows.versions(first.flow_id)] == [2, 1]
    copy = flows.duplicate(second.flow_id, 2, actor=system("b"))
    assert (copy.name, copy.version, copy.flow) == ("F (copy)", 1, second.flow)
    assert read_flow(export(copy)) == second.flow
    with pytest.raises(Denied):
        flows.save(flow, name="F", note="", actor=Actor("s", "n", Role.ANALYST))
