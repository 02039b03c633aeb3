"""CodeXGLUE: answers compared with references. Expected values are computed by hand; sacrebleu is the oracle of one."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codeup import recipe as recipes
from codeup import study
from codeup.benchmarks import codexglue_code_to_text, codexglue_text_to_code
from codeup.cli.app import app
from codeup.errors import UserError
from codeup.evaluate import text_metrics
from codeup.evaluate.samples import program_of
from codeup.types import Sample

pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (pip install -c constraints.txt '.[text]')")
CODEBLEU = importlib.util.find_spec("codebleu") is not None
NL = "check if parsed . concode_field_sep boolean isParsed concode_elem_sep int count concode_field_sep void parse"
CONCODE = [
    {"nl": NL, "code": "boolean function ( ) { return isParsed ; }"},
    {"nl": "one", "code": "int f ( ) { return 1 ; }"},
]
DOCS = [
    {"repo": "a/b", "func_name": "f", "language": "python", "code": "def f(x):\n    return x", "code_tokens": ["def"],
     "docstring": "Return it.", "docstring_tokens": ["Return", "it", "."]},
    {"language": "python", "code_tokens": ["def", "g", "(", ")"], "docstring_tokens": ["Return", "the", "max_value"]},
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_bleu_of_a_corpus_as_computed_by_hand() -> None:
    pairs = [("int f ( ) { return 1 ; }", "int f ( ) { return 2 ; }"), ("a b", "a b c")]
    # matches and possible: 8+2 of 9+2, 6+1 of 8+1, 4 of 7, 3 of 6; one added to each; 11 tokens against 12
    expected = (11 / 12 * 8 / 10 * 5 / 8 * 4 / 7) ** 0.25 * math.exp(1 - 12 / 11)
    assert text_metrics.bleu(pairs).value == pytest.approx(expected, abs=1e-12)
    same = text_metrics.bleu([("a b c d e", "a b c d e")] * 3)
    assert (same.value, same.low, same.high, same.n) == (1.0, 1.0, 1.0, 3)


def test_smoothed_bleu_of_a_sentence_as_computed_by_hand() -> None:
    # tokens: return the max _ value (5) against return max _ value . (5): 4 of 5, then 2 of 4, 1 of 3, 0 of 2, plus one
    found = text_metrics.sentence_bleu4("Return the max_value", "return max_value.")
    assert found == pytest.approx((4 / 5 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25, abs=1e-12)
    assert text_metrics.sentence_bleu4("x", "return it") == 0.0
    assert text_metrics.sentence_bleu4("", "return it") == pytest.approx(math.exp(-2))  # the original's quirk
    assert text_metrics.sentence_bleu4("Return it.", "return it .") == 1.0


def test_smoothed_bleu_is_sacrebleus_where_no_answer_is_too_short() -> None:
    from sacrebleu.metrics import BLEU

    oracle = BLEU(tokenize="none", smooth_method="add-k", smooth_value=1, effective_order=False)
    for ours, theirs in [("a b c d e f g", "a b x d e f"), ("a a a b", "a a b b"), ("the cat sat on a mat", "a mat")]:
        expected = oracle.sentence_score(ours, [theirs]).score / 100
        assert text_metrics.sentence_bleu4(ours, theirs) == pytest.approx(expected, abs=1e-9)


def test_exact_match_looks_at_tokens_only() -> None:
    found = text_metrics.exact_match([("a  b\n", "a b"), ("ab", "a b"), ("a b c", "a b")])
    assert (found.value, found.n, found.interval) == (pytest.approx(1 / 3), 3, "wilson-95")


@pytest.mark.skipif(not CODEBLEU, reason=f"codebleu is not installed ({text_metrics.INSTALL_CODEBLEU})")
def test_codebleu_is_the_packages_value_with_its_own_grammar_versions() -> None:
    ref = "int getMax ( int [ ] arg0 ) { int loc0 = arg0 [ 0 ] ; for ( int loc1 : arg0 ) { if ( loc1 > loc0 ) loc0 = loc1 ; } return loc0 ; }"  # noqa: E501
    pairs = [(ref.replace("arg0 [ 0 ]", "0"), ref), ("boolean function ( ) { return parsed ; }", CONCODE[0]["code"])]
    # codebleu 0.7.0 with tree-sitter 0.22.3 and tree-sitter-java 0.21.0, in an environment of its own
    assert text_metrics.codebleu(pairs, "java").value == pytest.approx(0.8175688420813203, abs=1e-12)


def test_the_command_scores_text_to_code_and_says_what_it_could_not_compute(tmp_path: Path) -> None:
    data = write(tmp_path / "dev.json", CONCODE)
    rows = [
        {"task_id": "CONCODE/0", "completion": CONCODE[0]["code"]},
        {"task_id": "CONCODE/1", "solution": "int f ( ) { return 2 ; }"},
    ]
    samples = write(tmp_path / "s.jsonl", rows)
    asked = ["evaluate", "--benchmark", "codexglue-text-to-code", "--data", str(data), "--samples", str(samples)]
    done = CliRunner().invoke(app, [*asked, "--json"])
    found = json.loads(done.stdout)
    scores = {score["metric"]: score for score in found["scores"]}
    assert scores["exact match"]["value"] == 0.5 and scores["exact match"]["n"] == 2
    assert ("CodeBLEU" in scores) == CODEBLEU and ("CodeBLEU" in found["not_computed"]) != CODEBLEU
    assert len(found["data_sha256"]) == 64 and found["versions"]["sacrebleu"]
    words = CliRunner().invoke(app, asked).stdout
    assert "codexglue_text_to_code exact match 0.500  95 % [" in words and "n=2 problems" in words
    assert (tmp_path / "s-verdicts" / "scores.json").exists()


def test_code_to_text_is_scored_by_language(tmp_path: Path) -> None:
    data = write(tmp_path / "test.jsonl", DOCS)
    loaded = codexglue_code_to_text.load(data)
    assert [each.task_id for each in loaded.problems] == ["python/0", "python/1"]
    assert loaded.problems[1].canonical_solution == "Return the max_value"
    samples = write(tmp_path / "s.jsonl", [{"task_id": "python/0", "completion": "return it ."},
                                          {"task_id": "python/1", "completion": "zzz"}])  # fmt: skip
    asked = [
        "evaluate",
        "--benchmark",
        "codexglue-code-to-text",
        "--data",
        str(data),
        "--samples",
        str(samples),
        "--json",
    ]
    (score,) = json.loads(CliRunner().invoke(app, asked).stdout)["scores"]
    assert (score["metric"], score["value"]) == ("smoothed BLEU-4", 0.5)
    refused = CliRunner().invoke(app, [*asked, "--pass-at", "1"])
    assert refused.exit_code == 2 and "compares texts and has no pass@k" in refused.output


def test_answers_of_models_become_the_text_that_is_compared(tmp_path: Path) -> None:
    (problem, *_) = codexglue_text_to_code.load(write(tmp_path / "a.json", CONCODE)).problems
    chat = Sample(problem.task_id, 0, "chat", "Here:\n```java\nint f ( )\n```\nDone.", "stop")
    assert program_of(chat, problem, codexglue_text_to_code).code == "int f ( )"
    base = Sample(problem.task_id, 0, "base", "\nint f ( )\nmore", "stop")
    assert program_of(base, problem, codexglue_text_to_code).code == "int f ( )"
    (words, *_) = codexglue_code_to_text.load(write(tmp_path / "b.jsonl", DOCS)).problems
    said = Sample(words.task_id, 0, "chat", "<think>hm</think>\nReturn it,\nalways.", "stop")
    assert program_of(said, words, codexglue_code_to_text).code == "Return it, always."
    asked = codexglue_text_to_code.chat_instruction(problem)
    assert "- boolean isParsed\n- int count\n- void parse" in asked and "concode" not in asked


@pytest.mark.parametrize(
    ("module", "rows", "says"),
    [
        (codexglue_text_to_code, [{"nl": "x", "code": ""}], "CONCODE/0 has no reference"),
        (codexglue_text_to_code, [{"prompt": "x"}], "no text in nl and code"),
        (codexglue_code_to_text, [{"language": "cobol", "docstring_tokens": ["x"]}], "no language of"),
        (codexglue_code_to_text, [DOCS[0], {**DOCS[0], "language": "go"}], "holds go, python"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, module: Any, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(UserError, match=says):
        module.load(write(tmp_path / "x.jsonl", rows))


def test_a_study_refuses_a_benchmark_that_has_no_pass_at_1() -> None:
    asked = ["evaluate.benchmarks=[{name: codexglue-text-to-code}]", "evaluate.require=[]"]
    recipe = recipes.load(Path("recipes/nano.yaml"), asked)
    with pytest.raises(UserError, match="not pass@1"):
        study.compile_recipe(recipe)
