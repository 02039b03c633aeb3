"""Let a model answer a benchmark: samples.jsonl, written as answers finish, continued after an interruption.

A base model continues the problem's code; a chat model is asked in words through the one renderer (chat/). The exact
text, ids and tokens of the first problem's prompt go into the summary: a score without its prompt cannot be repeated.

    out/samples.jsonl   one line per answer, in the order of finishing
    out/...meta.json    the settings that made them; the same file is never continued with others
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from codeup import artifacts
from codeup.errors import UserError
from codeup.evaluate.samples import append_line, read_lines, repair_end, to_row
from codeup.types import BenchmarkData, Emit, Event, Message, Problem, Sample, ignore_event

Form = Literal["base", "chat"]


def meta_path(samples: Path) -> Path:
    """Where the settings of a samples file are kept: samples.jsonl -> samples.meta.json."""
    return samples.with_suffix(".meta.json")


def prompt_text(benchmark: ModuleType, problem: Problem, form: Form) -> str:
    """What is asked: the code to continue, or the instruction of the user's turn."""
    return str(benchmark.base_prompt(problem) if form == "base" else benchmark.chat_instruction(problem))


def generate_samples(
    engine: Any,
    renderer: Any,
    benchmark: ModuleType,
    data: BenchmarkData,
    *,
    form: Form,
    out: Path,
    n_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    max_new_tokens: int = 512,
    batch_size: int = 32,
    seed: int = 0,
    model: str = "",
    emit: Emit = ignore_event,
    step_name: str = "generate",
) -> dict[str, Any]:
    """Answer every problem `n_samples` times and append to `out`; answers already there are not made again.

    `renderer` may be None for the base form. `model` names the model in the settings: another model's file is not
    continued. Returns the summary: counts, settings, and prompt0 as text, ids and tokens. Raises UserError.
    """
    prompts = [_ids(engine, renderer, prompt_text(benchmark, problem, form), form) for problem in data.problems]
    settings = {
        "benchmark": data.name, "data_version": data.version, "data_sha256": data.sha256, "form": form, "model": model,
        "samples_per_problem": n_samples, "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens,
        "seed": seed, "engine": getattr(engine, "description", type(engine).__name__), "prompts_sha256": _sha(prompts),
    }  # fmt: skip
    have = _resume(out, settings)
    wanted = [(place, index) for place in range(len(prompts)) for index in range(n_samples)]
    missing = [(place, index) for place, index in wanted if (data.problems[place].task_id, index) not in have]
    finish = _run(
        engine, renderer, benchmark, data, prompts, missing, form, out, have, settings, batch_size, emit, step_name
    )
    tokens = [renderer_free_token(engine, token) for token in prompts[0]]
    return {
        **settings,
        "problems": len(data.problems), "samples": len(wanted), "resumed": len(have), "finish": finish,
        "prompt0": prompt_text(benchmark, data.problems[0], form), "prompt0_full": "".join(tokens),
        "prompt0_ids": list(prompts[0]), "prompt0_tokens": tokens,
    }  # fmt: skip


def renderer_free_token(engine: Any, token: int) -> str:
    """One token as text, special tokens by their name."""
    return str(engine.tokenizer.decode([token], skip_special_tokens=False))


def _ids(engine: Any, renderer: Any, text: str, form: Form) -> list[int]:
    if form == "base":
        from codeup.chat import base_prompt_ids

        return base_prompt_ids(engine.tokenizer, text)
    return list(renderer.prompt([Message("user", text)]))


def _sha(prompts: Sequence[Sequence[int]]) -> str:
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()


def _resume(out: Path, settings: dict[str, Any]) -> set[tuple[str, int]]:
    """Which answers a file already holds; it must have been made with the same settings."""
    repair_end(out)
    meta = meta_path(out)
    if out.exists() and out.stat().st_size:
        made = json.loads(meta.read_text(encoding="utf-8")) if meta.exists() else None
        if made != settings:
            other = sorted(key for key in settings if made and made.get(key) != settings[key])
            raise UserError(
                f"holds samples made with other settings ({', '.join(other) or 'unknown ones'})",
                where=str(out),
                mend="name another file, or remove this one",
            )
        return {(row["task_id"], row["index"]) for row in read_lines(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    artifacts.write_json(meta, settings)
    return set()


def _run(
    engine: Any, renderer: Any, benchmark: ModuleType, data: BenchmarkData, prompts: list[list[int]],
    missing: list[tuple[int, int]], form: Form, out: Path, have: set[tuple[str, int]], settings: dict[str, Any],
    batch_size: int, emit: Emit, step_name: str,
) -> dict[str, int]:  # fmt: skip
    """Generate what is missing; how often each reason to finish occurred in the whole file."""
    total, done = len(missing) + len(have), len(have)
    with out.open("a", encoding="utf-8") as stream:

        def on_done(number: int, completion: Any) -> None:
            nonlocal done
            place, index = missing[number]
            sample = Sample(
                data.problems[place].task_id, index, form, completion.text, completion.finish, len(completion.ids)
            )
            append_line(stream, to_row(sample))
            done += 1
            emit(Event("progress", step_name, done, total, "answers"))

        if missing:
            engine.generate(
                [prompts[place] for place, _ in missing],
                max_new_tokens=settings["max_new_tokens"],
                end_ids=_end_ids(engine, renderer, form),
                stop_strings=benchmark.BASE_STOPS if form == "base" else (),
                temperature=settings["temperature"],
                top_p=settings["top_p"],
                batch_size=batch_size,
                seed=settings["seed"],
                keys=[place * settings["samples_per_problem"] + index for place, index in missing],
                on_done=on_done,
            )
    counts: dict[str, int] = {}
    for row in read_lines(out):
        counts[row["finish"]] = counts.get(row["finish"], 0) + 1
    return counts


def _end_ids(engine: Any, renderer: Any, form: Form) -> list[int]:
    """A chat answer ends with the template's end tokens; a continued file with the tokenizer's end of text."""
    ends = set(renderer.end_ids) if renderer is not None and form == "chat" else set()
    if engine.tokenizer.eos_token_id is not None:
        ends.add(engine.tokenizer.eos_token_id)
    return sorted(ends)
