"""Seeds read, answers cut into tasks and sections, evolved tasks eliminated, folders kept apart."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from codeup.errors import UserError
from codeup.synth import methods, prompts, sections
from codeup.synth.candidates import CUT_OFF, EMPTY, FILTERED, GIVEN_UP, NOT_DELIVERED, REFUSED, Prompt, from_tasks
from codeup.synth.endpoint import Answer
from codeup.synth.make import alone
from codeup.synth.seeds import read_code, read_tasks, snippets
from codeup.synth.settings import Settings, belongs

NAMES = ("instruction", "solution", "tests")
TASK = """### Task {n}

[Instruction]
Say {n}.

[Solution]
```python
# [Tests]
### Task 9
def say():
    return {n}
```

**Tests:**
assert say() == {n}
"""


def test_headings_count_outside_of_code_only_and_in_any_dress() -> None:
    found = sections.tasks("Sure!\n" + TASK.format(n=1) + TASK.format(n=2).replace("### Task 2", "**Task 2:**"), NAMES)
    assert [task.number for task in found] == [1, 2]
    assert found[1].sections["instruction"] == "Say 2."
    assert "# [Tests]\n### Task 9" in found[1].sections["solution"]
    assert found[1].sections["tests"] == "assert say() == 2"


def test_a_fence_that_is_not_closed_is_noticed() -> None:
    assert sections.fenced("a\n```\nb\n```")
    assert sections.fenced("no code")
    assert not sections.fenced("a\n```python\nb")


def answered(text: str, finish: str = "stop", failure: str = "") -> list[str]:
    """The reasons of three tasks that were asked for."""
    prompt = Prompt("", prompts.self_instruct(tests=True), 3)
    return [each.drop for each in from_tasks(prompt, Answer("k", text, finish, 1, 1, True, {}, failure))]


def test_every_task_that_was_asked_for_has_one_reason() -> None:
    two = TASK.format(n=1) + TASK.format(n=2)
    three = two + TASK.format(n=3)
    assert answered(three) == ["", "", ""]
    assert answered(three + TASK.format(n=4)) == ["", "", ""]
    assert answered(two) == ["", "", NOT_DELIVERED]
    assert answered(two, "length") == ["", CUT_OFF, NOT_DELIVERED]
    assert answered(three[: three.rindex("    return")], "stop") == ["", "", CUT_OFF]
    assert answered("I'm sorry, but I can't help with exercises.") == [REFUSED] * 3
    assert answered("") == [EMPTY] * 3
    assert answered("", "length") == [CUT_OFF] * 3
    assert answered(three, "content_filter") == [FILTERED] * 3
    assert answered("", failure="status 500") == [GIVEN_UP] * 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Write f(xs) that doubles all numbers.", methods.NO_CHANGE),
        ("write F xs that Doubles, all numbers!", methods.NO_CHANGE),
        ("As an AI, I cannot rewrite this.", "refusal"),
        ("to be or not to be...", methods.NO_WORDS),
        ("!!!", methods.NO_WORDS),
        ("Here is the rewritten task: write f(xs) that triples numbers and skips odd ones.", methods.LEAKED),
        ("Write f(xs) that doubles all numbers above the mean, in O(n) time.", ""),
    ],
)
def test_an_evolved_task_is_eliminated_by_rule(text: str, reason: str) -> None:
    assert methods.eliminated("Write f(xs) that doubles all numbers.", text) == reason


def test_tasks_of_many_shapes_are_seeds_and_the_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    rows = [
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Q"},
                      {"role": "assistant", "content": "A"}]},
        {"conversations": [{"from": "human", "value": "Q2"}]},
        {"prompt": "", "completion": "x"},
        {"question": "half \ud800"},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "[1]\n")
    found = read_tasks(path, "MIT")
    assert [(seed.text, seed.answer, seed.span) for seed in found.seeds] == [
        ("Add.\n1, 2", "3", (0,)), ("Q", "A", (1,)), ("Q2", "", (2,))
    ]  # fmt: skip
    assert {seed.licence for seed in found.seeds} == {"MIT"}
    assert sum(found.dropped.values()) == 3


def test_seeds_without_a_task_say_which_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"aufgabe": "Addiere."}\n')
    with pytest.raises(UserError, match="'aufgabe'"):
        read_tasks(tmp_path / "s.jsonl", "")
    (tmp_path / "s.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="oss-instruct"):
        read_tasks(tmp_path / "s.py", "")


def test_snippets_are_lines_in_a_row_with_their_place_and_licence(tmp_path: Path) -> None:
    lines = [f"line_number_{n} = {n} + 1000" for n in range(40)]
    (tmp_path / "a.py").write_text("# SPDX-License-Identifier: Apache-2.0\n" + "\n".join(lines))
    (tmp_path / "b.js").write_text("\n".join(f"const value{n} = {n} + 1000;" for n in range(40)))
    (tmp_path / "c.txt").write_text("no code " * 20)
    (tmp_path / "d.py").write_bytes(b"\xff\xfe" * 50)
    files, dropped = read_code(tmp_path, "")
    assert {Path(each.path).name: each.licence for each in files} == {"a.py": "Apache-2.0", "b.js": "unknown"}
    assert dict(dropped) == {"file is not UTF-8 text": 1}
    drawn = list(itertools.islice(snippets(files, 3), 50))
    for seed in drawn:
        first, last = seed.span
        assert 1 <= last - first + 1 <= 15
        assert seed.text == "\n".join(Path(seed.path).read_text().splitlines()[first - 1 : last])
    assert len({(seed.path, seed.span) for seed in drawn}) > 30
    assert drawn == list(itertools.islice(snippets(files, 3), 50))
    assert drawn != list(itertools.islice(snippets(files, 4), 50))


def test_a_folder_belongs_to_its_settings_and_to_one_run(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"instruction": "x"}\n')
    settings = Settings("evol", tmp_path / "s.jsonl", "m", rows=5)
    out = tmp_path / "out"
    with alone(out):
        belongs(out, settings, answered=1)
        belongs(out, Settings("evol", tmp_path / "s.jsonl", "m", rows=50), answered=1)
        with pytest.raises(UserError, match=r"other settings \(model, temperature\)"):
            belongs(out, Settings("evol", tmp_path / "s.jsonl", "n", temperature=0.1), answered=1)
        (tmp_path / "s.jsonl").write_text('{"instruction": "y"}\n')
        with pytest.raises(UserError, match=r"other settings \(seeds\)"):
            belongs(out, settings, answered=1)
        with pytest.raises(UserError, match="another run"), alone(out):
            pass
        belongs(out, settings, answered=0)  # nothing was asked yet: a run that could not begin leaves no claim
        belongs(out, settings, answered=1)
    with alone(out):
        pass


def test_a_template_is_known_by_its_text_and_keeps_the_braces_of_what_is_filled_in() -> None:
    template = prompts.answer(tests=True)
    assert template.sha256 != prompts.answer(tests=False).sha256
    assert "return {x: 1}" in template.fill(instruction="return {x: 1}")
    every = [prompts.self_instruct(tests=True), prompts.oss_instruct(tests=True), template,
             *map(prompts.evolve, prompts.OPERATIONS)]  # fmt: skip
    assert len({each.sha256 for each in every}) == len(every)
    filled = [each.fill(instruction="I", snippet="S", shown=1, asked=2, examples="E") for each in every]
    assert not [text for text in filled if "{instruction}" in text or "{{" in text or "{how}" in text]
