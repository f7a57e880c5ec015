"""What the columns of an unknown file probably are: by their names, and by the values of its first rows.

A guess is a draft for a person to look at. Three things it is careful with: a column that looks like card numbers is
tokenised, one that looks personal (a name, a street, a birthday) is not used, and so is one that speaks of fraud but
is not the label, since it would give the answer away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, islice
from pathlib import Path

from services.domain.field_checks import plain
from services.domain.mapping import DOCUMENT_KINDS, MAX_ATTRIBUTES, Mapping, TimeColumn, label_word, read_mapping
from services.domain.money import holds_card_number
from services.errors import InvalidData
from services.mapped_file import optional_columns
from services.mapped_sources import CsvSource, open_source
from services.mapped_texts import texts
from services.mapping_draft import FEATURES, Draft, DraftColumn, Role

SHIPPED = Path(__file__).parents[1] / "mappings"
SAMPLE_ROWS = 2_000
_FEW = 30
_MANY = 200
# A column is one of numbers or dates where most of its values are: real files have bad rows, short ones a few of ten.
_MOST = 0.8
_FRAUD_WORDS = ("1", "fraud", "yes", "y", "t", "chargeback", "bad")
# What a name says, most telling first: (pattern over the name in small letters with _ between words, role, kind).
_NAMES: tuple[tuple[str, Role, str], ...] = (
    (r"(is_?|tx_?|flag_)?fraud(ulent)?(_?(flag|label|ind|indicator))?|label|class|target|chargeback", Role.LABEL, ""),
    (r"(label|fraud|chargeback)_.*(time|date|at|day)", Role.KNOWN_AT, ""),
    (r"(trans(action)?|tx|payment|event|order)?_?(id|no|num|number|ref(erence)?|uuid)|trans(action)?id", Role.ID, ""),
    (r"merch(ant)?_(lat|latitude)", Role.MERCHANT_LAT, ""),
    (r"merch(ant)?_(lon|long|lng|longitude)", Role.MERCHANT_LON, ""),
    (r"(home_|customer_|cust_)?lat(itude)?", Role.HOME_LAT, ""),
    (r"(home_|customer_|cust_)?(lon|long|lng|longitude)", Role.HOME_LON, ""),
    (r"currency(_code)?|ccy", Role.CURRENCY, ""),
    (r"((transaction|tx|trans|payment|purchase|order)_?)?(amount|amt|value|total)(_usd|_eur)?", Role.AMOUNT, ""),
    (r"(customer|client|account|cust|user|payer|sender)(_?(id|ref|no|number))?|name_?orig|cc_?num"
     r"|card_?number", Role.ENTITY, "customer"),
    (r"card(_?(id|token|hash))?|pan", Role.ENTITY, "card"),
    (r"merchant(_?(id|name))?|shop(_?id)?|store(_?id)?|seller(_?id)?|vendor(_?id)?", Role.ENTITY, "merchant"),
    (r"terminal(_?id)?|pos_?id|atm_?id", Role.ENTITY, "terminal"),
    (r"device_?id|device_?fingerprint", Role.ENTITY, "device"),
    (r"name_?dest|recipient(_?id)?|beneficiary(_?id)?|payee(_?id)?|receiver(_?id)?", Role.ENTITY, "recipient"),
    (r"ip(_?address)?", Role.ENTITY, "ip_address"),
)  # fmt: skip
_TIME = re.compile(
    r"(^|_)(date|time|datetime|timestamp|step|dt|at)(_|$)|unix_time|datetime|transactiondt|created|event_time"
)
_PERSONAL = re.compile(
    r"^(first|last|full|middle)(_?name)?$|^name$|^gender$|street|address_?line|^dob$|birth|e?_?mail$|phone|ssn|passport|^job$|^zip"
)
_FRACTION = re.compile(r"-?[0-9]+[.,][0-9]+")
_GIVES_AWAY = re.compile(r"fraud|chargeback|dispute|flagged|scenario")


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of a column's sample: the texts that are there, and what they look like."""

    present: int
    distinct: int
    rows: int
    words: tuple[str, ...]
    numeric: bool
    whole: bool
    dated: bool
    cards: bool


def guess(path: Path, *, name: str) -> Draft:
    """A draft of the mapping. Raises InvalidData where the file cannot be read."""
    looked, comma = _looked_at(path)
    return replace(_guessed(looked, name), decimal="," if comma else ".")


def shipped_for(columns: Iterable[str]) -> str | None:
    """The shipped mapping that fits a file with these columns."""
    known = tuple(columns)
    return next((stem for stem, mapping in shipped_mappings().items() if fits(mapping, known)), None)


def fits(mapping: Mapping, columns: Iterable[str]) -> bool:
    """Whether a file with these columns has all that the mapping needs."""
    return set(mapping.columns) - optional_columns(mapping) <= set(columns)


def shipped_mappings() -> dict[str, Mapping]:
    """Those in mappings/, by the names of their files."""
    return {path.stem: read_mapping(path) for path in sorted(SHIPPED.glob("*.toml"))}


def _looked_at(path: Path) -> tuple[list[tuple[DraftColumn, _Facts]], bool]:
    """The columns with their facts, and whether the numbers have a decimal comma."""
    source = open_source(path)
    # What is there twice cannot be meant by its name.
    names = [name for name, times in Counter(source.names).items() if times == 1 or not name]
    if len(names) < 3:
        raise InvalidData(
            f"{path.name} has {len(names)} column{'s' * (len(names) != 1)}. At least a time, an amount and a customer "
            "are needed; if they stand in one column, its delimiter is none of , ; | and tab."
        )
    batches = list(islice(source.batches(names, batch_rows=SAMPLE_ROWS, after_row=0), 1))
    columns = {name: texts(batches[0].columns[name]).to_pylist() if batches else [] for name in names}
    written = [cell for cells in columns.values() for cell in cells if cell is not None and _FRACTION.fullmatch(cell)]
    comma = isinstance(source, CsvSource) and sum("," in cell for cell in written) * 2 > len(written)
    found = []
    for name, cells in columns.items():
        facts = _facts([_pointed(cell) if comma else cell for cell in cells if cell is not None], len(cells))
        sample = ", ".join("[card number]" if facts.cards else plain(word) for word in facts.words[:3])
        found.append((DraftColumn(name, sample=sample), facts))
    return found, comma


def _pointed(cell: str) -> str:
    return cell.replace(",", ".") if _FRACTION.fullmatch(cell) else cell


def _facts(words: Sequence[str], rows: int) -> _Facts:
    distinct = tuple(dict.fromkeys(words))
    some = distinct[:500]
    numbers = [number for word in some if (number := _number(word)) is not None]
    return _Facts(
        len(words), len(distinct), rows, distinct[:1000],
        numeric=bool(some) and len(numbers) >= _MOST * len(some),
        whole=all(number.is_integer() for number in numbers),
        dated=bool(some) and sum(map(_is_date, some)) >= _MOST * len(some),
        cards=bool(some) and sum(len(word) > 12 and holds_card_number(word) for word in some) > 0.5 * len(some),
    )  # fmt: skip


def _guessed(looked: Sequence[tuple[DraftColumn, _Facts]], name: str) -> Draft:
    taken: set[Role] = set()
    columns = [_by_name(column, facts, taken) for column, facts in looked]
    columns, time = _with_time(columns, looked)
    if not any(c.role is Role.AMOUNT for c in columns):
        columns = _with_amount(columns, looked)
    names: set[str] = set()
    made = [_rest(c, facts, names) for c, (_, facts) in zip(columns, looked, strict=True)]
    left_out = _leave_out(made)
    facts_of = {c.column: facts for c, facts in looked}
    label = next((c.column for c in made if c.role is Role.LABEL), None)
    words = {label_word(word) for word in facts_of[label].words} if label else set()
    fraud = tuple(word for word in _FRAUD_WORDS if word in words) or ("1",)
    delay_days = 7.0 if label else None
    return Draft(name, tuple(made), time, fraud=fraud, delay_days=delay_days, left_out=left_out)


def _by_name(column: DraftColumn, facts: _Facts, taken: set[Role]) -> DraftColumn:
    """By its name; each role that only one column can have goes to the first that fits."""
    name = snake(column.column)
    if facts.cards:
        return replace(column, role=Role.ENTITY, name="customer" if "card" not in name else "card", card_number=True)
    for pattern, role, kind in _NAMES:
        if not re.fullmatch(pattern, name) or not _fits(role, facts):
            continue
        if role is Role.ENTITY:
            return replace(column, role=role, name=kind)
        if role not in taken:
            taken.add(role)
            return replace(column, role=role)
    return column


def _fits(role: Role, facts: _Facts) -> bool:
    if role in (Role.AMOUNT, Role.HOME_LAT, Role.HOME_LON, Role.MERCHANT_LAT, Role.MERCHANT_LON):
        return facts.numeric
    if role is Role.LABEL:
        return facts.distinct <= 3
    if role is Role.ID:
        return facts.distinct == facts.rows
    return True


def _with_time(
    columns: list[DraftColumn], looked: Sequence[tuple[DraftColumn, _Facts]]
) -> tuple[list[DraftColumn], TimeColumn]:
    """The first column of dates and times, else the first number that is called like a time."""
    free = [(i, facts) for i, (_, facts) in enumerate(looked) if columns[i].role is Role.IGNORE]
    named = [(i, facts) for i, facts in free if _TIME.search(snake(columns[i].column))]
    chosen = next(
        (i for i, facts in (*named, *free) if facts.dated and not _PERSONAL.search(snake(columns[i].column))), None
    )
    time = TimeColumn("")
    if chosen is None:
        found = next(((i, facts) for i, facts in named if facts.numeric), None)
        if found is None:
            return columns, time
        chosen, facts = found
        time = _counted(snake(columns[chosen].column), [n for w in facts.words if (n := _number(w)) is not None])
    columns[chosen] = replace(columns[chosen], role=Role.TIME)
    return columns, replace(time, column=columns[chosen].column)


def _counted(name: str, numbers: Sequence[float]) -> TimeColumn:
    """Seconds or milliseconds since 1970 by their size; else from an origin that a person must say: hours of a step,
    days, or seconds."""
    middle = sorted(numbers)[len(numbers) // 2]
    if middle > 1e11:
        return TimeColumn("", "number", "ms")
    if middle > 5e8:
        return TimeColumn("", "number", "s")
    unit = "h" if name in ("step", "hour") else "d" if "day" in name else "s"
    return TimeColumn("", "number", unit, datetime.fromisoformat("2024-01-01T00:00:00+00:00"))  # type: ignore[arg-type]


def _with_amount(columns: list[DraftColumn], looked: Sequence[tuple[DraftColumn, _Facts]]) -> list[DraftColumn]:
    """The first free column of numbers with fractions."""
    for index, (_, facts) in enumerate(looked):
        if columns[index].role is Role.IGNORE and facts.numeric and not facts.whole:
            columns[index] = replace(columns[index], role=Role.AMOUNT)
            break
    return columns


def _rest(column: DraftColumn, facts: _Facts, names: set[str]) -> DraftColumn:
    """A plain feature, unless it would be personal, give the answer away, say the time again or say nothing."""
    name = snake(column.column)
    if column.role is not Role.IGNORE:
        return column
    useless = facts.distinct < 2 or facts.dated or bool(_TIME.search(name))
    if useless or _PERSONAL.search(name) or _GIVES_AWAY.search(name):
        return column
    name = _free(re.sub(r"[^a-z0-9_]", "", name).lstrip("0123456789_")[:40] or "column", names)
    if {label_word(word) for word in facts.words} <= {"0", "1", "yes", "no", "y", "n", "t", "f"}:
        return replace(column, role=Role.FLAG, name=name)
    if facts.numeric:
        return replace(column, role=Role.NUMBER, name=name)
    if facts.distinct <= _MANY and facts.distinct < 0.5 * max(facts.present, 1):
        return replace(column, role=Role.CATEGORY, name=name, broken_down=facts.distinct <= _FEW)
    return column


def _leave_out(columns: list[DraftColumn]) -> int:
    """Features beyond those that a payment can have are not used: the first columns count. Returns how many."""
    others = {c.name for c in columns if c.role is Role.ENTITY and c.name not in DOCUMENT_KINDS}
    features = [index for index, c in enumerate(columns) if c.role in FEATURES]
    beyond = features[MAX_ATTRIBUTES - len(others) :]
    for index in beyond:
        columns[index] = replace(columns[index], role=Role.IGNORE, name="", broken_down=False)
    return len(beyond)


def _free(name: str, names: set[str]) -> str:
    others = (f"{name[:34]}_{number}" for number in count(2))
    made = name if name not in names else next(other for other in others if other not in names)
    names.add(made)
    return made


def snake(name: str) -> str:
    """TransactionDT, "Transaction dt" and transaction-dt are transaction_dt."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^A-Za-z0-9]+", "_", parted).strip("_").lower()


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None


def _is_date(word: str) -> bool:
    if len(word) < 8 or _number(word) is not None:
        return False
    try:
        datetime.fromisoformat(word)
    except ValueError:
        return False
    return True
