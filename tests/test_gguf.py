"""GGUF files: the same tokens in llama.cpp as here, for every architecture and quantisation; nothing else passes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize, quantize
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from typer.testing import CliRunner

from codeup.chat import base_prompt_ids, load_renderer
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.export import gguf_lora, gguf_model, gguf_tensors, gguf_tokens
from codeup.export.gguf_lora import write_adapter
from codeup.export.gguf_model import rope_factors, write_model
from codeup.export.gguf_tensors import held
from codeup.export.gguf_verify import Check, verify
from codeup.nano import base_folder
from codeup.train.base import read_config

pytest.importorskip("xllamacpp")
SIZES: dict[str, Any] = {
    "vocab_size": 2048, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.2,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
MODELS: dict[str, Any] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama with biases": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True)),
    "llama 3.1": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "tied llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True, head_dim=32)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=32)),
}


def save(model: Any, folder: Path) -> Path:
    """A model folder with the packaged tokenizer; biases and norms are not left at 0 and 1, where mistakes hide."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * (0.1 if "norm" in name else 0.5))
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base_folder() / name, folder / name)
    return folder


def asked(folder: Path) -> Any:
    tokenizer = load_renderer(folder, "alpaca").tokenizer
    return lambda text: base_prompt_ids(tokenizer, text)


def checked(folder: Path, file: Path, quant: str = "f32", **more: Any) -> Check:
    write_model(folder, file, quant=quant)
    return verify(folder, file, quant=quant, prompt=asked(folder), **more)


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_says_the_same_in_llama_cpp(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    check = checked(save(MODELS[name](), tmp_path / "model"), tmp_path / "m.gguf")
    assert check.differences == []
    assert check.tokens_equal >= check.tokens_compared - 2 > 100  # two near ties at most
    assert bool(check.notes) == (name == "qwen2")  # its tokenizer class composes characters, llama.cpp does not


def test_unchanged_rows_of_queries_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    folder = save(MODELS["llama"](), tmp_path / "model")
    monkeypatch.setattr(gguf_model, "rotation", lambda name, config: lambda values: values)
    assert any("here and" in line for line in checked(folder, tmp_path / "m.gguf").differences)


@pytest.mark.parametrize("quant", ["f16", "q8_0", "q4_0", "q4_k_m"])
def test_a_tensor_of_other_values_would_be_noticed(quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = gguf_model.encode
    spoilt = "blk.3.ffn_up.weight"
    monkeypatch.setattr(
        gguf_model, "encode", lambda values, kind, name: encode(values[::-1] if name == spoilt else values, kind, name)
    )
    write_model(base_folder(), tmp_path / "m.gguf", quant=quant)
    found = [(tensor.name, tensor.wrong) for tensor in held(base_folder(), tmp_path / "m.gguf", quant)]
    assert [name for name, wrong in found if wrong] == [spoilt] and len(found) == 57
    check = verify(base_folder(), tmp_path / "m.gguf", quant=quant, prompt=asked(base_folder()))
    assert any(line.startswith(spoilt) for line in check.differences)


def test_the_bounds_are_what_rounding_can_do_at_worst() -> None:
    """One value of 1 in each block, the others where rounding is furthest off: q8_0 and q4_0 come near their bounds."""
    for kind, step in ((GGMLQuantizationType.Q8_0, 1 / 127), (GGMLQuantizationType.Q4_0, 1 / 8)):
        block = np.full((1, 32), 0.499 * step, np.float32)
        block[0, 7] = 1
        off = np.linalg.norm(dequantize(quantize(block, kind), kind) - block) / np.linalg.norm(block)
        bound = gguf_tensors.Held("", kind.name, 0).bound
        assert 0.9 * bound < off < bound, kind


def test_a_wrong_split_rule_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_tokens, "SPLITS", dict.fromkeys(gguf_tokens.SPLITS, "gpt-2"))
    check = checked(base_folder(), tmp_path / "m.gguf", "bf16")
    assert any("in llama.cpp" in line and "token" in line for line in check.differences)


def test_missing_factors_of_llama_3_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    folder = save(MODELS["llama 3.1"](), tmp_path / "model")
    monkeypatch.setattr(gguf_model, "rope_factors", lambda config: None)
    assert checked(folder, tmp_path / "m.gguf").differences != []


def test_the_factors_of_llama_3_are_those_of_transformers() -> None:
    config = LlamaConfig(**SIZES, rope_parameters=LLAMA3)
    plain = LlamaForCausalLM(LlamaConfig(**SIZES)).model.rotary_emb.inv_freq
    scaled = LlamaForCausalLM(config).model.rotary_emb.inv_freq
    found = rope_factors(config)
    assert found is not None
    np.testing.assert_allclose(found, (plain / scaled).numpy(), rtol=1e-5)
    assert rope_factors(LlamaConfig(**SIZES)) is None


@pytest.mark.parametrize(
    ("quant", "least"), [("bf16", 1.0), ("f16", 1.0), ("q8_0", 0.95), ("q4_0", 0.8), ("q4_k_m", 0.85)]
)
def test_the_packaged_model_in_every_quantisation(quant: str, least: float, tmp_path: Path) -> None:
    check = checked(base_folder(), tmp_path / "m.gguf", quant)
    assert check.differences == [] and check.texts > 20
    assert check.tokens_equal / check.tokens_compared >= least


def test_what_a_file_holds(tmp_path: Path) -> None:
    """Blocks are smaller, vectors stay exact, the head stays finer, and values are within half a step of a block."""
    sizes = {quant: write_model(base_folder(), tmp_path / quant, quant=quant) for quant in ("f32", "q8_0", "q4_0")}
    assert sizes["q8_0"]["bytes"] < 0.28 * sizes["f32"]["bytes"]
    assert sizes["q4_0"]["tensors"] == {"Q8_0": 1, "Q4_0": 43, "F32": 13}
    exact, packed = (GGUFReader(tmp_path / quant) for quant in ("f32", "q8_0"))
    by_name = {tensor.name: tensor for tensor in packed.tensors}
    from gguf.quants import dequantize

    for tensor in exact.tensors:
        there = dequantize(by_name[tensor.name].data, by_name[tensor.name].tensor_type).reshape(tensor.data.shape)
        step = np.abs(tensor.data).max() / 127
        assert np.abs(there - tensor.data).max() <= 0.51 * step + 1e-3 * step, tensor.name


def test_rows_that_make_no_blocks_stay_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = save(LlamaForCausalLM(LlamaConfig(**SIZES | {"intermediate_size": 100})), tmp_path / "model")
    account = write_model(folder, tmp_path / "m.gguf", quant="q8_0")
    assert account["tensors"]["F16"] == 2  # down_proj of two layers has rows of 100
    assert verify(folder, tmp_path / "m.gguf", quant="q8_0", prompt=asked(folder)).differences == []


@pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True}, {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}}]
)
def test_an_adapter_is_switched_on_and_off(settings: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(1)
    folder = save(MODELS["llama"](), tmp_path / "model")
    adapter = adapter_of(folder, tmp_path / "adapter", **settings)
    made = write_adapter(adapter, folder, tmp_path / "lora.gguf")
    assert made["layers"] == 14
    check = checked(folder, tmp_path / "m.gguf", lora=tmp_path / "lora.gguf", adapter=adapter)
    assert check.differences == [] and check.answers == 12


def test_an_adapter_of_another_strength_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    folder = save(MODELS["llama"](), tmp_path / "model")
    adapter = adapter_of(folder, tmp_path / "adapter")
    monkeypatch.setattr(gguf_lora, "_scale", lambda settings, module, rank: 0.5)
    write_adapter(adapter, folder, tmp_path / "lora.gguf")
    assert checked(folder, tmp_path / "m.gguf", lora=tmp_path / "lora.gguf", adapter=adapter).differences != []


def adapter_of(folder: Path, out: Path, **settings: Any) -> Path:
    model = LlamaForCausalLM.from_pretrained(folder)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **settings))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    adapted.save_pretrained(out)
    return out


# --------------------------------------------------------------------------------------------------- what is refused


def spoilt(tmp_path: Path, change: Any, name: str = "tokenizer.json") -> Path:
    folder = shutil.copytree(base_folder(), tmp_path / "model")
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="\\w+"), "no name for this way"),
        (lambda t: t["model"].update(type="WordPiece"), "another kind: WordPiece"),
        (lambda t: t["model"].update(byte_fallback=True), "SentencePiece-like"),
        (lambda t: t.pop("model"), "damaged file"),
    ],
)
def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        write_model(spoilt(tmp_path, change), tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf*")) and not list(tmp_path.glob(".*"))


def test_other_models_and_weights_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a gpt2 cannot be exported"):
        write_model(spoilt(tmp_path / "a", lambda c: c.update(model_type="gpt2"), "config.json"), tmp_path / "m.gguf")
    odd = spoilt(tmp_path / "c", lambda c: c.update(num_attention_heads=7), "config.json")
    with pytest.raises(UserError, match="not a model that can be read"):
        write_model(odd, tmp_path / "m.gguf")
    with pytest.raises(UserError, match="cannot be loaded as a causal language model"):
        read_config(odd)
    folder = shutil.copytree(base_folder(), tmp_path / "b")
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "model.layers.0.extra.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"extra\.weight' has no place"):
        write_model(folder, tmp_path / "m.gguf")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged weight file"):
        write_model(folder, tmp_path / "m.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_a_value_too_large_for_half_precision_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(base_folder(), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][0, 0] = 1e5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"output\.weight holds values beyond float16"):
        write_model(folder, tmp_path / "m.gguf", quant="f16")
    write_model(folder, tmp_path / "m.gguf", quant="bf16")


def test_dora_and_foreign_adapters_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    folder = save(MODELS["llama"](), tmp_path / "model")
    with pytest.raises(UserError, match="DoRA has no form"):
        write_adapter(adapter_of(folder, tmp_path / "dora", use_dora=True), folder, tmp_path / "lora.gguf")
    with pytest.raises(UserError, match="cannot be read"):
        write_adapter(tmp_path / "nothing", folder, tmp_path / "lora.gguf")


def test_the_command_publishes_only_what_was_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "nano.gguf"
    done = CliRunner().invoke(
        app, ["export", "gguf", "nano-base", "--quant", "q8_0", "--verify", "--json", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["verified"]["differences"] == [] and said["bytes"] == out.stat().st_size
    kept = sorted(path.name for path in (tmp_path / "nano.tokenizer").iterdir())
    assert kept == ["generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    out.unlink()
    shutil.rmtree(tmp_path / "nano.tokenizer")
    monkeypatch.setattr(gguf_tokens, "SPLITS", dict.fromkeys(gguf_tokens.SPLITS, "gpt-2"))
    done = CliRunner().invoke(app, ["export", "gguf", "nano-base", "--verify", "--out", str(out)])
    assert done.exit_code == 1 and "not published" in done.output
    assert list(tmp_path.iterdir()) == []


def exported(out: Path, model: str, *options: str) -> Any:
    return CliRunner().invoke(app, ["export", "gguf", model, "--out", str(out), *options])


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_whatever_interrupts_an_export_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = adapter_of(base_folder(), tmp_path / "adapter")
    out = tmp_path / "out" / "nano.gguf"
    assert exported(out, "nano-base", "--quant", "q8_0", "--adapter", str(adapter)).exit_code == 0
    before = everything(out.parent)
    assert {"nano.gguf", "nano-lora.gguf", "nano.tokenizer/tokenizer.json"} <= set(before)

    def stops(error: BaseException) -> Any:
        def stop(*_: Any, **__: Any) -> Any:
            raise error

        return stop

    full = OSError("98304 requested and 8496 written")  # as numpy says that a disk is full
    for place, error, code, says in (
        ("codeup.export.gguf_verify.verify", KeyboardInterrupt(), 130, ""),
        ("gguf.GGUFWriter.write_tensor_data", full, 2, "98304 requested"),
        ("gguf.GGUFWriter.write_tensors_to_file", full, 2, "98304 requested"),
        ("shutil.copyfile", full, 2, "cannot write"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, stops(error))
            done = exported(out, "nano-base", "--quant", "f32", "--adapter", str(adapter), "--verify")
        assert done.exit_code == code and says in done.output, (place, done.output)
        assert everything(out.parent) == before and not list(out.parent.glob(".*")), place


def test_a_file_that_is_replaced_takes_nothing_over_from_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    exported(out, "nano-base", "--quant", "q8_0")
    alone = everything(tmp_path)
    (tmp_path / "m.tokenizer" / "chat_template.jinja").write_text("of another model")
    done = exported(out, "nano-base", "--quant", "q8_0")
    assert "which is replaced" in done.stderr and everything(tmp_path) == alone
    out.write_bytes(b"a thesis")
    done = exported(out, "nano-base", "--quant", "q8_0")
    assert done.exit_code == 2 and "is no GGUF file" in done.output and out.read_bytes() == b"a thesis"


def test_what_is_wrong_with_the_options_is_said_before_the_model_is_looked_for(tmp_path: Path) -> None:
    for options, says in ((["--quant", "q9"], "unknown quantisation 'q9'"), (["--out", str(tmp_path)], "is a folder")):
        done = CliRunner().invoke(app, ["export", "gguf", "no-such-model", *options])
        assert done.exit_code == 2 and says in done.output
