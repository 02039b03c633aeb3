"""The sandbox: outcomes, limits, what the referee believes, and what it refuses to guess."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeup.errors import UserError, WorkFailed
from codeup.sandbox import home, layers, root
from codeup.sandbox.limits import Limits
from codeup.sandbox.pool import SOURCE, Job, Pool
from codeup.types import Outcome, Verdict

TESTS = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(a=5, b=-5) == 0\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, Limits(cpu_s=1, wall_s=3, memory_mb=512)) as opened:
        yield opened


def judge(pool: Pool, program: str, tests: str = TESTS, reference: str = "", entry_point: str = "add") -> Verdict:
    (verdict,) = pool.judge([Job("t/0", 0, program, entry_point, tests, reference)], retry=False)
    return verdict


OUTCOMES = {
    "a right answer": ("def add(a, b): return a + b", "PASSED", ""),
    "a wrong answer": ("def add(a, b): return a - b", "FAILED", "add(1, 2) returned -1; assert candidate(1, 2) == 3"),
    "an exception": ("def add(a, b): return a + missing", "FAILED", "raised NameError: name 'missing'"),
    "an exception while loading": ("raise ValueError('at import')", "FAILED", "raised ValueError: while loading"),
    "another name": ("def plus(a, b): return a + b", "FAILED", "defines no function add"),
    "a name that is no function": ("add = 3", "FAILED", "defines no function add"),
    "a syntax error": ("def add(a, b) return", "COMPILE", "expected ':'"),
    "a null byte": ("x = '\0'", "COMPILE", "null"),
    "sys.exit while loading": ("import sys; sys.exit(0)", "EXITED", "while loading: sys.exit(0)"),
    "os._exit in the call": ("import os\ndef add(a, b): os._exit(0)", "EXITED", "exit code 0"),
    "a segmentation fault": ("import ctypes\ndef add(a, b): ctypes.string_at(0)", "CRASHED", "SIGSEGV"),
    "an abort": ("import os\ndef add(a, b): os.abort()", "CRASHED", "SIGABRT"),
    "its own SIGKILL": ("import os\ndef add(a, b): os.kill(os.getpid(), 9)", "CRASHED", "SIGKILL"),
    "an endless loop": ("def add(a, b):\n    while True: pass", "TIMEOUT", "used 1 s of CPU time"),
    "an endless sleep": ("import time\ndef add(a, b): time.sleep(999)", "TIMEOUT", "did not finish in 3 s"),
    "too much memory": ("def add(a, b): return len(bytearray(2**30))", "MEMORY", "more memory than allowed"),
    "endless recursion": ("def add(a, b): return add(a, b)", "FAILED", "RecursionError"),
    "reading standard input": ("def add(a, b): return int(input())", "FAILED", "EOFError"),
    "printing much": ("def add(a, b):\n    print('x' * 10**6)\n    return a + b", "PASSED", ""),
    "a generator": ("def add(a, b): yield a + b", "FAILED", "returned a generator object"),
    "a script's main part": ("def add(a, b): return a + b\nif __name__ == '__main__': 1 / 0", "PASSED", ""),
    "a dataclass and an enum": (
        "import dataclasses, enum\n@dataclasses.dataclass\nclass P:\n    x: int\nclass E(enum.Enum):\n    A = 1\n"
        "def add(a: 'int', b: 'int'): return P(a).x + b",
        "PASSED",
        "",
    ),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_way_to_end_has_its_outcome(pool: Pool, name: str) -> None:
    program, outcome, detail = OUTCOMES[name]
    verdict = judge(pool, program)
    assert (verdict.outcome, detail in verdict.detail) == (outcome, True), verdict


def test_a_verdict_counts_the_answers_it_rests_on(pool: Pool) -> None:
    assert judge(pool, "def add(a, b): return a + b").checks == 2
    assert judge(pool, "def add(a, b): return 0").checks == 1


def test_tests_that_ask_nothing_prove_nothing(pool: Pool) -> None:
    verdict = judge(pool, "def add(a, b): return 3", "def check(candidate):\n    assert True\n")
    assert verdict.outcome is Outcome.FAILED and "nothing was proved" in verdict.detail


def test_tests_that_swallow_everything_cannot_turn_an_exit_into_a_pass(pool: Pool) -> None:
    tests = "def check(candidate):\n    try:\n        candidate(1, 2)\n    except BaseException:\n        pass\n"
    assert judge(pool, "import os\ndef add(a, b): os._exit(0)", tests).outcome is Outcome.EXITED


def test_tests_may_use_the_helpers_of_the_reference(pool: Pool) -> None:
    tests = "def check(candidate):\n    assert helper(candidate(1)) == 3\n"
    assert judge(pool, "def f(x): return x", tests, "def helper(x): return x + 2\n", "f").outcome is Outcome.PASSED


def test_the_program_cannot_see_the_tests_or_the_reference(pool: Pool) -> None:
    tests = "NEEDLE = 'tests-' + 'needle'\ndef check(candidate):\n    assert candidate('needle') == []\n"
    program = (
        "import gc, sys\ndef add(word):\n"
        "    found = [o for o in gc.get_objects() if isinstance(o, dict) and 'NEEDLE' in o]\n"
        "    return [str(f)[:80] for f in found] + [m for m in sys.modules if 'referee' in m or 'pool' in m]"
    )
    assert judge(pool, program, tests).outcome is Outcome.PASSED


def test_samples_do_not_share_anything(pool: Pool) -> None:
    dirty = (
        "import math, builtins\nmath.pi = 3\nbuiltins.shared = 1\nopen('left', 'w').write('x')\n"
        "def add(a, b): return a + b"
    )
    clean = (
        "import math, builtins, os\ndef add(a, b):\n"
        "    return a + b if math.pi > 3.1 and not hasattr(builtins, 'shared') and os.listdir('.') == [] else None"
    )
    assert [judge(pool, text).outcome for text in (dirty, clean)] == ["PASSED", "PASSED"]


def test_the_hash_seed_is_fixed(pool: Pool) -> None:
    program = "def add(x): return hash('codeup')"
    tests = "def check(candidate):\n    assert candidate(0) == hash('codeup')\n"
    assert judge(pool, program, tests).outcome is Outcome.PASSED


def test_a_program_that_imports_its_own_files_leaves_no_bytecode_beside_them(pool: Pool) -> None:
    program = (
        "import os, sys; sys.path.insert(0, '.')\n"
        "def add(a, b):\n    open('own.py', 'w').write('x = 0'); import own\n"
        "    return a + b if os.listdir('.') == ['own.py'] else os.listdir('.')\n"
    )
    assert judge(pool, program).outcome is Outcome.PASSED


def test_numpy_may_be_used_and_its_scalars_are_numbers(pool: Pool) -> None:
    pytest.importorskip("numpy")
    program = "import numpy as np\ndef add(a, b): return np.array([a, b]).sum()"
    assert judge(pool, program).outcome is Outcome.PASSED


def test_only_numpy_of_the_installed_packages_can_be_imported(pool: Pool) -> None:
    program = (
        "def add(a, b):\n    for name in ('codeup.benchmarks.nano', 'pytest', 'torch', 'yaml'):\n        try:\n"
        "            __import__(name)\n            return name\n"
        "        except ImportError:\n            pass\n    return a + b"
    )
    assert judge(pool, program).outcome is Outcome.PASSED


def test_tests_that_do_not_load_are_a_failure_of_work_not_a_verdict() -> None:
    with Pool(1) as pool, pytest.raises(WorkFailed, match="tests themselves do not load"):
        judge(pool, "def add(a, b): return a + b", "this is not python")


def test_a_program_cannot_make_the_sandbox_seem_broken(pool: Pool) -> None:
    claim = (
        "import os, json\ndata = json.dumps(['broken', 'x']).encode()\nfor n in range(3, 64):\n    try:\n"
        "        os.write(n, len(data).to_bytes(4, 'big') + data)\n    except OSError: pass\nos._exit(70)"
    )
    assert judge(pool, claim).outcome is Outcome.FAILED
    deep = "def add(a):\n    for _ in range(199): a = [a]\n    return a"
    again = "def check(candidate):\n    candidate(candidate(0))\n"  # what came back may be sent again
    assert judge(pool, deep, again).outcome is Outcome.FAILED


def test_closing_a_pool_at_work_starts_nothing_new() -> None:
    import threading

    pool = Pool(1)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            judge(pool, "import time\ndef add(a, b): time.sleep(60)")
        except WorkFailed as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pool.close()
    thread.join()
    assert len(failures) == 1 and pool.workers[0].process.poll() is not None


def test_a_killed_referee_is_replaced_and_the_sample_judged_again() -> None:
    with Pool(1) as pool:
        pool.workers[0].process.kill()
        assert judge(pool, "def add(a, b): return a + b").outcome is Outcome.PASSED


def test_a_sandbox_can_be_renewed_after_a_cleaner_removed_its_folder() -> None:
    with Pool(1) as pool:
        shutil.rmtree(pool.home, ignore_errors=True)
        pool.interrupt(0)
        pool.renew(0)
        assert judge(pool, "def add(a, b): return a + b").outcome is Outcome.PASSED


def test_a_folder_that_somebody_else_made_in_its_place_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool(1) as pool:
        with monkeypatch.context() as changed:
            changed.setattr(os, "geteuid", lambda: os.getuid() + 1)
            with pytest.raises(WorkFailed, match="is not ours any more"):
                pool.renew(0)
        pool.renew(0)


@pytest.mark.parametrize("error", [EOFError, TimeoutError, OSError])
def test_a_referee_that_cannot_start_again_is_failed_work(error: type[Exception]) -> None:
    with Pool(1) as pool:
        worker = pool.workers[0]
        worker.process.kill()

        def start() -> None:
            raise error

        worker.start = start  # type: ignore[method-assign]
        with pytest.raises(WorkFailed, match="could not start again"):
            judge(pool, "def add(a, b): return a + b")


def test_a_sample_timed_out_on_a_busy_machine_is_judged_once_more_alone(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, real = Job("t/0", 0, "def add(a, b):\n    while True: pass", "add", TESTS, ""), pool.workers[0].judge
    monkeypatch.setattr(pool.workers[0], "judge", lambda job: {**real(job), "contended": True})
    (verdict,) = pool.judge([job])
    assert verdict.outcome is Outcome.TIMEOUT and "second time alone" in verdict.detail


def test_below_the_floor_the_pool_refuses_unless_told_otherwise() -> None:
    off = ("namespaces", "landlock", "seccomp")
    with pytest.raises(UserError, match="cannot isolate"):
        Pool(1, off=off)
    with Pool(1, off=off, allow_unsafe=True) as pool:
        assert pool.isolated.level == "weak"
        assert judge(pool, "def add(a, b): return a + b").outcome is Outcome.PASSED


def test_closing_a_pool_leaves_no_folder_and_no_process() -> None:
    with Pool(2) as pool:
        processes = [worker.process for worker in pool.workers]
    assert not Path(pool.home).exists() and all(process.poll() is not None for process in processes)


def test_the_environment_of_a_program_is_its_own(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    program = "import os\ndef add(a, b): return sorted(os.environ)"
    with Pool(1) as fresh:
        detail = judge(fresh, program).detail
    assert "PYTHONHASHSEED" in detail and "HF_TOKEN" not in detail and "HOME" not in detail and "PATH" not in detail


def _ordinary_python() -> str:
    """An interpreter that another user may run, or skip."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become an ordinary user")
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        again = (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import codeup.sandbox.pool'], check=True)"
        )
        probe = [*_as_nobody(), python, "-c", again]
        if (
            os.path.exists(python)
            and not subprocess.run(probe, env={"PYTHONPATH": SOURCE}, capture_output=True).returncode
        ):
            return python
    pytest.skip("no interpreter that an ordinary user may run can import codeup here")


def _as_nobody() -> list[str]:
    return ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"]


def test_an_ordinary_user_gets_a_sandbox_too() -> None:
    python = _ordinary_python()
    code = (
        "from codeup.sandbox.pool import Pool, Job\nimport json\n"
        "with Pool(1) as pool:\n"
        f"    jobs = [Job('t', i, p, 'add', {TESTS!r}, '') for i, p in enumerate(['def add(a, b): return a + b', "
        "'import socket\\nsocket.socket()\\ndef add(a, b): return a + b'])]\n"
        "    print(json.dumps([pool.isolated.level, *[v.outcome for v in pool.judge(jobs)]]))\n"
    )
    done = subprocess.run(
        [*_as_nobody(), python, "-c", code], env={"PYTHONPATH": SOURCE}, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    level, *outcomes = json.loads(done.stdout)
    assert level in ("strong", "confined") and outcomes == ["PASSED", "FAILED"]


def test_splitting_a_folder_leaves_out_exactly_the_secret(tmp_path: Path) -> None:
    for name in ("a/one", "a/secret/two", "b/three"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    base = os.path.realpath(tmp_path)
    assert sorted(root.without([base], [f"{base}/a/secret"])) == [f"{base}/a/one", f"{base}/b"]


def test_levels_need_both_files_and_network() -> None:
    assert layers.level(["private-root", "user-namespace"]) == "weak"
    assert layers.level(["seccomp"]) == "weak"
    assert layers.level(["private-root", "seccomp"]) == "confined"
    separate = ["private-root", "network-namespace", "pid-namespace"]
    assert layers.level([*separate, "landlock-7"]) == "confined"
    assert layers.level([*separate, "seccomp"]) == "strong"


def test_the_folder_of_a_killed_pool_is_removed_by_the_next_and_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; from codeup.sandbox.pool import Pool; print(Pool(1).home, flush=True); os.kill(os.getpid(), 9)"
    outside = {**os.environ, "TMPDIR": str(tmp_path)}
    left = Path(
        subprocess.run([sys.executable, "-c", code], env=outside, capture_output=True, text=True).stdout.strip()
    )
    young, file = tmp_path / "codeup-pool-young", tmp_path / "codeup-pool-file"
    away, link, mine = tmp_path / "away", tmp_path / "codeup-pool-link", tmp_path / "codeup-pool-held"
    for folder in (young, away, mine):
        folder.mkdir()
    file.touch()
    link.symlink_to(away)
    (away / "kept").touch()
    for path in (left, mine, file, away):
        os.utime(path, (0, 0))
    os.utime(link, (0, 0), follow_symlinks=False)
    held = os.open(mine, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert left.is_dir()
    home.remove_abandoned(str(tmp_path))
    os.close(held)
    assert set(tmp_path.iterdir()) == {young, file, away, link, mine} and (away / "kept").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Pool(1).close()
    assert not mine.exists()
