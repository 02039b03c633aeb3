"""Option values that no command can mean: refused before any work, with the option's name and exit code 2."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from codeup.cli.app import app

EVALUATE = ["evaluate", "--benchmark", "nano", "--samples", "no-such.jsonl"]
GENERATE = ["generate", "--benchmark", "nano", "--model", "no-such-model", "--out", "no-such.jsonl"]
PLAN = ["plan", "recipes/nano.yaml", "--gpu", "h100"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([*PLAN, "--price", "-1"], "'--price'"),
        (["report", ".", "--watch", "--port", "70000"], "'--port'"),
        ([*GENERATE, "--samples", "0"], "'--samples'"),
        ([*GENERATE, "--temperature", "-0.5"], "'--temperature'"),
        ([*GENERATE, "--max-new-tokens", "0"], "'--max-new-tokens'"),
        ([*EVALUATE, "--workers", "0"], "'--workers'"),
        ([*EVALUATE, "--timeout-s", "0"], "'--timeout-s'"),
        ([*EVALUATE, "--memory-mb", "-5"], "'--memory-mb'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_option(argv: list[str], message: str) -> None:
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 2
    assert message in done.stderr and "Input should be" in done.stderr
    assert done.stdout == ""


def test_a_value_at_the_edge_of_its_range_is_taken() -> None:
    done = CliRunner().invoke(app, ["report", "no-such-run", "--port", "65535"])
    assert done.exit_code == 2
    assert "is not a run folder" in done.stderr and "Input should be" not in done.stderr


def test_kinds_of_names_are_json_too_and_a_wrong_kind_is_told_all_of_them() -> None:
    done = CliRunner().invoke(app, ["list", "--json"])
    kinds = json.loads(done.stdout.splitlines()[-1])["kinds"]
    assert {"sources", "benchmarks", "settings"} <= set(kinds)
    wrong = CliRunner().invoke(app, ["list", "setings"])
    assert wrong.exit_code == 2
    assert ", ".join(kinds) in wrong.stderr
