"""pass@1 of a model that is being trained, for steps/sft.py: the live model answers, the sandbox judges.

    model in memory -> Engine.around -> samples.jsonl -> judge -> pass@1       the stage's selection/step-000120/

Nothing is merged or saved for it, and no random number of the training is used. The folder of a step is begun afresh
each time, so that answers do not depend on where an earlier call was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from codeup import artifacts, plugins
from codeup.errors import WorkFailed
from codeup.steps.generate import decoding, load_benchmark
from codeup.train import disk, selection
from codeup.types import BenchmarkData, Context, Message, Outcome

if TYPE_CHECKING:
    from codeup.sandbox.limits import Limits


def make_scorer(
    select: Mapping[str, Any], start: Path, context: Context, *, seed: int, at: Mapping[str, Any]
) -> selection.Scorer:
    """`select` is made by study.py; `start` is the model folder whose tokenizer is used.

    Raises WorkFailed, before anything is trained, where the sandbox does not pass a benchmark's own solution.
    """
    from codeup.chat import load_renderer
    from codeup.evaluate.subset import named
    from codeup.sandbox.limits import Limits

    asked = select["benchmark"]
    benchmark = plugins.load("benchmarks", asked["name"])
    data = named(load_benchmark(asked, dict(at)), select["problems"])
    renderer = load_renderer(start, select["template"])
    limits = Limits.of(asked["timeout_s"], asked["memory_mb"])
    _check_sandbox(data, limits, allow_unsafe=select["allow_unsafe"])

    def measure(model: Any, step: int) -> float:
        out = context.folder / "selection" / f"step-{step:06d}"
        shutil.rmtree(out, ignore_errors=True)
        try:
            return pass_at_1(model, out, f"{context.step} after step {step}")
        except OSError as error:
            if not disk.is_full(error):
                raise
            raise disk.cannot_write(out, error) from error

    def pass_at_1(model: Any, out: Path, name: str) -> float:
        from codeup.engines.hf import Engine
        from codeup.evaluate.generate import generate_samples
        from codeup.evaluate.judge import judge_samples
        from codeup.evaluate.programs import SuiteRules

        samples, engine = out / "samples.jsonl", Engine.around(model, start)
        generate_samples(
            engine, renderer, benchmark, data, form="chat", out=samples, seed=seed, model=name, **decoding(asked)
        )
        summary = judge_samples(
            samples, benchmark, data, out, workers=at["workers"], limits=limits, rules=SuiteRules(asked["compat"]),
            allow_unsafe=select["allow_unsafe"], extraction=asked["extract"],
        )  # fmt: skip
        return float([score["value"] for score in summary["scores"] if score["metric"] == "pass@1"][-1])

    return selection.Scorer(
        name=selection.PASS_AT_1,
        identity=artifacts.fingerprint({key: value for key, value in select.items() if key != "code"}),
        work=_work(asked, data, benchmark, renderer),
        measure=measure,
    )


def _check_sandbox(data: BenchmarkData, limits: Limits, *, allow_unsafe: bool) -> None:
    """The first problem's own solution must pass: better to hear it now than after the first measurement."""
    from codeup.evaluate.programs import judge_one
    from codeup.sandbox.pool import Pool

    own = data.problems[0]
    with Pool(1, limits, allow_unsafe=allow_unsafe) as pool:
        verdict = judge_one(own, own.prompt + own.canonical_solution, pool=pool)
    if verdict.outcome != Outcome.PASSED:
        raise WorkFailed(f"select_by pass@1: the solution of {own.task_id} does not pass here: {verdict.detail}")


def _work(asked: Mapping[str, Any], data: BenchmarkData, benchmark: ModuleType, renderer: Any) -> float:
    """What one measurement costs at most, in tokens of training: every prompt read, every answer of full length."""
    from codeup.evaluate.generate import prompt_text

    texts = [prompt_text(benchmark, problem, "chat", asked["prompt"]) for problem in data.problems]
    read = sum(len(renderer.prompt([Message("user", text)])) for text in texts)
    written = len(texts) * asked["max_new_tokens"]
    return asked["samples"] * (selection.FORWARD * read + selection.GENERATED * written)
