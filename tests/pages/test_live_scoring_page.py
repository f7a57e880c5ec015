"""Live scoring: one payment, what if, pasted JSON, a file, and what stands in the way of each."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.access import Actor, Role
from services.domain.states import LabelValue, RunState
from services.errors import Denied, InvalidData
from services.scoring_runs_rows import REQUIRED
from services.scoring_runs_write_back import Written
from tests.pages.conftest import Open, failed, text_of
from ui import score_parts, scoring_csv, scoring_form, scoring_run_write_back

HEADER = ",".join(REQUIRED)
ANALYST = Actor("s-analyst", "Analyst Person", Role.ANALYST)


def line(identifier: str, *, amount: str = "12999", country: str = "DE") -> str:
    return (
        f"{identifier},2026-01-20T12:00:00Z,{amount},EUR,cus_1,tok_1,431940,1234,mer_1,Shop,5732,electronics,{country},"
        "ecom,stored"
    )


def send(at: Any) -> Any:
    return next(b for b in at.button if b.label == "Score").click().run()


def ended(desk: Any, run_id: str) -> Any:
    desk.scoring_runs.wait(run_id, 10.0)
    return desk.scoring_runs.get(run_id, actor=ANALYST)


def upload(at: Any, data: bytes, name: str = "payments.csv") -> Any:
    at.file_uploader[0].set_value((name, data, "text/csv")).run()
    assert failed(at) == []
    return at.button(key="live-score-file").click().run()


def test_a_payment_is_scored_with_reasons_decision_and_latency(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring")
    assert "No score yet" in text_of(at)
    send(at)
    assert failed(at) == []
    said = text_of(at)
    assert "model v7" in said
    assert "in all: features" in said


def test_a_changed_field_shows_what_it_did_to_the_score(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring")
    send(at)
    at.number_input(key="try-amount").set_value(2500.0)
    send(at)
    assert failed(at) == []
    assert "against the score before" in text_of(at)


def test_a_recent_payment_fills_the_form(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "live_scoring")
    box = at.selectbox(key="live-start")
    newest = max(desk.store.items.values(), key=lambda t: t.event_time)
    box.set_value(newest.transaction_id).run()
    assert failed(at) == []
    assert at.text_input(key="try-customer_id").value == newest.customer_id
    send(at)
    assert "model v7" in text_of(at)


def test_the_chosen_payment_stays_under_its_name_when_the_newest_are_others(
    open_page: Open, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_page("analyst", "live_scoring")
    chosen, name = at.selectbox(key="live-start").value, at.selectbox(key="live-start").options[0]
    monkeypatch.setattr(scoring_form, "recent", lambda: ())
    at.run()
    assert failed(at) == []
    assert (at.selectbox(key="live-start").value, at.selectbox(key="live-start").options) == (chosen, [name])
    at.segmented_control[0].set_value("if").run()
    assert failed(at) == []
    assert "mistyped" not in text_of(at)


@pytest.mark.parametrize(
    ("review", "decline", "said"),
    [
        (0.5, 0.9, [(0.5, "right", "review 0.50"), (0.9, "right", "decline 0.90")]),
        (0.06, 0.97, [(0.06, "left", "review 0.06"), (0.97, "right", "decline 0.97")]),
        (0.5, 0.55, [(0.5, "right", "review 0.50"), (0.55, "left", "decline 0.55")]),
        (0.06, 0.1, [(0.06, "left", "review 0.06 · decline 0.10")]),
        (0.9, 0.97, [(0.97, "right", "review 0.90 · decline 0.97")]),
    ],
)
def test_thresholds_are_named_beside_their_marks_within_the_scale(
    review: float, decline: float, said: list[tuple[float, str, str]]
) -> None:
    assert score_parts.scale_labels(review, decline) == said


def test_a_scoring_api_that_is_down_is_a_sentence_and_never_a_low_score(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "live_scoring")
    desk.faults.down = {"the scoring API"}
    send(at)
    assert failed(at) == []
    assert "the scoring API is not reachable" in text_of(at)
    assert "0.000" not in text_of(at)


def test_a_database_that_is_down_leaves_the_form_usable(open_page: Open, desk: Any) -> None:
    desk.faults.down = {"MongoDB"}
    at = open_page("analyst", "live_scoring")
    assert failed(at) == []
    assert at.number_input(key="try-amount").value == 129.9


def test_refused_input_lists_every_problem(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring")
    at.text_input(key="try-customer_id").set_value("not an id!")
    at.text_input(key="try-merchant_name").set_value("")
    send(at)
    assert failed(at) == []
    fields = set(at.dataframe[0].value["Field"])
    assert {"customer_id", "merchant.name"} <= fields


def test_managers_are_refused_in_a_sentence(open_page: Open) -> None:
    at = open_page("manager", "live_scoring")
    assert "Your role does not open this page" in text_of(at)
    assert not at.button or all(b.label != "Score" for b in at.button)


def test_what_if_asks_once_a_change_and_shows_which_reasons_changed_most(
    open_page: Open, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    score = desk.live_scoring.score
    monkeypatch.setattr(desk.live_scoring, "score", lambda records, **k: asked.append(records) or score(records, **k))
    at = open_page("analyst", "live_scoring", live_input="What if")
    assert failed(at) == []
    assert "Nothing is changed yet" in text_of(at)
    at.run()
    assert len(asked) == 1
    slider = next(s for s in at.slider if s.key == "what-if-amount")
    slider.set_value(slider.max).run()
    assert failed(at) == []
    assert len(asked) == 2
    assert asked[1][1]["amount_minor"] > asked[1][0]["amount_minor"]
    assert "against as it is" in text_of(at)
    at.button(key="what-if-reset").click().run()
    assert "Nothing is changed yet" in text_of(at)


def test_what_if_without_the_scoring_api_is_a_sentence_and_keeps_the_choices(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "live_scoring", live_input="What if")
    desk.faults.down = {"the scoring API"}
    at.selectbox(key="what-if-device").set_value("Never seen before").run()
    assert failed(at) == []
    assert "the scoring API is not reachable" in text_of(at)
    desk.faults.down = set()
    at.run()
    assert at.selectbox(key="what-if-device").value == "Never seen before"
    assert "Changed" in text_of(at)


def test_pasted_json_is_scored_as_one_or_many(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring", live_input="Pasted JSON")
    next(b for b in at.button if b.label == "Example").click().run()
    record = json.loads(at.text_area(key="live-json").value)
    send(at)
    assert failed(at) == []
    assert "in all: features" in text_of(at)
    at.text_area(key="live-json").set_value(json.dumps([record, {**record, "transaction_id": "t-2"}]))
    send(at)
    assert failed(at) == []
    assert "2 scored" in text_of(at)


def test_nan_in_pasted_json_is_refused_with_its_place(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring", live_input="Pasted JSON")
    at.text_area(key="live-json").set_value('[{"amount_minor": NaN, "attributes": {"x": -Infinity}}, {"a": 1e999}]')
    send(at)
    assert failed(at) == []
    problems = at.dataframe[0].value
    assert list(problems["Field"]) == ["amount_minor", "attributes.x", "a"]
    assert list(problems["Row"]) == [1, 1, 2]


def test_only_those_who_may_write_back_and_twice_changes_nothing(open_page: Open) -> None:
    at = send(open_page("analyst", "live_scoring"))
    assert not [b for b in at.button if b.key == "write-back-one"]
    at = send(open_page("admin", "live_scoring"))
    at.button(key="write-back-one").click().run()
    assert failed(at) == []
    assert "1 written" in "".join(s.value for s in at.success)
    at.button(key="write-back-one").click().run()
    assert "0 written, 1 known before (nothing changed)" in "".join(s.value for s in at.success)


def test_a_file_is_scored_in_the_background_and_its_good_rows_are_kept(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "live_scoring", live_input="File of payments")
    assert "No file scored yet" in text_of(at)
    data = "\n".join([HEADER, line("a"), line("b", amount="abc", country="Germany"), line("c", amount="99999")])
    upload(at, data.encode())
    run = ended(desk, desk.scoring_runs.runs(actor=ANALYST)[0].run_id)
    assert (run.state, run.rows, run.scored, run.refused) == (RunState.DONE, 3, 2, 1)
    at.run()
    assert failed(at) == []
    assert "2 scored" in text_of(at)
    tops, problems = at.dataframe[0].value, at.dataframe[1].value
    assert list(tops["id"]) == ["c", "a"]
    assert list(tops["row"]) == [3, 1]
    assert list(problems["row"]) == [2, 2]
    assert set(problems["column"]) == {"amount_minor", "merchant.country"}
    out = io.BytesIO()
    desk.scoring_runs.write(run.run_id, out, what="results", form="parquet", actor=ANALYST)
    assert pq.read_table(io.BytesIO(out.getvalue())).column("row").to_pylist() == [1, 3]


def test_a_run_waits_for_a_model_that_is_down_and_can_be_cancelled_and_resumed(open_page: Open, desk: Any) -> None:
    at = open_page("analyst", "live_scoring", live_input="File of payments")
    desk.faults.down = {"the scoring API"}
    upload(at, "\n".join([HEADER, *(line(f"t{i}") for i in range(500))]).encode())
    run = desk.scoring_runs.runs(actor=ANALYST)[0]
    deadline = time.monotonic() + 10
    while desk.scoring_runs.get(run.run_id, actor=ANALYST).trouble is None and time.monotonic() < deadline:
        time.sleep(0.01)
    at.run()
    assert failed(at) == []
    assert "the scoring API is not reachable. It is tried again." in text_of(at)
    at.button(key="live-run-cancel").click().run()
    assert ended(desk, run.run_id).state is RunState.CANCELLED
    desk.faults.down = set()
    at.run()
    at.button(key="live-run-resume").click().run()
    run = ended(desk, run.run_id)
    assert (run.state, run.rows, run.scored) == (RunState.DONE, 500, 500)
    at.run()
    at.button(key="live-run-delete").click().run()
    assert "No file scored yet" in text_of(at)


def test_a_files_scores_are_written_onto_the_transactions_they_are_of_by_those_who_may(
    open_page: Open, desk: Any
) -> None:
    for t in [t for t in desk.store.items.values() if t.score][:3]:
        desk.store.items[t.transaction_id] = replace(t, event_time=t.event_time.replace(microsecond=0))
    free, other, decided = [t for t in desk.store.items.values() if t.score][:3]
    desk.cases.decide(
        decided.transaction_id, LabelValue.GENUINE, note="", expected_version=decided.version, actor=ANALYST
    )
    decided = desk.store.items[decided.transaction_id]
    lines = [HEADER, line("nobody")]
    for t, more in ((free, 0), (other, 1), (decided, 0)):
        cells = line(t.transaction_id, amount=str(t.amount_minor + more)).split(",")
        cells[1], cells[4] = t.event_time.isoformat(), t.customer_id
        lines.append(",".join(cells))
    at = open_page("analyst", "live_scoring", live_input="File of payments")
    upload(at, "\n".join(lines).encode())
    ended(desk, desk.scoring_runs.runs(actor=ANALYST)[0].run_id)
    at.run()
    assert not [b for b in at.button if b.key == "live-run-write-back"]
    at = open_page("admin", "live_scoring", live_input="File of payments")
    upload(at, "\n".join(lines).encode())
    admin = Actor("s-admin", "Admin Person", Role.ADMIN)
    run = desk.scoring_runs.runs(actor=admin)[0]
    desk.scoring_runs.wait(run.run_id, 10.0)
    at.run()
    for said in ("1 scores written back, left as they were: 1", "0 scores written back, left as they were: 1 as new"):
        at.button(key="live-run-write-back").click().run()
        desk.file_write_back.wait(run.run_id, 10.0)
        at.run()
        assert failed(at) == []
        told = "".join(s.value for s in at.success)
        assert said in told
        assert "1 not found; 1 decided already; 1 with another amount, time or customer" in told
    assert desk.store.items[free.transaction_id].score.model_version == "v7"
    assert desk.store.items[decided.transaction_id] == decided
    assert desk.store.items[other.transaction_id] == other
    with pytest.raises(Denied):
        desk.file_write_back.start(desk.scoring_runs.runs(actor=ANALYST)[0].run_id, actor=ANALYST)


def test_what_was_not_written_to_its_end_says_why_and_how_much_is_left() -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    stopped = Written(
        "r", "o", "Ada", at, at, 30, state=RunState.CANCELLED, rows=10, written=4, absent=6, alerts=1
    )  # fmt: skip
    said = "4 scores written back, left as they were: 6 not found. 1 alert was opened. 20 are left to do."
    assert scoring_run_write_back.sentence(stopped, interrupted=False).replace("\\", "") == f"It was stopped. {said}"
    cut = replace(stopped, state=RunState.RUNNING)
    assert scoring_run_write_back.sentence(cut, interrupted=True).replace("\\", "") == f"Its process is gone. {said}"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"PK\x03\x04\x00\x00", "zip or Excel file"),
        (b"transaction_id,amount_minor,color\n1,2,red\n", "missing columns: event_time"),
        (b"transaction_id,amount_minor,color\n1,2,red\n", "unknown columns: 'color'"),
        (HEADER.encode(), "a header but no rows"),
        (",".join(f"c{i}" for i in range(600_000)).encode(), "600,000 columns; at most 120"),
        (f"{HEADER},channel,channel\n".encode(), "columns named twice: channel"),
        (b"", "is empty"),
        (b"[{}]", "one JSON array"),
        (b"PAR1nonsense", "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_everything_wrong_with_it(desk: Any, data: bytes, part: str) -> None:
    with pytest.raises(InvalidData) as refused:
        desk.scoring_runs.start(io.BytesIO(data), "payments.csv", actor=ANALYST)
    assert part in refused.value.message
    assert desk.scoring_runs.runs(actor=ANALYST) == ()


def test_the_template_scores_as_it_is(desk: Any) -> None:
    run = desk.scoring_runs.start(io.BytesIO(scoring_csv.template()), "template.csv", actor=ANALYST)
    run = ended(desk, run.run_id)
    assert (run.scored, run.refused, run.first_problems) == (1, 0, ())
