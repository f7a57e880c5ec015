"""How a worker's process ends on what a person has to put right: with a sentence, not with a trace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from services.settings import MissingSettings

NOT_CONFIGURED = 2


def run(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with its code; with NOT_CONFIGURED where the environment lacks what it needs."""
    try:
        sys.exit(main())
    except MissingSettings as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(NOT_CONFIGURED)
