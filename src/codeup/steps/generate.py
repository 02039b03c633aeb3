"""Let one model answer one benchmark in one prompt form; appends to samples.jsonl and continues there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from codeup import plugins
from codeup.steps.merge import model_before
from codeup.types import BenchmarkData, Context

CODE = (
    "engines", "chat", "benchmarks", "evaluate/generate.py", "evaluate/prompts.py", "evaluate/samples.py",
    "evaluate/subset.py", "steps/generate.py",
)  # fmt: skip


class Spec(BaseModel):
    """A benchmark of the recipe and how it is asked; `base` identifies the base model when it is the one asked."""

    model_config = ConfigDict(extra="forbid")

    benchmark: dict[str, Any]
    data: Any
    model: str
    form: Literal["base", "chat"]
    template: str
    base: str
    seed: int
    at: dict[str, Any]


def run(spec: Spec, context: Context) -> dict[str, Any]:
    """Write samples.jsonl."""
    from codeup.chat import load_renderer
    from codeup.evaluate.generate import generate_samples
    from codeup.evaluate.subset import first

    asked = spec.benchmark
    folder = model_before(context, spec.at)
    started = time.monotonic()
    with answering(folder, spec.at["device"], context.executor) as engine:
        summary = generate_samples(
            engine,
            load_renderer(folder, spec.template),
            plugins.load("benchmarks", asked["name"]),
            first(load_benchmark(asked, spec.at), asked["limit"]),
            form=spec.form,
            out=context.folder / "samples.jsonl",
            seed=spec.seed,
            model=spec.model,
            **decoding(asked),
            emit=context.emit,
            step_name=context.step,
        )
    return {**summary, "seconds": round(time.monotonic() - started, 3)}


def decoding(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's benchmark as `generate_samples` takes it: how problems are put, and how answers are drawn."""
    return {
        "n_samples": asked["samples"],
        "temperature": asked["temperature"],
        "top_p": asked["top_p"],
        "max_new_tokens": asked["max_new_tokens"],
        "batch_size": asked["batch_size"],
        "prompt_style": asked["prompt"],
    }


@contextmanager
def answering(folder: Path, device: str, executor: Any) -> Iterator[Any]:
    """The model in this process, or replicas of it on an executor's machines."""
    if executor is None:
        from codeup.engines.hf import Engine

        yield Engine(folder, device=device)
        return
    from codeup.engines._replicas import replicated

    with replicated(executor, folder, device=device) as engine:
        yield engine


def load_benchmark(asked: dict[str, Any], at: dict[str, Any]) -> BenchmarkData:
    """The problems, from the recipe's path (relative to data_root) or wherever the benchmark itself finds them.

    One language of several is a benchmark of its own in the results: humaneval_x:cpp.
    """
    path = Path(at["data_root"] or ".") / at["path"] if at["path"] else None
    data: BenchmarkData = plugins.load("benchmarks", asked["name"]).load(path)
    return replace(data, name=f"{data.name}:{asked['language']}") if asked.get("language") else data
