"""What stands in front of the desk: sign-in, an ended session, a role nobody knows, an installation not configured."""

from __future__ import annotations

import streamlit as st

from services.errors import ServiceError
from ui import errors, session
from ui import format as fmt

PRODUCT = "Fraud Desk"


def _card() -> None:
    st.space("xlarge")
    st.title(PRODUCT, anchor=False, text_alignment="center")


def sign_in(state: session.SignedOut) -> None:
    """One sentence, one button."""
    _, middle, _ = st.columns([2, 3, 2])
    with middle:
        _card()
        st.markdown(
            "Review the riskiest card payments first, see why each was scored so, and teach the model.",
            text_alignment="center",
        )
        if state.reason:
            st.info(state.reason, icon=":material/schedule:")
        with st.container(horizontal_alignment="center"):
            st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login, shortcut="Enter")
        st.caption("You sign in with your company account. Your role there decides what you see.", text_alignment="center")


def no_role(state: session.NoRole) -> None:
    _, middle, _ = st.columns([2, 3, 2])
    with middle:
        _card()
        st.warning(
            f"{fmt.literal(state.name)} is signed in, but the account has no role in {PRODUCT}. Ask your administrator "
            f"for the role analyst, manager or admin (claim {fmt.literal(state.claim)}), then sign in again.",
            icon=":material/lock:",
        )
        with st.container(horizontal_alignment="center"):
            st.button("Sign out", icon=":material/logout:", on_click=st.logout)


def not_configured(error: ServiceError) -> None:
    _, middle, _ = st.columns([2, 3, 2])
    with middle:
        _card()
        errors.show(error)


def person(state: session.SignedIn) -> None:
    """At the foot of the sidebar: who is signed in, as what, and the way out."""
    with st.sidebar.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(gap=None, width="stretch"):
            st.markdown(f"**{fmt.literal(state.actor.name)}**")
            st.caption(fmt.word(state.actor.role.value), help=fmt.literal(state.email) if state.email else None)
        st.button("Sign out", icon=":material/logout:", type="tertiary", on_click=st.logout, key="sign-out")
