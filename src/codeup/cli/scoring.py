"""`codeup generate` and `evaluate`: answers and scores, outside of any run."""

from __future__ import annotations

import json as jsonlib
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from codeup import executors, models, plugins
from codeup.cli.judging import Judging, told
from codeup.cli.progress import display
from codeup.errors import UserError


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
    engine: str = "hf",
    url: str = "",
    url_model: str = "",
    token_env: str = "",
    tokenizer: str = "",
    executor: str = executors.LOCAL,
    replicas: int | None = None,
) -> None:
    """Answer a benchmark with a model and append the answers to `out`; with a url, the model behind it answers."""
    if form not in ("base", "chat"):
        raise UserError(f"--form is {form!r}", mend="use chat, or base")
    if engine == "vllm":
        raise UserError(
            "there is no engine vllm here: vLLM is asked through its own server, by token ids", where="--engine",
            mend="vllm serve MODEL, then: codeup generate --url http://HOST:8000/v1 …",
        )  # fmt: skip
    module = plugins.load("benchmarks", benchmark)
    file = models.is_gguf(model) and not url
    folder = tokenizer_of(model, tokenizer) if file else models.locate(model)

    from codeup.chat import load_renderer
    from codeup.evaluate.generate import generate_samples
    from codeup.evaluate.subset import first

    if form == "chat" and not models.is_tuned(folder):
        raise UserError(
            "this model does not say in which template it is chatted to", where=model, mend="use --form base"
        )
    if executor != executors.LOCAL and (url or file or engine != "hf"):
        raise UserError("replicas are copies of a model folder, by engine hf", where="--executor", mend="leave it out")
    with ExitStack() as stack:
        opened = stack.enter_context(executors.opened(executor, replicas))
        if url:
            from codeup.cli.serving import read_token
            from codeup.engines.openai import Engine as Remote

            answering: Any = Remote(url, tokenizer=folder, model=url_model, key=read_token(token_env))
        elif file:
            answering = plugins.load("engines", "llamacpp").Engine(model, tokenizer=folder)
        elif opened is not None:
            from codeup.engines._replicas import replicated

            answering = stack.enter_context(replicated(opened, folder))
        else:
            answering = plugins.load("engines", engine).Engine(folder)
        emit = stack.enter_context(display())
        summary = generate_samples(
            answering,
            load_renderer(folder) if form == "chat" else None,
            module,
            first(module.load(data), limit),
            form=cast(Literal["base", "chat"], form),
            out=out,
            n_samples=samples,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            model=f"{answering.model} at {url}" if url else models.identity(model),
            prompt_style=prompt_style,
            emit=emit,
        )
    print(jsonlib.dumps(summary) if json else f"{summary['samples']} answers: {out}")


def tokenizer_of(file: str, named: str) -> Path:
    """The folder with the tokenizer of a GGUF file: `named`, or what lies beside it. Raises UserError."""
    from codeup.engines.llamacpp import check_file, tokenizer_beside

    path = check_file(Path(file).expanduser())
    return models.locate(named) if named else tokenizer_beside(path)


def evaluate(
    benchmark: str, samples: Path, asked: Judging, *, data: Path | None, out: Path | None, json: bool,
    languages: list[str] | None = None,
) -> None:  # fmt: skip
    """Score a samples file and print its scores; with `languages`, the files of a folder and one matrix."""
    module = plugins.load("benchmarks", benchmark)
    if languages:
        _matrix(module, languages, data, samples, out, asked, json=json)
        return
    with executors.opened(asked.executor) as on:
        summary, folder = asked.judge(module, module.load(data), samples, out, on)
    print(jsonlib.dumps({**summary, "out": str(folder)}) if json else told(summary, folder))


def _matrix(
    module: ModuleType, languages: list[str], data: Path | None, samples: Path, out: Path | None,
    asked: Judging, *, json: bool,
) -> None:  # fmt: skip
    """Judge every file of a folder and print languages by variants."""
    from codeup.evaluate import matrix

    if data is None:
        raise UserError("--languages needs the data files", mend="name their folder with --data")
    cells = matrix.cells(matrix.load(module, data, languages), samples)
    folders = [out / f"{cell.row}-{cell.language}" if out else None for cell in cells]
    with executors.opened(asked.executor) as on:
        done = [asked.judge(module, cell.data, cell.samples, at, on) for cell, at in zip(cells, folders, strict=True)]
    made = matrix.make(languages, [(cell, summary) for cell, (summary, _) in zip(cells, done, strict=True)])
    if json:
        print(jsonlib.dumps({**made, "out": [str(folder) for _, folder in done]}))
        return
    print(matrix.text(made))
    for cell, (summary, folder) in zip(cells, done, strict=True):
        outcomes = ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items())
        print(f"{cell.row} {cell.language}: {outcomes}; data: {summary['data_version']}; verdicts: {folder}")
