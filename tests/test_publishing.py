"""A model of a run as a folder for the Hub: it loads elsewhere, says what is true, and is refused where it must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hub_fixture import make_run
from huggingface_hub import ModelCard, parse_eval_result_entries
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from codeup import artifacts, nano
from codeup import recipe as recipes
from codeup.chat import load_renderer
from codeup.cli.app import app
from codeup.engines.hf import Engine
from codeup.errors import UserError
from codeup.export.check import check_folder, check_repo
from codeup.export.facts import gather
from codeup.export.licences import check_name, default_name, licence_of
from codeup.publishing import export_hub, parse_size
from codeup.train import shards
from codeup.train.combine import combine_adapters
from codeup.types import Message

ASKED = ["Write a function `f(x)` that adds 7.", "Sort a list of words.", "What is 6 * 7?"]
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("hub") / "run")


@pytest.fixture(scope="module")
def out(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "hub"
    export_hub(run, folder, max_shard_bytes=2_000_000)
    return folder


def prompts(tokenizer: Any) -> list[list[int]]:
    """As a stranger makes them: by the chat template saved with the tokenizer."""
    asked = [[{"role": "user", "content": text}] for text in ASKED]
    return [tokenizer.apply_chat_template(each, add_generation_prompt=True, return_dict=False) for each in asked]


def greedy(model: Any, ids: list[int]) -> list[int]:
    with torch.no_grad():
        answer = model.generate(torch.tensor([ids]), max_new_tokens=NEW_TOKENS, do_sample=False)
    new: list[int] = answer[0, len(ids) :].tolist()
    return new


def of_the_run(run: Path) -> list[list[int]]:
    """What our own engine says, asked through our own renderer, with the model as the run left it."""
    folder = gather(run).folder
    renderer = load_renderer(folder)
    ids = [renderer.prompt([Message("user", text)]) for text in ASKED]
    answers = Engine(folder).generate(ids, max_new_tokens=NEW_TOKENS, end_ids=renderer.end_ids)
    return [list(answer.ids) for answer in answers]


def test_plain_transformers_says_the_same_tokens_as_our_engine(run: Path, out: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    told = [greedy(model, ids) for ids in prompts(tokenizer)]
    assert told == of_the_run(run)
    base = AutoModelForCausalLM.from_pretrained(nano.base_folder(), dtype=torch.float32).eval()
    assert told != [greedy(base, ids) for ids in prompts(tokenizer)], "the adapters change what is said"


def test_the_adapter_over_the_base_says_the_same_tokens_under_peft(run: Path, out: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(nano.base_folder(), dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(out), subfolder="adapter").eval()
    model.generation_config.eos_token_id = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    asked = prompts(AutoTokenizer.from_pretrained(out))
    assert [greedy(model, ids) for ids in asked] == of_the_run(run)
    ids = torch.tensor([asked[0]])
    merged = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        told, expected = model(ids).logits, merged(ids).logits
        with model.disable_adapter():
            untouched = model(ids).logits
    apart = (expected - untouched).abs().max()
    assert (told - expected).abs().max() < 0.1 * apart, "what is left is the rounding of two merges to bf16"


def test_the_usage_in_the_card_runs_as_it_stands(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(code.replace('"study-full"', repr(str(out))).replace("max_new_tokens=256", "max_new_tokens=4"), {})
    assert capsys.readouterr().out.strip()


def test_two_stages_are_exactly_the_sum_of_their_updates(tmp_path: Path, run: Path) -> None:
    stages = [stage.adapter for stage in gather(run).stages]
    assert combine_adapters([a for a in stages if a], tmp_path / "both", base_name="b")
    tensors = load_file(tmp_path / "both" / "adapter_model.safetensors")
    layer = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    parts = [load_file(adapter / "adapter_model.safetensors") for adapter in stages if adapter]
    expected = sum((2.0 * part[f"{layer}B.weight"] @ part[f"{layer}A.weight"] for part in parts), torch.tensor(0.0))
    torch.testing.assert_close(tensors[f"{layer}B.weight"] @ tensors[f"{layer}A.weight"], expected)
    assert json.loads((tmp_path / "both" / "adapter_config.json").read_text())["r"] == 8


def test_shards_hold_every_tensor_once_and_the_index_says_where(run: Path, out: Path) -> None:
    files = sorted(out.glob("model-*.safetensors"))
    assert [file.name for file in files] == [
        f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)
    ]
    assert len(files) == 4 and all(file.stat().st_size < 2_010_000 for file in files)
    merged = {name: t for file in files for name, t in load_file(file).items()}
    whole = load_file(gather(run).folder / "model.safetensors")
    assert set(merged) == set(whole) and all(torch.equal(merged[name], whole[name]) for name in whole)
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in whole.values())


def test_a_model_that_fits_is_one_file_as_it_was(run: Path, tmp_path: Path) -> None:
    source = gather(run).folder / "model.safetensors"
    (written,) = shards.reshard([source], tmp_path, max_bytes=10**9)
    assert written.read_bytes() == source.read_bytes() and not (tmp_path / "model.safetensors.index.json").exists()


def test_the_card_is_read_back_by_the_hubs_own_parser(out: Path) -> None:
    card = ModelCard((out / "README.md").read_text())
    data = card.data.to_dict()
    assert (data["license"], data["pipeline_tag"], data["language"]) == (
        "apache-2.0",
        "text-generation",
        ["en", "code"],
    )
    assert "base_model" not in data, "nano-base is no model of the Hub"
    found = {(r.dataset_type, r.dataset_config): r.metric_value for r in card.data["eval_results"]}
    assert found == {
        ("evalplus/humanevalplus", "base"): 0.5,
        ("evalplus/humanevalplus", "plus"): 0.4,
        ("nano", None): 0.25,
    }
    for words in ("**A demonstration.**", "| HumanEval+ | chat | pass@1 | **0.400** [0.328, 0.476] | 164 |",
                  "HumanEval+: the data support that it is better than the base (+0.100, p = 0.02)",
                  "the data do not show a difference from the base (+0.100, p = 0.2)", "data v1 sha256 abababababab",
                  "`nano:code`, generated by CodeUp", "dropped | | | empty 2", "Seed 7.",
                  "one seed was trained"):  # fmt: skip
        assert words in card.text, words
    assert "p = 0.001" not in card.text, "comparisons with other variants are not about the base"


def test_results_have_the_shape_that_the_hub_reads_and_what_has_no_place_is_named(out: Path) -> None:
    (file,) = (out / ".eval_results").iterdir()
    entries = parse_eval_result_entries(yaml.safe_load(file.read_text()))
    assert [(e.dataset_id, e.task_id, e.value) for e in entries] == [
        ("evalplus/humanevalplus", "base", 0.5), ("evalplus/humanevalplus", "plus", 0.4)
    ]  # fmt: skip
    assert entries[0].notes and entries[0].notes.startswith("pass@1, n=164, 95 % [0.424, 0.576] (wilson-95); chat form")
    assert "nano (CodeUp's packaged problems) pass@1 is not in .eval_results" in (out / "README.md").read_text()


def test_nothing_names_a_folder_of_this_machine_and_every_file_has_its_hash(run: Path, out: Path) -> None:
    hashes = json.loads((out / "hashes.json").read_text())["sha256"]
    files = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file() and p.name != "hashes.json"}
    assert {name: artifacts.file_sha256(path) for name, path in files.items()} == hashes
    for name, path in files.items():
        assert not any(word in path.read_bytes() for word in (b"/home/", str(run).encode())), name
    assert recipes.load(out / "recipe.yaml").stages[1].lora.r == 4
    assert json.loads((out / "adapters/2-code/adapter_config.json").read_text())["base_model_name_or_path"] == (
        "nano-base after stage instruct"
    )


# --- licences and names ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Called a tuned Llama 3 on the published study's sets; the weights are nano's."""
    folder = tmp_path_factory.mktemp("llama") / "run"
    return make_run(
        folder,
        base="meta-llama/Meta-Llama-3-8B",
        instruct="hub:WizardLMTeam/WizardLM_evol_instruct_V2_196k",
        code="hub:theblackcat102/evol-codealpaca-v1",
    )


def test_the_most_restrictive_licence_wins_and_a_llama_keeps_its_agreement(llama: Path, run: Path) -> None:
    found = licence_of(gather(llama))
    assert found.licence == "cc-by-nc-4.0" and found.agreement == "llama3"
    assert found.front["license"] == "other" and found.front["license_name"] == "llama3-with-cc-by-nc-4.0"
    assert licence_of(gather(run)).front == {"license": "apache-2.0"}
    assert licence_of(gather(run), base_licence="cc-by-nc-4.0").licence == "cc-by-nc-4.0"


def test_a_llama_derivative_is_named_llama_and_says_what_it_is_built_with(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks for a name that begins with 'Llama 3'.*\n.*call it Llama-3-codeup"):
        export_hub(llama, tmp_path / "bad", repo="me/codeup")
    assert not (tmp_path / "bad").exists()
    assert default_name(gather(llama), "llama3") == "Llama-3-study-full"
    assert default_name(replace(gather(llama), model="full@2"), "llama3.1") == "Llama-study-full-seed2"
    made = export_hub(llama, tmp_path / "good", repo="me/Llama-3-codeup")
    card = ModelCard((tmp_path / "good" / "README.md").read_text())
    assert "**Built with Meta Llama 3.**" in card.text and "Copyright © Meta" in (tmp_path / "good/NOTICE").read_text()
    data = card.data.to_dict()
    assert data["base_model"] == "meta-llama/Meta-Llama-3-8B" and data["license_link"] == "LICENCES.md"
    assert data["datasets"] == ["WizardLMTeam/WizardLM_evol_instruct_V2_196k", "theblackcat102/evol-codealpaca-v1"]
    assert "demonstration" not in card.text and made.licence["license"] == "other"


@pytest.mark.parametrize(
    ("name", "agreement", "good"),
    [("x/Llama-3-code", "llama3", True), ("x/llama3code", "llama3", True), ("x/Llama-code", "llama3", False),
     ("x/Llama-code", "llama3.1", True), ("x/Code-Llama", "llama3.1", False), ("x/anything", "", True)],
)  # fmt: skip
def test_names(name: str, agreement: str, good: bool) -> None:
    if good:
        check_name(name, agreement)
    else:
        with pytest.raises(UserError, match="asks for a name"):
            check_name(name, agreement)


def test_a_base_of_unknown_licence_is_said_to_be_unknown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", base="somebody/model", scores=[])
    made = export_hub(folder, tmp_path / "out", dry_run=True)
    assert made.licence == {"license": "unknown"}
    assert "nobody states the licence of somebody/model: give --base-license ID if you know it" in made.notes


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_dry_run_checks_and_leaves_nothing(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", "hub", str(run), "--out", str(tmp_path / "x"), "--dry-run", "--json"])
    record = json.loads(done.stdout.splitlines()[-1])
    assert done.exit_code == 0 and record["folder"] is None and record["pushed"] is None
    assert {"README.md", "model.safetensors", ".eval_results/humanevalplus.yaml"} <= set(record["files"])
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no finished model 'x'.*\n.*it has: only, full"):
        export_hub(run, tmp_path / "out", model="x")
    with pytest.raises(UserError, match="is not a run folder"):
        export_hub(tmp_path, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(UserError, match="is there, and no export"):
        export_hub(run, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"
    for name in ("name", "me/a--b", "me/x/y", "me/" + "x" * 97):
        with pytest.raises(UserError, match="is not a repository of the Hub"):
            check_repo(name)
    for size in ("5", "GB", "-1GB", "0MB"):
        with pytest.raises(UserError, match="is not a size"):
            parse_size(size)


def test_a_step_that_lost_a_file_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", scores=[])
    (gather(folder).folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"merge-instruct-code-\w+: is not finished, or has lost files"):
        export_hub(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("README.md", lambda text: text.replace("license: apache-2.0", "license: my own"), "no identifier of the Hub"),
        ("README.md", lambda text: text.replace("- name: study-full", "- nome: study-full"), "front matter"),
        (".eval_results/humanevalplus.yaml", lambda text: text.replace("value: 0.4", "score: 0.4"), "cannot be read"),
        ("generation_config.json", lambda text: text.replace("1,", "9,"), "does not stop at '<|end_of_text|>'"),
        ("model.safetensors.index.json", lambda text: text.replace("00001-of", "00002-of"), "where the tensors are"),
        ("config.json", lambda text: text[:-5], "config.json: cannot be read"),
    ],
)  # fmt: skip
def test_the_check_finds_what_is_damaged(out: Path, tmp_path: Path, file: str, change: Any, message: str) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    assert check_folder(copy) == ["card", "results", "configs", "weights"]
    text = (copy / file).read_text()
    assert change(text) != text
    (copy / file).write_text(change(text))
    with pytest.raises(UserError, match=message):
        check_folder(copy)
