"""MBXP's and multilingual HumanEval's own ways of testing, language by language: thrown errors, libraries that compare."""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import mbxp
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.programs import judge_programs
from codeup.evaluate.samples import program_of, read_answers
from codeup.sandbox.pool import Pool
from codeup.types import Outcome, Sample

ROWS: dict[str, dict[str, Any]] = {
    "cpp": {
        "prompt": "#include <bits/stdc++.h>\nusing namespace std;\n\nvector<int> twice(vector<int> xs) {\n",
        "test": (
            "\ntemplate <typename T> bool compare(T a, T b){ \n    return a == b; \n}\n\nint main(int argc, char* argv[]) {\n"
            "    vector<int> x0 = twice(vector<int>{1, 2});\n    if (!(compare(x0, {2, 4}))) {\n"
            '        throw runtime_error("Exception -- test case 0 did not pass.");\n    }\n\n    return 0;\n}'
        ),
        "right": "    for (int& x : xs) x *= 2;\n    return xs;\n}\n",
        "wrong": "    return xs;\n}\n",
        "forged": "    return xs;\n}\nbool compare(vector<int> a, vector<int> b) { return true; }\n",
    },
    "go": {
        "prompt": 'package main\n\nimport (\n\t"encoding/json"\n\t"reflect"\n)\n\nfunc twice (xs []int) []int {\n',
        "test": (
            "\n\nfunc deepCompare(a interface{}, b interface{}, msg string) bool {\n\taJSON, _ := json.Marshal(a)\n"
            "\tbJSON, _ := json.Marshal(b)\n\tif reflect.DeepEqual(aJSON, bJSON) {\n\t\treturn true\n\t} else {\n\t\tpanic(msg)\n\t}\n}\n\n"
            'func main() {\n\tdeepCompare(twice([]int{1, 2}), []int{2, 4}, "Exception --- test case 0 failed to pass")\n\n}'
        ),
        "right": "\tfor i := range xs {\n\t\txs[i] *= 2\n\t}\n\treturn xs\n}\n\nfunc main() {\n}\n",
        "wrong": "\treturn xs\n}\n",
        "forged": "\tdefer recover()\n\treturn xs\n}\n\nfunc main() {\n}\n",
    },
    "javascript": {
        "prompt": "function twice(xs) {\n",
        "test": (
            '\nconst _ = require("lodash")\n\nfunction compare(object1, object2){\n    return _.isEqual(object1, object2)\n}\n\n'
            "var x0 = twice([1, 0]);\nvar v0 = [2, 0];\nif(!compare(x0, v0)){\n"
            "    throw 'Error at 1th assert statement. Value = ' + JSON.stringify(x)  \n}\n\n"
        ),
        "right": "    return xs.map(x => x === 0 ? -0 : 2 * x);\n}\n",
        "wrong": "    return xs;\n}\n",
        "forged": '    require("lodash").isEqual = () => true; return xs;\n}\nfunction compare() { return true }\n',
    },
    "perl": {
        "prompt": "\nsub twice\n{\n  my ($xs) = @_;\n",
        "test": (
            "\n\nuse Data::Compare;\n\nmy $x0 = twice([1, 2.5]);\nmy $v0 = [2, 5.0];\nunless(Compare($x0, $v0)) {\n"
            '    die "Exception -- test case 0 did not pass.";\n}\n'
        ),
        "right": "  return [map { 2 * $_ } @$xs];\n}\n",
        "wrong": "  return $xs;\n}\n",
        "forged": "  no strict 'refs'; *{'main::Compare'} = sub { 1 }; return $xs;\n}\n",
    },
    "csharp": {
        "prompt": (
            "using System;\nusing System.Collections.Generic;\nusing System.Linq;\nusing KellermanSoftware.CompareNetObjects;\n\n"
            "namespace Solution\n{\n    public class Program\n    {\n        public static List<int> Twice (List<int> xs) \n        {"
        ),
        "test": (
            "\n\n        public static void Main(string[] args)\n        {\n            CompareLogic compareLogic = new CompareLogic();\n"
            "            var actual1 = Twice(new List<int> {1,2});\n            var expected1 = new List<int> {2,4};\n"
            "            var result1 = compareLogic.Compare(actual1, expected1);\n"
            '            if (!result1.AreEqual) {throw new Exception("Exception --- test case 0 failed to pass");}\n\n        }\n    }\n}\n'
        ),
        "right": "\n            return xs.Select(x => 2 * x).ToList();\n        }\n",
        "wrong": "\n            return xs;\n        }\n",
        "forged": (
            "\n            return xs;\n        }\n        class Result { public bool AreEqual = true; }\n"
            "        class CompareLogic { public Result Compare(object a, object b) { return new Result(); } }\n"
        ),
    },
}
"""One row of each language as the authors' files have it, with answers."""


@pytest.mark.parametrize("language", ROWS)
def test_a_right_answer_passes_and_a_wrong_one_fails_also_with_a_comparison_of_its_own(
    language: str, tmp_path: Path
) -> None:
    row = {
        "task_id": "MB/1",
        "entry_point": "twice",
        "language": language,
        "canonical_solution": None,
        **ROWS[language],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (problem,) = mbxp.load(tmp_path / "rows.jsonl").problems
    try:
        opened = whole.opened([problem])
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    samples = [
        Sample(problem.task_id, 0, "base", row["right"], "given"),
        Sample(problem.task_id, 1, "chat", row["prompt"] + row["right"], "given"),
        Sample(problem.task_id, 2, "base", row["wrong"], "given"),
        Sample(problem.task_id, 3, "base", row["forged"], "given"),
    ]
    programs = [program_of(sample, problem, mbxp) for sample in samples]
    with Pool(2, whole.limits_for(None), **opened) as pool:
        found = {v.index: v for v in judge_programs(pool, {problem.task_id: problem}, programs)}
    assert [found[index].outcome for index in range(2)] == [Outcome.PASSED] * 2, found
    assert found[2].outcome is Outcome.FAILED and found[2].detail, found[2]
    assert found[3].outcome is not Outcome.PASSED, found[3]


def test_a_number_or_the_end_of_an_id_names_the_problem_that_ends_so(tmp_path: Path) -> None:
    rows = [
        {"task_id": name, "entry_point": "f", "language": "ruby", "prompt": "", "test": "f(1)"}
        for name in ("MBRBP/7", "MBRBP/70", "MBRBP/8")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = mbxp.load(tmp_path / "rows.jsonl")
    named = [7, "7", "MBRBP/7", "70", 8]
    given = [{"task_id": each, "completion": f"# {place}"} for place, each in enumerate(named)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    found = [(answer.sample.task_id, answer.sample.raw) for answer in read_answers(tmp_path / "s.jsonl", mbxp, data)]
    assert found == [
        ("MBRBP/7", "# 0"),
        ("MBRBP/7", "# 1"),
        ("MBRBP/7", "# 2"),
        ("MBRBP/70", "# 3"),
        ("MBRBP/8", "# 4"),
    ]
    (tmp_path / "s.jsonl").write_text('{"task_id": 9, "completion": "x"}\n')
    with pytest.raises(UserError, match="1 task ids are not in this benchmark: 9"):
        read_answers(tmp_path / "s.jsonl", mbxp, data)


def test_a_line_ends_at_its_line_feed_and_at_no_other_sign(tmp_path: Path) -> None:
    row = {"task_id": "MBRBP/7", "entry_point": "f", "language": "ruby", "prompt": "# a\u2028b\x85c\n", "test": "f(1)"}
    text = json.dumps(row, ensure_ascii=False)
    (tmp_path / "rows.jsonl").write_bytes(f"\ufeff{text}\r\n\r\n".encode())
    assert mbxp.load(tmp_path / "rows.jsonl").problems[0].prompt == row["prompt"]


LODASH = """
const same = [[NaN, NaN], [0, -0], [[1, [2]], [1, [2]]], [{a: 1, b: 2}, {b: 2, a: 1}], [new Set([1, 2]), new Set([2, 1])],
  [new Map([[1, 'a']]), new Map([[1, 'a']])], [undefined, undefined], [new Date(5), new Date(5)], [/a/g, /a/g]];
const other = [[1, '1'], [[1, 2], [2, 1]], [[], {}], [null, undefined], [{a: 1}, {a: 1, b: 2}], [[1], [1, undefined]],
  [new Set([1]), new Set([2])], [{a: undefined}, {b: undefined}], [/a/g, /a/], [true, 1], [new Date(5), new Date(6)]];
const _ = require('lodash');
for (const [a, b] of same) if (!_.isEqual(a, b)) throw new Error('differ: ' + String(a));
for (const [a, b] of other) if (_.isEqual(a, b) || _.isEqual(b, a)) throw new Error('same: ' + String(a));
"""
"""What lodash documents of isEqual: SameValueZero, parts by parts, order of keys and of sets aside."""


def test_values_are_compared_as_lodash_compares_them(tmp_path: Path) -> None:
    row = {"task_id": "MBJSP/1", "entry_point": "f", "language": "javascript", "prompt": "", "test": LODASH}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (problem,) = mbxp.load(tmp_path / "rows.jsonl").problems
    try:
        opened = whole.opened([problem])
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    program = program_of(Sample(problem.task_id, 0, "base", "const f = 0\n", "given"), problem, mbxp)
    with Pool(1, whole.limits_for(None), **opened) as pool:
        (verdict,) = judge_programs(pool, {problem.task_id: problem}, [program])
    assert verdict.outcome is Outcome.PASSED, verdict
