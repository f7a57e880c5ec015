"""What every HTTP request passes before Streamlit sees it: one host name, safe headers and cookies, links kept.

Plain ASGI, no session of its own. Streamlit's sign-in returns to the front page and its cookies are long-lived and
without `Secure`; both are put right here, at the edge, because the framework has no setting for them.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

NEXT_COOKIE = "fraud_desk_next"
SIGN_IN_SECONDS = 8 * 3600  # as long as the token of the embedded provider; the token's own expiry is checked as well
_NEXT_SECONDS = 600
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_NOT_PAGES = ("/_stcore", "/auth/", "/oauth2callback", "/app/static/", "/static/", "/media", "/component", "/readyz")
_READ_BY_SCRIPTS = ("_streamlit_xsrf",)  # double-submit: the page's script has to read it
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"frame-ancestors 'none'; object-src 'none'; base-uri 'self'"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def local_path(value: str) -> str | None:
    """`value` if it is the path of a page of ours, else None: never another host, never the routes of the sign-in."""
    if not value.startswith("/") or value.startswith("//") or re.search(r"[\\\x00-\x20\x7f]", value):
        return None
    parts = urlsplit(value)
    if parts.scheme or parts.netloc or (parts.path + "/").startswith(_NOT_PAGES):
        return None
    return value


class Edge:
    """`public_url` is where people reach the desk. On loopback all of its names lead to the one in `public_url`,
    because the cookies of a sign-in that began on `localhost` are not sent to `127.0.0.1`.
    """

    def __init__(self, app: App, *, public_url: str) -> None:
        self._app = app
        parts = urlsplit(public_url.replace(":{port}", ""))
        self._https = parts.scheme == "https"
        self._loopback = parts.hostname if parts.hostname in _LOOPBACK else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path, page = scope["path"], _is_page(scope, request)
        if path.startswith("/_stcore/metrics"):
            await _answer(send, 404, [])
            return
        if page and (elsewhere := self._other_name(scope, request)):
            await _answer(send, 307, [(b"location", elsewhere.encode("latin-1"))])
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [self._tighten(name, value) for name, value in message["headers"]]
                headers += self._links(path, scope, request, headers, page=page, status=message["status"])
                present = {name.lower() for name, _ in headers}
                headers += [header for header in _HEADERS if header[0] not in present]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_on)

    def _other_name(self, scope: Scope, request: dict[str, str]) -> str | None:
        """Where to go instead when the browser uses another name of this machine than the sign-in does."""
        host, colon, port = request.get("host", "").rpartition(":")
        if not colon or not port.isdigit():
            host, colon, port = request.get("host", ""), "", ""
        if self._loopback is None or host == self._loopback or host not in _LOOPBACK:
            return None
        query = scope["query_string"].decode("latin-1")
        return f"http://{self._loopback}{colon}{port}{quote(scope['path'])}" + (f"?{query}" if query else "")

    def _links(
        self, path: str, scope: Scope, request: dict[str, str], headers: Headers, *, page: bool, status: int
    ) -> Headers:
        """Remember the page that is wanted, and after a sign-in that worked go there. Changes Location in `headers`."""
        if page:
            query = scope["query_string"].decode("latin-1")
            return self._keep(quote(path) + (f"?{query}" if query else ""))
        if path == "/auth/login":
            # A link followed inside the page never reached the server, but the browser says where it comes from.
            came_from = urlsplit(request.get("referer", ""))
            if came_from.netloc == request.get("host") and came_from.path not in ("", "/"):
                return self._keep(came_from.path + (f"?{came_from.query}" if came_from.query else ""))
        signed_in = any(n.lower() == b"set-cookie" and v.startswith(b"_streamlit_user=") for n, v in headers)
        if path == "/oauth2callback" and 300 <= status < 400 and signed_in:
            wanted = local_path(unquote(_cookie(request, NEXT_COOKIE)))
            for index, (name, _) in enumerate(headers):
                if wanted and name.lower() == b"location":
                    headers[index] = (name, wanted.encode("latin-1", "ignore"))
            return [self._tighten(b"set-cookie", f"{NEXT_COOKIE}=; Path=/; Max-Age=0".encode())]
        return []

    def _keep(self, wanted: str) -> Headers:
        if local_path(wanted) is None or len(wanted) > 2000:
            return []
        cookie = f"{NEXT_COOKIE}={quote(wanted, safe='')}; Path=/; Max-Age={_NEXT_SECONDS}"
        return [self._tighten(b"set-cookie", cookie.encode("latin-1"))]

    def _tighten(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """Every cookie: SameSite, HttpOnly unless scripts need it, Secure where people come by https."""
        if name.lower() != b"set-cookie":
            return name, value
        cookie, *attributes = [part.strip() for part in value.decode("latin-1").split(";")]
        known = {attribute.partition("=")[0].lower(): attribute for attribute in attributes}
        known.setdefault("samesite", "SameSite=Lax")
        if not cookie.startswith(_READ_BY_SCRIPTS):
            known["httponly"] = "HttpOnly"
        if self._https:
            known["secure"] = "Secure"
        if cookie.startswith("_streamlit_user") and known.get("max-age", "").partition("=")[2] not in ("", "0"):
            known["max-age"] = f"Max-Age={SIGN_IN_SECONDS}"
            known.pop("expires", None)
        return name, "; ".join((cookie, *known.values())).encode("latin-1")


def _is_page(scope: Scope, request: dict[str, str]) -> bool:
    navigates = scope["method"] == "GET" and "text/html" in request.get("accept", "")
    return navigates and not (scope["path"] + "/").startswith(_NOT_PAGES)


def _cookie(request: dict[str, str], name: str) -> str:
    parts: Iterable[str] = (part.strip() for part in request.get("cookie", "").split(";"))
    return next((part.partition("=")[2] for part in parts if part.startswith(f"{name}=")), "")


async def _answer(send: Send, status: int, headers: Headers) -> None:
    headers = [*headers, *_HEADERS, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
