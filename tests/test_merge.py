"""Merging: PEFT is the oracle in fp32, drift is computed by hand, and a wrong pair is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from train_models import random_documents, save_tiny_llama, tiny_llama
from transformers import AutoModelForCausalLM

from codeup.artifacts import weights_sha256
from codeup.errors import UserError, WorkFailed
from codeup.train import lora, merge, pissa, shards
from codeup.train.merge import merge_adapter
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.train.updates import Drift, LowRank, apply


def save_adapter(
    folder: Path, *, b: float = 0.1, facts: dict[str, Any] | None = None, tied: bool = False, **settings: Any
) -> Path:
    """An adapter as training leaves it: with PiSSA A and B moved from where they began, otherwise all of it random."""
    model = lora.attach(tiny_llama(tie_word_embeddings=tied), **({"r": 4, "alpha": 8} | settings))
    initial = pissa.record(model, folder.with_suffix(".initial"), "") if "init" in settings else None
    disturb(model, b)
    lora.save_adapter(model, folder, facts=facts or {}, initial=initial)
    return folder


def disturb(model: PeftModel, b: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * b)
        if "magnitude" in name or "trainable_tokens" in name:
            parameter.data.mul_(1 + 0.5 * torch.rand(parameter.shape, generator=generator))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: t for file in sorted(folder.glob("*.safetensors")) for name, t in load_file(file).items()}


PATTERNS: dict[str, Any] = {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\..*": 8}, "alpha_pattern": {"up_proj": 3.0}}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "patterns": PATTERNS,
    "dora": {"use_dora": True},
    "pissa": {"init": "pissa"},
    "pissa fast": {"init": "pissa_fast"},
    "pissa, rslora, patterns": {"init": "pissa", "use_rslora": True, **PATTERNS},
    "pissa, dora": {"init": "pissa", "use_dora": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_merge_equals_that_of_peft_in_fp32(tmp_path: Path, kind: str) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter", **KINDS[kind])
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
    stored = apply("w", base, update, drift)
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
    facts = {"base_sha256": weights_sha256(base), "base": "the/base"}
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"peft_type": "IA3"}, "cannot merge this kind of adapter: IA3"),
        ({"modules_to_save": ["lm_head"]}, "cannot merge this kind of adapter: modules_to_save"),
        ({"use_dora": True}, "do not fit together"),
        ({"rank_pattern": {"q_proj": 8}}, r"layers\.0\.self_attn\.q_proj: .* do not fit together"),
        ({"init_lora_weights": "pissa"}, "it fits a changed base, not this one"),
    ],
)
def test_other_kinds_of_adapter_are_refused(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | setting))
    with pytest.raises(UserError, match=message):
        merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")


def test_trained_embeddings_in_the_adapter_are_refused(tmp_path: Path) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    file = adapter / lora.ADAPTER_FILE
    save_file(load_file(file) | {"base_model.model.model.embed_tokens.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(UserError, match=r"not an adapter of a supported kind: it holds .*embed_tokens"):
        merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_token_rows_are_merged_as_peft_merges_them(tmp_path: Path, kind: str, tied: bool) -> None:
    base = save_tiny_llama(tmp_path / "base", tie_word_embeddings=tied)
    adapter = save_adapter(tmp_path / "adapter", tied=tied, token_ids=[7, 3, 60], **KINDS[kind])
    summary = merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    oracle = PeftModel.from_pretrained(tiny_llama(tie_word_embeddings=tied), adapter).merge_and_unload().state_dict()
    before, merged = weights(base), weights(tmp_path / "merged")
    assert set(merged) == set(before), "a tied model stays tied"
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, oracle[name], rtol=0, atol=1e-6)
    for name in ("model.embed_tokens.weight", "lm_head.weight")[: 2 - tied]:
        changed = (before[name] != merged[name]).any(1).nonzero().flatten().tolist()
        assert changed == [3, 7, 60]
    assert summary["logit_difference"] < 1e-4 and summary["untied"] is False
    assert summary["merged_tensors"] == 14 + 2 - tied


def test_a_matrix_that_is_stored_twice_stays_one_matrix(tmp_path: Path) -> None:
    """Some tied models also have the head in their files; loaders that ignore it and those that read it must agree."""
    base = save_tiny_llama(tmp_path / "base", tie_word_embeddings=True)
    state = weights(base)
    save_file(state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}, base / "model.safetensors")
    merge_adapter(
        model=base, adapter=save_adapter(tmp_path / "adapter", tied=True, token_ids=[7]), out=tmp_path / "merged"
    )
    merged = weights(tmp_path / "merged")
    assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    assert not torch.equal(merged["lm_head.weight"], state["model.embed_tokens.weight"])


def adapter_on_a_tied_head(folder: Path) -> Path:
    """As PEFT makes one: the embedding stays, the head is changed."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["lm_head", "q_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(tiny_llama(tie_word_embeddings=True), config)
    disturb(model, 0.3)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


@pytest.mark.parametrize("shard", ["1GB", "20KB"])
@pytest.mark.parametrize("stored", [False, True])
def test_a_tied_model_is_untied_where_only_the_head_changes(tmp_path: Path, stored: bool, shard: str) -> None:
    base, adapter = tmp_path / "base", adapter_on_a_tied_head(tmp_path / "adapter")
    tiny_llama(tie_word_embeddings=True).save_pretrained(base, max_shard_size=shard)
    if stored and shard == "1GB":
        state = weights(base)
        save_file(state | {"lm_head.weight": state["model.embed_tokens.weight"].clone()}, base / "model.safetensors")
    summary = merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    assert summary["untied"] is True and summary["logit_difference"] < 1e-4
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False
    merged = weights(tmp_path / "merged")
    assert torch.equal(merged["model.embed_tokens.weight"], weights(base)["model.embed_tokens.weight"])
    assert not torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()
    ids = torch.randint(61, (1, 20))
    oracle = PeftModel.from_pretrained(tiny_llama(tie_word_embeddings=True), adapter).eval()
    torch.testing.assert_close(model(input_ids=ids).logits, oracle(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


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


def test_new_files_have_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")
    (tmp_path / "plain").touch()
    wanted = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "merged" / "model.safetensors").stat().st_mode == wanted
    assert (adapter / lora.ADAPTER_FILE).stat().st_mode == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_weight_file_is_read_back_by_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"b": torch.randn(3, 5).to(dtype), "a": torch.randn(7).to(dtype), "é": torch.zeros(0, 4, dtype=dtype)}
    shards.save(tensors, tmp_path / "x.safetensors", {"k": "v"})
    back = load_file(tmp_path / "x.safetensors")
    assert set(back) == set(tensors) and all(torch.equal(back[name], tensors[name]) for name in back)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "k": "v"}
    names = shards.rewrite(
        tmp_path / "x.safetensors", tmp_path / "y.safetensors", lambda name, t: t + 1 if name != "a" else t, {"c": "a"}
    )
    again = load_file(tmp_path / "y.safetensors")
    assert set(names) == {"a", "b", "c", "é"} == set(again)
    assert torch.equal(again["b"], tensors["b"] + 1) and torch.equal(again["a"], tensors["a"])
    assert torch.equal(again["c"], tensors["a"] + 1), "a copy is changed under its new name"


def test_too_little_memory_leaves_the_logit_check_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, adapter = save_tiny_llama(tmp_path / "base"), save_adapter(tmp_path / "adapter")
    monkeypatch.setattr(merge, "ROOM", 1e12)
    assert merge_adapter(model=base, adapter=adapter, out=tmp_path / "merged")["logit_difference"] is None


MEASURE = """
import sys
from pathlib import Path
from codeup.train.merge import merge_adapter
def memory(name): return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(name)) / 1024
peaks = []
for size in ("small", "large"):
    base, adapter, out = (Path(f"{name}{size}") for name in ("", "adapter-", "merged-"))
    merge_adapter(model=base, adapter=adapter, out=out, check_logits=False)
    peaks.append(memory("VmHWM"))
print(*peaks)
"""


def save_layers(folder: Path, layers: int, mb: int) -> None:
    """`layers` files, each with one square bf16 matrix that the adapter changes and as many bytes that it does not."""
    side = int((mb * 2**20 / 4) ** 0.5)
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weight_map: dict[str, str] = {}
    for number in range(layers):
        name = f"model-{number:05d}.safetensors"
        tensors = {
            f"layers.{number}.{part}.weight": torch.ones(side, side, dtype=torch.bfloat16) for part in ("q", "x")
        }
        shards.save(tensors, folder / name)
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_that_of_one_file_whatever_the_size_of_the_model(tmp_path: Path) -> None:
    """6 files of 32 MB after 6 of 1 MB: 38 to 64 MB more were measured, a file and a matrix, and not 192."""
    save_layers(tmp_path / "small", 6, 1)
    save_layers(tmp_path / "large", 6, 32)
    for size in ("small", "large"):
        side = load_file(tmp_path / size / "model-00000.safetensors")["layers.0.q.weight"].shape[0]
        halves = {"A": torch.ones(4, side), "B": torch.ones(side, 4)}
        (tmp_path / f"adapter-{size}").mkdir()
        names = {f"base_model.model.layers.{n}.q.lora_{h}.weight": t for n in range(6) for h, t in halves.items()}
        shards.save(names, tmp_path / f"adapter-{size}" / lora.ADAPTER_FILE)
        config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
        (tmp_path / f"adapter-{size}" / "adapter_config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    small, large = map(float, done.stdout.split())
    assert large - small < 2.75 * 32, f"{large - small:.0f} MB more for files of 32 MB"
