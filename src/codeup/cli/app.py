"""The `codeup` command: each subcommand turns argv into one library call and prints what it returns.

Results go to stdout, progress to stderr. With --json the last stdout line is one JSON object. Exit codes: 0 done, 1
the work failed, 2 the input is wrong, 3 a required threshold was missed, 130 interrupted, 143 ended by SIGTERM. Heavy
imports wait until a command needs them, so that `codeup --help` answers at once.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from codeup import __version__
from codeup.cli.app_bench import bench_app
from codeup.cli.app_data import data_app
from codeup.cli.app_export import convert_app, export_app
from codeup.cli.command import MISSED, Executor, Json, RecipeFile, Settings, Tokenizer, end_in_order, guarded, numbers

app = typer.Typer(
    name="codeup",
    help="Turn a base language model into an instruction-following code model, and say truthfully how good it is.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
sandbox_app = typer.Typer(help="The sandbox that generated programs run in.", no_args_is_help=True)
app.add_typer(sandbox_app, name="sandbox")
app.add_typer(bench_app, name="bench")
app.add_typer(convert_app, name="convert")
app.add_typer(export_app, name="export")
app.add_typer(data_app, name="data")


def main() -> None:
    """Entry point of the console script."""
    # bitsandbytes advises an optional download whenever it is imported, also where nothing is quantised
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # Threads of libgomp spin 300,000 times before they sleep. Beside other work the one that is waited for has no core
    # meanwhile: 35 times slower, 7 times with this (docs/benchmarks.md). Without other work it makes no difference.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "30000")
    end_in_order()
    app()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"codeup {__version__}")
        raise typer.Exit


@app.callback()
def codeup(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print it and exit")
    ] = False,
) -> None:
    """Nothing happens before a subcommand."""


@app.command()
@guarded
def run(
    recipe: RecipeFile,
    settings: Settings = None,
    only: Annotated[str | None, typer.Option(metavar="STEP", help="this step, and what it still needs")] = None,
    force: Annotated[
        str | None, typer.Option(metavar="STEP", help="run this step again, and what builds on it")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
    json: Json = False,
) -> None:
    """Run a whole study; finished steps are skipped, interrupted ones continue."""
    from codeup.cli import study

    missed = study.run(recipe, settings or [], only=only, force=force, dry_run=dry_run, json=json)
    if missed:
        raise typer.Exit(MISSED)


@app.command()
@guarded
def check(recipe: RecipeFile, settings: Settings = None, json: Json = False) -> None:
    """Print every mistake of a recipe at once, or its resolved plan."""
    from codeup.cli import study

    study.run(recipe, settings or [], dry_run=True, json=json)


@app.command()
@guarded
def plan(
    recipe: RecipeFile,
    settings: Settings = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="NAME", help="only this GPU: h100, rtx4090; 8xa100-80 are eight")
    ] = None,
    price: Annotated[float | None, typer.Option(metavar="EUR_PER_HOUR", min=0, help="price of one such GPU")] = None,
    utilisation: Annotated[float | None, typer.Option(help="share of the GPU's peak that is reached; 0.45")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="run up to 5 real steps of the first stage")] = False,
    cluster: Annotated[
        str | None, typer.Option(metavar="NODESxGPUSxNAME", help="a step on a cluster, by part: 8x8xH100")
    ] = None,
    network: Annotated[
        float | None, typer.Option(metavar="GBIT", min=0.1, help="of one node of the cluster, Gbit/s; 400")
    ] = None,
    json: Json = False,
) -> None:
    """Memory by part, fits or not, hours and cost of each stage, before anything is loaded."""
    from codeup.cli import planned

    planned.plan(
        recipe, settings or [], gpu=gpu, price=price, utilisation=utilisation, measure=measure, json=json,
        cluster=cluster, network=network,
    )  # fmt: skip


@app.command()
@guarded
def train(
    recipe: RecipeFile,
    settings: Settings = None,
    stage: Annotated[str, typer.Option(help="name of a stage")] = "",
    json: Json = False,
) -> None:
    """Train one stage of a recipe with what it needs before it, or do what a LLaMA-Factory YAML file says."""
    from codeup.cli import study

    if not stage:
        from codeup.cli import interop

        if interop.recognises(recipe):
            return interop.train(recipe, settings or [], json=json)
    study.train_stage(recipe, settings or [], stage, json=json)


@app.command()
@guarded
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="a run folder, finished or not")],
    watch: Annotated[bool, typer.Option("--watch", help="a live page of a running study, on this machine")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the live page; 0 takes a free one")] = 0,
    json: Json = False,
) -> None:
    """Build the report of a run folder again and say where it is; or watch a study while it runs."""
    from codeup.cli import study

    if watch:
        study.watch(run_folder, port, json=json)
    else:
        study.report(run_folder, json=json)


@app.command()
@guarded
def generate(
    model: Annotated[str, typer.Option(help="run folder, model folder, Hub id, nano, nano-base, or a GGUF file")],
    benchmark: Annotated[str, typer.Option(help="a name of `codeup list benchmarks`")],
    out: Annotated[Path, typer.Option(help="samples are appended to this JSONL file")],
    data: Annotated[Path | None, typer.Option(help="the benchmark's data file")] = None,
    form: Annotated[str, typer.Option(help="chat, or base to let the model continue the code")] = "chat",
    samples: Annotated[int, typer.Option(min=1, help="answers per problem")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 512,
    limit: Annotated[int | None, typer.Option(help="only the first problems")] = None,
    seed: Annotated[int, typer.Option(help="seed of the sampling")] = 0,
    prompt: Annotated[str, typer.Option(help="prompt style: default, codeup-2024 or evalplus")] = "default",
    engine: Annotated[str, typer.Option(help="a name of `codeup list engines`")] = "hf",
    url: Annotated[
        str, typer.Option(help="let the model of an OpenAI-compatible server answer; --model gives its tokenizer")
    ] = "",
    url_model: Annotated[str, typer.Option(help="which of the server's models; default: the first")] = "",
    token_env: Annotated[str, typer.Option(metavar="VAR", help="environment variable with the server's token")] = "",
    tokenizer: Tokenizer = "",
    executor: Executor = "local",
    replicas: Annotated[
        int | None, typer.Option(min=1, help="copies of the model on a cluster; default: one per GPU, else per node")
    ] = None,
    json: Json = False,
) -> None:
    """Let a model answer a benchmark; continues an unfinished file."""
    from codeup.cli import scoring

    who = scoring.Answering(
        model=model, engine=engine, url=url, url_model=url_model, token_env=token_env, tokenizer=tokenizer,
        executor=executor, replicas=replicas,
    )  # fmt: skip
    scoring.generate(
        who, benchmark, out, data=data, form=form, limit=limit, json=json, n_samples=samples, temperature=temperature,
        max_new_tokens=max_new_tokens, seed=seed, prompt_style=prompt,
    )  # fmt: skip


@app.command()
@guarded
def evaluate(
    benchmark: Annotated[str, typer.Option(help="a name of `codeup list benchmarks`")],
    samples: Annotated[Path, typer.Option(help="JSONL of answers")],
    data: Annotated[Path | None, typer.Option(help="the benchmark's data file")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for verdicts and scores; default: beside the samples")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="judge processes; default: one per core")] = None,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, help="CPU seconds one program may use; not with --compat rules")
    ] = 10.0,
    memory_mb: Annotated[int, typer.Option(min=64, help="memory one program may use; not with --compat rules")] = 2048,
    compat: Annotated[
        str,
        typer.Option(
            help="humaneval+, mbpp+: evalplus (its HEAD) or evalplus-0.3.1; humaneval-x, apps: their own name"
        ),
    ] = "evalplus",
    base_only: Annotated[bool, typer.Option(help="humaneval+, mbpp+: only the base tests")] = False,
    all_inputs: Annotated[bool, typer.Option(help="humaneval+, mbpp+: go on after the first wrong answer")] = False,
    allow_unsafe: Annotated[bool, typer.Option(help="run even where no real sandbox is possible")] = False,
    partial: Annotated[bool, typer.Option(help="the file answers only some problems; the score counts those")] = False,
    tasks: Annotated[str | None, typer.Option(metavar="ID,ID,…", help="only these problems; n is their number")] = None,
    limit: Annotated[int | None, typer.Option(help="only the first problems; n is their number")] = None,
    extract: Annotated[str, typer.Option(help="code out of answers by: codeup, codeup-2024 or evalplus")] = "codeup",
    other_extractions: Annotated[
        bool, typer.Option("--other-extractions", help="count failures that pass under the other extractions")
    ] = False,
    exclude: Annotated[
        str,
        typer.Option(
            help="problems to leave out: a file of ids with causes, packaged, calibration, or missing-libraries"
        ),
    ] = "",
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="do not run the canonical solutions of other languages first")
    ] = False,
    languages: Annotated[
        str, typer.Option(metavar="A,B,…", help="one matrix of these; --data and --samples are folders of files")
    ] = "",
    pass_at: Annotated[
        str,
        typer.Option(metavar="K,K,…", help="pass@k for these, besides 1; default: 10, 100 and the number of samples"),
    ] = "",
    executor: Executor = "local",
    json: Json = False,
) -> None:
    """Run the programs of a samples file in the sandbox and score them."""
    from codeup.cli import scoring
    from codeup.cli.judging import Judging

    asked = Judging(
        workers=workers, timeout_s=timeout_s, memory_mb=memory_mb, compat=compat, base_only=base_only,
        all_inputs=all_inputs, allow_unsafe=allow_unsafe, partial=partial, extraction=extract, limit=limit,
        other_extractions=other_extractions, exclude=exclude, calibration=not no_calibration,
        tasks=None if tasks is None else [task.strip() for task in tasks.split(",") if task.strip()],
        executor=executor, pass_at=numbers(pass_at, "--pass-at"),
    )  # fmt: skip
    named = [name.strip() for name in languages.split(",") if name.strip()]
    scoring.evaluate(benchmark, samples, asked, data=data, out=out, json=json, languages=named)


@app.command()
@guarded
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="run folder, RUN:MODEL, folder of verdicts, or verdicts.jsonl")],
    b: Annotated[str, typer.Argument(metavar="B", help="the same, of the new side")],
    suite: Annotated[str, typer.Option(help="base or plus, of verdicts that hold both")] = "",
    data: Annotated[Path | None, typer.Option(help="the benchmark's file, for prompts of changed problems")] = None,
    show: Annotated[int, typer.Option(min=0, help="changed problems to print, side by side")] = 3,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="write a page with all changed problems")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="worse:X[:significant]",
            help="exit 3 if B's score is lower than A's by at least X; with :significant only if the data support it",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Is B better or worse than A? Paired comparison, and the problems that changed."""
    from codeup.cli import comparing

    if comparing.compare(a, b, suite=suite, data=data, show=show, html=html, fail_if=fail_if or [], json=json):
        raise typer.Exit(MISSED)


@app.command()
@guarded
def merge(
    model: Annotated[str, typer.Option(help="the base the adapter was trained on")],
    adapter: Annotated[Path, typer.Option(help="adapter folder")],
    out: Annotated[Path, typer.Option(help="folder for the merged model")],
    json: Json = False,
) -> None:
    """Merge an adapter into its base, tensor by tensor in float32."""
    from codeup.cli import study

    study.merge(model, adapter, out, json=json)


@app.command()
@guarded
def chat(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="run folder, model folder, Hub id, nano-base, GGUF file, or URL of a server"
        ),
    ],
    name: Annotated[str, typer.Option("--model", help="at a URL: which of its models; default: the first")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 512,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy")] = 0.0,
    token_env: Annotated[
        str, typer.Option(metavar="VAR", help="at a URL: environment variable that holds its token")
    ] = "",
    tokenizer: Tokenizer = "",
) -> None:
    """Talk to a model in the terminal; one instruction per line, Ctrl-D ends."""
    from codeup.cli import talking

    talking.chat(
        model, name=name, max_new_tokens=max_new_tokens, temperature=temperature, token_env=token_env,
        tokenizer=tokenizer,
    )  # fmt: skip


@app.command()
@guarded
def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="run folder, model folder, Hub id, nano, nano-base, or a GGUF file")
    ],
    adapter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="answer as NAME with this adapter; repeatable")
    ] = None,
    name: Annotated[str, typer.Option(help="what the model is called; default: that of its folder")] = "",
    template: Annotated[str | None, typer.Option(help="alpaca, llama3 or chatml; default: what the model says")] = None,
    host: Annotated[
        str, typer.Option(help="address to listen on; one that others can reach needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token_env: Annotated[
        str, typer.Option(metavar="VAR", help="environment variable that holds the token clients must send")
    ] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="further name this server is reached by; repeatable")
    ] = None,
    queue: Annotated[int, typer.Option(min=0, help="answers that may wait; more are refused with 429")] = 64,
    max_batch: Annotated[int, typer.Option(min=1, help="answers that are made at once")] = 16,
    deadline_s: Annotated[float, typer.Option(min=0.1, help="longest time for one request")] = 600.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16")] = "auto",
    tokenizer: Tokenizer = "",
    json: Json = False,
) -> None:
    """Serve a model over HTTP in OpenAI's protocol; adapters are chosen per request by their name."""
    from codeup.cli import serving

    serving.serve(
        model, adapters=adapter or [], name=name, template=template, host=host, port=port, token_env=token_env,
        allow_host=allow_host or [], queue=queue, max_batch=max_batch, deadline_s=deadline_s, device=device,
        dtype=dtype, json=json, tokenizer=tokenizer,
    )  # fmt: skip


@app.command("judge-server")
@guarded
def judge_server(
    benchmark: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=FILE]", help="judge answers to this benchmark; repeatable")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="judge programs that bring their own checks; repeatable")
    ] = None,
    host: Annotated[
        str, typer.Option(help="address to listen on; one that others can reach needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8010,
    token_env: Annotated[
        str, typer.Option(metavar="VAR", help="environment variable that holds the token clients must send")
    ] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="further name this server is reached by; repeatable")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="programs at once; default: one per core")] = None,
    timeout_s: Annotated[
        float, typer.Option(min=0.1, help="CPU seconds one program may use; not with --compat rules")
    ] = 10.0,
    memory_mb: Annotated[int, typer.Option(min=64, help="memory one program may use; not with --compat rules")] = 2048,
    compat: Annotated[str, typer.Option(help="as of `codeup evaluate`")] = "evalplus",
    base_only: Annotated[bool, typer.Option(help="humaneval+, mbpp+: only the base tests")] = False,
    all_inputs: Annotated[bool, typer.Option(help="humaneval+, mbpp+: go on after the first wrong answer")] = False,
    extract: Annotated[str, typer.Option(help="code out of answers by: codeup, codeup-2024 or evalplus")] = "codeup",
    floor: Annotated[str, typer.Option(help="weakest sandbox to work in: confined or strong")] = "confined",
    queue: Annotated[int, typer.Option(min=1, help="programs that may wait; more are refused with 429")] = 4096,
    max_batch: Annotated[int, typer.Option(min=1, help="programs in one request")] = 1024,
    deadline_s: Annotated[float, typer.Option(min=0.1, help="longest time for one request")] = 600.0,
    json: Json = False,
) -> None:
    """Judge programs over HTTP, with the verdicts of `codeup evaluate`: rewards for a trainer."""
    from codeup.cli import judge_server as server

    server.serve(
        benchmarks=benchmark or [], languages=language or [], host=host, port=port, token_env=token_env,
        allow_host=allow_host or [], workers=workers, timeout_s=timeout_s, memory_mb=memory_mb, compat=compat,
        base_only=base_only, all_inputs=all_inputs, extraction=extract, floor=floor, queue=queue, max_batch=max_batch,
        deadline_s=deadline_s, json=json,
    )  # fmt: skip


@app.command("list")
@guarded
def list_(kind: Annotated[str, typer.Argument(metavar="KIND")] = "", json: Json = False) -> None:
    """Names that a recipe may use: sources, rules, filters, benchmarks, languages, engines, steps; or settings."""
    from codeup.cli import about

    about.list_names(kind, json=json)


@app.command()
@guarded
def doctor(json: Json = False) -> None:
    """What this machine offers: versions, devices, sandbox level, toolchains."""
    from codeup.cli import about

    about.doctor(json=json)


@sandbox_app.command()
@guarded
def selftest(
    off: Annotated[
        list[str] | None, typer.Option("--off", help="Leave a layer out: namespaces, landlock or seccomp; repeatable.")
    ] = None,
    languages: Annotated[
        bool, typer.Option("--languages", help="the attacks of other languages and compilers")
    ] = False,
    json: Json = False,
) -> None:
    """Run the attack corpus: none may pass, none may survive, and the honest programs must pass."""
    from codeup.cli import about

    if not about.selftest(json=json, off=off or (), languages=languages):
        raise typer.Exit(1)
