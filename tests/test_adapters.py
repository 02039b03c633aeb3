"""Every adapter method trains, is saved for the base as it was, and resumes to the same bytes; PEFT is the oracle."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from train_models import plain_loss, random_documents, save_tiny_llama, stop_in_step, tiny_llama
from transformers import AutoModelForCausalLM

from codeup.errors import UserError
from codeup.train import attention, lora, loss, neftune, selection, token_rows, trained_head
from codeup.train.batch import collate
from codeup.train.decoder import lean_forward
from codeup.train.loss import library_forward
from codeup.train.merge import merge_adapter, pass_on
from codeup.train.metrics import read_metrics
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Event

SMALL: dict[str, Any] = {
    "tokens_per_batch": 128,
    "pack_length": 64,
    "learning_rate": 1e-2,
    "epochs": 2,
    "checkpoint_every_steps": 3,
}
R = {"r": 4, "alpha": 8}
METHODS: dict[str, dict[str, Any]] = {
    "rslora": {"lora": {**R, "use_rslora": True}},
    "dora": {"lora": {**R, "use_dora": True, "dropout": 0.1}},
    "pissa": {"lora": {**R, "init": "pissa"}},
    "pissa fast, dora": {"lora": {**R, "init": "pissa_fast", "use_dora": True}},
    "pissa, token rows, patterns": {
        "lora": {
            **R,
            "init": "pissa",
            "use_rslora": True,
            "token_ids": [3, 7, 60],
            "rank_pattern": {"down_proj": 2},
            "alpha_pattern": {"q_proj": 3.0},
        },
    },
    "dora, token rows, neftune": {
        "lora": {**R, "use_dora": True, "token_ids": [3, 60], "plus_ratio": 4.0},
        "neftune_alpha": 1.0,
    },
    "lora+, patterns": {"lora": {**R, "plus_ratio": 16.0, "rank_pattern": {"down_proj": 2}}},
    "token rows": {"lora": {**R, "token_ids": [3, 7, 60]}},
    "neftune": {"lora": R, "neftune_alpha": 1.0},
    "full": {"method": "full", "lora": {}, "learning_rate": 1e-3, "neftune_alpha": 1.0},
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("adapters")
    write_tokens(folder / "tokens", random_documents(30))
    write_tokens(folder / "validation", random_documents(12, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


def result(out: Path) -> bytes:
    file = out / "adapter" / lora.ADAPTER_FILE
    return (file if file.exists() else out / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_is_saved_as_trained_merges_and_resumes_to_the_same_bytes(
    method: str, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, **METHODS[method]}
    out, again, merged = tmp_path / "out", tmp_path / "again", tmp_path / "merged"
    summary = train_sft(**inputs, out=out, **settings)
    rows = [row["loss"] for row in read_metrics(out / "metrics.jsonl") if "loss" in row]
    assert summary["train_loss"] < rows[0]

    # What was evaluated in training is what loads onto the untouched base, in PEFT and merged.
    if settings.get("method") == "full":
        pass_on(out / "model", merged)
    else:
        peft = PeftModel.from_pretrained(tiny_llama(), out / "adapter").eval()
        assert plain_loss(random_documents(12, seed=1), peft) == pytest.approx(summary["eval_loss"], rel=1e-5)
        facts = merge_adapter(model=inputs["model"], adapter=out / "adapter", out=merged)
        assert facts["base_verified"] is True and facts["logit_difference"] < 1e-4
    model = AutoModelForCausalLM.from_pretrained(merged)
    assert plain_loss(random_documents(12, seed=1), model) == pytest.approx(summary["eval_loss"], rel=1e-5)

    # Stopped in the fifth step, with another number of threads before it goes on.
    with monkeypatch.context() as patched:
        stop_in_step(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            train_sft(**inputs, out=again, **settings)
    torch.set_num_threads(torch.get_num_threads() + 1)
    try:
        assert train_sft(**inputs, out=again, **settings)["resumed_from"] == 4
    finally:
        torch.set_num_threads(torch.get_num_threads() - 1)
    assert result(again) == result(out)


@pytest.mark.parametrize("method", METHODS)
def test_the_chosen_step_is_what_is_published(
    method: str, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two evaluations is made to look the better one."""
    real: list[float] = []

    def rising(*arguments: Any) -> dict[str, float]:
        real.append(held_out_means(*arguments)["eval_loss"])
        return {"eval_loss": float(len(real))}

    held_out_means = selection.held_out_means
    monkeypatch.setattr(selection, "held_out_means", rising)
    settings = {**SMALL, **METHODS[method], "select_by": "eval_loss", "eval_share": 1.0}
    summary = train_sft(**inputs, out=tmp_path, **settings)
    assert summary["selected_step"] < summary["steps"] and real[0] != real[1]
    if settings.get("method") == "full":
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    else:
        model = PeftModel.from_pretrained(tiny_llama(), tmp_path / "adapter").eval()
    assert plain_loss(random_documents(12, seed=1), model) == pytest.approx(real[0], rel=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["metrics.jsonl", "train.json", "model" if settings.get("method") == "full" else "adapter"]
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_in_bfloat16(method: str, inputs: dict[str, Any], tmp_path: Path) -> None:
    settings = {**SMALL, **METHODS[method], "epochs": 1, "dtype": "bfloat16"}
    summary = train_sft(**inputs | {"validation": None}, out=tmp_path, **settings)
    rows = [row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rows[-1] < rows[0] and summary["packed_logit_difference"] < 0.5


def test_pissa_begins_as_the_base_with_the_largest_directions_and_is_saved_with_twice_the_rank(tmp_path: Path) -> None:
    base = tiny_llama()
    weight = base.model.layers[0].self_attn.q_proj.weight.detach().clone()
    model = lora.attach(base, r=4, alpha=8, init="pissa")
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    product = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    u, s, v = torch.linalg.svd(weight)
    torch.testing.assert_close(product, u[:, :4] @ torch.diag(s[:4]) @ v[:4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.get_base_layer().weight + product, weight)


def test_pissa_with_a_rank_that_a_matrix_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"rank 20 is more than model\.layers\.0\.self_attn\.k_proj has directions"):
        lora.attach(tiny_llama(), r=20, alpha=8, init="pissa")


def test_lora_plus_gives_the_rates_of_peft() -> None:
    ours = lora.attach(tiny_llama(), r=4, alpha=8)
    theirs = create_loraplus_optimizer(ours, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0)
    named = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    wanted = {id(p): group["lr"] for group in theirs.param_groups for p in group["params"]}
    groups = lora.parameter_groups(named, plus_ratio=16.0, weight_decay=0.1)
    assert {id(p): 1e-3 * group["scale"] for group in groups for p in group["params"]} == pytest.approx(wanted)
    assert {group["weight_decay"] for group in groups} == {0.1}


def test_what_does_not_begin_at_zero_does_not_decay() -> None:
    model = lora.attach(tiny_llama(), r=4, alpha=8, use_dora=True, token_ids=[3])
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups = lora.parameter_groups(named, plus_ratio=1.0, weight_decay=0.1)
    still = {id(p) for group in groups if not group["weight_decay"] for p in group["params"]}
    assert {name for name, p in named.items() if id(p) in still} == {
        name for name in named if "magnitude" in name or "trainable_tokens" in name
    }


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"'dwon_proj' is the name of no layer"):
        lora.attach(tiny_llama(), r=4, alpha=8, rank_pattern={"dwon_proj": 2})


@pytest.mark.parametrize(
    ("settings", "quantization", "where"),
    [
        ({"init": "pissa"}, "nf4", "lora.init"),
        ({"use_dora": True}, "int8", "lora.dora"),
        ({"token_init": "mean"}, "none", "lora.token_init"),
    ],
)
def test_settings_that_do_not_work_together_are_refused(
    settings: dict[str, Any], quantization: str, where: str, inputs: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=where):
        train_sft(**inputs, out=tmp_path, lora=settings, quantization=quantization, **SMALL)


# --- token rows ------------------------------------------------------------------------------------------------------


def with_untrained_rows(folder: Path, rows: list[int], **changes: Any) -> Path:
    """As Llama-3's base: nearly nothing in the rows of tokens it never saw."""
    model = tiny_llama(**changes)
    for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
        weight.data[rows] *= 1e-6
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_untrained_rows_are_named_with_the_remedies_and_set_to_the_mean(
    tied: bool, inputs: dict[str, Any], tmp_path: Path
) -> None:
    base = with_untrained_rows(tmp_path / "base", [60], tie_word_embeddings=tied)
    notes: list[Event] = []
    summary = train_sft(
        **inputs | {"model": base},
        out=tmp_path / "out",
        lora={**R, "token_ids": [5, 60], "token_init": "mean"},
        **SMALL | {"learning_rate": 0.0},
        template_tokens={"<bos>": 5, "<end>": 60},
        emit=notes.append,
    )
    both = {"embedding": ["<end>"], "head": ["<end>"]}
    assert summary["untrained_tokens"] == ({"embedding": ["<end>"]} if tied else both)
    text = next(event.text for event in notes if event.kind == "note")
    assert "<end>" in text and "<bos>" not in text and "(1)" in text and "(2)" in text and "(3)" in text
    assert summary["rows_set_to_mean"] == 2 - tied

    merge_adapter(model=base, adapter=tmp_path / "out" / "adapter", out=tmp_path / "merged")
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    for name in ("model.embed_tokens.weight", "lm_head.weight")[: 2 - tied]:
        torch.testing.assert_close(after[name][60], before[name][:60].mean(0))
        assert torch.equal(after[name][:60], before[name][:60])


def test_rows_of_an_ordinary_model_and_of_nano_are_not_called_untrained() -> None:
    from codeup.chat import TEMPLATES, load_renderer
    from codeup.nano import base_folder

    nano = AutoModelForCausalLM.from_pretrained(base_folder())
    for template in TEMPLATES:
        ids = list(load_renderer(base_folder(), template).special_tokens.values())
        assert token_rows.find_untrained(nano, ids) == {}
    assert token_rows.find_untrained(tiny_llama(), list(range(61))) == {}


def test_the_head_with_trained_rows_has_the_loss_and_gradients_of_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    hidden, weight, rows = (torch.randn(*size, requires_grad=True) for size in ((23, 8), (61, 8), (2, 8)))
    bias, places, targets = torch.randn(61, requires_grad=True), torch.tensor([4, 9]), torch.randint(61, (23,))
    monkeypatch.setattr(trained_head, "CHUNK_LOGITS", 61 * 5)
    whole = weight.index_copy(0, places, rows)
    wanted = torch.nn.functional.cross_entropy(hidden @ whole.t() + bias, targets, reduction="sum")
    got = trained_head._HeadLoss.apply(hidden, weight, bias, rows, places, targets)
    torch.testing.assert_close(got, wanted)
    oracle = torch.autograd.grad(wanted * 3, (hidden, bias, rows))
    torch.testing.assert_close(torch.autograd.grad(got * 3, (hidden, bias, rows)), oracle)

    wanted = torch.nn.functional.cross_entropy(hidden @ weight.t() + bias, targets, reduction="sum")
    got = trained_head._HeadLoss.apply(hidden, weight, bias, None, None, targets)
    oracle = torch.autograd.grad(wanted, (hidden, weight, bias))
    torch.testing.assert_close(torch.autograd.grad(got, (hidden, weight, bias)), oracle)


@pytest.mark.parametrize("tied", [False, True])
def test_loss_and_gradients_of_token_rows_equal_those_of_peft(tied: bool) -> None:
    document = random_documents(1, shortest=25)[0]
    ids = torch.tensor([document.ids])
    labels = torch.where(torch.tensor([document.trained]), ids, -100)
    tokens = [*document.ids[-4:]]
    grads = []
    for ours in (False, True):
        base = tiny_llama(tie_word_embeddings=tied)
        model = lora.attach(base, r=4, alpha=8, token_ids=tokens)
        attention.use_segment_attention(base) if ours else None
        if ours:
            batch = collate([(np.array(document.ids, np.int32), np.array(document.trained, np.uint8))])
            forward = lean_forward(base) or library_forward(base)
            value = loss.loss_sum(base, forward, batch, attention.segments_of(batch)) / len(batch.targets)
        else:
            value = model(input_ids=ids, labels=labels, use_cache=False).loss
        value.backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad and "lora_A" not in n})
    assert sum("trainable_tokens" in name for name in grads[0]) == 2 - tied
    for name, wanted in grads[0].items():
        torch.testing.assert_close(grads[1][name], wanted, rtol=1e-4, atol=1e-5)


# --- NEFTune ---------------------------------------------------------------------------------------------------------


def test_the_noise_is_bounded_by_the_length_of_each_document() -> None:
    """alpha / sqrt(L d): with L 4, d 16 and alpha 8 all lie within 1; the mean square is a third of the bound's."""
    torch.manual_seed(0)
    drawn = neftune.noise((4, 10000), 16, 8.0, torch.device("cpu"))
    first, second = drawn[:4], drawn[4:]
    assert first.abs().max() <= 1 and first.abs().max() > 0.9
    bound = 8 / math.sqrt(10000 * 16)
    assert second.abs().max() <= bound
    assert float(second.square().mean()) == pytest.approx(bound**2 / 3, rel=0.02)


def test_noise_is_in_training_and_not_in_evaluation(inputs: dict[str, Any], tmp_path: Path) -> None:
    still = {**SMALL, "learning_rate": 0.0, "lora": R}
    plain = train_sft(**inputs, out=tmp_path / "plain", **still)
    noisy = train_sft(**inputs, out=tmp_path / "noisy", **still, neftune_alpha=5.0)
    assert noisy["eval_loss"] == plain["eval_loss"]
    assert noisy["train_loss"] != plain["train_loss"]


# --- full fine-tuning ------------------------------------------------------------------------------------------------


def test_a_full_step_equals_that_of_transformers_and_adamw(inputs: dict[str, Any], tmp_path: Path) -> None:
    """One clipped step with decay over all documents: against transformers, document by document."""
    settings: dict[str, Any] = {"tokens_per_batch": 4096, "pack_length": 64, "learning_rate": 1e-2}
    settings |= {"schedule": "constant", "warmup_ratio": 0.0, "weight_decay": 0.1}
    train_sft(**inputs | {"validation": None}, out=tmp_path, method="full", lora={}, **settings)
    oracle = tiny_llama()
    count = sum(sum(document.trained) for document in random_documents(30))
    for document in random_documents(30):
        ids = torch.tensor([document.ids])
        labels = torch.where(torch.tensor([document.trained]), ids, -100)
        (oracle(input_ids=ids, labels=labels, use_cache=False).loss * sum(document.trained) / count).backward()
    torch.nn.utils.clip_grad_norm_(oracle.parameters(), 1.0)
    decayed = [p for p in oracle.parameters() if p.ndim > 1]
    plain = [p for p in oracle.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    torch.optim.AdamW(groups, lr=1e-2).step()
    state = load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in oracle.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_a_full_training_keeps_the_dtype_the_files_and_the_tie_of_its_base(
    tied: bool, inputs: dict[str, Any], tmp_path: Path
) -> None:
    tiny_llama(tie_word_embeddings=tied).to(torch.bfloat16).save_pretrained(tmp_path / "base", max_shard_size="20KB")
    base, out = tmp_path / "base", tmp_path / "out"
    summary = train_sft(**inputs | {"model": base}, out=out, method="full", lora={}, **SMALL | {"learning_rate": 1e-3})
    files = [sorted(path.name for path in folder.iterdir()) for folder in (base, out / "model")]
    assert files[0] == files[1] and len(files[0]) == 5
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert model.dtype == torch.bfloat16
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert (
        summary["trainable_parameters"]
        == summary["total_parameters"]
        == tiny_llama(tie_word_embeddings=tied).num_parameters()
    )
    assert plain_loss(random_documents(12, seed=1), model.float()) == pytest.approx(summary["eval_loss"], rel=0.01)
    assert 0 < summary["relative_change"] < 0.2 and 0 < summary["rounding_share"] < 1


def test_passing_a_full_training_on_shares_its_weights_and_copies_the_rest(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    pass_on(inputs["model"], tmp_path / "on")
    assert (tmp_path / "on" / "model.safetensors").samefile(inputs["model"] / "model.safetensors")
    assert not (tmp_path / "on" / "config.json").samefile(inputs["model"] / "config.json")


# --- what an adapter says of itself ----------------------------------------------------------------------------------


def test_an_adapter_records_name_revision_and_hash_of_its_base(inputs: dict[str, Any], tmp_path: Path) -> None:
    names: dict[str, Any] = {"base_name": "owner/model", "base_hub_id": "owner/model", "base_revision": "abc123"}
    train_sft(**inputs, out=tmp_path, lora=R, **SMALL, **names)
    facts = json.loads((tmp_path / "adapter" / "codeup_adapter.json").read_text())
    assert facts["base_name"] == "owner/model" and facts["base_revision"] == "abc123"
    assert len(facts["base_sha256"]) == 64
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "owner/model" and config["revision"] == "abc123"
    other = save_tiny_llama(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="owner/model at revision abc123"):
        merge_adapter(model=other, adapter=tmp_path / "adapter", out=tmp_path / "merged")
