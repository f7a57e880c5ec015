"""Kill upon kill of stream and curator while the source is written to, and the comparison of lake and source."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.faults import zombies
from bench.faults.calls import FAULTS, Ammunition, Deed, Failure, Moment, Point, Shot
from bench.faults.compare import Verdict, compare, has, raw_lines
from bench.faults.plans import LOST, Plan
from bench.faults.processes import Child, Nursery
from bench.faults.proxy import FaultProxy
from bench.faults.servers import Installation, Servers, install, running
from bench.faults.source import Source

WORKERS = ("stream", "curator")
# "second" is the way to S3 of whoever takes over from a stopped process.
LANES = (*WORKERS, "second")
# A run that its shot does not reach is killed then and there: at any moment.
PATIENCE_SECONDS = {"stream": 2.5, "curator": 4.0, "maintenance": 6.0}
INSIST_SECONDS = 12.0
CATCH_UP_SECONDS, STILL_SECONDS, COMPLETE_SECONDS = 90.0, 4.0, 240.0
WRITES_PER_SECOND = 60.0
IMPATIENT: Mapping[str, Mapping[str, Any]] = {
    name: {"_MAX_BACKOFF_SECONDS": 0.2} for name in ("workers.stream_patience", "workers.curator")
}


@dataclass
class Outcome:
    """What a campaign did. `ended` names runs that ended by themselves, which no fault may cause."""

    kills: int = 0
    by_point: int = 0
    zombies: int = 0
    starved: int = 0
    ended: list[str] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0


class Campaign:
    """One installation under fire. Make it with `campaign`."""

    def __init__(self, nursery: Nursery, proxy: FaultProxy, installation: Installation, source: Source, seed: int):
        self.nursery, self.proxy, self.installation, self.source = nursery, proxy, installation, source
        self.rng = random.Random(seed)
        self.plans = {name: Plan(seed + number) for number, name in enumerate((*WORKERS, "maintenance"))}
        self.outcome = Outcome()
        self.tell: Callable[[str], None] = lambda _sentence: None
        self._lock = threading.Lock()

    def start(
        self,
        program: str,
        ammunition: Ammunition,
        *,
        lane: str | None = None,
        constants: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Child:
        """A worker with its way to S3 armed."""
        way = self.proxy.lanes[lane or ("curator" if program == "maintenance" else program)]
        way.arm(ammunition)
        mongo = [shot for shot in ammunition.shots if not shot.point.call.startswith("s3 ")]
        environment = self.installation.environment(self.proxy.endpoint(way.name))
        values = {**IMPATIENT, **(constants or {})}
        child = self.nursery.start(program, environment, shots=mongo, constants=values)
        way.aim(child.pid)
        return child

    def round(self, program: str, shot: Shot, failure: Failure | None, *, patience: float | None = None) -> bool:
        """One run that ends by SIGKILL. False when it ended by itself before, as maintenance may."""
        ammunition = Ammunition([shot], [failure] if failure else [])
        child = self.start(program, ammunition)
        reached = child.ended.wait(patience or PATIENCE_SECONDS[program])
        child.kill()
        self._note(program, child, ammunition)
        if child.status == -signal.SIGKILL:
            with self._lock:
                self.outcome.kills += 1
                self.outcome.by_point += reached
            return True
        if program != "maintenance" or child.status not in (0, 4):
            log = child.log.read_text("utf-8", "replace").strip()[-600:]
            self.outcome.ended.append(f"{program} ended with {child.status} ({shot}, {failure}): {log}")
        return False

    def _note(self, program: str, child: Child, ammunition: Ammunition) -> None:
        plan = self.plans[program]
        plan.learn([*ammunition.seen, *child.reported("seen")])
        fired = [shot.point for shot in ammunition.fired if shot.deed is Deed.KILL]
        for words in child.reported("fired"):
            moment, _, call = words.partition(" ")
            fired.append(Point(call, Moment(moment)))
        plan.note(fired, ammunition.failed)

    def assault(self, kills: int, script: Mapping[str, Sequence[Shot]] | None = None) -> None:
        """So many kills more, stream and curator at the same time, the writer going on; those of the script first."""
        until = self.outcome.kills + kills
        self.source.start(WRITES_PER_SECOND)
        with ThreadPoolExecutor(2, thread_name_prefix="lane") as pool:
            lanes = [pool.submit(self._lane, name, until, (script or {}).get(name, ())) for name in WORKERS]
            for lane in lanes:
                lane.result()
        self.source.pause()

    def _lane(self, program: str, until: int, script: Sequence[Shot]) -> None:
        number = self.rng.randrange(6)
        for shot in script:
            self._insist(program, shot)
        while self.outcome.kills < until:
            number += 1
            self._step(program, number)

    def _insist(self, program: str, shot: Shot) -> None:
        """What a script asks for is waited for, and tried again where the machine was too slow for it."""
        for _ in range(3):
            if shot.deed is Deed.STOP:
                if zombies.stopped(self, program, shot, patience=INSIST_SECONDS):
                    return
                continue
            self.round(program, shot, None, patience=INSIST_SECONDS)
            if self.plans[program].hit[shot.point]:
                return

    def _step(self, program: str, number: int) -> None:
        if program == "curator" and number % 6 == 0 and self.plans["maintenance"].calls:
            self.round("maintenance", *self.plans["maintenance"].next())
        elif number % 15 == 8 and self.proxy.strict:
            zombies.stopped(self, program, zombies.choose(program, self.rng))
        else:
            shot, failure = self.plans[program].next()
            # A write that outlives its writer is harmless only where S3 looks at its condition.
            late = failure is not None and failure.fault == "latency" and not self.proxy.strict
            self.round(program, shot, None if late else failure)
        if program == "stream" and not self.source.drifting.is_set() and _copied(self.installation):
            self.source.drifting.set()

    def complete(self) -> None:
        """Kills at the points that were missed, each program in turn, until none is or it takes too long."""
        self.source.start(WRITES_PER_SECOND)
        deadline = time.monotonic() + COMPLETE_SECONDS
        while time.monotonic() < deadline:
            shots = {name: shot for name, plan in self.plans.items() if (shot := plan.again())}
            if not shots:
                break
            for program, shot in shots.items():
                if program == "maintenance":  # which needs something to forget: commits, and files of none
                    self.round("curator", Shot(Point("catalog commit", Moment.BEFORE), 2), None)
                    self.round("curator", Shot(Point("catalog commit", Moment.AFTER), 2), None)
                self.round(program, shot, LOST if shot.point.call == "s3 HEAD raw" else None, patience=INSIST_SECONDS)
        self.source.pause()

    def starve(self) -> None:
        """Runs that are not killed, in which S3 fails every call, until each has met every fault."""
        for _ in range(2 * len(FAULTS)):
            armed = {name: Ammunition(failures=self.plans[name].hunger()) for name in WORKERS}
            if not any(ammunition.failures for ammunition in armed.values()):
                return
            with self.healthy(armed) as children:
                self.source.start(WRITES_PER_SECOND)
                _until_still(list(armed.values()))
                self.source.pause()
                self.outcome.starved += sum(len(a.failed) for a in armed.values())
            for name, child in children.items():
                self._note(name, child, armed[name])

    def count_stopped(self, wrote: str | None) -> None:
        """A process that was stopped past its lease, and then killed; `wrote` says what it should not have written."""
        with self._lock:
            self.outcome.kills += 1
            self.outcome.zombies += 1
            if wrote:
                self.outcome.fenced.append(wrote)

    def rehearse(self) -> None:
        """Runs without any fault: what there is to be called."""
        for _ in range(60):
            self.source.act()
        with self.healthy() as children:
            self.source.drifting.set()
            for _ in range(60):
                self.source.act()
            self.caught_up()
        for program, child in children.items():
            self._note(program, child, self.proxy.lanes[program].ammunition)
        ammunition = Ammunition()
        child = self.start("maintenance", ammunition)
        if not child.ended.wait(30) or child.status != 0:
            raise RuntimeError(f"maintenance ended with {child.status}: {child.log.read_text('utf-8')}")
        self._note("maintenance", child, ammunition)

    @contextmanager
    def healthy(self, armed: Mapping[str, Ammunition] | None = None) -> Iterator[dict[str, Child]]:
        """Both workers, by default without faults; ended as an operator ends them, and they must end well."""
        children = {name: self.start(name, armed[name] if armed else Ammunition()) for name in WORKERS}
        try:
            yield children
        finally:
            for name, child in children.items():
                if child.end() != 0:
                    self.outcome.ended.append(
                        f"{name} ended with {child.status}: {child.log.read_text('utf-8')[-600:]}"
                    )

    def caught_up(self) -> bool:
        """Wait until the lake has everything written so far."""
        marks = self.source.marks()
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while not has(self.installation, *marks):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def verify(self) -> Verdict:
        """Let both workers catch up in peace, end them, and compare."""
        with self.healthy():
            caught_up = self.caught_up()
        verdict = compare(self.installation, self.source)
        if not caught_up:
            verdict.wrong.append(f"the lake had not caught up after {CATCH_UP_SECONDS:.0f} s")
        self.outcome.verdicts.append(verdict)
        self.tell(f"{self.outcome.kills} kills: {verdict}")
        return verdict


def _until_still(armed: Sequence[Ammunition]) -> None:
    """Until every fault was met, or none for a while."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < STILL_SECONDS and last < sum(len(a.failures) for a in armed):
        time.sleep(0.1)
        if (now := sum(len(a.failed) for a in armed)) != last:
            last, since = now, time.monotonic()


def _copied(installation: Installation) -> bool:
    """Whether the first copy is over: a change is in the raw zone."""
    return any(line["operationType"] == "insert" for line in raw_lines(installation, "fraud.transactions"))


@contextmanager
def battlefield(folder: Path) -> Iterator[Callable[[int], Campaign]]:
    """Servers, proxy and nursery; yields a function that makes a campaign of a seed on a new installation."""
    with ExitStack() as stack:
        nursery = stack.enter_context(Nursery(folder / "runs"))
        servers: Servers = stack.enter_context(running(folder))
        proxy = stack.enter_context(FaultProxy(servers.s3_port, servers.folder, LANES))

        def make(seed: int) -> Campaign:
            installation = install(servers, folder)
            source = Source(installation, seed)
            stack.callback(source.close)
            return Campaign(nursery, proxy, installation, source, seed)

        yield make


def run(
    make: Callable[[int], Campaign], *, kills: int, seed: int, verify_every: int = 100, tell: Callable[[str], None]
) -> Campaign:
    """A rehearsal on an installation of its own, then the campaign on another one that begins with a first copy.

    The last part is fought with a server that does not look at conditions of writes, as rclone is.
    """
    rehearsal = make(seed + 1_000)
    rehearsal.rehearse()
    campaign = make(seed)
    campaign.tell = tell
    for name, plan in campaign.plans.items():
        plan.learn(rehearsal.plans[name].calls)
    for _ in range(150):
        campaign.source.act()
    began = time.monotonic()
    while (done := campaign.outcome.kills) < kills:
        campaign.proxy.strict = done == 0 or kills - done > verify_every
        campaign.assault(min(verify_every, kills - done))
        if not campaign.verify().holds():
            break
    campaign.proxy.strict = True
    campaign.outcome.seconds = time.monotonic() - began
    campaign.outcome.ended = rehearsal.outcome.ended + campaign.outcome.ended
    return campaign
