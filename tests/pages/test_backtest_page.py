"""The screen Backtest over the real runs; the process beside the desk is one that prints a real report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from services import backtest
from services.access import Actor, Role
from services.backtest_engine import PlanEngine
from services.backtest_protocol import Request
from services.backtest_runs import BacktestRuns, State
from services.errors import Conflict, Denied
from tests.pages.conftest import Open, failed, text_of
from tests.unit.small_portfolio import small
from ui import backtest_view, charts, charts_backtest
from ui.backtest_form import usual_days

ADMIN = Actor("a", "Ada Admin", Role.ADMIN)
ASKED = Request(date(2024, 2, 12), date(2024, 2, 25), train_days=21)
Beside = Callable[..., BacktestRuns]


@cache
def report() -> dict[str, Any]:
    data = small()
    told = backtest.run(data, PlanEngine(data.mapping), ASKED, source="small.csv", threads=1).as_dict()
    return json.loads(json.dumps(told))


@pytest.fixture
def beside(tmp_path: Path, desk: Any) -> Beside:
    """The desk's backtests, whose process prints `out` after `seconds` and ends with `code`."""

    def made(out: str = "", *, code: int = 0, seconds: float = 0.0, said: str = "") -> BacktestRuns:
        (tmp_path / "out").write_text(out)
        script = tmp_path / "beside.py"
        script.write_text(
            "import sys, time, pathlib\n"
            'sys.stderr.write(\'{"step": "Features", "share": 0.25}\\n\')\n'
            f"sys.stderr.write({said!r}); sys.stderr.flush()\n"
            f"time.sleep({seconds})\n"
            f"sys.stdout.write(pathlib.Path({str(tmp_path / 'out')!r}).read_text()); sys.exit({code})\n"
        )
        desk.backtests = BacktestRuns(command=(sys.executable, str(script)))
        return desk.backtests

    return made


def test_an_untouched_screen_says_what_to_do_and_only_administrators_open_it(open_page: Open) -> None:
    at = open_page("admin", "backtest")
    assert not failed(at)
    assert "Nothing has been backtested yet" in text_of(at)
    assert "Your role does not open this page" in text_of(open_page("manager", "backtest"))


def test_a_run_is_started_followed_and_read(open_page: Open, beside: Beside) -> None:
    runs = beside(json.dumps(report()))
    at = open_page("admin", "backtest")
    at.button(key="backtest-run").click().run()
    done = runs.wait(30)
    assert done is not None
    assert done.state is State.DONE
    assert (done.request.first, done.request.last) == usual_days(done.started_at.date())
    at.run()
    assert not failed(at)
    shown = text_of(at)
    assert "No leak was found" in shown
    assert "Checks for leaks" in shown
    assert {metric.label for metric in at.metric} >= {"Average precision, mean", "CP@100, mean"}
    assert at.metric[0].value == f"{report()['mean']['ap']:.3f}"


def test_a_failed_check_is_the_headline(open_page: Open, beside: Beside) -> None:
    told = report() | {"checks": [{"name": "columns", "holds": False, "sentence": "The column x was written after."}]}
    runs = beside(json.dumps(told), code=3)
    runs.start(ASKED, None, actor=ADMIN)
    runs.wait(30)
    assert "Not believable: The column x was written after." in text_of(open_page("admin", "backtest"))


def test_what_could_not_be_tested_is_said_in_the_commands_words(open_page: Open, beside: Beside) -> None:
    runs = beside(code=1, said="The lake has no fraud.transactions yet.\\n")
    runs.start(ASKED, None, actor=ADMIN)
    ended = runs.wait(30)
    assert ended is not None
    assert ended.state is State.FAILED
    assert "The lake has no fraud.transactions yet." in text_of(open_page("admin", "backtest"))


def test_one_run_at_a_time_which_can_be_cancelled(open_page: Open, beside: Beside) -> None:
    runs = beside(seconds=60.0)
    runs.start(ASKED, None, actor=ADMIN)
    with pytest.raises(Conflict, match="Ada Admin started a backtest"):
        runs.start(ASKED, None, actor=ADMIN)
    with pytest.raises(Denied):
        runs.cancel(actor=Actor("m", "Max", Role.MANAGER))
    at = open_page("admin", "backtest")
    assert at.button(key="backtest-run").disabled
    at.button(key="backtest-cancel").click().run()
    ended = runs.wait(30)
    assert ended is not None
    assert ended.state is State.CANCELLED
    assert "was cancelled" in text_of(at)


def test_days_that_make_no_protocol_are_refused_beside_the_form(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "backtest")
    at.date_input(key="backtest_days").set_value((date(2024, 2, 12), date(2024, 2, 13)))
    at.button(key="backtest-run").click().run()
    assert "fewer than one test window of 7" in text_of(at)
    assert desk.backtests.latest() is None


def test_a_file_is_asked_for_before_anything_starts(open_page: Open, desk: Any) -> None:
    at = open_page("admin", "backtest")
    at.segmented_control(key="backtest_source").set_value("file").run()
    at.button(key="backtest-run").click().run()
    assert "Choose a file first" in text_of(at)


def test_folds_are_drawn_with_mean_and_spread_and_taken_along() -> None:
    told = report()
    figure = charts_backtest.folds(
        told["folds"], "ap", mean=told["mean"]["ap"], spread=told["spread"]["ap"], colors=charts.LIGHT
    )
    assert list(figure.data[0].y) == [fold["ap"] for fold in told["folds"]]
    band = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    assert band.y1 - band.y0 == pytest.approx(2 * told["spread"]["ap"]["sd"])
    lines = backtest_view.csv(told).decode("utf-8-sig").splitlines()
    assert lines[0].startswith("fold,train_from")
    assert len(lines) == 3
    nothing = charts_backtest.folds(
        [told["folds"][0] | {"ap": None}], "ap", mean=None, spread=None, colors=charts.LIGHT
    )
    assert nothing.layout.annotations[0].text == "No fold had a fraud to find"
