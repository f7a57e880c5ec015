"""The mapping of a file that was handed in: one that exists, or a guess to be corrected column by column."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from services import mapping_guess
from services.domain.mapping import MAX_ATTRIBUTES, Mapping, TimeColumn, desk_mapping, file_text, read_mapping
from services.errors import InvalidData
from services.mapping_draft import FEATURES, Draft, DraftColumn, Role, doubles, toml_of
from ui import errors
from ui import format as fmt

GUESS, OWN, DESK = "guess", "own", "desk"
UNITS = {"s": "seconds", "ms": "milliseconds", "h": "hours", "d": "days"}
_COLUMNS = ("Column", "Sample", "Used as", "Name", "Title", "Card number", "Rates by")


def choose(path: Path, *, desk_file: Path | None) -> tuple[str, str]:
    """Which mapping, and its text (TOML). Raises InvalidData where the file cannot be looked at."""
    draft = _guess(path)
    shipped = mapping_guess.shipped_mappings()
    fitting = mapping_guess.shipped_for(c.column for c in draft.columns)
    titles = {GUESS: "Guess from this file", **{stem: mapping.name for stem, mapping in shipped.items()}}
    if desk_file is not None:
        titles[DESK] = "This desk's mapping"
    titles[OWN] = "A mapping file of mine"
    held = f"import-mapping-{path.parent.name}"
    usual = DESK if _fits(desk_file, draft) else fitting or GUESS
    chosen = st.selectbox(
        "Mapping", list(titles), index=list(titles).index(usual), format_func=titles.__getitem__, key=held,
        help="What the columns mean. A guess is made from names and first values; check every line of it.", width=320,
    )  # fmt: skip
    if chosen == GUESS:
        return chosen, _form(draft, path)
    if chosen == OWN:
        mine = st.file_uploader("Mapping file (TOML)", type=["toml"], key=f"{held}-own")
        text = mine.getvalue().decode("utf-8-sig", errors="replace") if mine else ""
    elif chosen == DESK and desk_file is not None:
        text = file_text(desk_file)
    else:
        text = file_text(mapping_guess.SHIPPED / f"{chosen}.toml")
    if not text:
        return chosen, ""
    return chosen, st.text_area("Mapping file (TOML)", text, height=260, key=f"{held}-{chosen}-{hash(text)}")


def _fits(desk_file: Path | None, draft: Draft) -> bool:
    """Whether the desk's own mapping can read the file."""
    mapping = desk_mapping(desk_file)
    return mapping is not None and mapping_guess.fits(mapping, [c.column for c in draft.columns])


@st.cache_data(show_spinner=False, max_entries=8)
def _guess(path: Path) -> Draft:
    """Once for each content: what was handed in lies under its own digest."""
    return mapping_guess.guess(path, name=path.stem.replace("_", " ").capitalize())


def _form(draft: Draft, path: Path) -> str:
    """The guess as a table to edit and a few fields; answers the mapping file they make."""
    key = f"import-{path.parent.name}"
    frame = pd.DataFrame([_line(c) for c in draft.columns], columns=list(_COLUMNS))
    column = st.column_config
    edited = st.data_editor(
        frame, hide_index=True, key=f"{key}-columns", num_rows="fixed", disabled=["Column", "Sample"],
        height="content" if len(frame) <= 12 else 460,
        column_config={
            "Column": column.TextColumn(pinned=True),
            "Sample": column.TextColumn(width=200),
            "Used as": column.SelectboxColumn(options=[str(role) for role in Role], required=True, width=150),
            "Name": column.TextColumn(
                help="Of an entity: customer (who pays; required), card, merchant, terminal, device or a word of "
                "yours. Of a feature: what it is called in this desk.",
            ),
            "Title": column.TextColumn(help="What people read of a feature."),
            "Card number": column.CheckboxColumn(help="Its values are replaced by keyed hashes; never kept or shown."),
            "Rates by": column.CheckboxColumn(help="Fraud rates are broken down by this category."),
        },
    )  # fmt: skip
    _notes(draft)
    lines = edited.to_dict("records")
    columns = tuple(_column(c, line) for c, line in zip(draft.columns, lines, strict=True))
    made = _details(replace(draft, columns=columns), key)
    wrong = doubles(columns)
    if wrong:
        raise InvalidData(f"{'; '.join(wrong)[:1].upper()}{'; '.join(wrong)[1:]}.")
    return toml_of(made)


def _notes(draft: Draft) -> None:
    """What the guess decided that the table does not show."""
    said = []
    if draft.decimal == ",":
        said.append("Numbers are read with a comma for decimals.")
    if draft.left_out:
        said.append(
            f"A payment has at most {MAX_ATTRIBUTES} features: {fmt.count(draft.left_out)} more columns could be one "
            "and are not used; choose others above."
        )
    if said:
        st.caption(" ".join(said))


def _line(c: DraftColumn) -> tuple[str, str, str, str, str, bool, bool]:
    return c.column, c.sample, str(c.role), c.name, c.title, c.card_number, c.broken_down


def _column(c: DraftColumn, line: dict[Any, Any]) -> DraftColumn:
    role = Role(str(line["Used as"]))
    name = str(line["Name"] or "").strip()
    if not name and (role is Role.ENTITY or role in FEATURES):
        name = "customer" if role is Role.ENTITY else mapping_guess.snake(c.column)
    return replace(
        c, role=role, name=name, title=str(line["Title"] or "").strip(), card_number=bool(line["Card number"]),
        broken_down=bool(line["Rates by"]),
    )  # fmt: skip


def _details(draft: Draft, key: str) -> Draft:
    """What no column says: the time's unit and origin, the currency, what fraud is called, when it becomes known."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.text_input("Name of the data", draft.name, key=f"{key}-name", width=150)
        moment = _time_fields(draft.time, key)
        if draft.column(Role.CURRENCY) is None:
            draft = replace(draft, currency=st.text_input("Currency", draft.currency, key=f"{key}-currency", width=80))
        if draft.column(Role.LABEL) is not None:
            draft = _label_fields(draft, key)
    return replace(draft, name=name or "Data", time=moment)


def _time_fields(moment: TimeColumn, key: str) -> TimeColumn:
    kind = st.selectbox(
        "Time is", ["datetime", "number"], index=int(moment.kind == "number"), key=f"{key}-kind", width=140,
        format_func={"datetime": "date and time", "number": "a count"}.__getitem__,
    )  # fmt: skip
    if kind == "number":
        units = list(UNITS)
        unit: Any = st.selectbox(
            "of", units, index=units.index(moment.unit), format_func=UNITS.__getitem__, key=f"{key}-unit", width=130
        )
        first = moment.origin.date() if moment.origin else date(1970, 1, 1)
        origin = st.date_input("since (UTC)", first, min_value=date(1970, 1, 1), key=f"{key}-origin", width=130)
        start = datetime.combine(origin, time(), UTC) if isinstance(origin, date) else None
        return TimeColumn(moment.column, "number", unit, start)
    zone = st.text_input("Time zone", moment.zone, key=f"{key}-zone", width=110, help="Of times without an offset.")
    form = st.text_input(
        "Format", moment.format or "", key=f"{key}-format", width=120, placeholder="ISO 8601",
        help="Only where times are not like 2026-01-31 12:00:00, as in %d/%m/%Y %H:%M.",
    )  # fmt: skip
    return TimeColumn(moment.column, "datetime", zone=zone or "UTC", format=form or None)


def _label_fields(draft: Draft, key: str) -> Draft:
    fraud = st.text_input(
        "Fraud is", ", ".join(draft.fraud), key=f"{key}-fraud", width=90, help="The label's values that mean fraud."
    )
    delay = st.number_input(
        "Known after (days)", 0.0, 400.0, draft.delay_days, key=f"{key}-delay", width=140,
        help="How long after a payment its label is known; not used where a column says it.",
    )  # fmt: skip
    words = tuple(word.strip() for word in fraud.split(",") if word.strip())
    return replace(draft, fraud=words, delay_days=delay)


# What the mapping's own words mean for somebody who fills in the table.
_ASKED = {
    "[time] column is missing": "Which column is the time of the payment? Set it to 'time' under Used as.",
    "[amount] column is missing": "Which column is the amount? Set it to 'amount' under Used as.",
    "[entities] customer is missing: name the column of who pays": "Which column says who pays? Set it to 'entity' "
    "under Used as, and its name to 'customer'.",
}


def parsed(text: str) -> Mapping | None:
    """The mapping, or None with every problem shown."""
    try:
        return read_mapping(text)
    except InvalidData as error:
        sentence = (
            f"The mapping cannot be used yet: {len(error.problems)} problems." if len(error.problems) > 1 else None
        )
        errors.show(InvalidData(sentence or error.message))
        if sentence:
            said = (_ASKED.get(problem.message, problem.message) for problem in error.problems)
            st.markdown("\n".join(f"- {fmt.literal(sentence)}" for sentence in said))
        return None


def same(one: str, other: str) -> bool:
    """Whether two mapping files say the same."""
    try:
        return tomllib.loads(one) == tomllib.loads(other)
    except tomllib.TOMLDecodeError:
        return False
