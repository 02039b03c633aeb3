"""What a recipe's stages will need, before anything is loaded: `plan_study`.

    recipe -> shape of the base (config.json) ----\\
              tokens of each stage (prepared, read or estimated) -> memory by part, fits or not, hours, cost

Counts training and its evaluations of the held-out loss. Not counted: preparing data, merging, generating answers,
judging them. Every number that is an assumption is named with the result (`method`, `assumed`).
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codeup import models
from codeup import recipe as recipes
from codeup.chat.templates import TEMPLATE_BY_NAME
from codeup.errors import UserError
from codeup.planning.cluster import Load
from codeup.planning.machines import fits, totals
from codeup.planning.results import Measurement, StageNeeds, StudyPlan, Workload
from codeup.planning.tokens import Data
from codeup.train import counts, gpus, needs, operations, packing, probe, shapes, strategies
from codeup.types import Artifact, Emit, Step, ignore_event

if TYPE_CHECKING:
    from codeup.chat import Renderer

UTILISATION = 0.45
"""Share of a GPU's peak that the executed operations are assumed to reach: on an H200 0.46 to 0.50 (benchmarks.md)."""


def plan_study(
    recipe: recipes.Recipe,
    steps: Sequence[Step],
    finished: Mapping[str, Artifact],
    *,
    gpu: str | None = None,
    price: float | None = None,
    utilisation: float = UTILISATION,
    measure: bool = False,
    emit: Emit = ignore_event,
) -> StudyPlan:
    """`steps` are those the recipe compiles to, `finished` the artifacts of steps that are done, by name.

    Raises UserError for an unknown GPU, a model that the arithmetic does not describe, data that cannot be read, or a
    recipe without stages.
    """
    _refuse(recipe, gpu, price, utilisation, measure)
    names, devices = list(gpus.GPUS), recipe.processes or 1
    if gpu:
        name, devices = gpus.find_gpus(gpu)
        names = [name]
    shape, shape_from = base_shape(recipe.model)
    chains = _chains_trained(recipe)
    used = [stage for stage in recipe.stages if any(chain[-1] == stage.name for chain in chains)]
    with tempfile.TemporaryDirectory(prefix="codeup-plan-") as scratch:
        data = Data(recipe, steps, finished, Path(scratch), emit)
        stages = tuple(_stage(recipe, stage, shape, chains, data, devices) for stage in used)
        measurement = _measure(recipe, used[0], shape, data) if measure else None
    speed = _speed(stages[0], measurement)
    reached = None if recipe.model.dtype == "float32" else utilisation  # the peaks are those of bf16
    stages = tuple(
        replace(stage, fits=tuple(fits(stage, recipe.strategy, names, devices, reached, price, speed, measurement)))
        for stage in stages
    )
    assumed = {
        "utilisation": utilisation,
        "price_per_hour": price,
        "devices": devices,
        "context_bytes": needs.CONTEXT_BYTES,
        "allocator_share": needs.ALLOCATOR_SHARE,
        "process_bytes": needs.PROCESS_BYTES,
    }
    hours, study_hours = totals(recipe, stages, chains)
    base = recipe.model.base
    return StudyPlan(recipe.name, base, shape, shape_from, stages, hours, study_hours, assumed, measurement)


def _refuse(recipe: recipes.Recipe, gpu: str | None, price: float | None, utilisation: float, measure: bool) -> None:
    """Raise UserError for what cannot be planned. Here and in what is imported above, nothing heavy is loaded."""
    if not recipe.stages:
        raise UserError("the recipe has no stages: there is nothing to train", mend="`codeup check` shows its steps")
    if price is not None and gpu is None:
        raise UserError("a price needs a GPU to pay for", where="--price", mend="add --gpu, for example --gpu h100")
    if not 0 < utilisation <= 1:
        raise UserError(f"{utilisation} is not a share of the peak", where="--utilisation", mend="use 0.2 to 0.6")
    if measure and not models.is_local(recipe.model.base):
        raise UserError(
            f"{recipe.model.base!r} is not on this machine", where="--measure", mend="give model.base a local folder"
        )
    used = {name for chain in recipe.chains().values() for name in chain}
    for stage in recipe.stages:
        if stage.method == "full" and stage.name in used:
            raise UserError(
                "a stage that trains all weights is not planned yet", where=f"stages.{stage.name}.method",
                mend="count 16 bytes per parameter, and activations as for method: lora",
            )  # fmt: skip


def base_shape(model: recipes.Model) -> tuple[shapes.Shape, str]:
    """The base's sizes and where they are from: its config.json, or the table for gated bases that are not here."""
    if not models.is_local(model.base) and model.base in shapes.PUBLISHED:
        return shapes.PUBLISHED[model.base], "published sizes (arXiv 2407.21783 and Hub pages)"
    config = models.read_config(model.base, model.revision)
    return shapes.shape_of(config, where=f"{model.base}/config.json"), "config.json"


def _chains_trained(recipe: recipes.Recipe) -> list[tuple[str, ...]]:
    """Every chain that ends in a training: each prefix of each variant, once per seed."""
    return recipe.prefixes() * len(recipe.each_seed())


def _stage(
    recipe: recipes.Recipe,
    stage: recipes.Stage,
    shape: shapes.Shape,
    chains: list[tuple[str, ...]],
    data: Data,
    devices: int,
) -> StageNeeds:
    workload, lora = data.workload(stage), stage.lora
    adapter = counts.lora_parameters(shape, lora.r, lora.targets, lora.rank_pattern, dora=lora.dora)
    trainable = adapter + counts.token_row_parameters(shape, _token_rows(recipe.model, lora))
    micro = max(stage.micro_batch_tokens, stage.pack_length)
    work = operations.work(
        shape,
        adapter,
        attended=workload.attended if workload else stage.pack_length,
        trained_share=workload.trained_share if workload else 1.0,
        checkpointing=stage.activation_checkpointing,
    )
    return StageNeeds(
        name=stage.name,
        trainings=sum(chain[-1] == stage.name for chain in chains),
        trainable=trainable,
        total=shape.parameters + trainable,
        epochs=stage.epochs,
        steps=None if workload is None else stage.epochs * packing.steps_per_epoch(workload.tokens, stage.batch_tokens),
        workload=workload,
        work=work,
        evaluated_tokens=0 if workload is None else _evaluated_tokens(stage, workload),
        micro_batch=micro,
        load=_load(recipe, stage, shape, work.executed, trainable, workload.tokens if workload else None),
        gpu=memory_of(recipe, stage, shape, micro, cuda=True, devices=devices, strategy=recipe.strategy),
        alone=memory_of(recipe, stage, shape, micro, cuda=True),
        cpu=memory_of(recipe, stage, shape, micro, cuda=False),
        fits=(),
    )


def _evaluated_tokens(stage: recipes.Stage, workload: Workload) -> int:
    """Tokens of a stage that are only read: evaluations, as far as `eval_share` lets them, and the reference of a
    preference stage, which scores every pair once."""
    mean, evaluated = workload.tokens / max(1, workload.rows), 0.0
    if stage.evals_per_epoch:
        once = min(stage.eval_rows, workload.validation_rows) * mean
        most = max(once, stage.eval_share * 2 * stage.epochs * workload.tokens)  # reading: half the work (selection.py)
        evaluated = round(min(stage.epochs * stage.evals_per_epoch * once, most))
    if stage.kind == "dpo":
        evaluated += round((workload.rows + workload.validation_rows) * mean)
    return int(evaluated)


def _load(
    recipe: recipes.Recipe, stage: recipes.Stage, shape: shapes.Shape, executed: float, trainable: int,
    epoch: int | None,
) -> Load:  # fmt: skip
    """A step in the pieces that train/packing.py deals: whole micro-batches where something is drawn at random
    (dropout, NEFTune), else packs. It has at most the tokens of an epoch."""
    micro = max(stage.micro_batch_tokens, stage.pack_length)
    drawn = stage.lora.dropout > 0 or stage.neftune_alpha > 0
    step_tokens = stage.batch_tokens if epoch is None else max(1, min(stage.batch_tokens, epoch))
    layers = shape.in_layers * (4 if recipe.model.dtype == "float32" else 2)
    return Load(step_tokens, micro if drawn else stage.pack_length, micro, executed, trainable, layers)


def _token_rows(model: recipes.Model, lora: recipes.Lora) -> int:
    """How many tokens have trained rows. Without the tokenizer: those named, or those the template writes and a BOS."""
    wanted = lora.trainable_tokens
    if wanted in ("none", []):
        return 0
    if models.is_local(model.base):
        from codeup.train.token_rows import token_ids

        return len(token_ids(wanted, _renderer(models.locate(model.base, model.revision), model.template)))
    if isinstance(wanted, list):
        return len(set(wanted))
    kind = TEMPLATE_BY_NAME[model.template]
    return 1 + len({*kind.needs, kind.end})


@functools.lru_cache(maxsize=1)
def _renderer(base: Path, template: str) -> Renderer:
    from codeup.chat import load_renderer

    return load_renderer(base, template)


def memory_of(
    recipe: recipes.Recipe,
    stage: recipes.Stage,
    shape: shapes.Shape,
    tokens: int,
    *,
    cuda: bool,
    trained: int | None = None,
    devices: int = 1,
    strategy: str = "ddp",
) -> needs.Memory:
    """What a micro-batch of `tokens` needs of one of `devices` that share as `strategy` says."""
    from codeup.train.base import pick_device, pick_dtype

    wide = recipe.model.dtype == "float32"
    if recipe.model.dtype == "auto" and not cuda:
        wide = pick_dtype("auto", pick_device("cpu"), shape.hidden).itemsize == 4
    return needs.memory(
        shape,
        r=stage.lora.r,
        targets=stage.lora.targets,
        rank_pattern=stage.lora.rank_pattern,
        dora=stage.lora.dora,
        token_rows=_token_rows(recipe.model, stage.lora),
        dropout=stage.lora.dropout,
        tokens=tokens,
        trained=trained,
        bytes_per_weight=4 if wide else 2,
        quantization=recipe.model.quantization,
        checkpointing=stage.activation_checkpointing,
        cuda=cuda,
        shards=devices if strategies.shares_base(strategy) else 1,
        divided=devices if strategy == strategies.ZERO2 else 1,
    )


def _measure(recipe: recipes.Recipe, stage: recipes.Stage, shape: shapes.Shape, data: Data) -> Measurement:
    if stage.kind == "dpo":
        raise UserError(
            f"stage {stage.name!r} is a preference stage, whose steps are not measured", where="--measure",
            mend="put an sft stage first, or leave --measure out",
        )  # fmt: skip
    found = data.folder(stage.data)
    if found is None:
        raise UserError(
            f"data {stage.data!r} is not prepared", where="--measure",
            mend=f"run `codeup run RECIPE --only data-{stage.data}` first",
        )  # fmt: skip
    from codeup.train.token_rows import token_ids

    base = models.locate(recipe.model.base, recipe.model.revision)
    measured = probe.measure(
        model=base,
        tokens=found[0] / "train",
        lora={
            "r": stage.lora.r, "alpha": stage.lora.alpha, "dropout": stage.lora.dropout,
            "targets": stage.lora.targets, "use_rslora": stage.lora.rslora, "use_dora": stage.lora.dora,
            "rank_pattern": stage.lora.rank_pattern, "alpha_pattern": stage.lora.alpha_pattern,
            "token_ids": token_ids(stage.lora.trainable_tokens, _renderer(base, recipe.model.template)),
        },
        tokens_per_batch=stage.batch_tokens,
        pack_length=stage.pack_length,
        micro_batch_tokens=stage.micro_batch_tokens,
        seed=recipe.seed,
        dtype=recipe.model.dtype,
        device=recipe.device,
        quantization=recipe.model.quantization,
        activation_checkpointing=stage.activation_checkpointing,
        compile=stage.compile,
    )  # fmt: skip
    cuda = measured.device.startswith("cuda")
    predicted = memory_of(recipe, stage, shape, measured.largest, cuda=cuda, trained=measured.trained)
    if cuda:  # PyTorch's allocator does not see the CUDA context
        predicted = replace(predicted, context=predicted.context - needs.CONTEXT_BYTES)
    return Measurement(stage.name, measured, predicted)


def _speed(stage: StageNeeds, measurement: Measurement | None) -> float | None:
    """Operations per second, as the first stage's steps reached them."""
    return None if measurement is None else measurement.measured.tokens_per_s * stage.work.executed
