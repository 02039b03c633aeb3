"""`codeup export gguf`: a model for llama.cpp, checked against the model it was made of before it is published."""

from __future__ import annotations

import json as jsonlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from codeup import artifacts, models
from codeup.errors import UserError, WorkFailed

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "generation_config.json",
)  # fmt: skip


def export(model: str, *, out: Path | None, quant: str, adapter: Path | None, verify: bool, json: bool) -> None:
    """Write OUT (and OUT-lora.gguf for an adapter); with `verify`, only if the runtime makes the same tokens of it.

    Everything lies in a hidden folder beside OUT until all of it is written and checked, and is then named: whatever
    goes wrong before, Ctrl-C and a full disk too, leaves nothing behind and what was there as it was.
    """
    from codeup.export.gguf_quants import check

    final = out or Path(f"{Path(model).name or 'model'}-{quant}.gguf")
    lora = final.with_name(f"{final.stem}-lora.gguf") if adapter else None
    for file in (final, *([lora] if lora else [])):
        check(quant, file)
    folder = models.locate(model)
    if adapter is not None:
        models.check_adapter(adapter)
    artifacts.make_folder(final.parent)
    with tempfile.TemporaryDirectory(prefix=f".{final.stem}-", dir=final.parent) as held:
        made = Path(held) / final.name
        account = _write(folder, made, adapter, quant=quant, name=final.stem, verify=verify)
        _copy_tokenizer(folder, Path(held))
        for file in (final, *([lora] if lora else [])):
            if file.exists():
                print(f"{file}: there was such a file, which is replaced", file=sys.stderr)
            (Path(held) / file.name).replace(file)
        account["file"], account["tokenizer"] = str(final), str(_publish_tokenizer(Path(held), final))
        if lora is not None:
            account["adapter"]["file"] = str(lora)
    _show(account)
    if json:
        print(jsonlib.dumps(account))


def _write(folder: Path, made: Path, adapter: Path | None, *, quant: str, name: str, verify: bool) -> dict[str, Any]:
    """The model and its adapter as files, checked if that is wished; what is in them."""
    from codeup.export.gguf_lora import write_adapter
    from codeup.export.gguf_model import write_model

    end_id, ask = _prompts(folder)
    account = write_model(folder, made, quant=quant, end_id=end_id, name=name)
    lora = made.with_name(f"{made.stem}-lora.gguf") if adapter else None
    if adapter is not None and lora is not None:
        account["adapter"] = write_adapter(adapter, folder, lora)
    if verify:
        account["verified"] = _verified(folder, made, lora, adapter, quant=quant, ask=ask)
    return account


def _copy_tokenizer(folder: Path, held: Path) -> None:
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            try:
                shutil.copyfile(folder / name, held / name)
            except OSError as error:
                raise UserError(
                    f"cannot write ({error.strerror})", where=str(held / name), mend="free disk space"
                ) from None


def _publish_tokenizer(held: Path, file: Path) -> Path:
    """Put what `codeup serve FILE` needs beside the file: tokenizer, template and end tokens of the model.

    What another model left there goes: its template must not be taken for one of this model.
    """
    from codeup.engines.llamacpp import companion

    kept = companion(file)
    artifacts.make_folder(kept)
    for name in TOKENIZER_FILES:
        if (held / name).is_file():
            (held / name).replace(kept / name)
        else:
            (kept / name).unlink(missing_ok=True)
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
