"""What a window of the lake holds, before anything is trained on it: rows, labels, and why no model can be made of it.

The same rules as `services.training_set`, without the features, so that it takes a moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from services.errors import InvalidData
from services.lake import Lake
from services.training_set import check_labels, known_labels

MATURITY = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Survey:
    """`rows` of the window, `usable` with a label, `frauds` among them; `young` of the usable teach only the last fit
    and measure nothing; `problem` says why no model can be made."""

    rows: int
    usable: int
    frauds: int
    problem: str | None = None
    young: int = 0


def survey(lake: Lake, *, start: datetime, end: datetime, cutoff: datetime) -> Survey:
    """Of the newest state of the lake, which may lack the last seconds. NotFound while it is empty; Unavailable."""
    held = lake.read_transactions(None, start=start, end=end, columns=("transaction_id", "event_time"))
    verdicts = lake.read_labels(None)
    labels, young = known_labels(held, verdicts, label_cutoff=cutoff, maturity=MATURITY)
    known = labels[labels >= 0]
    counts = (held.num_rows, len(known), int(np.sum(known)))
    try:
        check_labels(labels[(labels >= 0) & ~young], in_window=held.num_rows)
    except InvalidData as error:
        return Survey(*counts, error.message, int(young.sum()))
    return Survey(*counts, young=int(young.sum()))
