"""`codeup bench generate`: every way makes the same answers, ratios are those of seconds, bytes are counted right."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from codeup.bench import decode, random_llama
from codeup.bench import generate as bench
from codeup.cli.app import app
from codeup.cli.benching import decoding_lines, generation_lines
from codeup.errors import UserError
from codeup.export.gguf_model import write_model
from codeup.nano import base_folder

pytestmark = pytest.mark.usefixtures("one_thread")


def test_all_ways_make_the_loops_answers() -> None:
    result = bench.compare(base_folder(), name="nano-base", limit=6, max_new_tokens=24, batch_size=4, rounds=1)
    assert [each.way for each in result.times] == ["loop", "batched", "codeup", "continuous"]
    assert [each.same for each in result.times] == [6] * 4
    assert len({each.tokens for each in result.times}) == 1
    assert result.times[0].tokens > 6
    assert len(generation_lines(result)) == 6
    assert result.as_json()["ratios"]["codeup_over_loop"] > 0


def test_a_way_that_answers_otherwise_is_not_counted_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_continuous", lambda engine, prompts, *_: [(1,)] * len(prompts))
    result = bench.compare(base_folder(), name="nano-base", limit=3, max_new_tokens=8, batch_size=3, rounds=1)
    assert [each.same for each in result.times] == [3, 3, 3, 0]


def test_ratios_are_quotients_of_seconds() -> None:
    times = tuple(
        bench.Time(way, s, c, 10, 1) for way, s, c in zip(bench.WAYS, (8, 4, 2, 1), (6, 6, 2, 3), strict=True)
    )
    result = bench.Comparison("m", "e", 1, 1, 1, 1, 1, times)
    assert (result.ratio("codeup", "loop"), result.ratio("continuous", "batched")) == (4.0, 4.0)
    assert result.ratio("codeup", "loop", cpu=True) == 3.0
    assert result.as_json()["ratios"]["continuous_over_batched_cpu"] == 2.0


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        bench.compare(base_folder(), name="x", rounds=0)


LAYER = 2 * 192 * 192 + 2 * 96 * 192 + 3 * 512 * 192  # q and o, k and v, the three of the MLP
MATRICES = 6 * LAYER + 2048 * 192  # and the head; of the embedding a token reads one row
VECTORS = (6 * 2 + 1) * 192  # the norms


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PROMPT_TOKENS", 16), ("NEW_TOKENS", 8), ("ROUNDS", 1), ("READ_BYTES", 1 << 22)):
        monkeypatch.setattr(decode, name, value)


def test_a_step_reads_every_weight_once_and_every_rows_keys_and_values(tmp_path: Path, short: None) -> None:
    pytest.importorskip("xllamacpp")
    write_model(base_folder(), tmp_path / "nano.gguf", quant="f16")
    shutil.copy(base_folder() / "tokenizer.json", tmp_path)
    shutil.copy(base_folder() / "tokenizer_config.json", tmp_path)
    hf, llama = decode.measure(["nano-base", str(tmp_path / "nano.gguf")], threads=1)
    position = 6 * 3 * 32 * 2  # layers, heads, width, keys and values
    before = 16 + 8 // 2
    for found, weights, item in ((hf, (MATRICES + VECTORS) * 4, 4), (llama, MATRICES * 2 + VECTORS * 4, 2)):
        assert [speed.step_bytes for speed in found.speeds] == [
            weights + rows * before * position * item for rows in (1, 16)
        ]
        assert found.threads == 1 and found.ceiling > 0
        assert all(speed.first_token_s > 0 and speed.share_of_ceiling > 0 for speed in found.speeds)
    assert len(decoding_lines([hf, llama])) == 7


def test_a_rounds_share_is_of_the_faster_read_around_it(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds after one that does not count, with memory that is faster in the second than in the others."""
    monkeypatch.setattr(decode, "ROUNDS", 3)
    for batch, speeds, share in (
        (1, (99.0, 20.0, 30.0, 10.0), 0.3333),
        (1, (99.0, 20.0, 90.0, 10.0), 0.5),
        (1, (1.0, 8.0, 60.0, 9.0), 0.3),
        (16, (99.0, 320.0, 480.0, 160.0), 0.3333),  # sixteen rows at once: as many steps
    ):
        turns, memory = iter(speeds), iter([20e3, 10e3, 60e3, 60e3, 5e3, 15e3])
        monkeypatch.setattr(decode, "read_bytes_per_s", lambda threads, memory=memory: next(memory))
        monkeypatch.setattr(decode, "_round", lambda engine, batch, seed, turns=turns: (0.1, next(turns)))
        reads: list[float] = []
        speed = decode._speed(decode._Loaded("hf", None, 2, 500, 0), batch, reads)
        assert speed.share_of_ceiling == share == statistics.median(speed.rounds) and max(reads) == 60e3
    shown = decode.Decoding("hf", "", 2, max(reads), (speed,)).as_json()
    assert (shown["ceiling"], shown["speeds"][0]["share_of_ceiling"]) == (60e3, 0.3333)
    assert decode.Speed(16, 0.1, 80.0, 640, 0.1).bytes_per_token == 40


def test_only_decoding_is_measured_where_no_problems_are_wanted(short: None) -> None:
    done = CliRunner().invoke(app, ["bench", "generate", "nano-base", "--limit", "0", "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == ["decoding"] and said["decoding"][0]["engine"] == "hf"
    done = CliRunner().invoke(app, ["bench", "generate", "nano-base", "--gguf", "nano-base"])
    assert done.exit_code == 2 and "not a GGUF file" in done.output


def test_random_weights_of_a_size_are_decoded_by_both_engines_and_leave_nothing(
    short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, value in (("WIDTH", 64), ("INSIDE", 128), ("HEADS", 4), ("KV_HEADS", 2)):
        monkeypatch.setattr(random_llama, name, value)
    options = ["bench", "generate", "--threads", "1", "--json", "--size", "30m", "--quant", "q8_0", "--quant", "f32"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])["decoding"]
    assert [each["engine"] for each in said] == ["hf", "llamacpp", "llamacpp"]
    layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64
    weights, vectors, position = layer + 2048 * 64, 3 * 64, 2 * 32 * (16 + 4)
    alone = [each["speeds"][0]["step_bytes"] for each in said]
    assert alone[0] == 4 * (weights + vectors + position), "the model is in float32 on a CPU"
    assert alone[1] == weights * 34 // 32 + 4 * vectors + 2 * position
    assert alone[2] == 4 * (weights + vectors) + 2 * position
    assert [speed["batch"] for speed in said[0]["speeds"]] == [1, 16]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [[], ["nano-base", "--size", "30m"], ["nano-base", "--quant", "f16"], ["--size", "30m", "--limit", "3"]],
    ids=" ".join,
)
def test_a_model_or_a_size_is_named(options: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", "generate", *options])
    assert done.exit_code == 2 and "--size 480m" in done.output


def test_an_unknown_size_or_quantisation_is_named_before_anything_is_made() -> None:
    for options, says in (
        (["--size", "7b"], "480m"),
        (["--size", "30m", "--quant", "q2"], "unknown quantisation 'q2'"),
    ):
        done = CliRunner().invoke(app, ["bench", "generate", *options])
        assert done.exit_code == 2 and says in done.output
