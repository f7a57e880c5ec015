"""Who is signed in, read from the identity token on every use.

The framework checks the token's signature at sign-in but neither its expiry nor the role; both are checked here, and
every service checks the role again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from services.access import Actor, Role
from services.errors import Denied
from services.settings import Settings

# Least to most; a token that carries several groups gets the last that it names.
_ORDER = (Role.ANALYST, Role.MANAGER, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class SignedIn:
    actor: Actor
    email: str


@dataclass(frozen=True, slots=True)
class SignedOut:
    """`reason` is a sentence when a session ended by itself, None for somebody who has not signed in yet."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class NoRole:
    """The provider vouches for the person, but gives no role that the desk knows."""

    name: str
    claim: str


Session = SignedIn | SignedOut | NoRole


def role_from(value: Any) -> Role | None:
    """The role in a claim: a string, or a list of groups. Unknown names are ignored, they never become a role."""
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
    found = [role for role in _ORDER if role.value in names]
    return found[-1] if found else None


def read(claims: Mapping[str, Any], *, role_claim: str, now: float) -> Session:
    """The session that these token claims give at `now` (seconds since 1970). A token without expiry is refused."""
    if not claims.get("is_logged_in"):
        return SignedOut(None)
    expires = claims.get("exp")
    if not isinstance(expires, (int, float)) or isinstance(expires, bool) or expires <= now:
        return SignedOut("Your session has ended. Sign in again to continue where you were.")
    subject = str(claims.get("sub") or "")
    name = str(claims.get("name") or claims.get("email") or subject)
    role = role_from(claims.get(role_claim))
    if not subject or role is None:
        return NoRole(name, role_claim)
    return SignedIn(Actor(subject=subject, name=name, role=role), str(claims.get("email") or ""))


def current() -> Session:
    """The session of the person whose browser caused this run."""
    return read(st.user.to_dict(), role_claim=Settings.from_environment().oidc_role_claim, now=time.time())


def actor() -> Actor:
    """The signed-in person, for every service call. Raises Denied once the session has ended."""
    session = current()
    if isinstance(session, SignedIn):
        return session.actor
    raise Denied("Your session has ended; nothing was changed. Reload the page to sign in again.")
