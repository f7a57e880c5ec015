"""The two pages that people see. Plain HTML without scripts; styles carry a nonce, everything shown is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from embedded.state_folder import PROJECT

_STYLE = """
@font-face { font-family: "IBM Plex Sans"; font-weight: 400; src: url("/fonts/400.woff2") format("woff2"); }
@font-face { font-family: "IBM Plex Sans"; font-weight: 500; src: url("/fonts/500.woff2") format("woff2"); }
@font-face { font-family: "IBM Plex Sans"; font-weight: 600; src: url("/fonts/600.woff2") format("woff2"); }
:root { color-scheme: light dark; --page: #f4f6f8; --card: #ffffff; --text: #1b2430; --quiet: #56616f; --line: #d5dae1;
  --field: #ffffff; --edge: #8893a1; --accent: #0072b2; --accent-over: #005f96; --on-accent: #ffffff;
  --bad: #a83f00; --bad-page: #fdf1ea; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1217; --card: #161b22; --text: #e6eaf0; --quiet: #a1abb8;
  --line: #2b333f; --field: #0e1217; --edge: #66717f; --accent: #56b4e9; --accent-over: #7cc5ee; --on-accent: #08141d;
  --bad: #ff9b66; --bad-page: #2a1a12; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; grid-template-rows: 1fr auto 1.4fr; justify-items: center;
  background: var(--page); color: var(--text); font: 400 15px/1.5 "IBM Plex Sans", system-ui, sans-serif; }
main { grid-row: 2; width: min(400px, 100vw - 32px); margin: 32px 0; }
.brand { display: flex; align-items: center; gap: 10px; font-weight: 600; letter-spacing: -.005em;
  margin: 0 0 20px 2px; }
.brand svg { width: 24px; height: 24px; }
.card > .lead:last-child { margin-bottom: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 28px; }
h1 { font-size: 20px; line-height: 1.3; font-weight: 600; margin: 0 0 4px; letter-spacing: -.01em; }
.lead { margin: 0 0 22px; color: var(--quiet); }
label { display: block; font-weight: 500; font-size: 14px; margin: 0 0 6px; }
input { display: block; width: 100%; height: 42px; padding: 0 12px; margin: 0 0 18px; font: inherit; color: inherit;
  background: var(--field); border: 1px solid var(--edge); border-radius: 6px; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button { width: 100%; height: 42px; margin-top: 4px; font: inherit; font-weight: 600; color: var(--on-accent);
  background: var(--accent); border: 0; border-radius: 6px; cursor: pointer; }
button:hover { background: var(--accent-over); }
.problem { display: flex; gap: 10px; margin: 0 0 20px; padding: 10px 12px; border-left: 3px solid var(--bad);
  border-radius: 4px; background: var(--bad-page); color: var(--bad); font-weight: 500; font-size: 14px; }
.problem svg { flex: none; width: 18px; height: 18px; margin-top: 1px; }
.note { margin: 18px 2px 0; color: var(--quiet); font-size: 13px; overflow-wrap: anywhere; }
code { font: 12px/1.5 ui-monospace, "IBM Plex Mono", monospace; }
"""
# The product's own mark, drawn into the page: the policy allows no image from anywhere.
_MARK = (
    (PROJECT / "ui" / "static" / "icon.svg").read_text(encoding="utf-8").replace("<svg ", '<svg aria-hidden="true" ', 1)
)
_ALERT = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
    'aria-hidden="true"><circle cx="12" cy="12" r="9"/><path d="M12 7.5v5.5M12 16.5v.01"/></svg>'
)


def sign_in(*, fields: Mapping[str, str], email: str, problem: str | None, people_file: str, style_nonce: str) -> str:
    """The sign-in form. `fields` are its hidden inputs; after a problem the password is what is left to type."""
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
    )
    alert = (
        f'<p class="problem" role="alert" id="problem">{_ALERT}<span>{escape(problem)}</span></p>' if problem else ""
    )
    described = ' aria-describedby="problem" aria-invalid="true"' if problem else ""
    focus_email, focus_password = ("", " autofocus") if email else (" autofocus", "")
    return _document(
        "Sign in",
        f"""<form class="card" method="post" action="/authorize">
<h1>Sign in</h1><p class="lead">Continue to your fraud desk.</p>{alert}{hidden}
<label for="email">Email</label>
<input id="email" name="email" type="email" autocomplete="username" required maxlength="200"
 value="{escape(email)}"{described}{focus_email}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 maxlength="200"{described}{focus_password}>
<button type="submit">Sign in</button>
</form>
<p class="note">The demo sign-ins were printed in the terminal when Fraud Desk first started. They are kept in
<code>{escape(people_file)}</code>.</p>""",
        style_nonce,
    )


def message(title: str, sentence: str, *, style_nonce: str) -> str:
    """A page that only says something."""
    body = f'<div class="card"><h1>{escape(title)}</h1><p class="lead">{escape(sentence)}</p></div>'
    return _document(title, body, style_nonce)


def _document(title: str, body: str, style_nonce: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Fraud Desk</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style nonce="{escape(style_nonce)}">{_STYLE}</style></head>
<body><main><p class="brand">{_MARK}Fraud Desk</p>{body}</main></body></html>"""
