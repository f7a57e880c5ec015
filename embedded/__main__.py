"""`python -m embedded up|status|down --state DIR`: the whole desk without the screens, on one machine.

`up` prints one JSON line on stdout when the stack is ready and stays in the foreground; everything for people goes to
stderr. Exit codes: 0 ended as asked, 1 the stack could not become ready, 2 it could not be started at all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

from embedded.seed import MAX_HISTORY, MIN_HISTORY
from embedded.traffic import MAX_RATE
from services.errors import ServiceError

if TYPE_CHECKING:
    from embedded.control import Control
    from embedded.programs import Stack, Table
    from embedded.state_folder import StateFolder

_HAND_OVER_SECONDS = 60.0  # a stack that is stopping takes this long at most


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m embedded", description="Fraud Desk's services on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument("--state", metavar="DIR", help="state folder (default: FRAUD_DESK_STATE, else .fraud-desk)")
    up = commands.add_parser("up", parents=[state], help="start the stack, or find and heal the one that runs")
    up.add_argument(
        "--history", type=_history, default=120_000, metavar="N", help="transactions to seed on a first start"
    )
    up.add_argument("--rate", type=_rate, default=2.0, metavar="TPS", help="live transactions a second")
    up.add_argument("--seed", type=_seed, default=7, metavar="S", help="seed of the simulated world")
    up.add_argument("--no-restart", action="store_true", help="leave dead processes dead until the next up (drills)")
    up.add_argument("--leash", type=int, metavar="FD", help=argparse.SUPPRESS)
    status = commands.add_parser("status", parents=[state], help="what runs and what it holds")
    status.add_argument("--json", action="store_true", help="one JSON object instead of lines for people")
    commands.add_parser("down", parents=[state], help="stop the stack; its data stays")
    return parser


def _history(text: str) -> int:
    with contextlib.suppress(ValueError):
        if MIN_HISTORY <= (number := int(text)) <= MAX_HISTORY:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {MIN_HISTORY} to {MAX_HISTORY}")


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (number := float(text)) <= MAX_RATE:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to {MAX_RATE:g}")


def _seed(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (number := int(text)) < 2**31:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2147483647")


def main(argv: Sequence[str] | None = None, *, table_of: Callable[[Stack], Table] | None = None) -> int:
    """`table_of` replaces the standard table of processes."""
    arguments = _parser().parse_args(argv)
    if sys.platform not in ("linux", "darwin"):
        print(
            "The embedded stack runs on Linux and macOS; on Windows use WSL, or set MONGODB_URI and the AWS variables "
            "to services of your own.",
            file=sys.stderr,
        )
        return 2
    from embedded.state_folder import StateFolder

    try:
        folder = StateFolder.at(arguments.state)
        if arguments.command == "up":
            return _up(folder, arguments, table_of)
        if arguments.command == "status":
            return _status(folder, as_json=arguments.json)
        return _down(folder)
    except ServiceError as error:
        _notify(getattr(arguments, "leash", None), f"failed: {error.message}")
        print(error.message, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _notify(leash: int | None, line: str) -> None:
    """Tell the process that holds the other end of the leash; it may have gone."""
    if leash is not None:
        with contextlib.suppress(OSError):
            os.write(leash, line.encode() + b"\n")


def _up(folder: StateFolder, arguments: argparse.Namespace, table_of: Callable[[Stack], Table] | None) -> int:
    folder.prepare()
    deadline = time.monotonic() + _HAND_OVER_SECONDS
    while True:
        lock = folder.try_lock()
        if lock is not None:
            return _own(folder, lock, arguments, table_of)
        began = time.monotonic()
        joined = _join(folder, arguments.leash)
        if joined is not None:
            return joined
        if time.monotonic() - began > 1.0:
            deadline = time.monotonic() + _HAND_OVER_SECONDS  # it ran for a while and has just ended
        if time.monotonic() > deadline:
            raise ServiceError(f"Another process holds {folder.lock} and does not answer; end it and try again.")
        time.sleep(0.1)  # the owner has just begun, or is about to end


def _own(
    folder: StateFolder, lock: IO[bytes], arguments: argparse.Namespace, table_of: Callable[[Stack], Table] | None
) -> int:
    import asyncio

    from embedded import environment, programs
    from embedded.supervisor import Supervisor, prepare

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    options = programs.Options(arguments.history, arguments.rate, arguments.seed, not arguments.no_restart)
    stack, first = prepare(folder, options)
    leashed = arguments.leash is not None
    if first and not leashed:
        print(environment.sign_in_block(environment.load_people(folder)[0], folder), file=sys.stderr, flush=True)

    async def supervise() -> int:
        supervisor = Supervisor(stack, table_of or programs.standard, lock=lock, leash=arguments.leash)
        _notify(arguments.leash, "environment")
        code = await supervisor.run(_print_line, stay_when_failed=leashed)
        if code:
            print(supervisor.failure, file=sys.stderr)
        return code

    return asyncio.run(supervise())


def _join(folder: StateFolder, leash: int | None) -> int | None:
    """Heal the stack that runs and stay until it ends (Ctrl-C leaves it running); None if it is not there (yet)."""
    from embedded.control import Control, NotRunning

    try:
        with Control(folder) as control:
            if control.ask("status", timeout_s=10).get("stopping"):
                control.wait_end()
                return None
            _notify(leash, "environment")
            print(f"Found the stack of {folder.path} (process {control.pid}).", file=sys.stderr)
            if leash is not None:
                return _stay_by(control, leash)
            answer = control.ask("heal", timeout_s=None)
            if answer.get("stopping"):
                control.wait_end()
                return None
            if "summary" not in answer:
                print(answer.get("failed") or "The stack did not become ready.", file=sys.stderr)
                return 1
            _print_line(answer["summary"])
            control.wait_end()
            return 0
    except NotRunning:
        return None


def _stay_by(control: Control, leash: int) -> int | None:
    """Have the dead started, without waiting: the page shows the progress. Then stay for as long as the screens hold
    the leash: when the stack ends under them (its owner was closed), None asks the caller to take it over.
    """
    from embedded.control import NotRunning

    with contextlib.suppress(NotRunning):
        control.ask("heal", timeout_s=0.5)
    return None if control.wait_end_or_hang_up(leash) else 0


def _print_line(summary: dict[str, Any]) -> None:
    print(json.dumps(summary), flush=True)


def _status(folder: StateFolder, *, as_json: bool) -> int:
    from embedded import status

    found = status.collect(folder)
    if as_json:
        print(json.dumps(found))
        return 0
    print(f"{folder.path}: {'ready' if found['ready'] else 'not ready'}")
    for process in found["processes"]:
        error = f"  {process['last_error']}" if process["last_error"] else ""
        pid, restarts = process["pid"] or "-", process["restarts"]
        print(f"  {process['name']:<10} {process['state']:<9} {pid:<8} {restarts} restarts{error}")
    for name in ("transactions", "scored", "labelled", "lake_rows"):
        print(f"  {name:<13} {'not known' if found[name] is None else found[name]}")
    return 0


def _down(folder: StateFolder) -> int:
    """Stop the stack, whoever owns it, and whatever a killed owner left behind."""
    from embedded import processes
    from embedded.control import Control, NotRunning

    if not folder.lock.exists():
        return 0  # nothing was ever started here, and a folder of somebody else's is left as it is
    deadline = time.monotonic() + _HAND_OVER_SECONDS
    while (lock := folder.try_lock()) is None:
        try:
            with Control(folder) as control:
                control.ask("stop")
                control.wait_end(timeout_s=_HAND_OVER_SECONDS)
        except NotRunning:
            time.sleep(0.1)
        if time.monotonic() > deadline:
            raise ServiceError(f"The stack of {folder.path} did not stop in {_HAND_OVER_SECONDS:.0f} s.")
    with lock:
        processes.end_leftovers(folder)
        folder.control.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
