"""What a person may get wrong when starting a server: one message that says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from serve_for_tests import tiny_model

from codeup.cli import serving
from codeup.errors import UserError
from codeup.serve import app, running

SETTINGS: dict[str, Any] = {
    "adapters": [], "name": "", "template": None, "host": "127.0.0.1", "port": 0, "token_env": "", "allow_host": [],
    "queue": 4, "max_batch": 2, "deadline_s": 60.0, "device": "cpu", "dtype": "auto", "json": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def adapter_of(base: Any, path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(path)
    return path


def test_a_folder_without_a_model_and_an_address_others_reach(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        serving.serve(str(tmp_path), **SETTINGS)
    with pytest.raises(UserError, match="no model 'nanno'"):
        serving.serve("nanno", **SETTINGS)
    for wrong in ({"template": "alpacca"}, {"dtype": "float8"}):
        with pytest.raises(UserError, match=rf"named '{next(iter(wrong.values()))}'"):
            serving.serve(str(tmp_path), **{**SETTINGS, **wrong})  # said before the folder is looked at
    with pytest.raises(UserError, match="can be reached by others and no token"):
        serving.serve(str(folder), **{**SETTINGS, "host": "0.0.0.0"})
    with pytest.raises(UserError, match="'NO_SUCH_VARIABLE', which is not set"):
        serving.serve(str(folder), **{**SETTINGS, "token_env": "NO_SUCH_VARIABLE"})
    monkeypatch.setenv("WEAK", "short")
    with pytest.raises(UserError, match="too weak"):
        serving.serve(str(folder), **{**SETTINGS, "token_env": "WEAK"})


def test_a_port_in_use(folder: Path) -> None:
    taken = running.bind("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(UserError, match="is in use"):
        serving.serve(str(folder), **{**SETTINGS, "port": taken.getsockname()[1]})
    taken.close()


@pytest.mark.parametrize(
    ("pair", "says"),
    [("math", "not NAME=FOLDER"), ("=x", "not NAME=FOLDER"), ("a=nowhere", "no such adapter folder"),
     ("a.b=.", "cannot be named"), ("a/../b=.", "cannot be named")],
)  # fmt: skip
def test_an_adapter_that_is_not_named_rightly(folder: Path, pair: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=says):
        serving.serve(str(folder), **{**SETTINGS, "adapters": [pair]})
    with pytest.raises(UserError, match="two adapters are named 'a'"):
        serving.parse_adapters([f"a={tmp_path}", f"a={tmp_path}"])


def load(folder: Path, **adapters: Path) -> Any:
    return running.hf_loader(
        folder, "tiny", adapters, template="alpaca", device="cpu", dtype="auto", limits=app.Limits()
    )()


def test_an_adapter_of_another_base_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    wider = LlamaForCausalLM(LlamaConfig(
        vocab_size=600, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
    ))  # fmt: skip
    with pytest.raises(UserError, match=r"(?s)does not fit the model.*size mismatch.*base it was trained on"):
        load(folder, other=adapter_of(wider, tmp_path / "wider"))
    own = adapter_of(LlamaForCausalLM.from_pretrained(folder), tmp_path / "own")
    assert list(load(folder, own=own).voices) == ["tiny", "own"]
    (own / "codeup_adapter.json").write_text(json.dumps({"base_sha256": "0" * 64}))
    with pytest.raises(UserError, match=r"(?s)codeup_adapter\.json: the adapter was trained on another base.*to mend"):
        load(folder, own=own)
    with pytest.raises(UserError, match=r"no adapter_config\.json"):
        load(folder, own=folder)
    (own / "codeup_adapter.json").unlink()
    with pytest.raises(UserError, match="the name of the model"):
        load(folder, tiny=own)


def test_a_damaged_model_says_so_after_the_server_began(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    listening = running.bind("127.0.0.1", 0)
    loader = running.hf_loader(tmp_path, "tiny", {}, template="alpaca", device="cpu", dtype="auto", limits=app.Limits())
    with pytest.raises(UserError, match="cannot be loaded"):
        running.serve(listening, loader, host="127.0.0.1", limits=app.Limits())
