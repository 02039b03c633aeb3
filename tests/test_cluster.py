"""A step on a cluster, and what goes on around it: formulas by hand, and the page's figures as the plan gives them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import codeup

from codeup import planning, study
from codeup import recipe as recipes
from codeup.cli.planned import cluster_lines
from codeup.errors import UserError
from codeup.planning import cluster as clusters
from codeup.planning import pipeline
from codeup.planning.cluster import Cluster, Load
from codeup.planning.scaled import OnCluster
from codeup.train import gpus, shapes

ROOT = Path(__file__).parent.parent
LLAMA = shapes.PUBLISHED["meta-llama/Meta-Llama-3-8B"]
QUIET = Cluster(nodes=1, per_node=4, flops=100.0, inside=1000.0, between=10.0, latency_s=0.0, jitter=0.0)
WORK = Load(batch_tokens=800, unit=100, micro_batch=100, operations=10.0, trainable=500, layers=4000)


def test_a_ring_sends_everything_but_its_own_share_twice() -> None:
    """2 (n-1)/n of 4 * 500 bytes over 1,000 bytes/s, and 2 (n-1) hops."""
    assert clusters.all_reduce_s(2000, QUIET) == pytest.approx(3.0)
    assert clusters.all_reduce_s(2000, replace(QUIET, latency_s=0.5)) == pytest.approx(3.0 + 6 * 0.5)
    assert clusters.all_reduce_s(2000, replace(QUIET, per_node=1)) == 0.0


def test_a_ring_through_several_nodes_is_as_fast_as_the_network() -> None:
    assert clusters.all_reduce_s(2000, replace(QUIET, nodes=2, per_node=2)) == pytest.approx(300.0)


def test_a_step_by_hand() -> None:
    """8 pieces of 100 tokens for 4 ranks: 2 each, 200 tokens x 10 operations at 100 a second; then the sum."""
    found = clusters.step(QUIET, WORK)
    assert (found.compute_s, found.exchange_s, found.waiting_s) == pytest.approx((20.0, 3.0, 0.0))
    assert found.tokens_per_s == pytest.approx(800 / 23)
    assert found.busy == pytest.approx(20 / 23)


def test_pieces_that_do_not_divide_leave_ranks_waiting() -> None:
    nine = replace(WORK, batch_tokens=900)
    assert clusters.step(QUIET, nine).compute_s == pytest.approx(30.0)


def test_more_ranks_than_pieces_are_idle() -> None:
    many = replace(QUIET, per_node=64, inside=1e12)
    found = clusters.step(many, WORK)
    assert found.ranks_with_work == 8
    assert found.compute_s == pytest.approx(10.0)
    assert found.busy == pytest.approx(8 / 64, rel=1e-6)


def test_the_slowest_of_many_is_later_than_the_slowest_of_few() -> None:
    """Expected maxima of 2, 8 and 100 normal values by tables of order statistics: 0.5642, 1.4236, 2.5076."""
    assert clusters.slowest(2) == pytest.approx(0.564, abs=0.03)
    assert clusters.slowest(8) == pytest.approx(1.4236, abs=0.02)
    assert clusters.slowest(100) == pytest.approx(2.5076, abs=0.02)
    found = clusters.step(replace(QUIET, jitter=0.1), WORK)
    assert found.waiting_s == pytest.approx(20.0 * 0.1 * clusters.slowest(4))


def test_weights_are_fetched_behind_the_computation_as_far_as_it_lasts() -> None:
    """4,000 bytes in four shards: 3 s for each of two passes, against 10 s of computation a micro-batch."""
    assert clusters.step(QUIET, WORK, "fsdp2").exchange_s == pytest.approx(3.0)
    slow = replace(QUIET, inside=250.0)  # 12 s a pass: 24 against 10, twice; and the gradients take 12 s
    assert clusters.step(slow, WORK, "fsdp2").exchange_s == pytest.approx(12.0 + 2 * 14.0)


def test_processes_that_share_cores_take_longer() -> None:
    two_cores = replace(QUIET, at_once=2)
    assert clusters.step(two_cores, WORK).compute_s == pytest.approx(40.0)
    assert clusters.step(two_cores, WORK).busy == pytest.approx(80 / (43 * 2))


def test_a_cluster_is_read_as_nodes_gpus_and_kind() -> None:
    name, found = clusters.find_cluster("2×8xA100-80", utilisation=0.5, network_gbit=100)
    assert (name, found.nodes, found.per_node, found.ranks) == ("a100-80", 2, 8, 16)
    assert found.flops == pytest.approx(156e12)
    assert found.ring == pytest.approx(100e9 / 8 * clusters.SHARE)
    for wrong in ("8xh100", "0x8xh100", "8x8", "axbxh100", "8x-8xh100", "²x8xH100", "99999x99999xh100"):
        with pytest.raises(UserError, match="no cluster"):
            clusters.find_cluster(wrong, utilisation=0.5)
    with pytest.raises(UserError, match="no GPU"):
        clusters.find_cluster("8x8xh1000", utilisation=0.5)


def test_decoding_reads_weights_and_keys_once_a_step() -> None:
    """16.06 GB of weights and 64 x 1,024 x 131,072 bytes of keys and values at half of 3,350 GB/s."""
    assert pipeline.decode_step_s(LLAMA, "h100", 64, 1024) == pytest.approx((16.0605e9 + 8.5899e9) / 1.675e12, rel=1e-4)
    found = pipeline.rates(LLAMA, "h100", 2)
    assert found.answers_per_s == pytest.approx(2 * 64 / (512 * 0.014717), rel=1e-3)
    assert found.verdicts_per_s == pytest.approx(24 / pipeline.VERDICT_CORE_S)
    assert found.samples_per_day == pytest.approx(86_400 * found.answers_per_s)


def test_a_large_batch_multiplies_longer_than_it_reads() -> None:
    one, many = (pipeline.decode_step_s(LLAMA, "rtx4090", batch, 0) for batch in (1, 4096))
    assert many == pytest.approx(2 * 4096 * (LLAMA.linear_weights + LLAMA.head_weights) / 165.2e12 / 0.5)
    assert many > one


def plan(gpu: str, *overrides: str) -> tuple[recipes.Recipe, planning.StudyPlan]:
    recipe = recipes.load(ROOT / "recipes" / "codeup-llama3-8b.yaml", list(overrides))
    return recipe, planning.plan_study(recipe, study.compile_recipe(recipe), {}, gpu=gpu)


def scaled(cluster: str, *overrides: str) -> planning.ClusterPlan:
    recipe, planned = plan("h100", *overrides)
    return planning.plan_cluster(recipe, planned, cluster, utilisation=planning.UTILISATION)


def of_strategies(found: planning.ClusterPlan) -> dict[str, OnCluster]:
    return {one.strategy: one for one in found.stages if one.stage == "instruct"}


LARGE = ("stages.instruct.batch_tokens=524288",)
BIG = ("model.base=meta-llama/Meta-Llama-3-70B", *LARGE)


@pytest.mark.parametrize(
    ("cluster", "overrides", "rows"),
    [("1x8xH100", (), 1), ("8x8xH100", (), 1), ("8x8xH100", LARGE, 2), ("8x8xH100", BIG, 2)],
    ids=["8", "64", "64 large", "70B"],
)
def test_the_pages_figures_are_those_of_the_plan(cluster: str, overrides: tuple[str, ...], rows: int) -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    lines = [line for line in cluster_lines(scaled(cluster, *overrides)) if line.startswith("instruct  ")]
    for line in lines[:rows]:
        assert line in page, line


def test_the_example_of_the_module_is_what_the_plan_says() -> None:
    step = of_strategies(scaled("8x8xH100", *LARGE))["ddp"].step
    text = f"compute {step.compute_s:.3f} s + sum of 336 MB of gradients {step.exchange_s:.3f} s"
    assert f"{text} + waiting for the slowest of 64 (2 % jitter) {step.waiting_s:.3f} s" in (clusters.__doc__ or "")


@pytest.mark.parametrize("own", [(), ("strategy=fsdp2", "devices=64")], ids=["ddp", "fsdp2"])
def test_memory_of_a_strategy_is_the_same_whatever_the_recipe_says(own: tuple[str, ...]) -> None:
    """70B: 294.6 GiB whole. In 64 shares the layers are the library's, which keep more: 346.7."""
    found = {name: f"{one.needs / gpus.GIB:.1f}" for name, one in of_strategies(scaled("8x8xH100", *BIG, *own)).items()}
    assert (found["ddp"], found["fsdp2"], found["deepspeed-zero3"]) == ("294.6", "346.7", "346.7")


def test_a_strategy_that_a_recipe_cannot_have_is_not_planned() -> None:
    """A base in 4 bits is not shared out, and rows of tokens are not trained beside a base in shares."""
    for settings in (["model.quantization=nf4"], ["stages.instruct.lora.trainable_tokens=template"]):
        assert list(of_strategies(scaled("1x8xH100", *settings))) == ["ddp", "deepspeed-zero2"]


def test_what_more_cards_save_is_their_share_of_the_layers() -> None:
    """80 layers of 855,654,400 parameters in bf16: an eighth of them on 8 cards, a 64th on 64."""
    eight, many = (of_strategies(scaled(f"{nodes}x8xH100", *BIG))["fsdp2"].needs for nodes in (1, 8))
    assert eight - many == 2 * 80 * 855_654_400 // 8 - 2 * 80 * 855_654_400 // 64 == 14_973_952_000


def test_only_the_layers_of_a_shared_out_base_travel() -> None:
    """8B: 32 layers of 218,112,000 parameters are 13.96 GB, of which each GPU gets 63 of 64 parts over 37.5 GB/s, twice
    for a micro-batch of 8,192 tokens that is computed in 0.574 s; then the sum of the gradients.
    """
    _, planned = plan("h100", *LARGE)
    assert planned.stages[0].load.layers == 2 * 32 * 218_112_000 == 13_959_168_000
    found = of_strategies(scaled("8x8xH100", *LARGE))
    gather_s = 63 / 64 * 13.959168e9 / 37.5e9 + 63 * 10e-6
    waited_s = 2 * gather_s - found["fsdp2"].step.compute_s
    assert found["fsdp2"].step.exchange_s == pytest.approx(waited_s + found["ddp"].step.exchange_s)
    assert f"{found['fsdp2'].step.exchange_s:.2f}" == "0.18"


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_eight_cards_take_as_long_by_either_question(strategy: str) -> None:
    """A step of 32,768 tokens has four pieces of 8,192 where something is drawn, so that four cards are idle: 4.57 h of
    one card / 4 is 1.14, and 1.17 with exchange and waiting. Else there are eight packs, and 0.57 become 0.59.
    """
    for dropout, hours in ((0.05, "1.17"), (0.0, "0.59")):
        settings = [f"strategy={strategy}", f"stages.instruct.lora.dropout={dropout}"]
        fit = plan("8xH100", *settings)[1].stages[0].fits[0]
        assert fit.hours == of_strategies(scaled("1x8xH100", *settings))[strategy].hours
        assert f"{fit.hours:.2f}" == hours


def test_what_is_drawn_at_random_keeps_micro_batches_whole() -> None:
    """32,768 tokens in micro-batches of 8,192, or in packs of 4,096 where nothing is drawn."""
    drawn, plain = scaled("1x8xH100"), scaled("1x8xH100", "stages.instruct.lora.dropout=0")
    assert (drawn.stages[0].units, plain.stages[0].units) == (4, 8)


def test_the_command_prints_the_step_and_its_assumptions() -> None:
    done = codeup("plan", "recipes/codeup-llama3-8b.yaml", "--cluster", "1x4xH100", "--network", "100", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["cluster"]
    assert found["assumed"]["network_gbit"] == 100
    assert found["stages"][0]["step"]["total_s"] > found["stages"][0]["step"]["compute_s"] > 0
    wrong = codeup("plan", "recipes/codeup-llama3-8b.yaml", "--cluster", "h100")
    assert (wrong.returncode, "nodes x GPUs x kind" in wrong.stderr) == (2, True)
