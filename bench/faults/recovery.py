"""How long a worker is away: killed, started again as an operator's supervisor does, until its work is committed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

from bench.faults import zombies
from bench.faults.calls import Ammunition
from bench.faults.campaign import Campaign
from bench.faults.processes import ROOT

TRIES = 5
_LIMIT_SECONDS = 60.0


def times(campaign: Campaign, program: str, *, elsewhere: bool = False, tries: int = TRIES) -> list[float]:
    """Seconds from the start of a new process, imports included, until something written while nobody ran is committed.

    `elsewhere`: the dead process ran on a host that cannot be seen from here, so its lease has to run out first.
    """
    environment = dict(campaign.installation.environment(campaign.proxy.endpoint(program), PYTHONPATH=str(ROOT)))
    environment["FRAUD_DESK_CURATOR_SECONDS"] = "1"
    out = []
    process = _start(program, environment)
    try:
        _committed(campaign, program, _work(campaign, program))
        for _ in range(tries):
            process.kill()
            process.wait()
            before = _work(campaign, program)
            if elsewhere:
                campaign.source.db["positions"].update_one({"_id": program}, {"$set": {"owner.node": "another host"}})
            began = time.monotonic()
            process = _start(program, environment)
            _committed(campaign, program, before)
            out.append(time.monotonic() - began)
    finally:
        process.kill()
        process.wait()
    return out


def _start(program: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"workers.{program}"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _work(campaign: Campaign, program: str) -> int:
    """Something to do for the program; how much it has committed until now."""
    before = zombies.commits(campaign, program)
    if program == "stream":
        campaign.source.insert()
        return before
    streamed = zombies.commits(campaign, "stream")
    campaign.source.insert()
    child = campaign.start("stream", Ammunition())
    _committed(campaign, "stream", streamed)
    child.kill()
    return before


def _committed(campaign: Campaign, program: str, before: int) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while zombies.commits(campaign, program) <= before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the {program} committed nothing in {_LIMIT_SECONDS:.0f} s")
        time.sleep(0.02)
