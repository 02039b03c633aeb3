"""The recipe: one YAML file that holds a whole study, as typed and documented settings.

    load("recipes/nano.yaml", ["stages.code.epochs=1"])  ->  Recipe

Every mistake is reported at once, each as `file:line: path: message` with the offending line and, for a misspelt key or
name, the nearest right one. Nothing heavy is imported here: a recipe is validated before torch is.
A setting is documented once, by the `description` of its field; `codeup list settings` and docs are made from that.
Does not check what only the data can tell (columns, lengths); the steps do, in their own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from codeup import executors
from codeup import recipe_checks as checks
from codeup import recipe_text as text
from codeup.errors import UserError

Template = Literal["alpaca", "llama3", "chatml"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]
"""Names become parts of folder names, so they hold letters, digits, `_`, `.` and `-` only."""


BenchmarkName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=60)]
"""As their papers call them: humaneval+."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values are not coerced from strings, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Model(Section):
    """The base model that the first stage starts from."""

    base: str = Field(description="model folder, Hub id, or nano-base (the packaged demonstration model)")
    revision: str | None = Field(None, description="Hub revision (branch, tag or commit) of the base model")
    template: Template = Field("alpaca", description="prompt template, saved with every model that is made")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic for training; auto takes bfloat16 where the machine is fast at it"
    )
    quantization: Literal["none", "nf4", "int8"] = Field(
        "none", description="how the frozen base is held while training; nf4 (4 bits) and int8 need codeup[qlora]"
    )


class Source(Section):
    """Rows of one dataset."""

    source: str = Field(description="how rows are read: a name of `codeup list sources`, or a dotted module of yours")
    path: str | None = Field(
        None,
        description="file, folder or glob (from data_root), hub:OWNER/NAME, or nano:SET; default: its Hub dataset",
    )
    rows: int | None = Field(None, ge=1, description="use at most this many rows, chosen evenly and reproducibly")
    columns: dict[str, str] = Field(
        default_factory=dict, description="column mapping, wanted name: name in your file (e.g. output: answer)"
    )
    revision: str | None = Field(None, description="Hub revision of the dataset")
    expect_rows: int | None = Field(
        None, ge=1, description="conversations it is known to have; a count that is more than 2 % off is a warning"
    )
    licence: str | None = Field(
        None, description="licence of these rows as you know it (e.g. cc-by-4.0), beside what is known of the dataset"
    )
    weight: float | None = Field(
        None,
        gt=0,
        description="this source's share of the examples, relative to the weights of the others; rows beyond it are "
        "dropped (reason: mix). Give every source of the data one, or none",
    )
    cap: int | None = Field(None, ge=1, description="at most this many rows, chosen after all other drops")
    epochs: float = Field(
        1.0, ge=1, description="how often a training row of this source comes in one epoch; 1.5: half of them twice"
    )


class Against(Section):
    """A benchmark whose problems must not be in the training data."""

    name: BenchmarkName = Field(description="what the benchmark is called in the report")
    path: str = Field(description="its file: HumanEval, HumanEval+, MBPP, MBXP, GSM8K or any JSONL (from data_root)")
    columns: dict[str, str] = Field(
        default_factory=dict, description="columns of a file of your own: prompt, solution, test, entry_point, task_id"
    )


class Pairs(Section):
    """Preference pairs: rows with a chosen and a rejected answer, or judged answers that passed and failed."""

    path: str | None = Field(None, description="file, folder or glob (from data_root), or hub:OWNER/NAME, of pairs")
    source: str = Field("preferences", description="how rows of `path` are read: a name of `codeup list sources`")
    rows: int | None = Field(None, ge=1, description="use at most this many rows, chosen evenly and reproducibly")
    columns: dict[str, str] = Field(default_factory=dict, description="column mapping, wanted name: name in your file")
    revision: str | None = Field(None, description="Hub revision of the dataset")
    verdicts: str | None = Field(
        None, description="instead of path: a run folder or a folder of `codeup evaluate`, several answers per problem"
    )
    problems: str | None = Field(
        None, description="the file of problems that the verdicts are on; default: that of the run or the benchmark"
    )
    per_problem: int = Field(4, ge=1, description="at most this many pairs for one problem of the verdicts")
    allow_evaluated: bool = Field(
        False, description="take verdicts on problems that the study is evaluated on; its scores then mean nothing"
    )


class Length(Section):
    """Limits on conversations, in characters and turns."""

    max_characters: int | None = Field(None, ge=1, description="most characters of all turns together")
    min_answer: int | None = Field(None, ge=1, description="fewest characters of an answer")
    max_turns: int | None = Field(None, ge=2, description="most questions and answers together")


Hidden = Literal["off", "report", "mask", "drop"]


class Filters(Section):
    """What is left out because of what is in it; all of it is off by default, and every drop is counted."""

    length: Length = Field(default_factory=Length, description="conversations that are too long or too short")
    code_languages: list[str] = Field(
        default_factory=list, description="keep only rows whose answers hold code in these languages, or none; []: all"
    )
    code_parses: list[str] = Field(
        default_factory=list, description="languages whose code in answers must parse (python; others: codeup[code])"
    )
    code_compiles: list[str] = Field(
        default_factory=list, description="languages whose code in answers their compiler must take, in the sandbox"
    )
    code_runs: list[str] = Field(
        default_factory=list, description="languages whose code must also end well when it is run in the sandbox"
    )
    natural_languages: list[str] = Field(
        default_factory=list, description="keep only rows whose prose is in these, as [en, de]; needs codeup[code]"
    )
    secrets: Hidden = Field("off", description="keys, tokens and private keys: count, mask, or drop the row")
    personal: Hidden = Field("off", description="e-mail and public IP addresses: count, mask, or drop the row")
    report_only: bool = Field(False, description="leave nothing out: only count what the filters would leave out")


class Dataset(Section):
    """Training data for one kind of stage: examples (sources), or preferences (pairs)."""

    sources: list[Source] = Field(default_factory=list, description="what examples are read from; for sft stages")
    pairs: list[Pairs] = Field(default_factory=list, description="what pairs are read or made from; for dpo stages")
    cutoff: int = Field(2048, ge=8, description="longest example in tokens, prompt and one answer together")
    overlong: Literal["drop", "cut_turns", "split_turns"] = Field(
        "drop",
        description="longer examples: drop them (counted), cut whole turns from the end until they fit, or split them "
        "between turns into several",
    )
    rules: dict[str, bool] = Field(
        default_factory=dict, description="salvage rules to switch on or off, by name (`codeup list rules`)"
    )
    filters: Filters = Field(default_factory=Filters, description="rows to leave out because of their content")
    dedup: Literal["none", "exact", "near"] = Field(
        "exact", description="rows that repeat an earlier one: keep, drop equal ones, or drop very similar ones too"
    )
    near_threshold: float = Field(
        0.8, gt=0, le=1, description="with dedup: near, the Jaccard similarity of 5-word runs from which rows repeat"
    )
    decontaminate: list[Against] = Field(
        default_factory=list, description="benchmarks whose problems are looked for in the rows"
    )
    contaminated: Literal["drop", "report"] = Field(
        "drop", description="rows that hold a benchmark problem: drop them, or only report them"
    )
    textbook: int = Field(
        4,
        ge=0,
        description="a solution that so many unrelated requests have is no contamination; 0: it always is",
    )
    expect_rows: int | None = Field(
        None, ge=1, description="conversations without duplicates, over all sources; more than 2 % off is a warning"
    )
    validation_rows: int = Field(200, ge=0, description="examples held out for evaluation loss, whole groups at a time")


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    r: int = Field(32, ge=1, description="rank of the adapters")
    alpha: float = Field(64, gt=0, description="scale; the update is alpha / r * B A")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["all-linear"] | list[str] = Field(
        "all-linear", description="which linear layers get adapters; all-linear includes gate_proj"
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(r) instead (rank-stabilised LoRA)")
    dora: bool = Field(False, description="train the length of each row apart (DoRA, arXiv 2402.09353); slower")
    init: Literal["zero", "pissa", "pissa_fast"] = Field(
        "zero", description="begin with no change, or with the largest singular directions (PiSSA, arXiv 2404.02948)"
    )
    plus_ratio: float = Field(
        1.0, gt=0, description="learning rate of B over that of A (LoRA+, arXiv 2402.12354: 16); 1 switches it off"
    )
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="other ranks by end of layer name or regular expression, {down_proj: 8}"
    )
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="other alphas, in the same way"
    )
    trainable_tokens: Literal["none", "template"] | list[str | int] = Field(
        "none", description="rows of embedding and head to train: tokens or ids, or those the template writes"
    )
    token_init: Literal["keep", "mean"] = Field(
        "keep", description="trained rows that the base never learned begin as they are, or as the mean of the others"
    )


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290); read by stages of kind dpo."""

    beta: float = Field(0.1, gt=0, description="how strongly the model is held to the one the stage starts from")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of pairs taken to be labelled the wrong way round; loss sigmoid only"
    )
    loss: Literal["sigmoid", "ipo"] = Field(
        "sigmoid", description="sigmoid (DPO), or ipo (Azar et al. 2023, arXiv 2310.12036)"
    )


class Stage(Section):
    """One round of training, followed by a merge; the next stage starts from the merged model."""

    name: Name = Field(description="the stage's name, used in variants and in the report")
    kind: Literal["sft", "dpo"] = Field(
        "sft", description="what the stage does: supervised fine-tuning, or direct preference optimisation"
    )
    data: str = Field(description="name of an entry under data")
    method: Literal["lora", "full"] = Field(
        "lora", description="train adapters, or all weights (16 bytes of memory per parameter)"
    )
    epochs: int = Field(3, ge=1, description="passes over the training examples")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="after the warm-up")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="share of the steps in which the rate rises from 0")
    batch_tokens: int = Field(32768, ge=1, description="tokens per optimiser step, over all devices")
    pack_length: int = Field(4096, ge=8, description="tokens per packed sequence; documents in it are isolated")
    micro_batch_tokens: int = Field(4096, ge=1, description="tokens per forward pass, a matter of memory only")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, ge=0, description="gradient clipping; 0 switches it off")
    lora: Lora = Field(default_factory=Lora, description="adapter settings")
    dpo: Dpo = Field(default_factory=Dpo, description="preference settings, for kind: dpo")
    neftune_alpha: float = Field(
        0.0, ge=0, description="noise on the embeddings while training (NEFTune, arXiv 2310.05914: 5); 0: none"
    )
    evals_per_epoch: int = Field(4, ge=0, description="evaluations of the held-out loss per epoch; 0: none")
    eval_rows: int = Field(500, ge=1, le=2000, description="at most this many held-out examples are evaluated")
    eval_share: float = Field(
        0.05,
        gt=0,
        le=1,
        description="most that evaluations may cost, as a share of the training's work; fewer are made",
    )
    select_by: Literal["last", "eval_loss", "pass@1"] = Field(
        "last", description="whose adapter is published: the last step's, or the evaluated one with the best value"
    )
    select_on: Benchmark | None = Field(
        None, description="select_by pass@1: problems to run, without those that evaluate.benchmarks ask"
    )
    early_stop: int = Field(0, ge=0, description="stop after so many evaluations without a better value; 0: never")
    checkpoint_seconds: float = Field(300, gt=0, description="seconds between checkpoints, where a kill resumes from")
    keep_last: int = Field(2, ge=1, description="checkpoints kept while training, besides the best one")
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="make kernels of norms, rotation, SwiGLU and dropout by torch.compile; auto: on CUDA only. "
        "The last digits differ",
    )
    activation_checkpointing: bool = Field(False, description="recompute activations: less memory, a third more time")


class Benchmark(Section):
    """A benchmark that every chosen model is run on."""

    name: str = Field(description="a name of `codeup list benchmarks`, or a dotted module of yours")
    path: str | None = Field(None, description="data file (relative to data_root); default: packaged or from the Hub")
    languages: list[str] = Field(
        default_factory=list,
        description="of a benchmark with one file per language: run on each of these; path is then the files' folder",
    )
    limit: int | None = Field(None, ge=1, description="only the first problems; scores then say so")
    samples: int = Field(1, ge=1, description="answers per problem")
    pass_at: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list,
        description="pass@k for these k, besides 1 (the unbiased estimate of Chen et al. 2021); []: 10, 100 and the "
        "number of samples, as far as there are samples",
    )
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus sampling")
    max_new_tokens: int = Field(512, ge=1, description="longest answer in tokens")
    batch_size: int = Field(32, ge=1, description="answers generated side by side")
    prompt: Literal["default", "codeup-2024", "evalplus"] = Field(
        "default", description="how problems are put: our way, the 2024 CodeUp study's, or EvalPlus's"
    )
    extract: Literal["codeup", "codeup-2024", "evalplus"] = Field(
        "codeup", description="how the program is taken out of an answer: our way, the 2024 study's, or EvalPlus's"
    )
    compat: Literal["evalplus", "evalplus-0.3.1"] = Field(
        "evalplus", description="humaneval_plus, mbpp_plus: whose rules and time limits, EvalPlus's HEAD or its release"
    )
    timeout_s: float = Field(10.0, gt=0, description="CPU seconds one program may use")
    memory_mb: int = Field(2048, ge=64, description="memory one program may use")


Stage.model_rebuild()  # its select_on is a Benchmark


class Require(Section):
    """A threshold: when it is missed, `codeup run` finishes the report and then exits 3."""

    model: str = Field(description="a model of the study, e.g. the name of a variant")
    benchmark: str = Field(description="a benchmark of the study")
    at_least: float = Field(ge=0, le=1, description="smallest acceptable pass@1")


class Evaluate(Section):
    """What is measured, and how programs are run."""

    benchmarks: list[Benchmark] = Field(min_length=1, description="benchmarks, each run on every model of the study")
    base_forms: list[Literal["base", "chat"]] = Field(
        ["base", "chat"],
        min_length=1,
        description="prompt forms for the base model; tuned models are always chatted to",
    )
    workers: int | None = Field(None, ge=1, description="judge processes; default: one per CPU core")
    allow_unsafe: bool = Field(False, description="run programs even where this machine allows no real sandbox")
    require: list[Require] = Field(default_factory=list, description="thresholds")


class Report(Section):
    """The report page."""

    title: str | None = Field(None, description="title of the page; default: the recipe's name")
    failures: int = Field(3, ge=0, description="examples shown per model, benchmark and kind of failure")
    compare_to: str = Field(
        "best",
        description="row of the table that the others are tested against: a variant, base, best, or before (row above)",
    )


Tracker = Literal["tensorboard", "trackio", "wandb"]


class Recipe(Section):
    """A whole study."""

    name: Name = Field(description="the study's name")
    seed: int = Field(0, ge=0, description="all randomness derives from this and the step's name")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=1,
        description="train and evaluate every variant once per seed, as VARIANT@SEED; data is prepared with `seed`",
    )
    run_dir: str | None = Field(None, description="where everything is written; default runs/NAME")
    executor: Annotated[str, StringConstraints(pattern=executors.NAMES)] = Field(
        "local",
        description="who prepares data, generates and judges: local (this machine), ray (the cluster of RAY_ADDRESS, "
        "or one started here), or the address of a Ray cluster, ray://HOST:PORT or HOST:PORT",
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="copies of a model that answer at once on a cluster; default: one per GPU, else per node",
    )
    devices: Literal["auto", "cpu", "cuda"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="where models run: auto (GPUs if there are any; training takes all of them), cpu, cuda (one GPU); "
        "or how many GPUs train together (on a machine without any: how many processes)",
    )
    strategy: Literal["ddp", "fsdp2", "deepspeed-zero2", "deepspeed-zero3"] = Field(
        "ddp",
        description="several devices: each holds the whole base (ddp), or its share of it (fsdp2, deepspeed-zero3; for "
        "large ones), or its share of what training adds to it (deepspeed-zero2, for method: full)",
    )
    data_root: str | None = Field(None, description="folder that relative data paths start from; default: here")
    report_to: Literal["none"] | Tracker | list[Tracker] = Field(
        "none", description="trackers that get the metrics of training too: tensorboard, trackio, wandb (codeup[track])"
    )
    model: Model = Field(description="the base model")
    data: dict[Name, Dataset] = Field(default_factory=dict, description="training data, by name")
    stages: list[Stage] = Field(default_factory=list, description="training stages; see variants")
    variants: dict[Name, list[str]] | None = Field(
        None, description="chains of stages to train and evaluate, by name; default: every prefix of stages"
    )
    ablate: Literal["stages"] | None = Field(
        None,
        description="instead of variants: stages makes one of every choice of stages that ends in the last, as `full`, "
        "`a-c`, `b-c`, `c` of a, b, c",
    )
    evaluate: Evaluate | None = Field(None, description="benchmarks; without it the study only trains")
    report: Report = Field(default_factory=Report, description="the report page")

    def chains(self) -> dict[str, tuple[str, ...]]:
        """Variant name -> stage names in order.

        >>> parse("{name: x, model: {base: b}, data: {d: {sources: [{source: alpaca}]}}, "
        ...     "stages: [{name: a, data: d}, {name: b, data: d}]}").chains()
        {'a': ('a',), 'a-b': ('a', 'b')}
        """
        if self.variants is not None:
            return {name: tuple(stages) for name, stages in self.variants.items()}
        return checks.default_chains([stage.name for stage in self.stages], self.ablate)

    def prefixes(self) -> list[tuple[str, ...]]:
        """Every chain that ends in a training: each prefix of each variant once, shorter before longer.

        Variants x: [a, b], y: [a, c] and z: [c] give a, a b, a c, c: what they have in common is trained once.
        """
        return list(dict.fromkeys(chain[: n + 1] for chain in self.chains().values() for n in range(len(chain))))

    def each_seed(self) -> Sequence[int | None]:
        """The seeds of `seeds`; one None where there are none, and `seed` is meant."""
        return self.seeds or [None]

    @property
    def device(self) -> str:
        """Where one model runs: auto, cpu or cuda."""
        return self.devices if isinstance(self.devices, str) else "auto"

    @property
    def processes(self) -> int | None:
        """How many processes train together; None where that is left to what there is."""
        return self.devices if isinstance(self.devices, int) else None

    def trackers(self) -> list[str]:
        """What `report_to` names."""
        if isinstance(self.report_to, list):
            return list(dict.fromkeys(self.report_to))
        return [] if self.report_to == "none" else [self.report_to]

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)


def load(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe file, apply `key=value` overrides, and check everything. Raises UserError with every mistake."""
    return parse(text.read(Path(path)), name=str(path), overrides=overrides or [])


def parse(source: str, *, name: str = "recipe", overrides: list[str] | None = None) -> Recipe:
    """Check a recipe given as text. `name` stands for the file in messages."""
    document = text.Document(source, name)
    document.override(overrides or [])
    problems = list(document.problems)
    recipe = None
    try:
        recipe = Recipe.model_validate(document.value)
    except ValidationError as error:
        problems += text.explain_all(error.errors(), Recipe)
    problems += checks.check_references(document.value, Recipe)
    if recipe is not None:
        problems += checks.check_conflicts(recipe)
    problems += checks.check_sizes(document.value, Recipe)
    if problems:
        raise UserError(document.render(problems))
    assert recipe is not None
    return recipe


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every default written out; parsing it gives the same recipe."""
    import yaml

    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
