"""MultiPL-E's shape: completions are cut and closed, whole solutions stand alone, in each language that is installed."""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeup.benchmarks import multipl_e
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.programs import judge_programs
from codeup.evaluate.samples import program_of
from codeup.sandbox.pool import Pool
from codeup.types import Outcome, Sample

ROWS: dict[str, dict[str, Any]] = {
    "cpp": {
        "prompt": "#include<assert.h>\n#include<bits/stdc++.h>\n// Twice.\nlong twice(long x) {\n",
        "tests": "}\nint main() {\n    auto candidate = twice;\n    assert(candidate((2)) == (4));\n}\n",
        "stop_tokens": ["\n}"],
        "completion": "    return 2 * x;\n}\n\nint main() { return 1; }\n",
        "solution": "#include <bits/stdc++.h>\nlong twice(long x) { return x + x; }\n",
        "wrong": "    return x;\n",
    },
    "java": {
        "prompt": "import java.util.*;\nclass Problem {\n    // Twice.\n    public static long twice(long x) {\n",
        "tests": "    }\n    public static void main(String[] args) {\n    assert(twice((2l)) == (4l));\n    }\n\n}\n",
        "stop_tokens": ["\n    }\n"],
        "completion": "        return 2 * x;\n    }\n    public static void other() { }\n",
        "solution": "class Problem {\n    public static long twice(long x) { return x + x; }\n}\n",
        "wrong": "        return x;\n",
    },
    "java with tuples": {
        "prompt": "import java.util.*;\nimport org.javatuples.*;\nclass Problem {\n    public static Pair<Long, String> twice(long x) {\n",
        "tests": (
            "    }\n    public static void main(String[] args) {\n    assert(twice((2l)).equals((Pair.with(4l, \"x\"))));\n"
            "    assert(!Pair.with(1l, 2l).equals(Pair.with(2l, 1l)) && Triplet.with(1, 2, 3).getValue2() == 3);\n"
            "    assert(Pair.with(1l, \"a\").toString().equals(\"[1, a]\"));\n    }\n\n}\n"
        ),
        "stop_tokens": ["\n    }\n"],
        "completion": "        return new Pair<>(2 * x, \"x\");\n    }\n",
        "solution": "import org.javatuples.*;\nclass Problem {\n    public static Pair<Long, String> twice(long x) { return Pair.with(3l, \"x\").setAt0(x + x); }\n}\n",
        "wrong": "        return Pair.with(x, \"x\");\n",
    },
    "py": {
        "prompt": 'def twice(x: int) -> int:\n    """Twice (not thrice) a number (see above)."""\n',
        "tests": "def check(candidate):\n    assert candidate(2) == 4\n\ndef test_check():\n    check(twice)\n\ntest_check()\n",
        "stop_tokens": ["\ndef", "\n#", "\nif", "\nclass"],
        "completion": "    return 2 * x\nif True: raise ValueError\n",
        "solution": "twice = lambda x: x + x\n",
        "wrong": "    return x\n",
    },
    "js": {
        "prompt": "//Twice.\nfunction twice(x){\n",
        "tests": (
            "const assert = require('node:assert');\n\n\nfunction test() {\n  let candidate = twice;\n"
            "  assert.deepEqual(candidate(2),4);\n}\n\ntest();"
        ),
        "stop_tokens": ["\nfunction ", "\nconsole.log"],
        "completion": "  return 2 * x\n}\nconsole.log(twice(1))\n",
        "solution": "const twice = x => x + x\n",
        "wrong": "  return x\n}\n",
    },
    "ts": {
        "prompt": "//Twice.\nfunction twice(x: number): number {\n",
        "tests": (
            "declare var require: any;\nconst assert = require('node:assert');\n\n\nfunction test() {\n"
            "  let candidate = twice;\n  assert.deepEqual(candidate(2),4);\n}\n\ntest();"
        ),
        "stop_tokens": ["\nfunction "],
        "completion": "  return 2 * x\n}\n",
        "solution": "const twice = (x: number): number => x + x\n",
        "wrong": "  return x\n}\n",
    },
    "rs": {
        "prompt": "/// Twice.\nfn twice(x: isize) -> isize {\n",
        "tests": "}\n\nfn main() {\n    let candidate = twice;\n    assert_eq!(candidate(2), 4);\n}\n",
        "stop_tokens": ["\n}"],
        "completion": "    2 * x\n}\n\nfn main() {}\n",
        "solution": "fn twice(x: isize) -> isize { x + x }\nfn main() { println!(\"{}\", twice(1)); }\n",
        "wrong": "    x\n",
    },
    "go_test.go": {
        "prompt": 'package twice_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\n// Twice.\nfunc twice(x int) int {\n',
        "tests": (
            "}\n\nfunc TestTwice(t *testing.T) {\n  candidate := twice\n  got := candidate(2)\n"
            '  if fmt.Sprintf("%v", got) != "4" {\n    t.Errorf("wrong")\n  }\n}\n'
        ),
        "stop_tokens": ["\nfunc", "\n}"],
        "completion": "  return 2 * x\n}\n",
        "solution": 'package main\n\nimport "fmt"\n\nfunc twice(x int) int { return x + x }\n',
        "wrong": "  return x\n",
    },
    "php": {
        "prompt": "<?php\n// Twice.\nfunction twice($x) {\n",
        "tests": (
            "}\n\nfunction candidate(...$args) {\n    return twice(...$args);\n}\n\nfunction test(): void {\n"
            '    if (candidate(2) !== 4) { throw new Exception("Test failed!"); }\n}\n\ntest();'
        ),
        "stop_tokens": ["\nfunction", "\n?>", "\n}"],
        "completion": "    return 2 * $x;\n}\necho 1;\n",
        "solution": "<?php\nfunction twice($x) { return $x + $x; }\n",
        "wrong": "    return $x;\n",
    },
    "rb": {
        "prompt": "# Twice.\ndef twice(x)\n",
        "tests": (
            "require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n  def test_twice\n    candidate = method(:twice)\n"
            "    assert_equal(4, candidate.call(2))\n  end\nend\n"
        ),
        "stop_tokens": ["\nclass", "\ndef", "\n#"],
        "completion": "  2 * x\nend\n",
        "solution": "def twice(x)\n  x + x\nend\n",
        "wrong": "  x\nend\n",
    },
    "pl": {
        "prompt": "# Twice.\nsub twice {\n    my($x) = @_;\n",
        "tests": (
            "use Test::Deep;\n\n\nsub testhumaneval {\n    my $candidate = \\&twice;\n        if(eq_deeply($candidate->(2),4)) {\n"
            '        print "ok!" }else{\n        print "not ok!";\n        exit 1;\n        }\n}\n\ntesthumaneval();\n'
        ),
        "stop_tokens": ["\nsub", "\n#"],
        "completion": "    return 2 * $x;\n}\n",
        "solution": "sub twice { return $_[0] + $_[0]; }\n",
        "wrong": "    return $x;\n}\n",
    },
    "sh": {
        "prompt": "#!/bin/bash\n# Twice.\n#\n# $1 is an integer\ntwice() {\n",
        "tests": (
            "}\n\ncandidate() {\n    twice \"$@\"\n}\n\nset -e\nrun_test() {\n    [[ $(candidate \"2\") = \"4\" ]]\n}\n\nrun_test\n"
        ),
        "stop_tokens": ["\n}"],
        "completion": "    echo $((2 * $1))\n}\n",
        "solution": "twice() { echo $(($1 + $1)); }\n",
        "wrong": "    echo $1\n",
    },
}  # fmt: skip
"""The smallest row of each language in MultiPL-E's form, with answers."""


@pytest.mark.parametrize("name", ROWS)
def test_completions_are_cut_and_closed_and_solutions_stand_alone(name: str, tmp_path: Path) -> None:
    row = {"name": "HumanEval_0_twice", "language": name.split()[0], **ROWS[name]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    data = multipl_e.load(tmp_path / "rows.jsonl")
    (problem,) = data.problems
    assert problem.entry_point == "twice"
    try:
        opened = whole.opened([problem])
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    samples = [
        Sample(problem.task_id, 0, "base", row["completion"], "given"),
        Sample(problem.task_id, 1, "chat", row["solution"], "given"),
        Sample(problem.task_id, 2, "chat", f"Here:\n```{problem.language}\n{row['solution']}```\n", "stop"),
        Sample(problem.task_id, 3, "base", row["wrong"], "given"),
    ]
    programs = [program_of(sample, problem, multipl_e) for sample in samples]
    with Pool(2, whole.limits_for(None), **opened) as pool:
        found = {v.index: v for v in judge_programs(pool, {problem.task_id: problem}, programs)}
    assert [found[index].outcome for index in range(3)] == [Outcome.PASSED] * 3, found
    assert found[3].outcome is Outcome.FAILED, found[3]


def test_an_unknown_language_is_named(tmp_path: Path) -> None:
    row = {"name": "x", "language": "cobol", "prompt": "", "tests": ""}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="cobol"):
        multipl_e.load(tmp_path / "rows.jsonl")
