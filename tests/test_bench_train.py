"""`codeup bench train`: what is compared is the same for all, and mistakes are one message."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from train_models import save_tiny_llama

from codeup.bench import peers
from codeup.bench import train as bench
from codeup.chat import load_renderer
from codeup.cli.benching import training_lines
from codeup.errors import UserError, WorkFailed
from codeup.train.tokens import open_tokens

ROWS = [{"instruction": f"Add {n} and 1.", "input": "", "output": f"The sum is {n + 1}."} for n in range(40)]
SMALL = {**bench.SHAPE, "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SHAPE", SMALL)
    monkeypatch.setattr(bench, "HELD_OUT", 8)
    monkeypatch.setattr(bench, "PEAK_SIZE", {"cpu": 64})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    return path


PEER = """
import json, pathlib, sys
place = pathlib.Path(sys.argv[1])
order = json.loads(place.read_text())
assert order["rank"] == 4 and order["cpu"] and "trl_sft" in sys.argv[0]
print("1/1 ", flush=True)
place.with_name("result.json").write_text(json.dumps({"seconds": 50.0, "adapter": ""}))
"""


def test_every_tool_gets_the_same_order_and_one_program_scores_them(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CodeUp trains for real; the peer is a stand-in that trains nothing, so its loss is the base's."""
    folder = tmp_path / "runners"
    folder.mkdir()
    real = Path(bench.runners.__file__).parent
    (folder / "own.py").write_text((real / "own.py").read_text())
    (folder / "trl_sft.py").write_text(PEER)
    monkeypatch.setattr(bench.runners, "__file__", str(folder / "__init__.py"))
    monkeypatch.setattr(bench, "_peer", lambda name, python, emit: Path(sys.executable))
    result = bench.compare(data, peer=["trl"], rows=24, cutoff=64, rank=4, epochs=2, learning_rate=1e-2)
    own, *peer = result.trained
    assert [each.tool for each in result.trained] == ["codeup", "trl packed", "trl padded"]
    assert own.loss < result.untrained_loss
    assert [each.loss for each in peer] == [result.untrained_loss] * 2
    assert own.tokens_per_s == pytest.approx(2 * result.tokens / own.seconds)
    assert result.ratio(peer[0]) == pytest.approx(50.0 / own.seconds)
    text = "\n".join(training_lines(result))
    assert "24 rows" in text and "trl padded" in text
    assert json.loads(json.dumps(bench.as_json(result)))["trained"][0]["ratio"] == 1.0


def test_the_rows_file_and_the_tokens_hold_the_same_text(tmp_path: Path, data: Path) -> None:
    work = bench._prepare(tmp_path, data, None, shape="small", rows=24, cutoff=64, dtype="float32")
    store = open_tokens(tmp_path / "tokens")
    table = json.loads((tmp_path / "rows" / "rows.json").read_text())
    tokenizer = load_renderer(work.model, "llama3").tokenizer
    assert len(table) == len(store) == work.rows == 24
    for row, index in zip(table, range(24), strict=True):
        ids, trained = store[index]
        assert tokenizer.decode(ids[trained == 1]) == row["output"] + "<|eot_id|>"
        assert row["instruction"] in tokenizer.decode(ids[trained == 0])
    assert work.trained == sum(int(np.sum(store[index][1])) for index in range(24))


def test_the_useful_work_is_four_operations_a_frozen_weight_and_six_an_adapters(tmp_path: Path, data: Path) -> None:
    """2 layers of q 32x32, k and v 32x8, o 32x32, three of 32x48; head 400x32 for trained tokens; attention apart."""
    work = bench._prepare(tmp_path, data, None, shape="small", rows=24, cutoff=64, dtype="float32")
    body = 2 * (2 * 32 * 32 + 2 * 32 * 8 + 3 * 32 * 48)
    adapters = 2 * 4 * (2 * (32 + 32) + 2 * (32 + 8) + 3 * (32 + 48))
    head = 400 * 32 * work.trained / work.tokens
    attention = 3 * 2 * work.attended * 32 * 2
    assert work.flops_per_token(4) == pytest.approx(4 * (body + head) + 6 * adapters + attention)


def test_mistakes_are_one_message(tmp_path: Path, data: Path) -> None:
    for settings, message in (
        ({"peer": ["axolotl"]}, "use trl, llamafactory"),
        ({"dtype": "float16"}, "use float32 or bfloat16"),
        ({"rows": 4000}, "lower --rows"),
        ({"peer": ["trl"], "python": {"trl": tmp_path / "none"}}, "cannot import trl"),
    ):
        with pytest.raises(UserError, match=message):
            bench.compare(data, **settings)
    with pytest.raises(UserError, match="cannot be read"):
        bench.compare(data.with_name("nowhere.json"))
    data.write_text('{"rows": 1}')
    with pytest.raises(UserError, match="not a file of Alpaca rows"):
        bench.compare(data)


def test_a_peer_that_fails_says_what_it_wrote(tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "model")
    order = {"do": "train", "model": str(tmp_path / "model")}
    with pytest.raises(WorkFailed, match=r"codeup failed: exit code 1(.|\n)*KeyError"):
        bench._run(tmp_path / "run", Path(sys.executable), "codeup", order, lambda share: None)


def test_an_installation_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    assert peers.version_in(Path(sys.executable), "numpy", "numpy") == np.__version__
    with pytest.raises(WorkFailed, match="was installed and cannot be imported"):
        peers.checked(Path(sys.executable), "numpy", "0.1")
