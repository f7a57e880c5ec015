"""Rows in the source's own columns at the front door: what an import of the same rows would have made of them."""

from __future__ import annotations

import gc
import importlib.util
import json
from datetime import UTC, datetime

import pytest

from services import mapped_file
from services.adapters.mongo import schema
from services.domain.transaction_rules import rules_of
from services.errors import InvalidData
from services.importing_records import records
from services.intake import MAX_BATCH, Intake
from services.live_scoring_paste import records_of
from services.mapped_rows import SourceRows
from services.settings import REQUIRED
from tests import column_sets

KEY = b"a key of sixteen characters or more"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Kept:
    """A store that keeps what comes in."""

    def __init__(self):
        self.documents = {}

    def insert(self, documents):
        known = {d["_id"] for d in documents if d["_id"] in self.documents}
        self.documents |= {d["_id"]: d for d in documents if d["_id"] not in known}
        return known

    def same(self, documents):
        return {d["_id"] for d in documents if self.documents[d["_id"]]["amount_minor"] == d["amount_minor"]}

    def record_report(self, report):
        raise AssertionError("no report was sent")


def door(name, key=KEY):
    mapping, store = column_sets.mapping(name), Kept()
    return Intake(store, rules_of(mapping), SourceRows(mapping, key)), store


def sent(name, count):
    """Rows as a client's JSON: times as text, empty cells as null."""
    return json.loads(json.dumps(column_sets.rows(name, count), default=str))


@pytest.mark.parametrize("name", ["handbook", "paysim", "sparkov", "ieee_cis"])
def test_rows_that_are_sent_become_the_records_that_an_import_makes(tmp_path, name):
    file = column_sets.write(tmp_path / "data.csv", name, 12)
    table, problems = mapped_file.read_all(file, column_sets.mapping(name), token_key=KEY)
    assert problems == ()
    read = SourceRows(column_sets.mapping(name), KEY).read(sent(name, 12))
    assert read.problems == ()
    assert list(read.records) == [record for record, _ in records(table, column_sets.mapping(name))]
    intake, store = door(name)
    assert intake.submit_source(sent(name, 12), received_at=NOW).accepted == 12
    assert sorted(store.documents) == sorted(record["transaction_id"] for record in read.records)


def test_several_columns_name_a_customer_in_a_way_people_can_read():
    row = sent("ieee_cis", 1)[0] | {"card1": 8072, "card2": 404.0, "card3": None, "card5": "226.0", "addr1": 315}
    read = SourceRows(column_sets.mapping("ieee_cis"), None).read([row, row | {"card2": "a:b"}])
    assert read.records[0]["customer_id"] == "8072:404::226:315"
    assert read.records[1]["customer_id"].startswith("8072_a:b_226_315-")


def test_problems_are_by_row_and_source_column_and_good_rows_are_kept():
    rows = sent("handbook", 6)
    rows[1]["TX_AMOUNT"] = "many"
    del rows[2]["TERMINAL_ID"]
    rows[3]["CUSTOMER_ID"] = None
    rows[4] = ["no object"]
    rows[5] |= {"TX_DATETIME": "2199-01-01 00:00:00", "unknown": "passed by"}
    intake, store = door("handbook")
    result = intake.submit_source(rows, received_at=NOW)
    assert (result.accepted, result.duplicates, result.refused) == (1, 0, 5)
    assert list(store.documents) == ["0"]
    assert result.ids == ("0", None, None, None, None, "5")
    assert [(p.row, p.field, p.message) for p in result.problems] == [
        (1, "TX_AMOUNT", "must be a number, got 'many'"),
        (2, "TERMINAL_ID", "is missing; send null where there is no value"),
        (3, "CUSTOMER_ID", "is missing"),
        (4, "", "is no JSON object"),
        (5, "TX_DATETIME", "lies in the future (2199-01-01 00:00 UTC)"),
    ]
    assert result.sentence is not None
    assert "row 1 TX_AMOUNT: must be a number" in result.sentence


def test_sending_rows_again_changes_nothing_and_too_many_are_refused_whole():
    intake, store = door("paysim")
    rows = sent("paysim", 3)
    intake.submit_source(rows, received_at=NOW)
    again = intake.submit_source(rows, received_at=NOW)
    assert (again.accepted, again.duplicates, again.refused, len(store.documents)) == (0, 3, 0, 3)
    assert intake.submit_source(rows * MAX_BATCH, received_at=NOW).refused == 3 * MAX_BATCH


def test_card_numbers_come_in_as_tokens_or_not_at_all():
    intake, store = door("sparkov")
    rows = sent("sparkov", 2)
    assert intake.submit_source(rows, received_at=NOW).accepted == 2
    assert rows[0]["cc_num"] not in repr(store.documents)
    refused = door("sparkov", key=None)[0].submit_source(rows, received_at=NOW)
    assert (refused.accepted, refused.refused) == (0, 2)
    assert "set FRAUD_DESK_TOKEN_KEY" in refused.problems[0].message


def test_a_desk_without_a_mapping_says_so():
    result = Intake(Kept()).submit_source([{"a": 1}], received_at=NOW)
    assert (result.accepted, result.refused) == (0, 1)
    assert "this desk has no mapping of data" in result.problems[0].message


def test_what_the_front_door_takes_can_be_pasted():
    rows = sent("handbook", 2)
    source = SourceRows(column_sets.mapping("handbook"), None)
    made = records_of(json.dumps({"source": rows}), source)
    assert made == list(source.read(rows).records)
    assert records_of('{"transactions": [{"a": 1}, {"a": 2}]}') == [{"a": 1}, {"a": 2}]
    rows[1]["TX_AMOUNT"] = None
    with pytest.raises(InvalidData, match="1 of 2 rows cannot be scored") as raised:
        records_of(json.dumps({"source": rows}), source)
    assert [(p.row, p.field, p.message) for p in raised.value.problems] == [(1, "TX_AMOUNT", "is missing")]
    with pytest.raises(InvalidData, match="no mapping of data"):
        records_of(json.dumps({"source": rows}))


@pytest.fixture
def handler(monkeypatch):
    """The Lambda function with a mapping, over a store in memory."""
    for name in REQUIRED:
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("FRAUD_DESK_MAPPING", str(column_sets.ROOT / "mappings" / "paysim.toml"))
    monkeypatch.setattr("services.adapters.mongo.client.connect", lambda *_, **__: dict.fromkeys(schema.COLLECTIONS))
    spec = importlib.util.spec_from_file_location("intake_lambda", column_sets.ROOT / "infra" / "lambda" / "intake.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    gc.unfreeze()
    monkeypatch.setattr(module._intake, "_store", Kept())
    return module.handler


def test_the_function_takes_rows_and_tells_their_ids(handler):
    rows = sent("paysim", 3)
    rows[1]["amount"] = None
    answer = handler({"source": rows}, None)
    body = answer["body"]
    assert (answer["statusCode"], body["accepted"], body["refused"]) == (207, 2, 1)
    assert body["error"] == "1 of 3 refused, 2 kept. row 1 amount: is missing."
    assert [identifier and identifier[:4] for identifier in body["ids"]] == ["row_", None, "row_"]
    assert handler({"source": {}}, None)["body"]["error"] == "`source` must be a list."
    assert "ids" not in handler({"transactions": []}, None)["body"]
