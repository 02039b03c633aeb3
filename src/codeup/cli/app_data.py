"""`codeup data …`: options of each command; the work is in preparing.py, prepared.py, inspecting.py, synth.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codeup.cli.command import Json, RecipeFile, Settings, guarded

data_app = typer.Typer(help="Training data, outside of any run.", no_args_is_help=True)


@data_app.command("prepare")
@guarded
def data_prepare(
    recipe: RecipeFile,
    settings: Settings = None,
    dataset: Annotated[list[str] | None, typer.Option(help="only this entry of data; repeatable")] = None,
    examples: Annotated[bool, typer.Option("--examples", help="show what salvage rules changed")] = False,
    json: Json = False,
) -> None:
    """Only the data steps of a recipe, and what became of every row; `codeup run` goes on from there."""
    from codeup.cli import preparing

    preparing.prepare(recipe, settings or [], datasets=dataset or [], examples=examples, json=json)


@data_app.command("decontaminate")
@guarded
def data_decontaminate(
    input_: Annotated[Path, typer.Option("--input", metavar="ROWS.jsonl", help="rows to clean: JSON, JSONL, Parquet")],
    against: Annotated[list[str], typer.Option(metavar="NAME=FILE", help="a benchmark's file; repeatable")],
    out: Annotated[Path, typer.Option(help="folder for kept.jsonl, contamination.jsonl and the account")],
    action: Annotated[
        str, typer.Option(help="report: keep all; mark: note hits in the rows; drop: leave them out")
    ] = "drop",
    columns: Annotated[str, typer.Option(help="columns of the rows, e.g. question=prompt,answer=text")] = "",
    benchmark_columns: Annotated[str, typer.Option(help="columns of your files, e.g. prompt=task,solution=code")] = "",
    run: Annotated[
        str, typer.Option(help="functions to run on the tests: all, retrieved, none, or auto (all of up to 20,000)")
    ] = "auto",
    textbook: Annotated[
        int, typer.Option(help="a solution in rows of so many unrelated requests is only marked; 0: none is")
    ] = 4,
    workers: Annotated[int | None, typer.Option(help="sandbox processes; default: one per core")] = None,
    allow_unsafe: Annotated[bool, typer.Option("--allow-unsafe", help="run programs without isolation")] = False,
    json: Json = False,
) -> None:
    """Find benchmark problems in training rows, also reworded ones: by text, by shape, by running functions."""
    from codeup.cli import preparing

    preparing.decontaminate(
        input_, against, out, action=action, columns=columns, benchmark_columns=benchmark_columns, run=run,
        textbook=textbook, workers=workers, allow_unsafe=allow_unsafe, json=json,
    )  # fmt: skip


@data_app.command("verify")
@guarded
def data_verify(
    place: Annotated[Path, typer.Argument(metavar="FOLDER_OR_RUN", help="a run, one of its data steps, or an export")],
    dataset: Annotated[str, typer.Option(help="only this dataset of a run")] = "",
    every_row: Annotated[bool, typer.Option("--every-row", help="render every row again, not only a sample")] = False,
    json: Json = False,
) -> None:
    """Is prepared data still what its manifest says? Hashes, counts, arrays, split and tokens, computed again."""
    from codeup.cli import prepared

    if not prepared.verify(place, dataset=dataset, every_row=every_row, json=json):
        raise typer.Exit(1)


@data_app.command("export")
@guarded
def data_export(
    place: Annotated[Path, typer.Argument(metavar="RUN_OR_FOLDER", help="a run, or one of its data steps")],
    out: Annotated[Path, typer.Option(help="folder to write; appears when it is complete")],
    format_: Annotated[str, typer.Option("--format", help="parquet, jsonl (both `messages`) or sharegpt")] = "parquet",
    dataset: Annotated[str, typer.Option(help="only this dataset of a run")] = "",
    force: Annotated[bool, typer.Option("--force", help="replace an earlier export")] = False,
    json: Json = False,
) -> None:
    """Write prepared rows for datasets, TRL and LLaMA-Factory, with card, manifest and dataset_info.json."""
    from codeup.cli import prepared

    prepared.export(place, out, format=format_, dataset=dataset, force=force, json=json)


@data_app.command("synth")
@guarded
def data_synth(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="self-instruct, evol or oss-instruct")],
    seeds: Annotated[
        Path, typer.Option(metavar="FILE", help="rows with tasks; oss-instruct: code, a file or a folder")
    ],
    out: Annotated[Path, typer.Option(help="folder for rows.jsonl, dropped.jsonl, manifest.json and the cache")],
    base_url: Annotated[str, typer.Option(help="an OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1")],
    model: Annotated[str, typer.Option(help="the model's name there")],
    api_key_env: Annotated[str, typer.Option(metavar="VAR", help="environment variable that holds the key")] = "",
    rows: Annotated[int, typer.Option(min=1, help="rows to make")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="evol: how often a task is evolved")] = 3,
    against: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="a benchmark's file, to stay clear of; repeatable")
    ] = None,
    max_requests: Annotated[int | None, typer.Option(min=1, help="cap; default: 10 for each row")] = None,
    max_tokens_total: Annotated[int | None, typer.Option(min=1, help="cap on tokens in and out")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="cap on cost, in the currency of the prices")] = None,
    price_in: Annotated[float, typer.Option(min=0, help="price of a million tokens of prompt")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="price of a million tokens of answer")] = 0.0,
    concurrency: Annotated[int, typer.Option(min=1, help="requests under way at once")] = 8,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=16, help="longest answer in tokens")] = 4096,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=JSON", help="a field of every request; null leaves it out")
    ] = None,
    tests: Annotated[str, typer.Option(help="require, optional (keep rows without), or none (do not ask)")] = "require",
    weak_tests: Annotated[str, typer.Option(help="rows whose tests let wrong programs pass: drop or mark")] = "drop",
    mutants_killed: Annotated[
        float, typer.Option(min=0, max=1, help="share of small mutants that tests must fail")
    ] = 0.7,
    near: Annotated[
        float | None, typer.Option(min=0.1, max=1, help="ROUGE-L F of tasks that are one; 0.7, evol 0.9")
    ] = None,
    licence: Annotated[str, typer.Option(help="of the seeds, where they do not say it themselves")] = "",
    seed: Annotated[int, typer.Option(help="seed of all draws")] = 0,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="seconds to wait for one answer")] = 300.0,
    workers: Annotated[int | None, typer.Option(min=1, help="sandbox processes; default: one per core")] = None,
    allow_unsafe: Annotated[bool, typer.Option("--allow-unsafe", help="run programs without isolation")] = False,
    json: Json = False,
) -> None:
    """Let a model write training rows, prove them by running their tests, keep clear of benchmarks."""
    from codeup.cli import synth

    synth.synth(
        method, seeds=seeds, out=out, base_url=base_url, model=model, api_key_env=api_key_env, rows=rows, rounds=rounds,
        against=against or [], max_requests=max_requests, max_tokens_total=max_tokens_total, max_cost=max_cost,
        price_in=price_in, price_out=price_out, concurrency=concurrency, temperature=temperature,
        max_tokens=max_tokens, param=param or [], tests=tests, weak_tests=weak_tests, mutants_killed=mutants_killed,
        near=near, licence=licence, seed=seed, timeout_s=timeout_s, workers=workers, allow_unsafe=allow_unsafe,
        json=json,
    )  # fmt: skip


@data_app.command("inspect")
@guarded
def data_inspect(
    place: Annotated[
        Path, typer.Argument(metavar="FILE_OR_FOLDER_OR_RUN", help="rows as they lie there, or prepared data")
    ],
    html: Annotated[Path | None, typer.Option(metavar="OUT.html", help="write the page too")] = None,
    source: Annotated[str, typer.Option(help="how rows of a file are read; default: by their columns")] = "",
    dataset: Annotated[str, typer.Option(help="only this dataset of a run")] = "",
    model: Annotated[str, typer.Option(help="whose tokenizer measures and shows rows of a file")] = "nano-base",
    template: Annotated[str, typer.Option(help="prompt template for rows of a file")] = "alpaca",
    cutoff: Annotated[int | None, typer.Option(min=8, help="mark this length in tokens; rows of a file")] = None,
    seed: Annotated[int, typer.Option(help="draws the examples")] = 0,
    json: Json = False,
) -> None:
    """Look at training data: where rows went, lengths, languages, repeats, contamination, examples, licences."""
    from codeup.cli import inspecting

    inspecting.inspect(
        place, dataset=dataset, source=source, model=model, template=template, cutoff=cutoff, seed=seed, html=html,
        json=json,
    )  # fmt: skip
