"""What one LLaMA-Factory file says, as a stage of a recipe or as an export.

Defaults are LLaMA-Factory's, so that a key left out means what it means there. Covers one file; which stage follows
which is found in llamafactory.py.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Any

from codeup.errors import UserError
from codeup.interop import datasets
from codeup.interop.files import File
from codeup.interop.keys import MAPPED

ROW_TOKENS = 512
"""Tokens per row where no file can be looked at: 64 rows of the 2024 study held about 32,768 tokens without padding."""
CHARACTERS_PER_TOKEN = 4
"""Rough, for English and code; only used to guess batch_tokens from a local file."""
SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant", "constant_with_warmup": "constant"}
TEMPLATES = ("llama3", "chatml", "alpaca")
DIFFERENT_TEMPLATES = {
    "alpaca": "an input has its own heading here; LLaMA-Factory puts it into the instruction",
    "chatml": "the newline after an answer's end token is not learned here; LLaMA-Factory learns it too",
}
HELD_OUT_EVALUATIONS = 4
MOST_EVALUATED = 2000
READ_OF_EXPORTS = (
    "model_name_or_path", "model_revision", "adapter_name_or_path", "template", "finetuning_type", "export_dir",
)  # fmt: skip
TRACKERS = ("tensorboard", "trackio", "wandb")


@dataclass
class Stage:
    """A training file. `base` and `output_dir` are as written; `settings` and `data` are parts of the recipe."""

    file: File
    name: str
    base: str
    output_dir: str
    overwrite: bool
    shared: dict[str, tuple[Any, str]]
    settings: dict[str, Any]
    data: dict[str, Any]
    rows_per_step: int
    device_rows: int
    batch_how: str
    packed: bool
    report_to: list[str]
    before: Stage | None = None

    @property
    def chain(self) -> tuple[str, ...]:
        return (*(self.before.chain if self.before else ()), self.name)


@dataclass
class Export:
    """An export file: the merge of `adapter` into `base`, to `export_dir`."""

    file: File
    base: str
    revision: str | None
    adapter: str
    template: str
    export_dir: str


def is_export(file: File) -> bool:
    return file.values.get("export_dir") is not None and file.values.get("dataset") is None


def read_export(file: File) -> Export:
    """What an export file says; mistakes are left in the file."""
    for key in file.values:
        if key in MAPPED and key not in READ_OF_EXPORTS:
            file.ignored(key, "says nothing about a merge")
    for key in ("model_name_or_path", "adapter_name_or_path", "export_dir"):
        if not file.text(key):
            file.wrong(key, "is required in an export file")
    adapter = file.text("adapter_name_or_path")
    if "," in adapter:
        file.wrong("adapter_name_or_path", "several adapters at once are not merged here; export one after the other")
    if file.text("finetuning_type", "lora") != "lora":
        file.wrong("finetuning_type", "only lora adapters can be merged here")
    if file.values.get("quantization_bit") is not None:
        file.wrong("quantization_bit", "adapters are merged into the 16-bit weights; leave it out")
    revision = file.text("model_revision", "main")
    return Export(
        file=file,
        base=file.text("model_name_or_path"),
        revision=None if revision == "main" else revision,
        adapter=adapter,
        template=_template(file),
        export_dir=file.text("export_dir"),
    )


def read_stage(file: File, devices: int, row_tokens: int | None, fetch: bool) -> Stage:
    """What a training file says; mistakes are left in the file. `devices` ran it, each row being `row_tokens` long
    (None: guessed from the data). With `fetch` a data set of the Hub is fetched to count its rows."""
    _refuse_other_work(file)
    sources, rows, characters = _sources(file, fetch)
    held_out = _held_out(file, rows)
    batch = _batch(file, devices, row_tokens, characters)
    steps = None if rows is None or batch.packed else max(1, math.ceil((rows - held_out) / max(1, batch.step_rows)))
    return Stage(
        file=file,
        name=_stage_name(file),
        base=file.text("model_name_or_path"),
        output_dir=file.text("output_dir"),
        overwrite=file.flag("overwrite_output_dir"),
        shared=_shared(file),
        settings=_settings(file, batch, held_out, steps),
        data={"sources": sources, "cutoff": batch.cutoff, "overlong": "drop", "validation_rows": held_out},
        rows_per_step=batch.step_rows,
        device_rows=batch.device_rows,
        batch_how=batch.how(),
        packed=batch.packed,
        report_to=_report_to(file),
    )


def _refuse_other_work(file: File) -> None:
    """What a training file must say, and what cannot be done here."""
    for key in ("model_name_or_path", "dataset", "output_dir"):
        if not file.text(key):
            file.wrong(key, "is required in a training file")
    if file.text("stage", "sft") != "sft":
        file.wrong("stage", f"{file.text('stage')} is not done here, only sft (supervised fine-tuning)")
    if not file.flag("do_train", True):
        file.wrong("do_train", "false: nothing would be trained")
    if file.text("finetuning_type", "lora") != "lora":
        file.wrong("finetuning_type", f"{file.text('finetuning_type')} is not done here, only lora")
    if file.values.get("adapter_name_or_path") is not None:
        file.wrong("adapter_name_or_path", "training goes on from a merged model here; export the adapter first")


@dataclass(frozen=True)
class Batch:
    """A step there, so many rows, as a step here, so many tokens: rows x `row_tokens`, at least one pack.

    4 rows per device x 2 accumulation x 8 devices = 64 rows per step; x 512 tokens = 32768
    """

    device_rows: int
    accumulation: int
    devices: int
    row_tokens: int
    row_tokens_how: str
    cutoff: int
    packed: bool

    @property
    def step_rows(self) -> int:
        return self.device_rows * self.accumulation * self.devices

    @property
    def step_tokens(self) -> int:
        return max(self.cutoff, self.step_rows * self.row_tokens)

    @property
    def device_tokens(self) -> int:
        return max(self.cutoff, self.device_rows * self.row_tokens)

    def how(self) -> str:
        """The calculation in words, for the header of the recipe."""
        made = self.step_rows * self.row_tokens
        raised = f", raised to the {self.cutoff} of one pack" if made < self.cutoff else ""
        return (
            f"{self.device_rows} rows x {self.accumulation} accumulation x {self.devices} "
            f"device{'s' * (self.devices != 1)} = {self.step_rows} rows per step; "
            f"x {self.row_tokens} tokens per row ({self.row_tokens_how}) = {made} tokens{raised}"
        )


def _batch(file: File, devices: int, row_tokens: int | None, characters: float | None) -> Batch:
    """`characters` are those of a mean row, None where no file could be looked at."""
    cutoff, packed = file.whole("cutoff_len", 2048), file.flag("packing") or file.flag("neat_packing")
    file.differs(
        "cutoff_len", "longer rows are dropped and counted here; LLaMA-Factory cuts them, mostly in the answer"
    )
    if file.flag("packing") and not file.flag("neat_packing"):
        file.differs("packing", "documents of a pack do not see each other here (as with neat_packing)")
    measured = round(characters / CHARACTERS_PER_TOKEN) if characters else 0
    if packed:
        tokens, how = cutoff, "a pack"
    elif row_tokens:
        tokens, how = row_tokens, "given"
    elif measured:
        tokens, how = measured, f"characters / {CHARACTERS_PER_TOKEN}"
    else:
        tokens, how = ROW_TOKENS, "assumed"
    return Batch(
        device_rows=file.whole("per_device_train_batch_size", 8),
        accumulation=file.whole("gradient_accumulation_steps", 1),
        devices=devices,
        row_tokens=tokens if packed else max(1, min(tokens, cutoff)),
        row_tokens_how=how,
        cutoff=cutoff,
        packed=packed,
    )


def _settings(file: File, batch: Batch, held_out: int, steps: int | None) -> dict[str, Any]:
    """The stage of the recipe; `steps` are those of one epoch, None where they are not known."""
    return {
        "epochs": _epochs(file),
        "learning_rate": file.number("learning_rate", 5e-5),
        "schedule": _schedule(file),
        "warmup_ratio": _warmup(file, steps),
        "batch_tokens": batch.step_tokens,
        "pack_length": batch.cutoff,
        "micro_batch_tokens": batch.device_tokens,
        "weight_decay": file.number("weight_decay", 0.0),
        "max_grad_norm": file.number("max_grad_norm", 1.0),
        "lora": _lora(file),
        **_evaluations(file, held_out, steps),
        "compile": True if file.flag("torch_compile") else "auto",
        "activation_checkpointing": file.flag("gradient_checkpointing", True)
        and not file.flag("disable_gradient_checkpointing"),
    }


def _report_to(file: File) -> list[str]:
    """The trackers that exist here; what else is named is noted. A name alone, a list, or names with commas."""
    names = [name.strip() for name in file.text("report_to", "none").split(",")]
    others = [name for name in names if name not in (*TRACKERS, "none", "")]
    if others:
        why = (
            f"{', '.join(others)} is left out; trackers here are {', '.join(TRACKERS)}, and metrics always go to files"
        )
        file.differs("report_to", why)
    return [name for name in names if name in TRACKERS]


def _sources(file: File, fetch: bool) -> tuple[list[dict[str, Any]], int | None, float | None]:
    """Sources of all data sets, their rows together, and the mean characters of a row; None where not known."""
    names = [name.strip() for name in file.text("dataset").split(",") if name.strip()]
    limit = file.whole("max_samples", 0) or None
    found: list[datasets.Found] = []
    try:
        info = datasets.read_info(file.text("dataset_dir", "data"), file.path.parent) if names else None
    except UserError as error:
        file.wrong("dataset_dir" if "dataset_dir" in file.values else "dataset", f"{error}")
        return [], None, None
    for name in names:
        try:
            assert info is not None
            found.append(datasets.find(info, name, max_rows=limit, fetch=fetch))
        except UserError as error:
            file.wrong("dataset", f"{error}")
    for why in dict.fromkeys(why for one in found for why in one.differs):
        file.differs("dataset", why)
    if limit and any("rows" in one.source for one in found):
        file.differs("max_samples", "the rows are spread evenly over the file here; there they are the first ones")
    rows = [one.rows for one in found]
    measured = [(one.rows, one.characters) for one in found if one.rows and one.characters]
    total = sum(count for count, _ in measured)
    whole = len(measured) == len(found) and total
    characters = sum(count * size for count, size in measured) / total if whole else None
    return [one.source for one in found], None if None in rows else sum(r for r in rows if r), characters


def _held_out(file: File, rows: int | None) -> int:
    """val_size as rows: a share is rounded up, as train_test_split does."""
    size = file.number("val_size", 0.0)
    if size < 0:
        file.wrong("val_size", "should not be negative")
        return 0
    if size < 1:
        if size and rows is None:
            file.wrong("val_size", f"{size:g} of a data set whose rows are not known here; write a number of rows")
        return math.ceil(round(size * (rows or 0), 6))
    return file.whole("val_size", 0)


def _epochs(file: File) -> int:
    epochs = file.number("num_train_epochs", 3.0)
    if epochs < 1 or epochs != int(epochs):
        file.wrong("num_train_epochs", f"{epochs:g}: only whole epochs are trained here")
        return 1
    return int(epochs)


def _schedule(file: File) -> str:
    given = file.text("lr_scheduler_type", "linear")
    if given not in SCHEDULES:
        file.wrong("lr_scheduler_type", f"{given!r} does not exist here; one of {', '.join(SCHEDULES)}")
    return SCHEDULES.get(given, "cosine")


def _warmup(file: File, steps: int | None) -> float:
    """warmup_steps wins over warmup_ratio; plain `constant` has no warm-up whatever is written."""
    ratio, count = file.number("warmup_ratio", 0.0), file.number("warmup_steps", 0)
    if 0 < count < 1:  # transformers 5 reads such a number as a share
        ratio = count
    elif count and steps is None:
        file.wrong(
            "warmup_steps", "a share of all steps is needed here and their number is not known; use warmup_ratio"
        )
    elif count and steps is not None:
        ratio = round(min(0.99, count / (steps * _epochs(file))), 6)
    if ratio and file.text("lr_scheduler_type") == "constant":
        file.differs("lr_scheduler_type", "constant has no warm-up, whatever warmup_ratio or warmup_steps say")
        return 0.0
    return ratio


def _lora(file: File) -> dict[str, Any]:
    rank, target = file.whole("lora_rank", 8), file.text("lora_target", "all").strip()
    names = [name.strip() for name in target.split(",") if name.strip()]
    return {
        "r": rank,
        "alpha": file.number("lora_alpha", 0) or float(2 * rank),
        "dropout": file.number("lora_dropout", 0.0),
        "targets": "all-linear" if names == ["all"] else names,
        "rslora": file.flag("use_rslora"),
    }


def _evaluations(file: File, held_out: int, steps: int | None) -> dict[str, Any]:
    """How often the held-out loss is taken, of at most so many held-out rows as an evaluation here may have."""
    key = "eval_strategy" if "eval_strategy" in file.values else "evaluation_strategy"
    strategy, every = file.text(key, "no"), file.number("eval_steps", 500)
    if strategy not in ("no", "False", "steps", "epoch"):
        file.wrong(key, f"{strategy!r} is not one of no, steps, epoch")
    times = {"epoch": 1}.get(strategy, 0)
    if strategy == "steps":
        times = HELD_OUT_EVALUATIONS
        if every <= 0:
            file.wrong("eval_steps", "should be more than 0")
        elif every < 1:  # transformers reads such a number as a share of all steps
            times = max(1, round(1 / every / _epochs(file)))
        elif steps is not None:
            times = max(1, round(steps / every))
        else:
            file.differs("eval_steps", f"the number of steps is not known here: {times} evaluations per epoch")
    if times and held_out > MOST_EVALUATED:
        file.differs(
            "val_size", f"{MOST_EVALUATED} of the {held_out} held-out rows are evaluated, always the same ones"
        )
    if not (times and held_out):
        return {"evals_per_epoch": 0}
    # as often as the file says, whatever that costs
    return {"evals_per_epoch": times, "eval_rows": min(held_out, MOST_EVALUATED), "eval_share": 1.0}


def _shared(file: File) -> dict[str, tuple[Any, str]]:
    """What a recipe has once: value, and the key it came from."""
    revision, bits = file.text("model_revision", "main"), file.values.get("quantization_bit")
    held = {None: "none", 4: "nf4", 8: "int8"}
    if bits not in held:
        file.wrong("quantization_bit", f"{bits!r} does not exist here; 4 (nf4) and 8 (int8) do")
    precise = "pure_bf16" if file.flag("pure_bf16") else "bf16"
    return {
        "template": (_template(file), "template"),
        "revision": (None if revision == "main" else revision, "model_revision"),
        "dtype": ("bfloat16" if file.flag(precise) else "auto", precise),
        "quantization": (held.get(bits, "none"), "quantization_bit"),
        "seed": (file.whole("seed", 42), "seed"),
    }


def _template(file: File) -> str:
    given = file.text("template")
    if given not in TEMPLATES:
        what = f"{given!r} does not exist here" if given else "is required: the model's own is not read here"
        file.wrong("template", f"{what}; one of {', '.join(TEMPLATES)}")
    elif given in DIFFERENT_TEMPLATES and not is_export(file):
        file.differs("template", DIFFERENT_TEMPLATES[given])
    return given


def _stage_name(file: File) -> str:
    """The last part of output_dir without a leading `sft-`; letters a recipe's name may not have become `-`."""
    last = os.path.basename(os.path.normpath(file.text("output_dir") or file.path.stem))
    plain = re.sub(r"^sft[-_.]+", "", last) or last
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", plain).strip("-._")[:60] or "sft"
