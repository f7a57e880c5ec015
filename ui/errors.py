"""The one place where errors become sentences. Nothing else in `ui` or `pages` shows an exception."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from services.errors import Conflict, Denied, InvalidData, NotFound, Problem, ServiceError, Unavailable
from ui import format as fmt

logger = logging.getLogger(__name__)

_ICONS: tuple[tuple[type[ServiceError], str], ...] = (
    (Unavailable, ":material/cloud_off:"),
    (Conflict, ":material/sync_problem:"),
    (Denied, ":material/lock:"),
    (NotFound, ":material/search_off:"),
    (InvalidData, ":material/rule:"),
)


def show(error: ServiceError) -> None:
    """One sentence, and every problem of a refused input as a table."""
    icon = next((icon for kind, icon in _ICONS if isinstance(error, kind)), ":material/error:")
    box = st.warning if isinstance(error, (Unavailable, Conflict, Denied)) else st.error
    box(fmt.literal(error.message), icon=icon)
    if isinstance(error, InvalidData) and error.problems:
        show_problems(error.problems)


def show_problems(problems: Sequence[Problem], *, first_row: int = 1, row_name: str = "Row") -> None:
    """Every problem of a batch by row and field. `first_row` is the number people give to row 0 (2 below a header)."""
    st.dataframe(
        {
            row_name: [p.row + first_row for p in problems],
            "Field": [p.field or "whole record" for p in problems],
            "Problem": [p.message for p in problems],
        },
        hide_index=True,
        height="content" if len(problems) <= 6 else 240,
        column_config={row_name: st.column_config.NumberColumn(width="small", format="%d")},
        alt="Problems found in the input, by row and field",
    )


def report(error: Exception) -> str:
    """Log a bug with its trace under a short reference, and answer the reference."""
    reference = secrets.token_hex(3)
    logger.error("unexpected_error reference=%s", reference, exc_info=error)
    return reference


@contextmanager
def shown() -> Iterator[None]:
    """Turn what goes wrong inside into what a person can act on: a sentence, or a reference to the log entry."""
    try:
        yield
    except ServiceError as error:
        show(error)
    except Exception as error:
        reference = report(error)
        st.error(
            f"Something went wrong on our side (reference {reference}). Nothing was changed; reload the page to go on.",
            icon=":material/error:",
        )


def attempt(action: Callable[[], object]) -> ServiceError | None:
    """Do something in a callback: None when it was done, otherwise what to show at the next drawing.

    Callbacks run before the page, so what goes wrong in one has no place on the screen yet.
    """
    try:
        action()
    except ServiceError as error:
        return error
    except Exception as error:
        reference = report(error)
        return ServiceError(f"Something went wrong on our side (reference {reference}). What you typed is kept.")
    return None
