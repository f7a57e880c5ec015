"""What could be found at most: by somebody who is told of every fraud, but for those that nothing known foretells.

The handbook's simulator takes terminals over (its scenario 2): until a first fraud there is known, the next one looks
like any other transaction. Whoever ranks all other frauds first, and knows nothing else, gets the ceiling of a week.
TX_FRAUD_SCENARIO, which says which fraud is which, is read here alone and is no feature of any model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services import backtest_protocol as protocol
from services.backtest_data import DAY_MS, Portfolio, codes
from services.backtest_protocol import CARDS_A_DAY, Request
from services.detection_metrics import average_precision, card_precision

_TAKEN_OVER = 2
# A terminal is taken over for so many days, whole UTC ones.
_TAKEOVER_DAYS = 28


def of_weeks(data: Portfolio, path: Path, request: Request) -> dict[str, float] | None:
    """{ap, cp100}, means over the folds; None where the file does not say the scenarios."""
    scenarios = _scenarios(data, path)
    if scenarios is None:
        return None
    told = (data.labels == 1) & ~_unforeseen(data, scenarios == _TAKEN_OVER, request.known_after)
    found = []
    for fold in protocol.folds(request):
        rows, _ = protocol.test_rows(fold, data.days, data.labels, data.cards, delay_days=request.delay_days)
        frauds, scores = data.labels[rows] == 1, told[rows].astype(np.float64)
        cards = card_precision(frauds, scores, data.cards[rows], data.days[rows], k=CARDS_A_DAY)
        found.append((average_precision(frauds, scores), cards))
    mean = np.mean(found, axis=0)
    return {"ap": float(mean[0]), "cp100": float(mean[1])}


def _scenarios(data: Portfolio, path: Path) -> NDArray[np.int64] | None:
    names = ["TRANSACTION_ID", "TX_FRAUD_SCENARIO"]
    reading = pa_csv.ConvertOptions(include_columns=names)
    try:
        table = (
            pa_csv.read_csv(path, convert_options=reading)
            if path.suffix == ".csv"
            else pq.read_table(path, columns=names)
        )
    except (KeyError, pa.ArrowInvalid):
        return None
    if table.num_columns < len(names):
        return None
    place = pc.index_in(data.table["transaction_id"], table[names[0]].cast(pa.string()).combine_chunks())
    out: NDArray[np.int64] = table[names[1]].take(place).to_numpy().astype(np.int64)
    return out


def _unforeseen(data: Portfolio, taken: NDArray[np.bool_], label_days: float) -> NDArray[np.bool_]:
    """[n] whether a row is a fraud of a takeover of which no fraud was known when it happened."""
    rows = np.flatnonzero(taken)
    terminal, times = codes(data.table.column("entity.terminal"))[rows], data.times[rows]
    span = int(data.times[-1] - data.times[0]) + 2 * _TAKEOVER_DAYS * DAY_MS
    key = np.sort(terminal * span + (times - data.times[0]))
    here = terminal * span + (times - data.times[0])
    known = np.searchsorted(key, here - round(label_days * DAY_MS), side="right")
    out = np.zeros(len(data), np.bool_)
    out[rows] = known == np.searchsorted(key, here - _TAKEOVER_DAYS * DAY_MS)
    return out
