"""Several processes that train one stage together, and the few things that they do in common.

    rank 0   packs a d ─ forward, backward ─┐                        ┌ AdamW ─ metrics, checkpoints, adapter
    rank 1   packs b e ─ forward, backward ─┤ sum of all gradients ─ ┤ AdamW
    rank 2   packs c   ─ forward, backward ─┘                        └ AdamW

Every rank has the whole plan, so who gets which packs and what the loss is divided by need no message (packing.deal).
What is sent in a step: the gradients of the trained parameters, summed in one piece after the last micro-batch, and the
sums of the losses. An adapter is small, so waiting for it costs little: docs/training.md has the arithmetic. All ranks
get the same bits and make the same AdamW step; only the first one writes and speaks.

torch.distributed does the work: gloo between CPUs, NCCL between GPUs (and gloo for what lies in the CPU's memory).
Does not start processes (steps/_crew.py or torchrun does), nor replace one that is lost: the training ends, and goes on
from its last checkpoint when it is started again, with as many ranks as there then are.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from codeup.errors import CodeUpError, UserError, WorkFailed
from codeup.train import place, strategies

T = TypeVar("T")
JOIN_S = 600
"""How long to wait for all to appear."""
WAIT = timedelta(days=7)
"""How long to wait for the others in a training: the first one may prepare data or answer problems meanwhile. A process
that ends is noticed at once, by its closed connection."""
SIGNS = ("gloo", "nccl", "connection closed", "connection reset")
"""In the messages of torch.distributed when another process is gone."""


class LostContact(WorkFailed):
    """Another process ended. What it died of is its own message, and the one to look at."""


@dataclass(frozen=True)
class Ranks:
    """This process among `count`, which share by `strategy`."""

    rank: int = 0
    count: int = 1
    strategy: str = "ddp"
    group: Any = None

    @property
    def lockstep(self) -> bool:
        """Whether every pass through the model is a meeting of all, so that all make as many."""
        return self.strategy != "ddp"

    @property
    def shares_base(self) -> bool:
        """Whether no rank holds the whole base."""
        return strategies.shares_base(self.strategy)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> None:
        """Put the sum over all ranks into each one's `tensor`."""
        if self.count > 1:
            with contact():
                dist.all_reduce(tensor, group=self.group)

    def copy_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Make each rank's tensors those of the first."""
        if self.count > 1:
            with contact(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0, group=self.group)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on the first rank, on all; an error of ours that it raises is raised by all."""
        if self.count == 1:
            return make()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = make()
            except CodeUpError as error:
                box[1] = error
        with contact():
            dist.broadcast_object_list(box, 0, group=self.group)
        if box[1] is not None:
            raise box[1]
        made: T = box[0]
        return made

    @contextlib.contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first rank does what is inside, then the others: they find what it has left in the stage's folder."""
        if not self.first:
            self.from_first(lambda: None)
        yield
        if self.first:
            self.from_first(lambda: None)

    def agree(self, facts: Mapping[str, str]) -> None:
        """UserError, on all, where ranks do not have the same `facts`, by name."""
        if self.count == 1:
            return
        found: list[Any] = [None] * self.count
        with contact():
            dist.all_gather_object(found, dict(facts), group=self.group)
        for name, value in found[0].items():
            others = [str(rank) for rank, known in enumerate(found) if known[name] != value]
            if others:
                who = f"process {', '.join(others)} of {self.count}"
                raise UserError(
                    f"{who} has another {name} than process 0; nothing was trained",
                    mend="start all with the same recipe, data, base and installation",
                )


ALONE = Ranks()


def join(device: str = "auto", strategy: str = "ddp") -> Ranks:
    """Meet the other processes that the environment speaks of (place.py); ALONE where it speaks of none.

    Raises UserError for a strategy, a package, a port, a GPU or a backend that is not there, and LostContact where the
    others do not come within JOIN_S.
    """
    found = place.here()
    if found is None:
        return ALONE
    strategies.require(strategy)
    group = _meet(found, _backend(found, device))
    return Ranks(found.rank, found.count, strategy, group)


def leave() -> None:
    """Close the connections, where there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()
        _meet.cache_clear()


def _backend(found: place.Place, device: str) -> str:
    if device == "cpu" or not torch.cuda.is_available():
        return "gloo"
    if not dist.is_nccl_available():
        raise UserError(
            "this PyTorch has no NCCL, which several GPUs need to speak to each other",
            where="devices",
            mend="install PyTorch's own CUDA build, or set devices: 1",
        )
    refuse_missing_gpus(found.local + 1)
    torch.cuda.set_device(found.local)
    return "cpu:gloo,cuda:nccl"


def refuse_missing_gpus(wanted: int) -> None:
    """UserError where there are fewer GPUs on this machine."""
    there = torch.cuda.device_count()
    if wanted > there:
        raise UserError(
            f"{wanted} GPUs are asked for and PyTorch sees {there} here",
            where="devices",
            mend=f"set devices to {there} or auto, or start at most {there} processes on this machine",
        )


@functools.cache
def _meet(found: place.Place, backend: str) -> Any:
    """The group of all, once for a process. Its patience is longer than that of the meeting itself."""
    started = time.monotonic()
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=JOIN_S))
    except (RuntimeError, ValueError) as error:
        words = str(error).strip().partition("\n")[0]
        if "EADDRINUSE" in words or "address already in use" in words.lower():
            raise UserError(
                f"the port of {found.meeting} is taken by another program",
                where="MASTER_PORT",
                mend="set MASTER_PORT (torchrun: --master-port) to a free one, the same for all processes",
            ) from None
        raise LostContact(
            f"process {found.rank} of {found.count} did not meet the others at {found.meeting} within "
            f"{time.monotonic() - started:.0f} s ({words})"
        ) from None
    return dist.new_group(timeout=WAIT)


@contextlib.contextmanager
def contact() -> Iterator[None]:
    """torch.distributed raises errors of several kinds when a connection breaks: LostContact. Others pass."""
    try:
        yield
    except RuntimeError as error:
        words = str(error).strip().partition("\n")[0]
        if not isinstance(error, dist.DistError) and not any(sign in words.lower() for sign in SIGNS):
            raise
        raise LostContact(f"another process of this training ended, or cannot be reached ({words})") from error


def one_piece(parameters: Sequence[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Zero gradients of all parameters, as views of one tensor (one for each dtype): summed over ranks in one go.

    Backward passes add into a gradient that is there, so no gradient is ever copied.
    """
    pieces = []
    for dtype in dict.fromkeys(p.dtype for p in parameters):
        alike = [p for p in parameters if p.dtype == dtype]
        whole = torch.zeros(sum(p.numel() for p in alike), dtype=dtype, device=alike[0].device)
        for parameter, piece in zip(alike, whole.split([p.numel() for p in alike]), strict=True):
            parameter.grad = piece.view_as(parameter)
        pieces.append(whole)
    return pieces
