"""LLaMA-Factory's training and export YAML as a CodeUp recipe.

    sft_a.yaml    model B        -> saves/a              stage a
    merge_a.yaml  B + saves/a    -> models/a             (every stage is merged here)
    sft_b.yaml    model models/a -> saves/b              stage b, after a: variants {a: [a], a-b: [a, b]}

A stage follows another where its model_name_or_path is the export_dir of an export whose adapter is the other's
output_dir. Every key is mapped, or ignored with its reason (a Note), or refused with file:line (keys.py); all
mistakes of all files are reported at once. Two things are not in these files and have to be said: on how many
devices they ran, and how many tokens a row has. A step there is so many rows; here it is so many tokens:

    4 rows per device x 2 accumulation x 8 devices = 64 rows;  64 x 512 tokens per row = 32768 batch_tokens
    with packing: true a row there is a whole pack, so 64 x cutoff_len

Reads and maps only; cli/interop.py runs what comes out, publish.py writes the output folder.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeup import recipe as recipes
from codeup import recipe_text as text
from codeup.errors import UserError
from codeup.interop import settings
from codeup.interop.files import Note, note_lines, open_file, raise_all
from codeup.interop.keys import SIGNS
from codeup.interop.settings import Export, Stage


@dataclass(frozen=True)
class Converted:
    """A recipe as YAML text with its header, the stages it was made from, and the notes."""

    text: str
    stages: tuple[Stage, ...]
    notes: tuple[Note, ...]


def recognises(path: str | Path) -> bool:
    """Whether a YAML file is one of LLaMA-Factory's, by its keys. False for one that cannot be read."""
    try:
        values = text.Document(text.read(Path(path)), str(path)).value
    except UserError:
        return False
    return any(sign in values for sign in SIGNS) and not {"model", "stages"} & set(values)


def convert(
    paths: Sequence[str | Path],
    *,
    name: str,
    devices: int = 1,
    row_tokens: int | None = None,
    overrides: Sequence[str] = (),
    running: bool = False,
) -> Converted:
    """One recipe from training and export files. Raises UserError with every mistake of every file.

    `running` says that the stage will be trained at once: data sets of the Hub may then be fetched to count their rows.
    """
    files = [open_file(Path(path), overrides) for path in paths]
    exports = [settings.read_export(file) for file in files if settings.is_export(file)]
    training = [file for file in files if not settings.is_export(file)]
    stages = [settings.read_stage(file, devices, row_tokens, running) for file in training]
    raise_all(files)
    if not running:
        for file in (stage.file for stage in stages if "overwrite_output_dir" in stage.file.values):
            file.ignored("overwrite_output_dir", "a recipe has a run folder of its own")
    if not stages:
        raise UserError("none of these files trains a stage", mend="give the training YAML (stage: sft) too")
    _name_apart(stages)
    _link(stages, exports)
    _agree(stages)
    raise_all(files)
    ordered = sorted(stages, key=lambda stage: len(stage.chain))  # stable: as given where both are as deep
    notes = tuple(note for file in files for note in file.notes)
    body = _body(name, ordered)
    whole = _header(ordered, exports, notes) + body
    recipes.parse(whole, name=f"recipe made of {', '.join(map(str, paths))}")
    return Converted(whole, tuple(ordered), notes)


def read_export(path: str | Path, overrides: Sequence[str] = ()) -> Export | None:
    """The export that a file asks for; None for a training file. Raises UserError with every mistake."""
    file = open_file(Path(path), overrides)
    if not settings.is_export(file):
        return None
    export = settings.read_export(file)
    raise_all([file])
    return export


# --- several files ------------------------------------------------------------------------------------------


def _same(path: str) -> str:
    return os.path.normpath(path.rstrip("/")) if path else ""


def as_name(text: str) -> str:
    """A name that a recipe may have, from a file's.

    >>> as_name("llama3 8b+lora (v2)")
    'llama3-8b-lora-v2'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:60]


def _name_apart(stages: Sequence[Stage]) -> None:
    """Stages whose folders have the same last part take the name of their file."""
    names = [stage.name for stage in stages]
    for stage in stages:
        if names.count(stage.name) > 1:
            stage.name = as_name(stage.file.path.stem)
    names = [stage.name for stage in stages]
    for stage in stages:
        if names.count(stage.name) > 1:
            stage.name = f"{stage.name}-{stages.index(stage) + 1}"


def _link(stages: Sequence[Stage], exports: Sequence[Export]) -> None:
    """Find the stage before each stage, and hold every export against the stage whose adapter it merges."""
    trained: dict[str, Stage] = {}
    for stage in stages:
        first = trained.setdefault(_same(stage.output_dir), stage)
        if first is not stage:
            stage.file.wrong("output_dir", f"{first.file.path} writes there too")
    made: dict[str, Export] = {}
    for export in exports:
        first_export = made.setdefault(_same(export.export_dir), export)
        owner = trained.get(_same(export.adapter))
        if first_export is not export:
            export.file.wrong("export_dir", f"{first_export.file.path} writes there too")
        elif owner is None:
            export.file.wrong("adapter_name_or_path", "none of the given files trains this adapter")
        elif _same(owner.base) != _same(export.base):
            export.file.wrong(
                "model_name_or_path",
                f"the adapter was trained on {owner.base} ({owner.file.where('model_name_or_path')})",
            )
        elif owner.shared["template"][0] != export.template:
            export.file.wrong("template", f"the adapter was trained with {owner.shared['template'][0]}")
    for stage in stages:
        before = made.get(_same(stage.base))
        if before is not None:
            stage.before = trained.get(_same(before.adapter))
        elif _same(stage.base) in trained:
            stage.file.wrong("model_name_or_path", "is an adapter of another file; give the export that merges it too")
    for stage in stages:
        seen, at = [stage], stage.before
        while at is not None and at not in seen:
            seen.append(at)
            at = at.before
        if at is not None:
            stage.file.wrong("model_name_or_path", "the files go round in a circle: no stage starts from a base model")
            stage.before = None


def _agree(stages: Sequence[Stage]) -> None:
    """One recipe has one base, template, precision and seed."""
    first = stages[0]
    for stage in stages[1:]:
        for name, (value, key) in stage.shared.items():
            if name == "revision" and stage.before is not None:
                continue
            other, other_key = first.shared[name]
            if value != other:
                stage.file.wrong(
                    key, f"{value!r}, but {other!r} at {first.file.where(other_key)}; a recipe has one {name}"
                )
    roots = [stage for stage in stages if stage.before is None]
    for stage in roots[1:]:
        if _same(stage.base) != _same(roots[0].base):
            stage.file.wrong(
                "model_name_or_path",
                f"another base than {roots[0].base} ({roots[0].file.where('model_name_or_path')}); if an export makes "
                "it, give that file too, else convert the files one by one",
            )


# --- writing the recipe ------------------------------------------------------------------------------------------


def _body(name: str, stages: Sequence[Stage]) -> str:
    import yaml

    root = next(stage for stage in stages if stage.before is None)
    shared = {key: value for key, (value, _) in root.shared.items()}
    model = {
        "base": root.base,
        "revision": shared["revision"],
        "template": shared["template"],
        "dtype": shared["dtype"],
    }
    trackers = sorted({tracker for stage in stages for tracker in stage.report_to})
    value: dict[str, Any] = {
        "name": name,
        "seed": shared["seed"],
        **({"report_to": trackers} if trackers else {}),
        "model": {k: v for k, v in model.items() if v is not None} | {"quantization": shared["quantization"]},
        "data": {stage.name: stage.data for stage in stages},
        "stages": [{"name": stage.name, "data": stage.name, **stage.settings} for stage in stages],
        "variants": {"-".join(stage.chain): list(stage.chain) for stage in stages},
    }

    class Plain(yaml.SafeDumper):
        """Equal parts are written out, not referred to."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(value, Dumper=Plain, sort_keys=False, allow_unicode=True, width=110)


def _header(stages: Sequence[Stage], exports: Sequence[Export], notes: Sequence[Note]) -> str:
    """A comment block: which file became what, how batch_tokens came about, what differs and what is ignored."""
    merged: Mapping[str, str] = {_same(export.adapter): str(export.file.path) for export in exports}
    lines = ["Made by `codeup convert recipe` from LLaMA-Factory files:"]
    for stage in stages:
        merge = merged.get(_same(stage.output_dir))
        after = f" after {stage.before.name}" if stage.before else ""
        lines.append(f"  {stage.file.path}: stage {stage.name}{after}" + (f"; {merge}: its merge" if merge else ""))
    lines += [f"batch_tokens of {stage.name}: {stage.batch_how}" for stage in stages]
    lines.append("Models are evaluated when the recipe has a section evaluate; their files say nothing about that.")
    lines += note_lines(notes, short=True)
    wrapped = [
        part for line in lines for part in textwrap.wrap(line, 116, subsequent_indent="    ", drop_whitespace=True)
    ]
    return "".join(f"# {line}\n" for line in wrapped) + "\n"
