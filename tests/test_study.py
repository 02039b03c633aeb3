"""A recipe compiles to steps that share what variants have in common."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from codeup import artifacts, models, run, study
from codeup import recipe as recipes
from codeup.cli import shared
from codeup.errors import UserError

RECIPE = """\
name: study
model: {base: nano-base}
data:
  rows: {sources: [{source: alpaca, path: rows.json}]}
stages:
  - {name: a, data: rows}
  - {name: b, data: rows}
  - {name: c, data: rows}
variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}
evaluate:
  benchmarks: [{name: nano}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> recipes.Recipe:
    (tmp_path / "rows.json").write_text(json.dumps([{"instruction": "x", "input": "", "output": "y"}]))
    return recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}"])


def test_common_prefixes_are_trained_once(recipe: recipes.Recipe) -> None:
    trained = [step.name for step in study.compile_recipe(recipe) if step.kind == "sft"]
    assert trained == ["train-c", "train-a", "train-a-c", "train-a-b", "train-a-b-c"]


def test_steps_come_after_what_they_build_on(recipe: recipes.Recipe) -> None:
    seen: set[str] = set()
    for step in study.compile_recipe(recipe):
        assert set(step.inputs) <= seen, step.name
        seen.add(step.name)


def test_a_stage_starts_from_the_merged_model_before_it(recipe: recipes.Recipe) -> None:
    steps = {step.name: step for step in study.compile_recipe(recipe)}
    assert steps["train-a-b-c"].inputs == ("data-rows", "merge-a-b")
    assert steps["merge-a-b-c"].inputs == ("train-a-b-c", "merge-a-b")
    assert steps["generate-a-b-c-nano-chat"].inputs == ("merge-a-b-c",)


def test_the_base_is_asked_in_both_forms_and_tuned_models_in_chat(recipe: recipes.Recipe) -> None:
    asked = [step.name for step in study.compile_recipe(recipe) if step.kind == "generate"]
    assert asked == [
        "generate-base-nano-base",
        "generate-base-nano-chat",
        "generate-c-nano-chat",
        "generate-a-c-nano-chat",
        "generate-a-b-c-nano-chat",
    ]


def fingerprints(recipe: recipes.Recipe) -> dict[str, str]:
    return {step.name: artifacts.step_fingerprint(step, list(step.inputs), "") for step in study.compile_recipe(recipe)}


def test_other_bytes_of_data_are_another_step_and_a_moved_folder_is_not(recipe: recipes.Recipe, tmp_path: Path) -> None:
    before = fingerprints(recipe)["data-rows"]
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "rows.json").write_bytes((tmp_path / "rows.json").read_bytes())
    moved = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path / 'moved'}"])
    assert fingerprints(moved)["data-rows"] == before
    (tmp_path / "rows.json").write_text('[{"instruction": "x", "input": "", "output": "z"}]')
    assert fingerprints(recipe)["data-rows"] != before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.b.lora.targets=[q_proj,foo]", "stages.b.lora.targets: the model has no linear layer called 'foo'"),
        ("data.rows.filters.natural_languages=[xx]", "data.rows.filters: xx: no language that can be told"),
        ("data.rows.filters.code_parses=[klingon]", "data.rows.filters: there is no grammar of klingon"),
    ],
)
def test_names_that_only_the_base_or_a_filter_knows_are_found_before_anything_runs(
    recipe: recipes.Recipe, setting: str, message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        study.compile_recipe(recipes.parse(recipes.dump(recipe), overrides=[setting]))


def test_a_missing_data_file_is_found_before_anything_runs(recipe: recipes.Recipe, tmp_path: Path) -> None:
    (tmp_path / "rows.json").unlink()
    with pytest.raises(UserError, match=r"rows\.json"):
        study.compile_recipe(recipe)


def test_an_unknown_nano_set_or_a_missing_row_count_is_an_error() -> None:
    text = RECIPE.replace("path: rows.json", "path: 'nano:poetry', rows: 5")
    with pytest.raises(UserError, match="nano:poetry"):
        study.compile_recipe(recipes.parse(text))


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", "a/b/c"])
def test_a_model_that_is_nowhere_is_a_clear_error(name: str) -> None:
    with pytest.raises(UserError, match="no model"):
        models.locate(name)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        models.locate(str(tmp_path))


def test_a_damaged_base_or_run_folder_is_named_by_a_look_at_the_plan(recipe: recipes.Recipe, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"model_type": ')
    with pytest.raises(UserError, match=r"config.json: damaged file"):
        study.compile_recipe(recipes.parse(recipes.dump(recipe), overrides=[f"model.base={tmp_path / 'base'}"]))
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(UserError, match="run: this is a file, not a folder"):
        run.claim(tmp_path / "run", name="study", recipe_file="r.yaml", look_only=True)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(UserError, match=r"damaged run.json"):
        models.locate(str(tmp_path))


def test_a_model_is_known_by_its_contents_not_its_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text("{}")
        (tmp_path / place / "model.safetensors").write_bytes(b"weights")
    one, two = (models.identity(str(tmp_path / place)) for place in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weighty")
    assert models.identity(str(tmp_path / "two")) != one


# ------------------------------------------------------------------------------------------------ ablations and seeds

ABLATION = RECIPE.replace("variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}\n", "ablate: stages\n")


def test_an_ablation_is_every_choice_of_stages_that_ends_in_the_last(recipe: recipes.Recipe, tmp_path: Path) -> None:
    made = recipes.parse(ABLATION, overrides=[f"data_root={tmp_path}"])
    assert made.chains() == {"c": ("c",), "a-c": ("a", "c"), "b-c": ("b", "c"), "full": ("a", "b", "c")}
    trained = [step.name for step in study.compile_recipe(made) if step.kind == "sft"]
    assert trained == [f"train-{name}" for name in ("c", "a", "a-c", "b", "b-c", "a-b", "a-b-c")]


def test_every_variant_is_trained_and_evaluated_per_seed_on_data_prepared_once(
    recipe: recipes.Recipe, tmp_path: Path
) -> None:
    root = f"data_root={tmp_path}"
    steps = {
        step.name: step for step in study.compile_recipe(recipes.parse(ABLATION, overrides=[root, "seeds=[5, 6]"]))
    }
    assert [name for name in steps if name.startswith("train-a-b-c")] == ["train-a-b-c@5", "train-a-b-c@6"]
    assert [name for name in steps if name.startswith("data-")] == ["data-rows"]
    assert steps["data-rows"].spec["seed"] == 0, "the recipe's own seed"
    for seed in (5, 6):
        trained = steps[f"train-a-b-c@{seed}"]
        assert trained.spec["seed"] == seed
        assert trained.inputs == ("data-rows", f"merge-a-b@{seed}")
        assert steps[f"generate-full@{seed}-nano-chat"].inputs == (f"merge-a-b-c@{seed}",)
    assert [name for name in steps if name.startswith("generate-base")] == [
        "generate-base-nano-base",
        "generate-base-nano-chat",
    ]
    assert len([name for name in steps if name.startswith("train-")]) == 2 * 7


def test_seeds_change_what_is_trained_and_nothing_else(recipe: recipes.Recipe, tmp_path: Path) -> None:
    def prints(*more: str) -> dict[str, str]:
        return fingerprints(recipes.parse(ABLATION, overrides=[f"data_root={tmp_path}", *more]))

    one, two = prints("seeds=[5]"), prints("seeds=[5, 6]")
    assert {name: two[name] for name in one if name != "report"} == {
        name: print_ for name, print_ in one.items() if name != "report"
    }, "a further seed leaves what is finished as it is"
    assert two["train-c@5"] != two["train-c@6"]
    assert prints()["data-rows"] == one["data-rows"]


def test_shared_work_names_who_uses_each_training(recipe: recipes.Recipe) -> None:
    assert [(each.chain, each.variants) for each in study.shared_work(recipe)] == [
        (("c",), ("c",)),
        (("a",), ("a-c", "a-b-c")),
        (("a", "c"), ("a-c",)),
        (("a", "b"), ("a-b-c",)),
        (("a", "b", "c"), ("a-b-c",)),
    ]


def test_check_draws_what_is_shared(recipe: recipes.Recipe, tmp_path: Path) -> None:
    made = recipes.parse(ABLATION, overrides=[f"data_root={tmp_path}", "seeds=[5, 6]"])
    assert [line.rstrip() for line in shared.lines(made)] == [
        "what the variants share, for each of the seeds 5, 6",
        "base",
        "├─ c                   = c",
        "├─ a                   for a-c, full",
        "│  ├─ c                = a-c",
        "│  └─ b                for full",
        "│     └─ c             = full",
        "└─ b                   for b-c",
        "   └─ c                = b-c",
        "7 trainings for each seed, 14 in all; 8 and 16 if nothing were shared",
    ]
    assert list(shared.lines(recipe))[-1] == "5 trainings; 6 if nothing were shared"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("variants: {x: [a, d]}", "variants.x[1]: there is no stage called 'd' (known: a, b, c)"),
        ("variants: {x: [a, cc]}", "variants.x[1]: there is no stage called 'cc'"),
        ("variants: {x: [a, c], y: [a, c]}", "variants.y: the same stages as variant 'x'"),
        ("variants: {base: [a]}", "variants.base: the name base is taken"),
        ("variants: {x@1: [a]}", "variants.x@1"),
        ("ablate: rows", "ablate: 'rows' is not one of stages"),
        ("ablate: stages\nvariants: {x: [a]}", "leave out either ablate or variants"),
        ("ablate: stages\nseeds: [1, 2, 1]", "seeds[2]: 1 is given twice"),
        ("seeds: []", "seeds: list should have at least 1 item"),
        ("seeds: [-1]", "seeds[0]: "),
        ("seeds: 3", "seeds: "),
        ("ablate: stages\nreport: {compare_to: ful}", "the table has no row 'ful'; did you mean 'full'?"),
        ("report: {compare_to: a@1}\nseeds: [1]", "the table has no row 'a@1'"),
    ],
)
def test_what_a_study_cannot_mean_is_named(lines: str, message: str) -> None:
    text = RECIPE.replace("variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}\n", lines + "\n")
    with pytest.raises(UserError) as caught:
        recipes.parse(text, name="r.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        ("ablate: stages\nreport: {compare_to: full}", []),
        ("ablate: stages\nreport: {compare_to: before}", []),
        ("seeds: [3]\nreport: {compare_to: base}", []),
        ("seeds: [1, 2]", ["evaluate.require=[{model: a@2, benchmark: nano, at_least: 0}]"]),
        ("seeds: [1, 2]", ["evaluate.require=[{model: a-b, benchmark: nano, at_least: 0}]"]),
    ],
)
def test_what_a_study_can_mean_is_taken(lines: str, more: list[str]) -> None:
    recipes.parse(RECIPE.replace("variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}\n", lines + "\n"), overrides=more)


def test_an_ablation_needs_stages_to_choose_from_and_a_free_name() -> None:
    one = ABLATION.replace("  - {name: b, data: rows}\n  - {name: c, data: rows}\n", "")
    with pytest.raises(UserError, match="ablate: needs 2 to 6 stages to choose from, and there are 1"):
        recipes.parse(one)
    with pytest.raises(UserError, match="calls the variant of all stages full"):
        recipes.parse(ABLATION.replace("{name: a,", "{name: full,"))


def test_two_chains_of_one_name_are_refused() -> None:
    text = RECIPE.replace("{name: a,", "{name: b-c,").replace("variants: {c: [c], a-c: [a, c], a-b-c: [a, b, c]}", "{}")
    clash = text.replace("{}", "variants: {x: [b-c], y: [b, c]}")
    with pytest.raises(UserError, match="b-c and b → c would share the name b-c"):
        recipes.parse(clash)
    assert recipes.parse(text.replace("{}", "variants: {x: [b-c], y: [c]}")).chains()


# ------------------------------------------------------------------------------------------- what repeats a training


@pytest.mark.parametrize(
    "setting",
    ["checkpoint_seconds=7", "keep_last=5", "activation_checkpointing=true", "evals_per_epoch=1", "eval_rows=9"],
)
def test_settings_that_change_nothing_learned_repeat_nothing(
    recipe: recipes.Recipe, tmp_path: Path, setting: str
) -> None:
    changed = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", f"stages.a.{setting}"])
    assert fingerprints(changed)["train-a"] == fingerprints(recipe)["train-a"]
    train = next(step for step in study.compile_recipe(changed) if step.name == "train-a")
    key, value = setting.split("=")
    assert str(train.spec["at"]["running"][key]).lower().removesuffix(".0") == value, "and still reach the step"


@pytest.mark.parametrize(
    "settings",
    [
        ["learning_rate=0.5"],
        ["epochs=1"],
        ["lora.r=4"],
        ["pack_length=2048"],
        ["micro_batch_tokens=4096"],  # the default has dropout, which draws anew in each pass
    ],
)
def test_settings_that_change_what_is_learned_repeat_it(
    recipe: recipes.Recipe, tmp_path: Path, settings: list[str]
) -> None:
    root = f"data_root={tmp_path}"
    before = recipes.parse(RECIPE, overrides=[root, "stages.a.micro_batch_tokens=8192"])
    after = recipes.parse(
        RECIPE, overrides=[root, "stages.a.micro_batch_tokens=8192", *(f"stages.a.{s}" for s in settings)]
    )
    assert fingerprints(after)["train-a"] != fingerprints(before)["train-a"]


def test_the_size_of_a_pass_counts_only_where_something_is_drawn_in_it(recipe: recipes.Recipe, tmp_path: Path) -> None:
    def print_of(*more: str) -> str:
        made = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", *(f"stages.a.{each}" for each in more)])
        return fingerprints(made)["train-a"]

    plain = ("lora.dropout=0.0",)
    assert print_of(*plain, "micro_batch_tokens=8192") == print_of(*plain)
    noisy = (*plain, "neftune_alpha=5")
    assert print_of(*noisy, "micro_batch_tokens=8192") != print_of(*noisy)


def test_evaluations_count_where_a_step_is_chosen_by_them(recipe: recipes.Recipe, tmp_path: Path) -> None:
    def print_of(*more: str) -> str:
        made = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", *(f"stages.a.{each}" for each in more)])
        return fingerprints(made)["train-a"]

    assert print_of("select_by=eval_loss", "eval_rows=9") != print_of("select_by=eval_loss")
    assert print_of("early_stop=2", "evals_per_epoch=9") != print_of("early_stop=2")
