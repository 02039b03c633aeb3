"""Programs of other languages: a right one passes, and nothing passes whose checks did not run to their end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codeup import plugins
from codeup.benchmarks import humaneval_x
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.programs import judge_programs
from codeup.sandbox.pool import Pool
from codeup.types import Outcome, Problem, Program, Verdict

FILES = {"cpp": "humaneval_cpp", "javascript": "humaneval_js"}
"""HumanEval-X's files under CODEUP_TEST_DATA/benchmarks/humaneval-x."""

ATTACKS = {
    "cpp": {
        "exits before the tests": "static int early = (fflush(stdout), _exit(0), 0);\n",
        "exits when called": "{head}\n exit(0); }\n",
        "defines assert away": "#define assert(x) ((void)0)\n{wrong}",
        "defines the words of the tests away": "#define has_close_elements(...) true == true || true\n{wrong}",
        "answers for the C library": (
            '{wrong}\nextern "C" void __assert_fail(const char*, const char*, unsigned, const char*) {}\n'
        ),
        "prints what a success could look like": (
            '{wrong}\nstatic int says = (puts("\\ncodeup 7"), puts("PASSED"), exit(0), 0);\n'
        ),
        "has a main of its own": "{wrong}\nint main() { return 0; }\n",
    },
    "javascript": {
        "exits before the tests": "process.exit(0)\n",
        "exits when called": "{head} process.exit(0) }\n",
        "makes console.assert say nothing": "console.assert = () => {}\n{wrong}",
        "hides console": "const console = { assert() {}, log() {} }\n{wrong}",
        "hides the standard's JSON": (
            "JSON.stringify = () => ''\nArray.prototype[Symbol.iterator] = function* () {}\n{wrong}"
        ),
        "prints what a success could look like": "console.log('\\ncodeup 7')\n{wrong}\nprocess.exitCode = 0\n",
        "answers at the end": "{wrong}\nprocess.on('exit', () => process.reallyExit(0))\n",
        "reads the harness": (
            "const fs = require('fs')\n"
            "for (const name of fs.readdirSync('.')) console.log(fs.readFileSync(name, 'utf8'))\n"
            "console.log(fs.readFileSync(0, 'utf8') + ' 7')\nprocess.exit(0)\n"
        ),
    },
}  # fmt: skip
"""Programs for problem 0 that do not answer it: {head} begins the function, {wrong} is one that answers wrongly."""

HEADS = {
    "cpp": "#include <vector>\nbool has_close_elements(std::vector<float> numbers, float threshold) {",
    "javascript": "const hasCloseElements = (numbers, threshold) => {",
}
WRONG = {"cpp": " return true; }\n", "javascript": " return true }\n"}
NOISE = {
    "cpp": '#include <iostream>\nstatic int noise = (std::cout << "hello\\n", std::cerr << "there\\n", 0);\n',
    "javascript": "console.log('hello'); console.error('there')\n",
}


@pytest.fixture(scope="module", params=sorted(FILES))
def language(request: pytest.FixtureRequest) -> str:
    """Every language whose tools are installed here."""
    try:
        whole.tools(request.param)
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    return str(request.param)


@pytest.fixture(scope="module")
def problems(language: str, public_data: Path) -> tuple[Problem, ...]:
    return humaneval_x.load(public_data / "benchmarks" / "humaneval-x" / f"{FILES[language]}.jsonl.gz").problems


@pytest.fixture(scope="module")
def pool(problems: tuple[Problem, ...]) -> Iterator[Pool]:
    with Pool(2, whole.limits_for(None), show=whole.shown(problems)) as opened:
        yield opened


def judge(pool: Pool, problem: Problem, codes: list[str]) -> list[Verdict]:
    programs = [Program(problem.task_id, place, code, "given") for place, code in enumerate(codes)]
    return sorted(judge_programs(pool, {problem.task_id: problem}, programs), key=lambda verdict: verdict.index)


def test_canonical_solutions_pass_and_their_checks_are_counted(pool: Pool, problems: tuple[Problem, ...]) -> None:
    chosen = problems[:: len(problems) // 4]
    programs = [Program(each.task_id, 0, each.prompt + each.canonical_solution, "given") for each in chosen]
    for verdict in judge_programs(pool, {each.task_id: each for each in chosen}, programs):
        assert (verdict.outcome, verdict.checks > 0) == (Outcome.PASSED, True), verdict


def test_no_program_passes_that_kept_its_checks_from_deciding(
    language: str, pool: Pool, problems: tuple[Problem, ...]
) -> None:
    wrong = HEADS[language] + WRONG[language]
    attacks = {
        name: code.replace("{head}", HEADS[language]).replace("{wrong}", wrong)
        for name, code in ATTACKS[language].items()
    }
    found = dict(zip(attacks, judge(pool, problems[0], list(attacks.values())), strict=True))
    assert [name for name, verdict in found.items() if verdict.outcome is Outcome.PASSED] == []


def test_a_right_program_passes_whatever_it_prints(language: str, pool: Pool, problems: tuple[Problem, ...]) -> None:
    right = problems[0].prompt + problems[0].canonical_solution
    (verdict,) = judge(pool, problems[0], [NOISE[language] + right])
    assert verdict.outcome is Outcome.PASSED, verdict


def test_a_program_that_cannot_be_compiled_says_so(pool: Pool, problems: tuple[Problem, ...]) -> None:
    (verdict,) = judge(pool, problems[0], [problems[0].prompt + " return ((; }\n"])
    assert verdict.outcome is Outcome.COMPILE
    assert verdict.detail != ""


def test_the_originals_rule_takes_silence_for_a_pass_and_noise_for_a_failure(public_data: Path) -> None:
    try:
        tools = whole.tools("javascript")
    except UserError as error:
        pytest.skip(str(error))
    del tools
    data = humaneval_x.load(public_data / "benchmarks" / "humaneval-x" / "humaneval_js.jsonl.gz")
    problem = data.problems[0]
    right = problem.prompt + problem.canonical_solution
    from codeup.evaluate.programs import SuiteRules

    programs = [
        Program(problem.task_id, i, code, "x")
        for i, code in enumerate((right, "console.log(1)\n" + right, "process.exit(0)"))
    ]
    with Pool(1, whole.limits_for(None), show=whole.shown([problem])) as opened:
        verdicts = judge_programs(opened, {problem.task_id: problem}, programs, SuiteRules("humaneval-x"))
        found = {verdict.index: verdict.outcome for verdict in verdicts}
    assert found == {0: Outcome.PASSED, 1: Outcome.FAILED, 2: Outcome.PASSED}


def test_a_missing_tool_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="install"):
        plugins.load("languages", "cpp").toolchain()
