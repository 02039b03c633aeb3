"""`codeup export …` and `codeup convert …`: options of each; the work is in exporting.py, gguf.py, interop.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codeup.cli.command import Json, guarded

export_app = typer.Typer(help="A finished model as others take it.", no_args_is_help=True)
convert_app = typer.Typer(help="Files of other tools, as files of this one.", no_args_is_help=True)


@export_app.command("hub")
@guarded
def export_hub(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="a finished run folder")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="the folder to write; an earlier export is replaced")],
    model: Annotated[str, typer.Option(metavar="VARIANT", help="a model of the run; default: the final one")] = "",
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="the repository on the Hub")] = "",
    private: Annotated[bool, typer.Option("--private", help="create the repository private")] = False,
    push: Annotated[bool, typer.Option("--push", help="create the repository and upload the folder")] = False,
    update: Annotated[bool, typer.Option("--update", help="push into a repository that is there already")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="make and check all but the weights, keep nothing")
    ] = False,
    max_shard_size: Annotated[str, typer.Option(metavar="SIZE", help="largest weight file")] = "5GB",
    base_license: Annotated[
        str | None, typer.Option(metavar="ID", help="licence of the base, where its card does not say it")
    ] = None,
    json: Json = False,
) -> None:
    """Weights, tokenizer, adapter, model card, results, licences and recipe of a model, ready for the Hub."""
    from codeup.cli import exporting

    exporting.hub(
        run_folder, out, model=model, repo=repo, private=private, push=push, update=update, dry_run=dry_run,
        max_shard_size=max_shard_size, base_license=base_license, json=json,
    )  # fmt: skip


@export_app.command("gguf")
@guarded
def export_gguf(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="model folder, run folder, Hub id, or nano-base")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: MODEL-QUANT.gguf here")] = None,
    quant: Annotated[str, typer.Option(help="f32, bf16, f16, q8_0, q4_0, or q4_k_m")] = "f16",
    adapter: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="a PEFT adapter of this model, written beside it as GGUF LoRA")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="compare tokens with llama.cpp first; on a difference nothing is published")
    ] = False,
    json: Json = False,
) -> None:
    """A model as one GGUF file, for llama.cpp and tools built on it."""
    from codeup.cli import gguf

    gguf.export(model, out=out, quant=quant, adapter=adapter, verify=verify, json=json)


@convert_app.command("recipe")
@guarded
def convert_recipe(
    files: Annotated[list[str], typer.Argument(metavar="FILE.yaml …", help="LLaMA-Factory training and export files")],
    out: Annotated[Path, typer.Option(help="the recipe to write")],
    name: Annotated[str, typer.Option(help="name of the study; default: that of the file")] = "",
    devices: Annotated[int, typer.Option(min=1, help="devices the files were run on; they do not say")] = 1,
    row_tokens: Annotated[
        int | None, typer.Option(min=1, help="tokens per row; default: from local files, or 512")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the recipe that is there")] = False,
    json: Json = False,
) -> None:
    """Turn LLaMA-Factory's YAML files, a chain of stages or one, into one recipe."""
    from codeup.cli import interop

    interop.convert_recipe(files, out, name=name, devices=devices, row_tokens=row_tokens, force=force, json=json)
