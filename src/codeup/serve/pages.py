"""The web page and what only it needs: its files, what the server can do, programs to run, the token as a cookie.

    GET  /                the page                         GET  /page/NAME     one of its files, by a fixed list
    GET  /page/about      {"run": {"offered": true, ...}}  POST /page/run      a program (programs.py)
    GET  /login?token=…   sets the token as an HttpOnly, SameSite=Strict cookie and goes to /

Every reply says by Content-Security-Policy that scripts and styles come from this server only, that nothing is loaded
from elsewhere, and that no other page may frame it. Files are read once, at the start; a name that is not on the list
is not looked for on the disk.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from codeup.serve import login
from codeup.serve.app import read_body
from codeup.serve.guard import COOKIE, App
from codeup.serve.login import wants_form
from codeup.serve.programs import FILE_BYTES, Programs, Upload
from codeup.serve.refusal import Refusal

HERE = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
MOST_CODE, MOST_UPLOADS = 200_000, 10
RUN_BODY_BYTES = 24 << 20
NAME = re.compile(r"\w[\w .()+-]{0,99}")
PROGRAM = re.compile(r"(?i)main(\.\w+)?|imports")
"""Names of the program's own files (programs.py)."""
"""A data file's name: no folders, no leading dot."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(max_length=100)
    base64: str


class _Run(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field(max_length=MOST_CODE)
    language: str = "python"
    files: Annotated[list[_File], Field(max_length=MOST_UPLOADS)] = []


class Page:
    """The handlers. `token` is the server's, None where it has none."""

    def __init__(self, programs: Programs, token: str | None) -> None:
        self.programs, self.token = programs, token
        self.files = {
            path.relative_to(HERE).as_posix(): path.read_bytes()
            for path in sorted(HERE.rglob("*"))
            if path.suffix in KINDS
        }

    async def index(self, request: HttpRequest) -> Response:
        return self._file("index.html", request)

    async def file(self, request: HttpRequest) -> Response:
        return self._file(request.path_params["name"], request)

    def _file(self, name: str, request: HttpRequest) -> Response:
        if name not in self.files:
            raise Refusal(404, "there is nothing at this address", code="http_404")
        mark = f'"{hashlib.sha256(self.files[name]).hexdigest()[:32]}"'
        headers = {**HEADERS, "ETag": mark, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return Response(self.files[name], headers=headers, media_type=KINDS[Path(name).suffix])

    async def about(self, request: HttpRequest) -> Response:
        return self._json({"run": await self.programs.about_off_loop()})

    async def run(self, request: HttpRequest) -> Response:
        asked = _parsed(await read_body(request, RUN_BODY_BYTES))
        return self._json(await self.programs.run(asked.code, [_upload(file) for file in asked.files], asked.language))

    async def login(self, request: HttpRequest) -> App:
        """The only way a browser gets at a server with a token: programs send the header instead."""
        given = parse_qs(request.url.query).get("token", [""])[-1]
        if self.token is None:
            return RedirectResponse("/", 303, HEADERS)
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode()):
            if wants_form(request.scope):
                return login.ask
            raise Refusal(401, "this is not the server's token", code="invalid_api_key")
        reply = RedirectResponse("/", 303, HEADERS)
        reply.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", path="/")
        return reply

    def _json(self, value: Any) -> Response:
        return Response(
            orjson.dumps(value), headers={**HEADERS, "Cache-Control": "no-store"}, media_type="application/json"
        )

    def routes(self) -> Sequence[BaseRoute]:
        """To be served beside the protocol's routes."""
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/login", self.login, methods=["GET"]),
            Route("/page/about", self.about, methods=["GET"]),
            Route("/page/run", self.run, methods=["POST"]),
            Route("/page/{name:path}", self.file, methods=["GET"]),
        ]


def _parsed(body: bytes) -> _Run:
    try:
        asked = _Run.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}", code="invalid_json") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refusal(400, f"{where}: {first['msg']}", param=where[:200], code=first["type"]) from None
    try:
        asked.code.encode()
    except UnicodeError:
        raise Refusal(400, "code: is not Unicode text", param="code", code="invalid_code") from None
    return asked


def _upload(file: _File) -> Upload:
    if NAME.fullmatch(file.name) is None or PROGRAM.fullmatch(file.name):
        raise Refusal(400, f"a data file cannot be named {file.name[:80]!r}", param="files", code="invalid_name")
    try:
        data = base64.b64decode(file.base64, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"{file.name}: is not base64", param="files", code="invalid_base64") from None
    if len(data) > FILE_BYTES:
        raise Refusal(413, f"{file.name} is larger than {FILE_BYTES:,} bytes", param="files", code="too_large")
    return Upload(file.name, data)
