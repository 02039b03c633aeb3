"""One optimiser step's loss and adapter gradients against TRL's SFTTrainer and against transformers alone.

    documents -> our plan, micro-batches, segment attention, frozen head      -> loss, gradients
    documents -> TRL: its best-fit packing, its collator, its compute_loss    -> loss, gradients
    documents -> transformers, one document at a time, labels=                -> loss, gradients

The three share weights and documents and nothing else: TRL packs for itself, in another order and another layout. Some
documents are trained from their first token on, so that the rule "a first token has no predictor" is compared too.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_curve import GOLDEN, train
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers_for_tests import byte_level
from train_models import VOCABULARY, random_documents, tiny_llama
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from codeup.train import lora
from codeup.train.attention import use_segment_attention
from codeup.train.loop import Run, accumulate
from codeup.train.plan import make_plan
from codeup.train.sft import train_sft
from codeup.train.tokens import write_tokens
from codeup.types import Tokens

CAPACITY = 48
LOSS, GRADIENT = 1e-5, 1e-4
"""Relative, in fp32. A gradient is compared as a whole vector: |ours - theirs| / |theirs|."""
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
}


def documents() -> list[Tokens]:
    """Lengths 2 to 30; every third is trained from its first token on."""
    made = random_documents(25, shortest=2)
    return [Tokens(d.ids, (True,) * len(d.ids)) if i % 3 == 0 else d for i, d in enumerate(made)]


def qwen2() -> PreTrainedModel:
    """Biases on q, k and v, which start at zero in transformers and are made random here; tied embeddings."""
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(0, 0.2)
    return model.eval()


def qwen3() -> PreTrainedModel:
    """Norms on queries and keys; head_dim is not hidden / heads."""
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=False)).eval()


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama, grouped heads": tiny_llama,
    "llama, tied": lambda: tiny_llama(tie_word_embeddings=True),
    "qwen2, biases, tied": qwen2,
    "qwen3, norms": qwen3,
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "two targets": {"targets": ["q_proj", "down_proj"]},
}
CASES = [(model, "lora") for model in MODELS] + [("llama, grouped heads", name) for name in ADAPTERS if name != "lora"]


def with_random_b(model: PeftModel) -> PeftModel:
    """B starts at zero, which would hide half of every LoRA bug."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return model


def ours(base: PreTrainedModel, folder: Path, dropout: float = 0.0, micro: int = CAPACITY, **settings: Any) -> Run:
    """A run whose first step holds every document."""
    store = write_tokens(folder / "tokens", documents())
    plan = make_plan(store, capacity=CAPACITY, tokens_per_batch=4096, epochs=1, seed=0)
    adapter = with_random_b(lora.attach(base, r=4, alpha=8, dropout=dropout, **settings))
    use_segment_attention(base)
    adapter.train()
    return Run(base, adapter, store, plan, folder, 1e-3, 0.0, "cosine", 0.0, 0.0, micro, 0)


def our_step(run: Run) -> tuple[float, dict[str, torch.Tensor]]:
    packs = run.reader(0)
    trained = run.reader.targets(packs)
    loss = accumulate(run, packs, trained) / trained
    return float(loss), gradients(run.adapter)


def gradients(model: PeftModel) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def peft_twin(base: PreTrainedModel, run: Run, dropout: float = 0.0, **settings: Any) -> PeftModel:
    """PEFT's own model of the same base with the adapter weights of `run`."""
    names = settings.pop("targets", None) or lora.linear_names(base)
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=dropout, target_modules=names, task_type="CAUSAL_LM", **settings
    )
    twin = get_peft_model(base, config)
    for name, parameter in run.named.items():
        twin.get_parameter(name).data.copy_(parameter.data)
    return twin.train()


def trl_trainer(model: PeftModel, folder: Path) -> Any:
    """TRL's trainer with its own packing of the documents, all of them in one batch."""
    pytest.importorskip("trl", reason="the oracle of this test is trl, which is not installed")
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = documents()
    data = Dataset.from_dict(
        {"input_ids": [list(d.ids) for d in rows], "completion_mask": [[int(t) for t in d.trained] for d in rows]}
    )
    settings = SFTConfig(
        output_dir=str(folder / "trl"),
        packing=True,
        packing_strategy="bfd",
        max_length=CAPACITY,
        completion_only_loss=True,
        per_device_train_batch_size=len(rows),
        per_device_eval_batch_size=len(rows),
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    return SFTTrainer(model=model, args=settings, train_dataset=data, eval_dataset=data, processing_class=byte_level())


def trl_step(model: PeftModel, folder: Path) -> tuple[float, dict[str, torch.Tensor]]:
    trainer = trl_trainer(model, folder)
    (batch,) = list(trainer.get_train_dataloader())
    assert batch["input_ids"].shape == (1, sum(len(d.ids) for d in documents()))
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), gradients(trainer.model)


def transformers_step(model: PeftModel) -> tuple[float, dict[str, torch.Tensor]]:
    """Each document in a forward pass of its own, losses weighted by their number of targets."""
    rows = documents()
    targets = [sum(d.trained[1:]) for d in rows]
    total = 0.0
    for document, count in zip(rows, targets, strict=True):
        if count:
            ids = torch.tensor([document.ids])
            labels = torch.where(torch.tensor([document.trained]), ids, -100)
            loss = model(input_ids=ids, labels=labels, use_cache=False).loss * (count / sum(targets))
            loss.backward()
            total += loss.item()
    return total, gradients(model)


def assert_same(ours_: tuple[float, dict[str, torch.Tensor]], theirs: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert ours_[0] == pytest.approx(theirs[0], rel=LOSS)
    assert ours_[1].keys() == theirs[1].keys() and ours_[1]
    for name, gradient in theirs[1].items():
        assert float((ours_[1][name] - gradient).norm() / gradient.norm()) < GRADIENT, name


def skip_without(settings: dict[str, Any]) -> None:
    for name in settings.keys() - inspect.signature(lora.attach).parameters.keys():
        pytest.skip(f"adapters here know no {name}")


@pytest.mark.parametrize(("model", "adapter"), CASES)
def test_loss_and_gradients_are_those_of_trl(tmp_path: Path, model: str, adapter: str) -> None:
    skip_without(ADAPTERS[adapter])
    base = MODELS[model]()
    run = ours(copy.deepcopy(base), tmp_path, **ADAPTERS[adapter])
    assert_same(our_step(run), trl_step(peft_twin(base, run, **ADAPTERS[adapter]), tmp_path))


@pytest.mark.parametrize(("model", "adapter"), CASES)
def test_loss_and_gradients_are_those_of_documents_alone_in_transformers(
    tmp_path: Path, model: str, adapter: str
) -> None:
    skip_without(ADAPTERS[adapter])
    base = MODELS[model]()
    run = ours(copy.deepcopy(base), tmp_path, **ADAPTERS[adapter])
    assert_same(our_step(run), transformers_step(peft_twin(base, run, **ADAPTERS[adapter])))


def test_evaluation_with_dropout_is_that_of_trl(tmp_path: Path) -> None:
    """No dropout while evaluating, and the mean is over the trained tokens of all documents."""
    write_tokens(tmp_path / "tokens", documents())
    base = tiny_llama()
    base.save_pretrained(tmp_path / "model")
    summary = train_sft(
        model=tmp_path / "model",
        tokens=tmp_path / "tokens",
        validation=tmp_path / "tokens",
        out=tmp_path / "out",
        lora={"r": 4, "alpha": 8, "dropout": 0.5},
        learning_rate=3e-2,
        tokens_per_batch=64,
        pack_length=CAPACITY,
    )
    adapted = PeftModel.from_pretrained(base, tmp_path / "out" / "adapter", is_trainable=True)
    theirs = trl_trainer(adapted, tmp_path).evaluate()["eval_loss"]
    assert summary["eval_loss"] == pytest.approx(theirs, rel=LOSS)
    assert abs(summary["eval_loss"] - summary["train_loss"]) > 0.01, "dropout makes the training loss another one"


def test_dropout_leaves_out_one_set_of_inputs_forward_and_backward() -> None:
    """With A = B = 1 the output shows the mask m: y = x W^T + s (x m / (1 - p)). The gradients must have the same m.

    dx = g W + s (g m / (1 - p))      dA = s g^T (x m / (1 - p))      dB = the same, as A = 1
    """
    model = lora.attach(tiny_llama(), r=32, alpha=64, dropout=0.25, targets=["o_proj"]).train()
    layer = model.get_submodule("base_model.model.model.layers.0.self_attn.o_proj")
    a, b = (layer.get_parameter(f"lora_{half}.default.weight") for half in "AB")
    a.data.copy_(torch.eye(32))
    b.data.copy_(torch.eye(32))
    torch.manual_seed(0)
    x, upstream = torch.randn(1, 200, 32).requires_grad_(), torch.randn(1, 200, 32)
    y = layer(x)
    y.backward(upstream)
    weight, plain = layer.get_base_layer().weight, x.detach()
    kept = (y.detach() - plain @ weight.t()) / 2 / plain  # m / (1 - p)
    mask = (kept > 0.5).float() / 0.75
    torch.testing.assert_close(kept, mask, rtol=1e-2, atol=1e-2)
    assert 0.72 < float((mask > 0).float().mean()) < 0.78  # 6400 draws: 0.75 +- 5.5 standard errors
    dropped = (plain * mask)[0]
    torch.testing.assert_close(x.grad, upstream @ weight + 2 * upstream * mask, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(a.grad, 2 * upstream[0].t() @ dropped, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(b.grad, 2 * upstream[0].t() @ dropped, rtol=1e-4, atol=1e-4)


def test_the_mark_of_a_first_token_changes_nothing(tmp_path: Path) -> None:
    """Were it a target, it would be predicted from the last token of the document before it in the row."""
    results = []
    for name, first in (("marked", True), ("not", False)):
        folder = tmp_path / name
        rows = [Tokens(d.ids, (first, *d.trained[1:])) for d in documents()]
        store = write_tokens(folder, rows)
        run = ours(tiny_llama(), folder)
        run.store, run.plan = store, make_plan(store, capacity=CAPACITY, tokens_per_batch=4096, epochs=1, seed=0)
        run.reader = run.plan.reader()
        results.append(our_step(run))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(gradient, results[1][1][name]) for name, gradient in results[0][1].items())


@pytest.mark.parametrize("micro", [CAPACITY, 130, 4096])
def test_micro_batches_and_the_order_of_packs_change_the_last_digit_at_most(tmp_path: Path, micro: int) -> None:
    run = ours(tiny_llama(), tmp_path, micro=4096)
    packs = run.reader(0)
    trained = run.reader.targets(packs)
    whole = accumulate(run, packs, trained), {name: g.clone() for name, g in gradients(run.adapter).items()}
    run.optimizer.zero_grad()
    run.micro_batch_tokens = micro
    cut = accumulate(run, packs[::-1], trained), gradients(run.adapter)
    assert cut[0].item() == pytest.approx(whole[0].item(), rel=1e-6)
    for name, gradient in whole[1].items():
        assert float((cut[1][name] - gradient).norm() / gradient.norm()) < 2e-6, name


def test_the_loss_in_bfloat16_is_near_that_in_float32(tmp_path: Path) -> None:
    """The base's weights are rounded to 8 bits of mantissa, and so is every product; adapters stay in float32."""
    exact, _ = our_step(ours(tiny_llama(), tmp_path / "a"))
    rounded, _ = our_step(ours(tiny_llama().to(torch.bfloat16), tmp_path / "b"))
    assert rounded == pytest.approx(exact, rel=1e-3) and rounded != exact


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Twenty steps on the nano base: now, and as recorded by `python tests/golden_curve.py`."""
    return train(tmp_path_factory.mktemp("curve")), json.loads(GOLDEN.read_text())


def test_twenty_steps_on_the_nano_base_have_the_recorded_losses(
    curves: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Processors differ in the last digits: with AVX-512, AVX2 or neither, one thread or two, the losses were within
    6e-7 of each other and the norms within 2e-5. A wrong setting shows: alpha 16.1 instead of 16 moves a loss by 3e-3.
    """
    now, recorded = curves
    assert now["tokens_sha256"] == recorded["tokens_sha256"], "the rows or their rendering have changed: record again"
    assert now["tokens"] == recorded["tokens"], "the packs have changed"
    for name, tolerance in (("loss", 1e-3), ("eval_loss", 1e-3), ("grad_norm", 1e-2)):
        assert now[name] == pytest.approx(recorded[name], rel=tolerance), name


def test_the_rates_of_those_steps_are_exact(curves: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """2e-3 after two steps of warm-up, then half a cosine over the other 18, to the last digit of a C library's cos."""
    now, recorded = curves
    rates = [1e-3, 2e-3, *(1e-3 * (1 + math.cos(math.pi * k / 18)) for k in range(18))]
    assert now["learning_rate"] == pytest.approx(rates, rel=1e-15)
    assert now["learning_rate"] == pytest.approx(recorded["learning_rate"], rel=1e-15)
