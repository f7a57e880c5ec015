"""Reading one table of a mapping file so that every problem is found, not only the first. Pure."""

from __future__ import annotations

import math
import re
from typing import Any
from zoneinfo import ZoneInfo

CURRENCY = re.compile(r"[A-Z]{3}")
# Names of entities and features: they become columns and attributes.
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MISSING: Any = object()


def is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError on some systems, below
        return False
    except KeyError:
        return False
    return True


class Section:
    """A table, what of it was read, and the list that problems go to (shared by all sections of a file)."""

    def __init__(self, table: dict[str, Any], title: str, problems: list[str], *, present: bool = True) -> None:
        self.table, self.problems, self.present = table, problems, present
        self._title, self._read = title, set[str]()

    def problem(self, text: str) -> None:
        self.problems.append(f"[{self._title}] {text}" if self._title else text)

    def taken(self, key: str, usual: Any = None) -> Any:
        self._read.add(key)
        return self.table.get(key, usual)

    def section(self, key: str, *, required: bool = True) -> Section:
        """A table in this one; an absent one is empty, and a problem where it is required."""
        value, title = self.taken(key, _MISSING), f"{self._title}.{key}".lstrip(".")
        if value is _MISSING and required:
            self.problem(f"[{key}] is missing")
        elif value is not _MISSING and not isinstance(value, dict):
            self.problem(f"{key} must be a table")
        usable = isinstance(value, dict)
        return Section(value if usable else {}, title, self.problems, present=usable)

    def text(self, key: str, usual: str | None = None) -> str:
        """A text; "" with a problem where there is none and nothing is usual."""
        value = self.taken(key, _MISSING)
        if value is _MISSING:
            if usual is None and self.present:
                self.problem(f"{key} is missing")
            return usual or ""
        if not isinstance(value, str) or (not value.strip() and usual != ""):
            self.problem(f"{key} must be text in quotes")
            return usual or ""
        return value

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if key in self.table else None

    def texts(self, key: str, usual: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """One text, or a list of texts."""
        value = self.taken(key, _MISSING)
        if value is _MISSING and usual is not None:
            return usual
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(one, str) and one.strip() for one in values):
            self.problem(f"{key} must be the name of a column, or a list of names")
            return ()
        return tuple(values)

    def word(self, key: str, allowed: tuple[str, ...], usual: str = "") -> str:
        value = self.taken(key, usual)
        if value in allowed and isinstance(value, str):
            return value
        if self.present:
            self.problem(f"{key} must be one of {', '.join(allowed)}")
        return usual

    def flag(self, key: str) -> bool:
        value = self.taken(key, False)
        if not isinstance(value, bool):
            self.problem(f"{key} must be true or false")
        return value is True

    def number(self, key: str) -> float | None:
        """A finite number of at least 0, or None."""
        value = self.taken(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            self.problem(f"{key} must be a number of at least 0")
            return None
        return float(value)

    def names(self) -> list[str]:
        """The keys, all of which count as read; those that cannot be names are problems and left out."""
        self._read |= set(self.table)
        for key in self.table:
            if not NAME.fullmatch(key):
                self.problem(f"{key!r} cannot be a name (small letters, digits and _, at most 40)")
        return [key for key in self.table if NAME.fullmatch(key)]

    def nothing_else(self) -> None:
        for key in self.table:
            if key not in self._read:
                self.problem(f"{key!r} is not known here")
