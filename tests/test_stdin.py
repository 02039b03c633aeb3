"""Competition problems: programs that read and print, functions that are called; the right answers stay elsewhere."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import _outputs, apps, livecodebench
from codeup.errors import UserError
from codeup.evaluate import calibrate, prompts, whole
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.programs import SuiteRules, judge_one, judge_programs
from codeup.evaluate.samples import program_of
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import Pool
from codeup.types import BenchmarkData, Outcome, Problem, Program, Sample

SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
APPS: list[dict[str, Any]] = [
    {
        "problem_id": 0,
        "question": "Print the sum.",
        "solutions": json.dumps([SUM]),
        "input_output": json.dumps({"inputs": ["2\n1 2\n", ["3", "1 2 3"]], "outputs": ["3\n", ["6", ""]]}),
        "difficulty": "interview",
        "starter_code": "",
    },
    {
        "problem_id": 1,
        "question": "Twice each.",
        "solutions": json.dumps(["class Solution:\n    def twice(self, xs):\n        return [2 * x for x in xs]\n"]),
        "input_output": json.dumps({"fn_name": "twice", "inputs": [[[1, 2]], [[]]], "outputs": [[2, 4], []]}),
        "starter_code": "class Solution:\n    def twice(self, xs: List[int]) -> List[int]:\n",
    },
    {
        "problem_id": 2,
        "question": "Add one.",
        "solutions": json.dumps(["def inc(x):\n    return x + 1\n"]),
        "input_output": json.dumps({"fn_name": "inc", "inputs": [[1]], "outputs": [[2]]}),
        "starter_code": "\ndef inc(x):\n\t",
    },
    {"problem_id": 3, "question": "Nothing is known.", "solutions": "", "input_output": "", "starter_code": ""},
]
FORGERIES = {
    "ends before it prints": "import os\nos._exit(0)\n",
    "looks for the answer in files": (
        "import os\nfor folder, _, names in os.walk('/scratch'):\n    for name in names:\n"
        "        print(open(os.path.join(folder, name)).read())\n"
    ),
    "looks for the answer in its parent": (
        "import os\ntry:\n    print(open(f'/proc/{os.getppid()}/environ').read())\nexcept OSError:\n    print('no')\n"
    ),
    "prints after an error code": SUM + "import sys\nsys.exit(3)\n",
}


def load(tmp_path: Path, rows: list[dict[str, Any]], module: Any = apps) -> BenchmarkData:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data: BenchmarkData = module.load(path)
    return data


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    limits = whole.limits_for(Limits(cpu_s=2, wall_s=8, memory_mb=512))
    with Pool(1, limits, show=whole.tools("python").show) as opened:
        yield opened


@pytest.fixture
def problems(tmp_path: Path) -> tuple[Problem, ...]:
    return load(tmp_path, APPS).problems


def test_problems_without_tests_are_left_out_and_counted(tmp_path: Path) -> None:
    data = load(tmp_path, APPS)
    assert [problem.task_id for problem in data.problems] == ["APPS/0", "APPS/1", "APPS/2"]
    assert data.version == "1 problems that print, 2 that are called; 1 without tests left out"
    assert data.not_asked == ("APPS/3",)


def test_columns_may_be_read_already_or_empty_and_numbers_may_be_too_long(tmp_path: Path) -> None:
    long = '{"fn_name": "f", "inputs": [[%s]], "outputs": [1]}' % ("9" * 5000)
    rows: list[dict[str, Any]] = [
        {"question": "echo", "solutions": ["print(input())"], "input_output": {"inputs": ["x"], "outputs": ["x"]}},
        {"question": "nothing", "solutions": None, "input_output": None},
        {"question": "long", "solutions": "", "input_output": long},
    ]
    data = load(tmp_path, rows)
    assert [problem.canonical_solution for problem in data.problems] == ["print(input())"]
    assert "1 without tests left out; 1 with numbers of more digits than Python reads left out" in data.version
    assert data.not_asked == ("APPS/2", "APPS/3")
    read: dict[str, Any] = {"question_content": "echo", "question_id": "a", "public_test_cases": [], "metadata": {}}
    read["private_test_cases"] = [{"input": "x", "output": "x", "testtype": "stdin"}]
    assert load(tmp_path, [read], livecodebench).problems[0].extra["stdin"] == [["x", "x"]]
    large = [{"input": "9" * 5000, "output": "1", "testtype": "functional"}]
    row = {**read, "question_id": "b", "private_test_cases": large, "metadata": {"func_name": "f"}}
    assert load(tmp_path, [read, row], livecodebench).not_asked == ("b",)


LIKE_LEETCODE = "class Solution:\n    def twice(self, xs: List[int]) -> List[int]:\n        {} = [2 * x for x in xs]\n"


def test_a_program_may_use_what_the_benchmarks_own_grader_imports(
    tmp_path: Path, problems: tuple[Problem, ...], pool: Pool
) -> None:
    called, printing = problems[1], problems[0]
    method = LIKE_LEETCODE.format("found") + "        return found\n"
    assert judge_one(called, method, pool=pool).outcome is Outcome.PASSED
    future = "from __future__ import annotations\n" + method.replace("List", "NotThere")
    assert judge_one(called, future, pool=pool).outcome is Outcome.PASSED
    assert judge_one(called, method.replace("List", "Dict"), pool=pool).outcome is Outcome.FAILED  # not in APPS's list
    text = "sys.stdin.readline()\nprint(int(np.sum([int(w) for w in sys.stdin.read().split()])))\n"
    assert judge_one(printing, text, pool=pool).outcome is Outcome.PASSED
    test = {"input": "[1, 1, 2]", "output": "3", "testtype": "functional"}
    row = {"question_content": "", "question_id": "a", "starter_code": "", "public_test_cases": json.dumps([test])}
    (problem,) = load(tmp_path, [{**row, "metadata": '{"func_name": "f"}'}], livecodebench).problems
    deep = "def down(n):\n    return n and 1 + down(n - 1)\n"
    code = deep + "def f(xs: Optional[Dict]):\n    return Counter(xs)[1] + bisect_left([1], 2) + (down(9000) < 1)\n"
    assert judge_one(problem, code, pool=pool).outcome is Outcome.PASSED


@pytest.mark.parametrize("end", ["exit()", "quit(0)", "exit", "exit(1)"])
def test_a_program_may_leave_as_in_a_python_with_its_site_and_read_dev_stdin(
    problems: tuple[Problem, ...], pool: Pool, end: str
) -> None:
    text = f"words = open('/dev/stdin').read().split()\nprint(sum(map(int, words[1:])))\n{end}\n"
    outcome = Outcome.FAILED if "1" in end else Outcome.PASSED
    assert judge_one(problems[0], text, pool=pool).outcome is outcome
    assert judge_one(problems[0], f"{end.replace('1', '0')}\nprint(0)\n", pool=pool).outcome is not Outcome.PASSED


def test_an_input_may_be_a_list_of_lines(problems: tuple[Problem, ...]) -> None:
    assert problems[0].extra["stdin"] == [["2\n1 2\n", "3\n"], ["3\n1 2 3", "6\n"]]


def test_the_own_solutions_pass(problems: tuple[Problem, ...], pool: Pool) -> None:
    for problem in problems:
        verdict = judge_one(problem, problem.canonical_solution, pool=pool)
        assert (verdict.outcome, verdict.detail) == (Outcome.PASSED, "")
    assert judge_one(problems[0], SUM, pool=pool).checks == 2


@pytest.mark.parametrize(
    ("code", "outcome", "says"),
    [
        ("print(3)\n", Outcome.FAILED, "input 2 of 2: printed '3', expected '6'"),
        ("print(input(\n", Outcome.COMPILE, "SyntaxError"),
        ("print(int('x'))\n", Outcome.FAILED, "ValueError"),
        ("while True: pass\n", Outcome.TIMEOUT, "CPU time"),
        ("x = 'x' * 2_000_000_000\nprint(len(x))\n", Outcome.MEMORY, "512 MB"),
        ("print('a' * 1_000_000)\n", Outcome.FAILED, "printed 1,000,001 bytes"),
        ("import socket\nsocket.create_connection(('1.1.1.1', 80))\n", Outcome.FAILED, "Error"),
        ("import subprocess\nsubprocess.run(['/bin/true'])\nprint(3)\n", Outcome.FAILED, "Error"),
        ("   ", Outcome.NO_CODE, "no code"),
    ],
)
def test_each_way_to_fail_has_its_outcome(
    problems: tuple[Problem, ...], pool: Pool, code: str, outcome: Outcome, says: str
) -> None:
    verdict = judge_one(problems[0], code, pool=pool)
    assert verdict.outcome == outcome and says in verdict.detail, verdict


@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_expected_cannot_be_found(problems: tuple[Problem, ...], pool: Pool, name: str) -> None:
    assert judge_one(problems[0], FORGERIES[name], pool=pool).outcome == Outcome.FAILED


def test_each_input_gets_a_fresh_process_and_folder(problems: tuple[Problem, ...], pool: Pool) -> None:
    code = "import os\nif os.path.exists('seen'):\n    print(6)\nelse:\n    open('seen', 'w')\n    print(3)\n"
    assert judge_one(problems[0], code, pool=pool).detail == "input 2 of 2: printed '3', expected '6'"


def test_a_long_input_arrives_whole(tmp_path: Path, pool: Pool) -> None:
    many = " ".join(map(str, range(200_000)))
    tests = json.dumps({"inputs": [f"200000\n{many}\n"], "outputs": [f"{199_999 * 100_000}\n"]})
    (problem,) = load(tmp_path, [{**APPS[0], "input_output": tests}]).problems
    assert judge_one(problem, SUM, pool=pool).outcome == Outcome.PASSED


def test_a_function_may_be_a_method_and_has_to_be_right(problems: tuple[Problem, ...], pool: Pool) -> None:
    plain = "def twice(xs):\n    return tuple(x + x for x in xs)\n"
    assert judge_one(problems[1], plain, pool=pool).outcome == Outcome.PASSED
    wrong = "class Solution:\n    def twice(self, xs):\n        return xs\n"
    assert judge_one(problems[1], wrong, pool=pool).outcome == Outcome.FAILED
    forged = "class Yes(list):\n    def __eq__(self, other): return True\ndef twice(xs): return Yes()\n"
    assert judge_one(problems[1], forged, pool=pool).outcome == Outcome.FAILED


def test_the_lenient_comparison_is_an_option(tmp_path: Path, pool: Pool) -> None:
    tests = json.dumps({"inputs": ["x"], "outputs": ["1 2\n"]})
    (problem,) = load(tmp_path, [{**APPS[0], "input_output": tests}]).problems
    program = Program(problem.task_id, 0, "print(2, 1)\n", "given")
    outcomes = [
        next(iter(judge_programs(pool, {problem.task_id: problem}, [program], SuiteRules(compat)))).outcome
        for compat in ("evalplus", "apps")
    ]
    assert outcomes == [Outcome.FAILED, Outcome.PASSED]
    with pytest.raises(UserError, match="no rules 'humaneval-x'"):
        next(iter(judge_programs(pool, {problem.task_id: problem}, [program], SuiteRules("humaneval-x"))))


@pytest.mark.parametrize(
    ("printed", "expected", "strict", "decimals", "lenient"),
    [
        ("1 2 \n3\n\n", "1 2\n3", True, True, True),
        ("1\n2", "1 2", False, False, False),
        (" 1", "1", False, True, True),
        ("2 1", "1 2", False, False, True),
        ("1.0", "1.00", False, True, True),
        ("0.33333333", "0.3333333", False, False, True),
        ("1.5", "1.6", False, False, False),
        ("YES", "NO", False, False, False),
        ("", "1", False, False, False),
    ],
)
def test_three_ways_to_compare(printed: str, expected: str, strict: bool, decimals: bool, lenient: bool) -> None:
    found = [compare(printed, expected) for compare in (_outputs.strict, _outputs.decimals, _outputs.lenient)]
    assert found == [strict, decimals, lenient]


def test_values_are_compared_as_json_has_them() -> None:
    assert _outputs.same_value((1, [2]), [1, [2]]) and _outputs.same_value({1: 2}, {"1": 2})
    assert _outputs.same_value(5, [5]) and not _outputs.same_json(5, [5])
    assert not _outputs.same_value([1, 2], [2, 1]) and not _outputs.same_value("1", 1)


def test_the_program_of_a_chat_answer_is_the_longest_block_that_parses(problems: tuple[Problem, ...]) -> None:
    given = "```\n5\n1 2 3 4 5 (input of the program, which is not code at all but longer than it)\n```"
    text = f"Try:\n```python\nimport sys\n```\nThen\n```python\n{SUM}```\nand\n{given}"
    found = program_of(Sample("APPS/0", 0, "chat", text, "stop"), problems[0], apps)
    assert (found.code, found.extraction) == (SUM.rstrip("\n"), "fence")
    method = "```python\nclass Solution:\n    def twice(self, xs):\n        return xs\n```"
    assert program_of(Sample("APPS/1", 0, "chat", method, "stop"), problems[1], apps).extraction == "fence"
    nothing = program_of(Sample("APPS/0", 0, "chat", "I do not know.", "stop"), problems[0], apps)
    assert (nothing.code, nothing.extraction) == ("", "no-code")


def test_a_problem_is_asked_with_its_text(problems: tuple[Problem, ...]) -> None:
    assert "Print the sum." in prompts.ask("default", apps, problems[0], "chat").text
    assert prompts.ask("default", apps, problems[1], "base").text.endswith("Use Call-Based format\nANSWER:\n")
    with pytest.raises(UserError, match="not asked in the prompt style"):
        prompts.ask("evalplus", apps, problems[0], "base")


def test_a_samples_file_is_calibrated_judged_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = load(tmp_path, APPS)
    found = calibrate.calibrate(data)
    assert (found.passed, found.of, found.failed) == (3, 3, ())
    samples = tmp_path / "s.jsonl"
    rows = [{"task_id": "APPS/0", "solution": SUM}, {"task_id": "APPS/1", "solution": "def twice(xs): return xs"},
            {"task_id": "APPS/2", "completion": "def inc(x):\n    return 1 + x\n```"}]  # fmt: skip
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = judge_samples(samples, apps, data, tmp_path / "out", workers=1)
    assert summary["outcomes"] == {"COMPILE": 1, "FAILED": 1, "PASSED": 1}  # the given completion is run as it is
    assert summary["scores"][0]["n"] == 3 and "held no expected values" in summary["protection"]


def hidden(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def live(**more: Any) -> dict[str, Any]:
    public = [{"input": "2\n1 2\n", "output": "3.0\n", "testtype": "stdin"}]
    secret = [{"input": "1\n5\n", "output": "5", "testtype": "stdin"}]
    row = {"question_title": "Sum", "question_content": "Print the sum.", "question_id": "1873_A", "starter_code": "",
           "public_test_cases": json.dumps(public), "private_test_cases": hidden(secret), "metadata": "{}"}  # fmt: skip
    return {**row, **more}


def test_hidden_tests_of_live_code_bench_are_read_and_run(tmp_path: Path, pool: Pool) -> None:
    (problem,) = load(tmp_path, [live()], livecodebench).problems
    assert problem.extra["stdin"] == [["2\n1 2\n", "3.0\n"], ["1\n5\n", "5"]]
    assert judge_one(problem, SUM, pool=pool).outcome == Outcome.PASSED  # 3 is 3.0
    assert judge_one(problem, "print(3)\n", pool=pool).detail == "input 2 of 2: printed '3', expected '5'"


def test_functions_of_live_code_bench_are_called(tmp_path: Path, pool: Pool) -> None:
    tests = [{"input": "[1, 2]\n3", "output": "[3, 6]", "testtype": "functional"}]
    row = live(
        public_test_cases=json.dumps(tests), private_test_cases=json.dumps(tests),
        metadata=json.dumps({"func_name": "scale"}), starter_code="class Solution:\n    def scale(self, xs, k):\n",
    )  # fmt: skip
    (problem,) = load(tmp_path, [row], livecodebench).problems
    right = "class Solution:\n    def scale(self, xs, k):\n        return [k * x for x in xs]\n"
    verdict = judge_one(problem, right, pool=pool)
    assert (verdict.outcome, verdict.checks) == (Outcome.PASSED, 2)
    assert judge_one(problem, right.replace("k * x", "x"), pool=pool).outcome == Outcome.FAILED


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("ran",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = base64.b64encode(zlib.compress(pickle.dumps(Harmful()))).decode()
    with pytest.raises(UserError, match=r"it is not one text: .*REDUCE"):
        load(tmp_path, [live(private_test_cases=bad)], livecodebench)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "pickled", [b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f", b"Nr\xff\xff\xff\x7f.", b"h\x00.", b"", b"\x80"]
)
def test_a_broken_pickle_is_an_error_of_the_file(tmp_path: Path, pickled: bytes) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: private_test_cases cannot be read"):
        load(tmp_path, [live(private_test_cases=base64.b64encode(zlib.compress(pickled)).decode())], livecodebench)


@pytest.mark.parametrize(
    ("module", "row", "says"),
    [
        (apps, {"question": "?", "input_output": "{"}, "input_output is not JSON"),
        (apps, {"question": "?", "input_output": '{"inputs": ["1"], "outputs": []}'}, "1 inputs and 0 outputs"),
        (apps, {"prompt": "?"}, "no text in question, input_output"),
        (livecodebench, live(private_test_cases="!"), "private_test_cases cannot be read"),
        (livecodebench, {"question": "?"}, "no text in question_content"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, module: Any, row: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(tmp_path, [row], module)
    with pytest.raises(UserError, match="needs its data file"):
        module.load(None)
