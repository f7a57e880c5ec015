"""How much a feature says at most: a denser portfolio or a tiny divisor is not a stronger sign."""

from __future__ import annotations

COUNT_CAP = 20.0
RATIO_CAP = 50.0
DAYS_CAP = 30.0
GAP_CAP_S = 7 * 86_400.0
SPEED_CAP_KMH = 5000.0
