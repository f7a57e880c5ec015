"""Every screen for the roles that use it, light and dark: axe finds nothing serious, 200 % zoom hides no main action.

One context a role and colour scheme. What Streamlit itself draws and we cannot change is listed by rule and selector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bench.desk import Desk
from bench.screenshots import VIEW, settle
from tests.e2e.alerts import an_open_alert

# Each role's screens; a screen that two roles see alike is looked at once.
SCREENS = {
    "analyst": ("queue", "transaction", "live_scoring"),
    "manager": ("kpis", "fraud_rates"),
    "admin": ("loop_health", "import_data", "training_data", "retrain", "backtest", "deploy"),
}
# Rule -> parts of Streamlit's own drawing that break it, as selectors. Nothing of ours is in them.
STREAMLIT: Mapping[str, tuple[str, ...]] = {
    # The navigation wraps the groups of its list in elements of its own.
    "list": ('[data-testid="stSidebarNavItems"]',),
    "listitem": ('[data-testid="stSidebarNavItems"]',),
    "color-contrast": (
        # The hint of a shortcut on a button is the button's text, faded; the key is also in its accessible name.
        '[data-testid^="stBaseButton"] kbd',
        # The chosen option is the primary colour on a tint of itself. In the dark no colour has 4.5:1 there and, as the
        # ground of a main button, under white text too; the option is also marked by its border and its state.
        '[data-testid="stButtonGroup"] button[data-selected="true"]',
        # The value above a slider's handle is the primary colour, which in the dark is the ground of white text too;
        # the handle itself says it as well.
        '[data-testid="stSliderThumbValue"]',
    ),
}
INSIDE = "([target, parts]) => Boolean(document.querySelector(target)?.closest(parts))"
SEVERE = ("serious", "critical")
# Pixels a screen of half the size has: what 200 % zoom leaves.
ZOOMED = {"width": VIEW["width"] // 2, "height": VIEW["height"] // 2}
# What else a screen has behind a choice at its top; what draws charts in both schemes.
WAYS = {
    ("live_scoring", "light"): ("What if", "Pasted JSON", "File of payments"),
    ("live_scoring", "dark"): ("What if",),
    ("retrain", "light"): ("2 Data", "5 Review", "Compare", "Experiments"),
    ("retrain", "dark"): ("Experiments",),
}
MAIN_ACTION = {
    "queue": re.compile("Start with the first"),
    "transaction": re.compile("Fraud"),
    "live_scoring": re.compile("Score"),
    "fraud_rates": re.compile("Export"),
    "training_data": re.compile("Import"),
    "retrain": re.compile("Next|Start training"),
    "backtest": re.compile("Run"),
    "deploy": re.compile("Deploy|Roll back"),
}


def address(screen: str, stack: Any) -> str:
    if screen == "retrain":
        return "retrain?view=new"
    return screen if screen != "transaction" else f"transaction?id={an_open_alert(stack)}"


def violations(page: Any) -> list[str]:
    """'rule (impact): what, where' of everything serious that is ours."""
    found = []
    for rule in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]:
        if rule["impact"] not in SEVERE:
            continue
        known = ",".join(STREAMLIT.get(rule["id"], ())) or "none"
        for node in rule["nodes"]:
            if not page.evaluate(INSIDE, [node["target"][0], known]):
                found.append(f"{rule['id']} ({rule['impact']}): {rule['help']} {node['target']} {node['html'][:200]}")
    return found


@pytest.mark.parametrize("role", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screens_are_without_serious_barriers(desk: Desk, signed_in: Any, stack: Any, role: str, scheme: str) -> None:
    page = signed_in(role, color_scheme=scheme)
    found = {}
    for screen in SCREENS[role]:
        page.goto(f"{desk.url}/{address(screen, stack)}")
        settle(page)
        found[screen] = violations(page)
        for way in WAYS.get((screen, scheme), ()):
            page.get_by_text(way, exact=True).click()
            settle(page)
            found[f"{screen}, {way}"] = violations(page)
    assert {screen: barriers for screen, barriers in found.items() if barriers} == {}


@pytest.mark.parametrize("role", SCREENS)
def test_the_main_action_is_still_there_at_200_percent(desk: Desk, signed_in: Any, stack: Any, role: str) -> None:
    page = signed_in(role)
    page.set_viewport_size(ZOOMED)
    for screen in SCREENS[role]:
        page.goto(f"{desk.url}/{address(screen, stack)}")
        settle(page)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        if screen in MAIN_ACTION:
            button = page.get_by_role("button", name=MAIN_ACTION[screen]).first
            button.scroll_into_view_if_needed()
            expect(button).to_be_in_viewport(ratio=0.9)
        sideways = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert sideways <= 1, f"{screen} scrolls sideways by {sideways} px"
