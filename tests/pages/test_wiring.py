"""The screens' cache: fresh within its time, the last good value in an outage, one timeout for many reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from services.errors import NotFound, Unavailable
from ui.wiring import BACK_OFF_SECONDS, Read, Reads

START = datetime(2026, 11, 22, 14, 5, 11, tzinfo=UTC)


@dataclass
class World:
    """A clock to move, and a source that counts how often it is asked."""

    seconds: float = 0.0
    calls: int = 0
    down: bool = False
    reads: Reads = field(init=False)

    def __post_init__(self) -> None:
        self.reads = Reads(monotonic=lambda: self.seconds, now=lambda: START + timedelta(seconds=self.seconds))

    def load(self) -> int:
        self.calls += 1
        if self.down:
            raise Unavailable("MongoDB is not reachable.", dependency="MongoDB")
        return self.calls

    def get(self, key: str = "a", *, background: bool = False) -> Read[int]:
        return self.reads.get((key,), self.load, ttl=2.0, source="MongoDB", background=background)


def test_a_value_is_read_once_within_its_time_and_again_after_it() -> None:
    world = World()
    assert [world.get().value, world.get().value] == [1, 1]
    world.seconds = 2.0
    assert world.get().value == 2


def test_an_outage_hands_out_the_last_good_value_with_its_age_and_the_reason() -> None:
    world = World()
    world.get()
    world.seconds, world.down = 9.0, True
    read = world.get()
    assert read.value == 1
    assert read.read_at == START
    assert read.age_sentence(START + timedelta(seconds=9), kept="decisions cannot be saved, your text is kept") == (
        "MongoDB is not reachable since 14:05:20 UTC. Showing what was read 9 s earlier; "
        "decisions cannot be saved, your text is kept."
    )


def test_the_start_of_an_outage_does_not_move_while_it_lasts() -> None:
    world = World()
    world.get()
    world.seconds, world.down = 10.0, True
    world.get()
    world.seconds = 60.0
    assert world.get().problem_since == START + timedelta(seconds=10)


def test_what_was_never_read_cannot_be_shown() -> None:
    world = World(down=True)
    with pytest.raises(Unavailable):
        world.get()


def test_one_timeout_stands_for_all_reads_of_the_same_dependency() -> None:
    world = World(down=True)
    for key in ("a", "b", "c"):
        with pytest.raises(Unavailable):
            world.get(key)
    assert world.calls == 1
    world.seconds, world.down = BACK_OFF_SECONDS, False
    assert world.get("c").problem is None


def test_recovery_clears_the_problem_for_every_read() -> None:
    world = World()
    world.get()
    world.seconds, world.down = 5.0, True
    assert world.get().problem is not None
    world.seconds, world.down = 20.0, False
    assert world.get().problem is None


def test_forgetting_by_name_reads_again_and_leaves_the_rest() -> None:
    world = World()
    world.get("a")
    world.get("b")
    world.reads.forget("a")
    assert world.get("a").value == 3
    assert world.get("b").value == 2


def test_a_background_read_answers_at_once_with_the_old_value_and_renews_it() -> None:
    world = World()
    world.get(background=True)
    world.seconds = 3.0
    assert world.get(background=True).value == 1
    world.reads._pool.shutdown(wait=True)
    assert world.get(background=True).value == 2


def test_other_errors_pass_through_and_are_not_remembered() -> None:
    world = World()

    def missing() -> int:
        raise NotFound("There is no transaction with this id.")

    with pytest.raises(NotFound):
        world.reads.get(("x",), missing, ttl=2.0, source="MongoDB")
    assert world.get("x").value == 1
