"""Connectors: who may pause and resume, with what reason, and what the audit has of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.access import Actor, Role
from services.connectors import NOT_CONFIGURED, Connector, Connectors, ConnectorState
from services.errors import Conflict, Denied, InvalidData, NotFound, Unavailable
from tests.records import NOW

ADMIN = Actor("a", "Ada Novak", Role.ADMIN)
S = ConnectorState


class Api:
    """One connector that does at once what it is told; `error` is raised instead."""

    def __init__(self, state=S.RUNNING, error=None):
        self.state, self.error = state, error

    def connectors(self):
        return (Connector("z-other", "arn:z", S.RUNNING), Connector("stream", "arn:s", self.state))

    def pause(self, ref):
        self._become(ref, S.PAUSED)

    def resume(self, ref):
        self._become(ref, S.RUNNING)

    def _become(self, ref, state):
        assert ref == "arn:s"
        if self.error:
            raise self.error
        self.state = state


class Controls:
    def __init__(self):
        self.held, self.audited = {}, []

    def pauses(self):
        return self.held

    def intend(self, name, pause, audit):
        self._keep(name, pause, audit)

    def conclude(self, name, kept, audit):
        self._keep(name, kept, audit)

    def _keep(self, name, pause, audit):
        assert audit.entry_id not in {entry.entry_id for entry in self.audited}
        self.audited.append(audit)
        self.held.pop(name, None)
        if pause is not None:
            self.held[name] = pause


def made(api):
    controls = Controls()
    return Connectors(api, controls, clock=lambda: NOW), controls


def test_a_pause_is_audited_before_and_after_told_with_its_reason_and_undone():
    connectors, controls = made(Api())
    connectors.pause("stream", reason="  The bucket moves ", actor=ADMIN)
    first = connectors.list()[0]
    assert (first.name, first.paused, first.pause.by, first.pause.reason) == (
        "stream",
        True,
        "Ada Novak",
        "The bucket moves",
    )
    connectors.resume("stream", actor=ADMIN)
    assert connectors.list()[0].state is S.RUNNING
    assert controls.held == {}
    assert [(e.action, e.object, e.outcome, e.after) for e in controls.audited] == [
        ("connector.pause", "connector:stream", "requested", {"paused": True, "reason": "The bucket moves"}),
        ("connector.pause", "connector:stream", "done", {"paused": True, "reason": "The bucket moves"}),
        ("connector.resume", "connector:stream", "requested", {"paused": False}),
        ("connector.resume", "connector:stream", "done", {"paused": False}),
    ]


@pytest.mark.parametrize("role", [Role.ANALYST, Role.MANAGER])
def test_only_an_admin_may(role):
    connectors, controls = made(Api())
    for call in (connectors.pause, connectors.resume):
        with pytest.raises(Denied):
            call("stream", reason="why", actor=Actor("x", "X", role))
    assert controls.audited == []


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501], ids=["none", "blank", "long"])
def test_a_pause_without_a_reason_is_refused(reason):
    connectors, controls = made(Api())
    with pytest.raises(InvalidData):
        connectors.pause("stream", reason=reason, actor=ADMIN)
    assert controls.audited == []


def test_what_is_so_already_or_is_not_there_changes_nothing():
    connectors, controls = made(Api())
    with pytest.raises(Conflict, match="is running, not paused"):
        connectors.resume("stream", actor=ADMIN)
    with pytest.raises(NotFound):
        connectors.pause("gone", reason="why", actor=ADMIN)
    connectors.pause("stream", reason="why", actor=ADMIN)
    with pytest.raises(Conflict, match="paused by Ada Novak already"):
        connectors.pause("stream", reason="why", actor=ADMIN)
    assert len(controls.audited) == 2


def test_an_answer_that_never_came_is_kept_as_unknown_and_said():
    connectors, controls = made(Api(error=Unavailable("MSK Connect is not reachable.", dependency="MSK Connect")))
    with pytest.raises(Unavailable, match="Whether stream heard of it is not known"):
        connectors.pause("stream", reason="why", actor=ADMIN)
    assert [entry.outcome for entry in controls.audited] == ["requested", "unknown"]
    assert connectors.list()[0].pause is None


def test_a_refusal_is_kept_as_failed_and_leaves_who_paused_it_before():
    api = Api(state=S.PAUSED)
    connectors, controls = made(api)
    api.error = Conflict("busy")
    with pytest.raises(Conflict):
        connectors.resume("stream", actor=ADMIN)
    assert [entry.outcome for entry in controls.audited] == ["requested", "failed"]
    assert controls.audited[0].at == NOW < NOW + timedelta(seconds=1)


def test_without_configuration_there_is_nothing_and_the_sentence_says_what_to_set():
    connectors, _ = made(None)
    assert (connectors.configured, connectors.list()) == (False, ())
    with pytest.raises(NotFound) as caught:
        connectors.pause("stream", reason="why", actor=ADMIN)
    assert caught.value.message == NOT_CONFIGURED
