"""What stands in front of the desk: sign-in, an ended session, a role nobody knows, an installation not configured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from services.errors import ServiceError
from ui import errors, session
from ui import format as fmt

PRODUCT = "Fraud Desk"
STATIC = Path(__file__).parent / "static"


@contextmanager
def _card() -> Iterator[None]:
    """One card in the middle of an empty page, with the product's sign and name on top."""
    st.space(96)
    with st.container(horizontal_alignment="center"), st.container(border=True, width=460, gap="medium"):
        with st.container(horizontal_alignment="center", gap="small"):
            st.space("xsmall")
            st.image(str(STATIC / "icon.svg"), width=44, alt="")
            st.title(PRODUCT, anchor=False, text_alignment="center")
        yield
        st.space("xsmall")


def sign_in(state: session.SignedOut) -> None:
    """One sentence, one button."""
    with _card():
        st.markdown(
            "Review the riskiest card payments first, see why each was scored so, "
            "and teach the model with every verdict.",
            text_alignment="center",
        )
        if state.reason:
            st.info(state.reason, icon=":material/schedule:")
        st.button(
            "Sign in",
            type="primary",
            icon=":material/login:",
            on_click=st.login,
            shortcut="Enter",
            width="stretch",
            key="sign-in",
        )
        st.caption("Use your company account. Your role there decides what you see.", text_alignment="center")


def no_role(state: session.NoRole) -> None:
    with _card():
        st.warning(
            f"{fmt.literal(state.name)} is signed in, but the account has no role in {PRODUCT}. Ask your administrator "
            f"for the role analyst, manager or admin (claim {fmt.literal(state.claim)}), then sign in again.",
            icon=":material/lock:",
        )
        st.button("Sign out", icon=":material/logout:", on_click=st.logout, width="stretch")


def not_configured(error: ServiceError) -> None:
    with _card():
        errors.show(error)


def person(state: session.SignedIn) -> None:
    """At the foot of the sidebar: who is signed in, as what, and the way out."""
    with st.sidebar.container(gap="xsmall"):
        st.markdown(
            f"**{fmt.literal(state.actor.name)}**  \n:gray[{fmt.word(state.actor.role.value)}]",
            help=fmt.literal(state.email) if state.email else None,
        )
        st.button("Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout, key="sign-out")
