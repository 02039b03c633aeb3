"""A recipe's mistakes come all at once, each with its line and a way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from codeup import recipe as recipes
from codeup.chat import TEMPLATES
from codeup.errors import UserError

GOOD = """\
name: study
model:
  base: nano-base
data:
  code:
    sources: [{source: alpaca, path: rows.json}]
stages:
  - name: code
    data: code
    learning_rate: 1e-4
evaluate:
  benchmarks: [{name: humaneval}]
"""

FIVE_MISTAKES = """\
name: study
seeed: 3
model:
  base: nano-base
  template: alpacca
data:
  code:
    sources: [{source: alpacaa, path: rows.json}]
stages:
  - name: code
    data: cod
    epochs: many
"""


def errors(text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        recipes.parse(text, name="r.yaml", overrides=list(overrides))
    return str(caught.value)


def test_five_mistakes_are_five_errors_with_lines_and_suggestions() -> None:
    message = errors(FIVE_MISTAKES)
    for line in [
        "r.yaml:2: seeed: unknown key; did you mean 'seed'?",
        "r.yaml:5: model.template: 'alpacca' is not one of alpaca, llama3, chatml; did you mean 'alpaca'?",
        "r.yaml:8: data.code.sources[0].source: no source is called 'alpacaa'; did you mean 'alpaca'?",
        "r.yaml:11: stages[0].data: there is no data called 'cod'; did you mean 'code'?",
        "r.yaml:12: stages[0].epochs:",
    ]:
        assert line in message
    assert "    epochs: many" in message
    assert "5 mistakes in r.yaml" in message


@pytest.mark.parametrize("written", ["1e-4", "1.0e-4", "0.0001", "1E-4"])
def test_every_spelling_of_a_float_is_a_float(written: str) -> None:
    assert recipes.parse(GOOD.replace("1e-4", written)).stages[0].learning_rate == 1e-4


def test_words_that_yaml_1_1_calls_booleans_stay_words() -> None:
    assert recipes.parse(GOOD.replace("name: study", "name: no")).name == "no"


def test_overrides_reach_list_items_by_name_and_by_number() -> None:
    by_name = recipes.parse(GOOD, overrides=["stages.code.epochs=2", "stages.code.lora.r=8"])
    by_number = recipes.parse(GOOD, overrides=["stages.0.epochs=2", "stages.0.lora.r=8"])
    assert by_name == by_number
    assert (by_name.stages[0].epochs, by_name.stages[0].lora.r) == (2, 8)


def test_a_wrong_override_is_blamed_on_the_command_line() -> None:
    message = errors(GOOD, "stages.code.lora.rank=8")
    assert "command line 'stages.code.lora.rank=8': stages[0].lora.rank: unknown key" in message
    assert "no item 'cod'" in errors(GOOD, "stages.cod.epochs=1")
    assert "is not a setting" in errors(GOOD, "epochs")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("devices=0", "devices: 0 is not one of auto, cpu, cuda; or it should be greater than or equal to 1"),
        ("report_to=[foo]", "report_to[0]: 'foo' is not one of tensorboard, trackio, wandb"),
        ("report_to=wandbb", "'wandbb' is not one of none, tensorboard, trackio, wandb; did you mean 'wandb'?; or it"),
        ("stages.code.lora.targets=3", "targets: 3 is not one of all-linear; or it should be a valid list"),
    ],
)
def test_a_value_that_may_be_one_of_several_things_is_one_mistake(setting: str, message: str) -> None:
    said = errors(GOOD, setting)
    assert message in said and "1 mistake in r.yaml" in said


def test_pass_at_k_needs_k_samples() -> None:
    asked = "evaluate.benchmarks=[{name: humaneval, samples: 5, pass_at: [5, 6]}]"
    message = errors(GOOD, asked)
    assert "benchmarks[0].pass_at[1]: pass@6 needs 6 samples per problem, and samples is 5" in message
    assert "1 mistake" in message


def test_a_key_given_twice_is_an_error() -> None:
    assert "r.yaml:13: name: given twice, first on line 1" in errors(GOOD + "name: again\n")


def test_a_stage_can_inherit_from_another_by_anchor() -> None:
    text = GOOD.replace("  - name: code\n", "  - &s\n    name: code\n").replace(
        "evaluate:", "  - {<<: *s, name: more, epochs: 1}\nevaluate:"
    )
    more = recipes.parse(text).stage("more")
    assert (more.data, more.learning_rate, more.epochs) == ("code", 1e-4, 1)


def test_broken_yaml_names_the_line() -> None:
    assert "r.yaml:2: not valid YAML" in errors("name: x\nmodel: {base: y\n")


def test_a_file_nested_without_end_is_an_error_and_no_traceback() -> None:
    with pytest.raises(UserError, match=r"r.yaml: is nested too deeply"):
        recipes.parse("name: " + "[" * 3000 + "]" * 3000, name="r.yaml")


def test_a_missing_recipe_suggests_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "nano.yaml").write_text(GOOD)
    with pytest.raises(UserError, match=r"did you mean .*nano\.yaml"):
        recipes.load(tmp_path / "nanno.yaml")


def test_variants_must_name_stages_and_differ() -> None:
    message = errors(GOOD + "variants: {a: [code], b: [code], c: [coda], base: [code]}\n")
    assert "the same stages as variant 'a'" in message
    assert "there is no stage called 'coda'; did you mean 'code'?" in message
    assert "the name base is taken" in message


def test_a_threshold_must_name_a_model_and_benchmark_of_the_study() -> None:
    message = errors(GOOD + "  require: [{model: cod, benchmark: mbpp, at_least: 0.5}]\n")
    assert "the study has no model 'cod'; did you mean 'code'?" in message
    assert "the study has no benchmark 'mbpp'" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.dtype=float16"], "model.dtype: 'float16' is not one of auto, float32, bfloat16"),
        (["model.quantization=nf4", "stages.code.lora.init=pissa"], "stages[0].lora.init: pissa takes its directions"),
        (["model.quantization=int8", "stages.code.lora.dora=true"], "stages[0].lora.dora: the lengths of rows cannot"),
        (["model.quantization=int8", "stages.code.method=full"], "stages[0].method: full trains all weights, and"),
        (["stages.code.lora.token_init=mean"], "stages[0].lora.token_init: mean is where trained rows begin"),
        (["stages.code.method=full", "stages.code.lora.r=8"], "stages[0].lora: method: full trains no adapter"),
        (["stages.code.lora.trainable_tokens=templat"], "stages[0].lora.trainable_tokens"),
    ],
)
def test_settings_that_do_not_work_together_are_refused_before_anything_runs(settings: list[str], message: str) -> None:
    assert message in errors(GOOD, *settings)


def test_adapter_settings_are_read_and_dumped() -> None:
    settings = ["rank_pattern={down_proj: 8}", "trainable_tokens=['<|im_end|>', 5]", "plus_ratio=16.0", "dora=true"]
    recipe = recipes.parse(GOOD, overrides=[f"stages.code.lora.{setting}" for setting in settings])
    lora = recipe.stages[0].lora
    assert (lora.rank_pattern, lora.trainable_tokens) == ({"down_proj": 8}, ["<|im_end|>", 5])
    assert recipes.parse(recipes.dump(recipe)) == recipe


def test_a_pattern_that_is_no_regular_expression_is_named() -> None:
    said = errors(GOOD, "stages.0.lora.rank_pattern={'q_proj(': 8}")
    assert "q_proj(: is no regular expression (missing )" in said


def test_a_dumped_recipe_parses_to_the_same_recipe() -> None:
    recipe = recipes.parse(GOOD)
    assert recipes.parse(recipes.dump(recipe)) == recipe


def test_a_recipe_knows_the_templates_that_chat_knows() -> None:
    assert set(recipes.Template.__args__) == set(TEMPLATES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    recipes.load(path)


ROOT = Path(__file__).parent.parent


def parts_in_the_docs() -> list[tuple[str, str]]:
    """(file, YAML) of every block in README and docs that is a recipe or some of its uppermost keys."""
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^ *```ya?ml\n([\s\S]*?)^ *```", path.read_text(encoding="utf-8"), re.M):
            keys = yaml.safe_load(block)
            if isinstance(keys, dict) and set(keys) <= set(recipes.Recipe.model_fields):
                found.append((path.name, block))
    return found


@pytest.mark.parametrize(("file", "block"), parts_in_the_docs())
def test_what_the_docs_show_of_recipes_is_taken(file: str, block: str) -> None:
    keys = yaml.safe_load(block)
    whole = {"name": "shown", **keys, "model": {"base": "nano-base", **keys.get("model", {})}}
    for stage in keys.get("stages", []):  # what a part leaves out
        data = whole.setdefault("data", {})
        data.setdefault(stage.setdefault("data", "rows"), {"sources": [{"source": "alpaca", "path": "rows.json"}]})
    assert recipes.parse(yaml.safe_dump(whole), name=file)


def test_blocks_were_found_in_the_docs() -> None:
    assert len(parts_in_the_docs()) >= 5
