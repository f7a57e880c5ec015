"""The first rows of a file as the desk would keep them, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from services.importing_preview import Preview
from services.mapped_file import RowProblem
from ui import format as fmt

_SHOWN = 50


def show(found: Preview) -> None:
    bad = len({problem.row for problem in found.problems})
    good = len(found.records)
    if not found.rows:
        st.markdown("##### :orange[:material/rule:] The file has a header and no rows", anchors=False)
        return
    tone = "green" if not bad else "orange" if good else "red"
    icon = "check_circle" if not bad else "rule"
    text = f"{fmt.count(good)} of the first {fmt.count(found.rows)} rows can be imported"
    st.markdown(f"##### :{tone}[:material/{icon}:] {text}", anchors=False)
    if found.problems:
        problems(found.problems, key="import-preview-problems")
    if found.records:
        st.dataframe(
            [_line(*row) for row in list(zip(found.numbers, found.records, found.verdicts, strict=True))[:_SHOWN]],
            hide_index=True,
            key="import-preview",
            height="content" if good <= 8 else 320,
            column_config={
                "Row": st.column_config.NumberColumn(width=56, format="%d"),
                "Amount": st.column_config.NumberColumn(format="%,.2f"),
                "Time (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
            },
            alt="The first rows as the desk would keep them",
        )


def problems(found: Sequence[RowProblem], *, key: str) -> None:
    st.dataframe(
        {
            "Row": [problem.row for problem in found],
            "Column": [problem.column or "whole row" for problem in found],
            "Problem": [problem.message for problem in found],
        },
        hide_index=True,
        key=key,
        height="content" if len(found) <= 6 else 240,
        column_config={
            "Row": st.column_config.NumberColumn(width=72, format="%d"),
            "Column": st.column_config.TextColumn(width=160),
        },
        alt="What is wrong, by row and column",
    )


def _line(number: int, record: dict[str, Any], verdict: str | None) -> dict[str, Any]:
    """One row for people: the amount in major units, nested fields by their names."""
    line: dict[str, Any] = {
        "Row": number,
        "Id": record["transaction_id"],
        "Time (UTC)": record["event_time"],
        "Amount": record["amount_minor"] / 10 ** record["exponent"],
        "Currency": record["currency"],
        "Customer": record.get("customer_id"),
        "Verdict": fmt.word(verdict) if verdict else fmt.MISSING,
    }
    named = (("Merchant", "merchant", "id"), ("Card", "card", "token"), ("Device", "device", "id"))
    line |= {title: record[field].get(part) for title, field, part in named if field in record}
    if "terminal_id" in record:
        line["Terminal"] = record["terminal_id"]
    return line | {fmt.word(name): value for name, value in record.get("attributes", {}).items()}
