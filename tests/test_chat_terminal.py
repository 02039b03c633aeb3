"""`codeup chat` with a model in the process and with the same one behind a URL."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from serve_for_tests import served, tiny_model
from transformers import AutoTokenizer
from typer.testing import CliRunner

from codeup.chat import load_renderer
from codeup.cli.app import app
from codeup.cli.talking import chat
from codeup.cli.terminal import Terminal
from codeup.engines.hf import Engine
from codeup.errors import UserError
from codeup.types import Message

SETTINGS: dict[str, Any] = {"name": "", "max_new_tokens": 12, "temperature": 0.0, "token_env": ""}
TOKEN = "a-token-of-this-test-only"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def said(model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **more: Any) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO("write add\nand subtract\n\nwrite add\n"))
    chat(model, **{**SETTINGS, **more})
    return capsys.readouterr().out


def wanted(folder: Path) -> str:
    """The conversation worked out with the engine alone: two turns, then the first one afresh."""
    engine, renderer = Engine(folder), load_renderer(folder, "alpaca")
    turns, answers = [], []
    for text in ("write add", "and subtract"):
        turns.append(Message("user", text))
        answer = engine.generate([renderer.prompt(turns)], max_new_tokens=12, end_ids=renderer.end_ids)[0].text
        turns.append(Message("assistant", answer))
        answers.append(answer)
    assert answers[0] != answers[1]
    return "".join(f"{answer}\n" for answer in [*answers, answers[0]])


def test_a_model_here_and_behind_a_url_say_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = wanted(folder)
    capsys.readouterr()
    assert said(str(folder), monkeypatch, capsys) == expected
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    with served(folder, token=TOKEN) as server:
        capsys.readouterr()
        assert said(f"{server.base}/v1", monkeypatch, capsys, token_env="THE_TOKEN") == expected
        assert said(f"{server.base}/v1/", monkeypatch, capsys, token_env="THE_TOKEN", name="tiny") == expected
        with pytest.raises(UserError, match="no model 'other'"):
            said(f"{server.base}/v1", monkeypatch, capsys, token_env="THE_TOKEN", name="other")
        with pytest.raises(UserError, match=r"(?s)401.*--token-env"):
            said(f"{server.base}/v1", monkeypatch, capsys)
    with pytest.raises(UserError, match="nothing listens there"):
        said(f"{server.base}/v1", monkeypatch, capsys, token_env="THE_TOKEN")


def test_a_model_with_a_chat_template_of_its_own_is_asked_in_it_here_as_by_the_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "
    tokenizer.save_pretrained(other)
    with served(other, template=None) as server:
        expected = said(f"{server.base}/v1", monkeypatch, capsys)
    assert said(str(other), monkeypatch, capsys) == expected != wanted(folder)


def test_ctrl_c_ends_a_conversation_without_promising_that_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Terminal) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Terminal, "talk", interrupted)
    done = CliRunner().invoke(app, ["chat", str(folder)])
    assert (done.exit_code, "continues" in done.output) == (130, False)
