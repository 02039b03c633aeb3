"""What a browser without the token is shown in place of JSON: a form whose answer goes to /login, and no script.

    GET /                Accept: text/html, …   no cookie        -> 401, the form
    GET /login?token=x   Accept: text/html, …   the wrong token  -> 401, the form, saying so
    GET /                any other Accept                        -> 401, JSON

It looks at no token: guard.py and pages.py compare it, in constant time, and ask here only how to say no.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import MutableMapping
from typing import Any

PATHS = frozenset({"/", "/login"})
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem}input,button{font:inherit}"
)
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FORM = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>CodeUp: token needed</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>This server needs its token</h1>
{wrong}<form action="/login" method="get">
<p><label>Token <input name="token" type="password" required autofocus autocomplete="off"></label>
<button type="submit">Open</button></p>
</form>
<p>It is the value of the environment variable that <code>codeup serve --token-env</code> named; ask whoever started the
server. This browser keeps it as a cookie. Programs send it as <code>Authorization: Bearer …</code>.</p>
</main>
</body>
</html>
"""
WRONG = '<p role="alert"><strong>That was not the token.</strong></p>\n'


def wants_form(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request that was refused for its token comes from somebody who looks at a page."""
    accepts = b",".join(value for name, value in scope["headers"] if name == b"accept")
    return scope["method"] == "GET" and scope["path"] in PATHS and b"text/html" in accepts.lower()


async def ask(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """An ASGI app: the form, with status 401."""
    tried = scope["path"] == "/login" and b"token=" in scope["query_string"]
    body = FORM.format(style=STYLE, wrong=WRONG if tried else "").encode()
    headers = {
        "content-type": "text/html; charset=utf-8", "content-length": str(len(body)), "cache-control": "no-store",
        "content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer",
        "vary": "Accept", "www-authenticate": "Bearer",
    }  # fmt: skip
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 401, "headers": raw})
    await send({"type": "http.response.body", "body": body})
