"""What a person sees at the command line: exit codes, one clear message, and JSON for scripts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


def codeup(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codeup", *argv],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def test_mistakes_in_a_recipe_exit_2_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nseeed: 1\nmodel: {base: nano-base, template: llama4}\n")
    done = codeup("run", str(tmp_path / "r.yaml"))
    assert done.returncode == 2
    assert "seeed: unknown key; did you mean 'seed'?" in done.stderr
    assert "did you mean 'llama3'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "nowhere.yaml"], "no such recipe"),
        (["evaluate", "--benchmark", "humanevil", "--samples", "x.jsonl"], "did you mean 'humaneval'"),
        (["generate", "--engine", "vllm", "--model", "m", "--benchmark", "nano", "--out", "x"], "vllm serve MODEL"),
        (["evaluate", "--benchmark", "nano", "--samples", "x.jsonl"], "no such file"),
        (["evaluate", "--benchmark", "nano", "--samples", "x.jsonl", "--pass-at", "1;5"], "'1;5' are no whole numbers"),
        (["evaluate", "--benchmark", "nano", "--samples", "x.jsonl", "--pass-at", "0"], "pass@0 is of no sample"),
        (["compare", "a", "b"], "cannot be read"),
        (["chat", "no-such-model"], "there is no model"),
        (["report", "."], "is not a run folder"),
        (["list", "benchmark"], "there is no kind"),
        (["run"], "Missing argument"),
    ],
)
def test_wrong_input_is_one_message_and_exit_2(argv: list[str], message: str) -> None:
    done = codeup(*argv)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_samples_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text('{"task_id": "nano/0", "solution": "x"}\n{"task_id": "nano/1", "sol')
    done = codeup("evaluate", "--benchmark", "nano", "--samples", str(path))
    assert done.returncode == 2
    assert f"{path}:2" in done.stderr


def test_check_prints_the_plan_as_json() -> None:
    done = codeup("check", "recipes/nano.yaml", "--json")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout.splitlines()[-1])["steps"]
    assert [step["step"] for step in steps if step["kind"] == "sft"] == [
        "train-instruct",
        "train-instruct-math",
        "train-instruct-math-code",
    ]


def test_list_settings_documents_every_setting() -> None:
    done = codeup("list", "settings", "--json")
    rows = json.loads(done.stdout)["names"]
    assert {"seed", "stages.lora.r", "evaluate.benchmarks.temperature"} <= {row["name"] for row in rows}
    assert all(row["about"] for row in rows), [row["name"] for row in rows if not row["about"]]


def test_evaluate_and_compare_read_whole_solutions(tmp_path: Path) -> None:
    from codeup import plugins

    problems = plugins.load("benchmarks", "nano").load(None).problems[:4]
    for name, count in (("good", 4), ("half", 2)):
        rows = [
            {"task_id": p.task_id, "solution": p.prompt + (p.canonical_solution if i < count else "    return None\n")}
            for i, p in enumerate(problems)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = codeup(
            "evaluate", "--benchmark", "nano", "--samples", str(tmp_path / f"{name}.jsonl"), "--partial", "--json"
        )
        score = json.loads(done.stdout.splitlines()[-1])["scores"][0]
        assert (score["passed"], score["n"]) == (count, 4), done.stdout
    done = codeup("compare", str(tmp_path / "good-verdicts"), str(tmp_path / "half-verdicts"), "--json")
    pair = json.loads(done.stdout.splitlines()[-1])
    assert (pair["both"], pair["only_a"], pair["only_b"], pair["neither"]) == (2, 2, 0, 0)
    assert pair["p_value"] == 0.5


def test_doctor_says_what_the_sandbox_reaches() -> None:
    done = codeup("doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["libraries"]["torch"]
    assert found["sandbox"]


def test_a_reader_that_leaves_is_no_failure() -> None:
    """`codeup compare … | head`: rich leaves with 1 when nobody reads; a command's own exit code stays."""
    program = (
        "import sys, typer\nfrom rich.console import Console\nfrom codeup.cli.command import guarded\n"
        "def show(): Console(force_terminal=False).print('x\\n' * 100_000)\n"
        "def leave(): raise SystemExit(7)\n"
        "typer.run(guarded({'show': show, 'leave': leave}[sys.argv.pop()]))"
    )
    read, write = os.pipe()
    os.close(read)
    codes = [
        subprocess.run([sys.executable, "-c", program, what], stdout=write, stderr=subprocess.DEVNULL).returncode
        for what in ("show", "leave")
    ]
    os.close(write)
    assert codes == [0, 7]


def test_sigterm_leaves_no_temporary_folder_behind(tmp_path: Path) -> None:
    """The command that makes the largest one: a model of random weights, with its GGUF files."""
    argv = [sys.executable, "-m", "codeup", "bench", "generate", "--size", "30m"]
    process = subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not list(tmp_path.glob("codeup-bench-*")):
            time.sleep(0.02)
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143 and "ended by SIGTERM" in said, said
    assert list(tmp_path.iterdir()) == []
