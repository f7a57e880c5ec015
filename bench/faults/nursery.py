"""`python -m bench.faults.nursery`: forks workers that have everything imported, so that a start costs milliseconds.

Reads one JSON object a line: {id, program, environment, log, calls, shots: [[call, moment, nth, deed]], constants:
{module: {name: value}}}. Answers {id, pid} and, when the child is gone and reaped, {id, status} (negative: the signal).
Nothing is opened before a fork: no connection, no thread of ours.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from bench.faults.calls import CATALOG_CALL, Ammunition, Deed, Moment, Point, Shot, mongo_call

_PRELOADED = (
    "workers.stream",
    "workers.curator",
    "pyarrow.parquet",
    "pyiceberg.io.pyarrow",
    "sqlalchemy.dialects.sqlite",
    "bench.faults.maintenance",
)


def main() -> int:
    for name in _PRELOADED:
        importlib.import_module(name)
    _warm()
    gc.freeze()
    _answer({"ready": os.getpid()})
    children: dict[int, tuple[Any, int]] = {}  # the read end of each child's pipe -> its number and pid
    buffered = b""
    while True:
        ready, _, _ = select.select([0, *children], [], [])
        for descriptor in ready:
            if descriptor != 0:
                number, pid = children.pop(descriptor)
                os.close(descriptor)
                _, status = os.waitpid(pid, 0)
                _answer({"id": number, "status": os.waitstatus_to_exitcode(status)})
                continue
            received = os.read(0, 1 << 16)
            if not received:
                for _, pid in children.values():
                    os.kill(pid, signal.SIGKILL)
                return 0
            *lines, buffered = (buffered + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                end, pid = _fork(order, children)
                children[end] = (order["id"], pid)
                _answer({"id": order["id"], "pid": pid})


def _warm() -> None:
    """Read boto3's models once for all children. Opens no connection."""
    import boto3

    boto3.client("s3", region_name="us-east-1")


def _answer(message: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _fork(order: Mapping[str, Any], children: Mapping[int, object]) -> tuple[int, int]:
    """The child holds the write end until its death, whatever kills it."""
    mine, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return mine, pid
    for descriptor in (mine, *children):
        os.close(descriptor)
    return _become(order)


def _become(order: Mapping[str, Any]) -> NoReturn:
    status = 70
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(order["environment"])
        for module, values in order["constants"].items():
            for name, value in values.items():
                getattr(loaded := importlib.import_module(module), name)  # one that is gone must not pass unnoticed
                setattr(loaded, name, value)
        shots = [Shot(Point(call, Moment(moment)), nth, Deed(deed)) for call, moment, nth, deed in order["shots"]]
        _watch(Ammunition(shots), order["calls"])
        sys.argv = [order["program"]]
        status = _PROGRAMS[order["program"]]()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        logging.shutdown()
        os._exit(status)


def _stream() -> int:
    from workers import stream

    return stream.main([])


def _curator() -> int:
    from workers import curator

    return curator.main()


def _maintenance() -> int:
    from bench.faults import maintenance

    return maintenance.main()


_PROGRAMS: dict[str, Callable[[], int]] = {"stream": _stream, "curator": _curator, "maintenance": _maintenance}


def _watch(ammunition: Ammunition, calls: str) -> None:
    """Tell of each call to MongoDB and the catalog in the file `calls`, and die where it is due."""
    file = os.open(calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def passed(call: str, moment: Moment) -> None:
        if moment is Moment.BEFORE:
            ammunition.failure(call)
            if ammunition.seen[call] == 1:
                os.write(file, f"seen {call}\n".encode())
        if shot := ammunition.shot(call, moment):
            os.write(file, f"fired {moment} {call}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL if shot.deed is Deed.KILL else signal.SIGSTOP)

    _watch_mongo(passed)
    _watch_catalog(passed)


def _watch_mongo(passed: Callable[[str, Moment], None]) -> None:
    from pymongo import monitoring

    class Listener(monitoring.CommandListener):
        def __init__(self) -> None:
            self._under_way: dict[int, str] = {}

        def started(self, event: monitoring.CommandStartedEvent) -> None:
            name = event.command_name
            call = mongo_call(name, event.command.get("collection" if name == "getMore" else name))
            if call is not None:
                self._under_way[event.request_id] = call
                passed(call, Moment.BEFORE)

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            if (call := self._under_way.pop(event.request_id, None)) is not None:
                passed(call, Moment.AFTER)

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            self._under_way.pop(event.request_id, None)

    monitoring.register(Listener())


def _watch_catalog(passed: Callable[[str, Moment], None]) -> None:
    """Around every commit of the Iceberg catalog's database."""
    from sqlalchemy.engine.default import DefaultDialect

    commit = DefaultDialect.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        passed(CATALOG_CALL, Moment.BEFORE)
        commit(self, connection)
        passed(CATALOG_CALL, Moment.AFTER)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


if __name__ == "__main__":
    os._exit(main())  # without the interpreter's last collection: what is frozen is not to be touched
