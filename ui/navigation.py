"""Every screen, in its group, with the permission that opens it. What a role lacks stays routable but out of sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from services.access import Actor, Permission, allows


@dataclass(frozen=True, slots=True)
class Screen:
    """`path` is the URL and the file in pages/; `listed` screens appear in the navigation."""

    path: str
    title: str
    icon: str
    permission: Permission
    help: str
    listed: bool = True

    @property
    def file(self) -> str:
        """Relative to the entry script: what st.Page and st.page_link take."""
        return f"../pages/{self.path}.py"


GROUPS: dict[str, tuple[Screen, ...]] = {
    "Analyst": (
        Screen("queue", "Queue", "inbox", Permission.VIEW_QUEUE, "Open alerts, riskiest first."),
        Screen(
            "transaction", "Transaction", "receipt_long", Permission.VIEW_TRANSACTION,
            "One transaction: why it was scored so, and its verdict.", listed=False,
        ),
        Screen("live_scoring", "Live scoring", "bolt", Permission.SCORE_LIVE, "Score a transaction or a file now."),
    ),
    "Manager": (
        Screen("kpis", "KPIs", "monitoring", Permission.VIEW_KPIS, "Fraud, prevented loss, precision and backlog."),
        Screen("fraud_rates", "Fraud rates", "ssid_chart", Permission.VIEW_RATES, "Fraud by any dimension over time."),
    ),
    "Admin": (
        Screen("loop_health", "Loop health", "sync", Permission.VIEW_HEALTH, "Every hop of the loop, and its lag."),
        Screen("import_data", "Import", "database_upload", Permission.IMPORT, "Transactions of your own, mapped."),
        Screen(
            "training_data", "Training data", "table_chart", Permission.VIEW_TRAINING,
            "Choose, look at, shape and freeze what a model learns from.",
        ),
        Screen("retrain", "Retrain", "model_training", Permission.VIEW_TRAINING, "Experiments and their results."),
        Screen("backtest", "Backtest", "history", Permission.VIEW_TRAINING, "What the model would have found."),
        Screen("deploy", "Deploy", "rocket_launch", Permission.VIEW_DEPLOYMENT, "Which model scores, and its history."),
    ),
}  # fmt: skip

SCREENS: tuple[Screen, ...] = tuple(screen for group in GROUPS.values() for screen in group)
HOME = {"analyst": "queue", "manager": "kpis", "admin": "loop_health"}


def file_of(path: str) -> str:
    """The page file of a screen, for st.page_link and st.switch_page."""
    return next(screen.file for screen in SCREENS if screen.path == path)


def pages(actor: Actor) -> st.Page:
    """Register every screen for this person and answer the one the URL asks for; '/' leads to the role's home.

    No screen is the default page: the default page lives at '/' only, and every screen keeps its own address.
    """
    home = file_of(HOME[actor.role.value])

    def start() -> None:
        st.switch_page(home)

    groups = {
        name: [
            st.Page(
                screen.file,
                title=screen.title,
                icon=f":material/{screen.icon}:",
                url_path=screen.path,
                visibility="visible" if screen.listed and allows(actor, screen.permission) else "hidden",
                help=screen.help,
            )
            for screen in screens
        ]
        for name, screens in GROUPS.items()
    }
    first = st.Page(start, title="Fraud Desk", url_path="home", default=True, visibility="hidden")
    return st.navigation({"": [first], **groups})


def only(show: Callable[[], None]) -> st.Page:
    """One screen at every URL: sign-in, refusal, set-up. Addresses stay valid, nothing else is reachable or named."""
    return st.navigation(
        [
            st.Page(show, title="Fraud Desk", url_path=path, default=path == "home", visibility="hidden")
            for path in ("home", *(screen.path for screen in SCREENS))
        ],
        position="hidden",
    )
