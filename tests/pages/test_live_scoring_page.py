"""Live scoring: one payment, a file, and what stands in the way of either."""

from __future__ import annotations

from typing import Any

import pytest

from services.errors import InvalidData
from tests.pages.conftest import Open, failed, text_of
from ui import scoring_csv

HEADER = ",".join(scoring_csv.REQUIRED)


def line(identifier: str, *, amount: str = "12999", country: str = "DE") -> str:
    return (
        f"{identifier},2026-01-20T12:00:00Z,{amount},EUR,cus_1,tok_1,431940,1234,mer_1,Shop,5732,electronics,{country},"
        "ecom,stored"
    )


def send(at: Any) -> Any:
    return next(b for b in at.button if b.label == "Score").click().run()


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


def test_a_file_is_checked_row_by_row_and_its_good_rows_can_be_scored(open_page: Open) -> None:
    at = open_page("analyst", "live_scoring", live_input="File of payments")
    data = "\n".join([HEADER, line("a"), line("b", amount="abc", country="Germany"), line("c", amount="99999")])
    at.file_uploader[0].set_value(("payments.csv", data.encode(), "text/csv")).run()
    assert failed(at) == []
    problems = at.dataframe[0].value
    assert list(problems["Line"]) == [3, 3]
    assert set(problems["Field"]) == {"amount_minor", "merchant.country"}
    at.button(key="live-score-file").click().run()
    assert failed(at) == []
    results = at.dataframe[1].value
    assert list(results["id"]) == ["c", "a"]
    assert list(results["row"]) == [4, 2]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"PK\x03\x04\x00\x00", "not a CSV file"),
        ("é".encode("latin-1"), "not UTF-8"),
        (b"transaction_id,amount_minor,color\n1,2,red\n", "missing columns: event_time"),
        (b"transaction_id,amount_minor,color\n1,2,red\n", "unknown columns: 'color'"),
        (HEADER.encode(), "no rows"),
        ("\n".join([HEADER, *(line(f"t{i}") for i in range(1001))]).encode(), "more than 1,000 rows"),
        (b"x" * (scoring_csv.MAX_BYTES + 1), "at most 5 MB"),
        (",".join(f"c{i}" for i in range(600_000)).encode(), "600,000 columns; at most 120"),
        (f"{HEADER},channel,channel\n".encode(), "columns named twice: channel"),
        (f'{HEADER}\n"{line("t1")}\n{line("t2")}"'.encode(), "Line 2 has a cell that does not end there"),
        (f'{HEADER}\n"{"x" * 200_000}'.encode(), "cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_everything_wrong_with_it(data: bytes, part: str) -> None:
    with pytest.raises(InvalidData) as refused:
        scoring_csv.parse(data)
    assert part in refused.value.message


def test_rows_keep_the_numbers_of_their_lines_where_lines_are_empty() -> None:
    parsed = scoring_csv.parse(f"{HEADER}\n\n{line('a')}\n,,\n{line('b')}\n\n\n".encode())
    assert [record.get("transaction_id") for record in parsed.records] == [None, "a", None, "b"]


def test_an_attribute_with_a_dot_in_its_name_is_the_services_to_refuse(desk: Any) -> None:
    data = f"{HEADER},attributes.a,attributes.a.b\n{line('t')},1,2\n".encode()
    _, problems = desk.live_scoring.check(scoring_csv.parse(data).records)
    assert [p.field for p in problems] == ["attributes.a.b"]


def test_the_template_scores_as_it_is(desk: Any) -> None:
    good, problems = desk.live_scoring.check(scoring_csv.parse(scoring_csv.template()).records)
    assert problems == ()
    assert good == [0]
