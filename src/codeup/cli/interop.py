"""`codeup convert recipe` and `codeup train LLAMA_FACTORY.yaml`: another trainer's files, read and run."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path

from codeup import artifacts, models, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.cli.progress import display
from codeup.errors import UserError
from codeup.interop import llamafactory, publish
from codeup.interop.files import note_lines
from codeup.interop.settings import Export
from codeup.steps import _crew
from codeup.train import place

recognises = llamafactory.recognises


def convert_recipe(
    paths: list[str], out: Path, *, name: str, devices: int, row_tokens: int | None, force: bool, json: bool
) -> None:
    """Write one recipe from LLaMA-Factory's files, and say on stderr what differs or is ignored."""
    if out.exists() and not force:
        raise UserError("is there already", where=str(out), mend="name another file, or give --force")
    made = llamafactory.convert(
        paths, name=name or llamafactory.as_name(out.stem), devices=devices, row_tokens=row_tokens
    )
    artifacts.make_folder(out.parent)
    artifacts.write_bytes(out, made.text.encode())
    lines = note_lines(made.notes)
    print("\n".join(lines), file=sys.stderr)
    names = [stage.name for stage in made.stages]
    if json:
        print(jsonlib.dumps({"recipe": str(out), "stages": names, "notes": lines}))
    else:
        print(f"{out}: {len(names)} stage{'s' * (len(names) != 1)}: {', '.join(names)}; now: codeup check {out}")


def train(path: str, settings: Sequence[str], *, json: bool) -> None:
    """Do what one of LLaMA-Factory's files asks for: train into output_dir, or merge into export_dir."""
    export = llamafactory.read_export(path, settings)
    if export is not None:
        _merge(export, json=json)
    else:
        _train(path, settings, json=json)


def _train(path: str, settings: Sequence[str], *, json: bool) -> None:
    """Prepare the rows, set the batch by their real lengths, train, and write the folder.

    Under torchrun a step has the rows of all processes, as it has there; process 0 does all but the training alone.
    """
    here = place.here()
    made = llamafactory.convert(
        [path], name="stage", devices=here.count if here else 1, overrides=settings, running=True
    )
    recipe = recipes.parse(made.text)
    if _crew.follow(recipe.device):
        return
    with _crew.leading(recipe.device):
        _write(made, recipe, json=json)


def _write(made: llamafactory.Converted, recipe: recipes.Recipe, *, json: bool) -> None:
    """The folder that a training leaves; one that is there already is found."""
    stage = made.stages[0]
    out = Path(stage.output_dir)
    work = out / publish.WORK
    steps = study.compile_recipe(recipe)
    print_ = next(p.fingerprint for p in engine.plan(steps, work) if p.step.kind == "sft")
    if not publish.check_folder(out, print_, overwrite=stage.overwrite):
        print("\n".join(note_lines(made.notes)), file=sys.stderr)
        with display() as emit:
            prepared = Path(engine.run(steps, work, emit=emit, only=f"data-{stage.name}")[f"data-{stage.name}"].folder)
            sizes = publish.batch_that_fits(
                prepared / "train",
                rows_per_step=stage.rows_per_step,
                cutoff=stage.data["cutoff"],
                packed=stage.packed,
                device_rows=stage.device_rows,
            )
            fitted = recipe.model_copy(update={"stages": [recipe.stages[0].model_copy(update=sizes)]})
            train = f"train-{stage.name}"
            trained = engine.run(study.compile_recipe(fitted), work, emit=emit, only=train)[train]
        publish.publish_adapter(
            out,
            trained=Path(trained.folder),
            prepared=prepared,
            base=models.locate(recipe.model.base, recipe.model.revision),
            base_name=recipe.model.base,
            template=recipe.model.template,
            fingerprint=print_,
        )
    results = jsonlib.loads((out / "all_results.json").read_text(encoding="utf-8"))
    print(jsonlib.dumps({"adapter": str(out), **results}) if json else f"adapter: {out}")


def _merge(export: Export, *, json: bool) -> None:
    out = Path(export.export_dir)
    publish.check_export_folder(out)

    from codeup.chat import load_renderer
    from codeup.train.merge import merge_adapter

    print("\n".join(note_lines(export.file.notes)), file=sys.stderr)
    base = models.locate(export.base, export.revision)
    renderer = load_renderer(base, export.template)
    with display() as emit:
        summary = merge_adapter(model=base, adapter=Path(export.adapter), out=out, emit=emit, step_name="merge")
    renderer.save(out)
    print(jsonlib.dumps({"model": str(out), **summary}) if json else f"model: {out}")
