"""The training tokens of a recipe's datasets: counted where they are prepared or small, else estimated, or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codeup import models, plugins
from codeup import recipe as recipes
from codeup.evaluate.pairs import find_judged
from codeup.planning.results import Workload
from codeup.train import packing
from codeup.train.tokens import open_tokens
from codeup.types import Artifact, Context, Conversation, Emit, Event, Step

SMALL_BYTES = 32 << 20
"""Local files up to this size are rendered to tokens for the plan; larger ones are counted in characters."""
NANO_ROWS = 50_000
CHARACTERS_PER_TOKEN = 4.0
TEMPLATE_TOKENS = 45
"""What a prompt template adds to a row: the Alpaca text is about 45 tokens."""
SPREAD = 1.5
"""Mean length weighted by tokens over plain mean length, where lengths are not known: their standard deviation taken
as 0.7 of the mean."""
GROUP = {"sft": 1, "dpo": 2}
"""Documents that are packed together: one, or the two answers of a pair."""
KNOWN_ROWS = {
    "wizardlm_evol_instruct_v2": (143_000, 828 / 1.5),
    "metamathqa": (395_000, 355 / 1.5),
    "evol_codealpaca_v1": (111_272, 899 / 1.5),
}
"""Rows of the dataset on the Hub, and tokens per row: the padded tokens per row in the logs that the 2024 CodeUp
study published, divided by 1.5 because batches of four rows of random lengths pad 1.4 to 1.6 times."""


class Data:
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
