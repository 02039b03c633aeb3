"""`codeup bench`: the mix is what it says, measuring measures, and mistakes are one clear message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from codeup.bench import evaluate as bench
from codeup.bench import mutations, peers
from codeup.bench.measure import CommandFailed, measured
from codeup.cli.benching import lines
from codeup.errors import UserError, WorkFailed

TASKS = [(f"Mbpp/{number}", "def f(x):\n    return x + 1\n", "f") for number in range(200)]
ROW = {
    "task_id": "Mbpp/1",
    "prompt": "# a task\n",
    "entry_point": "f",
    "canonical_solution": "def f(x):\n    return x\n",
    "base_input": [[1]],
    "plus_input": [[2]],
    "atol": 0,
}


def test_the_derived_set_has_the_stated_shares_and_is_the_same_every_time() -> None:
    made = mutations.derived(TASKS)
    assert [each.task_id for each in made] == [task[0] for task in TASKS]
    kinds = [each.kind for each in made]
    expected = [("correct", 100), ("wrong value", 60), ("exception", 20), ("infinite loop", 8), ("memory hungry", 6)]
    expected += [("syntax error", 4), ("C loop", 1), ("import hang", 1)]
    assert [(kind, kinds.count(kind)) for kind in mutations.MIX] == expected
    assert made == mutations.derived(TASKS)


def test_spoiled_programs_do_what_their_kind_says() -> None:
    right = TASKS[0][1]
    assert run(mutations.spoil(right, "f", "correct")) == 3
    assert run(mutations.spoil(right, "f", "wrong value")) == (3, 3)
    with pytest.raises(ValueError, match="deliberately"):
        run(mutations.spoil(right, "f", "exception"))
    with pytest.raises(SyntaxError):
        run(mutations.spoil(right, "f", "syntax error"))
    for kind in ("infinite loop", "memory hungry", "C loop", "import hang"):
        compile(mutations.spoil(right, "f", kind), "f", "exec")


def run(program: str) -> object:
    space: dict[str, object] = {}
    exec(program, space)
    return space["f"](2)  # type: ignore[operator]


def test_time_and_memory_of_the_whole_tree_are_seen(tmp_path: Path) -> None:
    child = "import time; hoard = bytearray(120 << 20); time.sleep(1.2)"
    parent = (
        "import subprocess, sys, pathlib, time; pathlib.Path('result').write_text('x');"
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    seen: list[float] = []
    found = measured([sys.executable, "-c", parent], tmp_path / "result", tmp_path, os.environ, seen.append)
    assert found.wall_s > 1.2
    assert found.result_s < 1.0, "the result was complete long before the process ended"
    assert found.peak_mb is not None and found.largest_mb is not None
    assert 125 < found.peak_mb < 250
    assert 120 < found.largest_mb < found.peak_mb
    assert seen and set(seen) == {0.0}


@pytest.mark.parametrize("program", ["import sys; print('so it is'); sys.exit(3)", "print('so it is')"])
def test_a_command_that_fails_or_leaves_no_result_says_what_it_wrote(program: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="so it is"):
        measured([sys.executable, "-c", program], tmp_path / "result", tmp_path, os.environ)


def test_differences_are_counted_and_named() -> None:
    programs = [
        bench.Program(f"Mbpp/{number}", kind, "") for number, kind in enumerate(("correct", "C loop", "correct"))
    ]
    peer: bench.Statuses = {
        ("Mbpp/0", 0): ("pass", "pass"),
        ("Mbpp/1", 0): ("timeout", "timeout"),
        ("Mbpp/2", 0): ("pass", "fail"),
    }
    ours: bench.Statuses = {
        ("Mbpp/0", 0): ("pass", "pass"),
        ("Mbpp/1", 0): ("timeout", "fail"),
        ("Mbpp/2", 0): ("pass", "pass"),
    }
    found = bench.agreement("derived", "cold", programs, peer, ours)
    assert (found.same_status, found.same_pass) == (1, 2)
    assert (found.peer_pass, found.codeup_pass) == ((2, 1), (2, 2))
    assert [each["task_id"] for each in found.differences] == ["Mbpp/1", "Mbpp/2"]
    del ours["Mbpp/2", 0]
    with pytest.raises(WorkFailed, match="judged 2 of 3"):
        bench.agreement("derived", "cold", programs, peer, ours)


def test_a_python_without_the_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not 0\.3\.1"):
        peers.installed("evalplus", "0.3.1", python=tmp_path / "python")


def test_mistakes_at_the_command_line_exit_2_with_one_message(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(ROW) + "\n")
    for options, message in (
        (["--benchmark", "humaneval"], "use humaneval+ or mbpp+"),
        (["--set", "some"], "use canonical, derived or both"),
        (["--peer", "another"], "use evalplus"),
        (["--workers", "0"], "use 1 or more"),
        (["--peer-python", str(tmp_path / "none")], "cannot import evalplus"),
    ):
        argv = ["bench", "evaluate", "--benchmark", "mbpp+", "--data", str(data), *options]
        done = subprocess.run([sys.executable, "-m", "codeup", *argv], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr and "Traceback" not in done.stderr


STAND_IN = """
import json, pathlib, sys
from evalplus import VERSION
samples = pathlib.Path(sys.argv[sys.argv.index("--samples") + 1])
rows = [json.loads(line) for line in samples.read_text().splitlines()]
found = {row["task_id"]: [{"base_status": "pass", "plus_status": "fail"}] for row in rows}
samples.with_name("samples_eval_results.json").write_text(json.dumps({"eval": found}))
"""


def test_both_tools_are_run_cold_and_warm_and_their_answers_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tools are stand-ins here (tests of parity run the real ones): what is tested is the comparing."""
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({**ROW, "task_id": f"Mbpp/{number}"}) + "\n" for number in range(9000, 9003)))
    for module, text in (("evalplus", "VERSION = 1"), ("evalplus/evaluate", STAND_IN)):
        path = tmp_path / "peer" / f"{module}.py" if "/" in module else tmp_path / "peer" / module / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    own = tmp_path / "peer" / "codeup" / "__main__.py"
    own.parent.mkdir()
    (own.parent / "__init__.py").touch()
    own.write_text(
        "import json, pathlib, sys\nout = pathlib.Path(sys.argv[sys.argv.index('--out') + 1]); out.mkdir()\n"
        "assert sys.argv[1:4] == ['evaluate', '--benchmark', 'mbpp_plus'] and 'evalplus-0.3.1' in sys.argv\n"
        "one = lambda n: [{'base_status': 'pass', 'plus_status': 'pass' if n > 9000 else 'fail'}]\n"
        "found = {f'Mbpp/{n}': one(n) for n in range(9000, 9003)}\n"
        "(out / 'eval_results.json').write_text(json.dumps({'eval': found}))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "peer"))
    monkeypatch.setattr(peers, "installed", lambda *a, **k: Path(sys.executable))
    monkeypatch.setattr(peers, "checked", lambda *a: None)
    result = bench.compare("mbpp+", data, sets=("canonical",), workers=1)
    assert [(time.state, time.tool) for time in result.times] == [
        ("cold", "peer"), ("cold", "codeup"), ("warm", "codeup"), ("warm", "peer"),
    ]  # fmt: skip
    assert [(each.same_pass, each.peer_pass, each.codeup_pass) for each in result.agreements] == [
        (1, (3, 0), (3, 2))
    ] * 2
    assert any("Mbpp/9001 (correct): peer pass/fail, codeup pass/pass" in line for line in lines(result))
    assert json.loads(json.dumps(bench.as_json(result)))["ratios"][0]["ratio"] > 0
