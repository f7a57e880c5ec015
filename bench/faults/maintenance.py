"""The curator's hourly maintenance as a program of its own, as if three days later: what is old then is forgotten now.

Only while no curator runs: it takes files of a commit under way for two days old ones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.adapters.iceberg import IcebergLake
from services.adapters.iceberg_maintenance import maintain
from services.adapters.s3 import ObjectStore
from services.errors import Conflict, Unavailable
from services.lake_schema import TABLES
from services.settings import Settings

AHEAD = timedelta(days=3)


def main() -> int:
    """Every table once; a dependency that fails ends it, as it ends the curator's cycle.

    A table that no curator lived long enough to create has nothing to forget.
    """
    settings = Settings.from_environment()
    lake = IcebergLake(settings, patient=True)
    objects = ObjectStore(settings.bucket, region=settings.region, read_seconds=10.0, attempts=2)
    try:
        for name in (name for name in TABLES if lake.state(name) is not None):
            maintain(lake, objects, name, now=datetime.now(UTC) + AHEAD)
    except (Conflict, Unavailable):
        return 4
    finally:
        lake.close()
    return 0
