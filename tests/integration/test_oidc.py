"""The sign-in provider, spoken to as a relying party and as a browser would."""

import asyncio
import base64
import hashlib
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from embedded.environment import load_people, load_secrets
from embedded.oidc.__main__ import provider_of
from embedded.state_folder import StateFolder

ISSUER = "http://127.0.0.1:29999"
REDIRECT = "http://127.0.0.1:8501/oauth2callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {
    "response_type": "code",
    "client_id": "fraud-desk",
    "redirect_uri": REDIRECT,
    "scope": "openid email profile",
    "state": "st&te",
    "nonce": "n-1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


class Desk:
    """One provider in this process with a clock of its own, and a client that keeps cookies as a browser does."""

    def __init__(self, folder: StateFolder) -> None:
        self.now = 1_900_000_000.0
        self.provider = provider_of(folder, 29999)
        self.provider.clock = lambda: self.now
        self.provider.__post_init__()
        self.provider.tokens._clock = lambda: self.now
        self.secret = load_secrets(folder).oidc_client_secret
        self.people = {person.role: person for person in load_people(folder)[0]}
        self.cookies = httpx.Cookies()

    def send(self, method: str, path: str, **options) -> httpx.Response:
        async def one() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.provider.app())
            async with httpx.AsyncClient(transport=transport, base_url=ISSUER, cookies=self.cookies) as client:
                answer = await client.request(method, path, **options)
                self.cookies = client.cookies
                return answer

        return asyncio.run(one())

    def form(self, **changes: str) -> dict[str, str]:
        page = self.send("GET", "/authorize", params=ASKED | changes)
        assert page.status_code == 200, page.text
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        return {name: value.replace("&amp;", "&") for name, value in hidden}

    def sign_in(self, email: str, password: str, **changes: str) -> httpx.Response:
        return self.send("POST", "/authorize", data=self.form() | {"email": email, "password": password} | changes)

    def code(self, role: str = "analyst") -> str:
        back = self.sign_in(self.people[role].email, self.people[role].password)
        assert back.status_code == 303
        return parse_qs(urlsplit(back.headers["location"]).query)["code"][0]

    def exchange(self, code: str, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        } | changes
        return self.send("POST", "/token", data=form, auth=("fraud-desk", self.secret))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StateFolder:
    return StateFolder.at(tmp_path_factory.mktemp("oidc"))


@pytest.fixture
def desk(folder: StateFolder) -> Desk:
    return Desk(folder)


def test_a_sign_in_gives_a_signed_token_with_the_persons_role(desk: Desk) -> None:
    person = desk.people["manager"]
    back = desk.sign_in(person.email.upper(), person.password)
    answer = parse_qs(urlsplit(back.headers["location"]).query)
    assert back.headers["location"].startswith(REDIRECT + "?")
    assert answer["state"] == ["st&te"]

    token = desk.exchange(answer["code"][0])
    assert token.status_code == 200
    assert token.headers["cache-control"] == "no-store"

    discovery = desk.send("GET", "/.well-known/openid-configuration").json()
    keys = KeySet.import_key_set(desk.send("GET", discovery["jwks_uri"]).json())
    claims = jwt.decode(token.json()["id_token"], keys, algorithms=["RS256"]).claims
    assert claims == {
        "iss": ISSUER,
        "aud": "fraud-desk",
        "sub": "demo-manager",
        "email": "manager@fraud-desk.example",
        "email_verified": True,
        "name": "Marc Keller",
        "fraud_desk_role": "manager",
        "nonce": "n-1",
        "iat": 1_900_000_000,
        "auth_time": 1_900_000_000,
        "exp": 1_900_000_000 + 8 * 3600,
    }
    bearer = {"authorization": f"Bearer {token.json()['access_token']}"}
    assert desk.send("GET", "/userinfo", headers=bearer).json()["email"] == person.email


def test_the_published_keys_hold_no_private_part(desk: Desk) -> None:
    (key,) = desk.send("GET", "/jwks").json()["keys"]
    assert key.keys() & {"d", "p", "q", "dp", "dq", "qi"} == set()


def test_a_wrong_password_says_so_once_and_gives_no_code(desk: Desk) -> None:
    page = desk.sign_in("analyst@fraud-desk.example", "wrong")
    assert page.status_code == 401
    assert page.text.count("do not match") == 1
    assert "location" not in page.headers
    assert 'value="analyst@fraud-desk.example"' in page.text
    assert "wrong" not in page.text.replace("aria-wrong", "")


def test_an_unknown_address_is_answered_like_a_wrong_password(desk: Desk) -> None:
    assert "do not match" in desk.sign_in("nobody@fraud-desk.example", "x").text


def test_the_sixth_wrong_attempt_within_a_minute_waits_and_then_works(desk: Desk) -> None:
    person = desk.people["analyst"]
    for _ in range(5):
        assert desk.sign_in(person.email, "wrong").status_code == 401
    refused = desk.sign_in(person.email, person.password)
    assert refused.status_code == 429
    assert "Try again in 60 seconds" in refused.text
    assert desk.sign_in(desk.people["admin"].email, desk.people["admin"].password).status_code == 303
    desk.now += 60
    assert desk.sign_in(person.email, person.password).status_code == 303


def test_a_code_is_good_once_and_its_second_use_takes_the_first_token_back(desk: Desk) -> None:
    code = desk.code()
    bearer = {"authorization": f"Bearer {desk.exchange(code).json()['access_token']}"}
    assert desk.send("GET", "/userinfo", headers=bearer).status_code == 200
    again = desk.exchange(code)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})
    assert desk.send("GET", "/userinfo", headers=bearer).status_code == 401


def test_a_code_expires_after_a_minute(desk: Desk) -> None:
    code = desk.code()
    desk.now += 60
    assert desk.exchange(code).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    "changes",
    [{"code_verifier": "x" * 64}, {"code_verifier": ""}, {"redirect_uri": "http://127.0.0.1:8502/oauth2callback"}],
)
def test_a_code_is_refused_to_whoever_did_not_ask_for_it(desk: Desk, changes: dict[str, str]) -> None:
    assert desk.exchange(desk.code(), **changes).json() == {"error": "invalid_grant"}


def test_a_wrong_client_secret_is_refused(desk: Desk) -> None:
    desk.secret = "guess"
    answer = desk.exchange(desk.code())
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.test/oauth2callback",
        "https://127.0.0.1:8501/oauth2callback",
        "http://127.0.0.1:8501/oauth2callback/",
        "http://127.0.0.1:8501/oauth2callback?next=x",
        "http://127.0.0.1:8501/oauth2callback#x",
        "http://127.0.0.1:8501/other",
        "http://127.0.0.1@evil.test/oauth2callback",
        "http://me@127.0.0.1:8501/oauth2callback",
        "http://127.0.0.1.evil.test/oauth2callback",
        "http://127.0.0.1:99999/oauth2callback",
        "//127.0.0.1/oauth2callback",
        "",
    ],
)
def test_the_browser_is_never_sent_to_an_address_that_is_not_ours(desk: Desk, uri: str) -> None:
    refused = desk.send("GET", "/authorize", params=ASKED | {"redirect_uri": uri})
    assert refused.status_code == 400
    assert "location" not in refused.headers


@pytest.mark.parametrize("uri", ["http://localhost:8502/oauth2callback", "http://[::1]:1/oauth2callback"])
def test_any_loopback_port_may_ask(desk: Desk, uri: str) -> None:
    assert desk.send("GET", "/authorize", params=ASKED | {"redirect_uri": uri}).status_code == 200


def test_a_request_without_pkce_goes_back_with_the_reason(desk: Desk) -> None:
    plain = {name: value for name, value in ASKED.items() if not name.startswith("code_challenge")}
    back = desk.send("GET", "/authorize", params=plain)
    assert parse_qs(urlsplit(back.headers["location"]).query)["error"] == ["invalid_request"]


def test_a_form_that_another_site_sends_is_not_accepted(desk: Desk) -> None:
    person = desk.people["admin"]
    form = desk.form() | {"email": person.email, "password": person.password}
    desk.cookies = httpx.Cookies()
    forged = desk.send("POST", "/authorize", data=form)
    assert forged.status_code == 400
    assert "open for too long" in forged.text


def test_names_in_the_form_cannot_become_markup(desk: Desk) -> None:
    page = desk.sign_in('"><img src=x onerror=alert(1)>', "x")
    assert "<img" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


def test_another_host_name_for_this_address_is_refused(desk: Desk) -> None:
    assert desk.send("GET", "/authorize", params=ASKED, headers={"host": "evil.test"}).status_code == 400


def test_logout_goes_back_to_the_desk_only(desk: Desk) -> None:
    back = desk.send("GET", "/logout", params={"post_logout_redirect_uri": REDIRECT, "state": "s"})
    assert back.headers["location"] == REDIRECT + "?state=s"
    stays = desk.send("GET", "/logout", params={"post_logout_redirect_uri": "https://evil.test/"})
    assert stays.status_code == 200
    assert "Signed out" in stays.text


def test_the_signing_key_survives_a_restart(folder: StateFolder) -> None:
    assert Desk(folder).send("GET", "/jwks").json() == Desk(folder).send("GET", "/jwks").json()
    assert (folder.path / "oidc" / "key.json").stat().st_mode & 0o777 == 0o600
