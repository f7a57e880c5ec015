"""A file in a browser: sent, watched, cancelled, resumed, taken along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from services.scoring_runs_rows import REQUIRED

# At several thousand rows a second still long enough to be cancelled by hand.
ROWS = 24_000


def test_a_file_is_watched_cancelled_resumed_and_taken_along(desk: Any, signed_in: Any, tmp_path: Path) -> None:
    lines = [",".join(REQUIRED)]
    for row in range(1, ROWS + 1):
        amount = "much" if row % 1000 == 0 else row
        lines.append(
            f"t{row},2026-01-20T12:00:00Z,{amount},EUR,cus_1,tok_1,431940,1234,mer_1,Shop,5732,electronics,DE,ecom,stored"
        )
    path = tmp_path / "payments.csv"
    path.write_text("\n".join(lines))
    page = signed_in("analyst")
    page.goto(f"{desk.url}/live_scoring")
    page.get_by_text("File of payments", exact=True).click()
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Score payments.csv").click()
    page.locator(".st-key-live-run-cancel button").first.click()
    page.locator(".st-key-live-run-resume button").first.click()
    expect(page.get_by_text("23,976 scored")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("24 refused").first).to_be_visible()
    with page.expect_download() as download:
        page.locator(".st-key-live-run-results-csv button").first.click()
    rows = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == [r for r in range(1, ROWS + 1) if r % 1000]
