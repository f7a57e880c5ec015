"""The desk's whole error tree.

Adapters translate the specific vendor errors they understand into one of these, `from exc`; everything else
propagates as the bug it is. Pages catch `ServiceError` in one place (`ui.errors`) and show `message`, which is
always one sentence a person can act on: what happened, what was kept, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """Base of every error that is meant for a person. `message` is shown as it is."""

    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(ServiceError):
    """The thing asked for does not exist (any more)."""


class Conflict(ServiceError):
    """Somebody or something changed the object first; nothing of this attempt was written."""


class Denied(ServiceError):
    """The actor's role does not allow this; nothing was written."""


class Unavailable(ServiceError):
    """A dependency did not answer; trying again later can succeed.

    `dependency` is its name for people ("MongoDB", "S3", "the model endpoint", "SageMaker", "the scoring API").
    """

    retryable = True

    def __init__(self, message: str, *, dependency: str) -> None:
        super().__init__(message)
        self.dependency = dependency


class HistoryLost(ServiceError):
    """MongoDB no longer has the changes since a worker's place; going on would silently leave a hole."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one record. `row` is its 0-based position in the batch, `field` a dotted path or ''."""

    row: int
    field: str
    message: str


class InvalidData(ServiceError):
    """Input was refused. `problems` lists every problem found, in row order, never only the first."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
