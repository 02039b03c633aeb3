"""Judging on inputs: large values, what a child may say, how it may end, and what is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import mbpp_plus
from codeup.errors import UserError, WorkFailed
from codeup.evaluate import truth
from codeup.evaluate.judge import judge_samples
from codeup.evaluate.programs import SuiteRules, judge_programs, limits_for
from codeup.evaluate.scores import scores
from codeup.sandbox.pool import Job, Pool
from codeup.types import Problem, Program, Verdict

TASKS: dict[str, tuple[str, list[Any], Any]] = {
    "numbers": ("def numbers(n):\n    return list(range(n))\n", [[3], [0]], [[100_000], [5]]),
    "words": ("def words(n):\n    return ['w' + str(i) for i in range(n)]\n", [[2]], [[90_000]]),
    "half": ("def half(n):\n    return n / 2\n", [[3], [4]], [[10**6]]),
    "nothing": ("def nothing(x):\n    return x\n", [[1]], {}),
}


def rows() -> list[dict[str, Any]]:
    kept = {"atol": 0, "contract": "", "assertion": ""}
    made = []
    for place, (name, (code, base, plus)) in enumerate(TASKS.items()):
        prompt = f'"""\nDo it.\nassert {name}(1) == 1\n"""\n'
        inputs = {"base_input": base, "plus_input": plus}
        names = {"task_id": f"Mbpp/{9100 + place}", "entry_point": name}
        made.append({**names, "prompt": prompt, "canonical_solution": code, **inputs, **kept})
    return made


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Problem]]:
    folder = tmp_path_factory.mktemp("suites")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        data = mbpp_plus.load(folder / "data.jsonl")
        yield {problem.entry_point: problem for problem in data.problems}


@pytest.fixture(scope="module")
def pool(problems: dict[str, Problem]) -> Iterator[Pool]:
    with Pool(1, limits_for(list(problems.values()), SuiteRules("evalplus-0.3.1"))) as opened:
        yield opened


def judged(pool: Pool, problem: Problem, code: str, **rules: Any) -> Verdict:
    asked = SuiteRules(**{"compat": "evalplus-0.3.1", **rules})
    (verdict,) = judge_programs(pool, {problem.task_id: problem}, [Program(problem.task_id, 0, code, "given")], asked)
    return verdict


def statuses(verdict: Verdict) -> list[str]:
    return [suite["status"] for suite in verdict.suites]


RIGHT = {
    "numbers": [TASKS["numbers"][0], "def numbers(n):\n    return [float(i) for i in range(n)]\n",
                "import numpy\ndef numbers(n):\n    return numpy.arange(n).tolist()\n"],
    "words": [TASKS["words"][0]],
}  # fmt: skip
WRONG_PLUS = {
    "numbers": ["def numbers(n):\n    return list(range(n)) if n < 9 else list(range(n - 1)) + [0]\n",
                "def numbers(n):\n    return list(range(n)) if n < 9 else tuple(range(n))\n",
                "def numbers(n):\n    return list(range(n)) if n < 9 else 7\n"],
    "words": ["def words(n):\n    return ['w' + str(i) for i in range(n)] if n < 9 else ['x'] * n\n",
              "def words(n):\n    return ['w' + str(i) for i in range(n)] if n < 9 else 'x' * 10**6\n"],
    "half": ["def half(n):\n    return n / 2 if n < 9 else ['x'] * 10**6\n"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [(n, c) for n, codes in RIGHT.items() for c in codes])
def test_a_large_value_is_right_by_its_digest_or_its_normal_form(
    pool: Pool, problems: dict[str, Problem], name: str, code: str
) -> None:
    verdict = judged(pool, problems[name], code)
    assert (statuses(verdict), verdict.outcome) == (["pass", "pass"], "PASSED"), verdict


@pytest.mark.parametrize(("name", "code"), [(n, c) for n, codes in WRONG_PLUS.items() for c in codes])
def test_another_large_value_is_wrong(pool: Pool, problems: dict[str, Problem], name: str, code: str) -> None:
    verdict = judged(pool, problems[name], code)
    assert (statuses(verdict), verdict.outcome) == (["pass", "fail"], "FAILED"), verdict


def test_large_expected_values_are_kept_as_digests(pool: Pool, problems: dict[str, Problem]) -> None:
    judged(pool, problems["numbers"], TASKS["numbers"][0])
    folder = truth.folder_of(problems["numbers"].extra["data_sha256"])
    assert truth.file_of(folder, problems["numbers"], "plus").stat().st_size < 2000


FORGERIES = {
    "says it is done": "wire.send(channel, ['done'])",
    "announces a digest": "wire.send(channel, ['large', '0' * 64, 'list', 3, True])",
    "says the answers are the same": "wire.send(channel, ['answers', [['same'], ['same']]])",
    "sends values of its own": "wire.send(channel, ['answers', [['v', None]] * 9])",
    "sends no JSON": "channel.send(b'\\0\\0\\0\\3abc')",
    "announces a gigabyte": "channel.send(b'\\x40\\0\\0\\0')",
    "says that it returned, for ever": "while True: wire.send(channel, ['returned'])",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_program_that_speaks_for_itself_is_not_believed(pool: Pool, problems: dict[str, Problem], name: str) -> None:
    code = (
        "import socket, sys, os\nwire = sys.modules['codeup.sandbox.wire']\n"
        "def nothing(x):\n    for number in range(3, 64):\n        try:\n"
        "            channel = socket.socket(fileno=os.dup(number))\n        except OSError:\n            continue\n"
        f"        {FORGERIES[name]}\n    return 0\n"
    )
    verdict = judged(pool, problems["nothing"], code)
    assert statuses(verdict)[0] in ("fail", "timeout"), verdict


ENDS = {
    "import os\nos._exit(0)\n": (["timeout", "timeout"], "EXITED"),
    "import sys\nsys.exit(0)\n": (["fail", "fail"], "EXITED"),
    "def half(n) return n\n": (["fail", "fail"], "COMPILE"),
    "half = None\n": (["fail", "fail"], "FAILED"),
    "def half(n):\n    while True: pass\n": (["fail", "fail"], "TIMEOUT"),
    "def half(n):\n    return sum(range(10**13))\n": (["timeout", "timeout"], "TIMEOUT"),
    "def half(n):\n    if n == 4:\n        raise ValueError\n    return n / 2\n": (["fail", "pass"], "FAILED"),
    "def half(n):\n    return n / 2 + 1e-7\n": (["pass", "pass"], "PASSED"),
}


@pytest.mark.parametrize("code", ENDS)
def test_each_way_to_end_has_its_statuses(pool: Pool, problems: dict[str, Problem], code: str) -> None:
    verdict = judged(pool, problems["half"], code)
    assert (statuses(verdict), verdict.outcome) == ENDS[code], verdict


def test_a_program_that_hangs_while_loading_is_loaded_once(pool: Pool, problems: dict[str, Problem]) -> None:
    hanging = "while True:\n    pass\n"
    verdict = judged(pool, problems["half"], hanging)
    assert statuses(verdict) == ["timeout", "timeout"] and "not run" in verdict.suites[1]["detail"]
    assert "not run" not in judged(pool, problems["half"], hanging, all_inputs=True).suites[1]["detail"]


def test_all_inputs_are_judged_when_asked_for(pool: Pool, problems: dict[str, Problem]) -> None:
    code = "def numbers(n):\n    return list(range(n)) if n == 5 else None\n"
    stopped, whole = (judged(pool, problems["numbers"], code, all_inputs=every).suites for every in (False, True))
    assert [suite["checks"] for suite in stopped] == [1, 1]
    assert [(suite["checks"], suite["failed"]) for suite in whole] == [(2, [0, 1]), (2, [0])]


def test_a_canonical_solution_that_fails_stops_everything(pool: Pool, problems: dict[str, Problem]) -> None:
    broken = replace(problems["half"], canonical_solution="def half(n):\n    return 1 / 0\n", task_id="Mbpp/9999")
    with pytest.raises(WorkFailed, match=r"canonical solution of Mbpp/9999 .*ZeroDivisionError"):
        judged(pool, broken, "def half(n):\n    return 1\n")


def test_unknown_rules_are_named(problems: dict[str, Problem]) -> None:
    with pytest.raises(UserError, match=r"no rules 'evalplus-1'"):
        limits_for(list(problems.values()), SuiteRules("evalplus-1"))


def test_results_have_the_shape_of_evalplus_and_are_the_same_again(
    problems: dict[str, Problem], tmp_path: Path
) -> None:
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    data = mbpp_plus.load(tmp_path / "data.jsonl")
    lines = [{"task_id": p.task_id, "solution": p.prompt + p.canonical_solution} for p in data.problems]
    lines[2]["solution"] = "def half(n):\n    return 0\n"
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = judge_samples(tmp_path / "s.jsonl", mbpp_plus, data, tmp_path / "out", workers=1)
    named = [(score["benchmark"], score["suite"], score["value"], score["n"]) for score in summary["scores"]]
    assert named == [("mbpp_plus/base", "base", 0.75, 4), ("mbpp_plus", "plus", 0.75, 4)]
    first = (tmp_path / "out" / "eval_results.json").read_bytes()
    found = json.loads(first)
    assert found["hash"] == data.version.rpartition(" ")[2] and len(found["hash"]) == 32
    assert found["pass_at_k"] == {"base": {"pass@1": 0.75}, "plus": {"pass@1": 0.75}}
    (entry,) = found["eval"]["Mbpp/9102"]
    assert entry == {
        "task_id": "Mbpp/9102", "solution": lines[2]["solution"], "base_status": "fail", "plus_status": "fail",
        "base_fail_tests": [[3]], "plus_fail_tests": [[10**6]],
    }  # fmt: skip
    (tmp_path / "out" / "verdicts.jsonl").unlink()
    judge_samples(tmp_path / "s.jsonl", mbpp_plus, data, tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "eval_results.json").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such benchmark file"),
        ("{", r"data.jsonl:1: is not JSON"),
        ("", "holds no problems"),
        ("[]", r"data.jsonl:1: is not a JSON object"),
        (json.dumps({"task_id": "Mbpp/1"}), r"problem 1 lacks prompt, entry_point"),
        (json.dumps({**rows()[0], "task_id": "HumanEval/0"}), r"problem 1 is HumanEval/0, not Mbpp/"),
    ],
)
def test_a_wrong_data_file_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "data.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        mbpp_plus.load(tmp_path / "data.jsonl")


def test_the_release_is_fetched_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import functools
    import gzip
    import http.server
    import threading

    from codeup.benchmarks import _evalplus_files as files

    served = tmp_path / "served" / "mbppplus_release" / "releases" / "download" / "v0.2.0"
    served.mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows())
    (served / "MbppPlus.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(files, "RELEASES", f"http://127.0.0.1:{server.server_port}")
        assert len(mbpp_plus.load().problems) == len(TASKS)
        server.shutdown()
    assert "not a known version, md5 " in mbpp_plus.load().version
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"MbppPlus v0.2.0 is not in the cache and could not be fetched"):
        mbpp_plus.load()


def test_damaged_expected_values_are_named_and_are_no_verdict(problems: dict[str, Problem]) -> None:
    problem = problems["half"]
    with Pool(1, limits_for([problem], SuiteRules())) as fresh:
        judged(fresh, problem, TASKS["half"][0])
        file = truth.file_of(truth.folder_of(problem.extra["data_sha256"]), problem, "plus")
        whole = file.read_bytes()
        file.write_bytes(whole[:20])
        try:
            with Pool(1, limits_for([problem], SuiteRules())) as other, pytest.raises(WorkFailed, match=r"are damaged"):
                judged(other, problem, TASKS["half"][0])
        finally:
            file.write_bytes(whole)


def test_names_that_evalplus_takes_away_are_gone(pool: Pool, problems: dict[str, Problem]) -> None:
    for taken in ("open('/dev/null')", "__import__('os').getcwd()", "exit", "__import__('subprocess').Popen(['true'])"):
        code = f"def half(n):\n    x = {taken}\n    return n / 2 if x is not None else None\n"
        assert statuses(judged(pool, problems["half"], code)) == ["fail", "fail"], taken


def test_the_plus_score_needs_the_base_inputs_too() -> None:
    pairs = [("pass", "pass"), ("fail", "pass"), ("pass", "fail"), ("fail", "fail")]
    made = [
        {"task_id": str(place), "outcome": "FAILED", "base_status": base, "plus_status": plus}
        for place, (base, plus) in enumerate(pairs)
    ]
    assert [(score["suite"], score["value"]) for score in scores(made)] == [("base", 0.5), ("plus", 0.25)]


@pytest.mark.parametrize(("contended", "calls"), [(False, 1), (True, 2)])
def test_a_timeout_is_judged_again_only_if_the_processor_was_shared(contended: bool, calls: int) -> None:
    class Worker:
        asked = 0

        def judge(self, job: Any) -> dict[str, Any]:
            self.asked += 1
            return {"outcome": "TIMEOUT", "detail": "", "checks": 0, "seconds": 1.0, "contended": contended}

    worker, pool = Worker(), Pool.__new__(Pool)
    pool.workers = [worker]  # type: ignore[list-item]
    (verdict,) = pool.judge([Job("t/0", 0, "", "f", "", "")])
    assert (verdict.outcome, worker.asked) == ("TIMEOUT", calls)
