"""How far chance alone could move a rate: 95 % intervals for a share of counts and for a share of money. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The normal distribution's 97.5 % point.
Z95 = 1.959963984540054
# A rate is small when it rests on fewer frauds or fewer transactions than this: it would move visibly with one more.
SMALL_FRAUD = 10
SMALL_TRANSACTIONS = 1_000

Floats = NDArray[np.float64]


def wilson(successes: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Wilson's score interval (95 %) of successes / trials, within 0..1; NaN where there were no trials."""
    n = np.where(trials > 0, trials, np.nan)
    share, square = successes / n, Z95 * Z95
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * np.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low = np.where(successes == 0, np.where(np.isnan(n), np.nan, 0.0), np.maximum(middle - half, 0.0))
    high = np.where(successes == trials, np.where(np.isnan(n), np.nan, 1.0), np.minimum(middle + half, 1.0))
    return low, high


def ratio(
    part: Floats, whole: Floats, part_squared: Floats, whole_squared: Floats, events: Floats
) -> tuple[Floats, Floats]:
    """Interval (95 %) of part / whole, sums of amounts of which the part's are either in full or not at all.

    The ratio estimator's normal approximation: with R = part / whole, its variance is the sum of squared residuals
    (a x fraud - R x a) over whole squared, and that sum is part_squared x (1 - 2R) + R^2 x whole_squared, where the
    squares are sums of squared amounts. Cut to 0..1. NaN where nothing was processed, and below SMALL_FRAUD events:
    one large amount would then decide the interval as well as the rate, and no normal curve describes that.
    """
    usable = (whole > 0) & (events >= SMALL_FRAUD)
    total = np.where(usable, whole, np.nan)
    r = part / total
    residuals = np.maximum(part_squared * (1 - 2 * r) + r * r * whole_squared, 0.0)
    half = Z95 * np.sqrt(residuals) / total
    return np.maximum(r - half, 0.0), np.minimum(r + half, 1.0)
