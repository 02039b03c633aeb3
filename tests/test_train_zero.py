"""DeepSpeed shares out what it is told to, and the numbers stay those of one process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from typing import Any

import pytest
from ranks_for_tests import PLAIN, RECOMPUTED, Trained, assert_same, drive
from train_models import random_documents, save_tiny_llama

from codeup.errors import UserError
from codeup.train import needs, shapes, strategies
from codeup.train.tokens import write_tokens

ZERO2, ZERO3 = "deepspeed-zero2", "deepspeed-zero3"
SLOWER = {"learning_rate": 1e-3}
FULL = {"method": "full", "lora": {}, "neftune_alpha": 0.0, "epochs": 1, **SLOWER}
MISSING = importlib.util.find_spec("deepspeed") is None
REASON = "DeepSpeed is not installed (pip install -c constraints.txt '.[deepspeed]')"


def installed(test: Callable[..., None]) -> Callable[..., None]:
    """A test of trainings by DeepSpeed, which take most of a minute together."""
    return pytest.mark.slow(pytest.mark.skipif(MISSING, reason=REASON)(test))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Runs by name: their folder and what their ranks returned."""
    folder = tmp_path_factory.mktemp("zero")
    write_tokens(folder / "tokens", random_documents(90))
    write_tokens(folder / "validation", random_documents(14, seed=1))
    save_tiny_llama(folder / "model", num_hidden_layers=4)
    killed, plain = {"killed": [1, 7]}, {**PLAIN, **SLOWER}
    runs: dict[str, dict[str, Any]] = {
        "one": {"count": 1, "more": SLOWER},
        "plain": {"count": 1, "more": plain},
        "full": {"count": 1, "more": FULL},
        "two": {"count": 2, "strategy": ZERO2, "more": SLOWER, **killed},
        "two, Ctrl-C": {"count": 2, "strategy": ZERO2, "more": SLOWER, "interrupted": [0, 6]},
        "two by ddp": {"count": 1, "more": SLOWER, "copy_of": str(folder / "two, Ctrl-C")},
        "two by three": {"count": 3, "strategy": ZERO2, "more": SLOWER, "copy_of": str(folder / "two")},
        "full two": {"count": 2, "strategy": ZERO2, "more": FULL},
        "three": {"count": 2, "strategy": ZERO3, "more": plain, **killed},
        "three by ddp": {"count": 1, "more": plain, "copy_of": str(folder / "three")},
        "three by two": {
            "count": 2,
            "strategy": ZERO3,
            "more": {**RECOMPUTED, **SLOWER},
            "copy_of": str(folder / "three"),
        },
        "full three": {"count": 2, "strategy": ZERO3, "more": FULL},
    }
    inputs = {name: folder / name for name in ("model", "tokens", "validation")}
    answers = drive(inputs, *({**run, "out": folder / name} for name, run in runs.items()))
    return {name: (folder / name, answer) for name, answer in zip(runs, answers, strict=True)}


@installed
@pytest.mark.parametrize(
    ("shared", "alone"),
    [
        ("two by three", "one"), ("two by ddp", "one"), ("full two", "full"),
        ("three by two", "plain"), ("three by ddp", "plain"),
    ],
)  # fmt: skip
def test_the_numbers_are_those_of_one_process(shared: str, alone: str, trained: Trained) -> None:
    """With dropout and noise; all weights; recomputed activations. Begun by two of which one was killed in step 8, or
    the first interrupted in step 7, and gone on with by another number of processes, or under another strategy."""
    out, answers = trained[shared]
    assert all("summary" in answer for answer in answers), answers
    assert_same(trained[alone][0], out)
    begun = {"full two": None, "two by ddp": 7}.get(shared, 6)
    assert {answer["summary"]["resumed_from"] for answer in answers} == {begun}
    figures = ("steps", "tokens", "trained_tokens", "trainable_parameters", "total_parameters", "selected_step")
    for name in figures:
        assert answers[-1]["summary"][name] == trained[alone][1][0]["summary"][name], name


@installed
def test_one_writes_what_one_process_leaves(trained: Trained) -> None:
    one, two = (trained[name][0] for name in ("one", "two by three"))
    assert sorted(p.relative_to(one) for p in one.rglob("*")) == sorted(p.relative_to(two) for p in two.rglob("*"))


@installed
def test_the_others_notice_that_one_was_killed(trained: Trained) -> None:
    for name in ("two", "three"):
        left, dead = trained[name][1]
        assert dead == {"signal": 9}
        assert left["error"] == "LostContact" and "another process of this training ended" in left["message"]


@installed
def test_ctrl_c_waits_for_the_end_of_the_step_and_all_save(trained: Trained) -> None:
    """Half of the moments are elsewhere. It came in step 7, and checkpoints are due after even ones."""
    out, answers = trained["two, Ctrl-C"]
    assert answers == [{"error": "KeyboardInterrupt"}] * 2
    assert (out / "checkpoints" / "step-000007").is_dir()


@installed
def test_each_rank_holds_what_the_plan_counts(trained: Trained) -> None:
    """Stage 2: half of the moments of two. Stage 3: half of the layers, and no more than three of them whole."""
    weights = trained["full"][1][0]["summary"]["trainable_parameters"]
    for answer in trained["full two"][1]:
        assert weights / 2 <= answer["moments"] <= weights / 2 + 8, "padded to equal parts"
    shape = shapes.shape_of(json.loads((trained["one"][0].parent / "model" / "config.json").read_text()))
    layer = (shape.parameters - 2 * shape.head_weights - shape.hidden) // shape.layers
    for answer in trained["three by two"][1]:
        assert shape.layers * layer / 2 <= answer["shares"] <= shape.layers * layer / 2 + 2 * 9 * shape.layers
        assert layer <= answer["passing"] <= needs.PASSING * layer
        assert answer["moments"] == trained["one"][1][0]["summary"]["trainable_parameters"]


@installed
def test_rank_0_reads_the_layers_once_for_all(trained: Trained) -> None:
    whole = trained["one"][1][0]["summary"]
    first, second = (answer["read"] for answer in trained["three by two"][1])
    assert first == whole["total_parameters"] - whole["trainable_parameters"]
    assert second < first / 2, "embedding, head and norm only"


@installed
def test_what_needs_the_whole_base_is_refused(trained: Trained) -> None:
    refused = [answer["message"] for answer in trained["full three"][1] if answer["error"] == "UserError"]
    assert refused, "one that is still joining may only see that the other is gone"
    for message in refused:
        assert f"full trains the base, and strategy {ZERO3} shares out a frozen one" in message


def test_a_missing_or_another_deepspeed_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    strategies.require("fsdp2")
    with pytest.raises(UserError, match="deepspeed-zero2 needs DeepSpeed, which is not installed") as refused:
        strategies.require(ZERO2)
    assert "pip install -c constraints.txt '.[deepspeed]'" in str(refused.value)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.16.3")
    with pytest.raises(
        UserError, match=r"DeepSpeed 0\.16\.3 is installed, and deepspeed-zero3 was made for 0\.19"
    ) as old:
        strategies.require(ZERO3)
    assert "pip install 'deepspeed>=0.19,<0.20'" in str(old.value)
    with pytest.raises(UserError, match="unknown strategy 'zero2'"):
        strategies.require("zero2")
