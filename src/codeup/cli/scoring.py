"""`codeup generate` and `evaluate`: answers and scores, outside of any run."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

from codeup import models, plugins
from codeup.cli.progress import display
from codeup.errors import UserError
from codeup.types import BenchmarkData, Emit


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
) -> None:
    """Answer a benchmark with a model and append the answers to `out`; with a url, the model behind it answers."""
    if form not in ("base", "chat"):
        raise UserError(f"--form is {form!r}", mend="use chat, or base")
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
    if url:
        from codeup.cli.serving import read_token
        from codeup.engines.openai import Engine as Remote

        answering: Any = Remote(url, tokenizer=folder, model=url_model, key=read_token(token_env))
    elif file:
        answering = plugins.load("engines", "llamacpp").Engine(model, tokenizer=folder)
    else:
        answering = plugins.load("engines", engine).Engine(folder)
    with display() as emit:
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
    benchmark: str,
    samples: Path,
    *,
    data: Path | None,
    out: Path | None,
    workers: int | None,
    timeout_s: float,
    memory_mb: int,
    compat: str,
    base_only: bool,
    all_inputs: bool,
    allow_unsafe: bool,
    partial: bool,
    extraction: str,
    other_extractions: bool,
    json: bool,
    tasks: list[str] | None = None,
    limit: int | None = None,
    exclude: str = "",
    calibration: bool = True,
    languages: list[str] | None = None,
) -> None:
    """Judge a samples file and print its scores; with `languages`, the files of a folder and one matrix."""
    module = plugins.load("benchmarks", benchmark)

    from codeup.evaluate import calibrate
    from codeup.evaluate.judge import judge_samples
    from codeup.evaluate.programs import SuiteRules
    from codeup.evaluate.subset import reduced, tag
    from codeup.sandbox.limits import Limits

    limits = Limits(cpu_s=timeout_s, wall_s=4 * timeout_s, memory_mb=memory_mb)

    def judged(found: BenchmarkData, samples: Path, out: Path | None) -> tuple[dict[str, Any], Path]:
        problems = reduced(found, tasks=tasks, limit=limit)
        name = samples.name.split(".")[0] + "-verdicts"
        folder = out or samples.with_name("-".join(filter(None, (name, tag(problems)))))
        with display() as emit:
            return _judged(problems, samples, folder, emit), folder

    def _judged(problems: BenchmarkData, samples: Path, folder: Path, emit: Emit) -> dict[str, Any]:
        problems, more = calibrate.first(
            problems, samples, exclude=exclude, run=calibration, partial=partial, workers=workers, limits=limits,
            allow_unsafe=allow_unsafe, emit=emit,
        )  # fmt: skip
        return judge_samples(
            samples,
            module,
            problems,
            folder,
            workers=workers,
            limits=limits,
            more=more,
            rules=SuiteRules(compat, base_only, all_inputs),
            allow_unsafe=allow_unsafe,
            partial=partial,
            extraction=extraction,
            other_extractions=other_extractions,
            emit=emit,
        )

    if languages:
        _matrix(module, languages, data, samples, out, judged, json=json)
        return
    summary, folder = judged(module.load(data), samples, out)
    if json:
        print(jsonlib.dumps({**summary, "out": str(folder)}))
        return
    for score in summary["scores"]:
        low, high = score["low"], score["high"]
        name = f"{score['benchmark']} {score['metric']}"
        print(f"{name} {score['value']:.3f}  95 % [{low:.3f}, {high:.3f}]  n={score['n']} problems")
    if subset := summary["subset"]:
        left_out = f"{summary['samples_not_asked']} samples of the others left out"
        print(f"subset: {subset['asked']} of {subset['of']} problems were asked for; {left_out}")
    if found := summary.get("calibration"):
        print(found if isinstance(found, str) else calibrate.Calibration(**found).text())
        for task, cause in summary["excluded"].items():
            print(f"  excluded from the score: {task} ({cause})")
    print("outcomes: " + ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()))
    for mode, passed in (summary.get("other_extractions") or {}).items():
        print(f"under --extract {mode}, {passed} of the failed samples would pass")
    print(f"data: {summary['data_version']} sha256 {summary['data_sha256'][:16]}; sandbox: {summary['sandbox']}")
    print(f"verdicts: {folder}")


def _matrix(
    module: ModuleType, languages: list[str], data: Path | None, samples: Path, out: Path | None,
    judged: Callable[[BenchmarkData, Path, Path | None], tuple[dict[str, Any], Path]], *, json: bool,
) -> None:  # fmt: skip
    """Judge every file of a folder and print languages by variants."""
    from codeup.evaluate import matrix

    if data is None:
        raise UserError("--languages needs the data files", mend="name their folder with --data")
    cells = matrix.cells(matrix.load(module, data, languages), samples)
    folders = [out / f"{cell.row}-{cell.language}" if out else None for cell in cells]
    done = [judged(cell.data, cell.samples, folder) for cell, folder in zip(cells, folders, strict=True)]
    made = matrix.make(languages, [(cell, summary) for cell, (summary, _) in zip(cells, done, strict=True)])
    if json:
        print(jsonlib.dumps({**made, "out": [str(folder) for _, folder in done]}))
        return
    print(matrix.text(made))
    for cell, (summary, folder) in zip(cells, done, strict=True):
        outcomes = ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items())
        print(f"{cell.row} {cell.language}: {outcomes}; data: {summary['data_version']}; verdicts: {folder}")
