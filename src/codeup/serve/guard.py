"""Who may speak to the server, checked before any route: Host, Origin, token and the form of the request.

    a page on evil.example posts to http://127.0.0.1:8000   Origin: http://evil.example        -> 403
    evil.example resolves to 127.0.0.1 (DNS rebinding)      Host: evil.example:8000            -> 403
    a program on this machine                               Host: 127.0.0.1:8000, no Origin    -> answered

On a loopback address the Host must be a loopback name, whatever its port (a forwarded port keeps working). On another
address a token is required, and the Host must be an IP address or a name that was allowed: no page can reach an IP
address under a foreign name. /health needs no token, /login takes it. No CORS header is ever sent.
Not covered: TLS, and programs of other users of this machine that reach a loopback port (give a token there too).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from codeup.serve.login import wants_form
from codeup.serve.refusal import Refusal

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

COOKIE = "codeup_token"
"""Set for the web page only, HttpOnly and SameSite=Strict."""
OPEN_PATHS = frozenset({"/health", "/login"})
"""Answered without a token; /login checks it itself, to set the cookie."""
MIN_TOKEN_CHARS = 16
HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_allowed(header: str, *, loopback: bool, names: Iterable[str]) -> bool:
    """Whether a Host header is one of ours.

    >>> host_allowed("localhost:8000", loopback=True, names=()), host_allowed("a.localhost", loopback=True, names=())
    (True, False)
    >>> host_allowed("10.0.0.7:8000", loopback=True, names=()), host_allowed("10.0.0.7", loopback=False, names=())
    (False, True)
    """
    found = HOST.fullmatch(header)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        return False
    name = found["name"].strip("[]").lower()
    if name in names or is_loopback(name):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return not loopback


class Guard:
    """An ASGI app around another. `allow` are further Host names; `ask` replies to a browser without the token."""

    def __init__(
        self, app: App, *, loopback: bool, token: str | None, allow: Iterable[str] = (), ask: App | None = None
    ) -> None:
        self._app, self._loopback, self._token, self._ask = app, loopback, token, ask
        self._names = frozenset(name.lower() for name in allow)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refusal as refusal:
            if refusal.status == 401 and self._ask is not None and wants_form(scope):
                await self._ask(scope, receive, send)
                return
            await send_json(send, refusal.status, refusal.body(), refusal.headers)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        host = _one(headers, b"host") or ""
        if not host_allowed(host, loopback=self._loopback, names=self._names):
            raise Refusal(403, f"the Host header {host[:80]!r} is not this server's name", code="host")
        origin, site = _one(headers, b"origin"), _one(headers, b"sec-fetch-site")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Refusal(403, f"requests from pages of {origin[:80]!r} are not answered", code="origin")
        if site is not None and site not in ("same-origin", "none"):
            raise Refusal(403, "requests from other sites' pages are not answered", code="origin")
        if self._token is not None and scope["path"] not in OPEN_PATHS and not self._knows_token(headers):
            raise Refusal(401, "this server needs its token: Authorization: Bearer …, or /login?token=…",
                          code="invalid_api_key",
                          headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
        if scope["method"] == "POST":
            _check_form(headers)

    def _knows_token(self, headers: Any) -> bool:
        given = _one(headers, b"authorization")
        if given is not None:
            scheme, _, value = given.partition(" ")
            return scheme.lower() == "bearer" and self._same(value.strip())
        try:
            cookie = SimpleCookie(_one(headers, b"cookie") or "").get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._same(cookie.value)

    def _same(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode())


def _check_form(headers: Any) -> None:
    kind = (_one(headers, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the Content-Type must be application/json", code="content_type")
    if (_one(headers, b"content-encoding") or "identity").lower() != "identity":
        raise Refusal(415, "a compressed body is not accepted", code="content_encoding")


def _one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """A header's value, None without it. Raises Refusal where it is there twice."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise Refusal(400, f"the header {name.decode()} was sent {len(values)} times", code="duplicate_header")
    return values[0].decode("latin-1") if values else None


async def send_json(send: Any, status: int, value: Any, headers: MutableMapping[str, str] | None = None) -> None:
    """A whole JSON reply."""
    import orjson

    body = orjson.dumps(value)
    raw = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    raw += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    raw += [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
