"""Token files, packs and steps: nothing lost, nothing cut, the same for the same (seed, epoch)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_models import random_documents

from codeup.errors import UserError
from codeup.train import packing
from codeup.train.packing import efficiency, micro_batches, pack, steps
from codeup.train.plan import learning_rate, make_plan
from codeup.train.tokens import open_tokens, write_tokens
from codeup.types import Pack, Tokens


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(0, 5), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_document_is_in_exactly_one_pack_that_holds_it(lengths: list[int], seed: int, epoch: int) -> None:
    packs = pack(lengths, 50, seed=seed, epoch=epoch)
    assert sorted(document for item in packs for document in item.documents) == list(range(len(lengths)))
    for item in packs:
        assert item.length == sum(lengths[document] for document in item.documents) <= 50


def test_best_fit_by_hand() -> None:
    packs = pack([6, 5, 4, 3, 2], 10, seed=0, epoch=0)
    assert {frozenset(item.documents) for item in packs} == {frozenset({0, 2}), frozenset({1, 3, 4})}
    assert efficiency(packs, 10) == 1.0


def test_the_same_seed_and_epoch_give_the_same_packs_and_another_epoch_others() -> None:
    lengths = [7, 3, 9, 4, 4, 8, 2, 6] * 10
    assert pack(lengths, 20, seed=1, epoch=2) == pack(lengths, 20, seed=1, epoch=2)
    assert pack(lengths, 20, seed=1, epoch=2) != pack(lengths, 20, seed=1, epoch=3)
    assert pack(lengths, 20, seed=1, epoch=2) != pack(lengths, 20, seed=2, epoch=2)


def test_windows_lose_no_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "WINDOW", 7)
    packs = pack([5] * 30, 12, seed=0, epoch=0)
    assert sorted(document for item in packs for document in item.documents) == list(range(30))


def test_rows_of_ordinary_length_fill_packs_to_98_percent() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.6, 3000).clip(10, 1000).astype(int)
    assert efficiency(pack(lengths, 1024, seed=0, epoch=0), 1024) > 0.98


def test_a_document_longer_than_a_pack_is_refused_by_number() -> None:
    with pytest.raises(UserError, match=r"1 documents are longer than pack_length 10; the first is number 1 with 11"):
        pack([3, 11, 4], 10, seed=0, epoch=0)


def test_steps_have_equal_size_and_hold_every_pack_in_order() -> None:
    packs = [Pack((i,), 1) for i in range(11)]
    divided = steps(packs, 4)
    assert [len(step) for step in divided] == [2, 3, 3, 3]
    assert [item for step in divided for item in step] == packs


def test_micro_batches_keep_the_order_and_the_limit() -> None:
    packs = [Pack((i,), length) for i, length in enumerate([4, 4, 3, 9, 12, 1])]
    assert [[item.length for item in run] for run in micro_batches(packs, 10)] == [[4, 4], [3], [9], [12], [1]]


def test_tokens_come_back_as_written_and_are_memory_mapped(tmp_path: Path) -> None:
    documents = random_documents(20)
    write_tokens(tmp_path, iter(documents))
    store = open_tokens(tmp_path)
    assert isinstance(store.ids, np.memmap) and len(store) == 20
    for i, document in enumerate(documents):
        ids, trained = store[i]
        assert (tuple(ids.tolist()), tuple(map(bool, trained))) == (document.ids, document.trained)


def test_an_empty_store_opens(tmp_path: Path) -> None:
    assert len(write_tokens(tmp_path, [])) == 0


def test_the_first_token_of_a_document_is_never_counted_as_a_target(tmp_path: Path) -> None:
    store = write_tokens(
        tmp_path, [Tokens((1, 2, 3), (True, True, True)), Tokens((4, 5), (False, True)), Tokens((6,), (True,))]
    )
    assert store.targets_per_document().tolist() == [2, 1, 0]


def test_a_cut_token_file_is_named(tmp_path: Path) -> None:
    write_tokens(tmp_path, random_documents(20))
    path = tmp_path / "ids.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"ids\.npy: damaged"):
        open_tokens(tmp_path)


def test_a_store_whose_writing_was_interrupted_is_refused(tmp_path: Path) -> None:
    def broken() -> object:
        yield Tokens((1,), (True,))
        raise KeyboardInterrupt

    write_tokens(tmp_path, random_documents(3))
    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path, broken())  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"offsets\.npy: no token file"):
        open_tokens(tmp_path)


def test_documents_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    store = write_tokens(tmp_path, [Tokens((1, 2), (False, False)), Tokens((3, 4), (False, True))])
    plan = make_plan(store, capacity=8, tokens_per_batch=8, epochs=1, seed=0)
    assert plan.untrained_documents == 1
    assert plan.packs(0) == [Pack((1,), 2)]


def test_a_document_too_long_is_refused_when_planning_by_its_number_in_the_store(tmp_path: Path) -> None:
    """Document 0 is longer but has no target and is left out, which does not change the numbers of the others."""
    long = Tokens(tuple(range(9)), (False,) * 9)
    store = write_tokens(tmp_path, [long, Tokens((1, 2), (False, True)), Tokens(tuple(range(9)), (True,) * 9)])
    with pytest.raises(UserError, match=r"1 documents are longer than pack_length 8; the first is number 2 with 9"):
        make_plan(store, capacity=8, tokens_per_batch=8, epochs=1, seed=0)


def test_data_without_any_target_is_refused(tmp_path: Path) -> None:
    store = write_tokens(tmp_path, [Tokens((1, 2), (False, False))])
    with pytest.raises(UserError, match="none of the 1 documents has a trained token"):
        make_plan(store, capacity=8, tokens_per_batch=8, epochs=1, seed=0)


def test_any_step_is_found_without_the_ones_before_it(tmp_path: Path) -> None:
    plan = make_plan(write_tokens(tmp_path, random_documents(60)), capacity=32, tokens_per_batch=128, epochs=2, seed=3)
    in_order = plan.reader()
    walked = [in_order(step) for step in range(plan.total_steps)]
    assert [plan.reader()(step) for step in reversed(range(plan.total_steps))] == walked[::-1]
    per_epoch = plan.steps_per_epoch
    for epoch in range(2):
        seen = [
            d for step in walked[epoch * per_epoch : (epoch + 1) * per_epoch] for item in step for d in item.documents
        ]
        assert sorted(seen) == list(range(60))


def test_the_learning_rate_by_hand() -> None:
    rates = [learning_rate(s, peak=1.0, total=10, warmup_ratio=0.2, schedule="cosine") for s in range(10)]
    assert [round(rate, 2) for rate in rates] == [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    with pytest.raises(UserError, match="unknown schedule"):
        learning_rate(9, peak=1.0, total=10, warmup_ratio=0.0, schedule="cosinus")
