"""`codeup generate` and `evaluate`: answers and scores, outside of any run."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from codeup import executors, models, plugins
from codeup.cli.judging import Judging, told
from codeup.cli.progress import display
from codeup.errors import UserError


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers: the options of `codeup generate` that name a model; described in app.py."""

    model: str
    engine: str
    url: str
    url_model: str
    token_env: str
    tokenizer: str
    executor: str
    replicas: int | None

    @property
    def is_file(self) -> bool:
        """Whether a GGUF file of this machine answers."""
        return models.is_gguf(self.model) and not self.url

    def folder(self, form: str) -> Path:
        """The folder with the tokenizer, of the model folder itself where that answers. Raises UserError."""
        if self.engine == "vllm":
            raise UserError(
                "there is no engine vllm here: vLLM is asked through its own server, by token ids", where="--engine",
                mend="vllm serve MODEL, then: codeup generate --url http://HOST:8000/v1 …",
            )  # fmt: skip
        found = tokenizer_of(self.model, self.tokenizer) if self.is_file else models.locate(self.model)
        if form == "chat" and not models.is_tuned(found):
            raise UserError(
                "this model does not say in which template it is chatted to", where=self.model, mend="use --form base"
            )
        if self.executor != executors.LOCAL and (self.url or self.is_file or self.engine != "hf"):
            raise UserError(
                "replicas are copies of a model folder, by engine hf", where="--executor", mend="leave it out"
            )
        return found

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Any]:
        """The engine that answers: a server's, a file's, copies on an executor's machines, or one in this process."""
        with executors.opened(self.executor, self.replicas) as on:
            if self.url:
                from codeup.cli.serving import read_token
                from codeup.engines.openai import Engine as Remote

                yield Remote(self.url, tokenizer=folder, model=self.url_model, key=read_token(self.token_env))
            elif self.is_file:
                yield plugins.load("engines", "llamacpp").Engine(self.model, tokenizer=folder)
            elif on is not None:
                from codeup.engines._replicas import replicated

                with replicated(on, folder) as engine:
                    yield engine
            else:
                yield plugins.load("engines", self.engine).Engine(folder)


def generate(
    who: Answering,
    benchmark: str,
    out: Path,
    *,
    data: Path | None,
    form: str,
    limit: int | None,
    json: bool,
    **decoding: Any,
) -> None:
    """Answer a benchmark and append the answers to `out`; `decoding` is passed on to `generate_samples`."""
    if form not in ("base", "chat"):
        raise UserError(f"--form is {form!r}", mend="use chat, or base")
    from codeup.evaluate.prompts import check_style
    from codeup.evaluate.subset import first

    check_style(decoding["prompt_style"])
    module = plugins.load("benchmarks", benchmark)
    problems = first(module.load(data), limit)
    folder = who.folder(form)

    from codeup.chat import load_renderer
    from codeup.evaluate.generate import generate_samples

    with who.opened(folder) as engine, display() as emit:
        summary = generate_samples(
            engine,
            load_renderer(folder) if form == "chat" else None,
            module,
            problems,
            form=cast(Literal["base", "chat"], form),
            out=out,
            model=f"{engine.model} at {who.url}" if who.url else models.identity(who.model),
            emit=emit,
            **decoding,
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
