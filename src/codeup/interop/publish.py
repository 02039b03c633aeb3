"""A finished stage or merge as the folder that LLaMA-Factory would have left.

    output_dir/adapter_model.safetensors  adapter_config.json  codeup_adapter.json      the adapter, for PEFT
               tokenizer.json … chat_template.jinja                                     the tokenizer with its template
               trainer_log.jsonl  all_results.json  train_results.json                  metrics in its key names
               codeup_data.json                                                         the account of every row
               .codeup/                                                                 the work, where a kill resumes

A folder that holds anything else, or the adapter of other settings, is refused unless overwrite_output_dir is true;
then files of the same name are replaced and all others stay, as there. Does not write optimizer states or checkpoints.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from codeup import artifacts
from codeup.errors import UserError

WORK = ".codeup"
MARKER = "published.json"
UNFINISHED = ""
"""Stands for the fingerprint while files are being moved into place: those that are there are ours, and not yet all."""


def check_folder(folder: Path, fingerprint: str, *, overwrite: bool) -> bool:
    """Prove that the folder may be written to. True when it already holds the result of these settings.

    Raises UserError for a folder with files of others, or of other settings, without `overwrite`.
    """
    artifacts.make_folder(folder)
    marker = _marker(folder)
    ours = set(marker.get("files", [])) | {WORK}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    mend = "set overwrite_output_dir: true, or name another output_dir"
    if others and not overwrite:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise UserError(f"the folder holds other files: {shown}", where=str(folder), mend=mend)
    same = marker.get("fingerprint") == fingerprint
    if marker.get("fingerprint") and not same and not overwrite:
        raise UserError("the folder holds an adapter of other settings or data", where=str(folder), mend=mend)
    return same and all((folder / name).is_file() for name in marker["files"])


def _marker(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / WORK / MARKER).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise UserError("damaged", where=str(folder / WORK / MARKER), mend="delete that file") from None


def batch_that_fits(tokens: Path, *, rows_per_step: int, cutoff: int, packed: bool, device_rows: int) -> dict[str, int]:
    """batch_tokens, pack_length and micro_batch_tokens from the prepared rows: `rows_per_step` rows of mean length.

    A step holds at least one pack and a pack the longest row, so that a small batch makes short packs:

        8 rows of 30 tokens, the longest 50, cutoff 2048  ->  batch 240, pack 240
        1 row  of 30 tokens, the longest 50, cutoff 2048  ->  batch 50, pack 50
    """
    from codeup.train.tokens import open_tokens

    lengths = open_tokens(tokens).lengths
    mean, longest = float(lengths.mean()), int(lengths.max())
    wanted = rows_per_step * cutoff if packed else round(rows_per_step * mean)
    pack = min(cutoff, max(8, longest, wanted))
    micro = device_rows * cutoff if packed else round(device_rows * mean)
    return {"batch_tokens": max(wanted, pack), "pack_length": pack, "micro_batch_tokens": max(micro, pack)}


def publish_adapter(
    out: Path, *, trained: Path, prepared: Path, base: Path, base_name: str, template: str, fingerprint: str
) -> list[str]:
    """Copy a finished stage to `out` and return the names of the files. The marker is written last."""
    from codeup.chat import load_renderer

    with tempfile.TemporaryDirectory(prefix=".publishing-", dir=out / WORK) as temporary:
        staged = Path(temporary)
        load_renderer(base, template).save(staged)
        (staged / "generation_config.json").unlink(missing_ok=True)  # belongs to a model, not to an adapter
        for path in sorted((trained / "adapter").iterdir()):
            shutil.copyfile(path, staged / path.name)
        _name_base(staged / "adapter_config.json", base, base_name)
        summary = json.loads((trained / "train.json").read_text(encoding="utf-8"))["summary"]
        rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        log = trainer_log(rows, total_steps=summary["steps"])
        (staged / "trainer_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
        funnel = json.loads((prepared / "funnel.json").read_text(encoding="utf-8"))
        results = all_results(summary, train_rows=funnel["train_rows"])
        artifacts.write_json(staged / "all_results.json", results)
        train_only = {key: value for key, value in results.items() if not key.startswith("eval")}
        artifacts.write_json(staged / "train_results.json", train_only)
        artifacts.write_json(staged / "codeup_data.json", funnel)
        names = sorted(path.name for path in staged.iterdir())
        artifacts.write_json(out / WORK / MARKER, {"fingerprint": UNFINISHED, "files": names})
        for name in names:
            (staged / name).replace(out / name)
    artifacts.write_json(out / WORK / MARKER, {"fingerprint": fingerprint, "files": names})
    return names


def _name_base(config: Path, base: Path, base_name: str) -> None:
    """A Hub id is kept as it was written, so that the adapter finds its base on another machine."""
    if not base_name.startswith((".", "/", "~")) and base_name.count("/") == 1 and not Path(base_name).exists():
        value = json.loads(config.read_text(encoding="utf-8"))
        value["base_model_name_or_path"] = base_name
        artifacts.write_json(config, value)


def trainer_log(rows: list[dict[str, Any]], *, total_steps: int) -> list[dict[str, Any]]:
    """metrics.jsonl in the key names of trainer_log.jsonl. An evaluation carries the clock of the step before it."""
    log, seconds = [], 0.0
    for row in rows:
        seconds = row.get("seconds", seconds)
        step = row["step"]
        left = seconds * (total_steps - step) / step
        line: dict[str, Any] = {"current_steps": step, "total_steps": total_steps}
        if "loss" in row:
            line |= {"loss": row["loss"], "lr": row["learning_rate"]}
        if "eval_loss" in row:
            line["eval_loss"] = row["eval_loss"]
        line |= {
            "epoch": row["epoch"],
            "percentage": round(100 * step / total_steps, 2),
            "elapsed_time": str(timedelta(seconds=int(seconds))),
            "remaining_time": str(timedelta(seconds=int(left))),
        }
        if "tokens" in row:
            line |= {"throughput": row["tokens_per_s"], "total_tokens": row["tokens"]}
        log.append(line)
    return log


def all_results(summary: Mapping[str, Any], *, train_rows: int) -> dict[str, Any]:
    """all_results.json: losses and speed in the Trainer's key names. Speeds are per second of training alone."""
    seconds = summary["training_seconds"]
    results: dict[str, Any] = {"epoch": float(summary["epochs"])}
    if summary["eval_loss"] is not None:
        results["eval_loss"] = summary["eval_loss"]
    return results | {
        "num_input_tokens_seen": summary["tokens"],
        "train_loss": summary["train_loss"],
        "train_runtime": seconds,
        "train_samples_per_second": round(train_rows * summary["epochs"] / seconds, 3) if seconds else 0.0,
        "train_steps_per_second": round(summary["steps"] / seconds, 3) if seconds else 0.0,
    }


def check_export_folder(folder: Path) -> None:
    """An export writes into an empty folder only: what is there may be another model. Raises UserError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            "export_dir is there and not empty", where=str(folder), mend="remove it, or name another export_dir"
        )
