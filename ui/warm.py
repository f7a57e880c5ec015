"""What would otherwise happen while the first person waits: imports, clients, first answers; and the collector's rest.

Streamlit collects garbage after every rerun, which walks every object that is alive: modules, the vendors' service
models, table schemas. Once they exist they stay, so they are frozen, out of the collector's sight. Without this each
rerun of each person costs 40 to 150 ms more. Only start-up freezes: what sessions make later stays collectable.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import ui
from services.errors import ServiceError
from services.rates import RatesQuery
from services.transactions import QueueFilter, Sort
from ui import charts, wiring

_LIBRARIES = ("pandas", "pyarrow", "plotly.graph_objects", "services.bootstrap")
# The entry script draws when it is run; everything else in ui/ only defines.
_NOT_IMPORTED = {"main"}


def modules_and_clients() -> None:
    """Import what pages need and build the services; contacts nothing. Settings must be complete."""
    for library in _LIBRARIES:
        importlib.import_module(library)
    for module in pkgutil.iter_modules(ui.__path__, "ui."):
        if module.name.removeprefix("ui.") not in _NOT_IMPORTED:
            importlib.import_module(module.name)
    # Plotly loads its parts and their checks when they are first used.
    blank = charts.empty("", colors=charts.LIGHT)
    blank.add_scatter(x=[0], y=[0], line={"dash": "dot"}, marker={"size": 1}).add_bar(x=[0], y=[0]).to_json()
    with suppress(ServiceError):
        wiring.services()
    _freeze()


def first_answers() -> None:
    """Ask each capability once, so that connections, schemas and query plans exist; what is down is left for later."""
    services = wiring.services()
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = RatesQuery(start=midnight - timedelta(days=30), end=midnight)
    questions: tuple[Callable[[], Any], ...] = (
        lambda: services.transactions.page(QueueFilter(), sort=Sort.RISK, limit=1),
        services.transactions.facets,
        lambda: services.kpis.summary(now=now),
        lambda: services.rates.table(month),
        services.health.hops,
        services.training.experiments,
        services.models.candidates,
        services.deployment.current,
    )
    for ask in questions:
        with suppress(ServiceError):
            ask()
    _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()
