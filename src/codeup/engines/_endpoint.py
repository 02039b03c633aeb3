"""A client of OpenAI-compatible endpoints in the standard library: JSON in, JSON or server-sent events out.

    Endpoint("http://127.0.0.1:8000/v1").stream("/chat/completions", {...})  ->  {"choices": [...]}, {"choices": [...]}

An endpoint that is busy (429, 502, 503) or drops the connection is asked again, up to `RETRIES` times, after the time
it names. A redirect is not followed, so that a key goes nowhere else. Not covered: proxies, HTTP/2.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from codeup.errors import UserError, WorkFailed

RETRIES, MOST_WAIT_S = 5, 60.0
BUSY = (429, 502, 503)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Endpoint:
    """`url` ends where the protocol's own addresses begin, mostly in /v1; `key` is sent as a Bearer token."""

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = 600.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{url!r} is not an http address", mend="for example http://127.0.0.1:8000/v1")
        try:
            named = urllib.parse.urlsplit(url)
            right = bool(named.hostname) and named.port != 0
        except ValueError:
            right = False
        if not right or not url.isprintable() or " " in url:
            raise UserError(f"{url!r} is not an address", mend="for example http://127.0.0.1:8000/v1")
        self.url, self.key, self._timeout_s = url.rstrip("/"), key, timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object. Raises UserError where the endpoint refuses or is not there, WorkFailed where it fails."""
        with contextlib.closing(self._open(path, None)) as reply, self._whole():
            return self._object(reply.read())

    def text(self, path: str) -> str:
        """As `get`, for what is not JSON."""
        with contextlib.closing(self._open(path, None)) as reply, self._whole():
            return str(reply.read().decode("utf-8", "replace"))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """As `get`, for a request with a body."""
        with contextlib.closing(self._open(path, body)) as reply, self._whole():
            return self._object(reply.read())

    def stream(self, path: str, body: Mapping[str, Any], *, done: bool = True) -> Iterator[dict[str, Any]]:
        """The events of a streamed reply. Raises WorkFailed for one that breaks off before [DONE].

        done=False: for a server that never says [DONE]; the caller must see for itself that the answer ended.
        """
        with contextlib.closing(self._open(path, {**body, "stream": True})) as reply, self._whole():
            for line in reply:
                text = line.decode("utf-8", "replace").strip()
                if not text.startswith("data:"):
                    continue
                data = text.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                event = self._object(data.encode())
                if "error" in event:
                    raise WorkFailed(f"{self.url}: {_message(event)}")
                yield event
        if done:
            raise WorkFailed(f"{self.url}: the stream broke off")

    def only_model(self) -> str:
        """The name of the endpoint's first model."""
        models = self.get("/models").get("data") or []
        if not models:
            raise UserError("the endpoint has no models", where=self.url)
        return str(models[0]["id"])

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """While a reply is read; WorkFailed where the connection breaks."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise WorkFailed(f"{self.url}: the reply broke off ({error or type(error).__name__})") from None

    def _open(self, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "codeup"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        for attempt in range(RETRIES + 1):
            try:
                return self._opener.open(request, timeout=self._timeout_s)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in BUSY or attempt == RETRIES:
                        raise self._failure(error.code, error.read(65536)) from None
                    wait_s = _seconds(error.headers.get("Retry-After"), attempt)
            except (urllib.error.URLError, OSError) as error:
                reason = getattr(error, "reason", error)
                if isinstance(reason, ConnectionRefusedError):
                    raise UserError(
                        "nothing listens there", where=self.url, mend="start it: codeup serve MODEL"
                    ) from None
                if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
                    raise UserError(
                        f"no TLS connection ({reason.reason or reason})", where=self.url,
                        mend="codeup serve speaks http://; for another server see whether its certificate is trusted",
                    ) from None  # fmt: skip
                if isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME:
                    raise UserError("there is no machine of that name", where=self.url, mend="name another") from None
                if attempt == RETRIES:
                    raise WorkFailed(f"{self.url}: {reason}") from None
                wait_s = _seconds(None, attempt)
            time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _failure(self, status: int, body: bytes) -> UserError | WorkFailed:
        try:
            what = _message(json.loads(body))
        except ValueError:
            what = body[:200].decode("utf-8", "replace")
        if status >= 500 or status in BUSY:
            return WorkFailed(f"{self.url} answered {status}: {what}")
        mends = dict.fromkeys((401, 403), "name the variable that holds its token: --token-env VAR")
        if not urllib.parse.urlsplit(self.url).path:
            mends[404] = f"addresses of this protocol mostly end in /v1: {self.url}/v1"
        mend = mends.get(status, "")
        return UserError(f"the endpoint answered {status}: {what}", where=self.url, mend=mend)

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            value = json.loads(data)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise WorkFailed(f"{self.url} did not answer with JSON: {data[:200].decode('utf-8', 'replace')!r}")
        return value


def _message(value: Any) -> str:
    error = value.get("error", value) if isinstance(value, dict) else value
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]


def _seconds(named: str | None, attempt: int) -> float:
    """How long to wait: as long as the endpoint says, else 1, 2, 4 … seconds."""
    try:
        return min(MOST_WAIT_S, max(0.0, float(named or "")))
    except ValueError:
        return float(min(MOST_WAIT_S, 2**attempt))
