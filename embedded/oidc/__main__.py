"""`python -m embedded.oidc --port P --state DIR`: serve the sign-in provider of a state folder on loopback."""

from __future__ import annotations

import argparse

import uvicorn

from embedded.environment import CLIENT_ID, load_people, load_secrets
from embedded.oidc.provider import Provider
from embedded.oidc.tokens import Tokens, load_key
from embedded.ports import LOOPBACK
from embedded.state_folder import StateFolder


def provider_of(folder: StateFolder, port: int) -> Provider:
    """The provider with the folder's key, client secret and people. Its issuer is its own loopback address."""
    folder.prepare()
    issuer = f"http://{LOOPBACK}:{port}"
    return Provider(
        issuer=issuer,
        client_id=CLIENT_ID,
        client_secret=load_secrets(folder).oidc_client_secret,
        tokens=Tokens(issuer, load_key(folder.path / "oidc" / "key.json")),
        people=lambda: load_people(folder)[0],
        people_file=str(folder.people),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m embedded.oidc", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True, metavar="DIR")
    arguments = parser.parse_args()
    provider = provider_of(StateFolder.at(arguments.state), arguments.port)
    uvicorn.run(
        provider.app(), host=LOOPBACK, port=arguments.port, log_level="warning", access_log=False, server_header=False
    )


if __name__ == "__main__":
    main()
