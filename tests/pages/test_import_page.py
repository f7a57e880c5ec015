"""The import screen: what is handed in, mapped, looked at and imported, and who may."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from services.access import Actor, Role
from services.domain.mapping import read_mapping
from services.errors import Conflict, Denied
from services.importing_state import Import, ImportState
from services.mapping_draft import Role as Use
from services.mapping_draft import toml_of
from services.mapping_guess import guess, shipped_for
from services.worker_status import utc_now
from tests import column_sets
from tests.pages.conftest import failed, text_of
from tests.pages.fakes_imports import imports

ADMIN = Actor("a", "Ada", Role.ADMIN)


@pytest.fixture
def desk(desk):
    desk.imports = imports(desk.faults)
    yield desk
    desk.imports.close()


def handed(at, name, content):
    at.file_uploader[0].upload(name, content, "text/csv")
    return at.run()


def csv(name, count=60):
    return column_sets.csv_of(column_sets.rows(name, count)).encode()


def test_nothing_is_asked_before_a_file_is_handed_in(open_page):
    at = open_page("admin", "import_data")
    assert failed(at) == []
    assert "Nothing handed in yet" in text_of(at)


@pytest.mark.parametrize("role", ["analyst", "manager"])
def test_only_administrators_import(open_page, role):
    at = open_page(role, "import_data")
    assert failed(at) == []
    assert not at.file_uploader


def test_a_file_of_known_columns_is_mapped_previewed_and_imported(desk, open_page):
    at = handed(open_page("admin", "import_data"), "mine.csv", csv("sparkov"))
    assert failed(at) == []
    assert at.selectbox[0].value == "sparkov"
    assert "60 of the first 60 rows can be imported" in text_of(at)
    assert "FRAUD_DESK_MAPPING" in text_of(at)
    shown = json.dumps([str(frame.value.to_dict()) for frame in at.dataframe])
    assert not any(column_sets.card_number(account) in shown for account in range(30))
    at.button(key="import-start").click().run()
    run = desk.imports.wait(10)
    assert (run.state.state, run.state.accepted, run.state.refused) == (ImportState.DONE, 60, 0)
    at.run()
    assert failed(at) == []
    assert "Imported mine.csv" in text_of(at)
    assert [entry.outcome for entry in desk.imports._store.audit] == ["requested", "done"]


def test_an_unknown_file_gets_a_guess_that_can_be_imported(desk, open_page):
    lines = ["Order No;Paid at;Total;Client ID;Shop;Is Fraud;Channel;First name"]
    lines += [
        f"o{n};2026-01-{1 + n % 28:02d} 10:00:00;{n}.50;c{n % 7};s{n % 3};{'no' if n % 9 else 'yes'};{'ab'[n % 2]};Ann"
        for n in range(50)
    ]
    at = handed(open_page("admin", "import_data"), "orders.csv", "\n".join(lines).encode())
    assert failed(at) == []
    assert at.selectbox[0].value == "guess"
    assert "50 of the first 50 rows can be imported" in text_of(at)
    at.button(key="import-start").click().run()
    assert desk.imports.wait(10).state.accepted == 50
    document = desk.imports._store.transactions["o9"]
    assert (document["customer_id"], document["merchant"]["id"], document["amount_minor"]) == ("c2", "s0", 950)
    assert document["attributes"] == {"channel": "b"}
    assert document["label"]["value"] == "fraud"


def test_a_guess_says_what_its_table_does_not_show(open_page):
    head = ";".join(["id", "when", "amount", "customer", *(f"v{n}" for n in range(70))])
    lines = [f"t{n};2026-01-31 12:00:00;{n},50;c{n % 7};" + ";".join([str(n)] * 70) for n in range(9)]
    at = handed(open_page("admin", "import_data"), "orders.csv", "\n".join([head, *lines]).encode())
    assert failed(at) == []
    said = text_of(at)
    assert "9 of the first 9 rows can be imported" in said
    assert "Numbers are read with a comma for decimals. A payment has at most 64 features: 6 more columns" in said


def test_a_file_of_the_desks_own_columns_is_read_by_the_desks_mapping(desk, open_page, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text((column_sets.ROOT / "mappings" / "handbook.toml").read_text().replace("7", "3"))
    desk.imports.mapping_file = own
    content = column_sets.csv_of(column_sets.rows("handbook", 3)).encode()
    at = handed(open_page("admin", "import_data"), "data.csv", content)
    assert failed(at) == []
    assert at.selectbox[0].value == "desk"
    assert "This desk works by this mapping" in text_of(at)


def test_a_header_without_rows_says_so(open_page):
    header = column_sets.csv_of(column_sets.rows("handbook", 1)).splitlines()[0]
    at = handed(open_page("admin", "import_data"), "empty.csv", header.encode())
    assert failed(at) == []
    assert "The file has a header and no rows" in text_of(at)
    assert at.button(key="import-start").disabled


def test_problems_are_listed_and_everything_bad_cannot_be_imported(open_page):
    records = [r | {"TX_AMOUNT": "x"} for r in column_sets.rows("handbook", 3)]
    at = handed(open_page("admin", "import_data"), "bad.csv", column_sets.csv_of(records).encode())
    assert failed(at) == []
    assert "0 of the first 3 rows can be imported" in text_of(at)
    assert at.button(key="import-start").disabled


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"one column\n1\n", b"a,b,c\n"])
def test_a_file_that_is_none_is_a_sentence(open_page, content):
    at = handed(open_page("admin", "import_data"), "odd.csv", content)
    assert failed(at) == []
    assert at.error


def test_a_key_is_asked_for_where_card_numbers_are(desk, open_page):
    desk.imports = imports(desk.faults, token_key=None)
    at = handed(open_page("admin", "import_data"), "mine.csv", csv("sparkov"))
    assert "FRAUD_DESK_TOKEN_KEY" in text_of(at)
    assert at.button(key="import-start").disabled


def test_an_import_that_stops_says_what_was_kept_and_goes_on(desk, tmp_path):
    path = desk.imports.keep("h.csv", csv("handbook"))
    mapping = column_sets.mapping("handbook")
    with pytest.raises(Denied):
        desk.imports.start(path, mapping, actor=Actor("b", "Bo", Role.MANAGER))
    desk.imports._store.lag = 60.0  # the scorer is far behind: the import waits
    desk.imports.start(path, mapping, actor=ADMIN)
    with pytest.raises(Conflict, match="is being imported"):
        desk.imports.start(path, mapping, actor=ADMIN)
    desk.imports.cancel(actor=ADMIN)
    assert desk.imports.wait(10).state.state is ImportState.CANCELLED
    desk.imports._store.lag = 1.0
    desk.imports.start(path, mapping, actor=ADMIN)
    assert desk.imports.wait(10).state.accepted == 60


@pytest.mark.parametrize("name", ["handbook", "paysim", "sparkov", "ieee_cis"])
def test_known_columns_are_recognised_and_a_guess_never_gives_the_answer_away(tmp_path, name):
    path = column_sets.write(tmp_path / "data.csv", name, 200)
    draft = guess(path, name="x")
    assert shipped_for(c.column for c in draft.columns) == name
    used = {c.column: c.role for c in draft.columns if c.role is not Use.IGNORE}
    assert not {"TX_FRAUD_SCENARIO", "isFlaggedFraud", "first", "last", "street", "dob", "TX_TIME_DAYS"} & set(used)
    shipped = column_sets.mapping(name)
    assert used[shipped.label.column] is Use.LABEL
    assert used[shipped.time.column] is Use.TIME
    assert used[shipped.amount.column] is Use.AMOUNT
    if name != "ieee_cis":  # nothing there says who the customer is
        made = read_mapping(toml_of(draft))
        assert made.entities["customer"] == shipped.entities["customer"]
        assert made.tokenise == shipped.tokenise


def test_an_import_whose_process_was_killed_says_how_to_go_on(desk, open_page, tmp_path):
    store, now = desk.imports._store, utc_now()
    gone = Import("i", "mine.csv", "f:m", "Sparkov", "Ada", now - timedelta(hours=1), now, "", "o", rows=15_000)
    store.save(replace(gone, saved_at=now - timedelta(minutes=3)))
    at = open_page("admin", "import_data")
    assert failed(at) == []
    assert "The import of mine.csv by Ada was cut off" in text_of(at)
    assert "15,000 rows of it are done and stay" in text_of(at)
    store.save(replace(gone, saved_at=now))  # another process is at it
    assert desk.imports.cut_off() is None


BAD_ROWS = """when,payer_ref,shop,total,ccy,chargeback
2026-01-20 10:00:00,C1,Shop A,12.50,USD,no
2026-01-20 10:05:00,C2,Shop B,not a number,USD,no
2026-13-40 10:05:00,C2,Shop B,10,USD,no
2026-01-20 11:00:00,,Shop A,15.00,USD,yes
2026-01-20 12:00:00,C3,4111111111111111,15.00,USD,yes
2026-01-20 13:00:00,C3,Shop C,19.99,USD,yes
2026-01-20 14:00:00,C4,Shop D,5.00,USD,no
"""


def test_a_short_file_with_bad_rows_is_still_understood(desk, open_page):
    at = handed(open_page("admin", "import_data"), "mine.csv", BAD_ROWS.encode())
    assert failed(at) == []
    assert "3 of the first 7 rows can be imported" in text_of(at)
    at.button(key="import-start").click().run()
    assert desk.imports.wait(20).state.state is ImportState.DONE
    state = desk.imports.latest().state
    assert (state.accepted, state.refused, state.labels) == (3, 4, 3)


def test_a_file_that_cannot_be_understood_asks_in_the_words_of_the_table(open_page):
    at = handed(open_page("admin", "import_data"), "mine.csv", b"a,b,c\nx,y,z\nu,v,w\n")
    assert failed(at) == []
    assert "Which column is the time of the payment?" in text_of(at)
    assert "Which column says who pays?" in text_of(at)
