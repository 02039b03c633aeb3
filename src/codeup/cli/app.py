"""The `codeup` command: each subcommand turns argv into one library call and prints what it returns.

Results go to stdout, progress to stderr. With --json the last stdout line is one JSON object. Exit codes: 0 done, 1
the work failed, 2 the input is wrong, 3 a required threshold was missed, 130 interrupted. Heavy imports wait until a
command needs them, so that `codeup --help` answers at once.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from codeup import __version__
from codeup.errors import CodeUpError, UserError

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
bench_app = typer.Typer(help="This tool and a peer over the same work, side by side.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")
convert_app = typer.Typer(help="Files of other tools, as files of this one.", no_args_is_help=True)
app.add_typer(convert_app, name="convert")
export_app = typer.Typer(help="A finished model as others take it.", no_args_is_help=True)
app.add_typer(export_app, name="export")
data_app = typer.Typer(help="Training data, outside of any run.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
Tokenizer = Annotated[
    str, typer.Option(metavar="FOLDER", help="for a GGUF file: the model it was made of; default: what lies beside it")
]
RecipeFile = Annotated[str, typer.Argument(metavar="RECIPE", help="a recipe, e.g. recipes/nano.yaml")]
Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value …]", help="settings that override the recipe")
]

MISSED, INTERRUPTED = 3, 130
ELSEWHERE = "name another place, or change who may use this one"
PLACES = {
    errno.EACCES: ELSEWHERE,
    errno.EPERM: ELSEWHERE,
    errno.EROFS: ELSEWHERE,
    errno.ENOTDIR: "a part of this path is a file: name another place",
    errno.EISDIR: "this is a folder: name a file",
    errno.ENAMETOOLONG: "give a shorter name",
}
"""Errors of the file system that a person can mend, with how; BrokenPipeError and bugs are none of them."""
F = TypeVar("F", bound=Callable[..., Any])


def main() -> None:
    """Entry point of the console script."""
    app()


def guarded(command: F) -> F:
    """Turn our errors into one message and an exit code; bugs keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except CodeUpError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, UserError) else 1) from None
        except KeyboardInterrupt:
            print("\ninterrupted; the same command continues where this one stopped", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:
            if error.errno not in PLACES or not error.filename:
                raise
            print(
                f"error: {error.filename}: {os.strerror(error.errno)}\n  to mend: {PLACES[error.errno]}",
                file=sys.stderr,
            )
            raise typer.Exit(2) from None

    return wrapped  # type: ignore[return-value]


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
    utilisation: Annotated[float | None, typer.Option(help="share of the GPU's peak that is reached; 0.4")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="run up to 5 real steps of the first stage")] = False,
    json: Json = False,
) -> None:
    """Memory by part, fits or not, hours and cost of each stage, before anything is loaded."""
    from codeup.cli import planned

    planned.plan(recipe, settings or [], gpu=gpu, price=price, utilisation=utilisation, measure=measure, json=json)


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
    model: Annotated[str, typer.Option(help="run folder, model folder, Hub id, nano-base, or a GGUF file")],
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
    json: Json = False,
) -> None:
    """Let a model answer a benchmark; continues an unfinished file."""
    from codeup.cli import scoring

    scoring.generate(
        model, benchmark, out, data=data, form=form, samples=samples, temperature=temperature,
        max_new_tokens=max_new_tokens, limit=limit, seed=seed, prompt_style=prompt, json=json, engine=engine,
        url=url, url_model=url_model, token_env=token_env, tokenizer=tokenizer,
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
        str, typer.Option(help="problems to leave out: a file of ids with causes, packaged, or calibration")
    ] = "",
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="do not run the canonical solutions of other languages first")
    ] = False,
    languages: Annotated[
        str, typer.Option(metavar="A,B,…", help="one matrix of these; --data and --samples are folders of files")
    ] = "",
    json: Json = False,
) -> None:
    """Run the programs of a samples file in the sandbox and score them."""
    from codeup.cli import scoring

    scoring.evaluate(
        benchmark, samples, data=data, out=out, workers=workers, timeout_s=timeout_s, memory_mb=memory_mb,
        compat=compat, base_only=base_only, all_inputs=all_inputs, allow_unsafe=allow_unsafe, partial=partial,
        json=json, limit=limit, extraction=extract, other_extractions=other_extractions, exclude=exclude,
        calibration=not no_calibration, languages=[name.strip() for name in languages.split(",") if name.strip()],
        tasks=None if tasks is None else [task.strip() for task in tasks.split(",") if task.strip()],
    )  # fmt: skip


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
    max_new_tokens: Annotated[int, typer.Option(help="longest answer in tokens")] = 512,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
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
        str, typer.Argument(metavar="MODEL", help="run folder, model folder, Hub id, nano-base, or a GGUF file")
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


@app.command("list")
@guarded
def list_(kind: Annotated[str, typer.Argument(metavar="KIND")] = "", json: Json = False) -> None:
    """Names that a recipe may use: sources, benchmarks, languages, engines, steps; or settings."""
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


@bench_app.command("evaluate")
@guarded
def bench_evaluate(
    benchmark: Annotated[str, typer.Option(help="humaneval+ or mbpp+")],
    data: Annotated[Path, typer.Option(help="the benchmark's data file")],
    peer: Annotated[str, typer.Option(help="the other tool")] = "evalplus",
    workers: Annotated[int, typer.Option(help="worker processes of either tool")] = 2,
    set_: Annotated[str, typer.Option("--set", help="canonical, derived or both")] = "both",
    base_only: Annotated[bool, typer.Option("--base-only", help="only the base tests")] = False,
    peer_python: Annotated[
        Path | None, typer.Option(help="a Python that has the peer; default: a venv in the cache, made once")
    ] = None,
    json: Json = False,
) -> None:
    """Judge the same programs with CodeUp and with EvalPlus; times, memory, and every status that differs."""
    from codeup.cli import benching

    benching.evaluate(
        benchmark, data, peer=peer, peer_python=peer_python, sets=set_, workers=workers, base_only=base_only, json=json
    )


@bench_app.command("train")
@guarded
def bench_train(
    data: Annotated[Path, typer.Option(help="a JSON list of Alpaca rows")],
    peer: Annotated[list[str] | None, typer.Option(help="trl or llamafactory; repeatable")] = None,
    model: Annotated[Path | None, typer.Option(help="model folder; default: a random Llama of 31 M parameters")] = None,
    rows: Annotated[int, typer.Option(min=1, help="rows to train")] = 1600,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the rows")] = 1,
    cutoff: Annotated[int, typer.Option(min=8, help="longest row, and length of a pack, in tokens")] = 1024,
    rank: Annotated[int, typer.Option(min=1, help="rank of the adapters, on all linear layers")] = 32,
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="dropout of the adapters' inputs")] = 0.0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16, in every tool")] = "float32",
    peer_python: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="a Python that has the peer; default: made once")
    ] = None,
    json: Json = False,
) -> None:
    """Train the same adapter with CodeUp and with other trainers: tokens per second, memory, loss."""
    from codeup.cli import benching

    benching.train(
        data, peer=peer or [], model=model, rows=rows, epochs=epochs, cutoff=cutoff, rank=rank, dropout=dropout,
        dtype=dtype, peer_python=peer_python or [], json=json,
    )  # fmt: skip


@bench_app.command("streams")
@guarded
def bench_streams(
    url: Annotated[str, typer.Argument(metavar="URL", help="a running server, e.g. http://127.0.0.1:8000/v1")],
    name: Annotated[str, typer.Option("--model", help="which of its models; default: the first")] = "",
    streams: Annotated[int, typer.Option(min=1, help="clients at once")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="how long they go on asking")] = 60.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 48,
    token_env: Annotated[str, typer.Option(metavar="VAR", help="environment variable with the server's token")] = "",
    json: Json = False,
) -> None:
    """Many streams at once: lost and mixed answers, latency, tokens per second, the server's memory."""
    from codeup.cli import benching

    if not benching.streams(
        url, name=name, streams=streams, seconds=seconds, max_tokens=max_tokens, token_env=token_env, json=json
    ):
        raise typer.Exit(1)


@bench_app.command("generate")
@guarded
def bench_generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="run folder, model folder, Hub id or nano-base")],
    benchmark: Annotated[str, typer.Option(help="whose problems are asked, as a base model is asked")] = "nano",
    data: Annotated[Path | None, typer.Option(help="the benchmark's data file")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first problems")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="answers at once, in every batched way")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="each way so many times; the median counts")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as torch decides")] = 0,
    json: Json = False,
) -> None:
    """Make the same answers with CodeUp and with transformers.generate, one by one and batched."""
    from codeup.cli import benching

    benching.generate(
        model, benchmark=benchmark, data=data, limit=limit, max_new_tokens=max_new_tokens, batch_size=batch_size,
        rounds=rounds, threads=threads, json=json,
    )  # fmt: skip


@bench_app.command("data")
@guarded
def bench_data(
    data: Annotated[list[Path], typer.Argument(metavar="FILE …", help="Alpaca, GSM8K or ShareGPT rows to mix from")],
    rows: Annotated[int, typer.Option(min=200, help="rows to make and prepare")] = 20_000,
    against: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="a benchmark to decontaminate against; repeatable")
    ] = None,
    peer: Annotated[list[str] | None, typer.Option(help="llamafactory or datasketch; repeatable")] = None,
    peer_python: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="a Python that has the peer; default: made once")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="folder for the rows (2.4 GB a million); default: the temporary")
    ] = None,
    json: Json = False,
) -> None:
    """Prepare made-up rows: seconds of each part beside its physical floor, memory, and peers over the same rows."""
    from codeup.cli import benching

    benching.data(
        data, rows=rows, against=against or [], peer=peer or [], peer_python=peer_python or [], work=work, json=json
    )


@convert_app.command("recipe")
@guarded
def convert_recipe(
    files: Annotated[list[str], typer.Argument(metavar="FILE.yaml …", help="LLaMA-Factory training and export files")],
    out: Annotated[Path, typer.Option(help="the recipe to write")],
    name: Annotated[str, typer.Option(help="name of the study; default: that of the file")] = "",
    devices: Annotated[int, typer.Option(min=1, help="devices the files were run on; they do not say")] = 1,
    row_tokens: Annotated[
        int | None, typer.Option(min=1, help="tokens per row; default: from local files, or 512")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the recipe that is there")] = False,
    json: Json = False,
) -> None:
    """Turn LLaMA-Factory's YAML files, a chain of stages or one, into one recipe."""
    from codeup.cli import interop

    interop.convert_recipe(files, out, name=name, devices=devices, row_tokens=row_tokens, force=force, json=json)


@export_app.command("hub")
@guarded
def export_hub(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="a finished run folder")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="the folder to write; an earlier export is replaced")],
    model: Annotated[str, typer.Option(metavar="VARIANT", help="a model of the run; default: the final one")] = "",
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="the repository on the Hub")] = "",
    private: Annotated[bool, typer.Option("--private", help="create the repository private")] = False,
    push: Annotated[bool, typer.Option("--push", help="create the repository and upload the folder")] = False,
    update: Annotated[bool, typer.Option("--update", help="push into a repository that is there already")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="make and check all but the weights, keep nothing")
    ] = False,
    max_shard_size: Annotated[str, typer.Option(metavar="SIZE", help="largest weight file")] = "5GB",
    base_license: Annotated[
        str | None, typer.Option(metavar="ID", help="licence of the base, where its card does not say it")
    ] = None,
    json: Json = False,
) -> None:
    """Weights, tokenizer, adapter, model card, results, licences and recipe of a model, ready for the Hub."""
    from codeup.cli import exporting

    exporting.hub(
        run_folder, out, model=model, repo=repo, private=private, push=push, update=update, dry_run=dry_run,
        max_shard_size=max_shard_size, base_license=base_license, json=json,
    )  # fmt: skip


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


@export_app.command("gguf")
@guarded
def export_gguf(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="model folder, run folder, Hub id, or nano-base")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: MODEL-QUANT.gguf here")] = None,
    quant: Annotated[str, typer.Option(help="f32, bf16, f16, q8_0, q4_0, or q4_k_m (needs llama-quantize)")] = "f16",
    adapter: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="a PEFT adapter of this model, written beside it as GGUF LoRA")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="compare tokens with llama.cpp first; on a difference nothing is published")
    ] = False,
    json: Json = False,
) -> None:
    """A model as one GGUF file, for llama.cpp and tools built on it."""
    from codeup.cli import gguf

    gguf.export(model, out=out, quant=quant, adapter=adapter, verify=verify, json=json)


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
