"""Several processes train what one does: the same losses, the same adapter, whatever happens to one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ranks_for_tests import PAIRS, PLAIN, RECOMPUTED, STEPS, Trained, assert_same, drive
from safetensors.torch import load_file
from train_models import random_documents, save_tiny_llama, tiny_llama

from codeup.errors import UserError
from codeup.train import needs, packing, place, shapes
from codeup.train.identity import agree
from codeup.train.metrics import read_metrics
from codeup.train.ranks import Ranks
from codeup.train.tokens import write_tokens
from codeup.types import Pack

LIKE_70B: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 224,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
}
"""Llama-3-70B's proportions (arXiv 2407.21783, table 3): MLP 3.5 times as wide, eight query heads to a key head."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ranks")
    write_tokens(folder / "tokens", random_documents(90))
    write_tokens(folder / "validation", random_documents(14, seed=1))
    save_tiny_llama(folder / "model")
    tiny_llama(**LIKE_70B).save_pretrained(folder / "scaled", max_shard_size="200KB")
    return {name: folder / name for name in ("model", "tokens", "validation")}


@pytest.fixture(scope="module")
def trained(inputs: dict[str, Path]) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """Runs by name: their folder and what their ranks returned."""
    folder = inputs["model"].parent
    scaled = {**PLAIN, "epochs": 1, "learning_rate": 1e-3, "model": str(folder / "scaled")}
    runs: dict[str, dict[str, Any]] = {
        "one": {"count": 1},
        "two": {"count": 2},
        "plain": {"count": 1, "more": PLAIN},
        "plain two": {"count": 2, "more": PLAIN},
        "pairs": {"count": 1, "more": PAIRS},
        "pairs two": {"count": 2, "more": PAIRS},
        "killed": {"count": 2, "killed": [1, 7]},
        "killed too": {"count": 2, "killed": [0, 7]},
        "resumed by 1": {"count": 1, "copy_of": str(folder / "killed")},
        "resumed by 3": {"count": 3, "copy_of": str(folder / "killed")},
        "shared": {"count": 2, "strategy": "fsdp2", "more": PLAIN},
        "shared pairs": {"count": 2, "strategy": "fsdp2", "more": PAIRS},
        "shared, killed": {"count": 2, "strategy": "fsdp2", "more": PLAIN, "killed": [1, 7]},
        "shared, resumed": {
            "count": 3,
            "strategy": "fsdp2",
            "more": RECOMPUTED,
            "copy_of": str(folder / "shared, killed"),
        },
        "shared, full": {"count": 2, "strategy": "fsdp2", "more": {"method": "full"}},
        "scaled": {"count": 1, "more": scaled},
        "scaled shared": {"count": 2, "strategy": "fsdp2", "more": scaled},
        "other rate": {"count": 2, "more_of": {"1": {"learning_rate": 2e-2}}},
        "other data": {"count": 2, "more_of": {"1": {"tokens": str(inputs["validation"])}}},
    }
    answers = drive(inputs, *({**run, "out": folder / name} for name, run in runs.items()))
    return {name: (folder / name, answer) for name, answer in zip(runs, answers, strict=True)}


@pytest.mark.parametrize("name", ["one", "plain", "pairs"])
def test_two_processes_train_what_one_does(name: str, trained: Trained) -> None:
    """With dropout and noise; without; preferences."""
    first, second = (name, "two") if name == "one" else (name, f"{name} two")
    assert_same(trained[first][0], trained[second][0])
    summary = trained[first][1][0]["summary"]
    of_two = [answer["summary"] for answer in trained[second][1]]
    assert [of_two[0][key] for key in ("steps", "tokens", "trained_tokens", "processes")] == [
        *(summary[key] for key in ("steps", "tokens", "trained_tokens")),
        2,
    ]
    assert of_two[1]["selected_step"] == summary["selected_step"]


@pytest.mark.parametrize(
    ("shared", "whole"),
    [("shared", "plain"), ("shared pairs", "pairs"), ("shared, resumed", "plain"), ("scaled shared", "scaled")],
)
def test_a_shared_out_base_trains_what_a_whole_one_does(shared: str, whole: str, trained: Trained) -> None:
    """Examples; preferences; two ranks of which one was killed, then three that recompute activations; the proportions
    of a 70B model in several files."""
    assert all("summary" in answer for answer in trained[shared][1]), trained[shared][1]
    assert_same(trained[shared][0], trained[whole][0])


def test_each_rank_reads_its_share_and_nothing_else(inputs: dict[str, Path], trained: Trained) -> None:
    """Half of the layers, and all of embedding, head and norm."""
    stored = {name: tensor.shape for name, tensor in load_file(inputs["model"] / "model.safetensors").items()}
    whole = sum(shape.numel() for name, shape in stored.items() if ".layers." not in name)
    halves = sum(shape.numel() // 2 for name, shape in stored.items() if ".layers." in name)
    assert [answer["read"] for answer in trained["shared"][1]] == [whole + halves] * 2
    config = json.loads((inputs["model"].parent / "scaled" / "config.json").read_text())
    shape = shapes.shape_of(config)
    layer = (shape.parameters - 2 * shape.head_weights - shape.hidden) // shape.layers
    planned = needs.sharded_bytes(shape, 1, 2) - needs.PASSING * layer
    assert len(list((inputs["model"].parent / "scaled").glob("*.safetensors"))) > 3
    assert [answer["read"] for answer in trained["scaled shared"][1]] == [planned] * 2, "as codeup plan counts it"
    assert [answer["read"] for answer in trained["two"][1]] == [0, 0], "the counter is of shares only"


def test_what_needs_the_whole_base_is_refused_in_shares(trained: Trained) -> None:
    assert trained["shared, full"][1][0]["error"] == "UserError"
    assert (
        "full trains the base, and strategy fsdp2 shares out a frozen one" in trained["shared, full"][1][0]["message"]
    )


def test_one_writes(trained: Trained) -> None:
    """The folder holds what one process leaves, and each row once."""
    one, two = (trained[name][0] for name in ("one", "two"))
    assert sorted(p.relative_to(one) for p in one.rglob("*")) == sorted(p.relative_to(two) for p in two.rglob("*"))
    assert [row["step"] for row in read_metrics(two / "metrics.jsonl") if "loss" in row] == [*range(1, STEPS + 1)]


@pytest.mark.slow
def test_four_processes_train_what_one_does(inputs: dict[str, Path], trained: Trained) -> None:
    out = inputs["model"].parent / "four"
    answers = drive(inputs, {"count": 4, "out": out})[0]
    assert all(answer["summary"]["processes"] == 4 for answer in answers), answers
    assert_same(trained["one"][0], out)


def test_the_others_notice_that_one_was_killed(trained: Trained) -> None:
    for name, dead in (("killed", 1), ("killed too", 0), ("shared, killed", 1)):
        answers = trained[name][1]
        assert answers[dead] == {"signal": 9}
        assert answers[1 - dead]["error"] == "LostContact"
        assert "another process of this training ended" in answers[1 - dead]["message"]


def test_a_training_goes_on_with_another_number_of_processes(trained: Trained) -> None:
    """Two, one of them killed in step 8; then one or three, from the checkpoint after step 6."""
    for count in (1, 3):
        out, answers = trained[f"resumed by {count}"]
        assert [answer["summary"]["resumed_from"] for answer in answers] == [6] * count
        assert_same(trained["one"][0], out)


def test_ranks_that_mean_different_trainings_are_told_apart(trained: Trained) -> None:
    for name, what in (("other rate", "recipe"), ("other data", "training data")):
        out, answers = trained[name]
        assert [answer["error"] for answer in answers] == ["UserError"] * 2
        assert f"process 1 of 2 has another {what} than process 0" in answers[0]["message"]
        assert not out.exists(), "nothing was begun"


def test_packs_are_dealt_in_equal_numbers_of_tokens() -> None:
    packs = [Pack((at,), length) for at, length in enumerate((10, 9, 8, 3))]
    dealt = packing.deal(packs, 2, 12, whole=False)
    assert [[micro.packs for micro in share] for share in dealt] == [[[packs[0]], [packs[3]]], [[packs[1]], [packs[2]]]]
    (alone,) = packing.deal(packs, 1, 12, whole=True)
    assert [micro.packs for micro in alone] == packing.micro_batches(packs, 12)
    assert [micro.number for micro in alone] == [0, 1, 2]
    dealt = packing.deal(packs, 2, 12, whole=True)
    assert [[(micro.number, micro.length) for micro in share] for share in dealt] == [[(2, 11)], [(0, 10), (1, 9)]]


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("whole", [False, True])
def test_no_rank_has_more_than_one_pack_or_micro_batch_above_the_least(ranks: int, whole: bool) -> None:
    """Of 2,000 documents with lengths as of instructions: in every step, and every pack goes to exactly one rank."""
    lengths = np.random.default_rng(0).lognormal(5.5, 0.8, 2000).astype(int).clip(8, 1024)
    packs = packing.pack(lengths, 1024, seed=0, epoch=0)
    for step in packing.steps(packs, 8):
        dealt = packing.deal(step, ranks, 2048, whole=whole)
        loads = [sum(micro.length for micro in share) for share in dealt]
        assert max(loads) - min(loads) <= (2048 if whole else 1024)
        assert sum(loads) == sum(item.length for item in step)
        given = [item.documents for share in dealt for micro in share for item in micro.packs]
        assert sorted(given) == sorted(item.documents for item in step)


@pytest.mark.parametrize("name", ["base_sha256", "version"])
def test_another_base_or_version_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Process 1 of 3 has it; what all say is what the first raises, too."""
    facts = {"base_sha256": "a", "tokens_sha256": "b", "lora": {"r": 4}}
    told: list[dict[str, str]] = []
    team = Ranks(0, 3)

    def gather(found: list[Any], mine: dict[str, str], group: Any) -> None:
        other = {"base model": "c"} if name == "base_sha256" else {"version of CodeUp or PyTorch": "2.0"}
        found[:] = [mine, mine | other, mine]
        told.append(mine)

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    what = "base model" if name == "base_sha256" else "version of CodeUp or PyTorch"
    with pytest.raises(UserError, match=f"process 1 of 3 has another {what} than process 0; nothing was trained"):
        agree(team, facts)
    assert told[0]["base model"] == "a" and told[0]["training data"] == "b"


def test_ranks_in_lockstep_make_equally_many_passes() -> None:
    packs = [Pack((at,), 10) for at in range(3)]
    dealt = packing.deal(packs, 2, 10, whole=False, lockstep=True)
    assert [[(micro.packs[0].documents, micro.counts) for micro in share] for share in dealt] == [
        [((0,), True), ((2,), True)],
        [((1,), True), ((0,), False)],
    ]


def test_a_place_comes_from_the_launchers_variables() -> None:
    given = {"RANK": "5", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}
    assert place.here(given) == place.Place(5, 16, 1, "node-0:29500")
    assert place.here({}) is place.here({"WORLD_SIZE": "1"}) is None
    for change, words in (
        ({"MASTER_PORT": ""}, "MASTER_PORT not set"),
        ({"RANK": "16"}, "RANK 16 is not below WORLD_SIZE 16"),
        ({"LOCAL_RANK": "one"}, "LOCAL_RANK is 'one', not a number"),
    ):
        with pytest.raises(UserError, match=words):
            place.here(given | change)
