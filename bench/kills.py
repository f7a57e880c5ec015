"""Nothing lost, nothing doubled: the lake against the source after kills of stream and curator at every crash point.

Three parts, on real servers and with a writer that never stops: kills (SIGKILL before and after every call to S3,
MongoDB and the catalog; processes stopped past their lease and woken again), S3 failing every call in every way, and
the time a cold restart takes. What went wrong is told on stderr, in full.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench.faults import recovery
from bench.faults.calls import FAULTS
from bench.faults.campaign import WORKERS, Campaign, battlefield
from bench.faults.campaign import run as fight
from bench.report import Figure, figure, percentile

RECOVERY_GOAL_SECONDS = 30.0


def run(kills: int = 500, seed: int = 1) -> list[Figure]:
    """500 kills take about six minutes on two cores."""
    folder = Path(tempfile.mkdtemp(prefix="fraud-desk-kills-"))
    try:
        with battlefield(folder) as make:
            campaign = fight(
                make, kills=kills, seed=seed, tell=lambda sentence: print(sentence, file=sys.stderr, flush=True)
            )
            campaign.complete()
            campaign.verify()
            campaign.starve()
            campaign.verify()
            away = {name: recovery.times(campaign, name) for name in WORKERS}
            other_host = recovery.times(campaign, "stream", elsewhere=True, tries=2)
        _tell(campaign)
        return [*_kept(campaign, kills, seed), *_covered(campaign), *_recovered(away, other_host)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kept(campaign: Campaign, kills: int, seed: int) -> list[Figure]:
    outcome, last = campaign.outcome, campaign.outcome.verdicts[-1]
    found = {
        name: sum(len(getattr(verdict, name)) for verdict in outcome.verdicts)
        for name in ("lost", "doubled", "different", "wrong")
    }
    peer = f"{last.rows} rows, {last.lines} changes, {last.quarantined} quarantined"
    return [
        figure(
            "kills",
            outcome.kills,
            "",
            peer=f"seed {seed}",
            peer_value=None,
            goal=f"{kills}",
            holds=outcome.kills >= kills,
        ),
        *(
            figure(label, found[name], "", peer=peer, peer_value=None, goal="0", holds=found[name] == 0)
            for name, label in (
                ("lost", "rows lost"),
                ("doubled", "rows or changes doubled"),
                ("different", "values that differ from the source"),
                ("wrong", "broken sums (offsets, in = out, rates)"),
            )
        ),
        _none("workers that ended by themselves", len(outcome.ended), f"{outcome.starved} faults without a kill"),
        _none("stopped past the lease, wrote afterwards", len(outcome.fenced), f"{outcome.zombies} stopped and woken"),
        figure("time of a kill", outcome.seconds / max(1, outcome.kills), "s", peer="all included", peer_value=None),
    ]


def _none(name: str, count: int, peer: str) -> Figure:
    return figure(name, count, "", peer=peer, peer_value=None, goal="0", holds=count == 0)


def _covered(campaign: Campaign) -> list[Figure]:
    figures = []
    for program, plan in campaign.plans.items():
        points, missed = plan.points(), plan.missed()
        figures.append(
            figure(
                f"{program}: crash points hit",
                len(points) - len(missed),
                "",
                peer="crash points there are",
                peer_value=len(points),
                goal="all",
                holds=not missed,
            )
        )
    for program in WORKERS:
        plan = campaign.plans[program]
        cells = len(FAULTS) * sum(call.startswith("s3 ") for call in plan.calls)
        missed_cells = len(plan.unfailed())
        figures.append(
            figure(
                f"{program}: S3 calls x faults met",
                cells - missed_cells,
                "",
                peer="calls x faults there are",
                peer_value=cells,
                goal="all",
                holds=missed_cells == 0,
            )
        )
    return figures


def _recovered(away: dict[str, list[float]], other_host: list[float]) -> list[Figure]:
    cases = [(f"{name}: killed, to committed work", seconds) for name, seconds in away.items()]
    cases.append(("stream: host lost, to committed work", other_host))
    return [
        figure(
            f"{name} p95",
            percentile(seconds, 0.95),
            "s",
            peer=f"{len(seconds)} cold starts, imports included",
            peer_value=None,
            goal=f"<= {RECOVERY_GOAL_SECONDS:.0f} s",
            holds=percentile(seconds, 0.95) <= RECOVERY_GOAL_SECONDS,
        )
        for name, seconds in cases
    ]


def _tell(campaign: Campaign) -> None:
    for sentence in (*campaign.outcome.ended, *campaign.outcome.fenced):
        sys.stderr.write(f"{sentence}\n")
    for program, plan in campaign.plans.items():
        for what, missed in (("crash points", plan.missed()), ("faults", plan.unfailed())):
            if missed and (program in WORKERS or what == "crash points"):
                sys.stderr.write(f"{program}, {what} not met: {', '.join(map(str, missed))}\n")
