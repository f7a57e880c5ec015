"""Live traffic of a world: the same people going on with their lives, far more densely than in history.

Customers take turns, the one who waited longest first, so that each transacts every `customers / rate` seconds and
nobody's last hour looks like an attack. Now and then an episode of fraud starts and unfolds over the next minutes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np

from embedded.simulator import behaviour, fraud
from embedded.simulator.catalogue import CATEGORY_INDEX
from embedded.simulator.columns import ECOM, KEYED, POS, Columns, Scenario
from embedded.simulator.population import World

# Mean seconds between episodes at one transaction a second: about one purchase in a hundred is then fraud.
EPISODE_EVERY = 480.0
# History's episodes last hours to days; live ones are told within minutes, or nobody would see them.
EPISODE_LASTS_MS = 240_000
FIRST_EPISODE_MS = 90_000
_KINDS = (
    Scenario.CARD_TESTING,
    Scenario.ACCOUNT_TAKEOVER,
    Scenario.COMPROMISED_TERMINAL,
    Scenario.COMPROMISED_CUSTOMER,
    Scenario.OVER_220,
)
_KIND_P = (0.22, 0.26, 0.22, 0.18, 0.12)


@dataclass
class Live:
    """Call `due` with a clock that never goes back. Its memory (turns, episodes under way) is lost on restart; nothing
    depends on it."""

    world: World
    rng: np.random.Generator
    rate: float
    _turns: np.ndarray = field(init=False)
    _next: int = 0
    _pending: list[tuple[int, int, Columns]] = field(default_factory=list)
    _made: int = 0
    _episode_at: int | None = None
    _arrival_at: int | None = None

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError("the rate must be above zero transactions a second")
        self._turns = self.rng.permutation(self.world.customers).astype(np.int32)

    def due(self, now_ms: int) -> Columns:
        """Everything that happens up to `now_ms` and was not handed out yet: Poisson arrivals at `rate` a second, plus
        what episodes contribute; in order of time. The first call starts the clock and returns nothing."""
        if self._arrival_at is None or self._episode_at is None:
            self._arrival_at = now_ms + self._gap(1 / self.rate)
            # Whoever starts the desk should not wait long for the first one.
            self._episode_at = now_ms + min(self._gap(EPISODE_EVERY / self.rate / 4), FIRST_EPISODE_MS)
            return self._none()
        times = []
        while self._arrival_at <= now_ms:
            times.append(self._arrival_at)
            self._arrival_at += self._gap(1 / self.rate)
        parts = [self._honest(times)] if times else []
        while self._episode_at <= now_ms:
            self._schedule(self.episode(self._episode_at))
            self._episode_at += self._gap(EPISODE_EVERY / self.rate)
        while self._pending and self._pending[0][0] <= now_ms:
            parts.append(heapq.heappop(self._pending)[2])
        if not parts:
            return self._none()
        rows = Columns.concat(parts)
        return rows.take(np.argsort(rows.time_ms, kind="stable"))

    def skip_to(self, now_ms: int) -> None:
        """Forget arrivals that fell into an outage: cards were used elsewhere, nobody queues them up for later."""
        if self._arrival_at is not None:
            self._arrival_at = max(self._arrival_at, now_ms)
        if self._episode_at is not None:
            self._episode_at = max(self._episode_at, now_ms)
        self._pending = [(max(at, now_ms), order, row) for at, order, row in self._pending]
        for at, _, row in self._pending:
            row.time_ms[:] = at
        heapq.heapify(self._pending)

    def episode(self, start_ms: int) -> Columns:
        """One burst of fraud from `start_ms` on, within EPISODE_LASTS_MS."""
        kind = Scenario(int(self.rng.choice([int(k) for k in _KINDS], p=_KIND_P)))
        victim = self._turn(1)
        if kind in fraud.EPISODES:
            rows = fraud.EPISODES[kind](self.rng, self.world, start_ms, int(victim[0]))
        else:
            rows = self._handbook(kind, start_ms, victim)
        late = rows.time_ms - start_ms
        if len(late) and late.max() > EPISODE_LASTS_MS:
            rows.time_ms[:] = start_ms + late * EPISODE_LASTS_MS // late.max()
        return rows

    def _handbook(self, kind: Scenario, start_ms: int, victim: np.ndarray) -> Columns:
        """The handbook's scenarios in small: a few customers at one skimmed terminal; one customer's purchases at five
        times the amount; one till purchase over 220."""
        terminal = self._till(int(victim[0]))
        if kind is Scenario.COMPROMISED_TERMINAL:
            locals_ = np.flatnonzero((self.world.nearby == terminal).any(axis=1))
            who = self.rng.choice(locals_, int(self.rng.integers(3, 8))).astype(np.int32)
        else:
            who = np.repeat(victim, self.rng.integers(2, 5) if kind is Scenario.COMPROMISED_CUSTOMER else 1)
        times = start_ms + np.sort(self.rng.integers(0, EPISODE_LASTS_MS, len(who)))
        if kind is Scenario.COMPROMISED_CUSTOMER:
            rows = behaviour.purchases(self.rng, self.world, who, times)
            thief = fraud.fraud_device(self.rng, self.world)
            rows.amount *= 5
            rows.terminal[:] = self.rng.choice(self.world.online_terminals, len(rows))
            rows.channel[:], rows.entry[:] = ECOM, KEYED
            rows.device[:], rows.address[:] = thief, thief
        else:
            rows = behaviour.at_terminal(self.rng, self.world, who, times, terminal)
        if kind is Scenario.OVER_220:
            rows.channel[:] = POS
            rows.amount[:] = (22_001 + self.rng.exponential(14_000, len(rows))).astype(np.int64)
        rows.scenario[:] = kind
        return rows

    def _till(self, customer: int) -> int:
        """The customer's likeliest terminal that is not a cash machine."""
        known = self.world.nearby[customer]
        tills = known[self.world.terminal_category()[known] != CATEGORY_INDEX["cash"]]
        return int(tills[0] if len(tills) else known[0])

    def _schedule(self, rows: Columns) -> None:
        for row in range(len(rows)):
            self._made += 1
            heapq.heappush(self._pending, (int(rows.time_ms[row]), self._made, rows.take(np.array([row]))))

    def _honest(self, times: list[int]) -> Columns:
        return behaviour.purchases(self.rng, self.world, self._turn(len(times)), np.array(times, dtype=np.int64))

    def _turn(self, count: int) -> np.ndarray:
        places = (self._next + np.arange(count)) % len(self._turns)
        self._next = int((self._next + count) % len(self._turns))
        return self._turns[places]

    def _gap(self, mean_seconds: float) -> int:
        return max(1, int(self.rng.exponential(mean_seconds) * 1000))

    def _none(self) -> Columns:
        empty = np.empty(0, dtype=np.int64)
        return behaviour.purchases(self.rng, self.world, empty.astype(np.int32), empty)
