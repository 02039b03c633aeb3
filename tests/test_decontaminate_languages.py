"""Benchmark items in other languages than Python: rows are run on their tests, and who could not be is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from codeup import plugins
from codeup.cli import preparing
from codeup.data import code_parses
from codeup.data.contamination.items import Item, read_items
from codeup.data.contamination.other_functions import Source
from codeup.data.contamination.retrieval import Ranking
from codeup.data.spool import Spool
from codeup.decontaminate import files, programs, screen
from codeup.decontaminate.look import Looking, look
from codeup.errors import UserError
from codeup.sandbox.pool import Pool
from codeup.types import Conversation, Message

PROMPT = "/* Sum of the values, each times its place plus k.\n>>> weigh([1, 2, 3], 1)\n14\n*/\n"
JS = {
    "task_id": "JavaScript/0",
    "prompt": f"{PROMPT}const weigh = (values, k) => {{\n",
    "declaration": "\nconst weigh = (values, k) => {\n",
    "canonical_solution": "  return values.reduce((sum, v, i) => sum + v * (i + k), 0);\n}\n",
    "test": "const testWeigh = () => {\n  console.assert(weigh([1, 2, 3], 1) === 14)\n"
    "  console.assert(weigh([5, 0, 2, 8], 2) === 58)\n  console.assert(weigh([], 3) === 0)\n"
    "  console.assert(weigh([7], 4) === 28)\n}\n\ntestWeigh()\n",
}
CPP = {
    "task_id": "CPP/0",
    "prompt": f"{PROMPT}#include<vector>\nusing namespace std;\nfloat weigh(vector<float> values, int k){{\n",
    "declaration": "#include<vector>\nusing namespace std;\nfloat weigh(vector<float> values, int k){\n",
    "canonical_solution": "    float sum=0;\n    for (int i=0;i<values.size();i++) sum+=values[i]*(i+k);\n"
    "    return sum;\n}\n",
    "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n    assert (weigh({1, 2, 3}, 1) == 14);\n"
    "    assert (weigh({5, 0, 2, 8}, 2) == 58);\n    assert (weigh({}, 3) == 0);\n"
    "    assert (weigh({7}, 4) == 28);\n}\n",
}  # fmt: skip
JAVA = {
    "task_id": "Java/0",
    "prompt": "import java.util.*;\n\nclass Solution {\n    public int weigh(List<Integer> values, int k) {\n",
    "declaration": "import java.util.*;\n\nclass Solution {\n    public int weigh(List<Integer> values, int k) {\n",
    "canonical_solution": "        int sum = 0;\n"
    "        for (int i = 0; i < values.size(); i++) sum += values.get(i) * (i + k);\n"
    "        return sum;\n    }\n}\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n        Solution s = new Solution();\n"
    "        List<Boolean> correct = Arrays.asList(\n            s.weigh(Arrays.asList(1, 2, 3), 1) == 14,\n"
    "            s.weigh(Arrays.asList(5, 0, 2, 8), 2) == 58,\n            s.weigh(Arrays.asList(7), 4) == 28\n"
    "        );\n        if (correct.contains(false)) throw new AssertionError();\n    }\n}\n",
}  # fmt: skip
LEAK = {
    "instruction": "Weights grow along a list from an offset; total it.",
    "output": "```js\nfunction total(list, offset) {\n  let t = 0;\n  for (const [place, one] of list.entries()) "
    "t += one * (place + offset);\n  return t;\n}\nconsole.log(total([1], 2));\n```",
}
TYPED = {
    "instruction": "The same with types.",
    "output": "```ts\nclass Scale {\n  total(list: number[], offset: number): number {\n    let t: number = 0;\n"
    "    list.forEach((one: number, place: number) => { t += one * (place + offset); });\n    return t;\n  }\n}\n```",
}
ORDINARY = [
    {"instruction": "Say hello", "output": "Hello!"},
    {
        "instruction": "Scale",
        "output": "```js\nfunction scaled(xs, k) { return xs.reduce((a, b) => a + b); }\n```",
    },
    {"instruction": "Wait", "output": "```js\nfunction wait(xs, k) { while (true) { k += 1; } }\n```"},
    {"instruction": "Leave", "output": "```js\nfunction leave(xs, k) { process.exit(0); }\n```"},
    {
        "instruction": "Escape",
        "output": "```js\nfunction end(xs, k) { end.constructor.constructor('return process')().reallyExit(3); }\n```",
    },
    {
        "instruction": "Memory",
        "output": "```js\nfunction much(xs, k) { const a = []; for (;;) a.push(new Array(99999).fill('x' + k)); }\n```",
    },
    {"instruction": "Broken", "output": "```js\nfunction broken(xs, k) { return (; }\n```"},
]


def ready(*languages: str) -> None:
    """Skip, saying why, where a language's tools are not installed."""
    for language in languages:
        try:
            plugins.load("languages", language).probe()
        except UserError as error:
            pytest.skip(str(error).split("\n")[0])


def clean(tmp_path: Path, rows: list[dict[str, Any]], *items: dict[str, Any], **settings: Any) -> dict[str, Any]:
    for name, some in (("rows", rows), ("bench", items)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in some), encoding="utf-8")
    return files.decontaminate(
        tmp_path / "rows.jsonl", {"bench": tmp_path / "bench.jsonl"}, tmp_path / "out", **settings
    )


def hits(tmp_path: Path) -> list[tuple[int, str, bool]]:
    found = map(json.loads, (tmp_path / "out" / "contamination.jsonl").read_text(encoding="utf-8").splitlines())
    return [(hit["row"], hit["method"], hit["sufficient"]) for hit in found]


def test_a_reworded_solution_is_found_by_running_it_and_nothing_else_is_taken(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    summary = clean(tmp_path, [*ORDINARY, LEAK, TYPED], JS)
    assert [(row, method) for row, method, drop in hits(tmp_path) if drop] == [(7, "execution"), (8, "execution")]
    assert summary["rows_kept"] == 7
    (account,) = summary["run"]["other_languages"]
    assert (account["language"], account["items_run"], account["likeness_only"]) == ("javascript", 1, "")


def test_of_many_rows_those_like_an_item_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready("javascript", "typescript")
    monkeypatch.setattr(programs, "MOST_SCREENED", 0)
    clean(tmp_path, [*ORDINARY, LEAK, TYPED], JS)
    assert [row for row, _, drop in hits(tmp_path) if drop] == [7, 8]
    monkeypatch.setattr(programs, "RETRIEVED", 2)
    asked: list[int] = []
    look = programs.screen

    def spied(items: Any, asked_of: dict[int, Any], *rest: Any) -> Any:
        asked.extend(asked_of)
        return look(items, asked_of, *rest)

    monkeypatch.setattr(programs, "screen", spied)
    clean(tmp_path, [*ORDINARY, LEAK, TYPED], JS)
    assert len(asked) == 2


def test_what_everybody_writes_in_one_language_is_no_leak_in_another(tmp_path: Path) -> None:
    ready("javascript", "cpp")
    other = {**LEAK, "instruction": "Dot product with a rising counter, please"}
    translated = {
        "instruction": "Moment of masses on a rod",
        "output": "```cpp\ndouble moment(std::vector<double> m, int at) {\n  double t = 0;\n"
        "  for (size_t n = 0; n < m.size(); ++n) t += m[n] * (n + at);\n  return t;\n}\n```",
    }
    clean(tmp_path, [translated, LEAK], JS, CPP, textbook=2)
    assert hits(tmp_path) == [(0, "execution", True), (1, "execution", True)]
    clean(tmp_path, [translated, LEAK, other], JS, CPP, textbook=2)
    assert hits(tmp_path) == [(0, "execution", False), (1, "execution", False), (2, "execution", False)]


def test_what_was_seen_before_an_interruption_is_read_again_whole(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").write_text(json.dumps(JS) + "\n", encoding="utf-8")
    items = read_items("bench", tmp_path / "bench.jsonl")
    if not items[0].runnable_elsewhere:
        pytest.skip("the grammar is not installed")
    with Spool(tmp_path / "rows") as spool:
        for row in (LEAK, ORDINARY[0]):
            spool.append(Conversation((Message("user", row["instruction"]), Message("assistant", row["output"]))))
        ranking = Ranking(items)
        seen = [look(spool, Looking(items, ranking, programs=True), tmp_path / "shards") for _ in range(2)]
    assert seen[0].families == seen[1].families == {0: ["javascript"]}
    assert seen[0].same_shape == seen[1].same_shape


def test_cpp_in_a_class_with_references_and_doubles_is_found(tmp_path: Path) -> None:
    ready("cpp")
    row = "```cpp\nclass Scale {\npublic:\n  double total(const std::vector<double>& list, int offset) {\n" \
          "    double t = 0;\n    for (size_t n = list.size(); n > 0; --n) t += list[n - 1] * (n - 1 + offset);\n" \
          "    return t;\n  }\n};\n```"  # fmt: skip
    wrong = row.replace("n - 1 + offset", "n + offset")
    clean(tmp_path, [{"instruction": "a", "output": wrong}, {"instruction": "b", "output": row}], CPP)
    assert hits(tmp_path) == [(1, "execution", True)]


def test_java_with_an_array_for_a_list_is_found(tmp_path: Path) -> None:
    ready("java")
    row = "```java\npublic class Scale {\n  private static long total(int[] list, int offset) {\n    long t = 0;\n" \
          "    for (int one : list) t += one * (offset++);\n    return t;\n  }\n}\n```"  # fmt: skip
    wrong = row.replace("offset++", "++offset")
    clean(tmp_path, [{"instruction": "a", "output": wrong}, {"instruction": "b", "output": row}], JAVA)
    assert hits(tmp_path) == [(1, "execution", True)]


def mbxp(language: str, prompt: str, solution: str, test: str) -> dict[str, Any]:
    return {"task_id": f"{language}/1", "language": language, "entry_point": "weigh", "prompt": prompt,
            "canonical_solution": solution, "test": test}  # fmt: skip


OTHERS = {
    "php": (
        mbxp("php", "<?php\nfunction weigh($values, $k) {\n", "  return 0;\n}\n",
             "if (weigh([1, 2, 3], 1) !== 14) { throw new Exception('a'); }\n"
             "if (weigh([5, 0, 2, 8], 2) !== 58) { throw new Exception('b'); }\n"
             "if (weigh([7], 4) !== 28) { throw new Exception('c'); }\n"),
        "class Scale {\n  function total($list, $offset) {\n    $t = 0;\n"
        "    foreach ($list as $place => $one) { $t += $one * ($place + $offset); }\n    return $t;\n  }\n}\n",
    ),
    "ruby": (
        mbxp("ruby", "def weigh(values, k)\n", "  0\nend\n",
             "raise 'a' unless weigh([1, 2, 3], 1) == 14\nraise 'b' unless weigh([5, 0, 2, 8], 2) == 58\n"
             "raise 'c' unless weigh([7], 4) == 28\n"),
        "def total(list, offset)\n  list.each_with_index.sum { |one, place| one * (place + offset) }\nend\n",
    ),
    "go": (
        {"task_id": "Go/0", "declaration": "func Weigh(values []int, k int) int {\n",
         "prompt": "func Weigh(values []int, k int) int {\n", "canonical_solution": "    return 0\n}\n",
         "test_setup": "package main\n\nimport (\n    \"testing\"\n)\n",
         "test": "func TestWeigh(t *testing.T) {\n    if Weigh([]int{1, 2, 3}, 1) != 14 || Weigh([]int{}, 3) != 0 || "
         "Weigh([]int{5, 0, 2, 8}, 2) != 58 {\n        t.Fatal()\n    }\n}\n"},
        "package main\n\nimport \"fmt\"\n\nfunc total(list []int, offset int) (t int) {\n"
        "\tfor place, one := range list {\n\t\tt += one * (place + offset)\n\t}\n\treturn\n}\n\n"
        "func main() {\n\tfmt.Println(total([]int{1}, 2))\n}\n",
    ),
    "rust": (
        {"task_id": "Rust/0", "declaration": "fn weigh(values: Vec<i32>, k: i32) -> i32 {\n", "prompt": "",
         "canonical_solution": "    values.iter().sum() + 0 * k\n}\n",
         "test": "#[cfg(test)]\nmod tests {\n    use super::*;\n    #[test]\n    fn test_weigh() {\n"
         "        assert_eq!(weigh(vec![1, 2, 3], 1), 14);\n        assert_eq!(weigh(vec![], 3), 0);\n"
         "        assert_eq!(weigh(vec![5, 0, 2, 8], 2), 58);\n    }\n}\n"},
        "pub fn total(list: Vec<i32>, offset: i32) -> i32 {\n"
        "    list.iter().enumerate().map(|(place, one)| one * (place as i32 + offset)).sum()\n}\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", OTHERS)
def test_every_other_language_finds_its_reworded_solution_and_not_a_wrong_one(language: str, tmp_path: Path) -> None:
    ready(language)
    item, right = OTHERS[language]
    rows = [{"instruction": "a", "output": f"```{language}\n{right.replace('offset)', 'offset - offset)')}```"},
            {"instruction": "b", "output": f"```{language}\n{right}```"}]  # fmt: skip
    clean(tmp_path, rows, item)
    assert hits(tmp_path) == [(1, "execution", True)]


RUST_WORDS = {
    **OTHERS["rust"][0], "declaration": "fn longest(words: Vec<String>, least: i32) -> Vec<String> {\n",
    "canonical_solution": "    words.into_iter().filter(|w| w.len() as i32 > least).collect()\n}\n",
    "test": "#[cfg(test)]\nmod tests {\n    use super::*;\n    #[test]\n    fn test_longest() {\n"
    "        let some = |n: i32| longest(vec![String::from(\"a\"), String::from(\"bcd\"), String::from(\"ef\")], n);\n"
    "        assert_eq!(some(2), vec![\"bcd\"]);\n        assert_eq!(some(1), vec![\"bcd\", \"ef\"]);\n"
    "        assert_eq!(longest(vec![], 0), Vec::<String>::new());\n    }\n}\n",
}  # fmt: skip
ENDS = "#include<vector>\nusing namespace std;\nvector<float> ends(vector<int> values, int k){\n"
CPP_SPREAD = {
    **CPP, "prompt": ENDS, "declaration": ENDS,
    "canonical_solution": "    return {values[0] + (float)k, values.back() + (float)k};\n}\n",
    "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n"
    "    assert (ends({1, 2, 3}, 1) == vector<float>({2, 4}));\n"
    "    assert (ends({5}, 2) == vector<float>({7, 7}));\n    assert (ends({9, 8}, 0) == vector<float>({9, 8}));\n}\n",
}  # fmt: skip
MOST = "import java.util.*;\n\nclass Solution {\n    public int most(List<List<Integer>> rows, int k) {\n"
JAVA_ROWS = {
    **JAVA, "prompt": MOST, "declaration": MOST,
    "canonical_solution": "        return rows.stream().mapToInt(r -> r.size()).max().getAsInt() + k;\n    }\n}\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n        Solution s = new Solution();\n"
    "        List<Boolean> correct = Arrays.asList(\n"
    "            s.most(Arrays.asList(Arrays.asList(1, 2), Arrays.asList(3)), 1) == 3,\n"
    "            s.most(Arrays.asList(Arrays.asList(4)), 2) == 3,\n"
    "            s.most(Arrays.asList(Arrays.asList(4, 1, 2, 7)), 0) == 4\n"
    "        );\n        if (correct.contains(false)) throw new AssertionError();\n    }\n}\n",
}  # fmt: skip
CPP_PRIME = {
    **CPP, "prompt": "bool is_prime(int n){\n", "declaration": "bool is_prime(int n){\n",
    "canonical_solution": "    for (int i=2;i*i<=n;i++) if (n%i==0) return false;\n    return n>1;\n}\n",
    "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n"
    + "".join(f"    assert (is_prime({n}) == {str(n in (2, 7, 13)).lower()});\n" for n in (1, 2, 7, 9, 13, 15)) + "}\n",
}  # fmt: skip
JAVA_AREA = {
    **JAVA, "prompt": MOST.replace("int most(List<List<Integer>> rows, int k)", "double area(double a, double h)"),
    "declaration": MOST.replace("int most(List<List<Integer>> rows, int k)", "double area(double a, double h)"),
    "canonical_solution": "        return a * h / 2;\n    }\n}\n",
    "test": "public class Main {\n    public static void main(String[] args) {\n        Solution s = new Solution();\n"
    "        if (s.area(5, 3) != 7.5 || s.area(2, 2) != 2.0 || s.area(10, 8) != 40.0) throw new AssertionError();\n"
    "    }\n}\n",
}  # fmt: skip
SAME_TYPES = {
    "cpp a helper that has the item's name": (
        "cpp", CPP_PRIME, "int is_prime(int n) { for (int i = 2; i < n; i++) if (n % i == 0) return i; return n; }\n\n"
        "bool check(long long number) { return number > 1 && is_prime((int) number) == number; }\n"),
    "java float": ("java", JAVA_AREA, "class Shape { static float area(float a, float h) { return (a * h) / 2f; } }"),
    "rust numbers of another size, a slice": (
        "rust", OTHERS["rust"][0], "fn total(list: &[i64], offset: i64) -> i64 {\n"
        "    list.iter().enumerate().map(|(place, one)| one * (place as i64 + offset)).sum()\n}\n"),
    "rust borrowed text": (
        "rust", RUST_WORDS, "pub fn kept(parts: &Vec<&str>, min: usize) -> Vec<String> {\n"
        "    parts.iter().filter(|p| p.len() > min).map(|p| p.to_string()).collect()\n}\n"),
    "cpp lists of larger numbers, a pair": (
        "cpp", CPP_SPREAD, "std::pair<double, double> outer(const std::vector<long long>& list, long offset) {\n"
        "  return {list.front() + (double)offset, list.back() + (double)(offset)};\n}\n"),
    "java arrays of arrays": (
        "java", JAVA_ROWS, "class Field {\n  static long widest(int[][] field, long more) {\n    long best = 0;\n"
        "    for (int[] row : field) best = Math.max(best, row.length);\n    return best + more;\n  }\n}\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME_TYPES)
def test_types_that_mean_the_same_are_converted(name: str, tmp_path: Path) -> None:
    language, item, right = SAME_TYPES[name]
    ready(language)
    wrong = right.replace("offset)", "offset + 1)").replace("> min", "> min + 1").replace("best +", "1 + best +")
    wrong = wrong.replace("number > 1", "number > 2").replace("/ 2f", "/ 3f")
    assert wrong != right
    rows = [{"instruction": "a", "output": f"```{language}\n{wrong}```"},
            {"instruction": "b", "output": f"```{language}\n{right}```"}]  # fmt: skip
    clean(tmp_path, rows, item)
    assert [hit for hit in hits(tmp_path) if hit[1] == "execution"] == [(1, "execution", True)]


def test_a_result_that_is_no_whole_number_is_not_cut_to_one(tmp_path: Path) -> None:
    ready("cpp")
    head = "#include<vector>\nusing namespace std;\nint mean(vector<int> values){\n"
    item = {**CPP, "prompt": head, "declaration": head, "canonical_solution": "    return values[0];\n}\n",
            "test": "#undef NDEBUG\n#include<assert.h>\nint main(){\n    assert (mean({1, 2}) == 1);\n"
            "    assert (mean({1, 2, 5, 3}) == 2);\n    assert (mean({7}) == 7);\n}\n"}  # fmt: skip
    body = "double t = 0; for (auto x : list) t += x; return t / list.size();"
    row = f"double average(std::vector<long long> list) {{ {body} }}"
    clean(tmp_path, [{"instruction": "a", "output": f"```cpp\n{row}\n```"}], item)
    assert hits(tmp_path) == []


def test_a_textbook_row_that_holds_the_prompt_is_dropped_all_the_same(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    words = "Sum of the values where each of them counts as often as its place in the list says plus a number k."
    item = {**JS, "prompt": f"/* {words} */\nconst weigh = (values, k) => {{\n"}
    asked = [
        f"Do this: {words[:90]}",
        "My teacher wants a weighted total",
        "offset sums please",
        "Dot product by place",
    ]
    clean(tmp_path, [{**LEAK, "instruction": each} for each in asked], item, textbook=3)
    assert {row for row, method, drop in hits(tmp_path) if drop and method == "execution"} == {0}


def test_what_many_unrelated_requests_have_is_textbook_in_every_language(tmp_path: Path) -> None:
    ready("javascript")
    asked = [
        "How are weights summed?",
        "My teacher wants a weighted total",
        "offset sums please",
        "Dot product by place",
    ]
    rows = [{**LEAK, "instruction": each} for each in asked]
    clean(tmp_path, rows, JS)
    assert {drop for _, _, drop in hits(tmp_path)} == {False}
    clean(tmp_path, rows[:3], JS)
    assert [drop for _, _, drop in hits(tmp_path)] == [True] * 3


def test_an_equal_function_under_other_names_is_found_without_running(tmp_path: Path) -> None:
    body = "  let out = 0;\n  for (let i = 0; i < xs.length; i++) {\n" \
           "    if (xs[i] % 2 === 0) { out += xs[i] * i; } else { out -= k; }\n  }\n  return out;\n}\n"  # fmt: skip
    item = {**JS, "prompt": "const odd = (xs, k) => {\n", "canonical_solution": body, "test": "odd([1], 2)"}
    row = (
        "```javascript\nfunction f(p, q) {\n" + body.replace("xs", "p").replace("k;", "q;").replace("out", "r") + "```"
    )
    summary = clean(tmp_path, [{"instruction": "x", "output": row}], item, run="none")
    assert hits(tmp_path) == [(0, "shape", True)]
    assert summary["run"]["other_languages"][0]["likeness_only"] == "running is switched off"


def test_a_language_whose_tools_are_missing_is_named_and_its_rows_are_not_judged_by_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("javascript")

    def missing() -> None:
        raise UserError("no node or nodejs is installed", mend="install Node.js")

    monkeypatch.setattr(plugins.load("languages", "javascript"), "toolchain", missing)
    summary = clean(tmp_path, [*ORDINARY, LEAK], JS)
    assert hits(tmp_path) == [] and summary["rows_kept"] == 8
    text = "\n".join(preparing.lines(summary))
    assert "judged by likeness only: javascript: no node or nodejs is installed" in text


def test_a_second_run_runs_no_program_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready("javascript", "cpp")
    row = CPP["declaration"] + CPP["canonical_solution"].replace("sum", "t")
    rows = [{"instruction": "b", "output": f"```cpp\n{row}```"}, LEAK]
    first = clean(tmp_path, rows, JS, CPP)
    evidence = (tmp_path / "out" / "contamination.jsonl").read_bytes()

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("run again")

    monkeypatch.setattr(programs, "_job", refused)
    assert clean(tmp_path, rows, JS, CPP) == first
    assert (tmp_path / "out" / "contamination.jsonl").read_bytes() == evidence
    assert [row for row, method, drop in hits(tmp_path) if drop and method == "execution"] == [0, 1]


def test_items_of_other_languages_know_their_function_also_where_the_solution_never_ends(tmp_path: Path) -> None:
    cut = {"task_id": "MBTSP/3", "language": "typescript", "entry_point": "f",
           "prompt": "function f(x: number): number {\n", "canonical_solution": "  if (x", "test": "f(1)"}  # fmt: skip
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (JS, CPP, JAVA, cut)), encoding="utf-8")
    found = [
        (item.language, item.entry_point, item.runnable, item.runnable_elsewhere) for item in read_items("b", path)
    ]
    assert found == [(each, name, False, True) for each, name in (
        ("javascript", "weigh"), ("cpp", "weigh"), ("java", "weigh"), ("typescript", "f"))]  # fmt: skip


def test_few_calls_prove_nothing_and_yes_or_no_takes_more_of_them() -> None:
    def item(tests: str) -> Item:
        return Item("b", "1", "", tests=tests, entry_point="f", language="javascript", source="function f(x) {}")

    calls = "console.assert(f(1) === 2);"
    assert not programs.telling(item(2 * calls)) and programs.telling(item(3 * calls))
    truths = "console.assert(f(1) === true);"
    assert not programs.telling(item(4 * truths)) and programs.telling(item(5 * truths))


def looked_at(
    items: list[Item], *texts: tuple[str, str], family: str = "javascript"
) -> list[tuple[int, int, int, int]]:
    """What the first look says of functions: (function, item, right on varied inputs, of so many)."""
    rooms = {name: plugins.load("languages", name).toolchain() for name in screen.ROOMS[family]}
    show = tuple(dict.fromkeys(path for tools in rooms.values() for path in tools.show))
    functions = [screen.text_of(source, source.functions()[0]) for source in (Source(*text) for text in texts)]
    with Pool(1, screen.LIMITS, show=show, import_names=()) as pool:
        looking = screen.Screen(dict(enumerate(items)), pool, rooms)
        looking.expect()
        found = list(looking.look(functions, [range(len(items))] * len(functions)))
    return [(number, item, look.right, len(look.suite.inputs)) for number, item, look in found]


def twice(tests: str, **settings: Any) -> Item:
    source = "const twice = (x) => { return 2 * x; };"
    return Item(
        "b", "1", "", tests=tests, entry_point="twice", **{"language": "javascript", "source": source} | settings
    )


def test_a_process_that_dies_of_one_function_does_not_hide_the_others() -> None:
    ready("javascript", "typescript")
    killing = "function end(b) { return 'x'.repeat(500000000).split(''); }"  # V8 ends itself
    late = "async function late(b) { throw new Error('nobody waits for it'); }"
    forging = """function forged(b) {
      const fs = require.constructor('return process')().mainModule.require('fs');
      fs.appendFileSync('said.jsonl', '{"function": 0, "test": 7, "calls": [], "values": []}\\n[1]\\n3\\n');
    }"""
    texts = ["const f = (a) => 2 * a;", killing, late, forging, "const g = (b) => b + b;"]
    found = looked_at([twice("console.assert(twice(4) === 8)")], *(("javascript", text) for text in texts))
    assert [(number, item) for number, item, _, _ in found] == [(0, 0), (4, 0)]


def test_typescript_is_looked_at_in_both_directions_and_its_modules_are_there() -> None:
    ready("javascript", "typescript")
    typed = twice(
        "import * as assert from 'assert'\nlet actual: number = twice(4);\nassert.deepEqual(actual, 8, 'no');",
        language="typescript", source="const twice = function (x: number): number {\n return 2 * x;\n}",
    )  # fmt: skip
    lodash = twice("const _ = require('lodash');\nif (!_.isEqual(twice(4), 8)) throw new Error('a');")
    rows = [
        ("typescript", "function f(n: number): number { return n * 2; }"),
        ("javascript", "const g = (n) => n + n;"),
        ("javascript", "const h = (n) => 8 * n;"),
        ("typescript", "function broken(n: number): number { const m = ; return n * 2; }"),
    ]
    found = sorted((number, item) for number, item, _, _ in looked_at([typed, lodash], *rows))
    assert found == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_an_items_solution_says_what_its_tests_do_not_ask() -> None:
    ready("javascript", "typescript")
    item = twice("for (const n of [1, 3, 5, 8]) console.assert(twice(n) === 2 * n)")
    rows = [("javascript", "const same = (n) => n + n;"), ("javascript", "const few = (n) => n < 9 ? n * 2 : -1;")]
    (_, _, right, count), (_, _, less, _) = looked_at([item], *rows)
    assert count >= 10 and right == count and less < count
    plenty = twice("for (let n = 0; n < 60; n += 2) console.assert(twice(n) === 2 * n)")  # they ask enough themselves
    assert looked_at([plenty], rows[0]) == [(0, 0, 0, 0)]
    broken = twice("console.assert(twice(1) === 3)")  # its own solution is wrong: nothing is known of other inputs
    assert looked_at([broken], ("javascript", "const more = (n) => 3 * n;")) == [(0, 0, 0, 0)]


def test_signs_that_end_lines_elsewhere_and_very_deep_values_lose_nothing() -> None:
    ready("javascript", "typescript")
    ends = "\N{LINE SEPARATOR}\N{NEXT LINE}"
    nested = "(x) => { let t = 2 * x; if (x !== 4) for (let i = 0; i < 1900; i += 1) t = [t]; return t; };"
    rows = [("typescript", f"const f = (x: number): number => {{ /* {ends} */ return 2 * x; }};"),
            ("javascript", f"const g = (x) => x === 4 ? 8 : '{ends}';"), ("javascript", f"const deep = {nested}"),
            ("javascript", f"const h = (x) => {{ const s = '{ends}'; return s.length * x; }};")]  # fmt: skip
    found = looked_at([twice(f"console.assert(twice(4) === 8, '{ends}')")], *rows)
    assert [number for number, _, _, _ in found] == [0, 1, 2, 3]
    assert [right == count for _, _, right, count in found] == [True, False, False, True]


def test_what_a_function_does_on_other_items_does_not_hide_its_own() -> None:
    ready("javascript", "typescript")
    items = [twice(f"console.assert(twice({n}) === 1)") for n in (10**8, 45, 46, 47)]
    items += [twice("console.assert(twice(9) === 34 && twice(3) === 2 && twice(6) === 8)")]
    slow = "function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2); }"
    dies = "function g(n) { if (n > 1e6) 'x'.repeat(5e8).split('');\n" \
           "  return [0, 1, 1, 2, 3, 5, 8, 13, 21, 34][n]; }"  # fmt: skip
    assert [(number, item) for number, item, _, _ in looked_at(items, ("javascript", slow))] == [(0, 4)]
    assert [(number, item) for number, item, _, _ in looked_at(items, ("javascript", dies))] == [(0, 4)]


def test_what_node_has_is_there_at_the_first_look() -> None:
    ready("javascript", "typescript")
    bodies = ["return structuredClone(x) * 2", "console.debug(x); console.group('a'); return x * 2",
              "setTimeout(() => {}, 5); process.stdout.write('a'); return Buffer.from([x])[0] * 2"]  # fmt: skip
    rows = [("javascript", f"const f = (x) => {{ {body}; }};") for body in bodies]
    assert [number for number, _, _, _ in looked_at([twice("console.assert(twice(4) === 8)")], *rows)] == [0, 1, 2]


def test_items_that_the_first_look_cannot_read_are_tried_by_rank(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    odd = {**JS, "test": f"{JS['test']}let = ;\n"}  # no script
    source = Source("javascript", "function f(a, b) { return 1; }")
    whole = JS["declaration"] + JS["canonical_solution"]
    items = [
        Item("b", str(n), "", tests=each["test"], entry_point="weigh", language="javascript", source=whole)
        for n, each in enumerate((JS, odd))
    ]
    rooms = {name: plugins.load("languages", name).toolchain() for name in ("javascript", "typescript")}
    _, seen = screen.screen(items, {0: [0, 1]}, lambda row: [source], rooms, lambda event: None, "")
    assert seen == {0}


PHP_TOTAL = {"language": "php", "source": "<?php\nfunction twice($x) { return 2 * $x; }"}


def php_able() -> None:
    ready("php")
    if not screen.able({"php": plugins.load("languages", "php").toolchain()}):
        pytest.skip("this PHP has no pcntl")


def test_php_functions_that_end_hang_sleep_or_fill_the_memory_do_not_hide_the_others() -> None:
    php_able()
    tests = "function compare($a, $b) { return $a == $b; }\nif (!compare(twice(4), 8)) { throw new Exception('a'); }"
    items = [twice("$x = [[1] => 2];", **PHP_TOTAL), twice(tests, **PHP_TOTAL), twice("<?php\n" + tests, **PHP_TOTAL),
             twice("$x = ;", **PHP_TOTAL)]  # fmt: skip
    functions = [
        "function f($a) { return 2 * $a; }", "function f($a) { exit(0); }", "function f($a) { while (true) {} }",
        "function f($a) { sleep(1000); }", "function f($a) { $m = []; while (true) $m[] = str_repeat('a', 99999); }",
        "class Double { public static function of(int $a) { echo 'x'; return $a + $a; } }",
        "class Twice { function of($a) { return $a + $a; } }",
        "function f($a) { if ($a > 4) while (true) {} return 8; }",
    ]  # fmt: skip
    found = looked_at(items, *(("php", text) for text in functions), family="php")
    assert sorted({(number, item) for number, item, _, _ in found}) == [
        (number, item) for number in (0, 5, 6, 7) for item in (1, 2)
    ]
    whole = {number: right == count > 5 for number, _, right, count in found}
    assert whole == {0: True, 5: True, 6: True, 7: False}


def test_a_php_solution_that_says_true_to_everything_tells_nothing_of_other_answers() -> None:
    php_able()
    loose = "if (!(twice(4) == 8) || !(twice(5) == 10) || !(twice(1) == 2)) { throw new Exception('a'); }"
    item = twice(loose, language="php", source="<?php\nfunction twice($x) { return true; }")
    rows = [("php", "function f($a) { return $a * 2; }"), ("php", "function g($b) { return true; }")]
    (right, yes) = looked_at([item], *rows, family="php")
    assert right == (0, 0, 0, 0) and yes[2] == yes[3] > 5
    assert not programs.telling(item, screen.Look(5, screen.Suite(([0],) * 5, (True,) * 5, 3, 1)))


def test_without_children_of_its_process_php_is_tried_by_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready("php")
    monkeypatch.setattr(screen, "_forks", lambda php: False)
    item, right = OTHERS["php"]
    clean(tmp_path, [{"instruction": "b", "output": f"```php\n{right}```"}], item)
    assert hits(tmp_path) == [(0, "execution", True)]


YES = {
    **JS, "declaration": "\nconst rare = (values, k) => {\n", "prompt": "const rare = (values, k) => {\n",
    "canonical_solution": "  return values.filter((v) => v === k).length === 1;\n}\n",
    "test": "console.assert(rare([1, 2, 3], 1) === true)\nconsole.assert(rare([5, 5, 2, 8, 5], 5) === false)\n"
    "console.assert(rare([4, 7, 7, 1], 9) === false)\nconsole.assert(rare([6, 2], 2) === true)\n",
}  # fmt: skip


def test_who_only_passes_the_tests_is_marked_and_not_dropped(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    right = "```js\nfunction once(xs, x) { return xs.indexOf(x) >= 0 && xs.indexOf(x) === xs.lastIndexOf(x); }\n```"
    lucky = "```js\nfunction short(xs, x) { return xs.length < 4; }\n```"
    rows = [{"instruction": "a", "output": lucky}, {"instruction": "b", "output": right}]
    clean(tmp_path, rows, YES)
    assert hits(tmp_path) == [(0, "execution", False), (1, "execution", True)]
    (first, _) = map(json.loads, (tmp_path / "out" / "contamination.jsonl").read_text().splitlines())
    assert first["why_not"] == "too few on varied inputs"
    asked = ["Is a list shorter than four?", "tell me about short queues", "My basket has too few things"]
    clean(tmp_path, [rows[1], *({"instruction": each, "output": lucky} for each in asked)], YES, textbook=3)
    assert hits(tmp_path)[0] == (0, "execution", True), "they do not make it textbook"


def test_a_rows_function_that_agrees_counts_also_behind_one_that_does_not(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    short = "function short(xs, x) { return xs.length < 4; }"
    once = "function once(xs, x) { return xs.filter((each) => each === x).length === 1; }"
    both = f"```js\n{short}\n{once}\n```"
    clean(tmp_path, [{"instruction": "b", "output": both}], YES)
    assert hits(tmp_path) == [(0, "execution", True)]


def test_varied_inputs_count_where_there_are_some_and_the_tests_calls_where_not() -> None:
    three = twice(3 * "console.assert(twice(1) === 3);")
    assert programs.telling(three) and not programs.telling(twice("console.assert(twice(1) === 3);"))

    def suite(strength: int, varied: int) -> screen.Look:
        return screen.Look(varied, screen.Suite(([0],) * varied, (0,) * varied, 3, strength))

    assert not programs.telling(three, suite(1, 20)), "the same is expected of every input"
    assert programs.telling(three, suite(3, 2)) and not programs.telling(three, suite(2, 6))
    assert programs.telling(three, suite(2, 7))


def test_saying_no_to_everything_does_not_agree() -> None:
    yes_or_no = screen.Suite(([0],) * 10, (True, *[False] * 9), 3, 2)
    assert not screen.Look(9, yes_or_no, screen._rarely([False] + [True] * 9, yes_or_no)).agrees
    assert screen.Look(9, yes_or_no, screen._rarely([True] * 9 + [False], yes_or_no)).agrees
    many = screen.Suite(([0],) * 4, (1, 2, 3, 4), 3, 4)
    assert [screen.Look(n, many, screen._rarely([True] * n, many)).agrees for n in (1, 2)] == [False, True]


def test_a_function_that_everybody_has_is_no_leak_of_another_item_that_it_also_answers(tmp_path: Path) -> None:
    ready("javascript", "typescript")
    total = "const sum = (xs, k) => {\n  return xs.reduce((a, b) => a + b, 0) + k;\n}\n"
    test = "".join(f"console.assert(NAME({xs}, {k}) === {sum(xs) + k})\n" for xs, k in (
        ([1, 2, 3], 1), ([5, 0, 2, 8], 2), ([7], 4), ([3, 3, 1], 0), ([2, 9], 6)))  # fmt: skip
    first = {**JS, "task_id": "JavaScript/1", "declaration": total.split("  ")[0], "prompt": total.split("  ")[0],
             "canonical_solution": "  return xs.reduce((a, b) => a + b, 0) + k;\n}\n",
             "test": test.replace("NAME", "sum")}  # fmt: skip
    same = {key: value.replace("sum", "score") for key, value in first.items()} | {"task_id": "JavaScript/2"}
    same["test"] += "console.assert(score([1, 1, 1, 1], 3) === 7)\nconsole.assert(score([400, 2], 3) === 405)\n"
    loop = "let t = bonus;\n  for (const one of list) t += one;\n  return t;"
    code = f"```js\nfunction total(list, bonus) {{\n  {loop}\n}}\n```"
    small = code.replace("t += one;", "t += one > 300 ? 300 : one;")
    asked = ["Add a bonus to marks", "What does my shopping cost", "Totals with an offset please"]
    rows = [{"instruction": each, "output": code} for each in asked[:2]] + [{"instruction": asked[2], "output": small}]
    clean(tmp_path, rows, first, same, textbook=3)  # three have the first one, two of them the second
    assert {drop for _, _, drop in hits(tmp_path)} == {False}
    clean(tmp_path, rows, same, textbook=3)
    assert [row for row, _, drop in hits(tmp_path) if drop] == [0, 1]


def test_without_typescripts_compiler_its_texts_are_named_and_javascripts_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready("javascript")

    def missing() -> None:
        raise UserError("no compiler of version 5 is installed", mend="npm install typescript@5")

    monkeypatch.setattr(plugins.load("languages", "typescript"), "toolchain", missing)
    (account,) = clean(tmp_path, [*ORDINARY, LEAK, TYPED], JS)["run"]["other_languages"]
    assert [row for row, _, drop in hits(tmp_path) if drop] == [7]
    assert account["likeness_only"].startswith("typescript: no compiler of version 5")
    (account,) = clean(tmp_path, [*ORDINARY, LEAK], JS)["run"]["other_languages"]
    assert account["likeness_only"] == "", "nothing asked for it"


def test_without_a_grammar_the_account_says_that_likeness_alone_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(code_parses.GRAMMARS, "javascript", ("no_such_grammar", "language"))
    code_parses.parser.cache_clear()
    summary = clean(tmp_path, [*ORDINARY, LEAK], JS)
    code_parses.parser.cache_clear()
    (account,) = summary["run"]["other_languages"]
    assert account["items_run"] == 0 and "is its grammar installed?" in account["likeness_only"]
