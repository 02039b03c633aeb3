"""`codeup bench …`: this tool and a peer over the same work, in one run, side by side."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeup.cli.progress import display
from codeup.errors import UserError

if TYPE_CHECKING:
    from codeup.bench import data as preparing
    from codeup.bench import train as training
    from codeup.bench.decode import Decoding
    from codeup.bench.evaluate import Agreement, Comparison
    from codeup.bench.generate import Comparison as Generation

SHOWN_DIFFERENCES = 40


def evaluate(
    benchmark: str,
    data: Path,
    *,
    peer: str,
    peer_python: Path | None,
    sets: str,
    workers: int,
    base_only: bool,
    json: bool,
) -> None:
    """Print times, memory, ratios and every status that differs."""
    from codeup.bench import evaluate as bench

    if peer not in bench.PEERS:
        raise UserError(f"--peer is {peer!r}", mend=f"use {', '.join(bench.PEERS)}")
    if workers < 1:
        raise UserError(f"--workers is {workers}", mend="use 1 or more")
    with display() as emit:
        result = bench.compare(
            benchmark,
            data,
            sets=bench.SETS if sets == "both" else (sets,),
            workers=workers,
            base_only=base_only,
            peer_python=peer_python,
            emit=emit,
        )
    if json:
        print(jsonlib.dumps(bench.as_json(result)))
        return
    print("\n".join(lines(result)))


def lines(result: Comparison) -> list[str]:
    """The comparison as text: a row per set, state and tool, then what the tools said about each set."""
    suites = "base" if result.base_only else "base and plus"
    found = [f"{result.benchmark}, {suites}, {result.workers} workers; memory is PSS of the whole process tree"]
    head = f"{'result s':>10}{'process s':>11}{'samples/s':>11}{'peak MiB':>10}{'ratio':>7}"
    found.append(f"{'set':<10}{'state':<7}{'tool':<16}{head}")
    for time in result.times:
        tool = result.peer if time.tool == "peer" else "codeup"
        peak = f"{time.time.peak_mb:,.0f}" if time.time.peak_mb is not None else "?"
        ratio = f"{result.ratio(time.set, time.state):.1f}" if time.tool == "codeup" else ""
        found.append(
            f"{time.set:<10}{time.state:<7}{tool:<16}{time.time.result_s:>10.1f}{time.time.wall_s:>11.1f}"
            f"{time.per_s:>11.1f}{peak:>10}{ratio:>7}".rstrip()
        )
    for agreement in result.agreements:
        found += agreement_lines(agreement)
    return found


def agreement_lines(agreement: Agreement) -> list[str]:
    """What both tools said about one set."""
    n = agreement.samples
    (peer_base, peer_plus), (own_base, own_plus) = agreement.peer_pass, agreement.codeup_pass
    found = [
        f"{agreement.set} {agreement.state}: pass or not is the same for {agreement.same_pass} of {n}, the status for "
        f"{agreement.same_status}; base passed by the peer {peer_base}, by codeup {own_base}; "
        f"base and plus {peer_plus}, {own_plus}"
    ]
    for each in agreement.differences[:SHOWN_DIFFERENCES]:
        found.append(
            f"  {each['task_id']} ({each['kind']}): peer {_status(each['peer'])}, codeup {_status(each['codeup'])}"
        )
    if len(agreement.differences) > SHOWN_DIFFERENCES:
        found.append(f"  … {len(agreement.differences) - SHOWN_DIFFERENCES} more; --json has all")
    return found


def _status(status: tuple[str, str | None]) -> str:
    return "/".join(each or "-" for each in status)


def train(data: Path, *, peer_python: list[str], json: bool, **settings: Any) -> None:
    """Print speed, memory, ratio and loss of each tool."""
    from codeup.bench import train as bench

    named = [each.partition("=") for each in peer_python]
    if wrong := [name for name, _, place in named if name not in bench.VERSIONS or not place]:
        raise UserError(f"--peer-python {wrong[0]!r}", mend="write NAME=PATH, for example trl=/path/to/bin/python")
    with display() as emit:
        python = {name: Path(place) for name, _, place in named}
        result = bench.compare(data, python=python, emit=emit, **settings)
    print(jsonlib.dumps(bench.as_json(result)) if json else "\n".join(training_lines(result)))


def data(
    files: Sequence[Path], *, rows: int, against: Sequence[str], peer: Sequence[str], peer_python: Sequence[str],
    tokenizer: str, work: Path | None, json: bool,
) -> None:  # fmt: skip
    """Print seconds, floors, memory and ratios of preparing data."""
    from codeup.bench import data as bench

    with display() as emit:
        result = bench.compare(
            files, count=rows, against=_named(against, "--against"), peer=peer,
            python=_named(peer_python, "--peer-python"), tokenizer=tokenizer, keep=work, emit=emit,
        )  # fmt: skip
    print(jsonlib.dumps(bench.as_json(result)) if json else "\n".join(data_lines(result)))


def _named(pairs: Sequence[str], option: str) -> dict[str, Path]:
    """NAME=PATH of an option."""
    found = {name: Path(place) for name, _, place in (pair.partition("=") for pair in pairs)}
    if wrong := [name for name, place in found.items() if not name or place == Path()]:
        raise UserError(f"{option} {wrong[0]!r}", mend="write NAME=PATH")
    return found


def data_lines(result: preparing.Comparison) -> list[str]:
    """The parts as a table, each with its floor; then the sums and the peers."""
    gone = ", ".join(f"{reason} {count:,}" for reason, count in result.dropped.items()) or "nothing"
    found = [
        f"{result.rows:,} rows, {result.bytes / 1e6:,.0f} MB; kept {result.kept:,} ({gone} dropped), "
        f"{result.tokens:,} tokens; peak memory {result.peak_mb:,.0f} MiB",
        f"{'part':<32}{'core s':>9}{'wall s':>9}{'rows/core s':>13}{'floor, core s':>15}",
    ]
    floors = {floor.floor: floor for floor in result.floors}
    for part in result.parts:
        floor = floors.get(part.name)
        told = f"{floor.cpu_s:>15.1f}  {floor.name}" if floor else ""
        found.append(f"{part.name:<32}{part.cpu_s:>9.1f}{part.wall_s:>9.1f}{part.per_second:>13,.0f}{told}")
    each = result.without_tokenizer_s / result.rows * 1e6 / 60
    found.append(
        f"without the tokenizer {result.without_tokenizer_s:.1f} core s, {each:.1f} core minutes per million rows; "
        f"tokenising at {result.encode_share:.1%} of bare encode_batch"
    )
    for peer, ratio in result.peers:
        found.append(
            f"{peer.name:<32}{peer.cpu_s:>9.1f}{peer.wall_s:>9.1f}{peer.per_second:>13,.0f}{'':>15}  "
            f"{peer.rows:,} rows; {ratio:.1f} times CodeUp's core seconds for the same part"
        )
    return found


def training_lines(result: training.Comparison) -> list[str]:
    """The comparison as text, a row per tool."""
    gpu = result.device == "cuda"
    found = [
        f"{result.rows:,} rows, {result.tokens:,} tokens ({result.trained_tokens:,} trained), {result.dtype}, "
        f"{result.device}; matrix peak {result.peak_flops / 1e12:.2f} TFLOP/s; loss before training "
        f"{result.untrained_loss:.4f}; memory is {'allocated on the GPU' if gpu else 'PSS of the whole process tree'}",
        f"{'tool':<16}{'train s':>9}{'process s':>11}{'tokens/s':>10}{'of peak':>9}{'peak MiB':>10}"
        f"{'loss':>9}{'ratio':>7}",
    ]
    for each in result.trained:
        held = each.gpu_mb if gpu else each.time.peak_mb
        peak = f"{held:,.0f}" if held is not None else "?"
        found.append(
            f"{each.tool:<16}{each.seconds:>9.1f}{each.time.wall_s:>11.1f}{each.tokens_per_s:>10,.0f}"
            f"{each.utilisation:>9.1%}{peak:>10}{each.loss:>9.4f}{result.ratio(each):>7.1f}"
        )
    return found


def generate(
    model: str, *, size: str, quants: Sequence[str], gguf: Sequence[Path], limit: int | None, threads: int, json: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Print the seconds of each way, how many times faster ours are, and how near decoding comes to memory's speed."""
    from codeup import models
    from codeup.bench import decode
    from codeup.bench import generate as bench

    if bool(model) == bool(size) or (size and (gguf or limit)) or (quants and not size):
        raise UserError(
            "name a MODEL, with --gguf FILE … if you like, or a --size, with --quant NAME … if you like",
            mend="for example: codeup bench generate nano-base; codeup bench generate --size 480m",
        )
    names = [model, *map(str, gguf)]
    if wrong := [name for name in names[1:] if not models.is_gguf(name)]:
        raise UserError(f"--gguf {wrong[0]} is not a GGUF file", mend="make one: codeup export gguf MODEL")
    if size:
        from codeup.bench import random_llama

        with display() as emit, random_llama.made(size, quants or ("f16",)) as names:
            decoding = decode.measure(names, threads=threads, emit=emit)
        _print_generation(None, decoding, json=json)
        return
    result = None
    with display() as emit:
        if limit != 0 and not models.is_gguf(model):
            result = bench.compare(
                models.locate(model), name=model, limit=limit, threads=threads, emit=emit, **settings
            )  # fmt: skip
        decoding = decode.measure(names, threads=threads, emit=emit)
    _print_generation(result, decoding, json=json)


def _print_generation(result: Generation | None, decoding: Sequence[Decoding], *, json: bool) -> None:
    if json:
        print(
            jsonlib.dumps({**(result.as_json() if result else {}), "decoding": [each.as_json() for each in decoding]})
        )
        return
    print("\n".join([*(generation_lines(result) if result else []), *decoding_lines(decoding)]))


def generation_lines(result: Generation) -> list[str]:
    """The comparison as text, a row per way."""
    found = [
        f"{result.problems} problems, up to {result.max_new_tokens} tokens each, batches of {result.batch_size}; "
        f"{result.engine}, {result.threads} threads; median of {result.rounds} rounds",
        f"{'way':<12}{'seconds':>9}{'cpu s':>9}{'tokens/s':>10}{'same':>6}{'x loop':>8}{'x batched':>11}",
    ]
    for each in result.times:
        found.append(
            f"{each.way:<12}{each.seconds:>9.2f}{each.cpu_s:>9.2f}{each.tokens_per_s:>10,.0f}{each.same:>6}"
            f"{result.ratio(each.way, 'loop'):>8.2f}{result.ratio(each.way, 'batched'):>11.2f}"
        )
    return found


def decoding_lines(decoding: Sequence[Decoding]) -> list[str]:
    """Speeds as text, a row per engine and batch; `of memory` is the share of what could be read around it."""
    found = [
        f"{'engine':<10}{'batch':>6}{'first token ms':>16}{'tokens/s':>10}{'MB per token':>14}{'GB/s':>7}"
        f"{'of memory':>11}"
    ]
    for each in decoding:
        for speed in each.speeds:
            found.append(
                f"{each.engine:<10}{speed.batch:>6}{speed.first_token_s * 1000:>16,.0f}{speed.tokens_per_s:>10,.1f}"
                f"{speed.bytes_per_token / 1e6:>14,.1f}{speed.bytes_per_s / 1e9:>7.1f}{speed.share_of_ceiling:>11.0%}"
            )
    for each in decoding:
        found.append(
            f"{each.engine}: {each.description}; {each.threads} threads read up to {each.ceiling / 1e9:.1f} GB/s"
        )
    return found


def streams(url: str, *, name: str, token_env: str, json: bool, **settings: Any) -> bool:
    """Print what many streams saw; False where an answer was lost or mixed."""
    from codeup.bench import streams as bench
    from codeup.cli.serving import read_token

    with display() as emit:
        seen = bench.load(url, model=name, key=read_token(token_env), emit=emit, **settings)
    if json:
        print(jsonlib.dumps(seen.as_json()))
    else:
        first, whole = (" / ".join(f"{value:.2f}" for value in values) for values in (seen.first_s, seen.whole_s))
        print(
            f"{seen.streams} streams for {seen.seconds:.0f} s at {seen.model}: {seen.answers} answers, "
            f"{seen.lost} lost, {seen.mixed} mixed\n"
            f"{seen.tokens_per_s:,.0f} tokens/s together, {seen.alone_tokens_per_s:,.0f} one after the other\n"
            f"seconds to the first token {first}, to the last {whole} (median / 95 % / most)\n"
            f"memory of the server {seen.memory_mb[0]:,.0f} MiB before, {seen.memory_mb[1]:,.0f} at most"
        )
        for error in seen.errors:
            print(f"  {error}")
    return not (seen.lost or seen.mixed)
