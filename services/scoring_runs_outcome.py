"""One batch of a scoring run: its scores, what was refused, and the run with both counted."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from services.domain.states import Decision
from services.errors import InvalidData
from services.scoring import Assessment
from services.scoring_runs_files import results_table
from services.scoring_runs_rows import Checked
from services.scoring_runs_state import MOST_PROBLEMS, MOST_TOP, Refused, ScoringRun, Top


class Scorer(Protocol):
    def assess(self, documents: Sequence[dict[str, Any]]) -> list[Assessment]: ...


def outcome(
    run: ScoringRun, checked: Checked, scorer: Scorer, *, clock: Callable[[], datetime]
) -> tuple[ScoringRun, pa.Table, list[Refused]]:
    """The run after the batch, the batch's results, and its problems by row. Raises Unavailable."""
    assessed = _assessed(checked.documents, scorer)
    told = zip(checked.rows, checked.documents, assessed, strict=True)
    good = [(row, document, a) for row, document, a in told if isinstance(a, Assessment)]
    refused = list(checked.refused)
    refused += [Refused(row, "", a) for row, a in zip(checked.rows, assessed, strict=True) if isinstance(a, str)]
    refused.sort(key=lambda r: r.row)
    table = results_table(checked, [a if isinstance(a, Assessment) else None for a in assessed], scored_at=clock())
    decisions = [a.decision for _, _, a in good]
    riskiest = heapq.nlargest(MOST_TOP, (_top(*one) for one in good), key=_risk)
    done = replace(
        run,
        rows=checked.last_row,
        batches=run.batches + 1,
        scored=run.scored + len(good),
        refused=run.refused + checked.last_row - run.rows - len(good),
        approve=run.approve + decisions.count(Decision.APPROVE),
        review=run.review + decisions.count(Decision.REVIEW),
        decline=run.decline + decisions.count(Decision.DECLINE),
        problems=run.problems + len(refused),
        model_versions=tuple(dict.fromkeys((*run.model_versions, *(a.thresholds.model_version for _, _, a in good)))),
        top=tuple(heapq.nlargest(MOST_TOP, (*run.top, *riskiest), key=_risk)),
        first_problems=(*run.first_problems, *refused)[:MOST_PROBLEMS],
    )
    return done, table, refused


def _assessed(documents: list[dict[str, Any]], scorer: Scorer) -> list[Assessment | str]:
    """Scores in order; for a row that the model cannot take, the sentence why. Such a row spoils its call, so the
    batch is halved until it stands alone."""
    if not documents:
        return []
    try:
        return list(scorer.assess(documents))
    except InvalidData as error:
        if len(documents) == 1:
            return [error.message]
    half = len(documents) // 2
    return _assessed(documents[:half], scorer) + _assessed(documents[half:], scorer)


def _top(row: int, document: dict[str, Any], assessment: Assessment) -> Top:
    reason = assessment.reasons[0].text if assessment.reasons else ""
    return Top(row, document["_id"], assessment.value, str(assessment.decision), reason)


def _risk(top: Top) -> tuple[float, int]:
    """Riskiest first; of equals the first in the file."""
    return top.score, -top.row
