"""Proof that a folder is what the Hub and plain loaders expect, by huggingface_hub's own parsers and without network.

    repository id        validate_repo_id                         OWNER/NAME, at most 96 characters
    README.md            ModelCard, ModelCardData                 front matter is read back, model-index to EvalResult
    .eval_results/*      parse_eval_result_entries                read back to the same entries
    weights              index against files, every header        no tensor missing, none twice
    tokenizer, configs   JSON; generation ends where the template ends

The Hub applies further rules of its own when files arrive; `push` shows what it answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, eval_result_entries_to_yaml, parse_eval_result_entries
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from codeup.data.licences import level
from codeup.errors import UserError

SPECIAL_LICENCES = ("other", "unknown")


def check_repo(repo: str) -> None:
    """Raises UserError unless it is OWNER/NAME by the Hub's rules."""
    try:
        validate_repo_id(repo)
        reason = "" if repo.count("/") == 1 else "it has no owner"
    except HFValidationError as error:
        reason = str(error)
    if reason:
        raise UserError(f"{repo!r} is not a repository of the Hub ({reason})", where="--repo", mend="give OWNER/NAME")


def check_folder(folder: Path, *, weights: bool = True) -> list[str]:
    """Names of what was checked. Raises UserError with everything that is wrong."""
    problems = [*_card_problems(folder / "README.md"), *_result_problems(folder / ".eval_results")]
    problems += _config_problems(folder)
    checked = ["card", "results", "configs"]
    if weights:
        problems += _weight_problems(folder)
        checked.append("weights")
    if problems:
        raise UserError("is not ready for the Hub:\n  - " + "\n  - ".join(problems), where=str(folder))
    return checked


def _card_problems(file: Path) -> Iterator[str]:
    try:
        card = ModelCard(file.read_text(encoding="utf-8"))
        data: dict[str, Any] = card.data.to_dict()
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        yield f"{file.name}: its front matter cannot be read ({error})"
        return
    licence = data.get("license")
    if not licence or (licence not in SPECIAL_LICENCES and level(str(licence)) > 6):
        yield f"{file.name}: license {licence!r} is no identifier of the Hub"
    if licence == "other" and not (data.get("license_name") and data.get("license_link")):
        yield f"{file.name}: license other needs license_name and license_link"
    for key in ("base_model", "datasets"):
        for name in _listed(data.get(key)):
            try:
                check_repo(name)
            except UserError as error:
                yield f"{file.name}: {key}: {error.what}"
    for key in ("library_name", "pipeline_tag", "tags", "language"):
        if not data.get(key):
            yield f"{file.name}: has no {key}"
    for language in _listed(data.get("language")):
        if language not in ("code", "multilingual") and not (language.isalpha() and len(language) in (2, 3)):
            yield f"{file.name}: {language!r} is no ISO 639 code"


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(each) for each in (value if isinstance(value, list) else [value])]


def _result_problems(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.yaml")):
        name = f"{folder.name}/{file.name}"
        try:
            written = yaml.safe_load(file.read_text(encoding="utf-8"))
            entries = parse_eval_result_entries(written)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            yield f"{name}: cannot be read as results ({error})"
            continue
        if eval_result_entries_to_yaml(entries) != written:
            yield f"{name}: reads back as something else"
        for entry in entries:
            if not isinstance(entry.value, int | float):
                yield f"{name}: {entry.dataset_id} has no number"
            try:
                check_repo(entry.dataset_id)
            except UserError as error:
                yield f"{name}: {error.what}"


def _config_problems(folder: Path) -> Iterator[str]:
    read = {}
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        try:
            read[name] = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield f"{name}: cannot be read ({error})"
    if not (folder / "chat_template.jinja").is_file():
        yield "chat_template.jinja: is not there"
    if len(read) < 4:
        return
    end = read["tokenizer_config.json"].get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    ids = {token["content"]: token["id"] for token in read["tokenizer.json"].get("added_tokens", [])}
    ends = read["generation_config.json"].get("eos_token_id")
    if ids.get(end) not in (ends if isinstance(ends, list) else [ends]):
        yield f"generation_config.json: does not stop at {end!r}, which ends the template's answers"


def _weight_problems(folder: Path) -> Iterator[str]:
    from safetensors import SafetensorError, safe_open

    held: dict[str, str] = {}
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        yield "weights: there are none"
    for file in files:
        try:
            with safe_open(file, framework="np") as opened:
                for tensor in opened.keys():  # noqa: SIM118  (not a dict)
                    if tensor in held:
                        yield f"{file.name}: {tensor} is in {held[tensor]} too"
                    held[tensor] = file.name
        except (OSError, SafetensorError) as error:
            yield f"{file.name}: cannot be read ({error})"
    index = folder / "model.safetensors.index.json"
    if len(files) > 1 and not index.is_file():
        yield f"{index.name}: is not there, and there are {len(files)} weight files"
    if index.is_file() and json.loads(index.read_text(encoding="utf-8"))["weight_map"] != held:
        yield f"{index.name}: does not say where the tensors are"
