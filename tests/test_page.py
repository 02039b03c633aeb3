"""The page of `codeup serve`: its files and headers, programs in the sandbox, what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from serve_for_tests import served, tiny_model

from codeup.errors import UserError
from codeup.sandbox.pool import Pool
from codeup.serve import app, pages
from codeup.serve.desk import Desk
from codeup.serve.metrics import Metrics
from codeup.serve.programs import Programs

TOKEN = "a-long-secret-for-tests"
VENDOR = pages.HERE / "vendor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("page") / "model")


def test_a_sandbox_that_opens_while_the_server_stops_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    programs, closed = Programs(), list[bool]()

    def opens_late(*_: Any, **__: Any) -> Any:
        programs.close()
        return SimpleNamespace(close=lambda: closed.append(True))

    monkeypatch.setattr("codeup.serve.programs.Pool", opens_late)
    assert programs.about()["offered"] is False and programs.about()["why"] == "the server is stopping"
    assert closed == [True]


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    try:
        Pool(1).close()
    except UserError as error:
        pytest.skip(str(error))
    opened = Programs()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(folder: Path, programs: Programs) -> Iterator[httpx.Client]:
    with served(folder, more_routes=pages.Page(programs, None).routes()) as running, running.client() as opened:
        yield opened


def test_vendored_files_are_those_whose_hashes_and_licences_are_named() -> None:
    named = dict(re.findall(r"^\| (\S+\.js) \|.*`([0-9a-f]{64})`", (VENDOR / "README.md").read_text(), re.M))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.js")}
    assert named == found and len(found) == 3
    assert all((VENDOR / f"{name}.LICENSE").stat().st_size > 500 for name in ("markdown-it", "dompurify", "highlight"))


def test_the_page_allows_scripts_and_styles_of_this_server_only(client: httpx.Client) -> None:
    reply = client.get("/")
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'" and policy["connect-src"] == "'self'"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in reply.text and "style=" not in reply.text and "onclick" not in reply.text
    assert "http://" not in reply.text and "https://" not in reply.text


def test_every_file_that_the_page_names_is_served_and_cached_by_its_content(client: httpx.Client) -> None:
    text = client.get("/").text
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', text)
    assert len(named) == 5
    modules = {
        name for path in pages.HERE.glob("*.js") for name in re.findall(r'from "\./([a-z]+\.js)"', path.read_text())
    }
    for name in [*named, *(f"page/{module}" for module in modules)]:
        reply = client.get(f"/{name}")
        assert reply.status_code == 200, name
        again = client.get(f"/{name}", headers={"if-none-match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/page/", "/page/nothing.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/%00",
        "/page/vendor/README.md", "/page/vendor/dompurify.LICENSE", "/page/INDEX.HTML", "/page/main.js/",
    ],
)  # fmt: skip
def test_a_name_that_is_not_on_the_list_is_not_looked_for(path: str, client: httpx.Client) -> None:
    reply = client.get(path)
    assert reply.status_code == 404 and "nothing at this address" in reply.text


def run(client: httpx.Client, code: str, **more: Any) -> dict[str, Any]:
    reply = client.post("/page/run", json={"code": code, **more})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def file(name: str, data: bytes) -> dict[str, str]:
    return {"name": name, "base64": base64.b64encode(data).decode()}


def test_a_program_reads_the_files_it_is_given_and_leaves_files(client: httpx.Client) -> None:
    code = "rows = open('d.csv').read(); print(rows.upper()); open('out.txt', 'w').write('made'); open('.own', 'w')"
    told = run(client, code, files=[file("d.csv", b"a,b")])
    assert (told["out"], told["err"], told["ended"], told["notes"]) == ("A,B\n", "", "ended well", [])
    assert [(one["name"], base64.b64decode(one["base64"])) for one in told["files"]] == [("out.txt", b"made")]


def test_figures_that_a_program_shows_come_back_as_pictures(client: httpx.Client) -> None:
    code = (
        "import os\nfrom matplotlib import pyplot as plt\nplt.plot([1, 2]); plt.figure(); plt.bar(['a'], [1])\n"
        "plt.show()\nplt.hist([1, 1, 2]); plt.show(); plt.show()\nprint(os.listdir('.'))"
    )
    told = run(client, code)
    assert told["err"] == "" and "main.py" in told["out"]
    assert [one["name"] for one in told["files"]] == ["figure-1.png", "figure-2.png", "figure-3.png"]
    assert all(base64.b64decode(one["base64"]).startswith(b"\x89PNG") for one in told["files"])


def test_nothing_is_left_for_the_next_program(client: httpx.Client) -> None:
    run(client, "open('left.txt', 'w').write('x')", files=[file("given.txt", b"y")])
    assert run(client, "import os; print(sorted(os.listdir('.')))")["out"] == "['main.py']\n"


def test_numpy_can_be_imported_and_the_server_cannot(client: httpx.Client) -> None:
    assert run(client, "import numpy; print(numpy.arange(4).sum())")["out"] == "6\n"
    for name in ("codeup", "starlette", "torch"):
        assert "ModuleNotFoundError" in run(client, f"import {name}")["err"]


ALONE = {
    "javascript": "const fs = require('fs'); console.log(fs.readFileSync('d.csv', 'utf8').toUpperCase())",
    "php": "echo strtoupper(file_get_contents('d.csv')), PHP_EOL;",
    "ruby": "puts File.read('d.csv').upcase",
    "perl": "open(my $f, '<', 'd.csv'); print uc(<$f>), qq(\\n);",
    "bash": "tr a-z A-Z < d.csv; echo",
    "cpp": (
        '#include <fstream>\n#include <iostream>\nint main() {\n  std::ifstream f("d.csv"); char c;\n'
        "  while (f.get(c)) std::cout << (char)toupper(c);\n  std::cout << std::endl;\n}"
    ),
    "go": (
        'package main\nimport ("fmt"; "os"; "strings")\nfunc main() {\n\tb, _ := os.ReadFile("d.csv")\n'
        "\tfmt.Println(strings.ToUpper(string(b)))\n}"
    ),
    "rust": 'fn main() { println!("{}", std::fs::read_to_string("d.csv").unwrap().to_uppercase()); }',
    "java": (
        "import java.nio.file.*;\nclass Main { public static void main(String[] args) throws Exception {"
        ' System.out.println(Files.readString(Path.of("d.csv")).toUpperCase()); } }'
    ),
    "typescript": (
        "const fs = require('fs'); const text: string = fs.readFileSync('d.csv', 'utf8');"
        " console.log(text.toUpperCase() as string)"
    ),
    "csharp": (
        "using System; using System.IO; class P { static void Main() {"
        ' Console.WriteLine(File.ReadAllText("d.csv").ToUpper()); } }'
    ),
    "kotlin": 'package a.b\nimport java.io.File\nfun main() { println(File("d.csv").readText().uppercase()) }',
}
"""Each prints the data file in capitals."""


@pytest.mark.parametrize("language", ALONE)
def test_programs_of_other_languages_run_as_they_are(language: str, client: httpx.Client, programs: Programs) -> None:
    if language not in programs.about()["languages"].values():
        pytest.skip(f"the tools of {language} are not here")
    told = run(client, ALONE[language], language=language, files=[file("d.csv", b"a,b")])
    assert (told["out"], told["ended"], told["files"]) == ("A,B\n", "ended well", []), told


@pytest.mark.parametrize("language", ["cpp", "go", "rust", "typescript", "csharp", "kotlin"])
def test_what_a_compiler_says_is_shown(language: str, client: httpx.Client, programs: Programs) -> None:
    if language not in programs.about()["languages"].values():
        pytest.skip(f"the tools of {language} are not here")
    told = run(client, "int main( {", language=language)
    assert told["ended"].startswith("it did not compile: ended with exit code"), told
    assert "main" in told["out"] + told["err"]


@pytest.mark.parametrize(
    ("code", "where", "words"),
    [
        ("1 / 0", "err", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "ended", "exit code 3"),
        ("import os; os.abort()", "ended", "signal 6"),
        ("input()", "err", "EOFError"),
        ("import socket; socket.create_connection(('127.0.0.1', 1))", "err", "PermissionError"),
        ("import os; os.fork()", "err", "PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "err", "PermissionError"),
        ("open('/etc/passwd')", "err", "FileNotFoundError"),
        ("open('/etc/x', 'w')", "err", "Error"),
        ("x = 'y' * (3 << 30)", "err", "MemoryError"),
        ("import os; print(sorted(k for k in os.environ if 'TOKEN' in k or 'KEY' in k))", "out", "[]"),
        ("print('\\x1b[31m<script>alert(1)</script>')", "out", "<script>"),
        ("print('z' * 300_000)", "notes", "300,001 bytes were printed"),
        ("import os; os.symlink(os.__file__, 'l'); os.mkfifo('p')", "notes", "2 more files were not taken"),
        ("open('big', 'wb').write(b'x' * 9_000_000)", "notes", "1 more files were not taken"),
    ],
)
def test_what_a_program_cannot_do_and_how_it_is_told(code: str, where: str, words: str, client: httpx.Client) -> None:
    assert words in str(run(client, code)[where])


REFUSED = [
    ({}, 400, "code"), ({"code": 1}, 400, "code"), ({"code": "x" * 200_001}, 400, "code"),
    ({"code": "1", "language": "cobol"}, 400, "cobol programs are not run"), ({"code": "1", "more": 1}, 400, "more"),
    ({"code": "1", "files": {}}, 400, "files"), ({"code": "1", "files": [file("a", b"")] * 11}, 400, "files"),
    ({"code": "\ud800"}, 400, ""), ({"code": "1", "files": [{"name": "a", "base64": "*"}]}, 400, "base64"),
    ({"code": "1", "files": [file("big", b"x" * 4_000_001)]}, 413, "larger"),
    *(({"code": "1", "files": [file(name, b"")]}, 400, "named") for name in (
        "../x", "/etc/x", "Main.java", "imports", "a/b", "a\\b", ".hidden", "", "main.py", "a\nb", "\x00", "..",
        "<img src=x onerror=alert(1)>",
    )),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_request_to_run_that_is_wrong_is_refused_by_name(
    body: dict[str, Any], status: int, words: str, client: httpx.Client
) -> None:
    text = json.dumps(body)
    reply = client.post("/page/run", content=text, headers={"content-type": "application/json"})
    assert reply.status_code == status and words in reply.text


def test_other_sites_and_forms_cannot_run_anything(client: httpx.Client) -> None:
    good = {"code": "print(1)"}
    assert client.post("/page/run", json=good, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/page/run", json=good, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/page/run", json=good, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/page/run", data=good).status_code == 415
    assert client.get("/page/run").status_code in (404, 405)


def every_route(more: Any) -> list[tuple[str, str]]:
    """(method, path) of each route there is: those of the protocol and those of the page."""
    guarded = app.build(Desk(lambda: None, Metrics()), app.Limits(), loopback=True, token=None, more_routes=more)  # type: ignore[arg-type, return-value]
    routes = [(method, route.path) for route in guarded._app.routes for method in route.methods]  # type: ignore[attr-defined]
    return [(method, path.replace("{name:path}", "main.js")) for method, path in routes]


@pytest.mark.parametrize(
    "evil",
    [{"host": "evil.example"}, {"host": "127.0.0.1.evil.example"}, {"origin": "https://evil.example"},
     {"origin": "null"}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
    ids=str,
)  # fmt: skip
def test_another_name_or_site_is_refused_on_every_route_there_is(
    evil: dict[str, str], client: httpx.Client, programs: Programs
) -> None:
    routes = every_route(pages.Page(programs, None).routes())
    assert {path for _, path in routes} >= {
        "/",
        "/health",
        "/metrics",
        "/v1/models",
        "/login",
        "/page/run",
        "/page/main.js",
    }
    for method, path in routes:
        reply = client.request(method, path, headers={"content-type": "application/json", **evil})
        assert reply.status_code == 403, (method, path)
        assert not [name for name in reply.headers if name.startswith("access-control")], (method, path)


def test_every_route_but_two_wants_the_token(folder: Path, programs: Programs) -> None:
    routes = pages.Page(programs, TOKEN).routes()
    with served(folder, token=TOKEN, more_routes=routes) as running, running.client() as client:
        told = {
            (method, path): client.request(method, path, json={}).status_code for method, path in every_route(routes)
        }
    assert {path for (_, path), status in told.items() if status != 401} == {"/health"}
    assert told[("GET", "/health")] == 200 and told[("GET", "/login")] == 401, "/login checks its own"


def test_a_server_with_a_token_wants_it_for_everything_and_takes_it_as_a_cookie(
    folder: Path, programs: Programs
) -> None:
    routes = pages.Page(programs, TOKEN).routes()
    with served(folder, token=TOKEN, more_routes=routes) as running, running.client() as client:
        for path in ("/", "/page/main.js", "/page/about"):
            assert client.get(path).status_code == 401
        assert client.post("/page/run", json={"code": "1"}).status_code == 401
        for wrong in ("", "?token=", "?token=wrong", f"?token={TOKEN}x", "?token=%C3%A9"):
            assert client.get(f"/login{wrong}").status_code == 401
        reply = client.get("/login", params={"token": TOKEN})
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        cookie = reply.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
        assert client.get("/").status_code == 200, "the client kept the cookie"
        assert run(client, "print(2)")["out"] == "2\n"


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_without_the_token_gets_a_form_and_a_program_json(folder: Path, programs: Programs) -> None:
    routes = pages.Page(programs, TOKEN).routes()
    with served(folder, token=TOKEN, more_routes=routes) as running, running.client() as client:
        for path, tried in (("/", False), ("/login", False), ("/login?token=wrong", True), ("/login?token=", True)):
            reply = client.get(path, headers=BROWSER)
            assert (reply.status_code, reply.headers["content-type"]) == (401, "text/html; charset=utf-8")
            assert ("not the token" in reply.text) is tried, path
            assert TOKEN not in reply.text and "<script" not in reply.text
            policy = reply.headers["content-security-policy"]
            style = re.search("<style>(.*)</style>", reply.text)
            assert style is not None
            allowed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
            assert f"style-src 'sha256-{allowed}'" in policy and "script-src" not in policy
            assert policy.startswith("default-src 'none'") and "form-action 'self'" in policy
            assert client.get(path).json()["error"]["code"] == "invalid_api_key", path
        for path in ("/v1/models", "/page/main.js", "/metrics"):
            assert client.get(path, headers=BROWSER).json()["error"]["code"] == "invalid_api_key", path
        assert client.post("/", headers=BROWSER, json={}).json()["error"]["code"] == "invalid_api_key"
        evil = client.get("/", headers={**BROWSER, "host": "evil.example"})
        assert evil.status_code == 403 and evil.json()["error"]["code"] == "host"
        assert client.get("/login", params={"token": TOKEN}, headers=BROWSER).status_code == 303


def test_without_a_strong_sandbox_programs_are_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    def weak(*arguments: Any, **settings: Any) -> Any:
        raise UserError("programs of other languages than Python need a strong sandbox; here is: limits")

    monkeypatch.setattr("codeup.serve.programs.Pool", weak)
    about = Programs().about()
    assert about["offered"] is False and "strong sandbox" in about["why"]
