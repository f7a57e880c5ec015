"""The few operations that features are made of, once for a number and once for a column of numbers.

Formulas are written against `Arithmetic` and are therefore one definition for both drivers. Only operations that IEEE
754 rounds correctly are used (+, -, *, /, square root, comparison), one at a time: numpy and Python then give the same
bits. That is why sines are polynomials here: the library functions of the two differ in the last bit.
"""

from __future__ import annotations

from math import nan, pi, sqrt
from typing import Any, Protocol

import numpy as np

_EARTH_KM = 6371.0
_RADIAN = pi / 180.0


class Arithmetic(Protocol):
    """`Any` is a float or int, or an array of float64 or int64; conditions are bools or arrays of them."""

    def choose(self, condition: Any, yes: Any, no: Any) -> Any: ...

    def most(self, value: Any, limit: float) -> Any:
        """The value, or the limit where it is larger; nan stays nan."""
        ...

    def least(self, value: Any, limit: float) -> Any:
        """The value, or the limit where it is smaller; nan stays nan."""
        ...

    def number(self, value: Any) -> Any:
        """As a float64."""
        ...

    def divide(self, value: Any, by: Any) -> Any:
        """nan where `by` is not positive."""
        ...

    def root(self, value: Any) -> Any:
        """nan where the value is negative or missing."""
        ...


class Scalars:
    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        return yes if condition else no

    def most(self, value: Any, limit: float) -> Any:
        return limit if value > limit else value

    def least(self, value: Any, limit: float) -> Any:
        return limit if value < limit else value

    def number(self, value: Any) -> Any:
        return float(value)

    def divide(self, value: Any, by: Any) -> Any:
        return float(value) / float(by) if by > 0 else nan

    def root(self, value: Any) -> Any:
        return sqrt(value) if value >= 0 else nan


class Columns:
    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        return np.where(condition, yes, no)

    def most(self, value: Any, limit: float) -> Any:
        return np.minimum(value, limit)

    def least(self, value: Any, limit: float) -> Any:
        return np.maximum(value, limit)

    def number(self, value: Any) -> Any:
        return np.asarray(value, np.float64)

    def divide(self, value: Any, by: Any) -> Any:
        # Dividing everything and taking back what is wrong is three times as fast as dividing where it is right; by nan
        # gives nan.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            out = np.divide(value, by, dtype=np.float64)
        np.copyto(out, nan, where=by <= 0)
        return out

    def root(self, value: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return np.sqrt(value)


SCALARS, COLUMNS = Scalars(), Columns()


def cap(o: Arithmetic, value: Any, limit: float) -> Any:
    """At most `limit`; nan stays nan."""
    return o.most(value, limit)


def floor(o: Arithmetic, value: Any, limit: float) -> Any:
    return o.least(value, limit)


def kilometres(o: Arithmetic, lon: Any, lat: Any, other_lon: Any, other_lat: Any) -> Any:
    """Great-circle distance of two points in degrees: haversine on a sphere of 6371 km, within a metre."""
    half_lat, half_lon = (other_lat - lat) * (_RADIAN / 2), (other_lon - lon) * (_RADIAN / 2)
    up, across = _sine(half_lat), _sine(half_lon)
    half = up * up + _sine((90.0 - lat) * _RADIAN) * _sine((90.0 - other_lat) * _RADIAN) * across * across
    return 2 * _EARTH_KM * _arcsine(o, o.root(cap(o, half, 1.0)))


def _sine(x: Any) -> Any:
    """sin x for |x| <= pi, by its Taylor series to x^21 (error below 1e-11)."""
    square = x * x
    series = 1.0
    for odd in range(21, 1, -2):
        series = 1.0 - square / (odd * (odd - 1)) * series
    return x * series


def _arcsine(o: Arithmetic, x: Any) -> Any:
    """asin x for 0 <= x <= 1, error below 3e-8 (Abramowitz and Stegun, 4.4.46); below 0.1 its Taylor series."""
    square = x * x
    small = x * (1.0 + square * (1 / 6 + square * (3 / 40 + square * (15 / 336))))
    poly = -0.0012624911
    for factor in (0.0066700901, -0.0170881256, 0.0308918810, -0.0501743046, 0.0889789874, -0.2145988016, 1.5707963050):
        poly = poly * x + factor
    return o.choose(x < 0.1, small, pi / 2 - o.root(1.0 - x) * poly)
