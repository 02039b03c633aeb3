"""What text says about a benchmark: items from files, runs of words, shapes of functions, ranking."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeup.data.code import _PROSE, blocks, completed, parse
from codeup.data.contamination import functions, ngrams, retrieval
from codeup.data.contamination.items import Item, read_items
from codeup.data.contamination.retrieval import Ranking
from codeup.errors import UserError


def item(task: str, prompt: str, solution: str = "", tests: str = "") -> Item:
    return Item("bench", task, prompt, solution, tests, program=solution if "def " in solution else "")


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


# --- items


def test_the_shape_of_a_file_decides_how_its_items_are_tried(tmp_path: Path) -> None:
    humaneval = {"task_id": "H/1", "prompt": "def f(x):\n", "canonical_solution": "    return x\n", "entry_point": "f",
                 "test": "def check(candidate):\n    assert candidate(1) == 1\n"}  # fmt: skip
    mbpp = {"task_id": 2, "text": "Say g.", "code": "def h(x):\n    return g(x)\ndef g(x):\n    return x\n",
            "test_list": ["assert g(1) == 1", "assert g(2) == 2"]}  # fmt: skip
    plus = {"task_id": "P/3", "prompt": '"""Say k."""\n', "canonical_solution": "def k(x):\n    return x\n",
            "entry_point": "k", "base_input": [[1]], "plus_input": [[2], [3]]}  # fmt: skip
    rust = {
        "task_id": "R/4",
        "prompt": "fn f() {",
        "canonical_solution": "}",
        "test": "f();",
        "declaration": "fn f() {",
    }
    found = [read_items("b", lines(tmp_path / "b.jsonl", [each]))[0] for each in (humaneval, mbpp, plus, rust)]
    assert [each.entry_point for each in found] == ["f", "g", "k", ""]
    assert [each.runnable for each in found] == [True, True, True, False]
    assert [list(each.inputs) for each in found] == [[], [], [[1], [2], [3]], []]
    assert [each.name for each in found] == ["b:H/1", "b:2", "b:P/3", "b:R/4"]


def test_a_file_of_questions_or_plain_text_is_enough(tmp_path: Path) -> None:
    gsm = read_items("gsm", lines(tmp_path / "a.jsonl", [{"question": "How many?", "answer": "#### 3"}]))
    assert (gsm[0].prompt, gsm[0].solution, gsm[0].runnable) == ("How many?", "#### 3", False)
    mapped = read_items("own", lines(tmp_path / "b.jsonl", [{"aufgabe": "Wie viele?"}]), {"prompt": "aufgabe"})
    assert mapped[0].prompt == "Wie viele?"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (
            {"problem_id": 7, "question": "Q", "solutions": '["print(1)", "x"]', "input_output": ""},
            ("7", "Q", "print(1)"),
        ),
        ({"problem_id": 7, "question": "Q", "solutions": ""}, ("7", "Q", "")),
        ({"question_title": "T", "question_content": "Q", "question_id": "abc_a"}, ("abc_a", "Q", "")),
        ({"prompt": "Q", "reference_code": "x = 1", "code_context": "c"}, ("0", "Q", "x = 1")),
        ({"nl": "Q", "code": "int f ( )"}, ("0", "Q", "int f ( )")),
        ({"repo": "a", "docstring": "Q", "code": "def f(): pass"}, ("0", "Q", "def f(): pass")),
        ({"task_id": "B/0", "complete_prompt": "Q", "canonical_solution": "s"}, ("B/0", "Q", "s")),
    ],
)
def test_the_texts_of_other_benchmarks_files_are_found(
    row: dict[str, Any], found: tuple[str, str, str], tmp_path: Path
) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(row) + "\n")
    (item,) = read_items("b", tmp_path / "b.jsonl")
    assert (item.task_id, item.prompt, item.solution) == found


def test_wrong_columns_name_those_that_are_there_and_suggest_a_mapping(tmp_path: Path) -> None:
    path = lines(tmp_path / "b.jsonl", [{"nr": 1, "promt": "Add."}])
    with pytest.raises(UserError, match=r"the columns are: 'nr', 'promt'[^!]*prompt=promt"):
        read_items("b", path)
    with pytest.raises(UserError, match=r"no column 'promtt' \(did you mean 'promt'\?\)"):
        read_items("b", path, {"prompt": "promtt"})
    with pytest.raises(UserError, match="problem 0 has no text"):
        read_items("b", lines(tmp_path / "c.jsonl", [{"prompt": " "}]))


# --- runs of words

TASK = "count how often the digit seven occurs in all numbers below n that eleven or thirteen divide"


def test_a_prompt_is_found_whole_and_in_part_in_any_writing() -> None:
    grams = ngrams.Grams([item("1", TASK)])
    half = " ".join(TASK.split()[:14])
    found = grams.overlaps([f"Please: {TASK.upper()}!", half, "Something else entirely", TASK.replace("seven", "six")])
    assert [(each.row, each.field, each.shared, each.grams, each.word) for each in found] == [
        (0, "prompt", 5, 5, 1), (1, "prompt", 2, 5, 0),
    ]  # fmt: skip


def test_what_three_items_share_belongs_to_none_of_them() -> None:
    begin = "write a python function that takes a list of numbers and returns the value of"
    items = [item(str(n), f"{begin} number {n}") for n in range(3)]
    assert ngrams.Grams(items).overlaps([f"{begin} something"]) == []
    assert len(ngrams.Grams(items[:2]).overlaps([f"{begin} something"])) == 2


def test_rows_are_numbered_on_from_the_first() -> None:
    assert [each.row for each in ngrams.Grams([item("1", TASK)]).overlaps(["no", TASK], first_row=7)] == [8]


# --- functions


def shapes(code: str) -> list[functions.Shape]:
    return functions.shapes([code])


def test_a_shape_forgets_own_names_docstrings_and_annotations_and_nothing_else() -> None:
    first = 'def f(xs: list, t: int):\n    """Doc."""\n    for x in xs:\n        if x > t:\n            return True\n'
    second = "def g(values, gap):\n    for v in values:\n        if v > gap:\n            return True\n"
    assert shapes(first)[0] == shapes(second)[0]
    assert shapes(second.replace(">", ">="))[0].whole != shapes(second)[0].whole
    assert shapes(second.replace("v > gap", "gap > v"))[0].whole != shapes(second)[0].whole
    assert shapes("def f(a):\n    return len(a)")[0].whole != shapes("def f(a):\n    return max(a)")[0].whole


def test_shared_statements_show_where_functions_are_only_alike() -> None:
    a = shapes("def f(a):\n    b = a + 1\n    return b * 2")[0]
    b = shapes("def g(x):\n    y = x + 1\n    return y * 3")[0]
    assert len(a.statements & b.statements) == 1


def test_code_is_found_in_fences_between_sentences_and_alone() -> None:
    code = "def f(a):\n    return a\n"
    assert [blocks(f"Here:\n```python\n{code}```\nDone."), blocks(code)] == [[code], [code]]
    assert blocks(f"Here it is\n\n{code}\nand this is how it works.") == [code.strip()]
    assert blocks("```js\nfunction f() {}\n```") == []
    assert blocks("word") == [] and blocks("A sentence about def and class.") == []


@pytest.mark.parametrize("text", [
    "x if y else z", "a in b", "a is b", "a and b", "not x", "lambda x: x", "match x:\n    case 1: pass", "match (x)",
    "async def f(): pass", "del x", "import x", "from x import y", "print (x)", "a != b", "a!=b", "f'x'",
    "rb'x'", "\n\nassert x", "yields = 1", "for x in y: pass", "x: int", "x\ny", "x  # two words",
    "class_ = 1", "None if a else b", "type = 1", "case = 2", "_ = 3",
])  # fmt: skip
def test_python_is_never_taken_for_prose(text: str) -> None:
    assert parse(text) is not None


@pytest.mark.parametrize(
    "text", ["Sure! Here it is:\nx = 1", "The function adds.", "  To do this\n", "print x", "Add a b"]
)
def test_prose_is_told_by_its_first_words(text: str) -> None:
    assert parse(text) is None and _PROSE.match(text)


def test_only_definitions_are_made_into_a_program() -> None:
    program, found = functions.program_of(
        ["import math\nn = int(input())\nK = 3\ndef f(a, b=1):\n    return K\nprint(f(n))"]
    )
    assert "input" not in program and "print" not in program and "K = 3" in program
    assert found == [functions.Callable_("f", 1, 2)]


def test_methods_are_called_on_a_fresh_object_with_the_arguments_it_needs() -> None:
    program, found = functions.program_of(
        ["class A:\n    def __init__(self, x):\n        self.x = x\n    def get(self):\n        return self.x\n"
         "class B:\n    @staticmethod\n    def twice(y):\n        return 2 * y\n"]
    )  # fmt: skip
    assert [(each.fewest, each.most) for each in found] == [(1, 1), (1, 1)]
    names: dict[str, Any] = {}
    exec(program, names)
    assert [eval(each.expression, names)(21) for each in found] == [21, 42]


# --- ranking


def test_the_item_itself_scores_one_and_comes_first() -> None:
    solution = "def f(n):\n    return sum(str(k).count('7') for k in range(n) if k % 11 == 0 or k % 13 == 0)"
    items = [item("1", TASK, solution)]
    rows = ["Bake a cake", f"{TASK}\n{solution}", "count the numbers", "def g(m):\n    return m"]
    ranking = Ranking(items)
    ranking.add(rows[:2], [shapes(row) for row in rows[:2]])
    ranking.add(rows[2:], [shapes(row) for row in rows[2:]])
    best = ranking.best(0, 3)
    assert best[0].row == 1 and best[0].words == pytest.approx(1.0, abs=0.3) and best[0].shapes > 0.9
    assert 0 not in [each.row for each in best]


def test_a_renamed_solution_is_found_by_its_shape() -> None:
    items = [item("1", "alpha beta gamma", "def f(a):\n    b = a * 31 + 7\n    return b % 11\n")]
    rows = ["def g(q):\n    r = q * 31 + 7\n    return r % 11\n", "alphabet soup"]
    ranking = Ranking(items)
    ranking.add(rows, [shapes(row) for row in rows])
    assert [each.row for each in ranking.best(0, 5)] == [0]


def some_text(draw: random.Random, size: int) -> str:
    return " ".join(f"w{int(draw.paretovariate(0.6)) % 400}" for _ in range(size))


@pytest.mark.parametrize("count", [1, 3, 10, 50])
def test_leaving_rows_out_of_a_ranking_changes_none_of_its_best(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 rows against 20 items: all rows scored, and only those that can still be among the best; to the bit."""
    draw = random.Random(count)
    items = [item(str(number), some_text(draw, 40)) for number in range(20)]
    rows = [some_text(draw, draw.randrange(1, 90)) for _ in range(2000)]
    rows += rows[:50]  # equals: the earlier row comes first
    among = np.array([draw.random() < 0.7 for _ in rows])
    found = []
    for look in (1 << 40, 1):
        monkeypatch.setattr(retrieval, "LOOK", look)
        monkeypatch.setattr(retrieval, "FEW", count)
        ranking = Ranking(items)
        for begin in range(0, len(rows), 64):
            ranking.add(rows[begin : begin + 64], [[] for _ in rows[begin : begin + 64]])
        found.append([ranking.best(number, count, mask) for number in range(20) for mask in (None, among)])
    assert found[0] == found[1]
    assert all(len(best) == count for best in found[0])
    assert any(every != masked for every, masked in zip(found[0][::2], found[0][1::2], strict=True))


def test_few_rows_are_scored_in_full_where_a_rare_word_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 rows, and the item's rare word in 3 of them: no other row can be among the 3 best."""
    rows = [f"w{number % 7} common words of all rows" for number in range(1000)]
    for place in (10, 500, 900):
        rows[place] += " quetzalcoatlus pterodactyl archaeopteryx"
    ranking = Ranking([item("1", "quetzalcoatlus pterodactyl archaeopteryx w3")])
    ranking.add(rows, [[] for _ in rows])
    monkeypatch.setattr(retrieval, "LOOK", 1)
    assert ranking._words.asked(0).hopeful(3, None).tolist() == [10, 500, 900]
    assert [each.row for each in ranking.best(0, 3)] == [10, 500, 900]


@pytest.mark.real_data
def test_the_items_of_all_public_files_are_read_and_python_ones_are_runnable(public_data: Path) -> None:
    wanted = {
        "HumanEval.jsonl.gz": (164, 164), "HumanEvalPlus-v0.1.10.jsonl.gz": (164, 164),
        "MbppPlus-v0.2.0.jsonl.gz": (378, 378), "mbxp/mbpp_release_v1.jsonl.gz": (974, 972),
        "mbxp/mbtsp_release_v1.2.jsonl.gz": (968, 0), "humaneval-x/humaneval_python.jsonl.gz": (164, 164),
        "humaneval-x/humaneval_rust.jsonl.gz": (164, 0),
    }  # fmt: skip
    for name, (items, runnable) in wanted.items():
        found = read_items("b", public_data / "benchmarks" / name)
        assert (len(found), sum(each.runnable for each in found)) == (items, runnable), name


def test_a_gzip_file_that_was_cut_is_no_smaller_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"prompt": "x" * 500}).encode())[:-9])
    with pytest.raises(UserError, match="damaged or cut short"):
        read_items("b", path)


STUB = 'from typing import List\n\n\ndef last(xs: List[int]) -> int:\n    """The last one."""\n'


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (STUB, "    n = len(xs)\n    return xs[n - 1]\n"), (STUB, "n = len(xs)\n    return xs[n - 1]"),
        (STUB, "n = len(xs)\nreturn xs[n - 1]"),
        (STUB, "    def at(i):\n        return xs[i]\n    return at(-1)"),
        (f"Please complete this.\n```python\n{STUB}```\nThanks!", "```python\n    return xs[-1]\n```"),
    ],
)  # fmt: skip
def test_a_body_completes_the_function_that_the_question_began(question: str, answer: str) -> None:
    names: dict[str, Any] = {}
    exec(completed(question, answer), names)
    assert names["last"]([3, 1, 2]) == 2


@pytest.mark.parametrize(
    ("question", "answer"), [("Say hi", "Hi"), (STUB, "def last(xs):\n    return 1"), (STUB, "It is: (")]
)
def test_what_does_not_fit_completes_nothing(question: str, answer: str) -> None:
    assert completed(question, answer) == ""
