"""`codeup generate`, `evaluate` and `compare`: answers, scores and the paired test, outside of any run."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, cast

from codeup import models, plugins, stats
from codeup.cli.progress import display
from codeup.errors import UserError

ASKED = 0
"""Compared is the first answer to each problem, as pass@1 of greedy decoding has it."""


def generate(
    model: str,
    benchmark: str,
    out: Path,
    *,
    data: Path | None,
    form: str,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    limit: int | None,
    seed: int,
    prompt_style: str,
    json: bool,
) -> None:
    """Answer a benchmark with a model and append the answers to `out`."""
    if form not in ("base", "chat"):
        raise UserError(f"--form is {form!r}", mend="use chat, or base")
    module = plugins.load("benchmarks", benchmark)
    folder = models.locate(model)

    from codeup.chat import load_renderer
    from codeup.engines.hf import Engine
    from codeup.evaluate.generate import first, generate_samples

    if form == "chat" and not models.is_tuned(folder):
        raise UserError(
            "this model does not say in which template it is chatted to", where=model, mend="use --form base"
        )
    with display() as emit:
        summary = generate_samples(
            Engine(folder),
            load_renderer(folder) if form == "chat" else None,
            module,
            first(module.load(data), limit),
            form=cast(Literal["base", "chat"], form),
            out=out,
            n_samples=samples,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            model=models.identity(model),
            prompt_style=prompt_style,
            emit=emit,
        )
    print(jsonlib.dumps(summary) if json else f"{summary['samples']} answers: {out}")


def evaluate(
    benchmark: str,
    samples: Path,
    *,
    data: Path | None,
    out: Path | None,
    workers: int | None,
    timeout_s: float,
    memory_mb: int,
    allow_unsafe: bool,
    partial: bool,
    extraction: str,
    other_extractions: bool,
    json: bool,
) -> None:
    """Judge a samples file and print its scores."""
    module = plugins.load("benchmarks", benchmark)

    from codeup.evaluate.judge import judge_samples
    from codeup.sandbox.limits import Limits

    folder = out or samples.with_name(samples.name.split(".")[0] + "-verdicts")
    with display() as emit:
        summary = judge_samples(
            samples,
            module,
            module.load(data),
            folder,
            workers=workers,
            limits=Limits(cpu_s=timeout_s, wall_s=4 * timeout_s, memory_mb=memory_mb),
            allow_unsafe=allow_unsafe,
            partial=partial,
            extraction=extraction,
            other_extractions=other_extractions,
            emit=emit,
        )
    if json:
        print(jsonlib.dumps({**summary, "out": str(folder)}))
        return
    for score in summary["scores"]:
        low, high = score["low"], score["high"]
        print(f"{score['metric']} {score['value']:.3f}  95 % [{low:.3f}, {high:.3f}]  n={score['n']} problems")
    print("outcomes: " + ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()))
    for mode, passed in (summary.get("other_extractions") or {}).items():
        print(f"under --extract {mode}, {passed} of the failed samples would pass")
    print(f"data: {summary['data_version']} sha256 {summary['data_sha256'][:16]}; sandbox: {summary['sandbox']}")
    print(f"verdicts: {folder}")


def compare(a: Path, b: Path, *, json: bool) -> None:
    """Print the paired table of two sets of verdicts, McNemar's p-value and the interval of the difference."""
    first, second = _passed(a), _passed(b)
    shared = sorted(first.keys() & second.keys())
    if not shared:
        raise UserError("no problem has a verdict on both sides", where=f"{a} and {b}", mend="compare one benchmark")
    pair = stats.compare_paired([first[task] for task in shared], [second[task] for task in shared])
    left_out = len(first.keys() ^ second.keys())
    if json:
        print(jsonlib.dumps({"a": str(a), "b": str(b), "n": len(shared), "left_out": left_out, **asdict(pair)}))
        return
    print(f"{len(shared)} problems on both sides" + (f"; {left_out} on one side only, left out" if left_out else ""))
    print(f"both pass {pair.both}, only A {pair.only_a}, only B {pair.only_b}, neither {pair.neither}")
    print(f"A - B = {pair.difference:+.3f}  95 % [{pair.low:+.3f}, {pair.high:+.3f}]  McNemar p = {pair.p_value:.3g}")


def _passed(path: Path) -> dict[str, bool]:
    """Task -> did its first answer pass, from a verdicts.jsonl or a folder that holds one."""
    file = path / "verdicts.jsonl" if path.is_dir() else path
    rows: list[dict[str, Any]] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        mend = "give verdicts.jsonl, or a folder that holds it (a judge-… folder of a run)"
        raise UserError(f"cannot be read ({error.strerror})", where=str(file), mend=mend) from None
    for number, line in enumerate(lines, 1):
        try:
            row = jsonlib.loads(line)
            rows.append({key: row[key] for key in ("task_id", "index", "outcome")})
        except (ValueError, KeyError, TypeError):
            raise UserError("is not a verdict", where=f"{file}:{number}", mend="run codeup evaluate again") from None
    return {row["task_id"]: row["outcome"] == "PASSED" for row in rows if row["index"] == ASKED}
