"""LLaMA-Factory's files: every key has one fate, a chain is found, and what would differ is refused with its line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeup import recipe as recipes
from codeup import study
from codeup.errors import UserError
from codeup.interop import datasets, llamafactory
from codeup.interop.files import note_lines
from codeup.interop.keys import IGNORED, MAPPED, REFUSED

STUDY = Path(__file__).parent / "llamafactory_study"
SIX = [STUDY / f"{kind}_{name}.yaml" for kind in ("sft", "merge") for name in ("instruct", "math", "code")]
DOCS = Path(__file__).parent.parent / "docs" / "interop.md"
ROWS = [{"instruction": f"Say {n}.", "output": f"{n}, as you asked."} for n in range(40)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a data set `rows` and a training file `sft.yaml`."""
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    info = {"rows": {"file_name": "rows.json", "columns": {"prompt": "instruction", "response": "output"}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info, indent=2))
    write(tmp_path, {})
    return tmp_path


def write(folder: Path, changes: dict[str, Any], name: str = "sft.yaml") -> Path:
    """A small training file with some keys changed; None takes a key out."""
    values: dict[str, Any] = {
        "model_name_or_path": "nano-base",
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset": "rows",
        "dataset_dir": str(folder),
        "template": "alpaca",
        "cutoff_len": 256,
        "output_dir": str(folder / "saves" / "sft-tiny"),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        **changes,
    }
    path = folder / name
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}, sort_keys=False))
    return path


def converted(folder: Path, changes: dict[str, Any], **options: Any) -> recipes.Recipe:
    return recipes.parse(llamafactory.convert([write(folder, changes)], name="x", **options).text)


def refusal(folder: Path, changes: dict[str, Any], **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        converted(folder, changes, **options)
    return str(caught.value)


# --- the published study ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six() -> llamafactory.Converted:
    return llamafactory.convert(SIX, name="codeup-2024", devices=8)


def test_the_six_files_of_the_study_become_one_recipe(six: llamafactory.Converted) -> None:
    """Expected: the settings reported for the study; its logs show 14,300, 39,500 and 11,128 held-out rows."""
    recipe = recipes.parse(six.text)
    assert recipe.model == recipes.Model(base="meta-llama/Meta-Llama-3-8B", template="llama3", dtype="bfloat16")
    assert recipe.seed == 42
    assert [(s.name, recipe.data[s.data].sources[0].source) for s in recipe.stages] == [
        ("instruct", "wizardlm_evol_instruct_v2"),
        ("math", "metamathqa"),
        ("code", "evol_codealpaca_v1"),
    ]
    assert [recipe.data[s.data].validation_rows for s in recipe.stages] == [14300, 39500, 11128]
    for stage in recipe.stages:
        assert recipe.data[stage.data].cutoff == stage.pack_length == 4096
        assert (stage.epochs, stage.learning_rate, stage.schedule, stage.warmup_ratio) == (3, 1e-4, "cosine", 0.1)
        assert stage.batch_tokens == 4 * 2 * 8 * 512
        assert stage.lora == recipes.Lora(
            r=32, alpha=64, dropout=0.05, targets=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
        )
        assert stage.activation_checkpointing
        assert stage.eval_rows == min(2000, recipe.data[stage.data].validation_rows)


def test_evaluations_of_the_study_are_as_frequent_as_every_500_steps(six: llamafactory.Converted) -> None:
    """0.9 of 143,000, 395,000 and 111,272 rows in steps of 64: 2011, 5555 and 1565 steps per epoch."""
    assert [stage.evals_per_epoch for stage in recipes.parse(six.text).stages] == [4, 11, 3]


def test_the_chain_of_the_study_is_found_in_any_order_of_files(six: llamafactory.Converted) -> None:
    backwards = llamafactory.convert(SIX[::-1], name="codeup-2024", devices=8)
    chains = {
        "instruct": ("instruct",),
        "instruct-math": ("instruct", "math"),
        "instruct-math-code": ("instruct", "math", "code"),
    }
    assert recipes.parse(six.text).chains() == recipes.parse(backwards.text).chains() == chains


def test_the_converted_study_compiles_to_steps(six: llamafactory.Converted) -> None:
    steps = study.compile_recipe(recipes.parse(six.text))
    assert [step.name for step in steps if step.kind == "sft"] == [
        "train-instruct",
        "train-instruct-math",
        "train-instruct-math-code",
    ]


@pytest.mark.parametrize("path", SIX, ids=lambda path: path.stem)
def test_every_key_of_the_study_is_mapped_or_named_as_ignored(path: Path, six: llamafactory.Converted) -> None:
    for key in yaml.safe_load(path.read_text()):
        named = any(note.key == key and note.where.startswith(f"{path}:") for note in six.notes)
        assert (key in MAPPED) or named, key
        assert not (key in IGNORED and not named), key


def test_the_header_names_what_is_ignored_and_how_the_batch_came_about(six: llamafactory.Converted) -> None:
    header = " ".join(line.removeprefix("#").strip() for line in six.text.splitlines() if line.startswith("#"))
    assert "4 rows x 2 accumulation x 8 devices = 64 rows per step; x 512 tokens per row (assumed) = 32768" in header
    assert "ignored: ddp_timeout:" in header
    assert "differs: cutoff_len:" in header
    assert "ignored: overwrite_output_dir:" in header


def test_two_stages_on_one_base_become_two_variants() -> None:
    made = llamafactory.convert([SIX[0], SIX[1], SIX[3]], name="x")
    assert recipes.parse(made.text).chains() == {"instruct": ("instruct",), "instruct-math": ("instruct", "math")}


# --- chains that do not hold together --------------------------------------------------------------------------------


def test_a_missing_export_is_noticed() -> None:
    with pytest.raises(UserError, match=r"sft_math.yaml:2: model_name_or_path: another base .* give that file too"):
        llamafactory.convert([SIX[0], SIX[1]], name="x")


def test_an_export_of_an_unknown_adapter_is_refused() -> None:
    with pytest.raises(UserError, match=r"merge_math.yaml:3: adapter_name_or_path: none of the given files trains"):
        llamafactory.convert([SIX[0], SIX[4]], name="x")


def test_exports_alone_make_no_recipe() -> None:
    with pytest.raises(UserError, match="none of these files trains a stage"):
        llamafactory.convert(SIX[3:], name="x")


def _pair(folder: Path, export: dict[str, Any], second: dict[str, Any]) -> list[Path]:
    values = {
        "model_name_or_path": "nano-base",
        "adapter_name_or_path": str(folder / "saves" / "sft-tiny"),
        "template": "alpaca",
        "export_dir": "models/one/",
        **export,
    }
    (folder / "export.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    later = {"model_name_or_path": "./models/one", "output_dir": "saves/two", **second}
    return [write(folder, {}), folder / "export.yaml", write(folder, later, "two.yaml")]


def test_a_chain_is_found_though_paths_are_written_differently(folder: Path) -> None:
    made = llamafactory.convert(_pair(folder, {}, {}), name="x")
    assert [stage.chain for stage in made.stages] == [("tiny",), ("tiny", "two")]


@pytest.mark.parametrize(
    ("export", "second", "message"),
    [
        (
            {"model_name_or_path": "other"},
            {},
            "export.yaml:1: model_name_or_path: the adapter was trained on nano-base",
        ),
        ({"template": "chatml"}, {}, "template: the adapter was trained with alpaca"),
        ({}, {"template": "llama3"}, "two.yaml:7: template: 'llama3', but 'alpaca' at"),
        ({}, {"seed": 7}, "seed: 7, but 42 at"),
        ({"adapter_name_or_path": "a,b"}, {}, "several adapters at once"),
        ({"quantization_bit": 4}, {}, "adapters are merged into the 16-bit weights"),
        ({"export_quantization_bit": 4}, {}, "merged models are not quantised here"),
        ({"export_legacy_format": True}, {}, "written as safetensors"),
    ],
)
def test_a_chain_that_would_be_another_is_refused(
    folder: Path, export: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    files = _pair(folder, export, second)
    with pytest.raises(UserError) as caught:
        llamafactory.convert(files, name="x")
    assert message in str(caught.value)


def test_an_adapter_as_the_next_base_is_refused(folder: Path) -> None:
    second = write(folder, {"model_name_or_path": str(folder / "saves/sft-tiny"), "output_dir": "saves/b"}, "b.yaml")
    with pytest.raises(UserError, match="is an adapter of another file; give the export that merges it too"):
        llamafactory.convert([write(folder, {}), second], name="x")


def test_a_circle_is_refused(folder: Path) -> None:
    values = {"model_name_or_path": "m", "adapter_name_or_path": "s", "template": "alpaca", "export_dir": "m"}
    (folder / "e.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match="round in a circle"):
        llamafactory.convert(
            [write(folder, {"model_name_or_path": "m", "output_dir": "s"}), folder / "e.yaml"], name="x"
        )


# --- one key at a time -----------------------------------------------------------------------------------------------


def stage_of(recipe: recipes.Recipe) -> recipes.Stage:
    return recipe.stages[0]


def test_keys_left_out_have_the_defaults_of_llama_factory(folder: Path) -> None:
    recipe = converted(folder, {"cutoff_len": None, "per_device_train_batch_size": None})
    stage = stage_of(recipe)
    assert stage.lora == recipes.Lora(r=8, alpha=16, dropout=0.0, targets="all-linear")
    assert (stage.epochs, stage.learning_rate, stage.schedule, stage.warmup_ratio) == (3, 5e-5, "linear", 0.0)
    assert (stage.evals_per_epoch, recipe.data["tiny"].cutoff, recipe.data["tiny"].validation_rows) == (0, 2048, 0)
    assert (recipe.seed, recipe.model.dtype, recipe.model.quantization) == (42, "auto", "none")
    assert stage.activation_checkpointing


@pytest.mark.parametrize(
    ("changes", "path", "value"),
    [
        ({"lora_rank": 4}, "lora.alpha", 8),
        ({"lora_target": "q_proj, v_proj"}, "lora.targets", ["q_proj", "v_proj"]),
        ({"lora_target": ["q_proj"]}, "lora.targets", ["q_proj"]),
        ({"use_rslora": True}, "lora.rslora", True),
        ({"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.2}, "warmup_ratio", 0.2),
        ({"lr_scheduler_type": "constant", "warmup_ratio": 0.2}, "warmup_ratio", 0.0),
        ({"warmup_steps": 3}, "warmup_ratio", 0.2),  # 40 rows in steps of 8: 5 per epoch, 15 in all
        ({"warmup_steps": 0.3}, "warmup_ratio", 0.3),
        ({"weight_decay": 0.1}, "weight_decay", 0.1),
        ({"max_grad_norm": 0.5}, "max_grad_norm", 0.5),
        ({"val_size": 0.1, "eval_strategy": "epoch"}, "evals_per_epoch", 1),
        ({"val_size": 8, "evaluation_strategy": "steps", "eval_steps": 2}, "evals_per_epoch", 2),
        ({"val_size": 8, "eval_strategy": "steps", "eval_steps": 0.1}, "evals_per_epoch", 3),  # 10 in 3 epochs
        ({"eval_strategy": "steps"}, "evals_per_epoch", 0),
        ({"torch_compile": True}, "compile", True),
        ({"torch_compile": False}, "compile", "auto"),
        ({"disable_gradient_checkpointing": True}, "activation_checkpointing", False),
        ({"packing": True}, "batch_tokens", 2 * 4 * 256),
        ({"neat_packing": True}, "batch_tokens", 2 * 4 * 256),
        ({"num_train_epochs": 2.0}, "epochs", 2),
    ],
)
def test_a_key_becomes_a_setting(folder: Path, changes: dict[str, Any], path: str, value: Any) -> None:
    at: Any = stage_of(converted(folder, changes))
    for word in path.split("."):
        at = getattr(at, word)
    assert at == value


def test_a_share_held_out_is_rounded_up_to_rows(folder: Path) -> None:
    assert converted(folder, {"val_size": 0.11}).data["tiny"].validation_rows == 5  # 4.4 of 40
    assert converted(folder, {"val_size": 0.1, "max_samples": 15}).data["tiny"].validation_rows == 2  # 1.5 of 15
    assert converted(folder, {"val_size": 7}).data["tiny"].validation_rows == 7


def test_precision_and_quantisation(folder: Path) -> None:
    assert converted(folder, {"bf16": True}).model.dtype == "bfloat16"
    assert converted(folder, {"pure_bf16": True, "fp16": False}).model.dtype == "bfloat16"
    assert converted(folder, {"quantization_bit": 4, "quantization_type": "nf4"}).model.quantization == "nf4"
    assert converted(folder, {"quantization_bit": 8}).model.quantization == "int8"


def test_a_revision_of_the_base_is_kept_and_main_is_none(folder: Path) -> None:
    assert converted(folder, {"model_revision": "v2"}).model.revision == "v2"
    assert converted(folder, {"model_revision": "main"}).model.revision is None


def test_batch_tokens_are_rows_times_tokens_but_one_pack_at_least(folder: Path) -> None:
    wide = {"cutoff_len": 64}
    assert stage_of(converted(folder, wide, devices=3, row_tokens=50)).batch_tokens == 2 * 4 * 3 * 50
    assert stage_of(converted(folder, wide, row_tokens=900)).batch_tokens == 2 * 4 * 64
    characters = sum(len(row["instruction"]) + len(row["output"]) for row in ROWS) / len(ROWS)
    assert stage_of(converted(folder, wide)).batch_tokens == max(64, 8 * round(characters / 4))
    assert stage_of(converted(folder, {})).batch_tokens == 256  # 8 short rows are less than one pack


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage": "dpo"}, "sft.yaml:2: stage: dpo is not done here"),
        ({"finetuning_type": "freeze"}, "sft.yaml:4: finetuning_type: freeze is not done here"),
        ({"finetuning_type": "full"}, "full is not done here"),
        ({"do_train": False}, "nothing would be trained"),
        ({"template": "qwen"}, "template: 'qwen' does not exist here; one of llama3, chatml, alpaca"),
        ({"template": None}, "template: is required"),
        ({"model_name_or_path": None}, "model_name_or_path: is required"),
        ({"output_dir": None}, "output_dir: is required"),
        ({"adapter_name_or_path": "saves/x"}, "export the adapter first"),
        ({"num_train_epochs": 2.5}, "num_train_epochs: 2.5: only whole epochs"),
        ({"max_steps": 100}, "sft.yaml:12: max_steps: 100 would not be the same here"),
        ({"lr_scheduler_type": "polynomial"}, "'polynomial' does not exist here"),
        ({"quantization_bit": 3}, "quantization_bit: 3 does not exist here"),
        ({"optim": "adamw_8bit"}, "optim: 'adamw_8bit' would not be the same here"),
        ({"adam_beta2": 0.95}, "adam_beta2: 0.95 would not be the same here"),
        ({"fp16": True}, "write bf16: true"),
        ({"use_dora": True}, "use_dora: True would not be the same here"),
        ({"train_on_prompt": True}, "only answers are learned here"),
        ({"load_best_model_at_end": True}, "write stages.select_by: eval_loss"),
        ({"lora_rnak": 8}, "sft.yaml:12: lora_rnak: unknown key; did you mean 'lora_rank'?"),
        ({"learning_rate": "fast"}, "learning_rate: should be a number, not 'fast'"),
        ({"bf16": "yes"}, "bf16: should be true or false, not 'yes'"),
        ({"lora_rank": 2.5}, "lora_rank: should be a whole number"),
        ({"eval_strategy": "always"}, "eval_strategy: 'always' is not one of no, steps, epoch"),
        ({"dataset": "rosw"}, "dataset_info.json:1: there is no data set 'rosw'\n  to mend: did you mean 'rows'?"),
        ({"dataset_dir": "nowhere"}, "sft.yaml:6: dataset_dir: no dataset_info.json in nowhere"),
        ({"learning_rate": 0}, "stages[0].learning_rate: should be greater than 0"),
        ({"dataset_dir": "ONLINE"}, "is fetched while training"),
    ],
)
def test_what_would_come_out_differently_is_refused_with_its_line(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(folder, changes)


def test_all_mistakes_of_all_files_come_at_once(folder: Path) -> None:
    first = write(folder, {"stage": "dpo", "use_dora": True}, "a.yaml")
    with pytest.raises(UserError) as caught:
        llamafactory.convert([first, write(folder, {"lora_rnak": 1}, "b.yaml")], name="x")
    assert all(part in str(caught.value) for part in ("a.yaml:2: stage", "a.yaml:12: use_dora", "b.yaml:12: lora_rnak"))


def test_values_that_change_nothing_are_not_refused(folder: Path) -> None:
    plain = converted(folder, {})
    harmless = {key: values[0] for key, (values, _) in REFUSED.items() if values}
    assert converted(folder, {**harmless, "loraplus_lr_ratio": None}) == plain


def test_a_harmless_value_of_the_wrong_type_is_still_refused(folder: Path) -> None:
    assert "use_dora" in refusal(folder, {"use_dora": 0})


# --- dataset_info.json -----------------------------------------------------------------------------------------------


def source(folder: Path, entry: dict[str, Any], rows: list[dict[str, Any]] | None = None, **options: Any) -> dict:
    (folder / "dataset_info.json").write_text(json.dumps({"other": {}, "rows": entry}, indent=1))
    if rows is not None:
        (folder / "rows.json").write_text(json.dumps(rows))
    return datasets.find(datasets.read_info(str(folder), folder), "rows", **options).source


TALK = [{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}]
CHAT = [{"talk": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}]
FULL = [{"q": "a", "more": "", "a": "b", "sys": "s", "old": []}]


@pytest.mark.parametrize(
    ("entry", "rows", "expected"),
    [
        ({"file_name": "rows.json"}, None, {"source": "alpaca"}),
        (
            {"file_name": "rows.json", "columns": {"prompt": "instruction", "response": "output"}},
            None,
            {"source": "prompt_response", "columns": {"prompt": "instruction", "response": "output"}},
        ),
        (
            {
                "file_name": "rows.json",
                "columns": {"prompt": "q", "query": "more", "response": "a", "system": "sys", "history": "old"},
            },
            FULL,
            {
                "source": "alpaca",
                "columns": {"instruction": "q", "input": "more", "output": "a", "system": "sys", "history": "old"},
            },
        ),
        ({"file_name": "rows.json", "formatting": "sharegpt"}, TALK, {"source": "sharegpt"}),
        (
            {
                "file_name": "rows.json",
                "formatting": "sharegpt",
                "columns": {"messages": "talk"},
                "tags": {
                    "role_tag": "role",
                    "content_tag": "content",
                    "user_tag": "user",
                    "assistant_tag": "assistant",
                },
            },
            CHAT,
            {"source": "sharegpt", "columns": {"conversations": "talk", "from": "role", "value": "content"}},
        ),
        (
            {"file_name": "rows.json", "formatting": "openai", "columns": {"messages": "talk"}},
            CHAT,
            {"source": "messages", "columns": {"messages": "talk"}},
        ),
    ],
    ids=["alpaca", "two columns", "all columns", "sharegpt", "tags", "openai"],
)
def test_a_local_file_becomes_a_source_that_reads_it(
    folder: Path, entry: dict[str, Any], rows: list[dict[str, Any]] | None, expected: dict[str, Any]
) -> None:
    from codeup.data.load import Funnel, load_source

    found = source(folder, entry, rows)
    assert found == {**expected, "path": str(folder / "rows.json")}
    funnel = Funnel()
    list(load_source(found["source"], [folder / "rows.json"], columns=found.get("columns"), funnel=funnel))
    assert funnel.rows_kept == funnel.rows_in == len(rows or ROWS)


def test_data_sets_of_the_hub(folder: Path) -> None:
    assert source(folder, {"hf_hub_url": "a/b", "revision": "v1"}) == {
        "source": "alpaca",
        "path": "hub:a/b",
        "revision": "v1",
    }
    assert source(folder, {"hf_hub_url": "a/b", "folder": "python"})["path"] == "hub:a/b:python/*"
    wizard = {"hf_hub_url": "WizardLM/WizardLM_evol_instruct_V2_196k", "formatting": "sharegpt"}
    assert source(folder, wizard, max_rows=1000) == {"source": "wizardlm_evol_instruct_v2", "rows": 1000}
    assert source(folder, {**wizard, "num_samples": 143_000}) == {"source": "wizardlm_evol_instruct_v2"}


def test_a_known_data_set_described_otherwise_is_read_as_described(folder: Path) -> None:
    entry = {"hf_hub_url": "meta-math/MetaMathQA", "columns": {"prompt": "original_question", "response": "response"}}
    assert source(folder, entry) == {
        "source": "prompt_response",
        "path": "hub:meta-math/MetaMathQA",
        "columns": {"prompt": "original_question"},
    }


def test_a_revision_of_a_known_data_set_is_kept(folder: Path) -> None:
    entry = {"hf_hub_url": "meta-math/MetaMathQA", "columns": {"prompt": "query", "response": "response"}}
    assert source(folder, entry) == {"source": "metamathqa"}
    assert source(folder, {**entry, "revision": "v0"}) == {
        "source": "prompt_response",
        "path": "hub:meta-math/MetaMathQA",
        "revision": "v0",
        "columns": {"prompt": "query"},
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file_name": "rows.json", "ranking": True}, "a preference set"),
        ({"file_name": "rows.json", "formating": "alpaca"}, "did you mean 'formatting'?"),
        ({"file_name": "rows.json", "formatting": "parquet"}, "is not one of alpaca, sharegpt, openai"),
        ({"file_name": "rows.json", "columns": {"promt": "x"}}, "did you mean 'prompt'?"),
        ({"file_name": "rows.json", "columns": {"prompt": "x"}}, "columns name no response"),
        ({"file_name": "rows.json", "columns": {"prompt": "x", "response": "y", "images": "z"}}, "'images' has no"),
        ({"file_name": "rows.json", "formatting": "sharegpt", "tags": {"user_tag": "boss"}}, "'boss' is not known"),
        ({"file_name": "rows.json", "tags": {"rol_tag": "x"}}, "did you mean 'role_tag'?"),
        ({"script_url": "x"}, "script_url cannot be read here"),
        ({"ms_hub_url": "x/y"}, "ms_hub_url cannot be read here"),
        ({}, "neither file_name nor hf_hub_url"),
        ({"hf_hub_url": "a/b", "subset": "en"}, "a subset 'en' cannot be named"),
        ({"hf_hub_url": "a/b", "split": "test"}, "only the train split"),
        ({"file_name": "rows.json", "num_samples": 99}, "num_samples 99 of 40 rows would repeat"),
        ({"file_name": "gone.json"}, "there is no such file"),
    ],
)
def test_an_entry_that_means_something_else_is_refused_with_its_line(
    folder: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        source(folder, entry)
    assert message in str(caught.value)
    assert "dataset_info.json:" in str(caught.value)


def test_a_column_that_llama_factory_leaves_out_and_we_would_read_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="a column 'history', which is read here and left out"):
        source(folder, {"file_name": "rows.json"}, [{**row, "history": []} for row in ROWS])


def test_a_share_of_unknown_rows_is_refused(folder: Path) -> None:
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"hf_hub_url": "a/b"}}))
    assert "of a data set whose rows are not known" in refusal(folder, {"val_size": 0.1})
    assert converted(folder, {"val_size": 50}).data["tiny"].validation_rows == 50


def test_several_data_sets_are_joined(folder: Path) -> None:
    info = {"rows": {"file_name": "rows.json"}, "more": {"file_name": "more.json", "num_samples": 10}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    shutil.copy(folder / "rows.json", folder / "more.json")
    data = converted(folder, {"dataset": "rows, more", "val_size": 0.1}).data["tiny"]
    assert [(Path(str(s.path)).name, s.rows) for s in data.sources] == [("rows.json", None), ("more.json", 10)]
    assert data.validation_rows == 5


# --- tables, docs, recognition ---------------------------------------------------------------------------------------


def test_no_key_has_two_fates() -> None:
    assert not set(MAPPED) & set(IGNORED)
    assert not set(MAPPED) & set(REFUSED)
    assert not set(IGNORED) & set(REFUSED)


@pytest.mark.parametrize(
    ("given", "kept", "left_out"),
    [
        ("none", [], ""),
        ("wandb", ["wandb"], ""),
        (["tensorboard", "mlflow"], ["tensorboard"], "mlflow"),
        ("all", [], "all"),
    ],
)
def test_trackers_are_kept_where_they_exist_here(folder: Path, given: Any, kept: list[str], left_out: str) -> None:
    made = llamafactory.convert([write(folder, {"report_to": given})], name="x")
    assert recipes.parse(made.text).trackers() == kept
    said = [note.why for note in made.notes if note.key == "report_to"]
    assert [why.startswith(f"{left_out} is left out") for why in said] == [True] * bool(left_out)


def table() -> list[str]:
    """The rows of the three tables in docs/interop.md, as they must stand there."""
    rows = [f"| `{key}` | {f'`{ours}`' if ours else '–'} | {remark} |" for key, (ours, remark) in MAPPED.items()]
    reasons: dict[str, list[str]] = {}
    for key, why in IGNORED.items():
        reasons.setdefault(why, []).append(f"`{key}`")
    rows += [f"| {', '.join(keys)} | {why} |" for why, keys in reasons.items()]
    for key, (harmless, why) in REFUSED.items():
        values = ", ".join(f"`{json.dumps(value)}`" for value in harmless)
        rows.append(f"| `{key}` | {values or 'left out'} | {why} |")
    return rows


def test_the_docs_show_the_tables() -> None:
    lines = DOCS.read_text().splitlines()
    assert [row for row in table() if row not in lines] == []


def test_a_file_is_recognised_by_its_keys(folder: Path) -> None:
    assert all(llamafactory.recognises(path) for path in [*SIX, folder / "sft.yaml"])
    assert not any(llamafactory.recognises(path) for path in (STUDY.parent.parent / "recipes").glob("*.yaml"))
    (folder / "broken.yaml").write_text("a: [")
    assert not llamafactory.recognises(folder / "broken.yaml")


def test_notes_name_each_key_once_with_all_places(six: llamafactory.Converted) -> None:
    lines = [line for line in note_lines(six.notes) if ": save_steps:" in line]
    assert len(lines) == 1
    assert lines[0].count("sft_") == 3
