"""Code of rows is put to real compilers, and run: only what no surroundings could explain counts against a row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import DRIVER, dropped, prepared, recipe_text, rows_of, write

from codeup import plugins, study
from codeup import recipe as recipes
from codeup.cli import funnels
from codeup.codecheck import check, compilers
from codeup.codecheck.compilers import Compilers
from codeup.data.spool import Spool
from codeup.errors import UserError
from codeup.types import Conversation, Message

READ = {
    "python": ("return total\n", "", "def f(x: return x\n"),
    "javascript": ("if (x) { return 1; }\n", "const a = <b>c</b>;\n", "function f( {\n"),
    "cpp": ("#include <vector>\nfor (int i = 0; i < 3; i++) { std::vector<int> v; }\n", "void f(Node *n) {}\n",
            "int f() { int x = 1 return x; }\n"),
    "java": ("int twice(int x) { return 2 * x; }\n", "List<Node> all = walk();\n", "class A { int f( { } }\n"),
    "go": ('import "fmt"\n\nfmt.Println(1)\n', "fmt.Println(rate)\n", 'func f() int { return "a" + 1; } }\n'),
    "rust": ("let x: i32 = 1;\nprintln!(\"{}\", x);\n", "use nobody::Thing;\n", 'fn f() -> i32 { "a" }\n'),
    "php": ("private function f() { return $this->x; }\n", "", "<?php function f( {\n"),
    "ruby": ("yield 1\n", "", "def f(\n"),
    "bash": ("$ for x in 1 2; do echo $x; done\n1\n2\n", "", "if true; then\n"),
    "perl": ("return 1;\n", "use Nobody::Here;\n", "sub f { return (1;\n}\n"),
}  # fmt: skip
"""Language: a part that is whole somewhere, one that needs what is elsewhere, one that is wrong wherever it stands."""


def here(languages: list[str]) -> list[str]:
    found = []
    for name in languages:
        try:
            plugins.load("languages", name).probe()
        except UserError:
            continue
        found.append(name)
    return found


@pytest.fixture(scope="module")
def tools() -> Iterator[Compilers]:
    with Compilers(here(list(READ)), workers=2) as opened:
        yield opened


def status(said: compilers.Said) -> str:
    return said.status


# --- reading ---------------------------------------------------------------------------------------------------------


def test_every_language_with_a_reading_is_tried_below() -> None:
    assert set(compilers.languages("compiles")) == set(READ)
    assert set(compilers.languages("runs")) == set(READ) - {"bash"}, "a shell's exit code says little"


@pytest.mark.parametrize("language", READ)
def test_a_part_is_taken_what_is_missing_is_not_told_and_what_is_wrong_fails(tools: Compilers, language: str) -> None:
    if language not in tools.rooms:
        pytest.skip(f"no tools for {language}")
    part, missing, wrong = READ[language]
    found = tools.read([(language, part), (language, missing), (language, wrong)])
    assert [each.status for each in found] == ["ok", "not told" if missing else "ok", "fails"], found
    assert found[2].why and not any(sign.isdigit() and sign != "0" for sign in found[2].why)


def test_many_read_by_one_process_are_told_what_each_is_told_alone(
    tools: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [("python", f"x = {n}\n" if n % 5 else f"x = {n} +\n") for n in range(70)] + [("python", "return 1\n")]
    together = tools.read(codes)
    assert [place for place, said in enumerate(together) if said.status == "fails"] == list(range(0, 70, 5))
    monkeypatch.setattr(tools, "_taken_at_once", lambda codes: set())
    assert tools.read(codes[:11] + codes[-1:]) == together[:11] + together[-1:]


def test_sentences_among_code_and_lines_left_out_are_no_errors(tools: Compilers) -> None:
    code = "def f(x):\n    return (x\n"
    said = tools.read([
        ("python", code),
        ("python", f"Here is the function that you asked for:\n\n{code}"),
        ("python", "x = [\n    1,\n    …\n]\n"),
        ("python", f"# Here is the function that you asked for:\n\n{code}"),
    ])  # fmt: skip
    assert [each.status for each in said] == ["fails", "not told", "ok", "fails"]


def test_java_may_have_statements_after_its_classes_and_methods(tools: Compilers) -> None:
    if "java" not in tools.rooms:
        pytest.skip("no tools for java")
    uses = "\n\nint y = twice(1);\nSystem.out.println(y);\n"
    methods = [f'// Twice\nstatic int twice(int x) {{\n  String s = "{{";\n  return 2 * {it};\n}}' for it in ("x", "s")]
    assert list(map(status, tools.read([("java", each + uses) for each in methods]))) == ["ok", "fails"]
    assert tools.run([("java", methods[0] + uses)])[0].status == "not told", "a part is no program"


def test_reading_runs_nothing(tools: Compilers) -> None:
    loops = {"python": "while True: pass\n", "javascript": "while (true) {}\n", "ruby": "loop do\nend\n",
             "perl": "while (1) {}\n", "bash": "while true; do :; done\n", "php": "while (true) {}\n"}  # fmt: skip
    asked = [(name, code) for name, code in loops.items() if name in tools.rooms]
    assert {each.status for each in tools.read(asked)} == {"ok"}


# --- running ---------------------------------------------------------------------------------------------------------


def test_a_program_fails_for_what_it_does_and_not_for_what_it_lacks(
    tools: Compilers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilers, "RUN_CPU_S", 1.0)
    programs = {
        "print(sum([1, 2]))": "ok",
        "def f(x):\n    return x.nothing\n": "ok",
        "assert sorted([2, 1]) == [2, 1]": "fails",
        "print('a' + 1)": "fails",
        "print(undefined_here)": "not told",
        "import nobody_has_this": "not told",
        "print(int(input()) + 'a')": "not told",
        "open('rows.csv')": "not told",
        "import sys\nsys.exit(3)": "not told",
        "for each in list:\n    print(each)": "not told",
        "import sqlite3\nsqlite3.connect(':memory:').execute('select 1 from films')": "not told",
        "while True:\n    pass": "not told",
        "return 1": "not told",
        "x = [0] * 10**10": "not told",
    }
    said = tools.run([("python", code) for code in programs])
    assert dict(zip(programs, map(status, said), strict=True)) == programs, said


@pytest.mark.parametrize(
    ("language", "good", "bad"),
    [
        ("javascript", "console.log(1);", "null.x;"),
        ("php", "<?php echo 1;", "<?php intdiv(1, 0);"),
        ("ruby", "puts 1", "Integer('a')"),
        ("perl", "print 1;", "die 'no';"),
        ("go", "package main\nfunc main() {}\n", 'package main\nfunc main() { panic("no") }\n'),
        ("rust", "fn main() {}", 'fn main() { panic!("no"); }'),
        ("cpp", "int main() { return 0; }", "int main() { int *p = nullptr; return *p; }"),
        ("java", "class A { public static void main(String[] a) {} }",
         "class A { public static void main(String[] a) { throw new IllegalStateException(); } }"),
    ],
)  # fmt: skip
def test_programs_of_other_languages_are_run(tools: Compilers, language: str, good: str, bad: str) -> None:
    if language not in tools.rooms:
        pytest.skip(f"no tools for {language}")
    assert list(map(status, tools.run([(language, good), (language, bad)]))) == ["ok", "fails"]


# --- rows ------------------------------------------------------------------------------------------------------------


def fenced(number: int, code: str, tag: str = "python") -> dict[str, str]:
    return {"instruction": f"Question {number}?", "output": f"Look:\n```{tag}\n{code}\n```\n"}


ROWS = [
    fenced(0, "print(1)"),
    fenced(1, "def f(:"),
    fenced(2, "print(1 / 0)"),
    fenced(3, "print(1 / 0)", "text"),
    {"instruction": "Question 4?", "output": "No code at all."},
    fenced(5, "return nothing_here"),
    fenced(1, "def f(:"),
    fenced(7, "raise ValueError('seven')"),
]


def test_rows_go_by_reason_and_the_account_says_why(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", ROWS)
    source = "{source: alpaca, path: a.jsonl}"
    both = "validation_rows: 1, filters: {code_compiles: [python], code_runs: [python]"
    summary, out = prepared(tmp_path, source, f"{both}}}")
    reasons = {"exact duplicate": 1, "filter: code_compiles": 1, "filter: code_runs": 2}
    assert summary["dropped"] == reasons and summary["rows_kept"] == 4
    assert [row for _, row in rows_of(out)] == [0, 3, 4, 5]
    assert [row for _, row in dropped(out, "filter: code_runs")] == [2, 7]
    lines = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert {each["row"]: each.get("detail") for each in lines if each["row"] in (2, 7)} == {
        2: "python: ZeroDivisionError",
        7: "python: ValueError",
    }
    told = summary["code_check"]
    assert told["compiles"] == {
        "python": {"blocks": 5, "ok": 4, "not told": {}, "fails": {"SyntaxError: invalid syntax": 1}, "rows": 1}
    }
    assert told["runs"]["python"] == {
        "blocks": 4, "ok": 1, "not told": {"what it needs stands elsewhere": 1},
        "fails": {"ZeroDivisionError": 1, "ValueError": 1}, "rows": 2,
    }  # fmt: skip
    assert set(told["tools"]) == {"python", "codeup"}
    assert "raise ValueError('seven')" in summary["repair_examples"]["filter: code_runs"][1]["before"]
    assert (
        "  code runs, python: 4 blocks, 1 ok, 1 not told, 2 fail (ZeroDivisionError 1, ValueError 1)"
        in funnels.lines({**summary, "folder": "x"})
    )
    assert not list(out.glob(".*")), "nothing is left beside the results"
    kept, _ = prepared(tmp_path, source, f"{both}, report_only: true}}")
    assert kept["dropped"] == {"exact duplicate": 1} and kept["code_check"] == told
    again = recipes.parse(f"{(out / 'recipe.yaml').read_text()}\ndata_root: {tmp_path}\n")
    assert again.data["d"].filters.code_runs == ["python"]


def test_nothing_is_run_unless_a_recipe_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a sandbox was opened")

    monkeypatch.setattr(compilers, "Pool", refuse)
    write(tmp_path, "a.jsonl", ROWS)
    summary, _ = prepared(tmp_path, "{source: alpaca, path: a.jsonl}", "validation_rows: 1")
    assert summary["dropped"] == {"exact duplicate": 1} and "code_check" not in summary
    with pytest.raises(AssertionError, match="was opened"):
        prepared(tmp_path, "{source: alpaca, path: a.jsonl}", "filters: {code_compiles: [python]}")


def test_missing_tools_are_named_before_any_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jsonl", ROWS)

    def steps(filters: str) -> None:
        text = recipe_text(tmp_path, "{source: alpaca, path: a.jsonl}", f"filters: {{{filters}}}")
        study.compile_recipe(recipes.parse(text))

    with pytest.raises(UserError, match=r"data\.d\.filters: code_compiles cannot check cobol\n.*one of: bash, cpp"):
        steps("code_compiles: [cobol]")
    with pytest.raises(UserError, match="code_runs cannot check bash"):
        steps("code_runs: [bash]")
    monkeypatch.setenv("PATH", str(tmp_path))
    steps("code_compiles: [python]")
    with pytest.raises(UserError, match=r"(?s)data\.d\.filters: Go programs cannot run here.*install Go"):
        steps("code_compiles: [python, go]")


def test_what_was_said_is_not_asked_again_and_a_line_cut_short_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = Compilers.read

    def counted(self: Compilers, codes: Any) -> Any:
        asked.append(len(codes))
        return read(self, codes)

    monkeypatch.setattr(Compilers, "read", counted)
    monkeypatch.setattr(check, "BATCH", 4)
    how: dict[str, Any] = {"compiles": ["python"], "runs": [], "known": tmp_path / "tried"}
    with Spool(tmp_path / "rows") as spool:
        for n in range(10):
            answer = f"```python\nx = {n % 9} {'+' if n == 8 else ''}\n```"
            spool.append(Conversation((Message("user", "q"), Message("assistant", answer)), "s", n))
        first = check.check(spool, range(10), **how)
        assert asked == [4, 4, 1] and first.out == {8: ("filter: code_compiles", "python: SyntaxError: invalid syntax")}
        whole = how["known"].read_bytes()
        how["known"].write_bytes(whole[:-5])
        again = check.check(spool, range(10), **how)
    assert asked[3:] == [1] and again.out == first.out and again.to_dict() == first.to_dict()
    assert how["known"].read_bytes() == whole


def test_a_step_that_was_killed_while_code_was_tried_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", [fenced(n, f"print({n}{'' if n % 3 else ' +'})") for n in range(12)])
    settings = "validation_rows: 2, filters: {code_compiles: [python]}"
    moments = ["event rows whose code was tried", "open .sifted"]
    order = {"recipe": recipe_text(tmp_path, "{source: alpaca, path: a.jsonl}", settings), "folder": str(tmp_path),
             "points": moments, "seed": 1}  # fmt: skip
    done = subprocess.run([sys.executable, str(DRIVER), json.dumps(order)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, *others = map(json.loads, done.stdout.splitlines())
    assert len(others) == len(moments) and ".tried" in others[0]["left"], "killed in the middle"
    assert whole["moments"].count("event rows whose code was tried") == 4, "twelve blocks, four at a time, and the end"
    for each in others:
        assert (each["first"], each["second"]) == (9, 0) and each["files"] == whole["files"], each["moment"]
