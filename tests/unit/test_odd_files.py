"""Files as people have them: each is read right, or a sentence says what is wrong and where."""

from __future__ import annotations

import gzip
import json
import lzma
import random
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services import mapped_file, mapped_texts, mapping_guess
from services.domain.mapping import read_mapping
from services.errors import InvalidData
from services.mapping_draft import Role, toml_of
from tests.unit.test_mapped_file import FIRST, HEADER, MAPPING, rows

RECORD = dict(zip(HEADER.split(","), FIRST.split(","), strict=True))


def put(tmp_path, content, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def packed(count):
    """A gzip file of so many rows, which pack badly."""
    chance = random.Random(7)
    lines = [HEADER, *(FIRST.replace("a1", f"a{n}").replace("food", f"f{chance.random()}") for n in range(count))]
    return gzip.compress("\n".join(lines).encode())


@pytest.mark.parametrize("broken", [lambda b: b[:-2000], lambda b: b[:-3000] + bytes(200) + b[-2800:]])
def test_a_packed_file_that_is_not_whole_is_a_sentence_behind_its_good_rows(tmp_path, broken):
    read = mapped_file.read(put(tmp_path, broken(packed(6000)), "data.csv.gz"), MAPPING, batch_rows=1000)
    lasts = []
    with pytest.raises(InvalidData, match="is not whole: it cannot be unpacked to its end") as raised:
        lasts.extend(batch.last_row for batch in read)
    assert lasts
    assert f"Its rows up to {lasts[-1]:,} were read" in raised.value.message


def test_a_quotation_mark_left_open_is_named_where_it_begins(tmp_path):
    rest = [FIRST.replace("a1", f"b{number}") for number in range(5)]
    path = put(tmp_path, "\n".join([HEADER, FIRST, FIRST.replace("corner", '"corner'), *rest]))
    found, problems = rows(path)
    assert [row["transaction_id"] for row in found] == ["a1"]
    said = "has 5 cells, the header has 9; it spans 6 lines of the file: is a quotation mark left open?"
    assert problems == [(2, "", said)]


def test_a_line_break_in_quotation_marks_is_part_of_its_cell(tmp_path):
    path = put(tmp_path, "\r\n".join([HEADER, FIRST.replace("food", '"foo\r\nd"'), FIRST.replace("a1", "a2")]))
    found, problems = rows(path)
    assert problems == []
    assert [row["feature.sort"] for row in found] == ["foo\r\nd", "food"]


def test_decimal_commas_are_read_where_the_mapping_says_so_and_else_refused_by_name(tmp_path):
    german = "\n".join([HEADER, FIRST, FIRST.replace("a1", "a2").replace("12.34", "0.125")])
    german = german.replace(",", ";").replace(".", ",")
    path = put(tmp_path, german + "\n" + FIRST.replace(",", ";"))
    point = "must be a number with a '.' for decimals and nothing for thousands, got '12,34'"
    assert (1, "much", point) in rows(path)[1]
    found, problems = rows(path, replace(MAPPING, decimal=","))
    assert [(row["amount_minor"], row["feature.size"]) for row in found] == [(1234, 2.5), (12, 2.5)]
    comma = "must be a number with a ',' for decimals and nothing for thousands, got '12.34'"
    assert (3, "much", comma) in problems
    typed = put(tmp_path, json.dumps({**RECORD, "much": 12.34, "size": 2.5}) + "\n", "data.jsonl")
    assert rows(typed, replace(MAPPING, decimal=","))[0][0]["amount_minor"] == 1234


def test_a_guess_notices_decimal_commas(tmp_path):
    lines = ["id;when;amount;customer;weight"]
    lines += [f"t{n};2026-01-31 12:00:00;{n},{n:02d};c{n % 7};{n},5" for n in range(40)]
    draft = mapping_guess.guess(put(tmp_path, "\n".join(lines)), name="x")
    assert [(c.column, c.role) for c in draft.columns if c.role is Role.AMOUNT] == [("amount", Role.AMOUNT)]
    assert read_mapping(toml_of(draft)).decimal == ","


def test_a_guess_takes_no_more_features_than_a_payment_can_have(tmp_path):
    names = ["id", "when", "amount", "customer", *(f"v{n}" for n in range(3_000))]
    lines = [",".join(names)]
    lines += [f"t{n},2026-01-31 12:00:00,{n}.25,c{n % 3}," + ",".join([str(n)] * 3_000) for n in range(3)]
    draft = mapping_guess.guess(put(tmp_path, "\n".join(lines)), name="x")
    mapping = read_mapping(toml_of(draft))
    assert (len(mapping.features), draft.left_out) == (64, 3_000 - 64)
    assert rows(tmp_path / "data.csv", mapping)[1] == []


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (HEADER.replace("unused", "größe").encode("latin-1") + b"\n" + FIRST.encode(), "data.csv", "save it as UTF-8"),
        (json.dumps(RECORD, indent=1), "data.json", "write one object a line"),
        (lzma.compress(HEADER.encode()), "data.csv.xz", "unpack it, or pack it with gzip"),
        (packed(6000)[:3], "data.csv.gz", "is not whole"),
        (HEADER + ",much\n" + FIRST + ",1", "data.csv", "the column 'much' is there 2 times"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path, content, name, said):
    with pytest.raises(InvalidData, match=said):
        mapped_file.read_all(put(tmp_path, content, name), MAPPING)


def test_deeply_nested_lines_are_refused_and_the_others_kept(tmp_path):
    deep = '{"a":' * 990 + "1" + "}" * 990
    found, problems = rows(put(tmp_path, f"{json.dumps(RECORD)}\n{deep}\n", "data.jsonl"))
    assert len(found) == 1
    assert [(row, column) for row, column, _ in problems] == [(2, "")]


def test_parquets_nested_values_are_refused_by_row_and_bytes_are_their_text(tmp_path):
    table = pa.table(
        {
            "id": pa.array([b"a1", b"a2", b"\xff\x00"]), "when": ["2026-01-31 12:00:00"] * 3,
            "much": pa.array([Decimal("12.345")] * 3, pa.decimal128(10, 3)), "who": pa.array([404.0] * 3),
            "shop": pa.array([b"corner"] * 3), "bad": [True] * 3, "size": pa.array([Decimal("2.5")] * 3),
            "sort": [["food"], None, None], "extra": [{"a": 1}] * 3,
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "data.parquet")
    found, problems = rows(tmp_path / "data.parquet")
    assert problems == [(1, "sort", "is a list, not a value")]
    assert [row["transaction_id"] for row in found] == ["a2", "ff00"]
    assert (found[0]["amount_minor"], found[0]["entity.customer"], found[0]["entity.shop"]) == (1234, "404", "corner")


def test_a_guess_passes_by_columns_that_are_there_twice(tmp_path):
    names = ["id", "when", "amount", "customer", "x", "x"]
    table = pa.table([["t1"], ["2026-01-31 12:00:00"], [1.5], ["c1"], [1], [2]], names=names)
    pq.write_table(table, tmp_path / "data.parquet")
    draft = mapping_guess.guess(tmp_path / "data.parquet", name="x")
    assert [c.column for c in draft.columns] == names[:4]


def test_a_card_number_that_was_written_as_a_fraction_has_the_same_token():
    written = pa.array(["4000120000003879", "4000120000003879.0", "4000 1200 0000 3879"])
    assert len(set(mapped_texts.names(written, key=b"k" * 16).values.to_pylist())) == 1
    assert mapped_texts.texts(pa.array(["404.0", "404.50", "0404", "-3.00", "1.0.0"])).to_pylist() == [
        "404", "404.50", "0404", "-3", "1.0.0",
    ]  # fmt: skip
