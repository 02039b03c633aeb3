"""What the inspect page and the terminal show of training data: right counts, exact tokens, and no text that acts."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared_fixture import prepare
from typer.testing import CliRunner

from codeup import models
from codeup.chat import load_renderer
from codeup.cli.app import app
from codeup.cli.inspecting import sparks
from codeup.errors import UserError
from codeup.prepared import page, where
from codeup.prepared.export import export
from codeup.prepared.flow import flow
from codeup.prepared.look import bins, look_at
from codeup.prepared.look_files import guess_source, look_at_files
from codeup.prepared.shown import Few, pieces
from codeup.types import Conversation, Message

ATTACK = "</code></pre><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>\x1b[31m</style>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return prepare(folder / "data", folder / "run", ", decontaminate: [{name: bench, path: bench.jsonl}]")


@pytest.fixture(scope="module")
def look(made: Path) -> dict[str, Any]:
    return look_at(where.load(made))


class Tags(HTMLParser):
    """Elements of a page, and the text of its examples."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._deep = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag == "pre":
            self._deep = dict(attrs).get("class") == "rendered"
            self.texts += [""] * self._deep

    def handle_endtag(self, tag: str) -> None:
        self._deep = self._deep and tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._deep:
            self.texts[-1] += data


# --- what is looked at -----------------------------------------------------------------------------------------------


def test_a_prepared_dataset_is_counted_whole(look: dict[str, Any]) -> None:
    assert (look["funnel"]["rows_in"], look["funnel"]["rows_kept"]) == (33, 31)
    assert dict(map(tuple, look["turns"])) == {1: 31}
    assert dict(map(tuple, look["languages"])) == {"python": 20, "no code": 11}
    assert sum(count for _, _, count in look["lengths"]["bins"]) == 31
    assert look["licence"]["licence"] == "not stated" and look["contamination"]["hits"] == []
    assert len(look["examples"]) == 31 and {each["side"] for each in look["examples"]} == {"train", "validation"}


def test_dropped_rows_are_shown_with_the_text_of_their_file(look: dict[str, Any]) -> None:
    dropped = {group["reason"]: group for group in look["dropped"]}
    assert {reason: group["rows"] for reason, group in dropped.items()} == look["funnel"]["dropped"]
    (twice,) = dropped["exact duplicate"]["examples"]
    assert (twice["row"], twice["text"]) == (21, "instruction: Say hi\noutput: Hi! ")


def test_an_example_is_the_stored_document_and_the_same_seed_draws_the_same(made: Path, look: dict[str, Any]) -> None:
    renderer = load_renderer(models.locate("nano-base"), "alpaca")
    rows = {(each["source"], each["row"]): each for each in look["examples"]}
    for line in (made / "conversations.jsonl").read_text().splitlines():
        row = json.loads(line)
        turns = tuple(Message(turn["role"], turn["content"]) for turn in row["messages"])
        tokens = renderer.render(Conversation(turns))
        shown = rows[row["source"], row["row"]]
        assert "".join(text for text, _, _ in shown["pieces"]) == "".join(t for t, _ in renderer.text_pieces(tokens))
        assert (shown["tokens"], shown["learned"]) == (len(tokens.ids), sum(tokens.trained))
    few = [look_at(where.load(made), seed=seed, examples=5)["examples"] for seed in (1, 1, 2)]
    assert len(few[0]) == 5 and few[0] == few[1] != few[2]


def test_learned_and_special_tokens_are_told_apart() -> None:
    renderer = load_renderer(models.locate("nano-base"), "llama3")
    tokens = renderer.render(Conversation((Message("user", "Say <|eot_id|>"), Message("assistant", "hi"))))
    found = pieces(renderer, tokens)
    special = [(text, learned) for text, learned, special in found if special]
    assert [text for text, _ in special].count("<|eot_id|>") == 2, "that of the question's text is plain text"
    assert special[-1] == ("<|eot_id|>", True) and special[0][1] is False
    assert "".join(text for text, learned, _ in found if learned) == "hi<|eot_id|>"
    assert "".join(text for text, _, _ in found).count("<|eot_id|>") == 3


def test_bins_count_every_row_and_say_what_lies_beyond() -> None:
    found = bins(np.array([1, 5, 10, 10, 40]), cutoff=10)
    assert sum(count for _, _, count in found["bins"]) == 5
    assert (found["over"], found["longest"], found["quartiles"]) == (1, 40, [5, 10, 10])
    assert bins(np.array([], dtype=int), 10) == {}


def test_a_few_of_many_are_drawn_evenly() -> None:
    few = Few(2, seed=1)
    for number in range(1000):
        few.add("long", {"n": number})
    few.add("rare", {"n": -1})
    assert few.counts == {"long": 1000, "rare": 1}
    assert len(few.kept["long"]) == 2 and max(each["n"] for each in few.kept["long"]) > 1 and len(few.kept["rare"]) == 1


def test_a_raw_file_is_read_by_its_columns_and_its_near_duplicates_are_found(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    rows = [{"prompt": f"{words} {end}", "response": "same answer"} for end in ("a", "b")] + [
        {"prompt": "", "response": "x"}
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    look = look_at_files([path], title="rows", cutoff=64)
    assert guess_source(path) == ("prompt_response", {}) and look["about"].startswith("read as prompt_response")
    assert look["duplicates"]["duplicates"] == {"near duplicate": 1} and look["duplicates"]["kept"]
    assert (look["funnel"]["rows_in"], look["funnel"]["dropped"]) == (3, {"empty question": 1})
    assert look["dropped"][0]["examples"][0]["text"] == "response: x"
    path.write_text('{"text": "x"}\n')
    with pytest.raises(UserError, match="no source reads these columns: text"):
        look_at_files([path], title="rows")


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_examples_text_exactly_and_no_foreign_element(look: dict[str, Any], tmp_path: Path) -> None:
    hostile = json.loads(json.dumps(look))
    hostile["title"] = hostile["about"] = ATTACK
    hostile["notes"] = [ATTACK]
    hostile["languages"][0][0] = hostile["dropped"][0]["reason"] = ATTACK
    hostile["dropped"][0]["examples"][0] |= {"source": ATTACK, "text": ATTACK}
    hostile["duplicates"]["examples"][0]["dropped"] |= {"text": ATTACK, "source": ATTACK}
    hostile["funnel"]["sources"][0]["label"] = ATTACK
    hostile["funnel"]["dropped"] = {ATTACK: 1, "empty": 1}
    hostile["licence"]["licence"] = hostile["licence"]["sources"][0]["label"] = ATTACK
    hostile["examples"][0] |= {"source": ATTACK, "pieces": [[ATTACK, True, False]], "side": ATTACK}
    hostile["contamination"]["hits"] = [
        {key: ATTACK for key in ("task_id", "benchmark", "method", "action", "source", "evidence", "why_not", "text")}
        | {"row": 1}
    ]
    hostile["replay"] = ATTACK
    text = page.render([hostile], title=ATTACK)
    found = Tags(text)
    assert found.tags.count("script") == 1 and "img" not in found.tags and found.tags.count("style") == 1
    assert "\x1b" not in text
    assert ATTACK.replace("\x1b", "␛") in found.texts
    plain = Tags(page.render([look], title="x"))
    assert sorted(plain.texts) == sorted("".join(t for t, _, _ in each["pieces"]) for each in look["examples"])


def test_the_page_loads_nothing_and_its_policy_names_its_own_style_and_script(look: dict[str, Any]) -> None:
    text = page.render([look], title="x")
    assert not re.search(r"https?://", re.sub(r"http://www\.w3\.org/\S+", "", text))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy and "default-src &#39;none&#39;" in policy[1] and "unsafe" not in policy[1]
    assert not re.search(r'\sstyle="|\son\w+="', text)


def test_many_long_examples_stay_within_the_budget(look: dict[str, Any]) -> None:
    long = {**look["examples"][0], "pieces": [("<&>" * 20, True, False)] * 1500}
    text = page.render([{**look, "examples": [long] * 40}], title="x")
    assert len(text.encode()) < 5_000_000
    assert re.search(r"\d+ more are too long for this page", text)


def test_words_that_differ_are_marked_on_both_sides() -> None:
    left, right = page.marked("add a <b>", "add c <b>")
    assert left == "add <mark>a</mark> &lt;b&gt;" and right == "add <mark>c</mark> &lt;b&gt;"


def test_the_picture_has_a_ribbon_for_each_file_and_outcome_and_its_heights_add_up(look: dict[str, Any]) -> None:
    picture = str(flow(look["funnel"]))
    told = re.findall(r"<title>([^<]+→[^<]+)</title>", picture)
    assert told == [
        "code_alpaca: first.jsonl → kept: 21 rows",
        "code_alpaca: first.jsonl → exact duplicate: 1 rows",
        "sharegpt: second.jsonl → kept: 10 rows",
        f"sharegpt: second.jsonl → {next(r for r in look['funnel']['dropped'] if r != 'exact duplicate')}: 1 rows",
    ]
    heights = [float(h) for h in re.findall(r'class="node file"[^>]*height="([\d.]+)"', picture)]
    assert sum(heights) == pytest.approx(300, abs=0.2)
    assert str(flow({**look["funnel"], "rows_in": 0})) == ""


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_shows_a_run_a_file_and_an_export_and_writes_the_page(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", format="sharegpt")
    rows = made.parents[2] / "data" / "first.jsonl"
    for place, says in ((made.parents[1], "31"), (rows, "read as alpaca"), (tmp_path / "out", "read as sharegpt")):
        run = CliRunner().invoke(app, ["data", "inspect", str(place), "--html", str(tmp_path / "page.html")])
        assert run.exit_code == 0, run.stderr
        assert says in run.stdout and "learned from (coloured)" in run.stdout and "\x1b" not in run.stdout
        assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    told = json.loads(CliRunner().invoke(app, ["data", "inspect", str(made), "--json"]).stdout.splitlines()[-1])
    assert told["html"] is None and told["datasets"][0]["funnel"]["rows_kept"] == 31


def test_escape_sequences_of_rows_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"instruction": "[red]q\x1b[2J", "output": "a\x1b]0;title\x07 [/red]"}) + "\n")
    run = CliRunner().invoke(app, ["data", "inspect", str(path)])
    assert run.exit_code == 0 and "\x1b" not in run.stdout and "\x07" not in run.stdout
    assert "[red]q␛[2J" in run.stdout and "a␛]0;title␇ [/red]" in run.stdout


@pytest.mark.parametrize(
    "argv",
    [
        ["none.jsonl"],
        ["notes.txt"],
        ["empty.jsonl"],
        ["rows.jsonl", "--source", "alpacca"],
        ["rows.jsonl", "--html", "."],
    ],
)
def test_wrong_input_exits_2_without_a_traceback(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    run = CliRunner().invoke(app, ["data", "inspect", *argv])
    assert run.exit_code == 2 and run.stderr.startswith("error: ")


def test_a_histogram_in_one_line() -> None:
    assert sparks([0, 1, 100, 50]) == " ▁█▄" and sparks([]) == ""


def _said(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"{role} says"} for role in roles]


SAID = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
SHAPES: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    # TRL: docs, "Dataset formats and types"
    ({"messages": _said("user", "assistant")}, "messages", {}),
    ({"prompt": "The sky is", "completion": " blue."}, "prompt_completion", {}),
    ({"prompt": _said("system", "user"), "completion": _said("assistant")}, "prompt_completion", {}),
    ({"prompt": "The sky is", "completion": " blue.", "label": True}, "prompt_completion", {}),
    ({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}, "preferences", {}),
    ({"chosen": _said("user", "assistant"), "rejected": [*_said("user"), SAID[1]]}, "", {}),
    ({"prompt": _said("user"), "chosen": _said("assistant"), "rejected": "no"}, "preferences", {}),
    # Axolotl: docs, "Dataset formats", instruction tuning, conversation and RLHF
    ({"instruction": "Add", "input": "1, 2", "output": "3"}, "alpaca", {}),
    ({"instruction": "Add", "input": "1, 2", "response": "3"}, "alpaca", {"output": "response"}),
    ({"conversations": SAID}, "sharegpt", {}),
    ({"conversations": _said("user", "assistant")}, "messages", {"messages": "conversations"}),
    ({"messages": SAID}, "sharegpt", {"conversations": "messages"}),
    ({"category": "c", "question": "q", "answer": "a"}, "prompt_response",
     {"prompt": "question", "response": "answer"}),
    ({"INSTRUCTION": "i", "RESPONSE": "r"}, "prompt_response", {"prompt": "INSTRUCTION", "response": "RESPONSE"}),
    ({"message_1": "q", "message_2": "a"}, "prompt_response", {"prompt": "message_1", "response": "message_2"}),
    ({"prompt": "p", "generation": "g"}, "prompt_response", {"response": "generation"}),
    ({"article": "a", "summary": "s"}, "prompt_response", {"prompt": "article", "response": "summary"}),
    ({"system_prompt": "s", "question": "q", "response": "r"}, "prompt_response",
     {"prompt": "question", "system": "system_prompt"}),
    ({"system": "s", "question": "q", "chosen": "c", "rejected": "r"}, "preferences", {"prompt": "question"}),
]  # fmt: skip


@pytest.mark.parametrize(("row", "source", "columns"), SHAPES, ids=[", ".join(row) for row, _, _ in SHAPES])
def test_the_shapes_of_trl_and_axolotl_are_recognised(
    tmp_path: Path, row: dict[str, Any], source: str, columns: dict[str, str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    if source:
        assert guess_source(path) == (source, columns)
        return
    with pytest.raises(UserError, match="as preferences they would be dropped"):
        guess_source(path)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "def f(): pass"}, "one text says nothing about what is asked"),
        ({"segments": [{"label": True, "text": "x"}]}, "the template is this tool's to write"),
        ({"input_ids": [1], "labels": [1]}, "tokens already"),
        ({"tools": [{}], "messages": _said("user", "assistant")}, "as messages they would be dropped: tool call"),
    ],
)
def test_a_shape_that_cannot_be_read_says_why(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=why):
        guess_source(path)
