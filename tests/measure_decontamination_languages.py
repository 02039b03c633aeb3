"""How many HumanEval problems in other languages than Python are found among ordinary rows, by language and kind.

    CODEUP_TEST_DATA=FOLDER python tests/measure_decontamination_languages.py [LANGUAGE ...] [--out FOLDER] [--show]
    CODEUP_TEST_DATA=FOLDER python tests/measure_decontamination_languages.py php --renamed 100 --run auto
    CODEUP_TEST_DATA=FOLDER python tests/measure_decontamination_languages.py --held-out

For each language, with HumanEval-X's file of it (TypeScript and PHP: MBXP's) as the only benchmark, among the rows of
measure_decontamination.py's --kinds (Code Alpaca, Alpaca, a part of GSM8K):

Two files of rows, both with the ordinary ones:

    bare         its solutions (164, MBXP's are more) without a comment, all asked for in the same words
    renamed      the same with every name of their own replaced (the function, parameters, variables)
                 (these two without running anything: the first file)
    rephrased    written by hand with other words, structure, names and types (rephrased_humaneval_languages.jsonl), and
                 put down before any of it was run; every other one was looked at while limits were chosen ("tune")
    clean        --held-out: 56 more of problems drawn by chance, written by somebody who had seen neither the methods
                 nor what they find (rephrased_languages_held_out.jsonl), 28 of MBXP
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup import plugins
from codeup.data import code_parses
from codeup.data.contamination.items import read_items
from codeup.data.files import read_rows
from codeup.decontaminate.files import decontaminate
from codeup.decontaminate.screen import LIMITS, ROOMS, Screen
from codeup.sandbox.pool import Pool

parser = getattr(code_parses, "parser", None) or vars(code_parses)["_parser"]
ORDINARY = ("new_codealpaca.json", "code_alpaca_2k.json", "alpaca_en_demo.json")
REPHRASED = Path(__file__).with_name("rephrased_humaneval_languages.jsonl")
HELD_OUT = Path(__file__).with_name("rephrased_languages_held_out.jsonl")
X = "humaneval-x/humaneval_"
FILES = {
    "javascript": f"{X}js.jsonl.gz", "cpp": f"{X}cpp.jsonl.gz", "java": f"{X}java.jsonl.gz", "go": f"{X}go.jsonl.gz",
    "rust": f"{X}rust.jsonl.gz", "typescript": "mbxp/mbtsp_release_v1.2.jsonl.gz",
    "php": "mbxp/mbphp_release_v1.2.jsonl.gz",
}  # fmt: skip
TITLES = {"javascript": "JavaScript", "cpp": "C++", "java": "Java", "go": "Go", "rust": "Rust",
          "typescript": "TypeScript", "php": "PHP"}  # fmt: skip
DECLARING = re.compile(
    "variable_declarator|formal_parameters?$|parameter|init_declarator|(?:pointer|reference|array)_declarator|"
    "short_var_declaration|range_clause|for_range_loop|enhanced_for|for_in_statement|var_spec|let_declaration|"
    "pattern|function|method|lambda|closure|const_spec|for_expression|^declaration$|arrow|foreach|^pair$"
)

AROUND_NAMES = ("expression_list", "tuple_pattern", "mut_pattern", "reference_pattern", "variable_name")


def leaves(node: Any) -> Iterator[Any]:
    """Nodes without children, comments left out."""
    if "comment" in node.type:
        return
    if not node.child_count or node.type in ("string", "string_literal", "char_literal", "template_string"):
        yield node
    for child in node.children if node.type not in ("string", "string_literal", "char_literal") else ():
        yield from leaves(child)


def bare(language: str, code: str, names: Mapping[str, str]) -> str:
    """A program without comments, its names replaced; white space stays."""
    text, parts, at = code.encode(), [], 0
    root = parser(language).parse(text).root_node
    waiting, comments = [root], []
    while waiting:
        node = waiting.pop()
        comments += [node] if "comment" in node.type else []
        waiting += node.children
    for node in sorted([*leaves(root), *comments], key=lambda each: (each.start_byte, -each.end_byte)):
        if node.start_byte < at:
            continue
        own = node.text.decode()
        named = re.search("identifier|^name$", node.type)
        new = "" if "comment" in node.type else names.get(own, own) if named else own
        parts += [text[at : node.start_byte], new.encode()]
        at = node.end_byte
    lines = b"".join([*parts, text[at:]]).decode().splitlines()
    return "\n".join(line for line in lines if line.strip()) + "\n"


def own_names(language: str, code: str) -> list[str]:
    """Names that a program declares: functions, parameters and variables."""
    found: dict[str, None] = {}
    root = parser(language).parse(code.encode()).root_node
    for leaf in leaves(root):
        above = leaf.parent
        if leaf.type in ("identifier", "shorthand_property_identifier_pattern", "name") and above is not None:
            while above.type in AROUND_NAMES:
                above = above.parent
            value = above.child_by_field_name("value") or above.child_by_field_name("right")
            before = value is None or leaf.start_byte < value.start_byte
            declares = DECLARING.search(above.type) or (language == "php" and above.type == "assignment_expression")
            if declares and not re.search("invocation|call", above.type) and before:
                found[leaf.text.decode()] = None
    return [name for name in found if name not in ("Solution", "main", "self", "args")]


def planted(folder: Path, language: str) -> list[dict[str, Any]]:
    """Rows of the three kinds."""
    ask = f"Write this in {TITLES[language]}."
    rows: list[dict[str, Any]] = []
    for row in read_rows(folder / "benchmarks" / FILES[language]):
        assert row.value is not None
        if not row.value["canonical_solution"]:
            continue
        before = row.value["declaration"] if language == "rust" else row.value["prompt"]
        code = before + row.value["canonical_solution"]
        names = {name: f"w{number}x" for number, name in enumerate(own_names(language, code))}
        for kind, chosen in (("bare", {}), ("renamed", names)):
            output = f"```{language}\n{bare(language, code, chosen)}```"
            rows.append({"kind": kind, "instruction": ask, "input": "", "output": output, "task": row.value["task_id"]})
    family = ("javascript", "typescript") if language == "javascript" else (language,)
    for number, line in enumerate(REPHRASED.read_text(encoding="utf-8").splitlines()):
        row_ = json.loads(line)
        if row_["language"] in family:
            output = f"```{row_['language']}\n{row_['output']}```" if number % 4 < 2 else row_["output"]
            side = f"rephrased, {'held out' if number % 2 else 'tune'}"
            rows.append({"kind": side, "instruction": row_["instruction"], "input": "", "output": output})
    return rows


def right_ones(folder: Path, language: str) -> set[str]:
    """The items whose own solution passes their tests at a first look (screen.py); models wrote many of MBXP's."""
    file = folder / "benchmarks" / FILES[language]
    family = next(family for family, names in ROOMS.items() if language in names)
    rooms = {name: plugins.load("languages", name).toolchain() for name in ROOMS[family]}
    items = {n: item for n, item in enumerate(read_items(file.parent.name, file)) if item.runnable_elsewhere}
    with Pool(1, LIMITS, show=tuple(path for each in rooms.values() for path in each.show), import_names=()) as pool:
        looking = Screen(items, pool, rooms)
        looking.expect()
    return {items[index].task_id for index, suite in looking.suites.items() if suite.given}


def held_out(language: str) -> list[dict[str, Any]]:
    """Rows of the held-out file for one benchmark file."""
    family = ("javascript", "typescript") if language == "javascript" else (language,)
    rows = map(json.loads, HELD_OUT.read_text(encoding="utf-8").splitlines())
    benchmark = FILES[language].partition("/")[0]
    return [
        {"kind": "rephrased, clean", "instruction": row["instruction"], "input": "", "output": row["output"]}
        for row in rows if row["benchmark"] == benchmark and row["language"] in family
    ]  # fmt: skip


def ordinary(folder: Path) -> list[dict[str, Any]]:
    """The rows of measure_decontamination.py --kinds."""
    rows = [row for name in ORDINARY for row in json.loads((folder / "train" / name).read_text(encoding="utf-8"))]
    gsm8k = (folder / "train" / "gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()
    rows += [json.loads(line) for line in gsm8k[:1500]]
    return [{**row, "kind": ""} for row in rows]


def main() -> None:
    """Print a line for each language and kind."""
    asked = argparse.ArgumentParser()
    asked.add_argument("languages", nargs="*", default=list(FILES))
    asked.add_argument("--out", type=Path, default=None)
    asked.add_argument("--show", action="store_true", help="which ordinary rows go, which rephrasings stay")
    asked.add_argument(
        "--renamed",
        type=int,
        default=0,
        help="instead of all that: so many of the renamed (JavaScript, TypeScript, PHP), and no others",
    )
    asked.add_argument(
        "--run", default="none", help="with --renamed: whether programs are run, as the command takes it"
    )
    asked.add_argument("--held-out", action="store_true", help="instead of all that: the held-out rephrasings, run")
    options = asked.parse_args()
    folder = Path(os.environ["CODEUP_TEST_DATA"])
    for language in options.languages:
        if options.held_out:
            rows = [*ordinary(folder), *held_out(language)]
            with tempfile.TemporaryDirectory() as temporary:
                one_file(folder, language, rows, options.out or Path(temporary), "auto", show=options.show)
            continue
        some = planted(folder, language)
        if options.renamed:
            right = right_ones(folder, language)
            some = [
                {**row, "kind": f"renamed, {'right' if row['task'] in right else 'wrong'}"}
                for row in some if row["kind"] == "renamed"
            ]  # fmt: skip
            random.Random(3).shuffle(some)
            with tempfile.TemporaryDirectory() as temporary:
                rows = [*ordinary(folder), *some[: options.renamed]]
                one_file(folder, language, rows, options.out or Path(temporary), options.run, show=options.show)
            continue
        copies = [row for row in some if "rephrased" not in row["kind"]]
        rewritten = [row for row in some if "rephrased" in row["kind"]]
        for part, rows, run in (("copies", copies, "none"), ("rephrased", rewritten, "auto")):
            if not rows:
                continue
            with tempfile.TemporaryDirectory() as temporary:
                work = (options.out or Path(temporary)) / language / part
                one_file(folder, language, [*ordinary(folder), *rows], work, run, show=options.show)


def one_file(folder: Path, language: str, rows: list[dict[str, Any]], work: Path, run: str, *, show: bool) -> None:
    """Print what is found in one file of rows."""
    random.Random(7).shuffle(rows)
    work.mkdir(parents=True, exist_ok=True)
    source = work / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    file = folder / "benchmarks" / FILES[language]
    begun = time.monotonic()
    summary = decontaminate(source, {file.parent.name: file}, work / "out", workers=2, run=run)  # type: ignore[arg-type]
    lines = (work / "out" / "contamination.jsonl").read_text(encoding="utf-8").splitlines()
    hits = [json.loads(line) for line in lines]
    found = {hit["row"] for hit in hits if hit["sufficient"]}
    every, got = Counter(row["kind"] for row in rows), Counter(rows[row]["kind"] for row in found)
    print(f"{language}, run={run}: {time.monotonic() - begun:.0f} s; {summary['run']}", flush=True)
    for kind in sorted(every, key=lambda each: (not each, each)):
        print(f"    {kind or 'ordinary rows dropped':<24}{got[kind]:>6} of {every[kind]}", flush=True)
    for number, row in enumerate(rows if show else ()):
        own = [hit for hit in hits if hit["row"] == number]
        if (not row["kind"] and number in found) or ("rephrased" in row["kind"] and number not in found):
            print(f"--- {row['kind'] or 'ORDINARY'} {number}: {row.get('instruction', '')[:100]}")
            for hit in own[:4]:
                print(f"      {hit['task_id']} {hit['method']} {hit['evidence'][:70]} {hit.get('why_not', '')}")


if __name__ == "__main__":
    main()
