"""Measures 1, 2 and 4 training processes on this machine beside what planning/cluster.py says of them.

    python tests/measure_ranks.py [--cpu]

1. all-reduce over gloo of as many bytes as an adapter's gradients have: a ring's bandwidth, from 2 processes
2. one process: operations per second, and how much its steps differ (`jitter`)
3. 2 and 4 processes train the same; the model is given the figures of 1 and 2 and the number of cores, nothing of 3

Medians over steps, for which the machine must be idle. On a busy one, `--cpu` compares processor seconds of a step, of
all processes together, which other work changes little, and the shortest of many exchanges.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from train_models import random_documents
from train_ranks_driver import free_port

from codeup import models, nano
from codeup.planning import cluster
from codeup.train import counts, operations, shapes
from codeup.train.metrics import read_metrics
from codeup.train.tokens import write_tokens

FEW, STEPS, BATCH, PACK, MICRO, R = 2, 8, 8192, 512, 1024, 16
COUNTS = (1, 2, 4)


def reducing(rank: int, count: int, port: int, size: int, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    tensor, seconds = torch.ones(size // 4), []
    for _ in range(60):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(tensor)
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        Path(out).write_text(json.dumps([min(seconds), statistics.median(seconds[3:])]))
    dist.destroy_process_group()


def all_reduce_s(count: int, size: int, folder: Path) -> list[float]:
    """Shortest and median seconds."""
    context, port, out = multiprocessing.get_context("spawn"), free_port(), folder / f"{count}-{size}"
    arguments = [(rank, count, port, size, str(out)) for rank in range(count)]
    processes = [context.Process(target=reducing, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found: list[float] = json.loads(out.read_text())
    return found


def train(count: int, steps: int, folder: Path) -> Path:
    """So many processes over the first `steps` steps; the folder of the training."""
    out = folder / f"train-{count}-{steps}"
    tokens = folder / f"tokens-{steps}"
    if not tokens.exists():
        write_tokens(tokens, random_documents(steps * BATCH // 496, shortest=480, longest=512))
    order = {
        "arguments": {
            "model": str(nano.base_folder()), "tokens": str(tokens), "validation": str(tokens),
            "lora": {"r": R, "alpha": 2 * R}, "epochs": 1, "tokens_per_batch": BATCH, "pack_length": PACK,
            "micro_batch_tokens": MICRO, "learning_rate": 1e-4, "evals_per_epoch": 0,
        },
        "runs": [{"count": count, "out": str(out)}],
    }  # fmt: skip
    driver = [sys.executable, str(Path(__file__).with_name("train_ranks_driver.py")), json.dumps(order)]
    done = subprocess.run(driver, capture_output=True, text=True, check=True)
    for answer in json.loads(done.stdout):
        assert "summary" in answer, answer
    return out


def step_seconds(count: int, folder: Path) -> list[float]:
    """Of each step but the first two, which warm up."""
    out = train(count, STEPS, folder)
    at = [row["seconds"] for row in read_metrics(out / "metrics.jsonl") if "loss" in row]
    return [later - earlier for earlier, later in itertools.pairwise(at)][1:]


def step_cpu_s(count: int, folder: Path) -> float:
    """Processor seconds of a step, of all processes: those of a long training less those of a short one."""
    used = []
    for steps in (FEW, STEPS):
        before = _children_cpu_s()
        train(count, steps, folder)
        used.append(_children_cpu_s() - before)
    return (used[1] - used[0]) / (STEPS - FEW)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    shape = shapes.shape_of(models.read_config("nano-base"))
    trainable = counts.lora_parameters(shape, R)
    size = cluster.GRADIENT_BYTES * trainable
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        reduced = {count: all_reduce_s(count, size, folder) for count in COUNTS[1:]}
        for count, (shortest, median) in reduced.items():
            said = reduced[2][0] * (2 * (count - 1) / count)  # two processes send 2 (n-1)/n = 1 times the bytes
            print(
                f"all-reduce of {size / 1e6:.2f} MB by {count}: {1000 * shortest:.2f} ms at least (model, from two: "
                f"{1000 * said:.2f}), median {1000 * median:.2f}"
            )
        if "--cpu" in sys.argv[1:]:
            used = {count: step_cpu_s(count, folder) for count in COUNTS}
            for count, seconds in used.items():
                print(
                    f"{count} processes: {seconds:.3f} processor s a step, {seconds / used[1]:.2f} times one (model 1)"
                )
            return
        compare(shape, trainable, size / reduced[2][1], folder)


def compare(shape: shapes.Shape, trainable: int, bandwidth: float, folder: Path) -> None:
    """Steps as they are, and as the model says."""
    cores = len(os.sched_getaffinity(0))
    alone = step_seconds(1, folder)
    work = operations.work(shape, trainable, attended=496.0, trained_share=0.5).executed
    flops = BATCH * work / statistics.median(alone)
    jitter = statistics.pstdev(alone) / statistics.mean(alone)
    print(f"one process: {flops / 1e9:.1f} GFLOP/s, jitter {jitter:.3f}, ring {bandwidth / 1e6:.0f} MB/s")
    load = cluster.Load(BATCH, PACK, MICRO, work, trainable, 0)
    for count in COUNTS:
        seconds = statistics.median(alone if count == 1 else step_seconds(count, folder))
        machine = cluster.Cluster(1, count, flops, bandwidth, bandwidth, 0.0, jitter, at_once=cores)
        said = cluster.step(machine, load)
        print(
            f"{count} processes: {seconds:.3f} s a step, {statistics.median(alone) / seconds:.2f} times one; model "
            f"{said.total_s:.3f} s ({100 * (said.total_s / seconds - 1):+.0f} %): compute {said.compute_s:.3f}, "
            f"exchange {said.exchange_s:.4f}, waiting {said.waiting_s:.3f}"
        )


if __name__ == "__main__":
    main()
