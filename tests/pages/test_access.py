"""Who gets in: nobody without a valid token and a known role, at any address, from the first request on."""

from __future__ import annotations

from typing import Any

import pytest

from services.access import PERMISSIONS, Role
from tests.pages.conftest import Open, claims, failed, text_of
from ui import navigation, session

PATHS = [screen.path for screen in navigation.SCREENS]
MINE = ("queue", "transaction", "live_scoring")


@pytest.mark.parametrize("path", PATHS)
def test_anonymous_people_get_the_sign_in_page_at_every_address(open_page: Open, path: str) -> None:
    at = open_page(None, path, id="txn_1")
    assert failed(at) == []
    assert [b.label for b in at.button] == ["Sign in"]
    assert not at.dataframe
    assert not at.metric
    assert at.query_params["id"] == "txn_1", "the address is kept for after the sign-in"
    assert {info["page_name"] for info in at._registered_pages.values()} == {"Fraud Desk"}


def test_an_ended_session_is_signed_out_with_a_sentence(open_page: Open) -> None:
    at = open_page("analyst", "queue", user=claims("analyst", expires_in=-1))
    assert "Your session has ended" in text_of(at)
    assert not at.dataframe


def test_a_role_nobody_knows_is_refused_by_name(open_page: Open) -> None:
    at = open_page("analyst", "queue", user=claims("analyst") | {"fraud_desk_role": "root"})
    assert "has no role in Fraud Desk" in text_of(at)
    assert not at.dataframe


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("path", MINE)
def test_a_page_opens_exactly_for_the_roles_that_have_its_permission(open_page: Open, path: str, role: Role) -> None:
    screen = next(s for s in navigation.SCREENS if s.path == path)
    at = open_page(role.value, path)
    assert failed(at) == []
    refused = "Your role does not open this page" in text_of(at)
    assert refused == (screen.permission not in PERMISSIONS[role])


def test_an_analyst_starts_at_the_queue(open_page: Open, desk: Any) -> None:
    at = open_page(Role.ANALYST.value, "")
    assert failed(at) == []
    assert at.title[0].value == "Which alerts need a verdict first?"


def test_a_setup_variable_that_is_missing_is_named(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGODB_URI")
    at = open_page("analyst", "queue")
    assert "set MONGODB_URI" in text_of(at)


NOW = 1_000.0


def read(**over: Any) -> session.Session:
    base = {"is_logged_in": True, "sub": "1", "name": "Ada", "exp": NOW + 1, "role": "analyst"}
    return session.read(base | over, role_claim="role", now=NOW)


@pytest.mark.parametrize("expires", [None, NOW, NOW - 1, "9999999999", True])
def test_a_token_without_a_future_expiry_is_no_session(expires: Any) -> None:
    assert isinstance(read(exp=expires), session.SignedOut)


@pytest.mark.parametrize("role", [None, "", "root", "ADMIN", ["staff"], {"admin": 1}, 3])
def test_only_the_exact_names_are_roles(role: Any) -> None:
    assert isinstance(read(role=role), session.NoRole)


def test_the_highest_of_several_groups_counts() -> None:
    signed_in = read(role=["staff", "admin", "analyst"])
    assert isinstance(signed_in, session.SignedIn)
    assert signed_in.actor.role is Role.ADMIN
