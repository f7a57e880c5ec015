"""kill -9 of every part under load: the pages say so meanwhile, and `up` brings back all of it, once.

The tests share one stack and run in this order; each leaves it healed and drained.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.checks import Desk, nothing_lost_or_doubled
from tests.faults.load import Load
from tests.faults.stack import Stack, wait_for
from tests.faults.viewer import Seen, Viewer

OpenPage = Callable[[str, str], Viewer]
# A worker counts as stopped ten seconds after its last heartbeat; the rest is what a busy machine adds.
SAID_WITHIN_SECONDS = 25.0
CLOCK = r"\d\d:\d\d:\d\d UTC"
pytestmark = pytest.mark.timeout(240)


@contextmanager
def under_load(stack: Stack, desk: Desk, load: Load) -> Iterator[None]:
    """Load before, during and after what happens inside; then `up` (a second time) and the whole account."""
    load.start()
    try:
        before = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) >= before + 40, 30, "the load runs")
        yield
        stack.up()
        healed = len(load.acknowledged)
        wait_for(lambda: len(load.acknowledged) >= healed + 40, 60, "the load goes on after up")
    except BaseException:
        load.abandon()
        raise
    load.finish()
    assert stack.status()["ready"]
    nothing_lost_or_doubled(desk, load)


def says(viewer: Viewer, *patterns: str, press: str | None = None) -> Seen:
    """Look until one readable text matches each pattern, and none of the sentences repeats its time."""
    last: list[Seen] = []

    def said() -> Seen | None:
        seen = viewer.look(press=press)
        last[:] = [seen]
        return seen if all(any(re.search(p, text) for text in seen.texts) for p in patterns) else None

    seen = wait_for(said, SAID_WITHIN_SECONDS, lambda: f"{patterns} on {last[0].page}: {last[0].texts}")
    for text in seen.texts:
        times = re.findall(rf"since ({CLOCK})", text, re.IGNORECASE)
        assert len(times) == len(set(times)), text
    return seen


def works_again(*viewers: Viewer) -> None:
    """Within a moment of `up` nothing is said to be down or stale."""
    for viewer in viewers:
        last: list[Seen] = []

        def calm(viewer: Viewer = viewer, last: list[Seen] = last) -> bool:
            last[:] = [viewer.look()]
            return not re.search(r"not reachable|stopped at|waits since|does not answer", last[0].text)

        wait_for(calm, 45, lambda last=last: f"{last[0].page} is calm: {last[0].texts}")


def test_mongod(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    queue, rates = open_page("analyst", "queue"), open_page("manager", "fraud_rates")
    kpis, loop, retrain = (open_page("admin", page) for page in ("kpis", "loop_health", "retrain"))
    with under_load(stack, desk, load):
        rows = queue.look().sentences(" of ", " rows")
        stack.kill("mongod")
        stale = rf"MongoDB is not reachable since {CLOCK}\. Showing what was read .* earlier; decisions cannot be saved"
        strip = rf"^MongoDB is not reachable since {CLOCK}: .*decisions cannot be saved\.$"
        seen = says(queue, stale, strip)
        assert seen.sentences(" of ", " rows") == rows, "the last good rows stay"
        says(kpis, rf"MongoDB is not reachable since {CLOCK}\. Showing what was read", strip)
        says(retrain, rf"MongoDB is not reachable since {CLOCK}", strip)
        says(loop, r"The loop is broken at", strip)
        says(rates, r"current to \d\d:\d\d", strip)
    works_again(queue, kpis, loop, retrain, rates)


def test_s3(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    rates, loop = open_page("manager", "fraud_rates"), open_page("admin", "loop_health")
    queue = open_page("analyst", "queue")
    with under_load(stack, desk, load):
        stack.kill("s3")
        says(
            rates,
            rf"^.*S3 is not reachable since {CLOCK}\. Showing what was read .* earlier",
            r"stale: current to",
            rf"(stream to S3|curator) waits since {CLOCK} \(S3 is not reachable",
        )
        says(loop, r"The loop is broken at .*(Stream to S3|Lake)")
        assert queue.look().sentences("live")
    works_again(rates, loop)


def test_scorer(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    queue, loop = open_page("analyst", "queue"), open_page("admin", "loop_health")
    with under_load(stack, desk, load):
        stack.kill("scorer")
        stopped = rf"^Scoring stopped at {CLOCK}: new transactions arrive but wait unscored; .*still be decided\.$"
        says(queue, stopped)
        says(loop, stopped, r"The loop is broken at Scoring")
    works_again(queue, loop)


def test_stream_and_curator(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    rates, loop = open_page("manager", "fraud_rates"), open_page("admin", "loop_health")
    with under_load(stack, desk, load):
        stack.kill("stream")
        time.sleep(1.5)
        stack.kill("curator")
        stream = rf"^The stream to S3 stopped at {CLOCK}: fraud rates and training see nothing newer; nothing is lost"
        curator = stream.replace("stream to S3", "lake's curator")
        says(rates, stream, curator, r"current to \d\d:\d\d")
        says(loop, stream, curator, r"The loop is broken at Stream to S3 and Lake")
    works_again(rates, loop)


def test_model_container(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    """The model server starts its container again by itself; what came meanwhile is scored late, not lost."""
    live = open_page("analyst", "live_scoring")
    with under_load(stack, desk, load):
        killed = stack.model_container()
        assert killed
        os.kill(killed, signal.SIGKILL)
        live.look(press="Score")  # a score or a sentence, never a trace
        wait_for(lambda: stack.model_container() not in (None, killed), 30, "the container is started again")
        says(live, r"^model v\d+$", press="Score")


def test_model_server(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    live, loop = open_page("analyst", "live_scoring"), open_page("admin", "loop_health")
    deploy = open_page("admin", "deploy")
    with under_load(stack, desk, load):
        stack.kill("aws")
        says(live, r"^The scoring API is not reachable\.$", press="Score")
        load.put_past_the_front_door()  # which is a function of the same server: else there is nothing to score
        says(live, rf"^Scoring waits since {CLOCK} \(Not scored \(the model did not answer\)")
        says(loop, r"The loop is broken at .*Endpoint")
        says(deploy, r"SageMaker is not reachable")
    works_again(live, loop, deploy)


def test_everything_at_once(stack: Stack, desk: Desk, load: Load, open_page: OpenPage) -> None:
    queue = open_page("analyst", "queue")
    with under_load(stack, desk, load):
        stack.kill_everything()
        # The screens hold on to the stack and may be quicker than a person's `up`: then they show its start.
        says(queue, rf"MongoDB is not reachable since {CLOCK}\. Showing what was read .* earlier|^Starting Fraud Desk$")
    works_again(queue)
