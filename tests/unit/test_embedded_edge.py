"""The ASGI edge in front of Streamlit: links kept through sign-in, safe headers and cookies, one host name."""

import asyncio
from typing import Any

import pytest

from ui.middleware import Edge, local_path

PAGE = {"accept": "text/html", "host": "127.0.0.1:8501"}


def ask(
    path: str,
    headers: dict[str, str] | None = None,
    *,
    query: str = "",
    status: int = 200,
    answered: list[tuple[str, str]] | None = None,
    public_url: str = "http://127.0.0.1:{port}",
) -> tuple[int, list[tuple[str, str]]]:
    """Status and headers of a request through the edge to an application that answers `status` and `answered`."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raw = [(name.encode(), value.encode()) for name, value in answered or []]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        seen.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(n.encode(), v.encode()) for n, v in (PAGE if headers is None else headers).items()],
    }
    asyncio.run(Edge(app, public_url=public_url)(scope, None, send))  # type: ignore[arg-type]
    return seen[0]["status"], [(name.decode(), value.decode()) for name, value in seen[0]["headers"]]


def cookies(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {v.partition("=")[0]: v.partition("=")[2] for n, v in headers if n == "set-cookie"}


def test_every_answer_carries_the_safe_headers() -> None:
    _, headers = ask("/")
    assert dict(headers) | {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
    } == dict(headers)


def test_a_wanted_page_is_remembered_and_opened_after_a_sign_in_that_worked() -> None:
    _, headers = ask("/queue", query="view=all&x=%26")
    kept = cookies(headers)["fraud_desk_next"].partition(";")[0]
    signed_in = [("location", "/"), ("set-cookie", "_streamlit_user=abc; Path=/")]
    back = {"cookie": f"a=b; fraud_desk_next={kept}", "host": "127.0.0.1:8501"}
    _, headers = ask("/oauth2callback", back, status=302, answered=signed_in)
    assert dict(headers)["location"] == "/queue?view=all&x=%26"
    assert "Max-Age=0" in cookies(headers)["fraud_desk_next"]
    _, headers = ask("/oauth2callback", back, status=302, answered=[("location", "/")])
    assert dict(headers)["location"] == "/"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "/\tevil",
        "/a\r\nset-cookie: x=1",
        "/auth/logout",
        "/oauth2callback",
        "",
    ],
)
def test_nobody_is_sent_elsewhere_after_the_sign_in(wanted: str) -> None:
    assert local_path(wanted) is None


def test_a_link_followed_inside_the_page_is_known_from_the_referer_of_our_own_origin_only() -> None:
    _, headers = ask("/auth/login", {"host": "127.0.0.1:8501", "referer": "http://127.0.0.1:8501/kpis?m=1"})
    assert cookies(headers)["fraud_desk_next"].startswith("%2Fkpis%3Fm%3D1;")
    _, headers = ask("/auth/login", {"host": "127.0.0.1:8501", "referer": "http://evil.test/kpis"})
    assert cookies(headers) == {}


def test_assets_and_sockets_are_not_pages() -> None:
    for path in ("/_stcore/health", "/static/js/x.js", "/app/static/fonts/x.woff2", "/readyz", "/media/x"):
        assert cookies(ask(path)[1]) == {}


def test_cookies_are_tightened() -> None:
    given = [
        ("set-cookie", "_streamlit_user=abc; HttpOnly; Max-Age=2592000; Path=/; SameSite=lax"),
        ("set-cookie", "_streamlit_xsrf=abc; Path=/"),
        ("set-cookie", "_streamlit_user=gone; Max-Age=0; Path=/"),
    ]
    _, headers = ask("/", {"host": "x"}, answered=given, public_url="https://fraud.example.com")
    user, xsrf, gone = [value for name, value in headers if name == "set-cookie"]
    assert user == "_streamlit_user=abc; HttpOnly; Max-Age=28800; Path=/; SameSite=lax; Secure"
    assert xsrf == "_streamlit_xsrf=abc; Path=/; SameSite=Lax; Secure"
    assert "Max-Age=0" in gone
    _, headers = ask("/", {"host": "x"}, answered=given)
    assert "Secure" not in dict(headers)["set-cookie"]


def test_the_other_names_of_this_machine_lead_to_the_one_that_sign_in_uses() -> None:
    status, headers = ask("/queue", PAGE | {"host": "localhost:8502"}, query="a=b")
    assert (status, dict(headers)["location"]) == (307, "http://127.0.0.1:8502/queue?a=b")
    assert ask("/_stcore/health", PAGE | {"host": "localhost:8502"})[0] == 200
    assert ask("/queue", PAGE | {"host": "fraud.example.com"})[0] == 200
    assert ask("/queue", PAGE | {"host": "localhost:8502"}, public_url="https://fraud.example.com")[0] == 200


def test_metrics_are_not_served() -> None:
    assert ask("/_stcore/metrics")[0] == 404
