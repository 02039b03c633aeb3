"""What a model's tests prove: which assertions are read, which mutants are made, and which answers pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from codeup.evaluate import checks
from codeup.sandbox.pool import Pool
from codeup.synth import prove
from codeup.synth.cache import Cache
from codeup.synth.mutants import mutants

ADD = "def add(a, b):\n    return a + b\n"


def test_names_that_double_in_every_line_are_left_out_and_the_next_check_is_read() -> None:
    doubling = "x = [1]\n" + "x = [x, x]\n" * 17  # 2 to the power of 17 ones
    found = checks.read(f"{doubling}assert add(x, 1) == 1\ny = 2\nassert add(y, 1) == 3\n", ADD)
    assert [check.source for check in found.checks] == ["assert candidate(2, 1) == 3"]
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("test", "check"),
    [
        ("assert add(1, 2) == 3", "assert candidate(1, 2) == 3"),
        ("assert 3 == add(1, b=2)", "assert 3 == candidate(1, b=2)"),
        ("xs = [1]\nassert add(xs, [2]) == [1, 2]", "assert candidate([1], [2]) == [1, 2]"),
        ("got = add(1, 2)\nassert got == 3", "assert candidate(1, 2) == 3"),
        ("assert sorted(add([2], [1])) == [1, 2]", "assert sorted(candidate([2], [1])) == [1, 2]"),
        ("assert abs(add(.1, .2) - .3) < 1e-9", "assert abs(candidate(0.1, 0.2) - 0.3) < 1e-09"),
        ("import math\nassert math.isclose(add(.1, .2), .3)", "assert close(candidate(0.1, 0.2), 0.3)"),
        ("assert isinstance(add(1, 2), int)", "assert isinstance(candidate(1, 2), int)"),
        ("def test_add():\n    assert add(-1, 1) == 0", "assert candidate(-1, 1) == 0"),
        ("class T:\n    def test(self):\n        self.assertEqual(add(1, 1), 2)", "assert candidate(1, 1) == 2"),
        (
            "with pytest.raises(TypeError):\n    add(1, 'a')",
            "assert raises('TypeError', lambda: candidate(1, 'a'))",
        ),
        ("assert add('a' * 3, '') == 'aaa'", "assert candidate('a' * 3, '') == 'aaa'"),
    ],
)
def test_an_assertion_about_literals_becomes_a_check(test: str, check: str) -> None:
    found = checks.read(test, ADD)
    assert [each.source for each in found.checks] == [check]
    assert found.left_out == 0
    assert found.entry_point == "add"


@pytest.mark.parametrize(
    "test",
    [
        "assert add(1, helper()) == 3",
        "assert add(1, 2) == open('/etc/passwd')",
        "assert add(1, __import__('os').system('true')) == 3",
        "assert add(10 ** 10 ** 10, 1) == 1",
        "assert add('a' * 9 * 999 * 999 * 999, '') == ''",
        "assert (lambda: 3)() == add(1, 2)",
        "assert add.__globals__ == 3 or add(1, 2)",
        "assert [add(x, 1) for x in range(10 ** 9)]",
        "for x in range(3):\n    assert add(x, 1) == x + 1",
        "assert add(1, 2).__class__ == 3",
        "assert math.exp(add(1, 2)) == 3",
        "x = input()\nassert add(x, 1) == 2",
        "assert add(int, 1) == 2",
        "assert add(..., 1) == 2",
        "assert add([int], 1) == 2",
        "assert add(a=1, a=2) == 3",
    ],
)
def test_an_assertion_that_runs_code_of_the_model_is_left_out_and_counted(test: str) -> None:
    found = checks.read(f"{test}\nassert add(0, 0) == 0", ADD)
    assert [each.source for each in found.checks] == ["assert candidate(0, 0) == 0"]
    assert found.left_out == 1


def test_tests_and_programs_nested_thousands_deep_are_given_up_without_harm() -> None:
    deep = "-" * 5000 + "1"
    assert checks.read(f"assert add({deep}, 1) == 2", ADD).checks == ()
    program = f"def f(x):\n    return x + {'-' * 3000}1\n"
    assert checks.read("assert add(1, 1) == 2", program).checks == ()
    assert all(each.wholesale for each in mutants(f"def f(x):\n    return {'(-' * 90}x{')' * 90}\n", "f", [])[:2])


def test_an_assertion_about_another_function_is_no_check() -> None:
    assert checks.read("assert len([1]) == 1\nassert True", ADD).checks == ()


def test_a_name_that_was_assigned_in_a_loop_is_not_taken_for_its_first_value() -> None:
    tests = "x = 1\nfor x in [5, 6]:\n    pass\nassert add(x, 1) == 7"
    assert checks.read(tests, ADD).checks == ()


def test_mutants_change_one_thing_each_and_wholesale_ones_come_first() -> None:
    program = "def f(x):\n    if x < 3:\n        return x + 1\n    return 0\n"
    found = mutants(program, "f", ["0", "2", "0"])
    changes = [each.change for each in found if each.wholesale]
    assert changes == ["returns None", "returns its first argument", "always returns 0", "always returns 2"]
    small = {each.program for each in found if not each.wholesale}
    whole = "def f(x):\n    if {}:\n        return {}\n    return {}"
    assert small == {
        whole.format("x <= 3", "x + 1", "0"),
        whole.format("not x < 3", "x + 1", "0"),
        whole.format("x < 4", "x + 1", "0"),
        whole.format("x < 3", "x - 1", "0"),
        whole.format("x < 3", "x + 2", "0"),
        whole.format("x < 3", "None", "0"),
        whole.format("x < 3", "x + 1", "1"),
        whole.format("x < 3", "x + 1", "None"),
    }
    assert found == mutants(program, "f", ["0", "2", "0"])


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, prove.LIMITS) as opened:
        yield opened


def fenced(code: str) -> str:
    return f"Like this:\n```python\n{code}\n```"


TESTS = fenced("assert add(1, 2) == 3\nassert add(0, 0) == 0\nassert add(-1, 5) == 4\nassert add('a', 'b') == 'ab'")
CASES = {
    "right": (fenced(ADD), TESTS, ""),
    "wrong": (fenced("def add(a, b):\n    return a * b"), TESTS, prove.FAILS),
    "exits with code 0 while it loads": (fenced(ADD + "import sys\nsys.exit(0)"), TESTS, prove.ENDS),
    "exits with code 0 when it is called": (fenced("import os\ndef add(a, b):\n    os._exit(0)"), TESTS, prove.ENDS),
    "never ends": (fenced("def add(a, b):\n    while True:\n        pass"), TESTS, prove.LIMIT),
    "equals everything": (
        fenced("class Y:\n    def __eq__(self, o):\n        return True\ndef add(a, b):\n    return Y()"),
        TESTS,
        prove.FAILS,
    ),
    "tests are never called": (
        fenced(ADD),
        fenced("def helper():\n    assert add(1, 2) == 3\n    assert add(2, 2) == 4\n    assert add(3, 3) == 6"),
        prove.NO_TESTS,
    ),
    "tests are of another function": (fenced(ADD), fenced("assert sub(1, 2) == 3\n" * 4), prove.NO_TESTS),
    "no tests": (fenced(ADD), "", prove.NO_TESTS),
    "all tests expect the same": (
        fenced("def add(a, b):\n    return a + b"),
        fenced("assert add(1, 2) == 3\nassert add(2, 1) == 3\nassert add(0, 3) == 3"),
        prove.WEAK,
    ),
    "tests look at one input": (
        fenced("def add(a, b):\n    return a + b"),
        fenced("\n".join(f"assert add(1, 2) == 3 or {n} == add(2, 2)" for n in range(4))),
        prove.WEAK,
    ),
    "tests hardly look": (
        fenced("def add(a, b):\n    return a + b"),
        fenced("assert add(1, 2) is not None\nassert add(0, 1) == 1\nassert add(1, 1) > 0"),
        prove.WEAK,
    ),
    "remembers what it was asked": (
        fenced("seen = []\ndef add(a, b):\n    seen.append(a)\n    return a + b if seen[0] == 1 else 0"),
        TESTS,
        prove.FLAKY,
    ),
    "prose": ("I would add the numbers.", TESTS, prove.NO_CODE),
    "does not parse": (fenced("def add(a, b:\n    return a + b"), TESTS, prove.NO_CODE),
}


def test_only_what_is_proved_passes(pool: Pool, tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        answers = [(solution, tests) for solution, tests, _ in CASES.values()]
        proofs = dict(zip(CASES, prove.prove(answers, pool, cache, share=0.7), strict=True))
        assert {name: proof.reason for name, proof in proofs.items()} == {name: case[2] for name, case in CASES.items()}
        assert proofs["right"].checks == 4
        assert proofs["right"].killed == proofs["right"].mutants == 2 + 3 + 2  # None, argument; 3, 0, 4; +, return
        assert "returns its first argument" not in proofs["right"].survived
        assert proofs["tests hardly look"].survived


def test_verdicts_are_kept_and_not_run_again(pool: Pool, tmp_path: Path) -> None:
    class NoPool:
        def judge(self, jobs: object, retry: bool = True) -> Iterator[None]:
            assert not list(jobs), "ran again"  # type: ignore[call-overload]
            yield from ()

    answers = [(CASES[name][0], CASES[name][1]) for name in ("right", "wrong", "no tests")]
    with Cache(tmp_path / "c.sqlite") as cache:
        first = prove.prove(answers, pool, cache, share=0.7)
        assert prove.prove(answers, NoPool(), cache, share=0.7) == first  # type: ignore[arg-type]
        answers.append(("def sub(a, b):\n    return a - b", TESTS.replace("add", "sub")))
        with pytest.raises(AssertionError, match="ran again"):
            prove.prove(answers, NoPool(), cache, share=0.7)  # type: ignore[arg-type]


def test_the_share_of_mutants_decides_what_is_weak(pool: Pool, tmp_path: Path) -> None:
    program = "def f(x):\n    if x > 10:\n        return 1\n    return x * 2\n"
    tests = "assert f(1) == 2\nassert f(2) == 4\nassert f(0) == 0"
    with Cache(tmp_path / "c.sqlite") as cache:
        strict, lenient = (prove.prove([(program, tests)], pool, cache, share=share)[0] for share in (0.9, 0.3))
    assert (strict.reason, lenient.reason) == (prove.WEAK, "")
    assert strict.survived == lenient.survived
    assert set(strict.survived) >= {"comparison in line 2", "return in line 3"}
    assert strict.killed == strict.mutants - len(strict.survived)


def test_the_checks_hold_no_name_but_the_candidate_and_the_harmless_ones() -> None:
    source = checks.read(TESTS.split("```python")[1].split("```")[0], ADD).source()
    namespace: dict[str, object] = {}
    exec(source, namespace)  # what the referee does; only our own text is run
    with pytest.raises(AssertionError):
        namespace["check"](lambda a, b: 7)  # type: ignore[operator]
    namespace["check"](lambda a, b: a + b)  # type: ignore[operator]
