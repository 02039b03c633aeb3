"""Scores in the two shapes that the Hub reads: `model-index` in the card, and `.eval_results/*.yaml`.

    {"benchmark": "humaneval_plus", "value": 0.5, "low": 0.42, "high": 0.58, "n": 164, ...}
      -> EvalResult       task text-generation, dataset evalplus/humanevalplus, metric pass@1 0.5 with n and interval
      -> EvalResultEntry  dataset evalplus/humanevalplus, task plus, value 0.5, notes "pass@1, n=164, 95 % [...]"

`model-index` is the older one and takes any dataset. An entry of `.eval_results` names a dataset of the Hub, so that
scores on packaged problems or on a part of a benchmark are left out there, and said to be. Whether the Hub shows an
entry on a leaderboard is the Hub's decision (huggingface.co/docs/hub/eval-results).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry

DATASETS = {
    "humaneval": ("openai/openai_humaneval", "HumanEval", "openai_humaneval"),
    "humaneval_plus/base": ("evalplus/humanevalplus", "HumanEval (EvalPlus's base inputs)", "base"),
    "humaneval_plus": ("evalplus/humanevalplus", "HumanEval+", "plus"),
    "mbpp_plus/base": ("evalplus/mbppplus", "MBPP (EvalPlus's base inputs)", "base"),
    "mbpp_plus": ("evalplus/mbppplus", "MBPP+", "plus"),
}
"""Benchmark -> the Hub's dataset with its problems, its title, what the task is called there."""
DIGITS = 4


def title(benchmark: str) -> str:
    """What a benchmark is called in the card."""
    return DATASETS.get(benchmark, ("", "nano (CodeUp's packaged problems)" if benchmark == "nano" else benchmark, ""))[
        1
    ]


def judged(score: Mapping[str, Any]) -> str:
    """How a score came about, in one line: everything that another score must share to mean the same."""
    interval = f"{100 * float(score.get('level', 0.95)):.0f} % [{score['low']:.3f}, {score['high']:.3f}]"
    greedy = "greedy" if score.get("temperature") == 0 else f"temperature {score.get('temperature')}"
    parts = [
        f"{score['metric']}, n={score['n']}, {interval} ({score['interval']})",
        f"{score['form']} form, {greedy}, prompt {score.get('prompt_style', 'unknown')}, "
        f"extraction {score.get('extraction_mode', 'unknown')}",
        f"rules of {score['compat']}" if score.get("compat") else "",
        f"data {score.get('data_version', 'unknown')} sha256 {str(score.get('data_sha256', ''))[:12]}",
        f"engine {score.get('engine', 'unknown')}",
    ]
    return "; ".join(filter(None, parts))


def model_index(scores: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """Every score, with its interval and how it was judged as the metric's arguments."""
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=DATASETS.get(score["benchmark"], (score["benchmark"],))[0],
            dataset_name=title(score["benchmark"]),
            dataset_config=DATASETS.get(score["benchmark"], ("", "", None))[2],
            metric_type=score["metric"],
            metric_name=f"{score['metric']} ({score['form']})",
            metric_value=round(score["value"], DIGITS),
            metric_args={
                "n": score["n"],
                "interval": [round(score["low"], DIGITS), round(score["high"], DIGITS)],
                "how": judged(score),
            },
        )
        for score in scores
    ]


def entries(scores: Sequence[Mapping[str, Any]], *, date: str) -> tuple[dict[str, list[EvalResultEntry]], list[str]]:
    """`.eval_results` by file name, and a sentence for each score that has no place there. `date` is ISO 8601."""
    found: dict[str, list[EvalResultEntry]] = {}
    left_out = []
    for score in scores:
        known = DATASETS.get(score["benchmark"])
        whole = score["n"] == score.get("problems_in_benchmark", score["n"])
        if known is None or not whole or score["metric"] != "pass@1":
            why = (
                "its problems are no dataset of the Hub"
                if known is None
                else f"only {score['n']} problems were asked"
                if not whole
                else "a leaderboard compares pass@1"
            )
            left_out.append(f"{title(score['benchmark'])} {score['metric']} is not in .eval_results: {why}")
            continue
        entry = EvalResultEntry(
            dataset_id=known[0],
            task_id=known[2],
            value=round(score["value"], DIGITS),
            date=date,
            notes=judged(score),
        )
        found.setdefault(known[0].rsplit("/", 1)[-1] + ".yaml", []).append(entry)
    return found, left_out
