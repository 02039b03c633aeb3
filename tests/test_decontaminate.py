"""Finding reworded benchmark problems in rows: what is dropped, what is only marked, what is written and counted."""

from __future__ import annotations

import datetime
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from codeup.cli import preparing
from codeup.data.contamination.functions import Callable_
from codeup.data.contamination.items import read_items
from codeup.data.spool import Spool
from codeup.decontaminate import files, look, suites, trials
from codeup.decontaminate.alike import alike
from codeup.decontaminate.find import find
from codeup.decontaminate.look import Looking, Shard
from codeup.decontaminate.suites import called_with
from codeup.decontaminate.varied import varied
from codeup.sandbox.pool import Pool
from codeup.types import Conversation, Message

WEIGHTS = {
    "task_id": "B/0",
    "prompt": 'def weigh(values, k):\n    """Sum of the values, each times its place plus k.\n'
    '    >>> weigh([1, 2, 3], 1)\n    14\n    """\n',
    "canonical_solution": "    return sum(v * (i + k) for i, v in enumerate(values))\n",
    "entry_point": "weigh",
    "test": "def check(candidate):\n    assert candidate([1, 2, 3], 1) == 14\n"
    "    assert candidate([5, 0, 2, 8], 2) == 58\n"
    "    assert candidate([], 3) == 0\n    assert candidate([7], 4) == 28\n",
}
EVEN = {
    "task_id": "B/1",
    "prompt": 'def even(n):\n    """Is n even?"""\n',
    "canonical_solution": "    return n % 2 == 0\n",
    "entry_point": "even",
    "test": "def check(candidate):\n    assert candidate(4) is True\n    assert candidate(7) is False\n"
    "    assert candidate(10) is True\n    assert candidate(13) is False\n",
}
REWORDED = (
    "def total(offset, numbers):\n    t = 0\n    for p in range(len(numbers)):\n"
    "        t += (p + offset) * numbers[p]\n    return t"
)
ORDINARY = [
    {"instruction": "Say hello", "output": "Hello!"},
    {
        "instruction": "Product of a list",
        "output": "def product(xs):\n    r = 1\n    for x in xs:\n        r *= x\n    return r",
    },
    {"instruction": "Sum of a list times k", "output": "def scaled(xs, k):\n    return k * sum(xs)"},
]
LEAK = {"instruction": "Weights grow along a list, starting at an offset; total it.", "output": REWORDED}


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def clean(
    tmp_path: Path, rows: list[dict[str, Any]], benchmark: list[dict[str, Any]], **settings: Any
) -> dict[str, Any]:
    against = {"bench": lines(tmp_path / "bench.jsonl", benchmark)}
    return files.decontaminate(lines(tmp_path / "rows.jsonl", rows), against, tmp_path / "out", **settings)


def test_a_reworded_solution_is_found_by_running_it_and_nothing_else_is_taken(tmp_path: Path) -> None:
    rows = [*ORDINARY, LEAK, *ORDINARY[:1]]
    summary = clean(tmp_path, rows, [WEIGHTS])
    assert read(tmp_path / "out" / "kept.jsonl") == [*ORDINARY, *ORDINARY[:1]]
    (hit,) = [each for each in read(tmp_path / "out" / "contamination.jsonl") if each["sufficient"]]
    assert (hit["row"], hit["task_id"], hit["method"], hit["action"]) == (3, "B/0", "execution", "dropped")
    assert "4 of 4 expected values" in hit["evidence"]
    assert (summary["rows_in"], summary["rows_kept"], summary["dropped"]) == (5, 4, {"contamination": 1})
    (source,) = summary["by_source"]
    assert source["before"] == {"rows": 5, "contaminated": 1, "suspected": 0}
    assert source["after"] == {"rows": 4, "contaminated": 0, "suspected": 0}
    assert clean(tmp_path, rows, [WEIGHTS], run="none")["rows_kept"] == 5


def test_report_and_mark_keep_every_row_and_mark_says_which(tmp_path: Path) -> None:
    rows = [ORDINARY[0], LEAK]
    assert clean(tmp_path, rows, [WEIGHTS], action="report")["rows_kept"] == 2
    assert read(tmp_path / "out" / "kept.jsonl") == rows
    assert clean(tmp_path, rows, [WEIGHTS], action="mark")["rows_kept"] == 2
    first, second = read(tmp_path / "out" / "kept.jsonl")
    assert first == ORDINARY[0]
    assert {(each["item"], each["method"]) for each in second["contamination"]} == {("bench:B/0", "execution")}


def test_a_prompt_is_found_without_running_anything_in_a_row_of_any_shape(tmp_path: Path) -> None:
    question = (
        "A farmer sells nine baskets of apples for four coins each and buys three hens for five coins how much is left"
    )
    rows = [
        {"messages": [{"role": "user", "content": f"Help: {question}?"}, {"role": "assistant", "content": "21"}]},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]},
    ]
    clean(tmp_path, rows, [{"question": question, "answer": "#### 21"}])
    (hit,) = read(tmp_path / "out" / "contamination.jsonl")
    assert (hit["row"], hit["method"], hit["score"]) == (0, "prompt", 1.0)
    assert read(tmp_path / "out" / "kept.jsonl") == rows[1:]


def test_rows_of_one_file_may_have_columns_of_their_own_and_those_without_text_are_counted(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Like this:"}, {"type": "text", "text": REWORDED}]
    leaks: list[dict[str, Any]] = [
        {"text": REWORDED},
        {"conversations": [{"from": "human", "value": "Weights, please"}, {"from": "gpt", "value": REWORDED}]},
        {"messages": [{"role": "user", "content": "Weights"}, {"role": "assistant", "content": parts}]},
        {"instruction": "Weights", "output": "See the code.", "code": REWORDED},
        {"question": "Weights?", "answer": REWORDED},
    ]
    rows: list[dict[str, Any]] = [*ORDINARY * 30, {"title": "no known column"}, *leaks]
    summary = clean(tmp_path, rows, [WEIGHTS])
    assert read(tmp_path / "out" / "kept.jsonl") == rows[:-5]
    sufficient = [each["row"] for each in read(tmp_path / "out" / "contamination.jsonl") if each["sufficient"]]
    assert sufficient == [91, 92, 93, 94, 95]
    assert summary["rows_without_text"] == 1


COUNT_CHANGES = {
    "task_id": "B/2",
    "prompt": "def count_sign_changes(values):\n"
    '    """Number of neighbours in values whose signs differ, zero being no sign.\n'
    '    >>> count_sign_changes([3, -1, 4, -5])\n    3\n    """\n',
    "canonical_solution": "    return sum(a * b < 0 for a, b in zip(values, values[1:]))\n",
    "entry_point": "count_sign_changes",
    "test": "def check(candidate):\n    assert candidate([3, -1, 4, -5]) == 3\n    assert candidate([1, 2, 8]) == 0\n"
    "    assert candidate([-6, 0, 6, -2]) == 1\n",
}
IN_JAVASCRIPT = "function countSignChanges(v) {\n  return v.slice(1).filter((b, i) => v[i] * b < 0).length;\n}"


def test_a_solution_in_another_language_is_found_by_its_name_or_examples_in_a_row_that_is_like_it(
    tmp_path: Path,
) -> None:
    rows = [
        {
            "instruction": "How many neighbours in an array have signs that differ? Zero has none.",
            "output": IN_JAVASCRIPT,
        },
        {"instruction": "Number of signs that differ: [3,-1,4,-5] gives 3, [1, 2, 8] gives 0", "output": "fn f() {}"},
        {"instruction": "Number of signs that differ in values", "output": "function changes(v) { return 0 }"},
        {
            "instruction": "Name it count_sign_changes, the number of neighbours in values whose signs differ",
            "output": "Ok",
        },
        *ORDINARY * 10,
    ]
    clean(tmp_path, rows, [COUNT_CHANGES])
    hits = read(tmp_path / "out" / "contamination.jsonl")
    assert [(each["row"], each["method"]) for each in hits if each["sufficient"]] == [(0, "name"), (1, "examples")]
    assert read(tmp_path / "out" / "kept.jsonl") == rows[2:]


def test_a_python_function_of_the_name_is_judged_by_what_it_gives(tmp_path: Path) -> None:
    asked = "Number of neighbours in values whose signs differ, zero being no sign"
    other = {"instruction": asked, "output": "def count_sign_changes(values):\n    return len(values) % 7"}
    assert clean(tmp_path, [other, *ORDINARY], [COUNT_CHANGES])["rows_kept"] == 4
    assert clean(tmp_path, [other, *ORDINARY], [COUNT_CHANGES], run="none")["rows_kept"] == 3


def test_a_name_that_many_unrelated_requests_give_is_textbook(tmp_path: Path) -> None:
    asked = ["Neighbours in values whose signs differ", "Zero being no sign, changes of signs in values, please",
             "JS: number of signs that differ in values", "Signs of neighbours, the number that differ"]  # fmt: skip
    rows = [{"instruction": each, "output": IN_JAVASCRIPT} for each in asked]
    assert clean(tmp_path, [*rows, *ORDINARY * 10], [COUNT_CHANGES])["rows_kept"] == 34
    assert clean(tmp_path, [*rows[1:], *ORDINARY * 10], [COUNT_CHANGES])["rows_kept"] == 30


def even_rows(count: int) -> list[dict[str, Any]]:
    asked = ["Check parity of a number", "Can it be halved?", "Tell me whether n is divisible by two",
             "Is this an even one?", "Return true for 0, 2, 4 and so on"]  # fmt: skip
    code = [
        "return n % 2 == 0",
        "return not n & 1",
        "return n // 2 * 2 == n",
        "return n % 2 != 1",
        "return (n + 1) % 2 == 1",
    ]
    return [{"instruction": asked[i], "output": f"def parity{i}(n):\n    {code[i]}"} for i in range(count)]


def test_what_many_unrelated_requests_have_is_textbook_and_only_marked(tmp_path: Path) -> None:
    assert clean(tmp_path, even_rows(5), [EVEN])["rows_kept"] == 5
    hits = read(tmp_path / "out" / "contamination.jsonl")
    assert {each["why_not"] for each in hits} == {"textbook: 5 unrelated requests have it"}
    assert clean(tmp_path, even_rows(3), [EVEN])["rows_kept"] == 0
    assert clean(tmp_path, even_rows(5), [EVEN], textbook=0)["rows_kept"] == 0


def test_a_leak_that_was_copied_does_not_excuse_itself(tmp_path: Path) -> None:
    assert clean(tmp_path, [LEAK] * 6, [WEIGHTS])["rows_kept"] == 0


def test_a_textbook_row_with_the_benchmarks_examples_is_dropped_all_the_same(tmp_path: Path) -> None:
    asked = ["Alpha", "Beta", "Gamma", "Delta"]
    rows = [{"instruction": each, "output": REWORDED} for each in asked]
    rows[2]["instruction"] += ", e.g. [1,2,3] and 1, or [5, 0, 2, 8] and 2"
    clean(tmp_path, rows, [WEIGHTS])
    assert [each["instruction"] for each in read(tmp_path / "out" / "kept.jsonl")] == ["Alpha", "Beta", "Delta"]


def test_few_yes_or_no_tests_do_not_take_a_wrong_function(tmp_path: Path) -> None:
    wrong = {"instruction": "Below ten or ten", "output": "def f(n):\n    return n in (4, 10)"}
    assert clean(tmp_path, [wrong], [EVEN])["rows_kept"] == 1


def test_endless_loops_exits_and_broken_code_only_go_unrecognised(tmp_path: Path) -> None:
    bad = ["def f(n):\n    while True: pass", "import os\ndef f(n):\n    os._exit(0)", "def f(n):\n    return f(n)",
           "def f(n:\n    return", "n = int(input())\ndef f(n):\n    return n % 2 == 0"]  # fmt: skip
    rows = [{"instruction": f"row {i}", "output": code} for i, code in enumerate(bad)]
    clean(tmp_path, rows, [EVEN])
    assert [each["instruction"] for each in read(tmp_path / "out" / "kept.jsonl")] == [f"row {i}" for i in range(4)]


def test_a_second_run_runs_nothing_again_and_a_cut_line_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*ORDINARY, LEAK]
    first = clean(tmp_path, rows, [WEIGHTS])
    known = tmp_path / "out" / "run.jsonl"
    whole = known.read_text()
    known.write_text(whole[:-20])
    ran: list[int] = []
    batch = trials.Trials._batch

    def counting(self: trials.Trials, functions: Any, *rest: Any) -> Any:
        ran.append(len(functions))
        return batch(self, functions, *rest)

    monkeypatch.setattr(trials.Trials, "_batch", counting)
    assert clean(tmp_path, rows, [WEIGHTS]) == first
    assert ran == [1] and known.read_text() == whole
    assert clean(tmp_path, rows, [WEIGHTS]) == first and ran == [1]


def test_rows_that_were_looked_at_are_not_looked_at_again_and_damage_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 rows in shards of 12, killed in the third: two are taken from the disk. A file with a flipped bit is not."""
    monkeypatch.setattr(look, "SHARD", 12)
    monkeypatch.setattr(look, "CHUNK", 5)
    rows = [row for n in range(10) for row in (*ORDINARY, {**LEAK, "instruction": f"{LEAK['instruction']} {n}"})]
    items = read_items("bench", lines(tmp_path / "bench.jsonl", [WEIGHTS, EVEN]))
    looked, shard = list[int](), Looking.shard

    def counted(self: Looking, some: Iterator[list[str]]) -> Shard:
        if len(looked) == 2:
            looked.append(-1)
            raise KeyboardInterrupt
        found = shard(self, some)
        looked.append(sum(len(each.lengths) for each, _ in found.counted))
        return found

    monkeypatch.setattr(Looking, "shard", counted)
    with Spool(tmp_path / "spool") as spool:
        for number, row in enumerate(rows):
            turns = (Message("user", row["instruction"]), Message("assistant", row["output"]))
            spool.append(Conversation(turns, "rows", number))

        def told(folder: str) -> list[Any]:
            shards = tmp_path / folder
            found = find(spool, items, tmp_path / "run.jsonl", workers=2, shards=shards)
            return [found.hits, found.residue, found.run_functions, found.which_run]

        with pytest.raises(KeyboardInterrupt):
            told("shards")
        resumed = told("shards")
        assert looked == [12, 12, -1, 12, 4]
        assert resumed == told("other") and len(looked) == 9
        file = sorted((tmp_path / "shards").iterdir())[1]
        file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:])
        assert told("shards") == resumed and looked[9:] == [12]
        spool.append(Conversation((Message("user", "a"), Message("assistant", "b")), "rows", 40))
        assert told("shards") != resumed and looked[10:] == [5], "the last shard has another row"


def test_functions_of_many_rows_are_made_again_where_they_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = clean(tmp_path, [*ORDINARY, LEAK], [WEIGHTS], run="all")
    monkeypatch.setattr(look, "MOST_PROGRAMS", 0)
    (tmp_path / "out" / "run.jsonl").unlink()
    again = clean(tmp_path, [*ORDINARY, LEAK], [WEIGHTS], run="all")
    assert again == summary and again["rows_contaminated"] == 1


def test_rows_that_are_no_objects_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n7\n{"text": "b"}\n')
    summary = files.decontaminate(path, {"b": lines(tmp_path / "b.jsonl", [EVEN])}, tmp_path / "out")
    assert (summary["rows_in"], summary["rows_kept"], summary["dropped"]["not an object"]) == (3, 2, 1)
    assert "1 rows were left out: not an object (1)" in preparing.lines(summary)


def test_cells_of_a_parquet_file_that_json_has_no_kind_for_are_written_as_text(tmp_path: Path) -> None:
    day, rows = datetime.date(2026, 1, 2), tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"], "day": [day], "raw": [b"\xe9f"]}), rows)
    files.decontaminate(rows, {"b": lines(tmp_path / "b.jsonl", [EVEN])}, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "kept.jsonl").read_text())
    assert kept == {"text": "a", "day": "2026-01-02", "raw": "\\xe9f"}


# --- parts


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([1, (2, 3)], (1, [2, 3]), True), (0.1 + 0.2, 0.3, True), ("YES", "yes ", True), (True, 1, True),
        ([1, 2], [2, 1], False), ([1], 1, False), ("1", 1, False), (None, 0, False), ({1}, [1], False), (1, 2, False),
    ],
)  # fmt: skip
def test_answers_are_alike_in_value_whatever_they_are_wrapped_in(a: Any, b: Any, same: bool) -> None:
    assert alike(a, b) is same and alike(b, a) is same


def test_varied_inputs_are_new_of_the_same_kind_and_always_the_same() -> None:
    given = [[[3, 1, 2], "abc", 4, 0, True]]
    found = list(varied(given, 20))
    assert len(found) == 20 and found == list(varied(given, 20))
    assert given[0] not in found
    for numbers, text, n, zero, _ in found:
        assert numbers and all(number > 0 for number in numbers) and text and n > 0 and zero >= 0
    assert list(varied([], 5)) == [] and list(varied([[]], 5)) == []
    entries = [each for (each,) in varied([[{"ab": 1, "cd": 2}]], 12)]
    assert len(entries) == 12 and {"cd": 2} in entries and all(1 <= len(each) <= 2 for each in entries)


def test_calls_are_read_from_tests_where_their_arguments_are_literals() -> None:
    tests = "def check(g):\n    assert g([1], -2) == 3\n    assert g(x) == 4\n    assert abs(g({'a': 1.5}) - 1) < 1\n"
    assert called_with(tests, "f") == [[[1], -2], [{"a": 1.5}]]
    assert called_with("assert f(1) == 2\nassert g(2) == 3", "f") == [[1]]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, trials.LIMITS) as opened:
        yield opened


def test_tests_that_make_up_their_inputs_are_run_to_see_them(tmp_path: Path, pool: Pool) -> None:
    loop = {
        **EVEN,
        "test": "def check(candidate):\n    for n in range(3, 9):\n        assert candidate(n) == (n % 2 == 0)\n",
    }
    (problem,) = suites.problems(files.read_items("b", lines(tmp_path / "b.jsonl", [loop])), pool)
    assert problem.inputs[: problem.given] == ([3], [4], [5], [6], [7], [8])
    assert problem.expected[: problem.given] == (False, True, False, True, False, True)


def test_inputs_that_take_the_solution_long_are_used_but_not_tried_first(tmp_path: Path, pool: Pool) -> None:
    slow = {**EVEN, "canonical_solution": "    x = sum(range(6_000_000)) if n % 2 else 0\n    return n % 2 == 0\n"}
    (problem,) = suites.problems(files.read_items("b", lines(tmp_path / "b.jsonl", [slow])), pool)
    assert problem.inputs[: problem.given] == ([4], [7], [10], [13])
    assert [problem.expected[place] for place in problem.probes()] == [True, True]


def test_one_problem_in_two_files_is_tried_once(tmp_path: Path, pool: Pool) -> None:
    plus = {**EVEN, "base_input": [[4]], "plus_input": [[5], [6]], "test": ""}
    items = files.read_items("b", lines(tmp_path / "b.jsonl", [EVEN]))
    items += files.read_items("plus", lines(tmp_path / "p.jsonl", [plus]))
    (problem,) = suites.problems(items, pool)
    assert set(problem.items) == {0, 1}
    assert problem.inputs[: problem.given] == ([4], [5], [6], [7], [10], [13])


def test_a_function_is_called_with_its_arguments_in_every_order() -> None:
    program = "def f(a, b):\n    return a - b\ndef g(*a):\n    return a"
    found = list(trials.functions_of(program, [Callable_("f", 2, 2), Callable_("g", 0, 99)], [1, 2, 4]))
    assert [(each.expression, each.arity, each.order) for each in found] == [
        ("f", 2, (0, 1)), ("f", 2, (1, 0)), ("g", 1, (0,)), ("g", 2, (0, 1)), ("g", 2, (1, 0)),
    ]  # fmt: skip


# --- the command


class Case:
    """Files that fit, and how to run the command on them."""

    def __init__(self, folder: Path) -> None:
        self.rows = lines(folder / "rows.jsonl", [*ORDINARY, LEAK])
        self.bench = lines(folder / "bench.jsonl", [WEIGHTS])
        self.out = folder / "out"
        self.more: list[str] = []

    def run(self) -> subprocess.CompletedProcess[str]:
        paths = ["--input", str(self.rows), "--against", f"bench={self.bench}", "--out", str(self.out)]
        argv = [sys.executable, "-m", "codeup", "data", "decontaminate", *paths, *self.more]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120)


def test_the_command_prints_its_tables_or_one_json_object(tmp_path: Path) -> None:
    case = Case(tmp_path)
    done = case.run()
    assert done.returncode == 0, done.stderr
    assert "4 rows: 1 hold a benchmark problem (dropped)" in done.stdout
    case.more = ["--json"]
    summary = json.loads(case.run().stdout.splitlines()[-1])
    assert (summary["rows_in"], summary["rows_kept"], summary["out"]) == (4, 3, str(case.out))


def no_rows(case: Case) -> None:
    case.rows.unlink()


def cut_rows(case: Case) -> None:
    case.rows.write_text(case.rows.read_text()[:-9])


def cut_gzip(case: Case) -> None:
    packed = case.rows.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(case.rows.read_bytes())[:-9])
    case.rows = packed


def strange_columns(case: Case) -> None:
    lines(case.rows, [{"id": 1, "anser": "x", "body": "y"}])


def misspelt_mapping(case: Case) -> None:
    case.more = ["--columns", "question=instrction"]


def no_benchmark(case: Case) -> None:
    case.bench = case.bench.with_name("nothing.jsonl")


def cut_benchmark(case: Case) -> None:
    case.bench.write_text(case.bench.read_text()[:-9])


def strange_benchmark(case: Case) -> None:
    lines(case.bench, [{"nr": 1, "task": "Add."}])


def list_benchmark(case: Case) -> None:
    case.bench.write_text("[1, 2]")


def no_name(case: Case) -> None:
    case.more = ["--against", "file.jsonl"]


def same_name(case: Case) -> None:
    case.more = ["--against", f"bench={case.bench}"]


def wrong_action(case: Case) -> None:
    case.more = ["--action", "delete"]


WRONG: list[tuple[Callable[[Case], None], str]] = [
    (no_rows, "rows.jsonl: there is no such file"),
    (cut_rows, "the file ends at byte"),
    (cut_gzip, "gzip data is damaged or cut short"),
    (
        strange_columns,
        "the columns are: 'id', 'anser', 'body'\n  to mend: say which ones do, e.g. --columns question=anser",
    ),
    (misspelt_mapping, "no column 'instrction' (did you mean 'instruction'?)"),
    (no_benchmark, "nothing.jsonl: there is no such file"),
    (cut_benchmark, "the file ends at byte"),
    (
        strange_benchmark,
        "the columns are: 'nr', 'task'\n  to mend: say which one does: --benchmark-columns prompt=task",
    ),
    (list_benchmark, "row 0 is not an object"),
    (no_name, "'file.jsonl' is not NAME=FILE"),
    (same_name, "'bench' is given twice"),
    (wrong_action, "--action is 'delete'"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG, ids=[spoil.__name__ for spoil, _ in WRONG])
def test_wrong_input_is_one_clear_error(spoil: Callable[[Case], None], message: str, tmp_path: Path) -> None:
    case = Case(tmp_path)
    spoil(case)
    done = case.run()
    assert done.returncode == 2, done
    assert message in done.stderr and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert done.stdout == ""
