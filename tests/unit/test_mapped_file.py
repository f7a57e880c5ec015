"""Anybody's file in canonical columns. The oracles compute with decimals and datetimes, value by value."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services import mapped_file, mapped_texts, mapped_values
from services.domain.mapping import TimeColumn, canonical_columns, read_mapping
from services.errors import InvalidData

TEXT = """
id = "id"
[time]
column = "when"
[amount]
column = "much"
currency = "EUR"
[entities]
customer = "who"
shop = "shop"
[label]
column = "bad"
delay_days = 2
[features.size]
column = "size"
kind = "number"
[features.sort]
column = "sort"
kind = "category"
"""
MAPPING = read_mapping(TEXT)
NO_ID = read_mapping(TEXT.replace('id = "id"\n', ""))
HEADER = "id,when,much,who,shop,bad,size,sort,unused"
FIRST = "a1,2026-01-31 12:00:00,12.34,ann,corner,1,2.5,food,x"


def put(tmp_path, *lines, name="data.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def rows(path, mapping=MAPPING, **options):
    table, problems = mapped_file.read_all(path, mapping, **options)
    return table.to_pylist(), [(p.row, p.column, p.message) for p in problems]


def test_a_row_in_canonical_columns(tmp_path):
    table, problems = mapped_file.read_all(put(tmp_path, HEADER, FIRST), MAPPING)
    assert problems == ()
    assert table.column_names == list(canonical_columns(MAPPING))
    ms = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1000)
    assert table.to_pylist() == [
        {
            "transaction_id": "a1", "event_ms": ms, "amount_minor": 1234, "currency": "EUR", "entity.customer": "ann",
            "entity.shop": "corner", "feature.size": 2.5, "feature.sort": "food", "label": 1,
            "labelled_ms": ms + 2 * 86_400_000,
        }
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_quotes_and_byte_order_marks(tmp_path, delimiter):
    cells = ["a1", "2026-01-31T12:00:00Z", "1.5", '"ann ""the"" first"', "", "0", "", '"two\nlines"', "x"]
    lines = [HEADER.replace(",", delimiter), delimiter.join(cells)]
    found, problems = rows(put(tmp_path, *lines, encoding="utf-8-sig"))
    assert problems == []
    assert found[0]["entity.customer"].startswith("ann_the_first-")
    assert (found[0]["entity.shop"], found[0]["feature.size"], found[0]["feature.sort"]) == (None, None, "two\nlines")
    assert rows(put(tmp_path, *lines, encoding="utf-16"))[0] == found


def test_csv_json_lines_and_parquet_of_the_same_rows_are_the_same(tmp_path):
    records = [
        {"id": f"t{n}", "when": f"2026-01-01T00:00:{n:02d}", "much": n / 8, "who": n % 3, "shop": None, "bad": n % 2,
         "size": n * 1.5, "sort": "ab"[n % 2]}
        for n in range(40)
    ]  # fmt: skip
    names = list(records[0])
    lines = [",".join("" if r[name] is None else str(r[name]) for name in names) for r in records]
    csv_rows, _ = rows(put(tmp_path, ",".join(names), *lines))
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress((tmp_path / "data.csv").read_bytes()))
    json_rows, _ = rows(put(tmp_path, *map(json.dumps, records), name="data.jsonl"))
    columns = {name: [r[name] for r in records] for name in names}
    columns["when"] = pa.array([datetime.fromisoformat(r["when"]) for r in records], pa.timestamp("us"))
    columns["much"] = pa.array([Decimal(str(r["much"])) for r in records], pa.decimal128(10, 3))
    columns["sort"] = pa.array([r["sort"] for r in records]).dictionary_encode()
    pq.write_table(pa.table(columns), tmp_path / "data.parquet", row_group_size=7)
    parquet_rows, _ = rows(tmp_path / "data.parquet")
    assert len(csv_rows) == 40
    assert csv_rows == json_rows == parquet_rows == rows(packed)[0]
    assert [row["amount_minor"] for row in csv_rows[:4]] == [0, 12, 25, 38]  # 12.5 and 37.5: half to even


def test_every_problem_is_told_by_row_and_column_and_good_rows_are_kept(tmp_path):
    path = put(
        tmp_path, HEADER, FIRST,
        "a2,yesterday,-1,,corner,1,big,food,x",
        "a3,2026-01-31,nan,ann,corner,,1,food,x",
        "a4,2026-01-31,1,ann",
        "a5,2026-01-31,,ann,corner,0,inf,food,x",
        "a6,1815-01-01,\"1,5\",4111 1111 1111 1111,corner,0,1,food,x",
        FIRST.replace("a1", "a7"),
    )  # fmt: skip
    found, problems = rows(path)
    assert [row["transaction_id"] for row in found] == ["a1", "a7"]
    assert problems == [
        (2, "much", "must not be negative, got '-1'"),
        (2, "size", "must be a number, got 'big'"),
        (2, "when", "must be a date and time like 2026-01-31 12:00:00, got 'yesterday'"),
        (2, "who", "is missing"),
        (3, "much", "must be a number, got NaN"),
        (4, "", "has 4 cells, the header has 9"),
        (5, "much", "is missing"),
        (5, "size", "must be a finite number"),
        (6, "much", "must be a number with a '.' for decimals and nothing for thousands, got '1,5'"),
        (6, "when", "lies outside the years 1970 to 2199"),
        (6, "who", mapped_texts.CARD_NUMBER),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x00\x01\x02" * 50, "neither text nor Parquet"),
        (b"PK\x03\x04rest", "zip or Excel"),
        (b"PAR1 but broken", "damaged"),
        (b"\x1f\x8bbroken", "cannot be unpacked"),
        (b'[{"id": 1}]', "one JSON array"),
        (b"id:when:much\n1:2:3\n", "delimiter"),
        (b"id,when\n1,2\n", "no column 'much'; there is no column 'who'"),
        (HEADER.replace("unused", "who").encode() + b"\n", "'who' is there 2 times"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "data"
    path.write_bytes(content)
    with pytest.raises(InvalidData, match=said):
        rows(path)


def test_a_header_alone_has_no_rows(tmp_path):
    assert rows(put(tmp_path, HEADER)) == ([], [])


def test_a_cell_of_a_megabyte_is_refused_where_it_matters_and_only_there(tmp_path):
    huge = "y" * 2**20
    path = put(tmp_path, HEADER, FIRST + huge, FIRST.replace("food", huge).replace("a1", "a2"))
    found, problems = rows(path)
    assert len(found) == 1
    assert problems == [(2, "sort", "is 1,048,576 characters long; at most 256 are allowed")]


def test_bytes_that_are_no_text_refuse_only_their_row(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(f"{HEADER}\n{FIRST}\n".encode() + FIRST.replace("food", "caf\xe9").encode("latin-1") + b"\n")
    found, problems = rows(path)
    assert len(found) == 1
    assert problems[0][:2] == (2, "sort")
    assert problems[0][2].startswith("is no text in UTF-8")


def test_json_lines_with_nested_values_lists_and_broken_lines(tmp_path):
    mapping = read_mapping(TEXT.replace('"who"', '"who.name"'))
    good = {
        "id": "j1",
        "when": "2026-01-31",
        "much": 1,
        "who": {"name": "ann"},
        "shop": "s",
        "bad": True,
        "size": 1,
        "sort": "f",
    }
    lines = [
        json.dumps(good),
        "{broken",
        json.dumps(good | {"sort": ["f"]}),
        "[1]",
        "",
        json.dumps(good | {"id": "j2"}),
    ]
    found, problems = rows(put(tmp_path, *lines), mapping)
    assert [row["transaction_id"] for row in found] == ["j1", "j2"]
    assert [(row, column) for row, column, _ in problems] == [(2, ""), (3, "sort"), (4, "")]


def test_batches_are_bounded_and_reading_goes_on_after_any_row(tmp_path):
    path = put(tmp_path, HEADER, *(FIRST.replace("a1", f"b{n}") for n in range(25)))
    table = mapped_file.read_all(path, MAPPING)[0]
    pq.write_table(
        pa.table({name: [line] * 25 for name, line in zip(HEADER.split(","), FIRST.split(","), strict=True)}),
        tmp_path / "p",
    )
    batches = list(mapped_file.read(path, MAPPING, batch_rows=10))
    assert [(batch.table.num_rows, batch.last_row) for batch in batches] == [(10, 10), (10, 20), (5, 25)]
    for after in (0, 3, 10, 24, 25):
        rest = list(mapped_file.read(path, MAPPING, batch_rows=10, after_row=after))
        assert [row for batch in rest for row in batch.rows] == list(range(after + 1, 26))
        if rest:
            assert pa.concat_tables([batch.table for batch in rest]).equals(table.slice(after))
        again = mapped_file.read(tmp_path / "p", MAPPING, batch_rows=10, after_row=after)
        assert [row for batch in again for row in batch.rows] == list(range(after + 1, 26))


def test_made_ids_come_from_what_a_row_says_wherever_it_stands(tmp_path):
    other = FIRST.replace("12.34", "12.35")
    one = rows(put(tmp_path, HEADER, FIRST, other, FIRST), NO_ID)[0]
    two = rows(put(tmp_path, HEADER, other, FIRST.replace(",1,2.5", ",0,2.5")), NO_ID)[0]
    ids = [row["transaction_id"] for row in one]
    assert ids[0] == ids[2] != ids[1]
    assert [row["transaction_id"] for row in two] == [ids[1], ids[0]]  # the verdict is learned later


def test_tokenised_numbers_are_hashed_under_the_key_and_never_shown(tmp_path):
    mapping = read_mapping('tokenise = ["who"]\n' + TEXT)
    path = put(tmp_path, HEADER, FIRST.replace("ann", "4111 1111 1111 1111"), FIRST.replace("ann", "4111111111111111"))
    first, second = (row["entity.customer"] for row in rows(path, mapping, token_key=b"k" * 16)[0])
    assert first == second
    assert first.startswith("tok_")
    assert not any(sign.isdigit() for sign in first)
    assert rows(path, mapping, token_key=b"other key of mine")[0][0]["entity.customer"] != first


def test_columns_together_name_one_entity_and_optional_ones_may_be_absent(tmp_path):
    text = TEXT.replace('customer = "who"', 'customer = ["who", "shop"]').replace(
        'column = "sort"', 'column = "gone"\noptional = true'
    )
    found, problems = rows(
        put(tmp_path, HEADER, FIRST, FIRST.replace("corner", ""), FIRST.replace("ann", "")), read_mapping(text)
    )
    assert problems == []
    assert len({row["entity.customer"] for row in found}) == 3
    assert found[0]["feature.sort"] is None


def test_random_hex_names_are_no_card_numbers():
    hex_name = "0b4111111111111111abcdefabcdef01"
    assert mapped_texts.names(pa.array([hex_name]), key=None).values.to_pylist() == [hex_name]
    assert mapped_texts.names(pa.array(["x4111111111111111"]), key=None).problems


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=4), min_size=1, max_size=20),
    st.sampled_from([0, 2, 3]),
)
def test_amounts_are_exact_whatever_type_they_come_in(values, exponent):
    expected = [int(v.scaleb(exponent).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)) for v in values]
    exponents = np.full(len(values), exponent)
    columns = [pa.array([str(v) for v in values]), pa.array([float(v) for v in values])]
    columns.append(pa.array(values, pa.decimal128(20, 4)))
    for column in columns:
        made = mapped_values.amounts(column, exponents, minor=False)
        assert made.problems == {}
        assert made.values.to_pylist() == expected


@settings(max_examples=150, deadline=None)
@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2198, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
)
def test_times_are_the_same_as_text_and_as_timestamps(moment, zone):
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    spec = TimeColumn("t", zone=zone)
    local = moment.replace(tzinfo=ZoneInfo(zone))
    expected = (local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert mapped_values.times(pa.array([moment.isoformat()]), spec).values.to_pylist() == [expected]
    assert mapped_values.times(pa.array([local.isoformat()]), spec).values.to_pylist() == [expected]
    stamped = mapped_values.times(pa.array([moment], pa.timestamp("us")), spec).values
    assert stamped.to_pylist() == [expected]


@pytest.mark.parametrize(
    ("unit", "value", "ms"),
    [("s", 1_700_000_000, 1_700_000_000_000), ("ms", 1_700_000_000_123, 1_700_000_000_123), ("h", 1, 3_600_000),
     ("d", 1.5, 129_600_000)],
)  # fmt: skip
def test_numbers_count_from_the_origin(unit, value, ms):
    for column in (pa.array([value]), pa.array([str(value)])):
        assert mapped_values.times(column, TimeColumn("t", "number", unit)).values.to_pylist() == [ms]
    later = TimeColumn("t", "number", unit, datetime(1970, 1, 2, tzinfo=UTC))
    assert mapped_values.times(pa.array([value]), later).values.to_pylist() == [ms + 86_400_000]


def test_dates_nanoseconds_and_formats_of_ones_own():
    assert mapped_values.times(pa.array([date(2026, 1, 1)]), TimeColumn("t")).values.to_pylist() == [1_767_225_600_000]
    nanoseconds = pa.array([1_500_999_999], pa.timestamp("ns"))
    assert mapped_values.times(nanoseconds, TimeColumn("t")).values.to_pylist() == [1_500]
    spec = TimeColumn("t", format="%d/%m/%Y %H:%M")
    assert mapped_values.times(pa.array(["31/01/2026 12:00"]), spec).values.to_pylist() == [1_769_860_800_000]
    assert mapped_values.times(pa.array([5]), TimeColumn("t")).problems[0].startswith("is of type int64")
