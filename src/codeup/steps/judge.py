"""Run the programs of one model's answers in the sandbox and score them; verdicts reached are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from codeup import plugins
from codeup.steps.generate import load_benchmark
from codeup.types import Context

CODE = ("sandbox", "languages", "benchmarks", "evaluate", "stats.py", "steps/judge.py")
PROMPT = ("prompt0", "prompt0_ids", "prompt0_tokens")


class Spec(BaseModel):
    """A benchmark of the recipe and the limits its programs run under."""

    model_config = ConfigDict(extra="forbid")

    benchmark: dict[str, Any]
    data: Any
    model: str
    form: str
    allow_unsafe: bool
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write verdicts.jsonl, examples.jsonl and scores.json; every score carries the prompt of problem 0."""
    from codeup.evaluate import calibrate
    from codeup.evaluate.judge import judge_samples
    from codeup.evaluate.programs import SuiteRules
    from codeup.evaluate.subset import first
    from codeup.sandbox.limits import Limits

    asked, generated = spec.benchmark, context.only("generate")
    assert generated is not None
    benchmark = plugins.load("benchmarks", asked["name"])
    data = first(load_benchmark(asked, spec.at), asked["limit"])
    samples = Path(generated.folder) / "samples.jsonl"
    limits = Limits.of(asked["timeout_s"], asked["memory_mb"])
    data, more = calibrate.first(
        data, samples, exclude="", run=True, partial=False, workers=spec.at["workers"], limits=limits,
        allow_unsafe=spec.allow_unsafe, emit=context.emit,
    )  # fmt: skip
    summary = judge_samples(
        samples,
        benchmark,
        data,
        context.folder,
        workers=spec.at["workers"],
        limits=limits,
        rules=SuiteRules(asked["compat"]),
        allow_unsafe=spec.allow_unsafe,
        extraction=asked["extract"],
        model=spec.model,
        more=more,
        emit=context.emit,
        step_name=context.step,
        executor=context.executor,
        pass_at=asked["pass_at"],
    )
    prompt = {key: generated.summary[key] for key in PROMPT}
    return {**summary, "scores": [{**score, **prompt} for score in summary["scores"]]}
