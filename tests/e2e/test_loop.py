"""The loop in a browser: alert -> verdict -> S3 -> training set -> new model -> next score."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
from playwright.sync_api import expect

from services.adapters.s3 import ObjectStore
from services.domain.states import LabelValue
from services.training import ExperimentState
from services.transactions import QueueFilter, QueueView, Sort
from tests.e2e.alerts import an_open_alert

NOTE = "Customer says it was not them"


def wait_until(condition: Any, seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"within {seconds:.0f} s: {what}")


def click(page: Any, key: str) -> None:
    page.locator(f".st-key-{key} button").first.click()


def decide_riskiest(page: Any, url: str, stack: Any) -> str:
    """Start review, open the riskiest alert's own page, write a note, decide fraud; the transaction's id."""
    riskiest = an_open_alert(stack)
    page.goto(f"{url}/queue")
    click(page, "panel-start")
    expect(page.get_by_text(re.compile("Id ")).first).to_contain_text(riskiest)
    page.get_by_role("link", name="Open").click()
    page.wait_for_url(re.compile(f"/transaction\\?.*id={riskiest}"))
    note = page.get_by_role("textbox", name="Note")
    note.fill(NOTE)
    note.press("Control+Enter")
    click(page, "verdict-fraud")
    wait_until(lambda: stack.transactions.get(riskiest).label, 15, "the verdict is stored")
    return str(riskiest)


def retrain(page: Any, url: str, stack: Any) -> Any:
    page.goto(f"{url}/retrain?view=new")
    # A draft is kept where its person left it: on another step than the review there is the way to it.
    shortcut, start = page.locator(".st-key-retrain-review button"), page.locator(".st-key-retrain-start button")
    expect(shortcut.or_(start).first).to_be_visible()
    if shortcut.count():
        click(page, "retrain-review")
    expect(page.get_by_text("On this machine: no charge")).to_be_visible()
    expect(page.locator(".st-key-retrain-start button")).to_be_enabled()
    click(page, "retrain-start")
    page.wait_for_url(re.compile("id=exp-"))

    def newest() -> Any:
        experiments = stack.training.experiments(limit=1)
        done = experiments and experiments[0].finished and experiments[0].requested_by == "Ada Novak"
        return experiments[0] if done else None

    experiment = wait_until(newest, 180, "the experiment ends")
    assert experiment.state is ExperimentState.CANDIDATE, experiment.failure
    assert experiment.experiment_id in page.url
    expect(page.get_by_text("Candidate").first).to_be_visible()
    assert experiment.metrics["average_precision"] > 0
    expect(page.get_by_text("Known when training ends")).to_have_count(0)
    return experiment


def deploy(page: Any, url: str, stack: Any, version: str) -> None:
    page.goto(f"{url}/deploy")
    why = page.get_by_role("textbox", name="Why").first
    why.fill("It has learnt the latest verdicts")
    why.press("Enter")
    page.get_by_test_id("stPopover").get_by_role("button", name=re.compile(f"Deploy {version}")).click()
    page.get_by_role("button", name=f"Yes, deploy {version}").click()

    def serving() -> bool:
        current = stack.deployment.current()
        return bool(current.model_version == version and current.status == "InService" and not current.pending_version)

    wait_until(serving, 90, f"{version} serves")


def roll_back(page: Any) -> None:
    """As a person does it: open the menu, say why, confirm. Both fields are called "Why": this one is the menu's."""
    click(page, "deploy-rollback")
    reason = page.locator(".st-key-deploy-rollback-reason textarea")
    reason.fill("Testing the way back")
    reason.press("Control+Enter")
    click(page, "deploy-rollback-confirm")


def test_a_verdict_reaches_the_training_set_and_the_next_score_is_the_new_models(
    desk: Any, signed_in: Any, stack: Any
) -> None:
    former = stack.deployment.current().model_version
    decided = decide_riskiest(signed_in("analyst"), desk.url, stack)
    transaction = stack.transactions.get(decided)
    assert transaction.label.value is LabelValue.FRAUD
    assert transaction.label.labelled_by == "Ana Ruiz"
    assert transaction.labels[-1].note == NOTE

    admin = signed_in("admin")
    experiment = retrain(admin, desk.url, stack)
    objects = ObjectStore(stack.settings.bucket, region=stack.settings.region)
    body, _ = objects.get(f"training/{experiment.experiment_id}/rows.parquet")
    rows = {row["transaction_id"]: row for row in pq.read_table(io.BytesIO(body)).to_pylist()}
    assert rows[decided]["label"] == 1
    assert rows[decided]["label_source"] == "analyst"
    assert rows[decided]["split"] in ("train", "validation", "young")

    deploy(admin, desk.url, stack, experiment.model_version)
    assert experiment.model_version != former
    since = datetime.now(UTC)

    def scored_by_new() -> bool:
        page = stack.transactions.page(QueueFilter(view=QueueView.ALL, since=since), sort=Sort.NEWEST, limit=50)
        scored = [row for row in page.rows if row.score is not None]
        return bool(scored) and all(row.model_version == experiment.model_version for row in scored)

    wait_until(scored_by_new, 30, "a transaction is scored by the new version")
    admin.goto(f"{desk.url}/deploy")
    expect(admin.get_by_text(f"{experiment.model_version} serves on").first).to_be_visible()
    roll_back(admin)
    wait_until(lambda: stack.deployment.current().model_version == former, 90, f"{former} serves again")
