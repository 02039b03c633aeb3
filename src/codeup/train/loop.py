"""One training run in memory: a step, its state as a checkpoint and back. Evaluations are in selection.py.

A step, for packs p1 p2 p3 with 40, 25 and 35 trained tokens in two micro-batches:

    row [p1 p2] -> sum of losses / 100 -> backward     row [p3] -> sum of losses / 100 -> backward
    clip -> AdamW -> zero.        The loss is read from the device once per step.

With several ranks (ranks.py) the packs of a step are dealt among them and the gradients summed before the clip: the
same numbers up to rounding, dropout included.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from codeup.errors import UserError, WorkFailed
from codeup.train import checkpoint, packing, ranks, zero
from codeup.train.batch import collate_packs
from codeup.train.decoder import lean_forward
from codeup.train.gradients import MOMENTS, Gradients, Whole
from codeup.train.lora import parameter_groups
from codeup.train.loss import library_forward
from codeup.train.neftune import with_noise
from codeup.train.not_finite import keep_batch
from codeup.train.objective import Objective, Supervised
from codeup.train.plan import Plan, StepReader, learning_rate
from codeup.train.strategies import ZERO2
from codeup.train.tokens import TokenStore
from codeup.types import Pack

ADAPTER = "adapter/"


@dataclass
class Progress:
    """Counters that survive a restart.

    `epoch_loss` is a sum over the `epoch_trained` tokens (preferences: pairs) of the epoch under way; `evaluations` are
    {"step", "eval_loss" and/or a score}, in the order in which they were made.
    """

    step: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    epoch_loss: float = 0.0
    epoch_trained: int = 0
    seconds: float = 0.0
    last_epoch_loss: float | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    evaluation_seconds: float = 0.0

    @property
    def train_loss(self) -> float | None:
        """Mean loss of the last whole epoch, or of the part of the first one that was trained."""
        if self.last_epoch_loss is None and self.epoch_trained:
            return self.epoch_loss / self.epoch_trained
        return self.last_epoch_loss


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step did; `loss` is the mean over its trained tokens, or what else its objective divides by.

    `figures` are the objective's other means, by name.
    """

    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    trained_tokens: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


@dataclass
class Run:
    """Everything a step needs. `clean` is False from the first changed weight until the step is fully reported.

    `adapter` is `model` itself where all weights are trained. `compute`: the dtype of products, if not the model's.
    `drawn`: something (dropout, noise) is drawn at random in each pass. `lean`: the layers are those of decoder.py.
    """

    model: PreTrainedModel
    adapter: PeftModel | PreTrainedModel
    store: TokenStore
    plan: Plan
    out: Path
    learning_rate: float
    warmup_ratio: float
    schedule: str
    weight_decay: float
    max_grad_norm: float
    micro_batch_tokens: int
    seed: int
    objective: Objective = field(default_factory=Supervised)
    plus_ratio: float = 1.0
    neftune_alpha: float = 0.0
    compute: torch.dtype | None = None
    drawn: bool = True
    ranks: ranks.Ranks = ranks.ALONE
    progress: Progress = field(default_factory=Progress)
    clean: bool = True

    def __post_init__(self) -> None:
        self.named = {name: p for name, p in self.adapter.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        groups = parameter_groups(self.named, plus_ratio=self.plus_ratio, weight_decay=self.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
        self.gradients: Gradients = Whole(self.parameters, self.optimizer, self.ranks, self.max_grad_norm)
        self.reader: StepReader = self.plan.reader()
        lean = None if self.ranks.shares_base else lean_forward(self.model)
        self.lean = lean is not None
        self.forward = with_noise(self.model, lean or library_forward(self.model), self.neftune_alpha)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def mine(self, packs: Sequence[Pack], *, whole: bool = False) -> list[packing.Micro]:
        """This rank's share of packs that all ranks go through together."""
        count, lockstep = self.ranks.count, self.ranks.lockstep
        return packing.deal(packs, count, self.micro_batch_tokens, whole=whole, lockstep=lockstep)[self.ranks.rank]

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        compute = self.compute or self.model.dtype
        return contextlib.nullcontext() if compute == torch.float32 else torch.autocast(self.device.type, compute)


def train_step(run: Run) -> StepResult:
    """One optimiser step. WorkFailed, before any weight changes, if the loss or the gradient is not a number."""
    started = time.perf_counter()
    step = run.progress.step
    packs = run.reader(step)
    trained = run.reader.targets(packs)
    divisor = run.objective.divisor(packs, trained)
    total = accumulate(run, packs, divisor)
    norm = run.gradients.norm().to(total.device)
    loss_value, *others, norm_value = torch.cat([total / divisor, norm.double()[None]]).tolist()
    _refuse_not_finite(run, packs, loss_value, norm_value)
    rate = learning_rate(
        step, peak=run.learning_rate, total=run.plan.total_steps, warmup_ratio=run.warmup_ratio, schedule=run.schedule
    )
    run.clean = False
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["scale"]
    run.gradients.step()
    tokens = sum(item.length for item in packs)
    seconds = time.perf_counter() - started
    _count(run, tokens=tokens, trained=trained, divisor=divisor, loss=loss_value, seconds=seconds)
    figures = dict(zip(run.objective.figures[1:], others, strict=True))
    return StepResult(loss_value, rate, norm_value, tokens, trained, seconds, figures)


def accumulate(run: Run, packs: Sequence[Pack], divisor: int) -> torch.Tensor:
    """Add the gradient of the summed loss over `divisor`, of all ranks; returns the objective's sums (k,) over all
    ranks, still on the device."""
    total = torch.zeros(len(run.objective.figures), dtype=torch.float64, device=run.device)
    run.gradients.begin()
    mine = run.mine(packs, whole=run.drawn)
    for at, micro in enumerate(mine, 1):
        torch.manual_seed(step_seed(run.seed, run.progress.step, micro.number))
        batch = collate_packs(run.store, micro.packs).to(run.device)
        with run.precision():
            sums = run.objective.sums(run, batch, run.store, micro.packs)
        run.gradients.add(sums[0] / divisor * micro.counts, last=at == len(mine))
        total += sums.detach() * micro.counts
        del sums  # what its graph still holds, dropout's masks, would last into the next forward pass
    run.gradients.sum()
    run.ranks.sum(total)
    return total


def _count(run: Run, *, tokens: int, trained: int, divisor: int, loss: float, seconds: float) -> None:
    now = run.progress
    now.step += 1
    now.tokens += tokens
    now.trained_tokens += trained
    now.seconds += seconds
    now.epoch_loss += loss * divisor
    now.epoch_trained += divisor
    if now.step % run.plan.steps_per_epoch == 0:
        now.last_epoch_loss = now.epoch_loss / now.epoch_trained
        now.epoch_loss, now.epoch_trained = 0.0, 0


def step_seed(seed: int, step: int, micro: int = 0) -> int:
    """The state of all randomness (dropout) of a micro-batch, from the numbers of its step and its place there."""
    place = f"{seed}/{step}" + (f"/{micro}" if micro else "")
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:7], "big")


def _refuse_not_finite(run: Run, packs: Sequence[Pack], loss: float, norm: float) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    path = run.out / "nan_batch.npz"
    documents = [document for item in packs for document in item.documents]
    try:
        told = keep_batch(
            path if run.ranks.first else None, run.model, run.forward, run.store, documents, run.precision
        )
        kept = f"{told} The batch is in {path}."
    except OSError as error:
        kept = f"The batch could not be kept in {path} ({error.strerror})."
    raise WorkFailed(
        f"step {run.progress.step + 1}: loss {loss}, gradient norm {norm}. {kept} Nothing of this "
        "step was kept; a lower learning_rate, a longer warmup_ratio or max_grad_norm 1.0 usually help."
    )


def save_state(run: Run, root: Path, identity: str, **keeping: Any) -> None:
    """Adapter, moments and counters into a checkpoint, by the first rank. `identity` is what a later run must share to
    continue it; `keeping` says what becomes of the others (checkpoint.save)."""
    tensors = {f"{ADAPTER}{name}": p for name, p in run.named.items()}
    for name, p in run.named.items():
        tensors |= {f"{moment}/{name}": run.gradients.moment(p, moment) for moment in MOMENTS}
    if not run.ranks.first:
        return
    state = {
        "progress": asdict(run.progress),
        "identity": identity,
        "threads": torch.get_num_threads(),
        "ranks": run.ranks.count,
    }
    checkpoint.save(root, run.progress.step, tensors, state, **keeping)


def restore_state(run: Run, saved: checkpoint.Checkpoint, identity: str, root: Path) -> None:
    """Continue `saved`. UserError if it belongs to other data, another base or other settings."""
    if saved.state["identity"] != identity:
        raise UserError(
            "the checkpoints here belong to a training with other data, another base model or other settings",
            where=str(root),
            mend="delete this folder to start afresh, or train into another one",
        )
    if saved.state.get("ranks", 1) == run.ranks.count:
        torch.set_num_threads(saved.state["threads"])
    run.progress = Progress(**saved.state["progress"])
    restore_weights(run, saved)
    for name, p in run.named.items():
        moments = {moment: saved.tensors[f"{moment}/{name}"].to(p.device) for moment in MOMENTS}
        step = torch.tensor(float(saved.step), device=p.device)
        run.optimizer.state[p] = {"step": step, **moments}


def share_state(run: Run) -> None:
    """Give all ranks the first one's weights, moments and counters; under ZeRO-2 they then keep their share of it."""
    run.progress = Progress(**run.ranks.from_first(lambda: asdict(run.progress)))
    done = run.progress.step
    run.ranks.copy_first(p.data for p in run.parameters)
    for p in run.parameters if done else ():
        if not run.ranks.first:
            step = torch.tensor(float(done), device=p.device)
            run.optimizer.state[p] = {"step": step, **{moment: torch.empty_like(p) for moment in MOMENTS}}
        run.ranks.copy_first(run.optimizer.state[p][moment] for moment in MOMENTS)
    if run.ranks.strategy == ZERO2:
        run.gradients = zero.Divided(
            run.parameters, run.optimizer, ranks=run.ranks.count, clip=run.max_grad_norm, step=done
        )


def restore_weights(run: Run, saved: checkpoint.Checkpoint) -> None:
    """The trained weights of a checkpoint, and nothing else of it."""
    for name, p in run.named.items():
        p.data.copy_(saved.tensors[f"{ADAPTER}{name}"])
