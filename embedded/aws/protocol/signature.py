"""Check AWS Signature Version 4 of a request, so that only holders of the credentials are served.

Loopback is open to every program and, through a browser, to every web page on the machine; the signature closes both.
Source: "Signature Version 4 signing process", AWS General Reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from embedded.aws.errors import AwsError

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_CLOCK_SKEW_SECONDS = 900
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _canonical_query(query: str) -> str:
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{k}={v}" for k, v in pairs)


@dataclass(slots=True)
class SignatureCheck:
    """Verifies requests for one pair of credentials; derived signing keys are kept (one a day, region and service)."""

    access_key: str
    secret_key: str
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _keys: dict[tuple[str, str, str], bytes] = field(default_factory=dict)

    def check(self, method: str, raw_path: str, query: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raises AwsError (403) with the code of the real services when the request is not properly signed."""
        authorization = headers.get("authorization")
        if not authorization:
            raise AwsError("MissingAuthenticationToken", "Missing Authentication Token", 403)
        parts = _HEADER.fullmatch(authorization)
        if parts is None:
            raise AwsError("IncompleteSignature", "The Authorization header is not a complete version 4 signature", 403)
        if not hmac.compare_digest(parts["key"], self.access_key):
            message = "The security token included in the request is invalid."
            raise AwsError("UnrecognizedClientException", message, 403)
        stamp = headers.get("x-amz-date", "")
        self._check_age(stamp, parts["date"])
        names = parts["headers"].split(";")
        signed = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names)
        # Services other than S3 encode the path a second time.
        path = quote(raw_path or "/", safe="/-_.~")
        digest = hashlib.sha256(body).hexdigest()
        canonical = "\n".join((method, path, _canonical_query(query), signed, parts["headers"], digest))
        scope = f"{parts['date']}/{parts['region']}/{parts['service']}/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = self._signing_key(parts["date"], parts["region"], parts["service"])
        expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, parts["signature"]):
            raise AwsError("InvalidSignatureException", _MISMATCH, 403)

    def _check_age(self, stamp: str, date: str) -> None:
        try:
            sent = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise AwsError("IncompleteSignature", "x-amz-date is missing or malformed", 403) from None
        if not stamp.startswith(date) or abs((self.now() - sent).total_seconds()) > _CLOCK_SKEW_SECONDS:
            raise AwsError("InvalidSignatureException", f"Signature expired: {stamp} is not close to now", 403)

    def _signing_key(self, date: str, region: str, service: str) -> bytes:
        found = self._keys.get((date, region, service))
        if found is None:
            if len(self._keys) > 64:
                self._keys.clear()
            found = _hmac(_hmac(_hmac(_hmac(f"AWS4{self.secret_key}".encode(), date), region), service), "aws4_request")
            self._keys[date, region, service] = found
        return found
