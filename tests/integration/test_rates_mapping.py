"""A changed mapping builds the rollup anew; the screens learn the dimensions from the rollup itself."""

from __future__ import annotations

from datetime import timedelta

from services.domain.dimensions import DEFAULT, Dimension
from services.rates import RatesQuery
from tests.integration.lake_desk import START, Desk, line, transaction
from workers import curator_rollup

STORE = Dimension("store", "Store", "attributes.store")
QUERY = RatesQuery(START, START + timedelta(days=31), "month", dimensions=("store",))


def test_a_changed_mapping_rebuilds_the_rollup_and_the_screens_follow(desk: Desk) -> None:
    documents = [
        transaction("a", attributes={"store": "kiosk"}, channel="pos"),
        transaction("b", attributes={"store": "mall"}, channel="pos", day=3),
        transaction("c", channel="ecom", day=5),
    ]
    desk.put([line(document, at) for at, document in enumerate(documents)], 0)
    desk.fold()
    now = [0.0]
    rates = desk.rates(monotonic=lambda: now[0])
    assert rates.dimensions() == DEFAULT
    assert curator_rollup.roll_up(desk.tables, START) == 0

    mapped = (STORE, DEFAULT[1])
    assert curator_rollup.roll_up(desk.tables, START, dimensions=mapped) == 3
    assert curator_rollup.roll_up(desk.tables, START, dimensions=mapped) == 0
    now[0] += 60
    assert rates.dimensions() == mapped
    frame = rates.table(QUERY).frame
    assert dict(zip(frame["first"], frame["transactions"], strict=True)) == {"kiosk": 1, "mall": 1, "unknown": 1}
    assert set(rates.values("channel")) == {"pos", "ecom"}

    desk.put(
        [line(documents[0] | {"attributes": {"store": "mall"}, "version": 2}, 3, operation="update", seconds=9)], 3
    )
    desk.curator(dimensions=mapped).cycle()
    now[0] += 60
    frame = rates.table(QUERY).frame
    assert dict(zip(frame["first"], frame["transactions"], strict=True)) == {"mall": 2, "unknown": 1}

    assert curator_rollup.roll_up(desk.tables, START) == 3
    now[0] += 60
    assert rates.dimensions() == DEFAULT
    assert rates.table(RatesQuery(QUERY.start, QUERY.end, "month")).frame["transactions"].tolist() == [3]


def test_the_transactions_behind_a_point_come_from_the_lake_a_page_at_a_time(desk: Desk) -> None:
    documents = [transaction(f"t{at:02}", day=at % 3, channel="pos" if at % 2 else "ecom") for at in range(12)]
    desk.put([line(document, at) for at, document in enumerate(documents)], 0)
    desk.fold()
    rates = desk.rates()
    query = RatesQuery(START, START + timedelta(days=2), filters={"channel": ("pos",)})
    first = rates.transactions(query, limit=3)
    desk.put([line({"_id": "t01"}, 12, operation="delete", seconds=60)], 12)
    desk.fold()
    second = rates.transactions(query, limit=3, cursor=first.next_cursor)
    shown = [*first.frame["transaction_id"], *second.frame["transaction_id"]]
    assert sorted(shown) == ["t01", "t03", "t07", "t09"]  # of the snapshot that the first page was of
    assert (first.matching, second.matching, second.next_cursor) == (4, 4, None)
    assert rates.transactions(query).matching == 3
