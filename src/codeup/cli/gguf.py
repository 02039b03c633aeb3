"""`codeup export gguf`: a model for llama.cpp, checked against the model it was made of before it is published."""

from __future__ import annotations

import json as jsonlib
import shutil
from pathlib import Path
from typing import Any

from codeup import models
from codeup.errors import WorkFailed

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "generation_config.json",
)  # fmt: skip


def export(model: str, *, out: Path | None, quant: str, adapter: Path | None, verify: bool, json: bool) -> None:
    """Write OUT (and OUT-lora.gguf for an adapter); with `verify`, only if the runtime makes the same tokens of it."""
    from codeup.export.gguf_quants import check

    check(quant, out)
    folder = models.locate(model)
    if adapter is not None:
        models.check_adapter(adapter)
    from codeup.export.gguf_lora import write_adapter
    from codeup.export.gguf_model import write_model

    end_id, ask = _prompts(folder)
    final = out or Path(f"{Path(model).name or 'model'}-{quant}.gguf")
    written = final.with_name(f".unchecked-{final.name}") if verify else final
    lora = final.with_name(f"{final.stem}-lora.gguf") if adapter else None
    try:
        account = write_model(folder, written, quant=quant, end_id=end_id, name=final.stem)
        if adapter is not None and lora is not None:
            account["adapter"] = write_adapter(adapter, folder, lora)
        if verify:
            account["verified"] = _verified(folder, written, lora, adapter, quant=quant, ask=ask)
            written.replace(final)
            account["file"] = str(final)
    except WorkFailed:
        if lora is not None:
            lora.unlink(missing_ok=True)
        raise
    finally:
        if verify:
            written.unlink(missing_ok=True)
    account["tokenizer"] = str(_keep_tokenizer(folder, final))
    _show(account)
    if json:
        print(jsonlib.dumps(account))


def _keep_tokenizer(folder: Path, file: Path) -> Path:
    """Put what `codeup serve FILE` needs beside the file: tokenizer, template and end tokens of the model."""
    from codeup.engines.llamacpp import companion

    kept = companion(file)
    kept.mkdir(exist_ok=True)
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, kept / name)
    return kept


def _prompts(folder: Path) -> tuple[int | None, Any]:
    """The token that ends an answer, and what makes the ids of a question: the template, or plain text for a base."""
    from codeup.chat import base_prompt_ids, load_renderer
    from codeup.types import Message

    if models.is_tuned(folder):
        renderer = load_renderer(folder, None)
        return renderer.end_ids[0], lambda text: renderer.prompt([Message("user", text)])
    tokenizer = load_renderer(folder, "alpaca").tokenizer
    return None, lambda text: base_prompt_ids(tokenizer, text)


def _verified(
    folder: Path, file: Path, lora: Path | None, adapter: Path | None, *, quant: str, ask: Any
) -> dict[str, Any]:
    from codeup.export.gguf_verify import verify

    check = verify(folder, file, quant=quant, prompt=ask, lora=lora, adapter=adapter)
    if check.differences:
        shown = "\n  ".join(check.differences[:8])
        raise WorkFailed(
            f"not published: llama.cpp makes something else of it ({len(check.differences)} differences)\n  {shown}"
        )
    return check.to_dict()


def _show(account: dict[str, Any]) -> None:
    tensors = ", ".join(f"{count} {kind}" for kind, count in account["tensors"].items())
    print(f"{account['file']}: {account['bytes'] / 1e6:,.1f} MB, {account['architecture']}, {tensors}")
    print(f"text split as {account['pre_tokenizer']}, answers end with token {account['end_id']}")
    print(f"{account['tokenizer']}: its tokenizer and template, for codeup serve and chat")
    if "adapter" in account:
        made = account["adapter"]
        print(f"{made['file']}: LoRA of {made['layers']} layers, rank {made['rank']}")
    if "verified" in account:
        check: dict[str, Any] = account["verified"]
        share = check["equal_token_share"]
        print(
            f"verified: {check['texts']} texts tokenised alike; {check['answers']} answers, {share:.1%} of tokens equal"
        )
        for note in check["notes"]:
            print(f"note: {note}")
