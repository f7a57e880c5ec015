"""Owns one state folder: starts the processes in order, keeps them alive, and stops them in reverse order.

Invariants: the lock is held from before the first process starts until after the last one has ended; environment.json
names ports and secrets that are in force; a process of a former, killed supervisor never runs beside ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import IO, Any

from embedded import environment, logs, own_data, ports, processes, seeding
from embedded.control import ControlServer
from embedded.keeper import Keeper, State
from embedded.programs import PORTS, SEEDED, Options, Stack, Stage, Table
from embedded.progress import Progress
from embedded.seeding import SetUpFailed
from embedded.state_folder import StateFolder, read_json, write_json

logger = logging.getLogger(__name__)

TableOf = Callable[[Stack], Table]
_LOG_CHECK_SECONDS = 5.0
_BEAT_SECONDS = 2.0
# Steps of progress.json that are the supervisor's own, with the stages that each waits for.
_STEPS: tuple[tuple[str, str, tuple[Stage, ...]], ...] = (
    ("stores", "Start the database and object storage", (Stage.STORES,)),
    ("services", "Start the model services and sign-in", (Stage.SERVICES,)),
    ("workers", "Start the workers that move data", (Stage.WORKERS,)),
    ("live", "Start scoring and live traffic", (Stage.LIVE,)),
)


def prepare(folder: StateFolder, options: Options) -> tuple[Stack, bool]:
    """Clean up after a killed supervisor, then fix ports, secrets and people, and publish environment.json.

    The lock must be held. Returns the stack and whether the demo people were made just now.
    """
    folder.control.unlink(missing_ok=True)
    data = own_data.decide(folder, os.environ)
    write_json(folder.data, data)
    ended = processes.end_leftovers(folder)
    if ended:
        logger.warning("Ended %d processes that a former supervisor left behind", ended)
    made = environment.load_secrets(folder)
    _, first = environment.load_people(folder)
    chosen = ports.choose(PORTS, read_json(folder.ports))
    write_json(folder.ports, chosen)
    variables = environment.build(folder, chosen, made, mapping=str(data["mapping"]))
    write_json(folder.environment, variables)
    return Stack(folder, chosen, made, variables, options, own_data=bool(data["own"])), first


class Supervisor:
    """One run of the stack. `lock` is the held lock file; it is released when this process ends."""

    def __init__(self, stack: Stack, table_of: TableOf, *, lock: IO[bytes], leash: int | None = None) -> None:
        self._stack, self._folder, self._lock, self._leash = stack, stack.folder, lock, leash
        self._table_of = table_of
        self._keepers: dict[str, Keeper] = {}
        self._seeded = asyncio.Event()
        self._stop = asyncio.Event()
        self._settled = asyncio.Event()  # ready, or failed until healed
        self._failure: str | None = None
        self._ready_once = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._progress = self._new_progress()
        self._control = ControlServer(self._folder, self._answer)

    async def run(self, on_ready: Callable[[dict[str, Any]], None], *, stay_when_failed: bool) -> int:
        """Returns the exit code when the stack has ended: 0 if it was asked to, 1 if it could not become ready.

        With `stay_when_failed` a stack that could not become ready keeps running, so that somebody can look and heal.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        if self._leash is not None:
            loop.add_reader(self._leash, self._leash_pulled)
        await self._control.start()
        try:
            self._table = self._table_of(self._stack)
            self._start_keepers()
            self._spawn(self._rotate_logs())
            self._spawn(self._beat())
            self._spawn(self._bring_up())
            await self._until_settled()
            if self._failure is None and not self._stop.is_set():
                on_ready(environment.summary(self._stack.environment))
            if self._failure is None or stay_when_failed:
                await self._stop.wait()
        except Exception as error:
            self._progress.fail(getattr(error, "message", None) or f"The stack stopped unexpectedly: {error}")
            raise
        finally:
            await self._end()
        return 1 if self._failure is not None and not self._ready_once else 0

    @property
    def failure(self) -> str | None:
        """Why the stack did not become ready, in one sentence."""
        return self._failure

    def _new_progress(self) -> Progress:
        steps = [(key, title) for key, title, _ in _STEPS]
        if self._stack.own_data:
            steps[-1] = ("live", "Start scoring")
        first, own_data = not self._folder.seeded.exists(), self._stack.own_data
        return Progress(self._folder.progress, steps, first=first, own_data=own_data)

    def _leash_pulled(self) -> None:
        assert self._leash is not None
        try:
            ended = os.read(self._leash, 64) == b""
        except OSError:
            ended = True
        if ended:
            asyncio.get_running_loop().remove_reader(self._leash)
            self._stop.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """A task that dies of a bug must not leave a stack that looks alive and keeps nothing alive."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A part of the supervisor stopped", exc_info=error)
            self._fail(f"The supervisor failed ({error}); see {self._folder.log('supervisor')} and start it again.")

    def _start_keepers(self) -> None:
        gates = {SEEDED: self._seeded}
        env = environment.for_children(os.environ, self._stack.environment, self._folder)
        if self._table.seed is None or self._folder.seeded.exists():
            self._seeded.set()  # a later start: nothing has to wait for the set-up, which returns at once
        for program in self._table.programs:
            keeper = Keeper(program, self._folder, env, gates, self._stack.options.restart, self._remember)
            self._keepers[program.name] = keeper
            gates[program.name] = keeper.ready
        for keeper in self._keepers.values():
            self._spawn(keeper.run())

    def _remember(self) -> None:
        running = [(k.process, k.program.command) for k in self._keepers.values() if k.process]
        processes.remember(self._folder, {p.pid: command for p, command in running if p.returncode is None})

    async def _bring_up(self) -> None:
        """From whatever state to ready: wait for each stage, run the set-up, and say so step by step."""
        progress = self._progress
        set_up: asyncio.Task[None] | None = None
        try:
            for key, _, stages in _STEPS:
                if Stage.LIVE in stages or (Stage.WORKERS in stages and self._seeded.is_set()):
                    # A later start: the set-up only looks whether all is there, beside the workers that start.
                    set_up = set_up or asyncio.create_task(self._seed(before="live"))
                if Stage.LIVE in stages and set_up is not None:
                    await set_up
                members = [k for k in self._keepers.values() if k.program.stage in stages]
                progress.running(key, fraction=0.0 if len(members) > 1 else None)
                await self._until_ready(key, members)
                progress.done(key)
        except SetUpFailed as failed:
            self._fail(failed.message)
            return
        finally:
            if set_up is not None:
                set_up.cancel()
                await asyncio.gather(set_up, return_exceptions=True)
        progress.finish()
        self._ready_once = True
        self._settled.set()
        logger.info("The stack is ready")

    async def _until_ready(self, key: str, members: list[Keeper]) -> None:
        while waiting := [k for k in members if not k.ready.is_set()]:
            for keeper in self._keepers.values():
                if keeper.state == State.FAILED:
                    name, log = keeper.program.title, self._folder.log(keeper.program.name)
                    raise SetUpFailed(f"{name} does not start: {keeper.last_error} (log: {log})")
            self._progress.running(
                key,
                detail=f"Waiting for {', '.join(k.program.name for k in waiting)}",
                fraction=1 - len(waiting) / len(members) if len(members) > 1 else None,
            )
            await asyncio.sleep(0.1)
        self._progress.running(key, detail="")

    async def _seed(self, *, before: str) -> None:
        if self._table.seed is not None:
            env = environment.for_children(os.environ, self._stack.environment, self._folder)
            await seeding.run(self._table.seed, folder=self._folder, env=env, progress=self._progress, before=before)
            write_json(self._folder.seeded, {"history": self._stack.options.history})
        self._seeded.set()

    def _fail(self, sentence: str) -> None:
        logger.error("%s", sentence)
        self._failure = sentence
        self._progress.fail(sentence)
        self._settled.set()

    async def _until_settled(self) -> None:
        """Until the stack is ready or failed, or is asked to stop."""
        waits = [asyncio.create_task(self._settled.wait()), asyncio.create_task(self._stop.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _answer(self, command: str) -> dict[str, Any]:
        if command == "status":
            return self._status()
        if command == "heal":
            return await self._heal()
        if command == "stop":
            self._stop.set()
            return {"stopping": True}
        return {"error": f"Unknown command {command}."}

    def _status(self) -> dict[str, Any]:
        ready = self._ready_once and all(k.ready.is_set() for k in self._keepers.values())
        return {
            "ready": ready and self._failure is None,
            "failed": self._failure,
            "stopping": self._stop.is_set(),
            "processes": [k.status() for k in self._keepers.values()],
        }

    async def _heal(self) -> dict[str, Any]:
        """Start what is dead, at once, and answer when the stack is ready or cannot become so."""
        await asyncio.sleep(0.25)  # a process killed just now has been noticed after this
        for keeper in self._keepers.values():
            keeper.heal()
        if self._failure is not None:
            self._failure = None
            self._settled.clear()
            self._progress = self._new_progress()
            self._spawn(self._bring_up())
        await self._until_settled()
        while not self._stop.is_set():
            status = self._status()
            if status["ready"]:
                return {"ready": True, "summary": environment.summary(self._stack.environment)}
            down = next((k for k in self._keepers.values() if k.state == State.FAILED), None)
            if status["failed"]:
                return {"failed": status["failed"]}
            if down:
                return {"failed": f"{down.program.title} does not stay up: {down.last_error}"}
            await asyncio.sleep(0.1)
        return {"stopping": True}

    async def _beat(self) -> None:
        """The page takes a progress that is not written any more for a start that nobody is at."""
        while True:
            if not self._settled.is_set():
                self._progress.beat()
            await asyncio.sleep(_BEAT_SECONDS)

    async def _rotate_logs(self) -> None:
        while True:
            for log in self._folder.logs.glob("*.log"):
                logs.rotate(log)
            await asyncio.sleep(_LOG_CHECK_SECONDS)

    async def _end(self) -> None:
        """Stop everything, last stage first, and only then let go of the folder."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stage in reversed(Stage):
            await asyncio.gather(*(k.stop() for k in self._keepers.values() if k.program.stage == stage))
        self._folder.children.unlink(missing_ok=True)
        self._control.withdraw()
        self._lock.close()
        await self._control.hang_up()
