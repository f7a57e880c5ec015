"""Signed tokens: the provider's RSA key, kept in the state folder, and the claims of the demo people."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

from embedded.environment import Person
from embedded.oidc.grants import Grant
from embedded.state_folder import read_json, write_json

TOKEN_SECONDS = 8 * 3600  # a working day; the desk asks for a new sign-in after it
_ALGORITHM = "RS256"


def load_key(path: Path) -> RSAKey:
    """The signing key, made on the first start: tokens stay valid when the provider is started again."""
    known = read_json(path)
    if known:
        return RSAKey.import_key(known)
    key = RSAKey.generate_key(2048, parameters={"alg": _ALGORITHM, "use": "sig"}, auto_kid=True)
    write_json(path, key.as_dict(private=True))
    return key


class Tokens:
    """Issues and recognises tokens of one issuer. Access tokens are opaque, and forgotten when the provider ends."""

    def __init__(self, issuer: str, key: RSAKey, clock: Callable[[], float] = time.time) -> None:
        self._issuer, self._key, self._clock = issuer, key, clock
        self._access: dict[str, tuple[float, str]] = {}

    def public_keys(self) -> dict[str, Any]:
        return {"keys": [self._key.as_dict(private=False)]}

    def id_token(self, person: Person, grant: Grant) -> str:
        now = int(self._clock())
        claims = claims_of(person) | {
            "iss": self._issuer,
            "aud": grant.client_id,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "auth_time": grant.signed_in_at,
        }
        if grant.nonce is not None:
            claims["nonce"] = grant.nonce
        return jwt.encode({"alg": _ALGORITHM, "kid": self._key.kid}, claims, self._key)

    def grant_access(self, token: str, subject: str) -> None:
        now = self._clock()
        self._access = {kept: entry for kept, entry in self._access.items() if entry[0] > now}
        self._access[token] = (now + TOKEN_SECONDS, subject)

    def revoke(self, token: str) -> None:
        self._access.pop(token, None)

    def subject_of(self, token: str) -> str | None:
        expires, subject = self._access.get(token, (0.0, ""))
        return subject if expires > self._clock() else None


def claims_of(person: Person) -> dict[str, Any]:
    return {
        "sub": person.sub,
        "email": person.email,
        "email_verified": True,
        "name": person.name,
        "fraud_desk_role": person.role,
    }
