"""What a stage will need: counts, bytes and operations by hand, and the memory of a real training beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_cli import codeup
from train_models import random_documents, save_tiny_llama

from codeup import models, nano, planning, study
from codeup import recipe as recipes
from codeup.errors import UserError
from codeup.train import counts, gpus, needs, operations, probe, shapes
from codeup.train.tokens import write_tokens

LLAMA = shapes.PUBLISHED["meta-llama/Meta-Llama-3-8B"]
TWO = shapes.Shape(vocabulary=10, hidden=4, intermediate=6, layers=2, heads=2, kv_heads=1, head_dim=2)


def test_llama_3_8b_has_its_published_number_of_parameters() -> None:
    assert LLAMA.parameters == 8_030_261_248
    assert counts.lora_parameters(LLAMA, 32) == 83_886_080


def test_the_studys_adapter_without_gate_proj() -> None:
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    assert counts.lora_parameters(LLAMA, 32, targets) == 65_011_712


def test_ranks_of_a_pattern_are_counted() -> None:
    """q_proj of rank 256 in 32 layers: 83,886,080 - 32 x 32 x 8,192 + 32 x 256 x 8,192, sums and moments of as many."""
    assert counts.lora_parameters(LLAMA, 32, rank_pattern={"q_proj": 256}) == 142_606_336
    found = needs.memory(LLAMA, r=32, rank_pattern={"q_proj": 256}, tokens=4096, bytes_per_weight=2)
    assert (found.gradients, found.optimizer) == (4 * 142_606_336, 8 * 142_606_336)


def test_a_pattern_for_one_layer_is_kept_by_that_layer() -> None:
    """TWO, rank 3 and, in the second layer, 5 for `up_proj` (4 x 6): 2 x 10 parameters more, 2 numbers more a token."""
    pattern = {"layers.1.mlp.up_proj": 5}
    assert counts.lora_parameters(TWO, 3, rank_pattern=pattern) == counts.lora_parameters(TWO, 3) + 20
    plain, other = (
        needs.memory(TWO, r=3, rank_pattern=found, tokens=7, bytes_per_weight=2).activations for found in ({}, pattern)
    )
    assert other == plain + 7 * 2 * 2


PATTERN = {"layers.0.self_attn.q_proj": 5, r".*\.1\.mlp\.(up|down)_proj": 3, "k_proj": 1}
KINDS: dict[str, dict[str, Any]] = {
    "lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}, "pissa": {"init": "pissa"},
    "pissa_fast": {"init": "pissa_fast"},
}  # fmt: skip


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("targets", ["all-linear", ["k_proj", "o_proj", "up_proj", "q_proj", "down_proj"]])
@pytest.mark.parametrize("pattern", [{}, PATTERN])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_is_counted_as_peft_counts_it(kind: str, pattern: Any, targets: Any, tied: bool) -> None:
    """PEFT's own get_nb_trainable_parameters, with and without trained rows of tokens."""
    from train_models import tiny_llama

    from codeup.train import lora

    for rows in ([], [1, 7, 9]):
        model = tiny_llama(tie_word_embeddings=tied)
        shape, whole = shapes.shape_of(model.config.to_dict()), model.num_parameters()
        adapter = lora.attach(model, r=2, alpha=4, targets=targets, rank_pattern=pattern, token_ids=rows, **KINDS[kind])
        trained, total = adapter.get_nb_trainable_parameters()
        counted = counts.lora_parameters(shape, 2, targets, pattern, dora=kind == "dora")
        counted += counts.token_row_parameters(shape, len(rows))
        assert (counted, shape.parameters + counted) == (trained, total), (rows, whole)


def test_token_rows_are_trained_like_the_adapter() -> None:
    """TWO: 3 rows of 4 in embedding and head; the gradient of 7 hidden states of 4 is then made in fp32."""
    plain, rows = (needs.memory(TWO, r=3, token_rows=k, tokens=7, bytes_per_weight=2) for k in (0, 3))
    assert rows.optimizer - plain.optimizer == 8 * 24
    assert rows.gradients - plain.gradients == 4 * 24
    assert rows.logits - plain.logits == 7 * 4 * 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("meta-llama/Llama-3.2-1B", 1_235_814_400),
        ("meta-llama/Llama-3.2-3B", 3_212_749_824),
        ("meta-llama/Meta-Llama-3-70B", 70_553_706_496),
    ],
)
def test_the_table_of_gated_bases_gives_their_published_counts(name: str, parameters: int) -> None:
    assert shapes.PUBLISHED[name].parameters == parameters


def test_nano_base_is_counted_from_its_config_as_from_its_weights() -> None:
    """2 * 2048 * 192 embeddings and head, 6 layers of 405,504, 13 norms of 192."""
    from safetensors import safe_open

    shape = shapes.shape_of(models.read_config("nano-base"))
    with safe_open(nano.base_folder() / "model.safetensors", framework="np") as file:
        stored = sum(int(_product(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118
    assert shape.parameters == stored == 3_221_952
    assert counts.lora_parameters(shape, 16) == 331_776


def _product(sizes: list[int]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


@pytest.mark.parametrize("family", shapes.FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_every_family_is_counted_as_transformers_builds_it(family: str, tied: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        family, vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, tie_word_embeddings=tied, pad_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    assert shapes.shape_of(config.to_dict()).parameters == built.num_parameters()


def test_an_undescribed_model_and_a_missing_size_are_refused() -> None:
    with pytest.raises(UserError, match="'gpt2' model cannot be computed"):
        shapes.shape_of({"model_type": "gpt2"})
    with pytest.raises(UserError, match="no hidden_size"):
        shapes.shape_of({"model_type": "llama", "num_attention_heads": 2})


def test_an_unknown_target_lists_the_layers() -> None:
    with pytest.raises(UserError, match=r"'gate'.*\n.*gate_proj"):
        counts.lora_parameters(LLAMA, 8, ["gate"])


def test_4_bit_weights_with_the_overhead_of_double_quantisation() -> None:
    """6,979,321,856 weights at 1/2 + 1/64 + 1/4096 bytes, the other 1,050,939,392 at 2."""
    assert LLAMA.linear_weights == 6_979_321_856
    assert needs.weight_bytes(LLAMA, 2, "nf4") == 3_489_660_928 + 109_051_904 + 1_703_936 + 2_101_878_784
    assert needs.weight_bytes(LLAMA, 2) == 16_060_522_496


def test_a_70b_base_is_shared_out_but_for_its_embeddings_and_the_layers_in_passing() -> None:
    """Layers of 2 x 8192 x 8192 (q, o), 2 x 8192 x 1024 (k, v), 3 x 8192 x 28672 and two norms; bf16, eight cards."""
    shape = shapes.PUBLISHED["meta-llama/Meta-Llama-3-70B"]
    layer = 2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28672 + 2 * 8192
    whole = 2 * 128256 * 8192 + 8192
    assert needs.sharded_bytes(shape, 2, 8) == 2 * (10 * layer + whole + 3 * layer)
    assert needs.sharded_bytes(shape, 2, 1) == needs.weight_bytes(shape, 2) + 3 * 2 * layer


def test_adapter_gradients_and_moments_are_fp32() -> None:
    found = needs.memory(LLAMA, r=32, tokens=4096, bytes_per_weight=2)
    assert (found.gradients, found.optimizer) == (4 * 83_886_080, 8 * 83_886_080)
    assert found.adapter == 6 * 83_886_080  # and the bf16 copy that autocast keeps


def test_what_a_layer_keeps_for_one_token_by_hand() -> None:
    """TWO has H 4, I 6, Q 4, KV 2. On CUDA in bf16, dropout, r 3, all linear:

    norms 2 (8 + 4) = 24; attention 2 (8 + 4) + 4 * 2 = 32; MLP 2 * 2 * 6 = 24;
    adapters: 7 * 3 numbers of 2 bytes = 42, and masks of the four inputs 4 4 4 6 = 18.
    With 4-bit weights: norms 40, MLP 36, inputs 30 of 2 bytes and a mask of 1, and the 42.
    """
    arguments: dict[str, Any] = {"r": 3, "dropout": 0.1, "bytes_per_weight": 2}
    one = needs.memory(TWO, tokens=1, **arguments).activations
    assert one == 2 * (24 + 32 + 24 + 60) + 4 * 4 + 2 * 2 * 2
    four_bit = needs.memory(TWO, tokens=1, quantization="nf4", **arguments).activations
    assert four_bit == 2 * (40 + 32 + 36 + 90 + 42) + 4 * 4 + 2 * 2 * 2
    assert needs.memory(TWO, tokens=5, **arguments).activations == 5 * one


def test_on_a_cpu_dora_leaves_holes_in_the_heap_for_the_dense_matrices_of_each_layer_by_hand() -> None:
    """The largest matrix of TWO is 4 x 6; its two layers make four of these each, one layer where it is made again."""
    arguments: dict[str, Any] = {"r": 3, "tokens": 5, "bytes_per_weight": 4, "cuda": False}
    for checkpointing, layers in ((False, 2), (True, 1)):
        found = needs.memory(TWO, dora=True, checkpointing=checkpointing, **arguments)
        holes = layers * 4 * (4 * 6 * 4)
        assert found.context == round(needs.DORA_SHARE[4] * (found.activations + found.working)) + holes
    plain = needs.memory(TWO, **arguments)
    assert plain.context == round(needs.CPU_SHARE[4] * (plain.activations + plain.working))


def test_checkpointing_keeps_one_vector_per_layer() -> None:
    found = needs.memory(TWO, r=3, tokens=7, bytes_per_weight=2, checkpointing=True)
    assert found.activations == 7 * (2 * 4 * 2 + 4 * 4 + 2 * 2 * 2)
    assert found.working + found.logits > 7 * (24 + 32 + 24)  # but one whole layer comes back


def test_the_parts_add_up_and_only_the_head_grows_with_trained_tokens() -> None:
    full = needs.memory(LLAMA, r=32, dropout=0.05, tokens=4096, bytes_per_weight=2, quantization="nf4")
    assert full.total == sum(asdict(full).values())
    few = needs.memory(LLAMA, r=32, dropout=0.05, tokens=4096, trained=10, bytes_per_weight=2, quantization="nf4")
    assert few.logits < full.logits
    assert few.activations == full.activations


def test_the_logits_of_llama_are_held_for_a_chunk_only() -> None:
    """130 rows of 128,256 logits on a CPU, 14 bytes each, and hidden states and gradients of 4,096 positions."""
    for cuda, rows in ((False, 130), (True, 523)):
        found = needs.memory(LLAMA, r=32, tokens=4096, bytes_per_weight=2, cuda=cuda)
        assert found.logits == rows * 128_256 * 14 + 2 * 4096 * 4096 * 2


def test_work_of_a_token_by_hand() -> None:
    """TWO: N = 2 (16 + 8 + 8 + 16 + 3 * 24) = 240, head 40, attention forward 2 * 10 * 4 * 2 = 160 with n = 10."""
    found = operations.work(TWO, 100, attended=10, trained_share=0.5)
    assert TWO.linear_weights == 240
    assert found.forward == 2 * (240 + 20 + 100) + 160
    assert found.useful == found.executed == 4 * (240 + 20) + 6 * 100 + 3 * 160
    again = operations.work(TWO, 100, attended=10, trained_share=0.5, checkpointing=True)
    assert again.useful == found.useful
    assert again.executed == found.executed + 2 * (240 + 100) + 160


def test_work_of_llama_is_the_31_gflop_that_the_studys_logs_were_read_with() -> None:
    assert operations.work(LLAMA, 65_011_712, attended=828).useful == pytest.approx(31.1e9, rel=0.01)


@pytest.mark.parametrize(
    ("said", "key"),
    [("H100", "h100"), ("RTX 4090", "rtx4090"), ("3090", "rtx3090"), ("A100-80GB", "a100-80"), ("h200", "h200")],
)
def test_a_gpu_is_found_by_what_people_call_it(said: str, key: str) -> None:
    assert gpus.find_gpu(said) == key


def test_an_unknown_or_ambiguous_gpu_lists_the_known_ones() -> None:
    for name in ("TPU", "a100"):
        with pytest.raises(UserError, match="a100-40, a100-80"):
            gpus.find_gpu(name)


def test_tight_is_between_fits_and_no() -> None:
    assert [gpus.verdict(needed, 100) for needed in (95, 96, 100, 101)] == ["fits", "tight", "tight", "no"]


# --- a recipe --------------------------------------------------------------------------------------------------------

RECIPE = """\
name: study
model: {base: nano-base}
data:
  rows: {sources: [{source: alpaca, path: rows.json}], cutoff: 128, validation_rows: 10}
stages:
  - {name: a, data: rows, epochs: 2, batch_tokens: 256, pack_length: 128, micro_batch_tokens: 256}
  - {name: b, data: rows, epochs: 1, batch_tokens: 256, pack_length: 128, micro_batch_tokens: 256}
variants: {b: [b], a-b: [a, b]}
"""


def plan(tmp_path: Path, *overrides: str, **options: Any) -> planning.StudyPlan:
    rows = [{"instruction": f"Add {i} and 1.", "input": "", "output": f"It is {i + 1}."} for i in range(60)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    recipe = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", *overrides])
    return planning.plan_study(recipe, study.compile_recipe(recipe), {}, **options)


def test_local_files_are_counted_as_the_training_will_count_them(tmp_path: Path) -> None:
    found = plan(tmp_path).stages[0]
    assert found.workload is not None
    assert found.workload.method == "counted in the files"
    assert found.workload.rows + found.workload.validation_rows == 60
    assert found.steps == 2 * max(1, round(found.workload.tokens / 256))
    assert found.workload.packs is not None
    assert found.workload.tokens <= found.workload.packs * 128


def test_common_stages_are_trained_once_and_hours_follow(tmp_path: Path) -> None:
    found = plan(tmp_path, gpu="h100", price=2.0)
    assert {stage.name: stage.trainings for stage in found.stages} == {"a": 1, "b": 2}
    a, b = (stage.fits[0] for stage in found.stages)
    assert a.hours is not None and b.hours is not None
    assert found.hours["H100 80 GB"] == pytest.approx({"b": b.hours, "a-b": a.hours + b.hours})
    assert found.study_hours["H100 80 GB"] == pytest.approx(a.hours + 2 * b.hours)
    assert b.cost == pytest.approx(2 * b.hours)


def test_every_seed_is_trained_and_its_hours_count(tmp_path: Path) -> None:
    one, three = plan(tmp_path, gpu="h100"), plan(tmp_path, "seeds=[1,2,3]", gpu="h100")
    assert {stage.name: stage.trainings for stage in three.stages} == {"a": 3, "b": 6}
    machine = "H100 80 GB"
    assert three.study_hours[machine] == pytest.approx(3 * one.study_hours[machine])
    assert three.hours[machine]["a-b"] == pytest.approx(3 * one.hours[machine]["a-b"])


@pytest.mark.parametrize(
    ("said", "key", "count"),
    [("8xA100-80", "a100-80", 8), ("a100-80x8", "a100-80", 8), ("2 × RTX 4090", "rtx4090", 2),
     ("rtx4090", "rtx4090", 1), ("rtx 3090", "rtx3090", 1), ("RTX3090 x 4", "rtx3090", 4)],
)  # fmt: skip
def test_a_number_of_cards_is_read_before_or_behind_the_name(said: str, key: str, count: int) -> None:
    assert gpus.find_gpus(said) == (key, count)


def test_eight_cards_are_paid_though_some_are_idle(tmp_path: Path) -> None:
    """Hours of several cards: test_cluster.py."""
    one, eight = plan(tmp_path, gpu="h100", price=2.0), plan(tmp_path, gpu="8xh100", price=2.0)
    a, b = one.stages[0].fits[0], eight.stages[0].fits[0]
    assert b.hours is not None and b.machine == "8 × H100 80 GB"
    assert (b.cost, b.needs) == (pytest.approx(b.hours * 8 * 2.0), a.needs)
    with pytest.raises(UserError, match="no number of cards"):
        plan(tmp_path, gpu="0xh100")


def test_hours_are_executed_work_by_reached_peak(tmp_path: Path) -> None:
    found = plan(tmp_path, gpu="h100", utilisation=0.5).stages[0]
    assert found.workload is not None
    operations = 2 * found.workload.tokens * found.work.executed + found.evaluated_tokens * found.work.forward
    assert found.fits[0].hours == pytest.approx(operations / (0.5 * 989.4e12) / 3600)


def test_a_gated_base_is_planned_from_characters(tmp_path: Path) -> None:
    """Each row: 14 or 13 letters asked, 7 to 9 answered, 4 to a token, and 45 tokens of template."""
    found = plan(tmp_path, "model.base=meta-llama/Meta-Llama-3-8B")
    work = found.stages[0].workload
    assert found.shape.parameters == 8_030_261_248
    assert work is not None and work.method.startswith("estimate: 4 characters a token")
    assert (work.rows, work.validation_rows) == (50, 10)
    assert 45 + 20 / 4 <= work.tokens / work.rows <= 45 + 26 / 4


def test_data_that_only_the_hub_can_count_leaves_the_hours_open(tmp_path: Path) -> None:
    found = plan(tmp_path, "data.rows.sources=[{source: alpaca, path: 'hub:someone/rows'}]").stages[0]
    assert found.workload is None and found.steps is None
    assert found.gpu.total > 0 and {fit.hours for fit in found.fits} == {None}


def test_cards_of_this_machine_are_listed_by_the_drivers_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA X, 24576'\necho 'NVIDIA Y, [N/A]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    fits = {fit.machine: fit for fit in plan(tmp_path).stages[0].fits}
    assert fits["here: NVIDIA X"].has == 24 * 2**30
    assert "here: NVIDIA Y" not in fits


def test_a_card_of_this_machine_is_alone_whatever_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares are for eight H100; the card here has the whole base."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA X, 24576'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    whole, shared = plan(tmp_path, gpu="h100"), plan(tmp_path, "strategy=fsdp2", gpu="8xh100")
    needed = [{fit.machine: fit.needs for fit in found.stages[0].fits} for found in (whole, shared)]
    assert needed[0]["H100 80 GB"] != needed[1]["8 × H100 80 GB"]
    for here in ("here: NVIDIA X", "here: CPU, free RAM"):
        assert needed[0][here] == needed[1][here]


@pytest.mark.parametrize(
    ("base", "template", "wanted", "rows"),
    [("meta-llama/Meta-Llama-3-8B", "llama3", "template", 4), ("meta-llama/Meta-Llama-3-8B", "alpaca", "template", 2),
     ("meta-llama/Meta-Llama-3-8B", "alpaca", "[a,b,7]", 3), ("nano-base", "llama3", "template", 4),
     ("nano-base", "alpaca", "['<|eot_id|>',3,5]", 2)],
)  # fmt: skip
def test_rows_of_tokens_are_trainable_and_summed(
    base: str, template: str, wanted: str, rows: int, tmp_path: Path
) -> None:
    """llama3 writes a BOS and three markers, alpaca a BOS and the end; in nano-base <|eot_id|> is token 5. Rows are in
    embedding and head.
    """
    settings = [f"model.base={base}", f"model.template={template}"]
    plain = plan(tmp_path, *settings).stages[0]
    found = plan(tmp_path, *settings, f"stages.a.lora.trainable_tokens={wanted}").stages[0]
    numbers = 2 * rows * (4096 if base.startswith("meta") else 192)
    assert found.trainable - plain.trainable == found.load.trainable - plain.load.trainable == numbers
    assert found.gpu.optimizer - plain.gpu.optimizer == 8 * numbers


def test_a_rank_pattern_reaches_memory_and_exchange(tmp_path: Path) -> None:
    """8B, rank 32: 142,606,336 with q_proj of 256."""
    settings = [
        "model.base=meta-llama/Meta-Llama-3-8B",
        "stages.a.lora.r=32",
        "stages.a.lora.rank_pattern={q_proj: 256}",
    ]
    found = plan(tmp_path, *settings).stages[0]
    assert found.trainable == found.load.trainable == 142_606_336
    assert found.gpu.optimizer == found.cpu.optimizer == 8 * 142_606_336


def test_hours_in_fp32_are_not_taken_from_bf16_peaks(tmp_path: Path) -> None:
    assert plan(tmp_path, "model.dtype=float32", gpu="h100").stages[0].fits[0].hours is None


def test_the_24_gb_recipe_fits_a_24_gb_card() -> None:
    done = codeup("plan", "recipes/codeup-llama3-8b-24gb.yaml", "--gpu", "rtx3090", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["parameters"] == 8_030_261_248
    assert [stage["fits"][0]["verdict"] for stage in record["stages"]] == ["fits"] * 3
    assert all(stage["gpu"]["total"] < 24 * 2**30 for stage in record["stages"])


def test_a_70b_stage_fits_eight_cards_of_80_gb_in_shares_only() -> None:
    """`devices: 8` plans for eight of each card, as `--gpu 8xh100` does."""
    verdicts = {}
    for strategy in ("ddp", "fsdp2"):
        settings = ["model.base=meta-llama/Meta-Llama-3-70B", f"strategy={strategy}", "devices=8"]
        settings += ["stages.instruct.activation_checkpointing=true"]
        recipe = recipes.load("recipes/codeup-llama3-8b.yaml", settings)
        (first, *_) = planning.plan_study(recipe, study.compile_recipe(recipe), {}).stages
        verdicts[strategy] = {fit.machine: fit.verdict for fit in first.fits}
    assert verdicts["ddp"]["8 × H100 80 GB"] == "no" and verdicts["fsdp2"]["8 × H100 80 GB"] == "fits"
    assert verdicts["fsdp2"]["8 × RTX 4090 24 GB"] == "no"


def test_the_same_study_in_16_bits_does_not_fit_that_card() -> None:
    argv = ["recipes/codeup-llama3-8b-24gb.yaml", "model.quantization=none", "stages.instruct.micro_batch_tokens=16384"]
    done = codeup("plan", *argv, "--gpu", "rtx4090")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("instruct      RTX 4090"))
    assert row.split()[-2] == "no", row


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["recipes/nano.yaml", "stages.code.epoch=1"], "did you mean 'epochs'"),
        (["recipes/nano.yaml", "--gpu", "h1000"], "no GPU 'h1000'"),
        (["recipes/nano.yaml", "--price", "2"], "--gpu"),
        (["recipes/nano.yaml", "--utilisation", "40"], "not a share"),
        (["recipes/codeup-llama3-8b.yaml", "--measure"], "not on this machine"),
        (["nowhere.yaml"], "no such recipe"),
    ],
)
def test_wrong_input_exits_2_with_one_message(argv: list[str], message: str) -> None:
    done = codeup("plan", *argv)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# --- measured --------------------------------------------------------------------------------------------------------


def test_predicted_memory_is_near_what_a_real_training_takes(tmp_path: Path) -> None:
    """Two steps of nano-base with 2,048-token rows in a process of their own; four larger shapes: docs/training.md."""
    write_tokens(tmp_path / "tokens", random_documents(120, longest=60, shortest=50))
    measured = probe.measure(
        model=nano.base_folder(), tokens=tmp_path / "tokens", steps=2, lora={"r": 16, "alpha": 32, "dropout": 0.0},
        tokens_per_batch=2048, pack_length=2048, micro_batch_tokens=2048, seed=0, dtype="float32", device="cpu",
        quantization="none", activation_checkpointing=False,
    )  # fmt: skip
    shape = shapes.shape_of(models.read_config("nano-base"))
    predicted = needs.memory(
        shape, r=16, tokens=measured.largest, trained=measured.trained, bytes_per_weight=4, cuda=False
    )
    assert measured.steps == 2 and measured.tokens_per_s > 0
    assert predicted.total == pytest.approx(measured.peak, rel=0.15)


def test_a_mistake_in_the_measured_process_is_the_same_mistake_here(tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", random_documents(20))
    model = save_tiny_llama(tmp_path / "model")
    with pytest.raises(UserError, match="no linear layer called 'gate'"):
        probe.measure(
            model=model, tokens=tmp_path / "tokens", steps=1, lora={"r": 2, "alpha": 4, "targets": ["gate"]},
            tokens_per_batch=64, pack_length=64, micro_batch_tokens=64, seed=0, dtype="float32", device="cpu",
            quantization="none", activation_checkpointing=False,
        )  # fmt: skip
