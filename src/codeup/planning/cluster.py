"""A training step on nodes x GPUs, by arithmetic: compute, traffic, waiting for the slowest. Nothing is measured here.

    8 nodes of 8 H100, Llama-3-8B, r 32, a step of 524,288 tokens in micro-batches of 8,192: 64 of them, one a GPU
    compute 0.574 s + sum of 336 MB of gradients 0.019 s + waiting for the slowest of 64 (2 % jitter) 0.027 s

    compute   the busiest rank's micro-batches, ceil(units / ranks), times their operations, over peak x utilisation
    ddp       ring all-reduce of the adapter's gradients, 2 (n-1)/n S / bandwidth + 2 (n-1) latency: Patarasuk and Yuan
              2009 (J. Parallel Distrib. Comput. 69); once a step and not hidden, as train/ranks.py does it
    zero2     a reduce-scatter of the gradients for each micro-batch, half of ddp's sum each, and an all-gather of the
              new weights once a step (ZeRO, section 7)
    fsdp2     all-gather of the frozen layers for each forward and each backward pass of a micro-batch, (n-1)/n S each
              (ZeRO, arXiv 1910.02054, section 7, without the gradients' share); fetched ahead, so only what is longer
              than the computation is waited for; the gradients as in ddp. deepspeed-zero3 is taken as the same
    waiting   the slowest of n equal ranks is z(n) standard deviations late, z(n) = Phi^-1((n - 0.375) / (n + 0.25))
              (Blom 1958); `jitter` is the standard deviation of a rank's step over its mean

A ring over several nodes runs at the speed of the slower of the links inside and between. Not covered: trees and
switches that sum on the way, tensor and pipeline parallelism, two jobs on one network, failures.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from codeup.errors import UserError
from codeup.train import gpus, strategies

Strategy = Literal["ddp", "fsdp2", "deepspeed-zero2", "deepspeed-zero3"]
GRADIENT_BYTES = 4
JITTER = 0.02
"""An assumption. Measured: docs/scale.md."""
NETWORK_GBIT = 400.0
"""Of one node, an assumption: one port of a current cluster; --network says another."""
SHARE = 0.75
"""Of a link's data sheet that collectives reach: an assumption, in the range of what nccl-tests call bus bandwidth."""
INSIDE = {"h100": 450e9, "h200": 450e9, "a100-80": 300e9, "a100-40": 300e9, "rtx4090": 20e9, "rtx3090": 20e9}
"""Bytes per second and direction of one GPU: half of NVLink's total in NVIDIA's data sheets; GeForce cards exchange
through the host's PCIe 4.0, of which 20 GB/s are assumed."""
LATENCY_S = 10e-6
"""Of one hop of a ring, an assumption."""


@dataclass(frozen=True)
class Cluster:
    """Equal nodes of equal devices. `flops`: of one device, peak times utilisation; links in bytes per second.

    `at_once`: how many of a node's devices compute at a time; fewer than there are where processes share cores.
    """

    nodes: int
    per_node: int
    flops: float
    inside: float
    between: float
    latency_s: float = LATENCY_S
    jitter: float = JITTER
    at_once: int | None = None

    @property
    def ranks(self) -> int:
        return self.nodes * self.per_node

    @property
    def ring(self) -> float:
        """Bytes per second around a ring through all devices."""
        return self.inside if self.nodes == 1 else min(self.inside, self.between)


@dataclass(frozen=True)
class Load:
    """What a step is made of. `unit`: tokens that stay together, dealt to one rank. `layers`: bytes of the base's
    layers, which travel where it is shared out; embedding, norm and head are whole everywhere."""

    batch_tokens: int
    unit: int
    micro_batch: int
    operations: float
    trainable: int
    layers: int

    @property
    def units(self) -> int:
        return max(1, math.ceil(self.batch_tokens / self.unit))


@dataclass(frozen=True)
class Step:
    """Seconds of one step by part. `busy`: share of the ranks' time that computes what one rank alone would."""

    tokens: int
    ranks_with_work: int
    compute_s: float
    exchange_s: float
    waiting_s: float
    busy: float

    @property
    def total_s(self) -> float:
        return self.compute_s + self.exchange_s + self.waiting_s

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.total_s


def step(cluster: Cluster, load: Load, strategy: Strategy = "ddp") -> Step:
    """One step of a cluster."""
    n = cluster.ranks
    most = math.ceil(load.units / n)
    token_s = load.operations / cluster.flops
    shared = 1.0 if cluster.at_once is None else max(1.0, min(n, load.units) / cluster.at_once)
    compute_s = min(most * load.unit, load.batch_tokens) * token_s * shared
    passes = math.ceil(most * load.unit / load.micro_batch)
    exchange_s = all_reduce_s(GRADIENT_BYTES * load.trainable, cluster)
    if strategy == strategies.ZERO2:
        exchange_s *= (passes + 1) / 2
    elif strategies.shares_base(strategy):
        gather_s = 2 * all_gather_s(load.layers, cluster)
        exchange_s += passes * max(0.0, gather_s - min(load.micro_batch, most * load.unit) * token_s)
    working = min(n, load.units)
    waiting_s = compute_s * cluster.jitter * slowest(working)
    total_s = compute_s + exchange_s + waiting_s
    alone_s = load.batch_tokens * token_s
    return Step(
        load.batch_tokens, working, compute_s, exchange_s, waiting_s,
        alone_s / (total_s * min(n, cluster.at_once or n)),
    )  # fmt: skip


def all_reduce_s(size: int, cluster: Cluster) -> float:
    """A sum that all ranks get, around a ring.

    >>> round(all_reduce_s(336 * 10**6, Cluster(1, 8, 1.0, 300e9, 1.0, latency_s=0.0)), 5)
    0.00196
    """
    n = cluster.ranks
    return 2 * (n - 1) / n * size / cluster.ring + 2 * (n - 1) * cluster.latency_s


def all_gather_s(size: int, cluster: Cluster) -> float:
    """Shards of `size` bytes in all, until every rank has all of them."""
    n = cluster.ranks
    return (n - 1) / n * size / cluster.ring + (n - 1) * cluster.latency_s


def slowest(n: int) -> float:
    """How many standard deviations the slowest of n is late, on average.

    >>> [round(slowest(n), 2) for n in (1, 2, 8, 64)]
    [0.0, 0.59, 1.43, 2.34]
    """
    return 0.0 if n == 1 else NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def find_cluster(
    text: str, *, utilisation: float, network_gbit: float = NETWORK_GBIT, jitter: float = JITTER
) -> tuple[str, Cluster]:
    """The key in gpus.GPUS and the cluster that `8x8xH100` means: nodes x GPUs of a node x kind. Raises UserError."""
    found = re.fullmatch(r"\s*(\d{1,4})\s*[xX×]\s*(\d{1,4})\s*[xX×](.+)", text)
    if found is None or not int(found[1]) * int(found[2]):
        raise UserError(f"{text!r} is no cluster", where="--cluster", mend="nodes x GPUs x kind, for example 8x8xH100")
    name = gpus.find_gpu(found[3])
    nodes, per_node = int(found[1]), int(found[2])
    return name, make_cluster(name, nodes, per_node, utilisation=utilisation, network_gbit=network_gbit, jitter=jitter)


def make_cluster(
    name: str, nodes: int, per_node: int, *, utilisation: float, network_gbit: float = NETWORK_GBIT,
    jitter: float = JITTER,
) -> Cluster:  # fmt: skip
    """Of a kind in gpus.GPUS, with its data sheet's peak and links."""
    between = network_gbit * 1e9 / 8 * SHARE
    flops = gpus.GPUS[name].flops * utilisation
    return Cluster(nodes, per_node, flops, INSIDE[name] * SHARE, between, jitter=jitter)


def alone(flops: float) -> Cluster:
    """One device, which waits for nobody."""
    return Cluster(1, 1, flops, inside=1.0, between=1.0)
