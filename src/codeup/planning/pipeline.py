"""What stands around the training on a cluster: rows prepared, answers generated, programs judged, per second.

    rows      1 / (serial + parallel / cores): Amdahl's law over core seconds a row, measured here (docs/benchmarks.md)
    answers   GPUs x batch / seconds of one decoding step; a step reads all weights and every row's keys and values once
              (arXiv 2211.05102, section 2), or multiplies, whichever takes longer
    verdicts  cores / core seconds per program, measured here

Rows and verdicts use the nodes' cores, answers their GPUs, so the three can run at once; a loop of generating and
judging is as fast as the slower one. Not covered: reading prompts (little beside answers), moving files between nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

from codeup.train import gpus, shapes

CORES_PER_GPU = 12
"""An assumption: what clusters rent out beside one GPU."""
PARALLEL_ROW_S, SERIAL_ROW_S = 2.27e-3, 0.13e-3
"""Core seconds a row: reading, decontaminating, tokenising, accounting; and finding near duplicates, mixing.
`codeup bench data --rows 100000`, 2,900 characters a row (docs/benchmarks.md)."""
VERDICT_CORE_S = 0.02
"""A HumanEval-shaped program, sandbox included: 0.016 on an idle EPYC, 0.03 to 0.04 on a shared Xeon."""
MEMORY_BYTES_PER_S = {
    "rtx3090": 936e9, "rtx4090": 1008e9, "a100-40": 1555e9, "a100-80": 2039e9, "h100": 3350e9, "h200": 4800e9,
}  # fmt: skip
"""NVIDIA's data sheets."""
DECODE_SHARE = 0.5
"""Of that bandwidth, and of the peak, which decoding reaches: an assumption."""
ANSWER_TOKENS, CONTEXT, BATCH = 512, 1024, 64
DAY_S = 86_400


@dataclass(frozen=True)
class Rates:
    """Per second, of the whole cluster."""

    cores: int
    rows_per_s: float
    answers_per_s: float
    verdicts_per_s: float

    @property
    def samples_per_day(self) -> float:
        """Answers that are generated and judged, both going on at once."""
        return DAY_S * min(self.answers_per_s, self.verdicts_per_s)


def rates(shape: shapes.Shape, gpu: str, gpus: int, *, cores: int | None = None, bytes_per_weight: int = 2) -> Rates:
    """Of so many GPUs of a kind, with a model of this shape."""
    cores = gpus * CORES_PER_GPU if cores is None else cores
    answers = gpus * BATCH / (ANSWER_TOKENS * decode_step_s(shape, gpu, BATCH, CONTEXT, bytes_per_weight))
    return Rates(cores, rows_per_s(cores), answers, cores / VERDICT_CORE_S)


def rows_per_s(cores: int) -> float:
    """Rows prepared by so many cores.

    >>> round(rows_per_s(1)), round(rows_per_s(96)), round(rows_per_s(10**6))
    (417, 6509, 7692)
    """
    return 1 / (SERIAL_ROW_S + PARALLEL_ROW_S / cores)


def decode_step_s(shape: shapes.Shape, gpu: str, batch: int, context: int, bytes_per_weight: int = 2) -> float:
    """Seconds in which a batch gets one more token each."""
    read = shape.parameters * bytes_per_weight + batch * context * kv_bytes(shape, bytes_per_weight)
    multiplied = 2 * batch * (shape.linear_weights + shape.head_weights)
    slower = max(read / MEMORY_BYTES_PER_S[gpu], multiplied / gpus.GPUS[gpu].flops)
    return slower / DECODE_SHARE


def kv_bytes(shape: shapes.Shape, bytes_per_weight: int = 2) -> int:
    """Keys and values of one token, in all layers.

    >>> kv_bytes(shapes.PUBLISHED["meta-llama/Meta-Llama-3-8B"])
    131072
    """
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * bytes_per_weight
