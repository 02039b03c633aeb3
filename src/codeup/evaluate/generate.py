"""Let a model answer a benchmark: samples.jsonl, written as answers finish, continued after an interruption.

A base model continues the problem's code; a chat model is asked in words through the one renderer (chat/), in one of
the prompt styles of prompts.py. The exact text, ids and tokens of the first problem's prompt go into the summary: a
score without its prompt cannot be repeated. Token ids go to the engine; each prompt has exactly one BOS, at its start.

    out/samples.jsonl   one line per answer, in the order of finishing; at the end in that of the problems
    out/...meta.json    the settings that made them; the same file is never continued with others
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from codeup import artifacts
from codeup.errors import UserError
from codeup.evaluate import prompts as styles
from codeup.evaluate.prompts import Form, Question
from codeup.evaluate.samples import append_line, json_line, read_lines, repair_end, to_row
from codeup.types import BenchmarkData, Emit, Event, Message, Problem, Sample, ignore_event


def meta_path(samples: Path) -> Path:
    """Where the settings of a samples file are kept: samples.jsonl -> samples.meta.json."""
    return samples.with_suffix(".meta.json")


def prompt_text(benchmark: ModuleType, problem: Problem, form: Form, style: str = "default") -> str:
    """What is asked: the code to continue, its gap marked if it has one, or the instruction of the user's turn."""
    question = styles.ask(style, benchmark, problem, form)
    return question.text if question.suffix is None else f"{question.text}<GAP>{question.suffix}"


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
    prompt_style: str = "default",
    emit: Emit = ignore_event,
    step_name: str = "generate",
) -> dict[str, Any]:
    """Answer every problem `n_samples` times and append to `out`; answers already there are not made again.

    `renderer` may be None for the base form. `model` names the model in the settings: another model's file is not
    continued. `prompt_style` is one of prompts.STYLES. Returns the summary: counts, settings, and prompt0 as text, ids
    and tokens. Raises UserError.
    """
    questions = [styles.ask(prompt_style, benchmark, problem, form) for problem in data.problems]
    prompts = [_ids(engine, renderer, question, form) for question in questions]
    _assert_one_bos(prompts, data, _bos_id(engine, renderer, form))
    stops = styles.stops(prompt_style, benchmark, data.problems, form)
    settings = {
        "benchmark": data.name, "data_version": data.version, "data_sha256": data.sha256, "form": form, "model": model,
        "samples_per_problem": n_samples, "temperature": temperature, "top_p": top_p, "max_new_tokens": max_new_tokens,
        "seed": seed, "engine": getattr(engine, "description", type(engine).__name__), "prompts_sha256": _sha(prompts),
        "prompt_style": prompt_style, "prefill": questions[0].prefill, "stops": list(stops),
    }  # fmt: skip
    have = _resume(out, settings)
    wanted = [(place, index) for place in range(len(prompts)) for index in range(n_samples)]
    missing = [(place, index) for place, index in wanted if (data.problems[place].task_id, index) not in have]
    finish = _run(
        engine, renderer, questions, data, prompts, missing, form, out, have, settings, batch_size, emit, step_name
    )
    tokens = [renderer_free_token(engine, token) for token in prompts[0]]
    return {
        **settings,
        "problems": len(data.problems), "samples": len(wanted), "resumed": len(have), "finish": finish,
        "prompt0": prompt_text(benchmark, data.problems[0], form, prompt_style), "prompt0_full": "".join(tokens),
        "prompt0_ids": list(prompts[0]), "prompt0_tokens": tokens,
    }  # fmt: skip


def renderer_free_token(engine: Any, token: int) -> str:
    """One token as text, special tokens by their name."""
    return str(engine.tokenizer.decode([token], skip_special_tokens=False))


def _ids(engine: Any, renderer: Any, question: Question, form: Form) -> list[int]:
    if question.suffix is not None:
        from codeup.chat.infilling import infill_ids, needed_infill

        tokenizer = engine.tokenizer
        return infill_ids(tokenizer, needed_infill(tokenizer), question.text, question.suffix)
    if form == "base":
        from codeup.chat import base_prompt_ids

        return base_prompt_ids(engine.tokenizer, question.text)
    return list(renderer.prompt([Message("user", question.text)], prefill=question.prefill))


def _bos_id(engine: Any, renderer: Any, form: Form) -> int | None:
    if form == "base":
        from codeup.chat import base_bos_id

        return base_bos_id(engine.tokenizer)
    bos_id: int | None = renderer.bos_id
    return bos_id


def _assert_one_bos(prompts: Sequence[Sequence[int]], data: BenchmarkData, bos_id: int | None) -> None:
    """Every prompt begins with its only BOS, where the tokenizer has one.

    A second one is easily added (a template that writes it, an engine that adds its own) and makes answers worse
    without any error: evalplus issue 207.
    """
    for problem, prompt in zip(data.problems, prompts, strict=True):
        count = 0 if bos_id is None else sum(token == bos_id for token in prompt)
        if bos_id is not None and (count != 1 or prompt[0] != bos_id):
            raise AssertionError(
                f"the prompt of {problem.task_id} holds {count} BOS tokens (id {bos_id}), expected one, at its start; "
                f"it begins with {list(prompt[:4])}"
            )


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
    engine: Any, renderer: Any, questions: list[Question], data: BenchmarkData, prompts: list[list[int]],
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
                data.problems[place].task_id, index, form, completion.text, completion.finish, len(completion.ids),
                questions[place].prefill,
            )  # fmt: skip
            append_line(stream, to_row(sample))
            done += 1
            emit(Event("progress", step_name, done, total, "answers"))

        if missing:
            engine.generate(
                [prompts[place] for place, _ in missing],
                max_new_tokens=settings["max_new_tokens"],
                end_ids=_end_ids(engine, renderer, form, infilling=questions[0].suffix is not None),
                stop_strings=settings["stops"],
                temperature=settings["temperature"],
                top_p=settings["top_p"],
                batch_size=batch_size,
                seed=settings["seed"],
                keys=[place * settings["samples_per_problem"] + index for place, index in missing],
                on_done=on_done,
            )
    rows = read_lines(out)
    if missing:
        _put_in_order(out, rows, data)
    return dict(Counter(row["finish"] for row in rows))


def _put_in_order(out: Path, rows: list[dict[str, Any]], data: BenchmarkData) -> None:
    """Problem by problem, so that the finished file does not tell where it was interrupted or on how many machines."""
    place = {problem.task_id: number for number, problem in enumerate(data.problems)}
    ordered = sorted(rows, key=lambda row: (place[row["task_id"]], row["index"]))
    artifacts.write_bytes(out, b"".join(json_line(row).encode() for row in ordered))


def _end_ids(engine: Any, renderer: Any, form: Form, *, infilling: bool = False) -> list[int]:
    """A chat answer ends with the template's end tokens; a continued file with the tokenizer's end of text, and a
    filled gap also with what ends a file among files."""
    ends = set(renderer.end_ids) if renderer is not None and form == "chat" else set()
    if engine.tokenizer.eos_token_id is not None:
        ends.add(engine.tokenizer.eos_token_id)
    if infilling:
        from codeup.chat.infilling import needed_infill

        ends |= needed_infill(engine.tokenizer).ends
    return sorted(ends)
