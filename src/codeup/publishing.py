"""A model of a run as a folder that is ready for the Hub: `export_hub`.

    out/  model.safetensors (or shards with their index)  config.json  generation_config.json
          tokenizer.json  tokenizer_config.json  chat_template.jinja
          adapter/             all stages as one LoRA adapter over the base, where there is one (train/combine.py)
          adapters/1-instruct/ ...                                 each stage's own, where there are several
          README.md  LICENCES.md  .eval_results/*.yaml  charts/*.png  recipe.yaml  hashes.json

The folder appears whole or not at all, and nothing in it names a folder of this machine. It is checked before it
appears (export/check.py). Weights are those of the run's merged model, byte by byte; nothing is converted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codeup import artifacts
from codeup.errors import UserError
from codeup.export import card, check, licences, results
from codeup.export.facts import Facts, gather
from codeup.types import Emit, Event, ignore_event

HASHES = "hashes.json"
COPIED = (
    "config.json", "generation_config.json", "chat_template.jinja", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "*.model", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*",
)  # fmt: skip
"""Of the merged model's folder, besides weights."""
MAX_SHARD = 5_000_000_000
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "B": 1}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the model's name, the files with their bytes, what was checked, what there is to say."""

    name: str
    repo: str
    folder: Path
    files: Mapping[str, int]
    licence: Mapping[str, str]
    checked: tuple[str, ...]
    notes: tuple[str, ...]


def export_hub(
    run: Path,
    out: Path,
    *,
    model: str = "",
    repo: str = "",
    base_licence: str | None = None,
    max_shard_bytes: int = MAX_SHARD,
    dry_run: bool = False,
    emit: Emit = ignore_event,
) -> Exported:
    """Write the folder; with `dry_run` everything but weights is made and checked, and nothing stays.

    Raises UserError for a run without that model, a name that the Hub or the base's licence refuses, a folder that
    holds something else, and anything the check finds.
    """
    facts = gather(run, model)
    licence = licences.licence_of(facts, base_licence=base_licence)
    if repo:
        check.check_repo(repo)
        licences.check_name(repo, licence.agreement)
    name = repo.rsplit("/", 1)[-1] or licences.default_name(facts, licence.agreement)
    _refuse_folder(out)
    artifacts.make_folder(out.parent)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _copy(facts, partial)
        weights = {} if dry_run else _weights(facts, partial, max_shard_bytes, emit)
        adapters = _adapters(facts, partial)
        notes = _texts(facts, licence, partial, name=name, repo=repo, adapters=adapters)
        checked = check.check_folder(partial, weights=not dry_run)
        files = {**_files(partial), **weights}
        if dry_run:
            files |= {file.name: file.stat().st_size for file in facts.folder.glob("model*.safetensors")}
        else:
            artifacts.write_json(partial / HASHES, _hashes(partial, emit))
            shutil.rmtree(out, ignore_errors=True)
            partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if not base_licence and not licence.parts[f"base model {facts.base}"]["claims"]:
        notes.append(f"nobody states the licence of {facts.base}: give --base-license ID if you know it")
    return Exported(name, repo, out, files, licence.front, tuple(checked), tuple(notes))


def parse_size(text: str) -> int:
    """Bytes of `5GB`, `500MB`, `1GiB`. Raises UserError.

    >>> parse_size("5GB"), parse_size("1.5 MiB")
    (5000000000, 1572864)
    """
    plain = text.replace(" ", "").upper()
    unit = next((each for each in UNITS if plain.endswith(each)), "")
    try:
        size = int(float(plain.removesuffix(unit)) * UNITS[unit])
    except (ValueError, KeyError):
        size = 0
    if size < 1:
        raise UserError(f"{text!r} is not a size", where="--max-shard-size", mend="give for example 5GB or 500MB")
    return size


def _refuse_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / HASHES).is_file())):
        raise UserError(
            "is there, and no export", where=str(out), mend="name another folder; an earlier export is replaced"
        )


def _copy(facts: Facts, out: Path) -> None:
    for pattern in COPIED:
        for file in sorted(facts.folder.glob(pattern)):
            shutil.copyfile(file, out / file.name)


def _weights(facts: Facts, out: Path, most: int, emit: Emit) -> dict[str, int]:
    from codeup.artifacts import weight_files
    from codeup.train import shards
    from codeup.train.base import check_weights

    files = weight_files(facts.folder)
    for file in files:
        check_weights(file)
    emit(Event("note", "export", text=f"weights of {facts.folder}"))
    return {file.name: file.stat().st_size for file in shards.reshard(files, out, max_bytes=most)}


def _adapters(facts: Facts, out: Path) -> list[str]:
    """Folders of adapters in `out`: the one over the base, and where there are several stages each stage's own."""
    from codeup.train.combine import combine_adapters

    own = [(f"adapters/{at}-{stage.name}", stage.adapter) for at, stage in enumerate(facts.stages, 1)]
    if len(own) == 1 and own[0][1] is not None:
        own = [("adapter", own[0][1])]
    written = []
    before = facts.base
    for (place, adapter), stage in zip(own, facts.stages, strict=True):
        if adapter is not None:
            _copy_adapter(adapter, out / place, before)
            written.append(place)
        before = f"{facts.base} after stage {stage.name}"
    trained = [adapter for _, adapter in own if adapter is not None]
    if len(facts.stages) > 1 and len(trained) == len(facts.stages):
        together = combine_adapters(trained, out / "adapter", base_name=facts.base)
        written = ["adapter", *written] if together else written
    return written


def _copy_adapter(adapter: Path, out: Path, base: str) -> None:
    """A stage's adapter, its base named as others know it."""
    out.mkdir(parents=True)
    shutil.copyfile(adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    artifacts.write_json(out / "adapter_config.json", {**settings, "base_model_name_or_path": base})
    record = adapter / "codeup_adapter.json"
    if record.is_file():
        facts = json.loads(record.read_text(encoding="utf-8"))
        artifacts.write_json(out / record.name, {**facts, "base": base})


def _texts(
    facts: Facts, licence: licences.Licence, out: Path, *, name: str, repo: str, adapters: list[str]
) -> list[str]:
    """Card, licences, results, recipe and charts; returns what could not be said."""
    found, left_out = results.entries(facts.scores, date=_iso(facts.finished))
    from huggingface_hub import eval_result_entries_to_yaml

    for file, entries in found.items():
        (out / ".eval_results").mkdir(exist_ok=True)
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        artifacts.write_bytes(out / ".eval_results" / file, text.encode())
    for chart in facts.charts:
        (out / "charts").mkdir(exist_ok=True)
        shutil.copyfile(chart, out / "charts" / chart.name)
    about = card.Card(name, repo, licence, adapters, [chart.name for chart in facts.charts], left_out)
    texts = {
        "README.md": card.model_card(facts, about),
        "LICENCES.md": "\n".join(licences.document(licence)) + "\n",
        "recipe.yaml": facts.recipe,
    }
    if licence.agreement in licences.NOTICE and not (out / "NOTICE").exists():
        texts["NOTICE"] = licences.NOTICE[licence.agreement] + "\n"
    for file, text in texts.items():
        artifacts.write_bytes(out / file, text.encode("utf-8", "backslashreplace"))
    return list(left_out)


def _iso(stamp: str) -> str:
    """`2026-11-26T01:12:35+0000` -> `2026-11-26T01:12:35+00:00`, which ISO 8601 readers take."""
    return stamp if stamp[-3:-2] == ":" else f"{stamp[:-2]}:{stamp[-2:]}"


def _files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _hashes(folder: Path, emit: Emit) -> dict[str, Any]:
    names = list(_files(folder))
    found = {}
    for number, name in enumerate(names, 1):
        found[name] = artifacts.file_sha256(folder / name)
        emit(Event("progress", "hashes", done=number, total=len(names), unit="files"))
    return {"sha256": found}
