"""Scoring something that is not (yet) a transaction of the desk: typed in, or a file of rows. Nothing is stored.

The path is the production one: features from the customers' current state, then the scoring API (Lambda), then the
endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.access import Actor, Permission, require
from services.domain.mapping import Mapping as DataMapping
from services.domain.states import Decision
from services.domain.thresholds import Thresholds
from services.domain.transaction_rules import DEMO_RULES, Rules, check_transaction
from services.errors import InvalidData, Problem
from services.features import DEMO, Plan, Reason, event_from_document
from services.flow_scoring import FlowSource
from services.mapped_rows import SourceRows
from services.scoring import Assessment, Scores, Scoring, ThresholdStore
from services.worker_status import utc_now

MAX_ROWS = 1000
# Rows whose entities' states are held at once: they are large beside what is read of them.
_STATES_OF = 500


@dataclass(frozen=True, slots=True)
class LiveScore:
    """`reasons`: every feature that moved the score, those that raise it first, strongest first."""

    row: int
    transaction_id: str
    score: float
    decision: Decision
    reasons: tuple[Reason, ...]
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds for the whole request: features from state, the way to the model and back, the model, and all."""

    features_ms: float
    network_ms: float
    model_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class LiveScores:
    results: tuple[LiveScore, ...]
    latency: Latency
    model_version: str
    thresholds: Thresholds


class EntityStore(Protocol):
    def load(self, keys: Sequence[str]) -> dict[str, Any]:
        """The states that exist, by entity key."""
        ...

    def known(self, kind: str, limit: int) -> tuple[str, ...]:
        """Names of entities or categories of a kind that have a state, in order."""
        ...


class LiveScoring:
    def __init__(
        self,
        api: Scores,
        entities: EntityStore,
        thresholds: ThresholdStore,
        *,
        rules: Rules = DEMO_RULES,
        plan: Plan = DEMO,
        flows: FlowSource | None = None,
        mapping: DataMapping | None = None,
        source: SourceRows | None = None,
    ) -> None:
        """`mapping`: what the desk's data are, where they are somebody's own; `rules` and `plan` are made of it, and
        `source` reads rows in its columns."""
        self.mapping, self.source = mapping, source
        self._entities, self._rules, self._plan = entities, rules, plan
        self._scoring = Scoring(api, thresholds, plan, flows)

    def check(self, records: Sequence[Any]) -> tuple[list[int], tuple[Problem, ...]]:
        """The rows that could be scored, and every problem of the others: a preview before scoring the good ones."""
        now = utc_now()
        checked = [check_transaction(record, row=row, now=now, rules=self._rules) for row, record in enumerate(records)]
        good = [row for row, (document, _) in enumerate(checked) if document is not None]
        return good, tuple(problem for _, found in checked for problem in found)

    def known(self, kind: str, limit: int = 100) -> tuple[str, ...]:
        """Some names of a kind of entity or category that the desk has met, to choose from. Raises Unavailable."""
        return self._entities.known(kind, limit)

    def score(self, records: Sequence[Any], *, actor: Actor) -> LiveScores:
        """Score up to MAX_ROWS records of the intake's shape. Each row sees the desk's state as it is now, not the
        rows before it. Raises InvalidData listing every problem of every row (nothing is scored then), Unavailable.
        """
        require(actor, Permission.SCORE_LIVE)
        if not 0 < len(records) <= MAX_ROWS:
            raise InvalidData(f"Score between 1 and {MAX_ROWS:,} rows at once; these are {len(records):,}.")
        now = utc_now()
        checked = [check_transaction(record, row=row, now=now, rules=self._rules) for row, record in enumerate(records)]
        problems = [problem for _, found in checked for problem in found]
        if problems:
            bad = len({problem.row for problem in problems})
            raise InvalidData(f"{bad} of {len(records)} rows cannot be scored; nothing was scored.", problems)
        documents = [document for document, _ in checked if document is not None]
        started = time.perf_counter()
        vectors = self.vectors(documents)
        computed = time.perf_counter()
        money = [(document["currency"], document["exponent"]) for document in documents]
        assessed = self._scoring.assess(
            vectors, money=money, transactions=documents, explain_all=True, reasons_shown=len(self._plan.names)
        )
        total_ms = (time.perf_counter() - started) * 1000
        features_ms = (computed - started) * 1000
        # The scoring API reports the time its call of the endpoint took; the rest of the way is network.
        model_ms = sum(assessment.latency_ms for assessment in assessed)
        results = tuple(
            LiveScore(
                row=row,
                transaction_id=document["_id"],
                score=assessment.value,
                decision=assessment.decision,
                reasons=assessment.reasons,
                features=dict(zip(self._plan.names, vector, strict=True)),
            )
            for row, (document, vector, assessment) in enumerate(zip(documents, vectors, assessed, strict=True))
        )
        latency = Latency(features_ms, max(total_ms - features_ms - model_ms, 0.0), model_ms, total_ms)
        return LiveScores(results, latency, assessed[0].thresholds.model_version, assessed[0].thresholds)

    def vectors(self, documents: Sequence[dict[str, Any]]) -> list[list[float]]:
        """Features of checked documents against the entities' state of this moment, which one query loads for many."""
        plan, readings = self._plan, []
        for start in range(0, len(documents), _STATES_OF):
            events = [event_from_document(plan, document) for document in documents[start : start + _STATES_OF]]
            states = self._entities.load(sorted({key for event in events for key in plan.entity_keys(event)}))
            readings += [plan.read(event, states) for event in events]
        return plan.vectors(readings)

    def assess(self, documents: Sequence[dict[str, Any]]) -> list[Assessment]:
        """Scores of checked documents as the scorer gives them: reasons only where the decision is review or decline.

        Raises Unavailable, and InvalidData where the model cannot take one of them.
        """
        money = [(document["currency"], document["exponent"]) for document in documents]
        return self._scoring.assess(self.vectors(documents), money=money, transactions=documents)
