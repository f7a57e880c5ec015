"""The entry script: runs on every full rerun, decides who may see anything, then runs the page the URL asks for."""

from __future__ import annotations

from functools import partial

import streamlit as st

from services.errors import ServiceError
from services.settings import Settings
from ui import errors, gate, navigation, page, session, startup


def _named(show: partial[None], name: str) -> partial[None]:
    show.__name__ = name  # type: ignore[attr-defined]
    return show


def main() -> None:
    st.set_page_config(
        page_title=gate.PRODUCT, page_icon=str(gate.STATIC / "icon.svg"), layout="wide", initial_sidebar_state=224
    )
    try:
        settings = Settings.from_environment()
    except ServiceError as error:
        navigation.only(_named(partial(gate.not_configured, error), "not_configured")).run()
        return
    if settings.setup_progress is not None and not startup.is_ready(settings.setup_progress):
        navigation.only(_named(partial(startup.render, settings.setup_progress), "starting")).run()
        return
    state = session.current()
    if isinstance(state, session.SignedOut):
        navigation.only(_named(partial(gate.sign_in, state), "sign_in")).run()
        return
    if isinstance(state, session.NoRole):
        navigation.only(_named(partial(gate.no_role, state), "no_role")).run()
        return
    st.logo(str(gate.STATIC / "logo.svg"), size="medium", icon_image=str(gate.STATIC / "icon.svg"))
    chosen = navigation.pages(state.actor)
    gate.person(state)
    page.warnings()
    with errors.shown():
        chosen.run()


main()
