"""From rows and verdicts to pairs of token documents, with every row accounted for; what a recipe may ask for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tokenizers_for_tests import byte_level

from codeup import artifacts, planning, plugins, study
from codeup import recipe as recipes
from codeup import run as engine
from codeup.chat import Renderer
from codeup.data import rows
from codeup.data.rows import Drop, Pair
from codeup.errors import UserError
from codeup.evaluate.pairs import NONE_FAILED, NONE_PASSED, Judged, find_judged, shared_problems, verdict_pairs
from codeup.nano.benchmark import benchmark_keys
from codeup.nano.practice import practice_rows, write_practice
from codeup.steps import pairs as pairs_step
from codeup.steps.pairs import last_answer_only
from codeup.train.tokens import open_tokens
from codeup.types import Context, Conversation, Message, Tokens


def convert(row: dict[str, Any], **columns: str) -> Conversation | Drop:
    made: Conversation | Drop = plugins.load("sources", "preferences").convert(row, columns=columns)
    return made


def texts(item: Conversation | Drop) -> tuple[list[tuple[str, str]], str]:
    assert isinstance(item, Pair), item
    return [(turn.role, turn.content) for turn in item.messages], item.rejected


USER = {"role": "user", "content": "Double x."}
GOOD, BAD = {"role": "assistant", "content": "2 * x"}, {"role": "assistant", "content": "x ^ 2"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Double x.", "chosen": "2 * x", "rejected": "x ^ 2"},
        {
            "conversations": [{"from": "human", "value": "Double x."}],
            "chosen": {"from": "gpt", "value": "2 * x"},
            "rejected": {"from": "gpt", "value": "x ^ 2"},
        },
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"messages": [USER], "chosen": "2 * x", "rejected": "x ^ 2"},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Double x.", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
)
def test_all_shapes_of_one_preference_give_the_same_pair(row: dict[str, Any]) -> None:
    assert texts(convert(row)) == ([("user", "Double x."), ("assistant", "2 * x")], "x ^ 2")


def test_context_system_and_input_come_before_the_answers() -> None:
    turns = [("human", "Is 7 prime?"), ("gpt", "Yes."), ("human", "And 9?")]
    row = {
        "system": "Be terse.",
        "conversations": [{"from": role, "value": text} for role, text in turns],
        "chosen": "No.",
        "rejected": "Yes.",
    }
    roles = [role for role, _ in texts(convert(row))[0]]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    alpaca = convert(
        {"instruction": "Add", "input": "1, 2", "good": "3", "rejected": "4"}, prompt="instruction", chosen="good"
    )
    assert isinstance(alpaca, Pair) and alpaca.messages[0] == Message("user", "Add", "1, 2")
    assert alpaca.rejected_conversation.messages == (alpaca.messages[0], Message("assistant", "4"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Say yes.", "chosen": "yes", "rejected": "yes"}, rows.EQUAL_ANSWERS),
        ({"prompt": "Say yes.", "chosen": "yes", "rejected": "  "}, rows.EMPTY_ANSWER),
        ({"prompt": "Say yes.", "chosen": None, "rejected": "no"}, rows.EMPTY_ANSWER),
        ({"prompt": "", "chosen": "yes", "rejected": "no"}, rows.EMPTY_QUESTION),
        ({"chosen": "yes", "rejected": "no"}, rows.NOTHING_TO_LEARN),
        ({"chosen": [USER, GOOD], "rejected": [{**USER, "content": "Halve x."}, BAD]}, rows.OTHER_PROMPT),
        ({"messages": [USER, GOOD], "chosen": "yes", "rejected": "no"}, rows.NOT_ALTERNATING),
        ({"prompt": "Say yes.", "chosen": 1, "rejected": "no"}, rows.MISSING_COLUMN),
    ],
)
def test_a_row_without_a_preference_is_dropped_with_its_reason(row: dict[str, Any], reason: str) -> None:
    made = convert(row)
    assert isinstance(made, Drop) and made.reason == reason


def test_only_the_last_answer_is_trained() -> None:
    f, t = False, True
    assert last_answer_only(Tokens(tuple(range(7)), (f, t, t, f, f, t, t))).trained == (f, f, f, f, f, t, t)
    assert last_answer_only(Tokens((1, 2), (t, t))).trained == (t, t)


# --- the step ------------------------------------------------------------------------------------------------------


def prepare(tmp_path: Path, **changes: Any) -> tuple[dict[str, Any], Path]:
    """Run the step on a file of pairs, with a tokenizer of the tests."""
    model, out = tmp_path / "model", tmp_path / "out"
    byte_level().save_pretrained(model)
    (model / "config.json").write_text("{}")
    out.mkdir(exist_ok=True)
    entry = recipes.Pairs(path="pairs.jsonl").model_dump(exclude={"path", "verdicts", "problems"}) | {"data": []}
    place = {"path": "pairs.jsonl", "verdicts": None, "problems": None}
    spec = {
        "dataset": "prefer", "pairs": [entry], "cutoff": 200, "validation_rows": 1, "template": "alpaca", "base": "",
        "seed": 0, "evaluated": [],
        "at": {
            "data_root": str(tmp_path), "places": [place], "evaluated_paths": [], "base": str(model), "revision": None
        },
    }  # fmt: skip
    spec["at"].update(changes.pop("at", {}))  # type: ignore[attr-defined]
    summary = pairs_step.run(pairs_step.Spec.model_validate({**spec, **changes}), Context(out, "data-prefer", {}))
    return summary, out


def write_lines(path: Path, values: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")


ROWS = [
    {"prompt": "Double x.", "chosen": "2 * x", "rejected": "x ^ 2"},
    {"prompt": "Double x.", "chosen": "x + x", "rejected": "x x"},
    {"prompt": "Halve x.", "chosen": "x / 2", "rejected": "x // 2 * 1.0"},
    {"prompt": "Say yes.", "chosen": "yes", "rejected": "yes"},
    {"prompt": "Long.", "chosen": "x" * 900, "rejected": "no"},
]


def test_every_row_is_kept_or_dropped_with_a_reason(tmp_path: Path) -> None:
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    summary, out = prepare(tmp_path)
    assert (summary["rows_in"], summary["rows_kept"]) == (5, 3)
    assert summary["dropped"] == {rows.EQUAL_ANSWERS: 1, rows.TOO_LONG: 1}
    assert (summary["train_rows"], summary["validation_rows"]) == (2, 1), "both answers to doubling on one side"
    renderer = Renderer(byte_level(), "alpaca")
    held_out = open_tokens(out / "validation")
    answers = [renderer.decode(ids[trained == 1].tolist()) for ids, trained in (held_out[0], held_out[1])]
    assert answers == ["x / 2", "x // 2 * 1.0"] and len(held_out) == 2
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in dropped] == [(3, rows.EQUAL_ANSWERS), (4, rows.TOO_LONG)]


def test_documents_are_chosen_and_rejected_by_turns_with_one_prompt(tmp_path: Path) -> None:
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    _, out = prepare(tmp_path, validation_rows=0)
    store, renderer = open_tokens(out / "train"), Renderer(byte_level(), "alpaca")
    assert len(store) == 6
    for number, row in enumerate(ROWS[:3]):
        heads = []
        for document, answer in ((2 * number, row["chosen"]), (2 * number + 1, row["rejected"])):
            ids, trained = store[document]
            assert renderer.decode(ids[trained == 1].tolist()) == answer
            assert ids[-1] == renderer.end_ids[0] and trained[-1]
            heads.append(ids[trained == 0].tolist())
        assert heads[0] == heads[1] == renderer.prompt([Message("user", row["prompt"])])


def test_the_pairs_that_were_kept_can_be_read_again(tmp_path: Path) -> None:
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    prepare(tmp_path)
    kept = [convert(json.loads(line)) for line in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()]
    assert [texts(item) for item in kept] == [texts(convert(row)) for row in ROWS[:3]]


def test_a_source_of_examples_is_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "pairs.jsonl", [{"prompt": "Double x.", "response": "2 * x"}])
    entry = recipes.Pairs(path="pairs.jsonl", source="prompt_response").model_dump()
    with pytest.raises(UserError, match="gives examples, not pairs"):
        prepare(tmp_path, pairs=[entry])


@pytest.mark.real_data
def test_the_preference_demo_of_llamafactory_is_accounted_for(tmp_path: Path, public_data: Path) -> None:
    at = {"data_root": str(public_data / "train")}
    entry = recipes.Pairs(path="dpo_en_demo.json").model_dump()
    place = {"path": "dpo_en_demo.json", "verdicts": None, "problems": None}
    summary, _ = prepare(tmp_path, pairs=[entry], cutoff=100_000, at={**at, "places": [place]})
    assert (summary["rows_in"], summary["rows_kept"]) == (300, 300)


# --- verdicts ------------------------------------------------------------------------------------------------------


def judged_folder(folder: Path, problems: Path, answers: list[tuple[str, int, str, str, str]]) -> Path:
    """What `codeup evaluate` leaves, for (task, index, text, finish, outcome)."""
    sample = {"form": "chat", "tokens": 3}
    write_lines(
        folder / "samples.jsonl",
        [{"task_id": t, "index": i, "raw": text, "finish": finish, **sample} for t, i, text, finish, _ in answers],
    )
    out = folder / "samples-verdicts"
    out.mkdir()
    write_lines(out / "verdicts.jsonl", [{"task_id": t, "index": i, "outcome": o} for t, i, _, _, o in answers])
    scores = {
        "form": "chat", "benchmark": "nano", "prompt_style": "default",
        "samples_sha256": artifacts.file_sha256(folder / "samples.jsonl"),
        "data_sha256": artifacts.file_sha256(problems),
    }  # fmt: skip
    (out / "scores.json").write_text(json.dumps(scores))
    return out


ANSWERS = [
    ("practice/0", 0, "good a", "stop", "PASSED"),
    ("practice/0", 1, "bad b", "stop", "FAILED"),
    ("practice/0", 2, "bad c", "stop", "TIMEOUT"),
    ("practice/0", 3, "cut", "length", "COMPILE"),
    ("practice/0", 4, "bad b", "stop", "FAILED"),
    ("practice/1", 0, "bad", "stop", "FAILED"),
    ("practice/2", 0, "good", "stop", "PASSED"),
    ("practice/2", 1, "cut", "length", "FAILED"),
]


@pytest.fixture
def practice(tmp_path: Path) -> Path:
    write_practice(tmp_path / "practice.jsonl.gz", 4)
    return tmp_path / "practice.jsonl.gz"


def made_pairs(folder: Path, practice: Path, **changes: Any) -> list[Pair | Drop]:
    benchmark = plugins.load("benchmarks", "nano")
    (judged,) = find_judged(folder)
    settings: dict[str, Any] = {"per_problem": 4, "seed": 0, "label": "verdicts"} | changes
    return list(verdict_pairs(judged, benchmark, benchmark.load(practice), **settings))


def test_a_passing_and_a_failing_answer_to_one_problem_make_a_pair(tmp_path: Path, practice: Path) -> None:
    """Two different finished failures of problem 0; the cut answers count for nothing."""
    items = made_pairs(judged_folder(tmp_path, practice, ANSWERS), practice)
    instruction = practice_rows(4)[0]["instruction"]
    pairs = [item for item in items if isinstance(item, Pair)]
    assert {texts(pair)[1] for pair in pairs} == {"bad b", "bad c"} and len(pairs) == 2
    for pair in pairs:
        assert texts(pair)[0] == [("user", instruction), ("assistant", "good a")]
        assert (pair.row, pair.group) == (0, "practice/0")
    drops = [(item.row, item.reason) for item in items if isinstance(item, Drop)]
    assert drops == [(1, NONE_PASSED), (2, NONE_FAILED)]


def test_pairs_of_one_problem_are_limited_and_drawn_by_the_seed(tmp_path: Path, practice: Path) -> None:
    folder = judged_folder(tmp_path, practice, ANSWERS)
    firsts = {made_pairs(folder, practice, per_problem=1, seed=seed)[0] for seed in range(8)}
    assert {texts(pair)[1] for pair in firsts} == {"bad b", "bad c"}
    assert made_pairs(folder, practice, seed=3) == made_pairs(folder, practice, seed=3)


def test_answers_that_were_changed_after_judging_are_not_found(tmp_path: Path, practice: Path) -> None:
    folder = judged_folder(tmp_path, practice, ANSWERS)
    (tmp_path / "samples.jsonl").write_text((tmp_path / "samples.jsonl").read_text().replace("good a", "other"))
    with pytest.raises(UserError, match="the answers that were judged here are not beside it"):
        find_judged(folder)


def test_a_folder_without_verdicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no"):
        find_judged(tmp_path)


def from_verdicts(tmp_path: Path, practice: Path, evaluated: str | None, **settings: Any) -> dict[str, Any]:
    """The step on verdicts over the practice problems, in a study evaluated on a file of problems."""
    judged_folder(tmp_path, practice, ANSWERS)
    entry = recipes.Pairs(verdicts="x", **settings).model_dump()
    place = {"path": None, "verdicts": "samples-verdicts", "problems": practice.name}
    at = {"places": [place], "evaluated_paths": [evaluated]}
    return prepare(tmp_path, pairs=[entry], validation_rows=0, evaluated=[{"name": "nano", "data": []}], at=at)[0]


def test_verdicts_become_training_data_with_an_account(tmp_path: Path, practice: Path) -> None:
    summary = from_verdicts(tmp_path, practice, None)
    assert (summary["rows_in"], summary["rows_kept"], summary["train_rows"]) == (4, 2, 2)
    assert summary["dropped"] == {NONE_FAILED: 1, NONE_PASSED: 1}


def test_training_on_the_problems_of_the_evaluation_is_refused(tmp_path: Path, practice: Path) -> None:
    with pytest.raises(UserError, match=r"4 of 4 problems .* benchmark 'nano' .* first practice/0") as refused:
        from_verdicts(tmp_path, practice, practice.name)
    assert "allow_evaluated: true" in str(refused.value)


def test_it_is_done_when_the_recipe_insists(tmp_path: Path, practice: Path) -> None:
    assert from_verdicts(tmp_path, practice, practice.name, allow_evaluated=True)["rows_kept"] == 2


def test_problems_that_were_not_judged_are_refused(tmp_path: Path, practice: Path) -> None:
    write_practice(tmp_path / "other.jsonl.gz", 5)
    judged_folder(tmp_path, practice, ANSWERS)
    place = {"path": None, "verdicts": "samples-verdicts", "problems": "other.jsonl.gz"}
    with pytest.raises(UserError, match="on other problems"):
        prepare(tmp_path, pairs=[recipes.Pairs(verdicts="x").model_dump()], at={"places": [place]})


def test_practice_problems_are_not_those_of_the_benchmark() -> None:
    benchmark = plugins.load("benchmarks", "nano")
    made = practice_rows(60)
    problems = benchmark.load().problems
    ours = [type(problems[0])(row["task_id"], row["prompt"], row["entry_point"], "") for row in made]
    assert shared_problems(ours, problems) == [] and len(benchmark_keys()) == len(problems)
    assert shared_problems(problems[:2], problems) == [problem.task_id for problem in problems[:2]]
    for row in made[:20]:
        names: dict[str, Any] = {}
        exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], names)
        names["check"](names[row["entry_point"]])


# --- the recipe ----------------------------------------------------------------------------------------------------

RECIPE = """
name: prefer
model: {base: nano-base}
data:
  code: {sources: [{source: alpaca, path: rows.json}]}
  prefer: {pairs: [{path: pairs.jsonl}]}
stages:
  - {name: code, data: code}
  - {name: prefer, kind: dpo, data: prefer}
"""


def test_a_preference_stage_is_planned_after_the_merge_before_it(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[]")
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    recipe = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}"])
    steps = {step.name: step for step in study.compile_recipe(recipe)}
    assert steps["data-prefer"].kind == "pairs"
    assert steps["train-code-prefer"].kind == "dpo"
    assert steps["train-code-prefer"].inputs == ("data-prefer", "merge-code")
    assert steps["merge-code-prefer"].inputs == ("train-code-prefer", "merge-code")
    for step in steps.values():
        spec = plugins.load("steps", step.kind).Spec.model_validate(json.loads(json.dumps(step.spec)))
        assert json.loads(spec.model_dump_json()) == step.spec


def test_the_folder_of_the_run_itself_is_no_source_of_verdicts() -> None:
    change = ["data.prefer.pairs=[{verdicts: runs/a}]", "run_dir=runs/../runs/a"]
    with pytest.raises(UserError, match="is the folder of this run") as refused:
        study.compile_recipe(recipes.parse(RECIPE, overrides=[*change, "data.code.sources.0.path=pyproject.toml"]))
    assert "steps/judge-" in str(refused.value)


def test_the_plan_counts_pairs_and_the_reference(tmp_path: Path) -> None:
    """Three pairs fit, one is held out: two rows of training. The reference reads all three once."""
    write_lines(tmp_path / "pairs.jsonl", ROWS)
    only = ["stages=[{name: prefer, kind: dpo, data: prefer, evals_per_epoch: 0}]", "data.prefer.cutoff=200"]
    recipe = recipes.parse(RECIPE, overrides=[f"data_root={tmp_path}", *only, "data.prefer.validation_rows=1"])
    plan = planning.plan_study(recipe, study.compile_recipe(recipe), {}, gpu="h100")
    (stage,) = plan.stages
    assert stage.workload is not None
    assert (stage.workload.rows, stage.workload.validation_rows, stage.workload.packs) == (2, 1, 1)
    assert stage.evaluated_tokens == round(3 * stage.workload.tokens / 2)
    with pytest.raises(UserError, match="a preference stage, whose steps are not measured"):
        planning.plan_study(recipe, study.compile_recipe(recipe), {}, measure=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "stages.prefer.data=code",
            "stages[1].data: data 'code' holds examples (sources); a dpo stage learns from pairs",
        ),
        ("stages.code.data=prefer", "stages[0].data: data 'prefer' holds pairs of answers; an sft stage learns from"),
        ("stages.code.dpo.beta=0.5", "stages[0].dpo: is only read with kind: dpo"),
        ("stages.prefer.dpo.beta=0", "stages[1].dpo.beta: should be greater than 0, not 0"),
        ("stages.prefer.dpo={loss: ipo, label_smoothing: 0.1}", "label_smoothing: has no meaning for loss: ipo"),
        ("stages.prefer.kind=ppo", "'ppo' is not one of sft, dpo"),
        ("data.prefer.sources=[{source: alpaca}]", "data.prefer: not both: give sources"),
        ("data.prefer.pairs=[]", "data.prefer: give sources (examples, for sft stages) or pairs (for dpo stages)"),
        ("data.prefer.pairs.0.verdicts=runs/x", "data.prefer.pairs[0]: give path (a file of pairs) or verdicts"),
        ("data.prefer.pairs.0.per_problem=2", "data.prefer.pairs[0].per_problem: is only read with verdicts"),
        ("data.prefer.pairs.0.source=preference", "did you mean 'preferences'?"),
        ("data.prefer.overlong=cut_turns", "data.prefer.overlong: pairs that are too long are dropped"),
        (
            "stages.prefer.pack_length=3000",
            "stages[1].pack_length: 3000 is smaller than the 4096 tokens that a pair of prefer may have",
        ),
        ("report_to=tensorbord", "report_to: 'tensorbord' is not one of"),
    ],
)
def test_a_wrong_setting_is_explained_with_its_place(change: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        recipes.parse(RECIPE, overrides=[change])
    assert message in refused.value.what, refused.value.what


def test_trackers_are_named_alone_or_as_a_list() -> None:
    assert recipes.parse(RECIPE).trackers() == []
    assert recipes.parse(RECIPE, overrides=["report_to=wandb"]).trackers() == ["wandb"]
    assert recipes.parse(RECIPE, overrides=["report_to=[tensorboard, trackio]"]).trackers() == [
        "tensorboard",
        "trackio",
    ]


def test_the_verdicts_of_a_run_are_those_of_its_judge_steps(tmp_path: Path, practice: Path) -> None:
    """A run folder: run.json names the steps, artifact.json the problems' file."""
    step = tmp_path / "steps" / "judge-code-nano-chat-1"
    step.mkdir(parents=True)
    made = judged_folder(tmp_path, practice, ANSWERS)
    (tmp_path / "steps" / "generate-code-nano-chat-2").mkdir()
    (tmp_path / "samples.jsonl").rename(tmp_path / "steps" / "generate-code-nano-chat-2" / "samples.jsonl")
    for name in ("verdicts.jsonl", "scores.json"):
        (made / name).rename(step / name)
    at = {"path": "practice.jsonl.gz", "data_root": str(tmp_path)}
    marker = {"spec": {"benchmark": {"name": "nano"}, "at": at}}
    (step / "artifact.json").write_text(json.dumps(marker))
    (tmp_path / "run.json").write_text(json.dumps({"steps": {"judge-code-nano-chat": "steps/judge-code-nano-chat-1"}}))
    (judged,) = find_judged(tmp_path)
    assert isinstance(judged, Judged) and judged.problems == practice
    assert judged.samples.parent.name == "generate-code-nano-chat-2"


def test_a_preference_stage_runs_from_rows_to_a_merged_model_and_a_report(tmp_path: Path) -> None:
    """Through the run engine, on nano-base: 24 pairs, two steps."""
    numbers = [{"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": f"{n}, I think."} for n in range(24)]
    write_lines(tmp_path / "pairs.jsonl", numbers)
    stage = (
        "{name: prefer, kind: dpo, data: prefer, epochs: 2, learning_rate: 1e-3, batch_tokens: 3000, pack_length: 512, "
        "micro_batch_tokens: 512, evals_per_epoch: 1, dpo: {beta: 0.5}, lora: {r: 4, alpha: 8, dropout: 0.0}}"
    )
    changes = [f"data_root={tmp_path}", f"stages=[{stage}]", "data.prefer.validation_rows=4", "model.dtype=float32"]
    changes.append("data.prefer.cutoff=256")
    recipe = recipes.parse(RECIPE, overrides=changes)
    done = engine.run(study.compile_recipe(recipe), tmp_path / "run")
    trained, merged = done["train-prefer"], done["merge-prefer"]
    assert trained.kind == "dpo" and trained.summary["steps"] == 2
    assert trained.summary["eval_loss"] < math.log(2) and trained.summary["eval_margin"] > 0
    assert (Path(merged.folder) / "model" / "model.safetensors").is_file()
    page = (Path(done["report"].folder) / "report.html").read_text()
    assert "prefer" in page
