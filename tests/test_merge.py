"""Merging: PEFT is the oracle in fp32, drift is computed by hand, and a wrong pair is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from train_models import random_documents, save_tiny_llama, tiny_llama
from transformers import AutoModelForCausalLM

from codeup.errors import UserError, WorkFailed
from codeup.train import lora
from codeup.train.base import fingerprint
from codeup.train.merge import Drift, LowRank, _apply, merge_adapter
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens


def save_adapter(folder: Path, *, b: float = 0.1, facts: dict[str, Any] | None = None, **settings: Any) -> Path:
    model = lora.attach(tiny_llama(), **({"r": 4, "alpha": 8} | settings))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, b, generator=generator)
    lora.save_adapter(model, folder, facts=facts or {})
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


@pytest.mark.parametrize("rslora", [False, True])
def test_the_merge_equals_that_of_peft_in_fp32(tmp_path: Path, rslora: bool) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter", use_rslora=rslora)
    summary = merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    oracle = PeftModel.from_pretrained(tiny_llama(), adapter).merge_and_unload().state_dict()
    merged = weights(tmp_path / "merged")
    assert set(merged) == set(oracle)
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, oracle[name], rtol=0, atol=1e-6)
    assert summary["merged_tensors"] == 14 and summary["tensors"] == 21
    assert summary["logit_difference"] < 1e-4 and summary["rounding_share"] < 1e-5


def test_only_the_targets_change(tmp_path: Path) -> None:
    base = save_tiny_llama(tmp_path / "base", dtype=torch.bfloat16)
    adapter = save_adapter(tmp_path / "adapter", targets=["q_proj", "gate_proj"])
    merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    before, after = weights(base), weights(tmp_path / "merged")
    changed = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"q_proj", "gate_proj"}
    assert {t.dtype for t in after.values()} == {torch.bfloat16}


def test_the_drift_by_hand() -> None:
    """bf16 near 0.5 has a spacing of 2^-8: 0.25 * 2^-8 is lost, 2^-7 is kept."""
    drift = Drift()
    base = torch.tensor([[0.5, 0.5]], dtype=torch.bfloat16)
    update = LowRank(torch.tensor([[2.0**-10, 2.0**-7]]) / 2, torch.tensor([[1.0]]), 2.0)
    stored = _apply("w", base, update, drift)
    assert stored.tolist() == [[0.5, 0.5 + 2.0**-7]]
    summary = drift.summary()
    assert summary["max_abs_change"] == 2.0**-7 and summary["mean_abs_change"] == 2.0**-8
    assert summary["rounding_error_max"] == 2.0**-10
    assert summary["rounding_share"] == pytest.approx(2.0**-10 / math.hypot(2.0**-10, 2.0**-7))
    assert summary["relative_change"] == pytest.approx(math.hypot(2.0**-10, 2.0**-7) / math.hypot(0.5, 0.5))


def test_shards_are_merged_one_by_one_to_the_same_weights(tmp_path: Path) -> None:
    one, adapter = save_tiny_llama(tmp_path / "one"), save_adapter(tmp_path / "adapter")
    tiny_llama().save_pretrained(tmp_path / "many", max_shard_size="20KB")
    merge_adapter(model=one, adapter=adapter, out=tmp_path / "merged-one")
    merge_adapter(model=tmp_path / "many", adapter=adapter, out=tmp_path / "merged-many")
    files = sorted(path.name for path in (tmp_path / "merged-many").glob("*.safetensors"))
    assert len(files) > 3 and files == sorted(path.name for path in (tmp_path / "many").glob("*.safetensors"))
    left, right = weights(tmp_path / "merged-one"), weights(tmp_path / "merged-many")
    assert set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)
    AutoModelForCausalLM.from_pretrained(tmp_path / "merged-many")


def test_config_and_tokenizer_are_copied_byte_by_byte_and_the_card_is_not(tmp_path: Path) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    for name in ("tokenizer.json", "chat_template.jinja", "LICENSE", "README.md", "pytorch_model.bin"):
        (base / name).write_text(f"  {name} \r\n", encoding="utf-8")
    merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    copied = {path.name for path in (tmp_path / "merged").iterdir()} - {"model.safetensors"}
    assert copied == {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "LICENSE"}
    assert all((tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes() for name in copied)


def test_stages_chain_through_the_merged_model(tmp_path: Path) -> None:
    """base -> adapter -> merged -> adapter -> merged: each stage starts where the one before it ended."""
    write_tokens(tmp_path / "tokens", random_documents(20))
    model, settings = save_tiny_llama(tmp_path / "base"), {"r": 4, "alpha": 8}
    first_losses = []
    for stage in ("first", "second"):
        out = tmp_path / stage
        train_sft(
            model=model,
            tokens=tmp_path / "tokens",
            validation=tmp_path / "tokens",
            out=out,
            lora=settings,
            learning_rate=1e-2,
            epochs=2,
            tokens_per_batch=64,
            pack_length=64,
        )
        summary = merge_adapter(model=model, adapter=out / "adapter", out=out / "model")
        assert summary["base_verified"] is True
        model = out / "model"
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        first_losses.append((rows[0]["loss"], rows[-1]["eval_loss"]))
    assert first_losses[1][0] < first_losses[0][0]
    assert first_losses[1][1] < first_losses[0][1]


def test_another_base_is_refused(tmp_path: Path) -> None:
    base, other = save_tiny_llama(tmp_path / "base"), save_tiny_llama(tmp_path / "other", seed=9)
    facts = {"base_sha256": fingerprint(base), "base": "the/base"}
    adapter = save_adapter(tmp_path / "adapter", facts=facts)
    with pytest.raises(UserError, match=r"trained on other weights(.|\n)*the/base"):
        merge_adapter(model=other, adapter=adapter, out=tmp_path / "merged")
    assert merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")["base_verified"] is True


def test_a_base_of_another_size_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    wide = save_tiny_llama(tmp_path / "wide", hidden_size=64)
    with pytest.raises(UserError, match=r"down_proj.weight is \(64, 48\) in the model and \(32, 48\) in the adapter"):
        merge_adapter(model=wide, adapter=save_adapter(tmp_path / "adapter"), out=tmp_path / "merged")
    assert {path.name for path in tmp_path.iterdir()} == {"wide", "adapter"}


def test_a_base_with_fewer_layers_is_refused(tmp_path: Path) -> None:
    short = save_tiny_llama(tmp_path / "short", num_hidden_layers=1)
    with pytest.raises(UserError, match=r"7 layers the model does not have, e\.g\. model\.layers\.1"):
        merge_adapter(model=short, adapter=save_adapter(tmp_path / "adapter"), out=tmp_path / "merged")


@pytest.mark.parametrize("which", ["base/model.safetensors", "adapter/adapter_model.safetensors"])
def test_a_truncated_file_is_named(tmp_path: Path, which: str) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    path = tmp_path / which
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=f"{which}: damaged weight file"):
        merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "many", max_shard_size="20KB")
    gone = sorted((tmp_path / "many").glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(UserError, match=f"weights missing: {gone.name}"):
        merge_adapter(model=tmp_path / "many", adapter=save_adapter(tmp_path / "adapter"), out=tmp_path / "merged")


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"rank_pattern": {"q_proj": 8}}, {"peft_type": "IA3"}])
def test_other_kinds_of_adapter_are_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    with pytest.raises(UserError, match="cannot merge this kind of adapter"):
        merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")


def test_trained_embeddings_in_the_adapter_are_refused(tmp_path: Path) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    file = adapter / lora.ADAPTER_FILE
    save_file(load_file(file) | {"base_model.model.model.embed_tokens.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(UserError, match=r"not a plain LoRA adapter: it holds .*embed_tokens"):
        merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")


def test_a_tied_head_is_refused_and_other_layers_of_a_tied_model_merge(tmp_path: Path) -> None:
    tied, adapter = save_tiny_llama(tmp_path / "tied", tie_word_embeddings=True), save_adapter(tmp_path / "adapter")
    summary = merge_adapter(model=tied, adapter=adapter, out=tmp_path / "merged")
    assert summary["logit_difference"] < 1e-4
    file = adapter / lora.ADAPTER_FILE
    head = {f"base_model.model.lm_head.lora_{half}.weight": torch.zeros(4, 4) for half in "AB"}
    save_file(load_file(file) | head, file)
    with pytest.raises(UserError, match=r"lm_head\.weight, which this model shares between embedding and head"):
        merge_adapter(model=tied, adapter=adapter, out=tmp_path / "merged")


def test_a_merge_that_overflows_fails(tmp_path: Path) -> None:
    base = save_tiny_llama(tmp_path / "base", dtype=torch.float16)
    with pytest.raises(WorkFailed, match=r"not numbers in torch\.float16"):
        merge_adapter(model=base, adapter=save_adapter(tmp_path / "adapter", b=1e6), out=tmp_path / "merged")


def test_the_merged_model_never_replaces_its_input_or_a_strange_folder(tmp_path: Path) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    for out in (base, adapter, tmp_path / "home"):
        with pytest.raises(UserError):
            merge_adapter(model=base, adapter=adapter, out=out)
    assert (tmp_path / "home" / "letter.txt").exists() and (base / "model.safetensors").exists()
