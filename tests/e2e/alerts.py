"""Finding an alert on a real desk."""

from __future__ import annotations

import time
from typing import Any

from services.transactions import QueueFilter, Sort


def an_open_alert(stack: Any, *, seconds: float = 120) -> str:
    """The riskiest open alert; a young desk may have none for a while, its traffic brings one."""
    deadline = time.monotonic() + seconds
    while not (rows := stack.transactions.page(QueueFilter(), sort=Sort.RISK, limit=1).rows):
        assert time.monotonic() < deadline, f"no alert was opened in {seconds} s"
        time.sleep(0.5)
    return str(rows[0].transaction_id)
