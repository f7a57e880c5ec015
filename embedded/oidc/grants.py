"""What the provider remembers between requests: codes, access tokens, failed attempts. In memory, bounded, by time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
CODE_SECONDS = 60
_MAX_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code stands for. `challenge` is the PKCE S256 challenge; `nonce` goes back in the token unchanged."""

    subject: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    signed_in_at: int


class Codes:
    """Codes are good once, for CODE_SECONDS. A second use takes back what the first one gave (RFC 6749, 4.1.2)."""

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._open: dict[str, tuple[float, Grant]] = {}
        self._used: dict[str, str] = {}

    def issue(self, grant: Grant) -> str:
        now = self._clock()
        self._open = {code: kept for code, kept in self._open.items() if kept[0] > now}
        code = secrets.token_urlsafe(32)
        self._open[code] = (now + CODE_SECONDS, grant)
        return code

    def redeem(self, code: str) -> Grant | None:
        """The grant, once; None for an unknown, used or expired code."""
        expires, grant = self._open.pop(code, (0.0, None))
        return grant if expires > self._clock() else None

    def gave(self, code: str, access_token: str) -> None:
        while len(self._used) >= _MAX_KEPT:
            self._used.pop(next(iter(self._used)))
        self._used[code] = access_token

    def given_before(self, code: str) -> str | None:
        """The access token that this code was already exchanged for."""
        return self._used.get(code)


def proves(verifier: str, challenge: str) -> bool:
    """Whether the PKCE verifier hashes to the S256 challenge."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())


class Attempts:
    """Failed sign-ins: `limit` for one address within `window_s`, `total` for all of them together.

    Everybody comes from loopback, so the network address says nothing and the mail address is what is counted.
    """

    def __init__(self, *, limit: int = 5, total: int = 50, window_s: float = 60.0, clock: Clock = time.time) -> None:
        self._limit, self._total, self._window_s, self._clock = limit, total, window_s, clock
        self._failed: deque[tuple[float, str]] = deque(maxlen=_MAX_KEPT)

    def wait_seconds(self, email: str) -> int:
        """0 when an attempt may be made now, else how many seconds to wait."""
        now = self._clock()
        while self._failed and self._failed[0][0] <= now - self._window_s:
            self._failed.popleft()
        mine = [at for at, who in self._failed if who == email]
        full = mine if len(mine) >= self._limit else [at for at, _ in self._failed]
        if len(mine) < self._limit and len(self._failed) < self._total:
            return 0
        return math.ceil(full[0] + self._window_s - now)

    def failed(self, email: str) -> None:
        self._failed.append((self._clock(), email))

    def succeeded(self, email: str) -> None:
        self._failed = deque((entry for entry in self._failed if entry[1] != email), maxlen=_MAX_KEPT)
