"""Pages, counts and figures against naive oracles over seeded random documents."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from services.adapters.mongo.kpis import MongoKpiStore
from services.adapters.mongo.transactions import MongoStoreProbe, MongoTransactionStore
from services.domain.kpi import CurrencySums, KpiCounts, Sum, figures
from services.domain.own_columns import OwnColumn
from services.errors import InvalidData, NotFound
from services.kpis import Kpis
from services.transactions import QueueFilter, QueueView, Sort, Transactions
from services.worker_status import utc_now
from tests.records import document

NOW = utc_now()


def _random_document(rng: random.Random, number: int) -> dict:
    moment = NOW - timedelta(minutes=rng.randrange(60 * 24 * 100))
    made = document(
        f"t-{number:04d}",
        received_at=moment,
        event_time=moment,
        amount_minor=rng.choice([100, 100, 2500, rng.randrange(1, 200_000)]),
        customer_id=f"c-{rng.randrange(20)}",
        channel=rng.choice(["pos", "ecom"]),
    )
    if rng.random() < 0.8:
        value = rng.choice([0.1, 0.5, 0.6, 0.95, rng.random()])
        decision = "decline" if value >= 0.9 else "review" if value >= 0.5 else "approve"
        made["score"] = {
            "value": value,
            "decision": decision,
            "reasons": [],
            "model_version": "v1",
            "scored_at": moment,
        }
        if decision != "approve":
            made["alert"] = {
                "status": rng.choice(["open", "closed"]),
                "opened_at": moment,
                "due_at": moment + timedelta(hours=rng.choice([1, 4])),
                "priority": 1.0,
                "value_at_risk_minor": made["amount_minor"],
            }
    if rng.random() < 0.3:
        made["label"] = {
            "value": rng.choice(["fraud", "genuine", "inconclusive"]),
            "source": rng.choice(["analyst", "chargeback"]),
            "labelled_at": moment + timedelta(hours=2),
            "labelled_by": "Ann",
            "label_id": f"l-{number}",
        }
    return made


@pytest.fixture
def world(db):
    rng = random.Random(7)
    documents = [_random_document(rng, n) for n in range(600)]
    db["transactions"].insert_many([dict(d) for d in documents])
    return documents


def _keys(sort):
    return {
        Sort.RISK: lambda d: (-d["score"]["value"], _negative(d["_id"])),
        Sort.NEWEST: lambda d: (-d["event_time"].timestamp(), _negative(d["_id"])),
        Sort.VALUE: lambda d: (-d["amount_minor"], _negative(d["_id"])),
        Sort.DUE: lambda d: (d["alert"]["due_at"], d["_id"]),
    }[sort]


def _negative(text: str) -> tuple[int, ...]:
    return tuple(-ord(c) for c in text)


def _walk(transactions, filters, sort, limit):
    cursor, seen = None, []
    while True:
        page = transactions.page(filters, sort=sort, cursor=cursor, limit=limit)
        seen += [row.transaction_id for row in page.rows]
        if page.next_cursor is None:
            return seen
        cursor = page.next_cursor


@pytest.mark.parametrize("sort", list(Sort))
def test_pages_of_open_alerts_hold_every_row_once_in_order(db, world, sort):
    expected = sorted((d for d in world if d.get("alert", {}).get("status") == "open"), key=_keys(sort))
    walked = _walk(Transactions(MongoTransactionStore(db)), QueueFilter(), sort, 37)
    assert walked == [d["_id"] for d in expected]


@pytest.mark.parametrize("sort", [Sort.RISK, Sort.NEWEST, Sort.VALUE])
def test_pages_of_all_with_filters(db, world, sort):
    filters = QueueFilter(
        view=QueueView.ALL,
        channels=("ecom",),
        min_amount_minor=100,
        max_amount_minor=2500,
        since=NOW - timedelta(days=60),
    )
    expected = [
        d
        for d in world
        if d["channel"] == "ecom"
        and 100 <= d["amount_minor"] <= 2500
        and d["event_time"] >= NOW - timedelta(days=60)
        and (sort is not Sort.RISK or "score" in d)
    ]
    walked = _walk(Transactions(MongoTransactionStore(db)), filters, sort, 20)
    assert walked == [d["_id"] for d in sorted(expected, key=_keys(sort))]


def test_a_view_that_stands_still_ignores_what_arrives_and_counts_it(db, world):
    transactions = Transactions(MongoTransactionStore(db))
    frozen = QueueFilter(view=QueueView.ALL, before_or_at=NOW)
    before = _walk(transactions, frozen, Sort.NEWEST, 100)
    later = NOW + timedelta(seconds=1)
    db["transactions"].insert_many([document(f"new-{i}", received_at=later, event_time=NOW) for i in range(3)])
    assert _walk(transactions, frozen, Sort.NEWEST, 100) == before
    assert transactions.newer(QueueFilter(view=QueueView.ALL), since=NOW) == 3


def test_counts_and_search(db, world):
    transactions = Transactions(MongoTransactionStore(db))
    opened = [d for d in world if d.get("alert", {}).get("status") == "open"]
    counts = transactions.counts(QueueFilter(channels=("pos",)))
    assert counts.matching == sum(1 for d in opened if d["channel"] == "pos")
    assert counts.open_alerts == len(opened)
    assert counts.value_at_risk_minor == sum(d["amount_minor"] for d in opened)
    assert counts.overdue == sum(1 for d in opened if d["alert"]["due_at"] < NOW)
    mine = transactions.page(QueueFilter(view=QueueView.ALL, search="c-3"), sort=Sort.NEWEST, limit=500)
    assert len(mine.rows) == sum(1 for d in world if d["customer_id"] == "c-3")
    assert len(transactions.page(QueueFilter(view=QueueView.ALL, search="t-0001"), sort=Sort.NEWEST).rows) == 1


@pytest.mark.parametrize("search", ['{"$ne": ""}', "(a+)+$", "$where", "a b", "x" * 65])
def test_hostile_searches_are_refused(db, search):
    with pytest.raises(InvalidData, match="Invalid filter"):
        Transactions(MongoTransactionStore(db)).page(QueueFilter(search=search), sort=Sort.RISK)


@pytest.mark.parametrize("amounts", [(10**20, None), (None, -1), (10**12 + 1, 10**300)])
def test_amounts_that_no_transaction_can_have_are_no_filter(db, amounts):
    filters = QueueFilter(min_amount_minor=amounts[0], max_amount_minor=amounts[1])
    with pytest.raises(InvalidData, match="amounts lie between"):
        Transactions(MongoTransactionStore(db)).page(filters, sort=Sort.RISK)


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("value", ["1e300", "-1e300", "NaN", "Infinity", "9" * 100, "1e17", "true"])
def test_cursors_with_impossible_places_are_refused(db, sort, value):
    cursor = base64.urlsafe_b64encode(f'["{sort}",{value},"t-1"]'.encode()).decode()
    with pytest.raises(InvalidData, match="damaged"):
        Transactions(MongoTransactionStore(db)).page(QueueFilter(), sort=sort, cursor=cursor)


@pytest.mark.parametrize("cursor", ["x", "e30", "WyJyaXNrIiwgeyIkZ3QiOiAwfSwgIngiXQ", "é", "W" * 5000])
def test_damaged_cursors_are_refused(db, cursor):
    with pytest.raises(InvalidData):
        Transactions(MongoTransactionStore(db)).page(QueueFilter(), sort=Sort.RISK, cursor=cursor)


def test_an_unknown_id_is_not_found(db):
    with pytest.raises(NotFound):
        Transactions(MongoTransactionStore(db)).get("nothing")


def _oracle(world, start, end, matured_before):
    inside = [d for d in world if start <= d["event_time"] < end]
    alerted = [d for d in inside if d.get("score", {}).get("decision") in ("review", "decline")]

    def is_fraud(d):
        return d.get("label", {}).get("value") == "fraud"

    prevented = [
        d for d in alerted if is_fraud(d) and (d["score"]["decision"] == "decline" or d["label"]["source"] == "analyst")
    ]
    return KpiCounts(
        transactions=len(inside),
        amount_minor=sum(d["amount_minor"] for d in inside),
        scored=sum(1 for d in inside if "score" in d),
        alerts=len(alerted),
        fraud=sum(1 for d in inside if is_fraud(d)),
        fraud_amount_minor=sum(d["amount_minor"] for d in inside if is_fraud(d)),
        decided=sum(1 for d in alerted if d.get("label", {}).get("value") in ("fraud", "genuine")),
        confirmed=sum(1 for d in alerted if is_fraud(d)),
        prevented_loss_minor=sum(d["amount_minor"] for d in prevented),
        matured=sum(1 for d in inside if "label" in d or d["event_time"] < matured_before),
    )


def test_kpi_counts_equal_the_oracle(db, world):
    store = MongoKpiStore(db)
    matured_before = NOW - timedelta(days=90)
    for first, last in ((30, 0), (60, 30), (100, 80), (1, 0), (0, 0)):
        start, end = NOW - timedelta(days=first), NOW - timedelta(days=last)
        found = store.counts(start, end, matured_before=matured_before)
        assert replace(found, by_currency=()) == _oracle(world, start, end, matured_before)


def test_amounts_of_different_currencies_are_never_added(db, world):
    moment = NOW + timedelta(days=40)
    for number, (currency, exponent) in enumerate((("USD", 2), ("USD", 2), ("JPY", 0))):
        alert = {"status": "open", "opened_at": NOW, "due_at": NOW, "priority": 1.0, "value_at_risk_minor": 500}
        changes = {"event_time": moment, "received_at": NOW, "amount_minor": 500, "alert": alert}
        db["transactions"].insert_one(document(f"cur-{number}", **changes, currency=currency, exponent=exponent))
    store = MongoKpiStore(db)
    found = store.counts(moment, moment + timedelta(seconds=1), matured_before=NOW)
    assert (found.transactions, found.amount_minor) == (3, 1500)
    assert found.by_currency == (CurrencySums("USD", 2, 2, 1000, 0, 0), CurrencySums("JPY", 0, 1, 500, 0, 0))
    assert figures(found).fraud_bps_value is None
    opened = [d for d in world if d.get("alert", {}).get("status") == "open"]
    usual = Sum("EUR", 2, sum(d["amount_minor"] for d in opened), len(opened))
    expected = (usual, Sum("USD", 2, 1000, 2), Sum("JPY", 0, 500, 1))
    assert store.backlog(now=NOW).at_risk == expected
    assert Transactions(MongoTransactionStore(db)).counts(QueueFilter()).at_risk == expected


def test_a_customers_usual_amount_is_of_one_currency(db):
    for number, (amount, currency) in enumerate(((100, "EUR"), (300, "EUR"), (90_000, "JPY"))):
        made = document(f"p-{number}", event_time=NOW, received_at=NOW, amount_minor=amount, customer_id="both")
        db["transactions"].insert_one(made | {"currency": currency})
    transactions = Transactions(MongoTransactionStore(db))
    euro, yen, franc = (transactions.customer_profile("both", currency=code) for code in ("EUR", "JPY", "CHF"))
    assert (euro.transactions_90d, euro.mean_amount_minor, euro.max_amount_minor) == (3, 200, 300)
    assert (yen.mean_amount_minor, franc.mean_amount_minor, franc.max_amount_minor) == (90_000, None, None)


def test_a_search_finds_the_entities_of_a_mapping_and_rows_tell_them(db, world):
    attributes = {"shop": "s-4", "kind": "toys", "vip": True}
    db["transactions"].insert_one(document("own-1", terminal_id="till-9", attributes=attributes))
    own = (
        OwnColumn("terminal", "Terminal", "terminal_id", True), OwnColumn("shop", "Shop", "attributes.shop", True),
        OwnColumn("kind", "Kind", "attributes.kind"), OwnColumn("vip", "VIP", "attributes.vip"),
    )  # fmt: skip
    transactions = Transactions(MongoTransactionStore(db, own))
    for search in ("till-9", "s-4"):
        found = transactions.page(QueueFilter(view=QueueView.ALL, search=search), sort=Sort.NEWEST)
        assert [(row.transaction_id, row.own) for row in found.rows] == [
            ("own-1", (("terminal", "till-9"), ("shop", "s-4"), ("kind", "toys"), ("vip", "yes")))
        ]
    assert transactions.facets().own == (("kind", ("toys",)), ("vip", ("yes",)))
    for accepted, expected in (((("kind", ("toys", "cars")), ("vip", ("yes",))), 1), ((("vip", ("no",)),), 0)):
        counted = transactions.counts(QueueFilter(view=QueueView.ALL, own=accepted))
        assert counted.matching == expected


def test_kpi_summary_compares_like_with_like(db, world):
    summary = Kpis(MongoKpiStore(db)).summary(now=NOW)
    assert summary.today.end - summary.today.start == summary.today.former_end - summary.today.former_start
    assert summary.last_30_days.former_end == summary.last_30_days.start
    opened = [d["alert"] for d in world if d.get("alert", {}).get("status") == "open"]
    assert summary.backlog.open == len(opened)
    assert summary.backlog.oldest_opened_at == min(a["opened_at"] for a in opened)
    month = _oracle(world, NOW - timedelta(days=30), NOW, NOW - timedelta(days=90))
    assert summary.last_30_days.current.fraud_bps_count == 10_000 * month.fraud / month.transactions


def test_the_probe_counts_what_waits_for_a_score(db):
    old = NOW - timedelta(minutes=1)
    db["transactions"].insert_many(
        [document("waits", received_at=old), document("fresh", received_at=utc_now() + timedelta(seconds=5))]
    )
    assert MongoStoreProbe(db).figures().unscored == 1
