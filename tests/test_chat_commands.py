"""What can be typed into `codeup chat` besides instructions."""

from __future__ import annotations

import builtins
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeup.cli import terminal
from codeup.cli.terminal import Sampling, Terminal
from codeup.errors import UserError, WorkFailed
from codeup.sandbox.pool import Pool
from codeup.types import Message

CODE = "Here:\n```python\nprint(6 * 7)\nopen('made.txt', 'w').write('x')\n```\nDone."


class Model:
    """Answers with a script, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[list[tuple[str, str]], Sampling]] = []

    def __call__(self, turns: list[Message], how: Sampling) -> Iterator[str]:
        self.asked.append(([(turn.role, turn.content) for turn in turns], how))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        for at in range(0, len(answer), 3):
            yield answer[at : at + 3]


def talk(model: Model, *lines: str, monkeypatch: pytest.MonkeyPatch, person: bool = True) -> Terminal:
    """A session in which these lines are typed, ended by Ctrl-D."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    monkeypatch.setattr(terminal, "_remember", lambda: None)
    there = Terminal("m", model, Sampling())
    typed = iter(lines)

    def typing(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(builtins, "input", typing)
    there.person = person
    there.talk()
    return there


def test_lines_are_joined_by_a_backslash_and_between_three_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model("ok")
    talk(model, "one \\", "two", "'''", "a", "", "  b", "'''", monkeypatch=monkeypatch)
    assert [asked[-1][1] for asked, _ in model.asked] == ["one \ntwo", "a\n\n  b"]


def test_a_system_prompt_and_settings_hold_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model("ok")
    lines = [
        "hi",
        "/system Be brief.",
        "/set temperature 0.5",
        "/set max_tokens 7",
        "/set seed 3",
        "hi",
        "/system",
        "hi",
    ]
    talk(model, *lines, monkeypatch=monkeypatch)
    assert model.asked[0] == ([("user", "hi")], Sampling())
    assert model.asked[1][0][0] == ("system", "Be brief.") and model.asked[1][1] == Sampling(0.5, 1.0, 7, 3)
    assert [role for role, _ in model.asked[2][0]] == ["user", "assistant", "user", "assistant", "user"]


def test_again_replaces_the_last_answer_and_clear_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    there = talk(Model("first", "second", "third"), "q", "/again", monkeypatch=monkeypatch)
    assert [turn.content for turn in there.turns] == ["q", "second"]
    assert talk(Model("a"), "q", "/clear", monkeypatch=monkeypatch).turns == []
    assert talk(Model("a"), "q", "", monkeypatch=monkeypatch).turns == []
    assert talk(Model("a"), "q", "/quit", "more", monkeypatch=monkeypatch).turns[0].content == "q"


class Breaks(Model):
    """Its first answer breaks off after `said`."""

    def __init__(self, said: str) -> None:
        super().__init__("whole")
        self.said = said

    def __call__(self, turns: list[Message], how: Sampling) -> Iterator[str]:
        if self.said is None:
            yield from super().__call__(turns, how)
            return
        said, self.said = self.said, None  # type: ignore[assignment]
        yield said
        raise WorkFailed("the stream broke off")


def test_what_came_of_an_answer_that_broke_off_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = talk(Breaks("half an ans"), "q", monkeypatch=monkeypatch)
    assert [turn.content for turn in there.turns] == ["q", "half an ans"]
    told = capsys.readouterr()
    assert "half an ans\n" in told.out and "broke off" in told.err and "/again asks once more" in told.err
    there = talk(Breaks("half"), "q", "/again", monkeypatch=monkeypatch)
    assert [turn.content for turn in there.turns] == ["q", "whole"]
    assert talk(Breaks(""), "q", monkeypatch=monkeypatch).turns == [], "nothing came: nothing to keep"
    with pytest.raises(WorkFailed):
        talk(Breaks("half"), "q", monkeypatch=monkeypatch, person=False)


def test_an_empty_answer_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    talk(Model(" \n"), "q", monkeypatch=monkeypatch)
    assert "(an empty answer)" in capsys.readouterr().err
    talk(Model(" \n"), "q", monkeypatch=monkeypatch, person=False)
    assert capsys.readouterr().err == ""


MISTAKES = {
    "/set heat 1": "no setting 'heat'",
    "/set temperature hot": "is a number",
    "/set temperature -1": "cannot be -1",
    "/set max_tokens 0": "cannot be 0",
    "/set top_p nan": "cannot be nan",
    "/save": "name a file",
    "/save /nowhere/at/all.md": "cannot write",
    "/run": "no code in a fence",
    "/again": "nothing was asked",
    "/fly": "there is no /fly",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_and_the_conversation_goes_on(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model("no code here")
    talk(model, line, "hello", monkeypatch=monkeypatch)
    assert MISTAKES[line] in capsys.readouterr().err
    assert len(model.asked) == 1


def test_the_code_of_the_last_answer_runs_in_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        Pool(1).close()
    except UserError as error:
        pytest.skip(str(error))
    talk(Model(CODE), "go", "/run", f"/run {tmp_path / 'kept'}", monkeypatch=monkeypatch)
    told = capsys.readouterr()
    assert told.out.count("42\n") == 2
    assert "ended well" in told.err and "made.txt; /run FOLDER keeps them" in told.err
    assert (tmp_path / "kept" / "made.txt").read_text() == "x"


def test_other_languages_run_too_and_what_cannot_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        Pool(1).close()
    except UserError as error:
        pytest.skip(str(error))
    talk(Model("```bash\necho $((6 * 7))\n```\n"), "go", "/run", monkeypatch=monkeypatch)
    assert capsys.readouterr().out.endswith("\n42\n")
    talk(Model("```cobol\nx\n```\n"), "go", "/run", monkeypatch=monkeypatch)
    assert "programs in cobol cannot be run here" in capsys.readouterr().err


def test_a_conversation_is_saved_as_markdown_and_as_messages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    markdown, messages = tmp_path / "t.md", tmp_path / "t.json"
    lines = ["/system S", "a question", f"/save {markdown}", f"/save {messages}"]
    talk(Model("an answer"), *lines, monkeypatch=monkeypatch)
    assert markdown.read_text() == "## System\n\nS\n\n## You\n\na question\n\n## m\n\nan answer\n\n"
    said = [(turn["role"], turn["content"]) for turn in json.loads(messages.read_text())["messages"]]
    assert said == [("system", "S"), ("user", "a question"), ("assistant", "an answer")]


def test_in_colours_the_words_are_the_same_and_control_characters_are_gone(capsys: pytest.CaptureFixture[str]) -> None:
    printer = terminal._Highlighter()
    for piece in ("Text \x1b[2J", "and:\n```py", "thon\ndef f(x):\n    ret", "urn x[0]  # [red]\n```\nend"):
        printer.add(piece)
    printer.end()
    assert capsys.readouterr().out == "Text [2Jand:\n```python\ndef f(x):\n    return x[0]  # [red]\n```\nend\n"


def test_colours_are_those_of_the_terminal_so_that_code_is_seen_on_light_and_dark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    printer = terminal._Highlighter()
    printer.add("```python\nreturn name\n```\n")
    shown = capsys.readouterr().out
    assert "\x1b[94mreturn\x1b[0m name\n" in shown, "a name has the terminal's own colour"
    assert not re.search(r"\x1b\[(38|48);", shown)


def test_from_a_pipe_answers_are_all_that_is_printed_and_unknown_commands_are_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model("one", "two")
    talk(model, "/usr/bin is a folder", "/set seed 9", "next", monkeypatch=monkeypatch, person=False)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("one\ntwo\n", "")
    assert model.asked[0][0] == [("user", "/usr/bin is a folder")] and model.asked[1][1].seed == 9
