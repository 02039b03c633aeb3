"""The packaged tiny model: tasks, training sets, benchmark and weights. A demonstration of the method."""

from __future__ import annotations

from pathlib import Path


def base_folder() -> Path:
    """The shipped base model: config, bf16 safetensors, tokenizer, model card."""
    return Path(__file__).parent / "base"


def tuned_folder() -> Path:
    """The base with the packaged adapter merged into it; written to the cache when first asked for."""
    from codeup.nano import tuned

    return tuned.tuned_folder()


def benchmark_file() -> Path:
    """The shipped benchmark: gzipped JSON lines in the shape of HumanEval."""
    return Path(__file__).parent / "benchmark.jsonl.gz"


def development_file() -> Path:
    """The shipped problems to choose a training step by, none of them in the benchmark."""
    return Path(__file__).parent / "development.jsonl.gz"
