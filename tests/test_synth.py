"""`codeup data synth` against a scripted endpoint: every task accounted for, reruns free, kills harmless."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from signals_for_tests import hears_ctrl_c
from synth_endpoint import BAD, BANK, KEY, Scripted, model

from codeup.synth.budget import Budget
from codeup.synth.cache import Cache, key_of
from codeup.synth.endpoint import Endpoint
from codeup.synth.make import alone, synthesize
from codeup.synth.settings import Settings

SEEDS = [
    "Reverse a string.",
    "Sum the squares of some integers.",
    "Find the longest word of a sentence.",
    "Is n prime?",
]
FILES = ("rows.jsonl", "dropped.jsonl", "manifest.json")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    rows = [{"instruction": text, "output": "def f(x):\n    return x", "licence": "CC0-1.0"} for text in SEEDS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def endpoint() -> Iterator[Scripted]:
    with Scripted() as served:
        yield served


def synth(
    method: str, seeds: Path, out: Path, url: str, *, rows: int, concurrency: int = 4, budget: Budget | None = None,
    **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """The manifest, with what was sent and replayed."""
    asked = Settings(method, seeds, "script", rows, **settings)
    with alone(out), Cache(out / "cache.sqlite") as cache:
        endpoint = Endpoint(url, cache, concurrency=concurrency)
        manifest = synthesize(asked, out, endpoint, budget or Budget())
        return {**manifest, "sent": endpoint.traffic.sent, "replayed": endpoint.traffic.replayed}


def command(method: str, seeds: Path, out: Path, url: str, *more: str) -> list[str]:
    argv = [sys.executable, "-m", "codeup", "data", "synth", method, "--seeds", str(seeds), "--out", str(out)]
    return [*argv, "--base-url", url, "--model", "script", "--workers", "1", "--json", *more]


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SCRIPT_KEY": KEY}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, env=environment)


def rows_of(out: Path, name: str = "rows") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def test_self_instruct_keeps_what_is_proved_and_says_why_the_rest_is_gone(seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Scripted(bad=BAD) as endpoint:
        found = synth("self-instruct", seeds, out, endpoint.url, rows=3, budget=Budget(max_requests=12))
    rows, dropped = rows_of(out), rows_of(out, "dropped")
    good = {known.name for known in BANK} - BAD.keys()
    assert {row["entry_point"] for row in rows} == good
    assert found["requested"] == found["kept"] + sum(found["dropped"].values()) == len(rows) + len(dropped)
    assert Counter(each["reason"] for each in dropped) == found["dropped"]
    assert found["requested"] == 5 * len(endpoint.requests)
    other = [each for each in dropped if each["instruction"] and each["reason"] not in ("near duplicate", "cut off")]
    reasons = {next(k.name for k in BANK if each["instruction"].startswith(k.task)): each["reason"] for each in other}
    assert reasons == {
        "double_all": "solution fails its tests",
        "vowels": "solution ends its process",
        "clamp": "weak tests",
        "transpose": "no usable tests",
        "leaves": "refusal",
    }
    assert found["dropped"]["cut off"] > 0
    assert found["stopped"] == "rows"


def test_a_row_says_where_it_is_from_and_what_proved_it(seeds: Path, tmp_path: Path, endpoint: Scripted) -> None:
    out = tmp_path / "out"
    synth("self-instruct", seeds, out, endpoint.url, rows=2)
    row = rows_of(out)[0]
    known = next(each for each in BANK if each.name == row["entry_point"])
    assert row["messages"][0] == {"role": "user", "content": known.task}
    assert known.program in row["messages"][1]["content"]
    assert "assert" not in row["messages"][1]["content"]
    assert row["validators"]["status"] == "passed"
    assert row["validators"]["checks"] == len(known.tests)
    assert len(row["parents"]) == len(row["seeds"]) == 3
    assert {seed["licence"] for seed in row["seeds"]} == {"CC0-1.0"}
    assert {seed["path"] for seed in row["seeds"]} == {str(seeds)}
    (request,) = row["requests"]
    body = endpoint.requests[0]
    assert request["id"].startswith("chat-")
    assert request["system_fingerprint"] == "script-1"
    assert request["sha256"] in {key_of(each) for each in endpoint.requests}
    assert body["model"] == row["model"]["name"] == "script"
    assert body["temperature"] == row["model"]["params"]["temperature"] == 0.7
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["prompts"] == {"self-instruct": row["prompt_template_sha256"]}
    assert manifest["licences"]["rows_with_seeds_under"] == {"CC0-1.0": 2}
    spent = manifest["spent"]
    assert spent["completion_tokens"] == sum(len(model(each, {})[0]) // 4 for each in endpoint.requests)


@pytest.mark.parametrize("method", ["self-instruct", "evol", "oss-instruct"])
def test_a_rerun_sends_nothing_and_writes_the_same_bytes(
    method: str, seeds: Path, tmp_path: Path, endpoint: Scripted
) -> None:
    out, source = tmp_path / "out", seeds
    if method == "oss-instruct":
        source = tmp_path / "code"
        source.mkdir()
        (source / "a.py").write_text(
            "# SPDX-License-Identifier: MIT\n" + "def helper(value):\n    return value + 1\n" * 20
        )
    first = synth(method, source, out, endpoint.url, rows=4, concurrency=1)
    assert first["kept"] == 4
    assert first["sent"] == len(endpoint.requests) > 0
    before, asked = bytes_of(out), len(endpoint.requests)
    for name in FILES:
        (out / name).unlink()
    again = synth(method, source, out, endpoint.url, rows=4, concurrency=7)
    assert again["sent"] == 0
    assert again["replayed"] == asked == len(endpoint.requests)
    assert bytes_of(out) == before
    if method == "oss-instruct":
        assert {seed["licence"] for row in rows_of(out) for seed in row["seeds"]} == {"MIT"}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_run_continues_to_the_same_bytes_and_pays_once(
    how: signal.Signals, seeds: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with Scripted() as endpoint:
        synth("evol", seeds, whole, endpoint.url, rows=6)
        once = len(endpoint.requests)
    with Scripted(delay_s=0.15) as endpoint:
        argv = command("evol", seeds, cut, endpoint.url, "--rows", "6", "--concurrency", "2")
        process = subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c
        )
        while len(endpoint.requests) < once // 2:
            assert process.poll() is None, "ended before it could be interrupted"
            time.sleep(0.01)
        process.send_signal(how)
        _, said = process.communicate(timeout=600)
        assert not (cut / "manifest.json").exists()
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert "the same command continues" in said
            assert "Traceback" not in said
        endpoint.delay_s = 0.0
        done = run("evol", seeds, cut, endpoint.url, "--rows", "6")
        assert done.returncode == 0, done.stderr
        assert bytes_of(cut) == bytes_of(whole)
        found = json.loads(done.stdout.splitlines()[-1])
        assert 0 < found["sent"] < once
        assert len(endpoint.requests) <= once + 2, "more than those under way were asked twice"


def test_what_is_printed_is_the_account(seeds: Path, tmp_path: Path, endpoint: Scripted) -> None:
    argv = [word for word in command("self-instruct", seeds, tmp_path / "o", endpoint.url) if word != "--json"]
    done = subprocess.run([*argv, "--rows", "3"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0] == "3 rows of 3 asked for; all there"
    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    counts = {line.strip(" -0123456789,"): int(line.split()[-1]) for line in printed[3:] if line[-1:].isdigit()}
    assert counts["requested"] == manifest["requested"]
    assert counts["kept"] == 3
    assert {name: counts[name] for name in manifest["dropped"]} == manifest["dropped"]


@pytest.mark.parametrize(
    ("budget", "cap"),
    [
        (Budget(max_requests=3), "max-requests"),
        (Budget(max_tokens=20_000), "max-tokens-total"),
        (Budget(max_cost=0.05, price_in=1, price_out=4), "max-cost"),
    ],
    ids=["requests", "tokens", "cost"],
)
def test_a_cap_ends_the_run_cleanly_and_a_higher_one_goes_on(
    budget: Budget, cap: str, seeds: Path, tmp_path: Path, endpoint: Scripted
) -> None:
    out = tmp_path / "out"
    found = synth("self-instruct", seeds, out, endpoint.url, rows=50, budget=budget)
    spent = found["spent"]
    assert found["stopped"] == cap
    assert spent["requests"] <= 3 if cap == "max-requests" else spent["requests"] > 3
    assert spent["prompt_tokens"] + spent["completion_tokens"] <= (budget.max_tokens or 10**9)
    assert spent["cost"] <= (budget.max_cost or 10**9)
    assert len(endpoint.requests) == spent["requests"] > 0
    assert rows_of(out)
    more = Budget(max_requests=found["sent"] + 2)
    again = synth("self-instruct", seeds, out, endpoint.url, rows=50, budget=more)
    assert again["sent"] == 2
    assert again["spent"]["requests"] == found["sent"] + 2


def test_evol_goes_on_from_what_it_kept(seeds: Path, tmp_path: Path, endpoint: Scripted) -> None:
    out = tmp_path / "out"
    found = synth("evol", seeds, out, endpoint.url, rows=100, rounds=3)
    rows, dropped = rows_of(out), rows_of(out, "dropped")
    assert found["stopped"] == "rounds"
    assert [each["requested"] for each in found["rounds"]] == [4, 4, 4]
    kept = {row["id"]: row["round"] for row in rows}
    later = [row for row in rows if row["round"] > 1]
    assert later and {"same program as another row", "near duplicate"} & {each["reason"] for each in dropped}
    for row in rows:
        (parent,) = row["parents"]
        assert parent.startswith("seed-") or kept[parent] < row["round"]
        assert [request["template"] for request in row["requests"]] == [f"evolve: {row['operation']}", "answer"]


def test_benchmark_problems_are_kept_out(seeds: Path, tmp_path: Path, endpoint: Scripted) -> None:
    out, benchmark = tmp_path / "out", tmp_path / "bench.jsonl"
    leak = next(known for known in BANK if known.name == "run_lengths")
    item = {
        "task_id": "B/0", "prompt": "def encode(s):\n    'Unrelated words for the same idea.'\n",
        "entry_point": "encode",
        "canonical_solution": "    out = []\n    for c in s:\n        if out and out[-1][0] == c:\n"
        "            out[-1] = (c, out[-1][1] + 1)\n        else:\n            out.append((c, 1))\n    return out\n",
        "test": "def check(candidate):\n" + "".join(
            f"    assert candidate({text!r}) == {pairs!r}\n"
            for text, pairs in [("aab", [("a", 2), ("b", 1)]), ("", []), ("xyz", [("x", 1), ("y", 1), ("z", 1)]),
                                ("qq", [("q", 2)]), ("abba", [("a", 1), ("b", 2), ("a", 1)])]
        ),
    }  # fmt: skip
    benchmark.write_text(json.dumps(item) + "\n")
    found = synth(
        "self-instruct", seeds, out, endpoint.url, rows=8, against={"mine": benchmark}, budget=Budget(max_requests=9)
    )
    assert {row["entry_point"] for row in rows_of(out)} == {known.name for known in BANK} - {leak.name}
    gone = [each for each in rows_of(out, "dropped") if each["reason"] == "contamination"]
    assert gone and {each["instruction"] for each in gone} == {leak.task}
    assert all("mine:B/0" in each["detail"] for each in gone)
    assert found["against"] == {"mine": 1}
    assert rows_of(out)[0]["decontaminated"] == ["mine"]


def test_rows_are_a_source_of_a_recipe(seeds: Path, tmp_path: Path, endpoint: Scripted) -> None:
    from codeup.data.load import Funnel, load_source
    from codeup.types import Conversation

    out = tmp_path / "out"
    synth("self-instruct", seeds, out, endpoint.url, rows=3)
    funnel = Funnel()
    loaded = list(load_source("messages", [out / "rows.jsonl"], funnel=funnel))
    assert all(isinstance(each, Conversation) for each in loaded)
    assert funnel.rows_kept == 3


def test_without_tests_rows_are_kept_only_when_asked(seeds: Path, tmp_path: Path) -> None:
    bad = {known.name: "no tests" for known in BANK}
    with Scripted(bad=bad) as endpoint:
        strict = synth("self-instruct", seeds, tmp_path / "a", endpoint.url, rows=3, budget=Budget(max_requests=2))
        assert strict["kept"] == 0
        assert "no usable tests" in strict["dropped"]
        lenient = synth("self-instruct", seeds, tmp_path / "b", endpoint.url, rows=3, tests="optional")
        assert lenient["kept"] == 3
        assert {row["validators"]["status"] for row in rows_of(tmp_path / "b")} == {"untested"}
        none = synth("self-instruct", seeds, tmp_path / "c", endpoint.url, rows=3, tests="none")
        assert none["kept"] == 3
        assert "[Tests]" not in endpoint.requests[-1]["messages"][0]["content"]


def test_weak_tests_can_be_marked_instead(seeds: Path, tmp_path: Path) -> None:
    with Scripted(bad={"clamp": "weak"}) as endpoint:
        synth("self-instruct", seeds, tmp_path / "o", endpoint.url, rows=8, weak="mark")
    status = {row["entry_point"]: row["validators"]["status"] for row in rows_of(tmp_path / "o")}
    assert status.pop("clamp") == "weak tests"
    assert set(status.values()) == {"passed"}
