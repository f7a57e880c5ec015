"""From feature vectors to a decision with reasons: the one path shared by the scorer, the first-start replay and live
scoring.

The model is asked for scores of all rows, and in the same breath for contributions of those that will need reasons,
which it works out beside the rest. Only where that could not be foreseen, because another version answered or one that
does not know the question, it is asked again. An answer that is not a usable score raises; it is never read as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.domain.states import Decision, decide
from services.domain.thresholds import Thresholds
from services.endpoint import EndpointScores
from services.errors import Unavailable
from services.features import DEMO, Plan, Reason
from services.flow_scoring import Answer, FlowScores, FlowSource, Told

# Time allowed from alert to verdict, by what is at stake.
SLA_HIGH_VALUE = timedelta(hours=1)
SLA = timedelta(hours=4)
HIGH_VALUE_MINOR = 50_000
REASONS_SHOWN = 4


class Scores(Protocol):
    """Whoever can score rows: the endpoint itself, or the scoring API in front of it."""

    def score(self, rows: Sequence[Sequence[float]], explain: bool | float = False) -> EndpointScores: ...


class ThresholdStore(Protocol):
    def for_version(self, model_version: str) -> Thresholds | None: ...


@dataclass(frozen=True, slots=True)
class Assessment:
    """One row's outcome. `reasons` are empty unless asked for or the decision is review or decline."""

    value: float
    decision: Decision
    thresholds: Thresholds
    features_version: str
    reasons: tuple[Reason, ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class OpenedAlert:
    opened_at: datetime
    due_at: datetime
    priority: float
    value_at_risk_minor: int


class Scoring:
    def __init__(
        self, scores: Scores, thresholds: ThresholdStore, plan: Plan = DEMO, flows: FlowSource | None = None
    ) -> None:
        """`flows` knows the models that were trained with a flow; without it all take the plan's features."""
        self._scores, self._thresholds, self.plan = FlowScores(scores, flows, plan), thresholds, plan
        self._latest: Thresholds | None = None  # of the version that answered last

    def assess(
        self,
        vectors: Sequence[Sequence[float]],
        *,
        money: Sequence[tuple[str, int]] = (),
        transactions: Sequence[Mapping[str, Any]] = (),
        explain_all: bool = False,
        reasons_shown: int = REASONS_SHOWN,
    ) -> list[Assessment]:
        """Score and decide every vector (n x features), in order. `money` gives each row's currency and exponent, for
        the words of its reasons, of which the strongest `reasons_shown` are kept; `transactions` its document, for
        flows that read more than features. Raises Unavailable, InvalidData as `Endpoint.score`.
        """
        if not len(vectors):
            return []
        foreseen = self._latest.review if self._latest is not None else False
        asked = self._scores.score(vectors, transactions, explain=True if explain_all else foreseen)
        first = asked.scores
        limits = self._latest = self._limits(first.model_version)
        wanted = [i for i, s in enumerate(first.scores) if explain_all or s >= limits.review]
        answer, places = asked, {row: row for row in wanted}
        if any(first.contributions is None or first.contributions[i] is None for i in wanted):
            documents = [transactions[i] for i in wanted] if transactions else ()
            answer = self._scores.score([vectors[i] for i in wanted], documents, explain=True)
            places = {row: place for place, row in enumerate(wanted)}
            if answer.scores.model_version != first.model_version:
                # A deployment switched between the two questions: ask again, so that reasons fit their score.
                return self.assess(vectors, money=money, transactions=transactions, reasons_shown=reasons_shown)
        explained = self._explained(answer, places, vectors, money, transactions, reasons_shown)
        return [
            Assessment(
                value=value,
                decision=decide(value, review_threshold=limits.review, decline_threshold=limits.decline),
                thresholds=limits,
                features_version=first.features_version,
                reasons=explained.get(row, ()),
                latency_ms=first.latency_ms / len(vectors),
            )
            for row, value in enumerate(first.scores)
        ]

    def _explained(
        self, answer: Answer, rows: Mapping[int, int], vectors: Sequence[Sequence[float]],
        money: Sequence[tuple[str, int]], transactions: Sequence[Mapping[str, Any]], shown: int,
    ) -> dict[int, tuple[Reason, ...]]:  # fmt: skip
        """The reasons of `rows`: row -> its place in the answer."""
        found = {}
        for row, place in rows.items():
            terms = (answer.scores.contributions or ())[place]
            assert terms is not None, "the endpoint answers contributions when asked"
            currency, exponent = money[row] if money else ("EUR", 2)
            document = transactions[row] if transactions else {}
            told = Told(self.plan, vectors[row], document, shown, currency, exponent)
            found[row] = answer.reasons(place, terms, told)
        return found

    def _limits(self, model_version: str) -> Thresholds:
        found = self._thresholds.for_version(model_version)
        if found is None:
            raise Unavailable(
                f"The endpoint serves {model_version}, for which no thresholds are set; nothing was decided.",
                dependency="the model endpoint",
            )
        return found


def alert_for(value: float, amount_minor: int, *, opened_at: datetime) -> OpenedAlert:
    """The alert of a transaction. Priority is the expected loss, score x amount in minor units."""
    allowed = SLA_HIGH_VALUE if amount_minor >= HIGH_VALUE_MINOR else SLA
    return OpenedAlert(opened_at, opened_at + allowed, value * amount_minor, amount_minor)
