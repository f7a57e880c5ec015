"""The provider's endpoints (OpenID Connect Core 1.0, RFC 6749, RFC 7636): one client, redirects to loopback only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from embedded.environment import Person
from embedded.oidc import page
from embedded.oidc.grants import Attempts, Codes, Grant, proves
from embedded.oidc.tokens import TOKEN_SECONDS, Tokens, claims_of
from embedded.state_folder import PROJECT

CALLBACK_PATH = "/oauth2callback"
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_COOKIE = "fraud_desk_sign_in"
_MAX_BODY_BYTES = 16_384
_CARRIED = ("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
            "code_challenge_method")  # fmt: skip
_NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}
_WRONG = "This email and password do not match. Check both and try again."


def allowed_redirect(uri: str) -> bool:
    """Exactly http://<loopback>[:port]/oauth2callback: no user part, no query, no fragment, no other path."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if host not in _LOOPBACK_HOSTS:
        return False
    shown = f"[{host}]" if ":" in host else host
    return uri == f"http://{shown}{f':{port}' if port is not None else ''}{CALLBACK_PATH}"


@dataclass(slots=True)
class Provider:
    """`people` is asked at each sign-in, so that an edited file counts at once."""

    issuer: str
    client_id: str
    client_secret: str
    tokens: Tokens
    people: Callable[[], tuple[Person, ...]]
    people_file: str
    clock: Callable[[], float] = time.time
    codes: Codes = field(init=False)
    attempts: Attempts = field(init=False)
    _form_key: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.codes, self.attempts = Codes(self.clock), Attempts(clock=self.clock)
        self._form_key = secrets.token_bytes(32)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/jwks", self.jwks),
                Route("/authorize", self.authorize, methods=["GET"]),
                Route("/authorize", self.sign_in, methods=["POST"]),
                Route("/token", self.token, methods=["POST"]),
                Route("/userinfo", self.userinfo, methods=["GET", "POST"]),
                Route("/logout", self.logout, methods=["GET"]),
                Route("/fonts/{weight:int}.woff2", _font),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
        )

    async def discovery(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "jwks_uri": f"{self.issuer}/jwks",
                "end_session_endpoint": f"{self.issuer}/logout",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "scopes_supported": ["openid", "email", "profile"],
                "claims_supported": ["sub", "email", "email_verified", "name", "fraud_desk_role"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            }
        )

    async def jwks(self, request: Request) -> Response:
        return JSONResponse(self.tokens.public_keys())

    async def authorize(self, request: Request) -> Response:
        """Show the form, or send the browser back with the reason why not."""
        asked = dict(request.query_params)
        return self._refusal(asked) or self._form(asked)

    async def sign_in(self, request: Request) -> Response:
        """The form comes back: everything in it is checked again, for it has been in other hands."""
        form = await _form_of(request)
        refused = self._refusal(form)
        if refused is not None:
            return refused
        email = form.get("email", "").strip().lower()[:200]
        cookie = request.cookies.get(_COOKIE, "")
        if not cookie or not _same(self._form_token(cookie), form.get("form", "")):
            return self._form(form, email=email, problem="This page was open for too long. Sign in again.", status=400)
        wait = self.attempts.wait_seconds(email)
        if wait:
            return self._form(form, email=email, problem=f"Too many attempts. Try again in {wait} seconds.", status=429)
        person = self._match(email, form.get("password", ""))
        if person is None:
            self.attempts.failed(email)
            return self._form(form, email=email, problem=_WRONG, status=401)
        self.attempts.succeeded(email)
        grant = Grant(
            person.sub, form["client_id"], form["redirect_uri"], form["code_challenge"], form.get("nonce"),
            int(self.clock()),
        )  # fmt: skip
        return _back(form, code=self.codes.issue(grant))

    async def token(self, request: Request) -> Response:
        form = await _form_of(request)
        if not self._client_is_known(request, form):
            return _oauth_error("invalid_client", 401, {"www-authenticate": 'Basic realm="token"'})
        if form.get("grant_type") != "authorization_code":
            return _oauth_error("unsupported_grant_type", 400)
        code = form.get("code", "")
        grant = self.codes.redeem(code)
        if grant is None:
            if (given := self.codes.given_before(code)) is not None:
                self.tokens.revoke(given)
            return _oauth_error("invalid_grant", 400)
        person = next((p for p in self.people() if p.sub == grant.subject), None)
        same_redirect = _same(grant.redirect_uri, form.get("redirect_uri", ""))
        if person is None or not same_redirect or not proves(form.get("code_verifier", ""), grant.challenge):
            return _oauth_error("invalid_grant", 400)
        access = secrets.token_urlsafe(32)
        self.tokens.grant_access(access, person.sub)
        self.codes.gave(code, access)
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": "openid email profile",
        }
        return JSONResponse(answer | {"id_token": self.tokens.id_token(person, grant)}, headers=_NO_STORE)

    async def userinfo(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        subject = self.tokens.subject_of(token.strip()) if scheme.lower() == "bearer" else None
        person = next((p for p in self.people() if p.sub == subject), None)
        if person is None:
            return _oauth_error("invalid_token", 401, {"www-authenticate": 'Bearer error="invalid_token"'})
        return JSONResponse(claims_of(person), headers=_NO_STORE)

    async def logout(self, request: Request) -> Response:
        """There is no session here to end; the browser goes back to the desk, which has ended its own."""
        back, state = request.query_params.get("post_logout_redirect_uri", ""), request.query_params.get("state")
        if allowed_redirect(back):
            return RedirectResponse(back + (f"?{urlencode({'state': state})}" if state else ""), 302)
        return _page(lambda nonce: page.message("Signed out", "You can close this window.", style_nonce=nonce), 200)

    def _refusal(self, asked: Mapping[str, str]) -> Response | None:
        """Why this request cannot go on, or None. Never redirects to an address that was not checked."""
        if not _same(asked.get("client_id", ""), self.client_id):
            return _broken("This sign-in request names an application that is not registered here.")
        if not allowed_redirect(asked.get("redirect_uri", "")):
            return _broken("This sign-in request would send you to an address that is not registered here.")
        if asked.get("response_type") != "code":
            return _back(asked, error="unsupported_response_type")
        if "openid" not in asked.get("scope", "").split():
            return _back(asked, error="invalid_scope")
        if asked.get("code_challenge_method") != "S256" or not 43 <= len(asked.get("code_challenge", "")) <= 128:
            return _back(asked, error="invalid_request", error_description="PKCE with S256 is required")
        return None

    def _form(
        self, asked: Mapping[str, str], *, email: str = "", problem: str | None = None, status: int = 200
    ) -> Response:
        cookie = secrets.token_urlsafe(24)
        fields = {name: asked[name] for name in _CARRIED if name in asked} | {"form": self._form_token(cookie)}
        response = _page(
            lambda nonce: page.sign_in(
                fields=fields, email=email, problem=problem, people_file=self.people_file, style_nonce=nonce
            ),
            status,
            # Chromium holds a redirect after a form to form-action too, so the desk's address belongs in it.
            form_action=f"'self' {asked['redirect_uri'].removesuffix(CALLBACK_PATH)}",
        )
        response.set_cookie(_COOKIE, cookie, max_age=3600, path="/authorize", httponly=True, samesite="strict")
        return response

    def _form_token(self, cookie: str) -> str:
        """The form's proof that it was made for the browser that holds the cookie."""
        return hmac.new(self._form_key, cookie.encode(), hashlib.sha256).hexdigest()

    def _match(self, email: str, password: str) -> Person | None:
        """Takes the same time whether the email is known or not."""
        found: Person | None = None
        for person in self.people():
            if _same(person.email.lower(), email):
                found = person
        expected = found.password if found else secrets.token_hex(8)
        return found if _same(expected, password) else None

    def _client_is_known(self, request: Request, form: MutableMapping[str, str]) -> bool:
        client, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                client, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return False
            client, secret = unquote_plus(client), unquote_plus(secret)
        known = _same(client, self.client_id)
        return _same(secret, self.client_secret) and known


def _same(left: str, right: str) -> bool:
    """Equality whose time does not tell how much of the two agrees."""
    return hmac.compare_digest(left.encode(), right.encode())


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a URL-encoded body; an oversized or undecodable one is an empty form."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except (UnicodeDecodeError, ValueError):
        return {}


def _back(asked: Mapping[str, str], **values: str) -> Response:
    """Send the browser back to the application, whose address has been checked."""
    if asked.get("state"):
        values["state"] = asked["state"]
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(values)}", 303, headers=_NO_STORE)


def _broken(sentence: str) -> Response:
    return _page(lambda nonce: page.message("This sign-in cannot continue", sentence, style_nonce=nonce), 400)


def _page(draw: Callable[[str], str], status: int, *, form_action: str = "'none'") -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; font-src 'self'; img-src data:; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    headers = _NO_STORE | {
        "content-security-policy": policy,
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return HTMLResponse(draw(nonce), status, headers=headers)


def _oauth_error(error: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, headers={**_NO_STORE, **(headers or {})})


async def _font(request: Request) -> Response:
    weight: Any = request.path_params["weight"]
    if weight not in (400, 500, 600):
        return Response(status_code=404)
    file = PROJECT / "ui" / "static" / "fonts" / f"ibm-plex-sans-latin-{weight}-normal.woff2"
    return FileResponse(file, media_type="font/woff2", headers={"cache-control": "public, max-age=86400"})
