"""Which step's adapter is published: when to evaluate, what is measured, the best of it, and when to stop.

    evaluations      {"step": 40, "eval_loss": 0.61, "pass@1": 0.32}   {"step": 80, "eval_loss": 0.58, "pass@1": 0.30}
    select_by        last: 80      eval_loss: 80 (the lowest)      pass@1: 40 (the highest)
    early_stop 3     stop once three evaluations in a row were no better than the best before them

All of it follows from the settings and from what was measured, never from a clock: a resumed run evaluates after the
same steps, makes the same choice and stops at the same step. So the bound on the time spent here (`share`) is kept in
work, counted before the first step. One token forward and backward through frozen weights is 4 N operations, forward
alone 2 N (docs/training.md); hence FORWARD. The seconds it took are measured too, and only reported.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from codeup.errors import UserError
from codeup.train import packing
from codeup.train.attention import use_segment_attention
from codeup.train.batch import collate_packs
from codeup.train.loop import Progress, Run
from codeup.train.plan import Plan, useful_items
from codeup.train.tokens import TokenStore
from codeup.types import Pack

LAST, EVAL_LOSS, PASS_AT_1 = "last", "eval_loss", "pass@1"
CHOICES = (LAST, EVAL_LOSS, PASS_AT_1)
FORWARD = 0.5
"""Work of a token that is only read, in tokens of training. With recomputed activations it is 1/3: an upper bound."""
GENERATED = 4.0
"""The same of a token that is generated, an assumption: one token a time uses a machine worse than a whole row does."""


@dataclass(frozen=True)
class Scorer:
    """A score (higher is better) that somebody else computes with the model in memory and leaves it unchanged.

    `measure(model, step)` gets it in evaluation mode with its own attention. `work` bounds one measurement, in tokens
    of training; `identity` is what a resumed run must share.
    """

    name: str
    identity: str
    work: float
    measure: Callable[[PreTrainedModel, int], float]


@dataclass(frozen=True)
class Schedule:
    """Numbers of finished steps after which to evaluate; `share` of the training's work is what that costs."""

    after: frozenset[int]
    wanted: int
    share: float

    def note(self, most: float) -> str:
        """Why there are fewer evaluations than asked for, or "" where there are not."""
        made, each = len(self.after), self.share / max(1, len(self.after))
        if made == self.wanted and self.share <= most:
            return ""
        cost = f"an evaluation costs {each:.2%} of the training's work"
        if self.share > most:
            return f"{cost}, more than eval_share {most:.2%}: it is made once, at the end"
        return f"{cost}; eval_share {most:.2%} allows {made} of {self.wanted}, after steps {sorted(self.after)}"


@dataclass(frozen=True)
class Evaluator:
    """What is measured and what follows from it. `packs` is the fixed subset of `store`, packed once."""

    store: TokenStore | None
    packs: Sequence[Pack]
    scorer: Scorer | None
    schedule: Schedule
    select_by: str
    early_stop: int

    @property
    def metric(self) -> str:
        """What evaluations are compared by."""
        return EVAL_LOSS if self.select_by == LAST else self.select_by

    def chosen(self, progress: Progress) -> int | None:
        """The step to publish if training ended now; None for the last one."""
        found = None if self.select_by == LAST else best(progress.evaluations, self.metric)
        return found["step"] if found else None

    def due(self, progress: Progress) -> bool:
        """Whether the step that was just made is to be evaluated and has not been."""
        made = bool(progress.evaluations) and progress.evaluations[-1]["step"] == progress.step
        return progress.step in self.schedule.after and not made

    def exhausted(self, progress: Progress) -> bool:
        """Whether the last `early_stop` evaluations brought nothing better."""
        return bool(self.early_stop) and since_best(progress.evaluations, self.metric) >= self.early_stop


def make_evaluator(
    plan: Plan,
    store: TokenStore | None,
    *,
    rows: int,
    per_epoch: int,
    share: float,
    seed: int,
    scorer: Scorer | None = None,
    select_by: str = LAST,
    early_stop: int = 0,
    group: int = 1,
) -> Evaluator:
    """UserError for a choice that there is nothing to make by."""
    packs = pack_subset(store, rows, seed, plan.capacity, group) if store is not None and per_epoch else []
    work = FORWARD * sum(item.length for item in packs) + (scorer.work if scorer else 0.0)
    wanted = per_epoch if work else 0
    made = Evaluator(store, packs, scorer, make_schedule(plan, wanted, work, share), select_by, early_stop)
    _refuse_without_measure(made, per_epoch)
    return made


def _refuse_without_measure(made: Evaluator, per_epoch: int) -> None:
    if made.select_by not in CHOICES:
        raise UserError(f"unknown select_by {made.select_by!r}", mend=f"choose from: {', '.join(CHOICES)}")
    if made.select_by == LAST and not made.early_stop:
        return
    wish = f"select_by: {made.select_by}" if made.select_by != LAST else f"early_stop: {made.early_stop}"
    if not per_epoch:
        raise UserError(f"{wish} needs evaluations, and evals_per_epoch is 0", mend="set evals_per_epoch to 1 or more")
    if made.metric == EVAL_LOSS and not made.packs:
        raise UserError(f"{wish} needs held-out rows, and there are none", mend="raise validation_rows of the data")
    if made.metric == PASS_AT_1 and (made.scorer is None or made.scorer.name != PASS_AT_1):
        raise UserError(f"{wish} needs problems to answer", mend="name a benchmark under select_on")


def pack_subset(store: TokenStore, rows: int, seed: int, capacity: int, group: int) -> list[Pack]:
    """The same held-out items in every evaluation: at most `rows`, each with something to predict, best fit.

    An item is `group` documents, which share a pack.
    """
    useful = useful_items(store.targets_per_document(), group)
    subset = np.sort(np.random.default_rng(seed).permutation(useful)[:rows])
    if not len(subset):
        return []
    lengths = store.lengths.reshape(-1, group).sum(1)[subset]
    packed = packing.pack(lengths, max(capacity, int(lengths.max())), seed=seed, epoch=0)
    items = [(subset[list(item.documents)].tolist(), item.length) for item in packed]
    return [Pack(tuple(item * group + at for item in found for at in range(group)), length) for found, length in items]


def make_schedule(plan: Plan, per_epoch: int, work: float, share: float) -> Schedule:
    """`per_epoch` evaluations of `work` tokens each, evenly spread; fewer where they would exceed `share`, at least 1.

    40 steps in 4 epochs, 2 per epoch, all tokens 1000, share 0.05, work 10:   5 of 8 fit -> after 8 16 24 32 40
    """
    size, all_steps = plan.steps_per_epoch, plan.total_steps
    inside = {max(1, size * (i + 1) // per_epoch) for i in range(per_epoch)} if per_epoch else set()
    after = {epoch * size + at for epoch in range(plan.epochs) for at in inside}
    wanted, tokens = len(after), plan.tokens_per_epoch * plan.epochs
    if wanted * work > share * tokens:
        fit = max(1, int(share * tokens / work))
        after = {-(-all_steps * (i + 1) // fit) for i in range(fit)}
    return Schedule(frozenset(after), wanted, len(after) * work / tokens)


def evaluate(run: Run, evaluator: Evaluator) -> dict[str, Any]:
    """Measure the model as it is, by all ranks together, and remember it in the run's progress."""
    started = time.perf_counter()
    found: dict[str, Any] = {"step": run.progress.step}
    run.adapter.eval()
    try:
        if evaluator.store is not None and evaluator.packs:
            found |= held_out_means(run, evaluator.store, evaluator.packs)
        if evaluator.scorer is not None:
            found[evaluator.scorer.name] = run.ranks.from_first(functools.partial(_score, run, evaluator.scorer))
    finally:
        run.adapter.train()
    run.progress.evaluations.append(found)
    run.progress.evaluation_seconds += time.perf_counter() - started
    return found


@torch.no_grad()
def held_out_means(run: Run, store: TokenStore, packs: Sequence[Pack]) -> dict[str, float]:
    """The objective's means over the packs, eval_loss among them: the same path and the same memory as training."""
    total = torch.zeros(len(run.objective.figures) + 1, dtype=torch.float64, device=run.device)  # the last: targets
    for micro in run.mine(packs):
        batch = collate_packs(store, micro.packs).to(run.device)
        with run.precision():
            sums = run.objective.sums(run, batch, store, micro.packs)
        total[:-1] += sums * micro.counts
        total[-1] += len(batch.targets) * micro.counts
    run.ranks.sum(total)
    *sums_of_all, trained = total.tolist()
    divisor = run.objective.divisor(packs, int(trained))
    return {f"eval_{name}": value / divisor for name, value in zip(run.objective.figures, sums_of_all, strict=True)}


def _score(run: Run, scorer: Scorer) -> float:
    """Text is generated with padding and a cache, which the segment attention of training knows nothing of."""
    assert not run.ranks.shares_base, "one rank alone cannot use a shared-out model"
    run.model.set_attn_implementation("sdpa")
    try:
        with run.precision():
            return float(scorer.measure(run.model, run.progress.step))
    finally:
        use_segment_attention(run.model)


def best(evaluations: Sequence[Mapping[str, Any]], metric: str) -> Mapping[str, Any] | None:
    """The best evaluation that has the metric; of equal scores the one with the lowest loss, then the earliest.

    Few problems give few different scores, often 0 at first. Not a number is worse than any.
    """

    def badness(found: Mapping[str, Any]) -> tuple[float, float]:
        loss = found.get(EVAL_LOSS, math.inf)
        values = (loss if metric == EVAL_LOSS else -found[metric], loss)
        first, second = (value if math.isfinite(value) else math.inf for value in values)
        return first, second

    return min((found for found in evaluations if metric in found), key=badness, default=None)


def since_best(evaluations: Sequence[Mapping[str, Any]], metric: str) -> int:
    """How many evaluations were made after the best one."""
    found = best(evaluations, metric)
    return 0 if found is None else len(evaluations) - 1 - list(evaluations).index(found)


def account(run: Run, evaluator: Evaluator) -> dict[str, Any]:
    """The part of the summary that says what was measured, what it cost, which step was chosen and why."""
    progress, made = run.progress, run.progress.evaluations
    lowest, chosen = best(made, EVAL_LOSS), evaluator.chosen(progress)
    return {
        "eval_loss": made[-1].get(EVAL_LOSS) if made else None,
        "best_eval_loss": lowest[EVAL_LOSS] if lowest else None,
        "best_eval_step": lowest["step"] if lowest else None,
        "evaluations": made,
        "evaluation_seconds": round(progress.evaluation_seconds, 3),
        "evaluation_share": round(progress.evaluation_seconds / progress.seconds, 4) if progress.seconds else 0.0,
        "evaluation_share_planned": round(evaluator.schedule.share, 4),
        "planned_steps": run.plan.total_steps,
        "select_by": evaluator.select_by,
        "selected_step": chosen or progress.step,
        "selected_because": _because(progress, evaluator, chosen),
    }


def _because(progress: Progress, evaluator: Evaluator, chosen: int | None) -> str:
    metric = evaluator.metric
    why = "the last step"
    if chosen is not None:
        value = next(found[metric] for found in progress.evaluations if found["step"] == chosen)
        end = "lowest" if metric == EVAL_LOSS else "highest"
        why = f"{end} {metric}, {value:.4f}, of {len(progress.evaluations)} evaluations"
        equal = sum(found.get(metric) == value for found in progress.evaluations)
        why += f" (of {equal} equal ones by eval_loss)" if equal > 1 and evaluator.packs else ""
    if evaluator.exhausted(progress):
        why += f"; stopped early: {evaluator.early_stop} evaluations without a better {metric}"
    return why
