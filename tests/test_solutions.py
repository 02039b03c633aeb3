"""Whole solutions as people and models write them: with a main, without imports, in a namespace, as a method alone."""

# ruff: noqa: E501  (programs are lines of their own)

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from codeup.benchmarks import _solutions, humaneval_x, mbxp, multipl_e
from codeup.errors import UserError
from codeup.evaluate import whole
from codeup.evaluate.programs import judge_programs
from codeup.evaluate.samples import program_of
from codeup.sandbox.pool import Pool
from codeup.types import Outcome, Problem, Sample

METHOD = "    public static long twice(long x) {\n        return 2 * x; // not }\n    }\n"
CS_MAIN = '    public static void Main(string[] args) {\n        Console.WriteLine("{" + Twice(1));\n    }\n'
CS_METHOD = METHOD.replace("twice", "Twice")
JAVA_MAIN = "    public static void main(String... args) {\n        System.out.println('}');\n    }\n"

MULTIPL_E: dict[str, dict[str, Any]] = {
    "java": {
        "prompt": "import java.util.*;\nimport org.javatuples.*;\nclass Problem {\n    public static long twice(long x) {\n",
        "tests": "    }\n    public static void main(String[] args) {\n    assert(twice((2l)) == (4l));\n    assert(Pair.with(1l, 2l) != null);\n    }\n\n}\n",
        "stop_tokens": ["\n    }\n"],
        "right": [
            f"public class Problem {{\n{METHOD}\n{JAVA_MAIN}}}\n", f"class Problem {{\n{JAVA_MAIN}{METHOD}}}\n// end }}\n",
            f"package a.b;\nimport java.util.*;\npublic class Main {{\n{METHOD}{JAVA_MAIN}}}\nclass Helper {{ }}\n",
            METHOD, f"\ufeffclass Problem {{\n{METHOD}}}\n".replace("\n", "\r\n"),
        ],
        "continued": "        return 2 * x;\r\n    }\r\n}\r\n",
        "wrong": f"class Problem {{\n{METHOD.replace('2 * x', 'x')}{JAVA_MAIN}}}\n",
    },
    "cs": {
        "prompt": "using System;\nusing System.Diagnostics;\nclass Problem {\n    public static long Twice(long x) {\n",
        "tests": "    }\n    public static void Main(string[] args) {\n    Debug.Assert(Twice((2L)) == (4L));\n    }\n\n}\n",
        "stop_tokens": ["\n    }\n"],
        "right": [
            f"using System;\npublic class Problem {{\n{CS_METHOD}{CS_MAIN}}}\n", f"class Other {{\n{CS_MAIN}{CS_METHOD}}}\n// end }}\n",
            f"using System;\nnamespace A.B\n{{\n    class Help {{ }}\n    class C\n    {{\n{CS_METHOD}    }}\n}}\n", CS_METHOD,
        ],
        "continued": "        return 2 * x;\r\n    }\r\n}\r\n",
        "wrong": f"class Problem {{\n{CS_METHOD.replace('2 * x', 'x')}{CS_MAIN}}}\n",
    },
    "go_test.go": {
        "prompt": 'package twice_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\n// Twice.\nfunc twice(x int) int {\n',
        "tests": 'func TestTwice(t *testing.T) {\n  if fmt.Sprintf("%v", twice(2)) != "4" {\n    t.Errorf("wrong")\n  }\n}\n',
        "stop_tokens": ["\nfunc", "\n// "],
        "right": [
            "func twice(x int) int { return 2 * x }\n", "\ufeffpackage main\n\nfunc twice(x int) int { return 2 * x }\n\nfunc main() {}\n",
            'package main\n\nimport "fmt"\n\nfunc twice(x int) int { fmt.Println(x); return 2 * x }\n',
        ],
        "continued": "\treturn 2 * x\r\n}\r\n",
        "wrong": "package main\n\nfunc twice(x int) int { return x }\n",
    },
    "rs": {
        "prompt": "use std::collections::HashMap;\n\n/// Twice.\nfn twice(x: isize) -> HashMap<isize, isize> {\n",
        "tests": "}\n\nfn main() {\n    let candidate = twice;\n    assert_eq!(candidate(2), HashMap::from([(2, 4)]));\n}\n",
        "stop_tokens": ["\n}"],
        "right": [
            "fn twice(x: isize) -> std::collections::HashMap<isize, isize> { [(x, 2 * x)].into_iter().collect() }\n",
            "use std::collections::{HashMap, HashSet};\nfn twice(x: isize) -> HashMap<isize, isize> { HashMap::from([(x, 2 * x)]) }\nfn main() {}\n",
            "mod two { pub const TWO: isize = 2; }\nuse crate::two::TWO;\nuse std::collections::*;\nfn twice(x: isize) -> HashMap<isize, isize> { HashMap::from([(x, TWO * x)]) }\n",
        ],
        "continued": "    HashMap::from([(x, 2 * x)])\r\n}\r\n",
        "wrong": "use std::collections::HashMap;\nfn twice(x: isize) -> HashMap<isize, isize> { HashMap::new() }\n",
    },
    "sh": {
        "prompt": "#!/bin/bash\ntwice() {\n",
        "tests": "}\n\ncandidate() {\n    twice \"$@\"\n}\n\nset -e\nrun_test() {\n    [[ $(candidate \"2\") = \"4\" ]]\n}\n\nrun_test\n",
        "stop_tokens": ["\n}"],
        "right": ["twice() { echo \"$1\" | awk '{ print 2 * $1 }'; }\n", "twice() {\r\n  echo $((2 * $1))\r\n}\r\n"],
        "continued": "    echo $((2 * $1))\r\n}\r\n",
        "wrong": "twice() { echo $1; }\n",
    },
}  # fmt: skip

MBXP: dict[str, dict[str, Any]] = {
    "csharp": {
        "prompt": "using System;\nusing KellermanSoftware.CompareNetObjects;\n\nnamespace Solution\n{\n    public class Program\n    {\n        public static long Twice (long x) \n        {",
        "test": "\n\n        public static void Main(string[] args)\n        {\n            CompareLogic compareLogic = new CompareLogic();\n            if (!compareLogic.Compare(Twice(2), 4L).AreEqual) {throw new Exception(\"failed\");}\n        }\n    }\n}\n",
        "right": [
            f"using System;\n\nnamespace Solution\n{{\n    public class Program\n    {{\n{CS_METHOD}{CS_MAIN}    }}\n}}\n",
            f"public class Program\n{{\n{CS_METHOD}}}\n", CS_METHOD,
            f"using System;\nusing KellermanSoftware.CompareNetObjects;\nnamespace Solution\n{{\n    public class Program\n    {{\n{CS_METHOD}",
        ],
        "continued": " return 2 * x; }\r\n",
        "wrong": f"public class Program\n{{\n{CS_METHOD.replace('2 * x', 'x')}}}\n",
    },
    "java": {
        "prompt": "import java.util.*;\n\nclass Twice {\n    public static long twice(long x) {\n",
        "test": "\n\nclass Main {\n    public static void main(String[] args) throws Exception {\n        List<Long> v0 = Arrays.asList(4L);\n        if (v0.get(0) != Twice.twice(2)) {\n            throw new java.lang.Exception(\"failed\");\n        }\n}\n}\n",
        "right": [f"class Twice {{\n{METHOD}}}\npublic class Main {{\n{JAVA_MAIN}}}\n", f"public class Twice {{\n{METHOD}{JAVA_MAIN}}}\n"],
        "continued": "        return 2 * x;\r\n    }\r\n}\r\n",
        "wrong": f"class Twice {{\n{METHOD.replace('2 * x', 'x')}}}\npublic class Main {{\n{JAVA_MAIN}}}\n",
    },
    "go": {
        "prompt": 'package main\n\nimport (\n\t"encoding/json"\n\t"reflect"\n)\n// Twice.\nfunc twice (x int) int {\n',
        "test": "\n\nfunc main() {\n\taJSON, _ := json.Marshal(twice(2))\n\tbJSON, _ := json.Marshal(4)\n\tif !reflect.DeepEqual(aJSON, bJSON) {\n\t\tpanic(\"failed\")\n\t}\n}",
        "right": ["package main\n\nfunc twice(x int) int { return 2 * x }\n", "func twice(x int) int {\n\treturn 2 * x\n}\n\nfunc main() {}\n"],
        "continued": "\treturn 2 * x\r\n}\r\n",
        "wrong": "package main\n\nfunc twice(x int) int { return x }\n",
    },
}  # fmt: skip
"""Rows in the form of nuprl/MultiPL-E's and mxeval's own, with right and wrong answers."""


def outcomes(benchmark: ModuleType, row: dict[str, Any], texts: dict[str, Any], folder: Path) -> list[Outcome]:
    """Verdicts on the right solutions, the completion, the wrong solution."""
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    (problem,) = benchmark.load(folder / "rows.jsonl").problems
    try:
        opened = whole.opened([problem])
    except UserError as error:
        pytest.skip(str(error).split("\n")[0])
    right = [Sample(problem.task_id, place, "chat", text, "given") for place, text in enumerate(texts["right"])]
    samples = [
        *right,
        Sample(problem.task_id, len(right), "base", texts["continued"], "given"),
        Sample(problem.task_id, len(right) + 1, "chat", texts["wrong"], "given"),
    ]
    programs = [program_of(sample, problem, benchmark) for sample in samples]
    with Pool(2, whole.limits_for(None), **opened) as pool:
        found = {v.index: v for v in judge_programs(pool, {problem.task_id: problem}, programs)}
    return [found[place].outcome for place in range(len(samples))]


@pytest.mark.parametrize("language", MULTIPL_E)
def test_solutions_of_multipl_e_may_be_whole_files_with_a_main_or_the_function_alone(
    language: str, tmp_path: Path
) -> None:
    texts = MULTIPL_E[language]
    row = {"name": "HumanEval_0_twice", "language": language} | {
        k: texts[k] for k in ("prompt", "tests", "stop_tokens")
    }
    found = outcomes(multipl_e, row, texts, tmp_path)
    assert found == [*[Outcome.PASSED] * (len(texts["right"]) + 1), Outcome.FAILED]


@pytest.mark.parametrize("language", MBXP)
def test_solutions_of_mbxp_may_be_whole_files_with_a_main_or_the_function_alone(language: str, tmp_path: Path) -> None:
    texts = MBXP[language]
    entry_point = "Twice" if language == "csharp" else "twice"
    row = {
        "task_id": "MB/1",
        "language": language,
        "entry_point": entry_point,
        "prompt": texts["prompt"],
        "test": texts["test"],
    }
    found = outcomes(mbxp, row, texts, tmp_path)
    assert found == [*[Outcome.PASSED] * (len(texts["right"]) + 1), Outcome.FAILED]


def test_a_file_may_be_one_json_list_as_multipl_es_repository_has_it(tmp_path: Path) -> None:
    row = {"name": "a", "language": "js", "prompt": "function f(){\n", "tests": "f()", "stop_tokens": ["\n}"]}
    (tmp_path / "prompts.json").write_text(json.dumps([row, {**row, "name": "b"}], indent=2))
    assert [problem.task_id for problem in multipl_e.load(tmp_path / "prompts.json").problems] == ["a", "b"]
    (tmp_path / "numbers.json").write_text("[1, 2]\n")
    with pytest.raises(UserError, match="not a JSON object"):
        multipl_e.load(tmp_path / "numbers.json")


def test_braces_in_texts_and_comments_are_none() -> None:
    problem = Problem("x", "class Problem {\n", "f", " static void Main() { } }", "", "csharp", {})
    code = 'class A { /* } */ char f() { var s = @"}""}" + "\\"}"; return \'}\'; } }\nclass B { }\n'
    assert _solutions.joined(problem, code).rstrip().endswith("return '}'; }")
    assert humaneval_x.program_from_solution is mbxp.program_from_solution is multipl_e.program_from_solution
