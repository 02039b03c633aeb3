"""Programs of other languages: a right one passes, and nothing passes whose checks did not run to their end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from codeup import plugins
from codeup.benchmarks import humaneval_x
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.language_attacks import TASKS, Task
from codeup.evaluate.programs import SuiteRules, judge_programs
from codeup.sandbox.pool import Pool
from codeup.sandbox.supervisor import _Stream
from codeup.types import Outcome, Problem, Program, Verdict

FILES = {"cpp": "cpp", "javascript": "js", "java": "java", "go": "go", "rust": "rust"}
"""HumanEval-X's files under CODEUP_TEST_DATA/benchmarks/humaneval-x."""


def ready(language: str) -> None:
    """Skip, saying why, where a language's tools are not installed."""
    try:
        whole.tools(language)
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])


def test_every_language_has_a_problem_and_attacks_and_says_what_it_does_not_stop() -> None:
    names = set(plugins.names("languages"))
    assert set(TASKS) == names - {"python"}
    for name in names:
        module = plugins.load("languages", name)
        assert name == module.NAME and module.TITLE and module.FENCES
        assert callable(module.probe) and callable(module.toolchain) and callable(module.wrap)
        assert "cannot pass" in (module.__doc__ or "") + (module.wrap.__doc__ or "") or name == "typescript"


@pytest.fixture(scope="module", params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    """Every language whose tools are installed here."""
    ready(request.param)
    return TASKS[request.param]


@pytest.fixture(scope="module")
def pool(task: Task) -> Iterator[Pool]:
    with Pool(2, whole.limits_for(None), **whole.opened([task.problem])) as opened:
        yield opened


def judge(pool: Pool, problem: Problem, codes: list[str], compat: str = "") -> list[Verdict]:
    programs = [Program(problem.task_id, place, code, "given") for place, code in enumerate(codes)]
    found = judge_programs(pool, {problem.task_id: problem}, programs, SuiteRules(compat))
    return sorted(found, key=lambda verdict: verdict.index)


def test_a_right_program_passes_also_with_noise_a_wrong_one_fails_and_a_broken_one_does_not_compile(
    task: Task, pool: Pool
) -> None:
    noisy_code = task.noise if "twice" in task.noise else task.noise + task.right
    right, noisy, wrong, broken = judge(pool, task.problem, [task.right, noisy_code, task.wrong, task.broken])
    assert (right.outcome, right.checks > 0) == (Outcome.PASSED, True), right
    assert noisy.outcome is Outcome.PASSED, noisy
    assert wrong.outcome is Outcome.FAILED, wrong
    assert broken.outcome is Outcome.COMPILE, broken
    assert broken.detail != ""


def test_no_program_passes_that_kept_its_checks_from_deciding(task: Task, pool: Pool) -> None:
    attacks = {name: code.replace("{wrong}", task.wrong) for name, code in task.attacks.items()}
    found = dict(zip(attacks, judge(pool, task.problem, list(attacks.values())), strict=True))
    assert {name: verdict for name, verdict in found.items() if verdict.outcome is Outcome.PASSED} == {}


@pytest.mark.parametrize("language", sorted(FILES))
def test_some_canonical_solutions_of_humaneval_x_pass(language: str, public_data: Path) -> None:
    ready(language)
    path = public_data / "benchmarks" / "humaneval-x" / f"humaneval_{FILES[language]}.jsonl.gz"
    problems = humaneval_x.load(path).problems[5::80]
    programs = [Program(each.task_id, 0, each.prompt + each.canonical_solution, "given") for each in problems]
    with Pool(2, whole.limits_for(None), **whole.opened(problems)) as opened:
        found = list(judge_programs(opened, {each.task_id: each for each in problems}, programs))
    assert [verdict for verdict in found if verdict.outcome is not Outcome.PASSED or not verdict.checks] == []


def test_the_originals_rule_takes_silence_for_a_pass_and_noise_for_a_failure() -> None:
    ready("javascript")
    task = TASKS["javascript"]
    problem = Problem(**{**{name: getattr(task.problem, name) for name in Problem.__slots__}, "extra": {
        "whole": True, "compat": {"humaneval-x": "silence"},
    }})  # fmt: skip
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        found = judge(opened, problem, [task.right, task.noise + task.right, "process.exit(0)"], "humaneval-x")
        with pytest.raises(UserError, match="no rules"):
            judge(opened, problem, [task.right], "something")
    assert [verdict.outcome for verdict in found] == [Outcome.PASSED, Outcome.FAILED, Outcome.PASSED]


@pytest.mark.parametrize("language", sorted(TASKS))
def test_a_missing_tool_is_an_error_that_says_how_to_install_it(
    language: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="install"):
        plugins.load("languages", language).toolchain()


def test_a_secret_that_arrives_in_pieces_is_still_seen_with_its_count() -> None:
    read, write = os.pipe()
    stream = _Stream(read, b"secret")
    for piece, proof in ((b"noise " * 900 + b"\nsec", ""), (b"ret 1", ""), (b"7", ""), (b"\nmore", "17")):
        os.write(write, piece)
        assert stream.read()
        assert stream.proof == proof
    assert "secret" not in stream.text()
    os.close(write)
    assert not stream.read()
    os.close(read)


def test_a_go_test_of_testifys_http_functions_is_linked_with_them_and_others_are_without() -> None:
    ready("go")
    imports = 'package main\nimport ("testing"; {}"github.com/stretchr/testify/assert")\n'
    handler = "func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(answer()) }"
    extra = {"whole": True, "setup": imports.replace("{}", '"net/http"; ')}
    tests = f'func TestAll(t *testing.T) {{ assert.HTTPSuccess(t, {handler}, "GET", "/", nil) }}\n'
    http = Problem("go/http", "", "answer", tests, language="go", extra=extra)
    plain = replace(
        http, tests="func TestAll(t *testing.T) { assert.New(t).Equal(answer(), 200) }\n",
        extra={"whole": True, "setup": imports.replace("{}", "")},
    )  # fmt: skip
    codes = [f"func answer() int {{ return {code} }}" for code in (200, 404)]
    with Pool(2, whole.limits_for(None), **whole.opened([http])) as opened:
        found = [verdict for each in (http, plain) for verdict in judge(opened, each, codes)]
    assert [verdict.outcome for verdict in found] == [Outcome.PASSED, Outcome.FAILED] * 2, found
    assert found[3].detail.startswith("Error Trace: /scratch/main.go"), found[3]


@pytest.mark.parametrize(
    ("standard", "before", "body"),
    [
        ("c++11", "", 'return stoi("1") + stol("2") + (int)(stod("0") + stof("0")) + (to_wstring(1.5f) == L"");'),
        ("c++11", "#include <future>\n", "return async(launch::deferred, [] { return 3; }).get();"),
        ("c++17", "#include <bits/stdc++.h>\nusing namespace std;\n", 'return stoi("3") + (to_string(1) == "");'),
        ("c++17", "#include <bits/stdc++.h>\n", 'return std::filesystem::path("/a/b").string().size() - 1;'),
    ],
)
def test_what_the_lean_header_of_cpp_leaves_out_is_there_for_a_program_that_names_it(
    standard: str, before: str, body: str
) -> None:
    ready("cpp")
    extra = {"whole": True, "standard": standard}
    problem = Problem("cpp/1", "", "f", "int main() { assert(f() == 3); }", language="cpp", extra=extra)
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        (found,) = judge(opened, problem, [f"{before}int f() {{ {body} }}"])
    assert (found.outcome, found.checks) == (Outcome.PASSED, 1), found


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        ("if cfg!(debug_assertions) { 2 * x } else { x }", True),
        ("let all: Vec<i32> = vec![i32::MAX, x]; let sum: i32 = all.iter().sum(); sum - sum + 2 * x", False),
        ("let most = i32::MAX; let more = most + x; more - more + 2 * x", False),
        ("match std::panic::catch_unwind(|| panic!()) { Err(_) => 2 * x, Ok(()) => x }", True),
        ('if regex::Regex::new(r"^\\d+$").unwrap().is_match("12") { 2 * x } else { x }', True),
        ("let p = &x as *const i32; unsafe { 2 * *p }", True),
    ],
)
def test_a_rust_program_behaves_as_in_a_test_build_overflow_assertions_and_panics_included(
    body: str, passes: bool
) -> None:
    ready("rust")
    problem = TASKS["rust"].problem
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        (verdict,) = judge(opened, problem, [f"fn twice(x: i32) -> i32 {{ {body} }}\n"])
    assert (verdict.outcome is Outcome.PASSED) is passes, verdict.detail


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("static F: [fn(&str) -> String; 2] = [str::to_uppercase, str::to_lowercase];\n"
         "fn twice(x: i32) -> i32 {\n"
         "let all: Vec<Box<dyn std::fmt::Debug>> = vec![Box::new(String::new()), Box::new(x)];\n"
         'assert_eq!(format!("{:?}{}", all, F[0]("a")), format!("[\\"\\", {}]A", x)); 2 * x }', Outcome.PASSED),
        ('extern "C" { fn cbrt(x: f64) -> f64; }\n'
         "thread_local! { static T: std::cell::Cell<u128> = std::cell::Cell::new(7); }\n"
         "fn twice(x: i32) -> i32 { let third = std::thread::spawn(|| T.with(|t| t.get() / 3)).join().unwrap();\n"
         "x * third as i32 * unsafe { cbrt(1.0) } as i32 }", Outcome.PASSED),
        ('extern "C" { fn nobody_has_it(); }\n'
         "fn twice(x: i32) -> i32 { if x > 9000 { unsafe { nobody_has_it() } } 2 * x }", Outcome.COMPILE),
    ],
)  # fmt: skip
def test_a_rust_program_may_call_what_the_system_has_and_nothing_else(body: str, outcome: Outcome) -> None:
    ready("rust")
    problem = TASKS["rust"].problem
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        (verdict,) = judge(opened, problem, [body])
    assert verdict.outcome is outcome, verdict


@pytest.mark.parametrize(
    "words", ["#[no_mangle] pub fn read() {}", "static A: u8 = 0; // link_section", "use std::arch::asm as a;"]
)
def test_a_rust_program_that_could_run_before_its_harness_does_not_compile(words: str) -> None:
    ready("rust")
    problem = TASKS["rust"].problem
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        (verdict,) = judge(opened, problem, [f"{words}\n{TASKS['rust'].right}"])
    assert verdict.outcome is Outcome.COMPILE and "not in a program" in verdict.detail


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("cpp", '/* the constructor (of a list), section ("2"), asm */ struct Asm { Asm(int) {} } asm_(1);'),
        ("rust", "/* neither asm nor an arch */ fn asm() {}"),
    ],
)
def test_words_of_early_code_may_stand_in_a_comment(language: str, words: str) -> None:
    ready(language)
    problem = TASKS[language].problem
    with Pool(1, whole.limits_for(None), **whole.opened([problem])) as opened:
        (verdict,) = judge(opened, problem, [f"{words}\n{TASKS[language].right}"])
    assert verdict.outcome is Outcome.PASSED, verdict.detail
