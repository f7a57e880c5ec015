"""What the processes say to somebody who has set half of the variables: a sentence that names the other half."""

import os
import subprocess
import sys

import pytest

from embedded.state_folder import PROJECT

DATABASE = {"MONGODB_URI": "mongodb://127.0.0.1:9/", "FRAUD_DESK_BUCKET": "b"}
PROVIDER = {
    "FRAUD_DESK_OIDC_METADATA_URL": "http://127.0.0.1:9/x",
    "FRAUD_DESK_OIDC_CLIENT_ID": "c",
    "FRAUD_DESK_OIDC_CLIENT_SECRET": "s",
    "FRAUD_DESK_COOKIE_SECRET": "short",
}


def run(arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=kept | variables, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", ["scorer", "stream", "curator", "lifecycle"])
def test_a_worker_without_its_variables_ends_with_a_sentence(name: str) -> None:
    done = run(["-m", f"workers.{name}"], {"FRAUD_DESK_CURATOR_SECONDS": "soon"})
    assert done.returncode == 2
    assert done.stderr.startswith("Before Fraud Desk can start: set MONGODB_URI; set FRAUD_DESK_BUCKET; ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (DATABASE, f"nobody could sign in: set {', '.join(PROVIDER)}"),
        (
            DATABASE | PROVIDER | {"FRAUD_DESK_OIDC_CLIENT_ID": ""},
            "nobody could sign in: set FRAUD_DESK_OIDC_CLIENT_ID.",
        ),
        (DATABASE | PROVIDER, "FRAUD_DESK_COOKIE_SECRET must have at least 32 characters"),
    ],
)
def test_the_screens_do_not_start_where_nobody_could_sign_in(variables: dict[str, str], said: str) -> None:
    done = run(["-W", "ignore", "-c", "import app"], variables)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
