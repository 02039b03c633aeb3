"""Datasets of the Hub, fetched from a small Hub on this machine: the real client, real HTTP, no network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codeup.data.resolve import choose_files, parse_hub, resolve
from codeup.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# card",
    "main/train-00000-of-00002.jsonl": b'{"question":"1?","answer":"#### 1"}\n',
    "main/train-00001-of-00002.jsonl": b'{"question":"2?","answer":"#### 2"}\n',
    "main/test-00000-of-00001.jsonl": b'{"question":"held out","answer":"#### 3"}\n',
    "socratic/train-00000-of-00001.jsonl": b'{"question":"other","answer":"#### 4"}\n',
}


class Hub(BaseHTTPRequestHandler):
    """The two requests that fetching a dataset makes: what is in it, and one file of it."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.path.startswith("/api/datasets/owner/numbers"):
            siblings = [{"rfilename": name} for name in FILES]
            return self.answer(200, json.dumps({"id": "owner/numbers", "sha": COMMIT, "siblings": siblings}).encode())
        name = self.path.partition("/datasets/owner/numbers/resolve/main/")[2].partition("?")[0]
        if name in FILES:
            return self.answer(200, FILES[name])
        return self.answer(404, b"{}", **{"X-Error-Code": "RepoNotFound"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        digest = hashlib.sha1(body).hexdigest()
        for key, value in {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SCRIPT = """
import sys
from pathlib import Path
from codeup.data.resolve import resolve
from codeup.errors import UserError
try:
    print([path.name for path in resolve(sys.argv[1], Path("/nowhere"))])
    print([path.read_text() for path in resolve(sys.argv[1], Path("/nowhere"))], end="")
except UserError as error:
    print("UserError", error)
"""


def ask(hub: str, cache: Path, wanted: str, offline: bool = False) -> str:
    """`resolve(wanted)` in a process of its own, because the Hub client reads its settings when it is imported."""
    bars = {"TQDM_POSITION": "-1"}  # with this the Hub client draws its bars even where nobody looks
    settings = {"HF_ENDPOINT": hub, "HF_HOME": str(cache), "HF_HUB_OFFLINE": str(int(offline)), "no_proxy": "*"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, wanted],
        env={**os.environ, **settings, **bars, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "%|" not in done.stderr, "the library draws no progress bar"
    return done.stdout


def test_a_hub_dataset_is_downloaded_once_and_then_used_without_network(hub: str, tmp_path: Path) -> None:
    wanted = "hub:owner/numbers:main/*"
    online = ask(hub, tmp_path, wanted)
    assert "['train-00000-of-00002.jsonl', 'train-00001-of-00002.jsonl']" in online
    assert "held out" not in online and "1?" in online and "2?" in online
    assert ask("http://127.0.0.1:9", tmp_path, wanted, offline=True) == online
    assert ask("http://127.0.0.1:9", tmp_path, wanted) == online, "a Hub that is down is like no network"


def test_a_cache_that_holds_only_some_parts_is_refused(hub: str, tmp_path: Path) -> None:
    ask(hub, tmp_path, "hub:owner/numbers:main/*")
    for part in tmp_path.rglob("train-00001-of-00002.jsonl"):
        part.unlink()
    assert "1 of 2 parts" in ask(hub, tmp_path, "hub:owner/numbers:main/*", offline=True)


def test_two_configurations_of_one_dataset_are_not_mixed_by_guessing(hub: str, tmp_path: Path) -> None:
    answer = ask(hub, tmp_path, "owner/numbers")
    assert "UserError" in answer and "several folders" in answer and "main (2), socratic (1)" in answer
    assert "hub:owner/numbers:main/train-00000-of-00002.jsonl" in answer


def test_a_dataset_that_is_not_there_is_a_user_error(hub: str, tmp_path: Path) -> None:
    assert "UserError hub:owner/nothing: no such dataset" in ask(hub, tmp_path, "hub:owner/nothing")


def test_without_network_and_without_cache_the_error_says_what_to_do(tmp_path: Path) -> None:
    assert "HF_HUB_OFFLINE is set" in ask("http://127.0.0.1:9", tmp_path, "hub:owner/numbers", offline=True)
    unreachable = ask("http://127.0.0.1:9", tmp_path, "hub:owner/numbers")
    assert "could not be reached" in unreachable and "local copy" in unreachable


def test_hub_names_are_told_from_paths() -> None:
    full = parse_hub("hub:openai/gsm8k@v1.0:main/*.parquet")
    assert full is not None and (full.repo, full.revision, full.pattern) == ("openai/gsm8k", "v1.0", "main/*.parquet")
    assert parse_hub("rows.json") is None and parse_hub("a/b/c") is None and parse_hub("../x/y") is None


def test_a_mistyped_local_path_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").mkdir()
    with pytest.raises(UserError, match="did you mean 'train'"):
        resolve("data/trian", tmp_path)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train.jsonl", "README.md", ".gitattributes"], ["train.jsonl"]),
        (["MetaMathQA-395K.json"], ["MetaMathQA-395K.json"]),
        (["a.json", "a_test.json", "valid.json"], ["a.json"]),
        (["x/train-00000-of-00001.parquet", "x/validation-00000-of-00001.parquet"], ["x/train-00000-of-00001.parquet"]),
        (["rows.json", "dataset_infos.json"], ["rows.json"]),
        (["constrained.jsonl.zst"], ["constrained.jsonl.zst"]),
    ],
)
def test_the_train_split_is_told_by_file_names(names: list[str], chosen: list[str]) -> None:
    assert choose_files(names, "", "hub:o/n") == chosen


@pytest.mark.parametrize("names", [["test.json"], ["README.md"], ["train.json", "train.parquet"]])
def test_a_dataset_without_one_clear_train_split_is_refused(names: list[str]) -> None:
    with pytest.raises(UserError):
        choose_files(names, "", "hub:o/n")
