from __future__ import annotations

from dataclasses import replace

import pytest

from services.domain.states import Decision
from services.domain.thresholds import Thresholds
from services.endpoint import EndpointScores
from services.errors import Unavailable
from services.features import FEATURES
from services.scoring import Scoring, alert_for
from tests.records import NOW

WIDTH = len(FEATURES)


class Model:
    """Answers scores[i] for the row whose first value is i; `versions` are used up call by call."""

    def __init__(self, scores, versions=("v1",)):
        self.scores, self.versions, self.calls = scores, list(versions), []

    def score(self, rows, explain=False):
        version = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        self.calls.append((len(rows), explain))
        contributions = tuple(tuple(0.5 if i == 0 else 0.0 for i in range(WIDTH)) for _ in rows) if explain else None
        values = tuple(self.scores[int(row[0])] for row in rows)
        return EndpointScores(values, contributions, version, "1", 400.0 if explain else 4.0)


class Limits:
    def for_version(self, version):
        return None if version == "v9" else Thresholds(version, 0.5, 0.9)


def rows(n):
    return [[float(i)] + [0.0] * (WIDTH - 1) for i in range(n)]


def test_thresholds_are_inclusive_and_only_alerts_are_explained():
    model = Model([0.49999, 0.5, 0.89999, 0.9])
    out = Scoring(model, Limits()).assess(rows(4))
    assert [a.decision for a in out] == [Decision.APPROVE, Decision.REVIEW, Decision.REVIEW, Decision.DECLINE]
    assert model.calls == [(4, False), (3, True)]
    assert out[0].reasons == ()
    assert all(a.reasons and a.reasons[0].contribution == 0.5 for a in out[1:])


def test_a_version_that_has_answered_is_asked_for_the_reasons_of_its_alerts_in_the_same_breath():
    class Foreseeing(Model):
        def score(self, rows, explain=False):
            answer = super().score(rows, explain)
            if explain is True or explain is False:
                return answer
            told = tuple(c if s >= explain else None for c, s in zip(answer.contributions, answer.scores, strict=True))
            return replace(answer, contributions=told)

    model = Foreseeing([0.1, 0.5, 0.2, 0.9])
    scoring = Scoring(model, Limits())
    first, second = scoring.assess(rows(4)), scoring.assess(rows(4))
    assert model.calls == [(4, False), (2, True), (4, 0.5)]
    assert [a.reasons for a in first] == [a.reasons for a in second]
    assert [bool(a.reasons) for a in second] == [False, True, False, True]


def test_a_version_that_does_not_know_the_question_is_asked_again():
    class Old(Model):
        def score(self, rows, explain=False):
            return super().score(rows, explain is True)

    model = Old([0.1, 0.7])
    scoring = Scoring(model, Limits())
    scoring.assess(rows(1))
    assert scoring.assess(rows(2))[1].reasons
    assert model.calls == [(1, False), (2, False), (1, True)]


def test_reasons_are_not_on_the_clock_of_the_score():
    out = Scoring(Model([0.1, 0.7]), Limits()).assess(rows(2))
    assert [a.latency_ms for a in out] == [2.0, 2.0]


def test_every_alert_has_its_reasons_or_the_batch_is_not_decided():
    class Silent(Model):
        def score(self, rows, explain=False):
            if explain:
                raise Unavailable("busy", dependency="the model endpoint")
            return super().score(rows)

    with pytest.raises(Unavailable):
        Scoring(Silent([0.1, 0.7]), Limits()).assess(rows(2))
    assert len(Scoring(Silent([0.1, 0.2]), Limits()).assess(rows(2))) == 2


def test_nothing_is_asked_twice_when_nothing_alerts():
    model = Model([0.1, 0.2])
    Scoring(model, Limits()).assess(rows(2))
    assert model.calls == [(2, False)]


def test_a_deployment_between_the_two_questions_is_asked_again():
    model = Model([0.7], versions=["v1", "v2", "v2"])
    out = Scoring(model, Limits()).assess(rows(1))
    assert out[0].thresholds.model_version == "v2"
    assert model.calls == [(1, False), (1, True), (1, 0.5)]


def test_a_version_without_thresholds_decides_nothing():
    with pytest.raises(Unavailable, match="v9"):
        Scoring(Model([0.7], versions=["v9"]), Limits()).assess(rows(1))


def test_alert_priority_and_due_time():
    small, large = alert_for(0.5, 49_999, opened_at=NOW), alert_for(0.5, 50_000, opened_at=NOW)
    assert (small.due_at - NOW).total_seconds() == 4 * 3600
    assert (large.due_at - NOW).total_seconds() == 3600
    assert small.priority == 24_999.5
