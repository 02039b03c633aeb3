"""`codeup bench …`: options of each command; the work is in benching.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codeup.cli.command import Json, guarded

bench_app = typer.Typer(help="This tool and a peer over the same work, side by side.", no_args_is_help=True)


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
    model: Annotated[Path | None, typer.Option(help="model folder; default: random weights of --shape")] = None,
    shape: Annotated[str, typer.Option(help="small (31 M parameters) or llama-3-8b, which needs a GPU")] = "small",
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
        data, peer=peer or [], model=model, shape=shape, rows=rows, epochs=epochs, cutoff=cutoff, rank=rank,
        dropout=dropout, dtype=dtype, peer_python=peer_python or [], json=json,
    )  # fmt: skip


@bench_app.command("streams")
@guarded
def bench_streams(
    url: Annotated[str, typer.Argument(metavar="URL", help="a running server, e.g. http://127.0.0.1:8000/v1")],
    name: Annotated[str, typer.Option("--model", help="which of its models; default: the first")] = "",
    streams: Annotated[int, typer.Option(min=1, help="clients at once")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="how long they go on asking")] = 60.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 48,
    pid: Annotated[int, typer.Option(help="the server's process, to measure memory where it has no /metrics")] = 0,
    token_env: Annotated[str, typer.Option(metavar="VAR", help="environment variable with the server's token")] = "",
    json: Json = False,
) -> None:
    """Many streams at once: lost and mixed answers, latency, tokens per second, the server's memory."""
    from codeup.cli import benching

    if not benching.streams(
        url, name=name, streams=streams, seconds=seconds, max_tokens=max_tokens, pid=pid, token_env=token_env, json=json
    ):
        raise typer.Exit(1)


@bench_app.command("judge-server")
@guarded
def bench_judge_server(
    benchmark: Annotated[str, typer.Option(metavar="NAME[=FILE]", help="whose programs are judged")] = "nano",
    workers: Annotated[int, typer.Option(min=1, help="programs at once, here and in the server")] = 2,
    clients: Annotated[int, typer.Option(min=1, help="connections at once")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="how often every program is judged")] = 3,
    json: Json = False,
) -> None:
    """Judge the same programs here and over HTTP: verdicts per second, latency, lost and mixed up ones."""
    from codeup.cli import judge_server

    if not judge_server.bench(benchmark, workers=workers, clients=clients, rounds=rounds, json=json):
        raise typer.Exit(1)


@bench_app.command("generate")
@guarded
def bench_generate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="run folder, model folder, Hub id, nano, nano-base or GGUF file")
    ] = "",
    size: Annotated[
        str, typer.Option(help="in place of MODEL: random weights, only the speed of decoding: 30m, 130m, 480m or 1b")
    ] = "",
    quant: Annotated[
        list[str] | None, typer.Option(help="with --size: a GGUF quantisation to decode too; repeatable; default: f16")
    ] = None,
    gguf: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="a GGUF file to decode with llama.cpp too; repeatable")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="whose problems are asked, as a base model is asked")] = "nano",
    data: Annotated[Path | None, typer.Option(help="the benchmark's data file")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help="only the first problems; 0: only the speed of decoding")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer in tokens")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="answers at once, in every batched way")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="each way so many times; the median counts")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as the engine decides")] = 0,
    json: Json = False,
) -> None:
    """The same answers by CodeUp and by transformers.generate; then decoding beside what memory allows."""
    from codeup.cli import benching

    benching.generate(
        model, size=size, quants=quant or [], gguf=gguf or [], benchmark=benchmark, data=data, limit=limit,
        max_new_tokens=max_new_tokens, batch_size=batch_size, rounds=rounds, threads=threads, json=json,
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
    tokenizer: Annotated[
        str, typer.Option(help="bpe, or none: one token for each text, where all but the tokenizer is to be measured")
    ] = "bpe",
    work: Annotated[
        Path | None, typer.Option(help="folder for the rows (2.4 GB a million); default: the temporary")
    ] = None,
    json: Json = False,
) -> None:
    """Prepare made-up rows: seconds of each part beside its physical floor, memory, and peers over the same rows."""
    from codeup.cli import benching

    benching.data(
        data, rows=rows, against=against or [], peer=peer or [], peer_python=peer_python or [], tokenizer=tokenizer,
        work=work, json=json,
    )  # fmt: skip
