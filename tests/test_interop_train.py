"""`codeup train FILE.yaml` from end to end on the nano base: what it leaves is what PEFT and transformers load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from codeup import nano
from codeup.interop import publish
from codeup.train.tokens import write_tokens
from codeup.types import Tokens

ROWS = [{"instruction": f"Double {n}.", "input": "", "output": "It is done."} for n in range(30)]


def codeup(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codeup", *map(str, argv)], capture_output=True, text=True, timeout=300, env=os.environ
    )


def write(path: Path, **values: Any) -> Path:
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a training file and an export file, and both commands run."""
    root = tmp_path_factory.mktemp("lf")
    (root / "rows.json").write_text(json.dumps(ROWS))
    (root / "dataset_info.json").write_text(json.dumps({"doubles": {"file_name": "rows.json"}}))
    write(
        root / "sft.yaml",
        model_name_or_path="nano-base",
        stage="sft",
        do_train=True,
        finetuning_type="lora",
        lora_rank=4,
        lora_target="q_proj,v_proj",
        dataset="doubles",
        dataset_dir=str(root),
        template="alpaca",
        cutoff_len=256,
        val_size=0.2,
        output_dir=str(root / "out"),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        learning_rate=1.0e-2,
        num_train_epochs=2.0,
        lr_scheduler_type="cosine",
        warmup_ratio=0.1,
        eval_strategy="epoch",
        logging_steps=1,
    )
    write(
        root / "merge.yaml",
        model_name_or_path="nano-base",
        adapter_name_or_path=str(root / "out"),
        template="alpaca",
        finetuning_type="lora",
        export_dir=str(root / "merged"),
        export_size=2,
    )
    trained = codeup("train", root / "sft.yaml", "--json")
    assert trained.returncode == 0, trained.stderr
    (root / "trained.json").write_text(trained.stdout.splitlines()[-1])
    (root / "trained.err").write_text(trained.stderr)
    merged = codeup("train", root / "merge.yaml", "--json")
    assert merged.returncode == 0, merged.stderr
    return root


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=torch.arange(5, 45)[None]).logits.float()


def test_the_adapter_loads_in_peft_and_has_learned_something(folder: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(nano.base_folder())
    before = logits(base)
    adapted = PeftModel.from_pretrained(base, folder / "out")
    settings = adapted.peft_config["default"]
    assert (settings.r, settings.lora_alpha, settings.target_modules) == (4, 8, {"q_proj", "v_proj"})
    assert float((logits(adapted) - before).abs().max()) > 1e-3
    assert float((logits(AutoPeftModelForCausalLM.from_pretrained(folder / "out")) - logits(adapted)).abs().max()) == 0


def test_the_merged_export_is_base_plus_adapter_rounded_once(folder: Path) -> None:
    """alpha 8 / r 4: W + 2 B A in float32, stored as the base is; layers without an adapter stay as they were."""
    base = AutoModelForCausalLM.from_pretrained(nano.base_folder()).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(folder / "merged").state_dict()
    adapter = load_file(folder / "out" / "adapter_model.safetensors")
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed and all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    for name in changed:
        a, b = (adapter[f"base_model.model.{name.removesuffix('weight')}lora_{side}.weight"] for side in "AB")
        assert torch.equal(merged[name], (base[name].float() + 2 * (b @ a)).to(base[name].dtype))


@pytest.mark.slow
def test_under_torchrun_a_file_trains_what_it_does_alone_with_twice_the_accumulation(folder: Path) -> None:
    """2 rows x 2 accumulation x 2 processes are the 2 x 4 of one. One process writes."""
    values = yaml.safe_load((folder / "sft.yaml").read_text())
    file = write(folder / "two.yaml", **values | {"gradient_accumulation_steps": 2, "output_dir": str(folder / "two")})
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "codeup", "train", str(file)]
    done = subprocess.run([sys.executable, *run, "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout
    two, one = json.loads(done.stdout), json.loads((folder / "trained.json").read_text())
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)
    adapters = [load_file(folder / name / "adapter_model.safetensors") for name in ("out", "two")]
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(tensor, adapters[1][name], rtol=1e-5, atol=1e-5)


def test_both_folders_hold_the_tokenizer_with_the_template(folder: Path) -> None:
    for name in ("out", "merged"):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        text = tokenizer.apply_chat_template([{"role": "user", "content": "Double 4."}], tokenize=False)
        assert text.endswith("### Instruction:\nDouble 4.\n\n### Response:\n")


def test_the_logs_have_the_key_names_of_llama_factory(folder: Path) -> None:
    """24 of 30 rows in steps of 8: 3 steps per epoch, 6 in all, and one evaluation after each epoch."""
    rows = [json.loads(line) for line in (folder / "out" / "trainer_log.jsonl").read_text().splitlines()]
    steps, evaluations = [r for r in rows if "loss" in r], [r for r in rows if "eval_loss" in r]
    assert [row["current_steps"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [row["current_steps"] for row in evaluations] == [3, 6]
    assert all(row["total_steps"] == 6 for row in rows)
    assert steps[-1]["percentage"] == 100.0 and steps[-1]["remaining_time"] == "0:00:00"
    results = json.loads((folder / "out" / "all_results.json").read_text())
    assert results["epoch"] == 2.0
    assert results["eval_loss"] == evaluations[-1]["eval_loss"]
    printed = json.loads((folder / "trained.json").read_text())
    assert printed == {"adapter": str(folder / "out"), **results}
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]


def test_every_row_is_accounted_for_and_ignored_keys_are_named(folder: Path) -> None:
    account = json.loads((folder / "out" / "codeup_data.json").read_text())
    assert (account["train_rows"], account["validation_rows"]) == (24, 6)
    assert "ignored: logging_steps:" in (folder / "trained.err").read_text()


def test_the_same_command_again_finds_its_result(folder: Path) -> None:
    before = (folder / "out" / "adapter_model.safetensors").stat().st_mtime_ns
    done = codeup("train", folder / "sft.yaml")
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_other_settings_into_the_same_folder_are_refused(folder: Path) -> None:
    done = codeup("train", folder / "sft.yaml", "learning_rate=2e-3")
    assert done.returncode == 2
    assert "adapter of other settings" in done.stderr and "overwrite_output_dir" in done.stderr


def test_an_export_into_a_folder_with_files_is_refused(folder: Path) -> None:
    done = codeup("train", folder / "merge.yaml")
    assert done.returncode == 2
    assert "not empty" in done.stderr


def test_a_mistake_is_one_message_and_exit_2(folder: Path) -> None:
    done = codeup("train", folder / "sft.yaml", "stage=dpo", "lora_rnak=3")
    assert done.returncode == 2
    assert "stage: dpo is not done here" in done.stderr
    assert "did you mean 'lora_rank'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_convert_writes_a_recipe_that_check_accepts(folder: Path) -> None:
    out = folder / "made" / "recipe.yaml"
    done = codeup("convert", "recipe", folder / "sft.yaml", folder / "merge.yaml", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stages"] == ["out"]
    assert codeup("check", out).returncode == 0
    odd = codeup("convert", "recipe", folder / "sft.yaml", "--out", out.with_name("my study+1.yaml"))
    assert odd.returncode == 0 and "name: my-study-1" in out.with_name("my study+1.yaml").read_text(), odd.stderr
    again = codeup("convert", "recipe", folder / "sft.yaml", "--out", out)
    assert again.returncode == 2 and "--force" in again.stderr


# --- the output folder, without training -----------------------------------------------------------------------------


def test_a_folder_with_other_files_is_refused_unless_overwriting(tmp_path: Path) -> None:
    from codeup.errors import UserError

    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds other files: thesis\.txt"):
        publish.check_folder(tmp_path, "abc", overwrite=False)
    assert publish.check_folder(tmp_path, "abc", overwrite=True) is False
    assert (tmp_path / "thesis.txt").exists()


def test_a_folder_with_only_interrupted_work_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / publish.WORK).mkdir()
    assert publish.check_folder(tmp_path, "abc", overwrite=False) is False


def test_a_kill_while_files_were_moved_into_place_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / publish.WORK).mkdir()
    marker = {"fingerprint": publish.UNFINISHED, "files": ["adapter_config.json", "adapter_model.safetensors"]}
    (tmp_path / publish.WORK / publish.MARKER).write_text(json.dumps(marker))
    (tmp_path / "adapter_config.json").write_text("{}")
    assert publish.check_folder(tmp_path, "abc", overwrite=False) is False


def test_a_lost_file_is_written_again(tmp_path: Path) -> None:
    (tmp_path / publish.WORK).mkdir()
    (tmp_path / publish.WORK / publish.MARKER).write_text(json.dumps({"fingerprint": "abc", "files": ["a", "b"]}))
    (tmp_path / "a").write_text("")
    assert publish.check_folder(tmp_path, "abc", overwrite=False) is False
    (tmp_path / "b").write_text("")
    assert publish.check_folder(tmp_path, "abc", overwrite=False) is True


def test_a_batch_is_the_mean_row_times_rows_and_at_least_one_pack(tmp_path: Path) -> None:
    """Rows of 10 and 30 tokens: mean 20."""
    documents = [Tokens((1,) * n, (False,) + (True,) * (n - 1)) for n in (10, 30)]
    write_tokens(tmp_path / "t", documents)

    def fit(rows: int, cutoff: int, packed: bool = False) -> dict[str, int]:
        return publish.batch_that_fits(tmp_path / "t", rows_per_step=rows, cutoff=cutoff, packed=packed, device_rows=1)

    assert fit(8, 64) == {"batch_tokens": 160, "pack_length": 64, "micro_batch_tokens": 64}
    assert fit(8, 2048) == {"batch_tokens": 160, "pack_length": 160, "micro_batch_tokens": 160}
    assert fit(1, 2048) == {"batch_tokens": 30, "pack_length": 30, "micro_batch_tokens": 30}
    assert fit(2, 64, packed=True) == {"batch_tokens": 128, "pack_length": 64, "micro_batch_tokens": 64}
