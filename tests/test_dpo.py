"""Preferences: the loss against TRL's, its sums by hand, and a stage that learns, resumes and refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from test_train_resume import adapter_bytes, stop_in_step
from train_models import random_documents, save_tiny_llama, tiny_llama

from codeup.errors import UserError
from codeup.train import attention, lora, preference
from codeup.train.batch import collate_packs
from codeup.train.dpo import train_dpo
from codeup.train.loop import Run, accumulate
from codeup.train.loss import library_forward
from codeup.train.metrics import read_metrics
from codeup.train.plan import make_plan
from codeup.train.preference import Preference, log_probabilities
from codeup.train.tokens import TokenStore, open_tokens, write_tokens
from codeup.types import Event, Pack, Tokens

SMALL: dict[str, Any] = {
    "lora": {"r": 4, "alpha": 8},
    "tokens_per_batch": 128,
    "pack_length": 64,
    "learning_rate": 1e-2,
    "beta": 0.5,
    "eval_share": 1.0,
}


def pair(prompt: tuple[int, ...], answer: tuple[int, ...]) -> Tokens:
    return Tokens(prompt + answer, (False,) * len(prompt) + (True,) * len(answer))


def random_pairs(count: int, seed: int = 0) -> list[Tokens]:
    """Chosen and rejected by turns, of different lengths."""
    random = np.random.default_rng(seed)
    documents = []
    for _ in range(count):
        prompt = tuple(random.integers(0, 61, random.integers(2, 9)).tolist())
        documents += [pair(prompt, tuple(random.integers(0, 61, random.integers(2, 14)).tolist())) for _ in range(2)]
    return documents


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("dpo")
    write_tokens(folder / "tokens", random_pairs(24))
    write_tokens(folder / "validation", random_pairs(6, seed=1))
    save_tiny_llama(folder / "model")
    return {name: folder / name for name in ("model", "tokens", "validation")}


def moved(adapter: PeftModel) -> PeftModel:
    """An adapter that has learned something: the reference differs from it."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapter.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.05, generator=generator)
    return adapter


def a_run(folder: Path, objective: Preference, *, micro_batch_tokens: int = 64, pairs: int = 6) -> Run:
    """A run whose reference is the bare model and whose adapter has moved."""
    store = write_tokens(folder / "tokens", random_pairs(pairs))
    plan = make_plan(store, capacity=64, tokens_per_batch=1024, epochs=1, seed=0, group=2)
    model = tiny_llama()
    attention.use_segment_attention(model)
    adapter = lora.attach(model, r=4, alpha=8)
    run = Run(
        model, adapter, store, plan, folder, learning_rate=1e-2, warmup_ratio=0.0, schedule="constant",
        weight_decay=0.0, max_grad_norm=0.0, micro_batch_tokens=micro_batch_tokens, seed=0, objective=objective,
    )  # fmt: skip
    objective.prepare(run, [store], key="", emit=lambda event: None, step_name="")
    moved(adapter)
    return run


def gradients(run: Run) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in run.named.items() if p.grad is not None}


# --- the loss ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trl_trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TRL's own trainer around the same tiny model with PEFT's own LoRA layers."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from peft import LoraConfig
    from tokenizers_for_tests import byte_level

    rows = datasets.Dataset.from_dict({"prompt": ["a"], "chosen": ["b"], "rejected": ["c"]})
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    arguments = trl.DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), beta=0.3, use_cpu=True, report_to="none", bf16=False,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=tiny_llama(), args=arguments, train_dataset=rows, processing_class=byte_level(), peft_config=settings
    )
    return trainer


def padded(store: TokenStore) -> dict[str, torch.Tensor]:
    """TRL's batch: all chosen documents, then all rejected ones, padded on the right."""
    documents = [store[i] for i in (*range(0, len(store), 2), *range(1, len(store), 2))]
    width = max(len(ids) for ids, _ in documents)
    shape = (len(documents), width)
    batch = {name: torch.zeros(shape, dtype=torch.long) for name in ("input_ids", "attention_mask", "completion_mask")}
    for row, (ids, trained) in enumerate(documents):
        batch["input_ids"][row, : len(ids)] = torch.tensor(np.array(ids), dtype=torch.long)
        batch["attention_mask"][row, : len(ids)] = 1
        batch["completion_mask"][row, : len(ids)] = torch.tensor(np.array(trained), dtype=torch.long)
    return batch


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_loss_and_gradients_equal_those_of_trl(tmp_path: Path, trl_trainer: Any, loss: str) -> None:
    run = a_run(tmp_path, Preference(beta=0.3, loss=loss))
    trl_trainer.loss_types = [loss]
    model = trl_trainer.model
    model.load_state_dict({name: p.detach().clone() for name, p in run.named.items()}, strict=False)
    model.zero_grad()
    expected = trl_trainer._compute_loss(model, padded(run.store), False)
    expected.backward()

    packs = run.reader(0)
    sums = accumulate(run, packs, run.objective.divisor(packs, 0))
    assert float(sums[0] / 6) == pytest.approx(expected.item(), abs=1e-5)
    theirs = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert theirs.keys() == run.named.keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert largest > 1e-3
    for name, gradient in gradients(run).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-4 * largest)


def test_the_figures_by_hand(tmp_path: Path) -> None:
    """Every pair alone, through transformers' own forward pass with and without the adapter."""
    run = a_run(tmp_path, Preference(beta=0.3), pairs=3)

    def log_p(document: int) -> float:
        ids, trained = (torch.tensor(np.array(part), dtype=torch.long) for part in run.store[document])
        run.model.set_attn_implementation("sdpa")
        logits = run.model(input_ids=ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        run.model.set_attn_implementation(attention.NAME)
        return float(logits.gather(1, ids[1:, None])[:, 0][trained[1:].bool()].sum())

    with torch.no_grad():
        now = [log_p(i) for i in range(6)]
        with run.adapter.disable_adapter():
            start = [log_p(i) for i in range(6)]
    margins = [0.3 * ((now[i] - start[i]) - (now[i + 1] - start[i + 1])) for i in (0, 2, 4)]
    expected = [
        sum(math.log1p(math.exp(-m)) for m in margins) / 3,
        sum(margins) / 3,
        sum(m > 0 for m in margins) / 3,
        (now[0] + now[2] + now[4]) / 3,
        (now[1] + now[3] + now[5]) / 3,
    ]
    packs = run.reader(0)
    assert (accumulate(run, packs, 3) / 3).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def single_packs(store: TokenStore, documents: Sequence[int], group: int) -> list[Pack]:
    """A pack for every `group` documents."""
    items = [tuple(documents[at : at + group]) for at in range(0, len(documents), group)]
    return [Pack(item, int(store.lengths[list(item)].sum())) for item in items]


def test_the_reference_is_the_model_with_its_adapter_disabled(tmp_path: Path) -> None:
    run = a_run(tmp_path, Preference())
    batch = collate_packs(run.store, single_packs(run.store, range(len(run.store)), 2))
    counts = [int(run.store[i][1][1:].sum()) for i in range(len(run.store))]
    with torch.no_grad():
        now = log_probabilities(run.model, run.forward, batch, counts)
        with run.adapter.disable_adapter():
            disabled = log_probabilities(run.model, run.forward, batch, counts)
    kept = preference._score_all(run, run.store, next(tmp_path.glob("reference-*.npy")), lambda event: None, "")
    assert np.abs(kept - disabled.numpy()).max() < 1e-4 < np.abs(kept - now.numpy()).max()


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_the_step_does_not_depend_on_micro_batches(tmp_path: Path, loss: str) -> None:
    found = []
    for size in (64, 4096):
        run = a_run(tmp_path / str(size), Preference(loss=loss), micro_batch_tokens=size)
        sums = accumulate(run, run.reader(0), 6)
        found.append((sums, gradients(run)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-4, atol=1e-6)


def test_smoothing_mixes_the_loss_with_that_of_exchanged_answers() -> None:
    gains, lengths = torch.tensor([[0.7, -0.4], [-1.0, 2.0]]), torch.ones(2, 2)

    def losses(e: float, gains: torch.Tensor) -> torch.Tensor:
        objective = Preference(beta=0.5, label_smoothing=e)
        return objective._losses(gains, lengths, 0.5 * (gains[:, 0] - gains[:, 1]))

    mixed = 0.8 * losses(0.0, gains) + 0.2 * losses(0.0, gains.flip(1))
    torch.testing.assert_close(losses(0.2, gains), mixed)
    assert float(losses(0.0, torch.zeros(1, 2))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"beta": 0.0}, "beta 0.0 must be above 0"),
        ({"label_smoothing": 0.5}, "below 0.5"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "no meaning for the loss ipo"),
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preference(**change)


# --- packs of pairs ------------------------------------------------------------------------------------------------


def test_both_answers_of_a_pair_share_a_pack(tmp_path: Path) -> None:
    store = write_tokens(tmp_path, random_pairs(40))
    plan = make_plan(store, capacity=64, tokens_per_batch=128, epochs=2, seed=0, group=2)
    for epoch in range(2):
        seen: list[int] = []
        for item in plan.packs(epoch):
            chosen, rejected = item.documents[::2], item.documents[1::2]
            assert all(a % 2 == 0 and b == a + 1 for a, b in zip(chosen, rejected, strict=True))
            assert item.length == store.lengths[list(item.documents)].sum() <= 64
            seen += item.documents
        assert sorted(seen) == list(range(80))


def test_a_pair_with_nothing_to_learn_on_one_side_is_left_out(tmp_path: Path) -> None:
    documents = random_pairs(3)
    documents[3] = Tokens(documents[3].ids, (False,) * len(documents[3].ids))
    plan = make_plan(write_tokens(tmp_path, documents), capacity=64, tokens_per_batch=64, epochs=1, seed=0, group=2)
    assert sorted(d for item in plan.packs(0) for d in item.documents) == [0, 1, 4, 5]
    assert plan.untrained_documents == 1


def test_documents_that_are_not_pairs_are_refused(tmp_path: Path) -> None:
    store = write_tokens(tmp_path, random_documents(5))
    with pytest.raises(UserError, match="5 documents are not pairs"):
        make_plan(store, capacity=64, tokens_per_batch=64, epochs=1, seed=0, group=2)


# --- a stage -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(inputs: dict[str, Any]) -> tuple[dict[str, Any], Path, list[Event]]:
    out = inputs["model"].parent / "out"
    events: list[Event] = []
    summary = train_dpo(**inputs, out=out, **SMALL, epochs=3, evals_per_epoch=2, emit=events.append)
    return summary, out, events


def test_the_first_step_knows_no_preference_and_later_ones_do(
    uninterrupted: tuple[dict[str, Any], Path, list[Event]],
) -> None:
    summary, out, _ = uninterrupted
    rows = [row for row in read_metrics(out / "metrics.jsonl") if "loss" in row]
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5) and abs(rows[0]["margin"]) < 1e-5
    assert summary["train_loss"] < 0.4 and summary["margin"] > 0.5 and summary["accuracy"] == 1.0
    assert not list(out.glob("reference-*")) and not (out / "checkpoints").exists()


def test_what_the_summary_says_is_in_the_metrics(uninterrupted: tuple[dict[str, Any], Path, list[Event]]) -> None:
    summary, out, events = uninterrupted
    rows = read_metrics(out / "metrics.jsonl")
    evaluations = [row for row in rows if "eval_loss" in row]
    last = [row for row in rows if "margin" in row and row["epoch"] > 2]
    assert len(evaluations) == 6 and evaluations[-1]["eval_margin"] == summary["eval_margin"]
    assert summary["margin"] == pytest.approx(sum(row["margin"] for row in last) / len(last))
    assert summary["trained_tokens"] == 3 * sum(sum(document.trained) for document in random_pairs(24))
    scored = [event.done for event in events if event.unit.startswith("pairs scored")]
    assert max(scored) == 24 and any("margin" in event.values for event in events[-3:])


def test_the_evaluation_is_that_of_the_saved_adapter(
    uninterrupted: tuple[dict[str, Any], Path, list[Event]], inputs: dict[str, Any]
) -> None:
    summary, out, _ = uninterrupted
    model = tiny_llama()
    attention.use_segment_attention(model)
    trained = PeftModel.from_pretrained(model, out / "adapter").eval()
    store = open_tokens(inputs["validation"])
    batch = collate_packs(store, single_packs(store, range(12), 2))
    counts = [int(store[i][1][1:].sum()) for i in range(12)]
    with torch.no_grad():
        now = log_probabilities(model, library_forward(model), batch, counts)
        with trained.disable_adapter():
            start = log_probabilities(model, library_forward(model), batch, counts)
    gains = now - start
    margin = 0.5 * (gains[:, 0] - gains[:, 1])
    assert summary["eval_margin"] == pytest.approx(float(margin.mean()), rel=1e-4)
    assert summary["eval_loss"] == pytest.approx(float(-torch.nn.functional.logsigmoid(margin).mean()), rel=1e-4)


def test_an_interrupted_stage_ends_with_the_same_bytes(
    inputs: dict[str, Any],
    uninterrupted: tuple[dict[str, Any], Path, list[Event]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {**inputs, "out": tmp_path, **SMALL, "epochs": 3, "evals_per_epoch": 2}
    with monkeypatch.context() as patched:
        stop_in_step(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            train_dpo(**settings)
    assert len(list(tmp_path.glob("reference-*.npy"))) == 2
    monkeypatch.setattr(preference, "log_probabilities", _only_while_training(preference.log_probabilities))
    assert train_dpo(**settings)["resumed_from"] == 4
    assert adapter_bytes(tmp_path) == adapter_bytes(uninterrupted[1])
    ours, theirs = (
        [
            {k: v for k, v in row.items() if not k.startswith(("seconds", "tokens_per", "eval_seconds"))}
            for row in read_metrics(path)
        ]
        for path in (tmp_path / "metrics.jsonl", uninterrupted[1] / "metrics.jsonl")
    )
    assert ours == theirs


def _only_while_training(original: Any) -> Any:
    """Fails when the reference is scored again: scoring needs no gradient, and neither eval mode nor B = 0 matter."""

    def checked(model: Any, forward: Any, batch: Any, counts: Any) -> torch.Tensor:
        found = original(model, forward, batch, counts)
        scoring = not found.requires_grad and all(
            float(p.detach().abs().max()) == 0 for name, p in model.named_parameters() if "lora_B" in name
        )
        assert not scoring, "the reference was scored again"
        return found

    return checked


def test_an_interrupted_scoring_goes_on_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = a_run(tmp_path / "whole", Preference()).objective
    monkeypatch.setattr(preference, "SAVE_EVERY_S", 0.0)
    calls = iter([True, True])
    original = preference.log_probabilities

    def stopping(*arguments: Any) -> torch.Tensor:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(preference, "log_probabilities", stopping)
        with pytest.raises(KeyboardInterrupt):
            a_run(tmp_path / "part", Preference())
    kept = np.load(next((tmp_path / "part").glob("reference-*.npy")))
    assert 0 < np.isfinite(kept).all(1).sum() < 6
    again = a_run(tmp_path / "part", Preference()).objective
    assert isinstance(whole, Preference) and isinstance(again, Preference)
    (expected,), (found,) = whole.reference.values(), again.reference.values()
    assert torch.equal(found, expected) and torch.isfinite(found).all()


def test_another_beta_does_not_continue_the_checkpoints(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_in_step(patched, 3)
        with pytest.raises(KeyboardInterrupt):
            train_dpo(**inputs, out=tmp_path, **SMALL)
    with pytest.raises(UserError, match="other settings"):
        train_dpo(**inputs, out=tmp_path, **SMALL | {"beta": 0.1})
