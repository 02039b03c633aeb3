"""The way to the Hub, against a scripted one on loopback: what arrives, and one message for each thing that fails."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from codeup.errors import UserError, WorkFailed
from codeup.export.push import push


class Hub(ThreadingHTTPServer):
    """Answers as the Hub does to the four requests of an upload; `status` replaces the first answer of a path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.status: dict[str, tuple[int, str]] = {}
        self.tokens: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.tokens.add(self.headers.get("authorization", ""))
        for part, (status, message) in self.server.status.items():
            if part in self.path:
                told = {"error": message, "errors": [{"message": message}], "url": f"{self.server.address}/me/model"}
                return self.answer(status, told, message)
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            return self.answer(200, {"url": f"{self.server.address}/me/model", "id": "me/model"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            plain = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            return self.answer(200, {"files": plain})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.server.address}/me/model/commit/abc"
            return self.answer(200, {"success": True, "commitUrl": url, "commitOid": "abc", "pullRequestUrl": None})
        return self.answer(200, {})

    def do_GET(self) -> None:
        self.answer(404, {"error": "not found"})

    def answer(self, status: int, value: dict[str, Any], message: str = "") -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if message:
            self.send_header("x-error-message", message)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / ".eval_results").mkdir(parents=True)
    (made / "README.md").write_text("---\nlicense: mit\n---\n# model\n")
    (made / ".eval_results" / "x.yaml").write_text("- value: 1\n")
    (made / "model.safetensors").write_bytes(bytes(range(200)))
    return made


def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.address, token="hf_test")


def test_every_file_arrives_in_one_private_repository(hub: Hub, folder: Path) -> None:
    url = push(folder, "me/model", private=True, api=api(hub))
    assert url == f"{hub.address}/me/model/commit/abc"
    assert (
        hub.created["name"] == "model"
        and hub.created["organization"] == "me"
        and hub.created["visibility"] == "private"
    )
    assert hub.files == {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert hub.tokens == {"Bearer hf_test"}


@pytest.mark.parametrize(
    ("path", "status", "told", "error", "message"),
    [
        ("repos/create", 409, "You already created this model repo", UserError, "me/model: the name is taken"),
        (
            "repos/create",
            401,
            "Invalid username or password.",
            UserError,
            "refuses this token .*\n.*the folder is kept",
        ),
        ("repos/create", 403, "no rights to me", UserError, r"refuses this token \(no rights to me\)"),
        ("commit", 400, "too many files", WorkFailed, r"answered 400 \(.*too many files.*is kept"),
        ("validate-yaml", 400, '"license" must be one of', UserError, 'refuses the card .*"license" must be one of'),
    ],
)
def test_a_refusal_is_one_message_and_the_folder_stays(
    hub: Hub, folder: Path, path: str, status: int, told: str, error: type[Exception], message: str
) -> None:
    hub.status[path] = (status, told)
    with pytest.raises(error, match=message):
        push(folder, "me/model", api=api(hub))
    assert (folder / "model.safetensors").is_file() and hub.files == {}


def test_update_goes_into_a_repository_that_is_there(hub: Hub, folder: Path) -> None:
    hub.status["repos/create"] = (409, "You already created this model repo")
    push(folder, "me/model", update=True, api=api(hub))
    assert "README.md" in hub.files


def test_without_a_token_nothing_is_asked(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeup.export.push._saved_token", lambda: None)
    with pytest.raises(UserError, match=r"no token of the Hub was found\n.*hf auth login"):
        push(folder, "me/model", api=HfApi(endpoint=hub.address, token=False))
    assert hub.tokens == set()


def test_without_a_network_the_folder_is_kept(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = HfApi(endpoint="http://127.0.0.1:9", token="hf_test")
    with pytest.raises(WorkFailed, match="could not be reached"):
        push(folder, "me/model", api=nobody)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push(folder, "me/model", api=api(hub))
    assert (folder / "README.md").is_file() and hub.files == {}
