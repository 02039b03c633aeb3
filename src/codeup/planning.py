"""What a recipe's stages will need, before anything is loaded: `plan_study`.

    recipe -> shape of the base (config.json) ----\\
              tokens of each stage (prepared, read or estimated) -> memory by part, fits or not, hours, cost

Counts training and its evaluations of the held-out loss. Not counted: preparing data, merging, generating answers,
judging them. Every number that is an assumption is named with the result (`method`, `assumed`).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codeup import models, plugins
from codeup import recipe as recipes
from codeup.errors import UserError
from codeup.evaluate.pairs import find_judged
from codeup.train import needs, packing, probe
from codeup.train.base import pick_device, pick_dtype
from codeup.train.tokens import open_tokens
from codeup.types import Artifact, Context, Conversation, Emit, Event, Step, ignore_event

SMALL_BYTES = 32 << 20
"""Local files up to this size are rendered to tokens for the plan; larger ones are counted in characters."""
NANO_ROWS = 50_000
CHARACTERS_PER_TOKEN = 4.0
TEMPLATE_TOKENS = 45
"""What a prompt template adds to a row: the Alpaca text is about 45 tokens."""
SPREAD = 1.5
"""Mean length weighted by tokens over plain mean length, where lengths are not known: their standard deviation taken
as 0.7 of the mean."""
UTILISATION = 0.4
"""Share of a GPU's peak that the executed operations are assumed to reach. Published runs lie between 0.2 and 0.58."""
GROUP = {"sft": 1, "dpo": 2}
"""Documents that are packed together: one, or the two answers of a pair."""
KNOWN_ROWS = {
    "wizardlm_evol_instruct_v2": (143_000, 828 / 1.5),
    "metamathqa": (395_000, 355 / 1.5),
    "evol_codealpaca_v1": (111_272, 899 / 1.5),
}
"""Rows of the dataset on the Hub, and tokens per row: the padded tokens per row in the logs that the 2024 CodeUp
study published, divided by 1.5 because batches of four rows of random lengths pad 1.4 to 1.6 times."""


@dataclass(frozen=True)
class Workload:
    """Training tokens of a dataset. `attended`: mean document length over tokens; `packs` and `efficiency` if known."""

    rows: int
    tokens: int
    attended: float
    trained_share: float
    validation_rows: int
    packs: int | None
    efficiency: float | None
    method: str


@dataclass(frozen=True)
class Fit:
    """One machine: bytes needed and there, fits/tight/no, hours and cost where they can be said."""

    machine: str
    needs: int
    has: int
    verdict: str
    hours: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class StageNeeds:
    """One stage. `trainings`: how often the study trains it (once per different chain that ends in it and per seed)."""

    name: str
    trainings: int
    trainable: int
    total: int
    epochs: int
    steps: int | None
    workload: Workload | None
    work: needs.Work
    evaluated_tokens: int
    micro_batch: int
    gpu: needs.Memory
    cpu: needs.Memory
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class Measurement:
    """Real steps of the first stage beside what was predicted for exactly these micro-batches."""

    stage: str
    measured: probe.Measured
    predicted: needs.Memory


@dataclass(frozen=True)
class StudyPlan:
    """`hours` by machine and variant; `study_hours` by machine, with what variants share trained once."""

    name: str
    base: str
    shape: needs.Shape
    shape_from: str
    stages: tuple[StageNeeds, ...]
    hours: dict[str, dict[str, float]]
    study_hours: dict[str, float]
    assumed: dict[str, Any]
    measurement: Measurement | None = None


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
    names, devices = list(needs.GPUS), 1
    if gpu:
        name, devices = needs.find_gpus(gpu)
        names = [name]
    shape, shape_from = base_shape(recipe.model)
    chains = _chains_trained(recipe)
    used = [stage for stage in recipe.stages if any(chain[-1] == stage.name for chain in chains)]
    with tempfile.TemporaryDirectory(prefix="codeup-plan-") as scratch:
        data = _Data(recipe, steps, finished, Path(scratch), emit)
        stages = tuple(_stage(recipe, stage, shape, chains, data) for stage in used)
        measurement = _measure(recipe, used[0], shape, data) if measure else None
    speed = _speed(stages[0], measurement)
    reached = None if recipe.model.dtype == "float32" else utilisation  # the peaks are those of bf16
    stages = tuple(
        replace(stage, fits=tuple(_fits(stage, names, devices, reached, price, speed, measurement))) for stage in stages
    )
    assumed = {
        "utilisation": utilisation,
        "price_per_hour": price,
        "devices": devices,
        "context_bytes": needs.CONTEXT_BYTES,
        "allocator_share": needs.ALLOCATOR_SHARE,
        "process_bytes": needs.PROCESS_BYTES,
    }
    hours, study_hours = _totals(recipe, stages, chains)
    base = recipe.model.base
    return StudyPlan(recipe.name, base, shape, shape_from, stages, hours, study_hours, assumed, measurement)


def base_shape(model: recipes.Model) -> tuple[needs.Shape, str]:
    """The base's sizes and where they are from: its config.json, or the table for gated bases that are not here."""
    if not models.is_local(model.base) and model.base in needs.PUBLISHED:
        return needs.PUBLISHED[model.base], "published sizes (arXiv 2407.21783 and Hub pages)"
    config = models.read_config(model.base, model.revision)
    return needs.shape_of(config, where=f"{model.base}/config.json"), "config.json"


def _chains_trained(recipe: recipes.Recipe) -> list[tuple[str, ...]]:
    """Every chain that ends in a training: each prefix of each variant, once per seed."""
    return recipe.prefixes() * len(recipe.each_seed())


def _stage(
    recipe: recipes.Recipe,
    stage: recipes.Stage,
    shape: needs.Shape,
    chains: list[tuple[str, ...]],
    data: _Data,
) -> StageNeeds:
    if stage.method == "full":
        raise UserError(
            "a stage that trains all weights is not planned yet", where=f"stages.{stage.name}.method",
            mend="count 16 bytes per parameter, and activations as for method: lora",
        )  # fmt: skip
    workload = data.workload(stage)
    trainable = needs.lora_parameters(shape, stage.lora.r, stage.lora.targets)
    micro = max(stage.micro_batch_tokens, stage.pack_length)
    work = needs.work(
        shape,
        trainable,
        attended=workload.attended if workload else stage.pack_length,
        trained_share=workload.trained_share if workload else 1.0,
        checkpointing=stage.activation_checkpointing,
    )
    steps: int | None = None
    evaluated = 0
    if workload is not None:
        steps = stage.epochs * packing.steps_per_epoch(workload.tokens, stage.batch_tokens)
        rows = min(stage.eval_rows, workload.validation_rows)
        mean = workload.tokens / max(1, workload.rows)
        once = rows * mean
        most = max(once, stage.eval_share * 2 * stage.epochs * workload.tokens)  # reading: half the work (selection.py)
        evaluated = round(min(stage.epochs * stage.evals_per_epoch * once, most)) if stage.evals_per_epoch else 0
        if stage.kind == "dpo":  # the reference scores every pair once, forward only
            evaluated += round((workload.rows + workload.validation_rows) * mean)
    return StageNeeds(
        name=stage.name,
        trainings=sum(chain[-1] == stage.name for chain in chains),
        trainable=trainable,
        total=shape.parameters + trainable,
        epochs=stage.epochs,
        steps=steps,
        workload=workload,
        work=work,
        evaluated_tokens=evaluated,
        micro_batch=micro,
        gpu=_memory(recipe, stage, shape, micro, cuda=True),
        cpu=_memory(recipe, stage, shape, micro, cuda=False),
        fits=(),
    )


def _memory(
    recipe: recipes.Recipe,
    stage: recipes.Stage,
    shape: needs.Shape,
    tokens: int,
    *,
    cuda: bool,
    trained: int | None = None,
) -> needs.Memory:
    wide = recipe.model.dtype == "float32"
    if recipe.model.dtype == "auto" and not cuda:
        wide = pick_dtype("auto", pick_device("cpu"), shape.hidden).itemsize == 4
    return needs.memory(
        shape,
        r=stage.lora.r,
        targets=stage.lora.targets,
        dropout=stage.lora.dropout,
        tokens=tokens,
        trained=trained,
        bytes_per_weight=4 if wide else 2,
        quantization=recipe.model.quantization,
        checkpointing=stage.activation_checkpointing,
        cuda=cuda,
    )


# --- machines --------------------------------------------------------------------------------------------------------


def _fits(
    stage: StageNeeds,
    names: list[str],
    devices: int,
    reached: float | None,
    price: float | None,
    speed: float | None,
    measurement: Measurement | None,
) -> Iterator[Fit]:
    """The named GPUs, then what is in this machine. `speed`: operations per second that were measured here.

    Several `devices` share the steps: each holds all of the model (so memory is that of one), and no time is counted
    for passing gradients on. The price is that of one card for an hour.
    """
    for name in names:
        card = needs.GPUS[name]
        hours = None if reached is None else _hours(stage, card.flops * reached * devices)
        cost = hours * price * devices if hours is not None and price is not None else None
        needed = stage.gpu.total
        label = card.label if devices == 1 else f"{devices} × {card.label}"
        yield Fit(label, needed, card.memory, needs.verdict(needed, card.memory), hours, cost)
    on_gpu = measurement is not None and measurement.measured.device.startswith("cuda")
    for name, size in _gpus_here():
        hours = _hours(stage, speed) if on_gpu else None
        yield Fit(f"here: {name}", stage.gpu.total, size, needs.verdict(stage.gpu.total, size), hours)
    needed, free = stage.cpu.total + needs.PROCESS_BYTES, _free_memory()
    yield Fit(
        "here: CPU, free RAM", needed, free, needs.verdict(needed, free), None if on_gpu else _hours(stage, speed)
    )


def _hours(stage: StageNeeds, operations_per_s: float | None) -> float | None:
    if operations_per_s is None or stage.workload is None:
        return None
    training = stage.epochs * stage.workload.tokens * stage.work.executed
    return (training + stage.evaluated_tokens * stage.work.forward) / operations_per_s / 3600


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _gpus_here() -> list[tuple[str, int]]:
    """Names and memory of NVIDIA cards, as the driver's own tool lists them; none without it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line] if done.returncode == 0 else []
    return [(name.strip(), int(size) * needs.MIB) for name, size in rows if size.strip().isdigit()]


def _totals(
    recipe: recipes.Recipe, stages: tuple[StageNeeds, ...], chains: list[tuple[str, ...]]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Hours of each variant and of the study, by machine, where the hours of every stage are known."""
    variants: dict[str, dict[str, float]] = {}
    whole: dict[str, float] = {}
    for at, fit in enumerate(stages[0].fits):
        known = {stage.name: hours for stage in stages if (hours := stage.fits[at].hours) is not None}
        if len(known) == len(stages):
            variants[fit.machine] = {
                name: sum(known[s] for s in chain) * len(recipe.each_seed()) for name, chain in recipe.chains().items()
            }
            whole[fit.machine] = sum(known[chain[-1]] for chain in chains)
    return variants, whole


# --- tokens ----------------------------------------------------------------------------------------------------------


class _Data:
    """The tokens of a recipe's datasets, each looked up once: of the run folder, prepared now, or estimated."""

    def __init__(
        self,
        recipe: recipes.Recipe,
        steps: Sequence[Step],
        finished: Mapping[str, Artifact],
        scratch: Path,
        emit: Emit,
    ) -> None:
        self.recipe, self.finished, self.scratch, self.emit = recipe, finished, scratch, emit
        self.steps = {step.name: step for step in steps}
        self._folders: dict[str, tuple[Path, str] | None] = {}

    def folder(self, name: str) -> tuple[Path, str] | None:
        """The prepared dataset and how it came to be, or None where preparing it takes too much for a plan."""
        if name not in self._folders:
            self._folders[name] = self._find(name)
        return self._folders[name]

    def _find(self, name: str) -> tuple[Path, str] | None:
        step = self.steps[f"data-{name}"]
        if step.name in self.finished:
            return Path(self.finished[step.name].folder), "counted in the prepared data of the run folder"
        if not models.is_local(self.recipe.model.base) or not self._small(name):
            return None
        self.emit(Event("note", step.name, text="reading the files for the plan"))
        inputs = {need: self._make(self.steps[need], {}) for need in step.inputs}
        return Path(self._make(step, inputs).folder), "counted in the files"

    def _make(self, step: Step, inputs: dict[str, Artifact]) -> Artifact:
        """Run a data step in the scratch folder, once."""
        folder = self.scratch / step.name
        summary: dict[str, Any] = {}
        if not folder.is_dir():
            folder.mkdir()
            module = plugins.load("steps", step.kind)
            spec = module.Spec.model_validate(dict(step.spec))
            summary = module.run(spec, Context(folder=folder, step=step.name, inputs=inputs))
        return Artifact(step.name, step.kind, str(folder), "", summary, 0.0)

    def _small(self, name: str) -> bool:
        size = 0
        for entry in self.recipe.data[name].pairs:
            if (files := self._pair_files(entry)) is None:
                return False
            size += sum(path.stat().st_size for path in files)
        for source in self.recipe.data[name].sources:
            if source.path and source.path.startswith("nano:"):
                size += SMALL_BYTES * (source.rows or 0) // NANO_ROWS
            elif (files := self._local_files(source)) is None:
                return False
            else:
                size += sum(path.stat().st_size for path in files)
        return size <= SMALL_BYTES

    def _pair_files(self, entry: recipes.Pairs) -> list[Path] | None:
        if not entry.verdicts:
            return self._local_files(recipes.Source(source=entry.source, path=entry.path, revision=entry.revision))
        root = Path(self.recipe.data_root or ".")
        return [judged.samples for judged in find_judged(root / entry.verdicts)]

    def _local_files(self, source: recipes.Source) -> list[Path] | None:
        """The files of a source, or None where the Hub would have to be asked."""
        from codeup.data.resolve import parse_hub, resolve

        root = Path(self.recipe.data_root) if self.recipe.data_root else None
        if not source.path or source.path.startswith(("hub:", "nano:")):
            return None
        if parse_hub(source.path) and not ((root or Path()) / source.path).exists():
            return None
        return resolve(source.path, root, source.revision)

    def workload(self, stage: recipes.Stage) -> Workload | None:
        """None where nobody can say before the data is there."""
        found = self.folder(stage.data)
        if found is not None:
            return _counted(*found, stage, self.recipe.seed)
        dataset = self.recipe.data[stage.data]
        if dataset.pairs:
            return None
        parts = [self._estimate(source, dataset) for source in dataset.sources]
        if any(part is None for part in parts):
            return None
        rows, tokens = sum(part[0] for part in parts if part), sum(part[1] for part in parts if part)
        mean = tokens / max(1, rows)
        held_out = min(dataset.validation_rows, rows // 2)
        method = "; ".join(dict.fromkeys(part[2] for part in parts if part))
        left = rows - held_out
        return Workload(left, round(left * mean), SPREAD * mean, 1.0, held_out, None, None, f"estimate: {method}")

    def _estimate(self, source: recipes.Source, dataset: recipes.Dataset) -> tuple[int, float, str] | None:
        """Rows, tokens and the method, without a tokenizer."""
        files = self._local_files(source)
        if files is not None:
            return self._by_characters(source, files, dataset.cutoff)
        if source.path or source.source not in KNOWN_ROWS:
            return None
        there, mean = KNOWN_ROWS[source.source]
        rows = min(there, source.rows or there)
        return rows, rows * mean, "rows of the public dataset times the tokens per row that the 2024 study's logs imply"

    def _by_characters(self, source: recipes.Source, files: list[Path], cutoff: int) -> tuple[int, float, str]:
        from codeup.data.load import load_source

        lengths = []
        for item in load_source(source.source, files, columns=source.columns, limit=source.rows, seed=self.recipe.seed):
            if isinstance(item, Conversation):
                characters = sum(len(turn.content) + len(turn.input) for turn in item.messages)
                lengths.append(characters / CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS)
        kept = [length for length in lengths if length <= cutoff]
        return len(kept), sum(kept), f"{CHARACTERS_PER_TOKEN:.0f} characters a token and {TEMPLATE_TOKENS} of template"


def _counted(folder: Path, method: str, stage: recipes.Stage, seed: int) -> Workload:
    """From token arrays, packed as the first epoch will be. Rows of a preference stage are pairs of documents."""
    store, validation = open_tokens(folder / "train"), open_tokens(folder / "validation")
    group = GROUP[stage.kind]
    targets = store.targets_per_document().reshape(-1, group)
    useful = targets.min(1) > 0
    documents = store.lengths.reshape(-1, group)[useful]
    lengths = documents.sum(1)
    packs = packing.pack(lengths, stage.pack_length, seed=seed, epoch=0)
    tokens = int(lengths.sum())
    return Workload(
        rows=len(lengths),
        tokens=tokens,
        attended=float(np.square(documents).sum() / max(1, tokens)),
        trained_share=float(targets[useful].sum() / max(1, tokens)),
        validation_rows=len(validation) // group,
        packs=len(packs),
        efficiency=packing.efficiency(packs, stage.pack_length),
        method=method,
    )


# --- measured --------------------------------------------------------------------------------------------------------


def _measure(recipe: recipes.Recipe, stage: recipes.Stage, shape: needs.Shape, data: _Data) -> Measurement:
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
    measured = probe.measure(
        model=models.locate(recipe.model.base, recipe.model.revision),
        tokens=found[0] / "train",
        lora={
            "r": stage.lora.r, "alpha": stage.lora.alpha, "dropout": stage.lora.dropout,
            "targets": stage.lora.targets, "use_rslora": stage.lora.rslora, "use_dora": stage.lora.dora,
            "rank_pattern": stage.lora.rank_pattern, "alpha_pattern": stage.lora.alpha_pattern,
        },
        tokens_per_batch=stage.batch_tokens,
        pack_length=stage.pack_length,
        micro_batch_tokens=stage.micro_batch_tokens,
        seed=recipe.seed,
        dtype=recipe.model.dtype,
        device=recipe.device,
        quantization=recipe.model.quantization,
        activation_checkpointing=stage.activation_checkpointing,
    )  # fmt: skip
    cuda = measured.device.startswith("cuda")
    predicted = _memory(recipe, stage, shape, measured.largest, cuda=cuda, trained=measured.trained)
    if cuda:  # PyTorch's allocator does not see the CUDA context
        predicted = replace(predicted, context=predicted.context - needs.CONTEXT_BYTES)
    return Measurement(stage.name, measured, predicted)


def _speed(stage: StageNeeds, measurement: Measurement | None) -> float | None:
    """Operations per second, as the first stage's steps reached them."""
    return None if measurement is None else measurement.measured.tokens_per_s * stage.work.executed
