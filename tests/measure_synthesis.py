"""Numbers behind the filters of `codeup data synth`: python tests/measure_synthesis.py DATA (CODEUP_TEST_DATA's folder)

1. HumanEval's own solutions and tests through the proof: how many assertions are read, how many solutions pass, and how
   many tests are called weak: all of them, the first five, the first three.
2. Code Alpaca's tasks: how far Jaccard similarity of word pairs agrees with ROUGE-L F > 0.7, Self-Instruct's rule.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from codeup.data import words
from codeup.sandbox.pool import Pool
from codeup.synth import checks, prove
from codeup.synth.alike import Alike, shingles_of
from codeup.synth.cache import Cache

ROUGE = 0.7


def problems(data: Path) -> list[tuple[str, str, str]]:
    """(program, tests, entry point) of HumanEval; `candidate` in the tests called by its name."""
    with gzip.open(data / "benchmarks/HumanEval.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [
        (
            r["prompt"] + r["canonical_solution"],
            r["test"].replace("candidate(", f"{r['entry_point']}("),
            r["entry_point"],
        )
        for r in rows
    ]


def measure_proofs(data: Path) -> None:
    """The tables of docs/synthesis.md."""
    every = problems(data)
    read = [checks.read(tests.replace("def check(candidate)", "def check()"), program) for program, tests, _ in every]
    used, left = sum(len(each.checks) for each in read), sum(each.left_out for each in read)
    print(f"assertions read {used}, left out {left}; problems with {prove.FEWEST} or more:", end=" ")
    print(sum(len(each.checks) >= prove.FEWEST for each in read), "of", len(read))
    with Pool(2, prove.LIMITS) as pool, tempfile.TemporaryDirectory() as folder, Cache(Path(folder) / "c") as cache:
        for name, most in (("all tests", 50), ("first five", 5), ("first three", 3)):
            answers = []
            for (program, _, entry), each in zip(every, read, strict=True):
                asserts = [check.source.replace("candidate(", f"{entry}(") for check in each.checks[:most]]
                answers.append((f"```python\n{program}\n```", "\n".join(asserts)))
            proofs = prove.prove(answers, pool, cache, share=0.7)
            mutants, killed = sum(each.mutants for each in proofs), sum(each.killed for each in proofs)
            print(
                f"{name:<12}",
                dict(Counter(each.reason or "passed" for each in proofs)),
                f"mutants {mutants}, killed {killed}",
            )
            for share in (0.5, 0.6, 0.8, 0.9):
                again = prove.prove(answers, pool, cache, share=share)
                print(f"   share {share}: weak {sum(each.reason == prove.WEAK for each in again)}")


def rouge_l(a: list[str], b: list[str]) -> float:
    """F measure of the longest common subsequence of words (Lin 2004)."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for place, other in enumerate(b, 1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return 2 * row[-1] / (len(a) + len(b)) if a and b else 0.0


def measure_alike(data: Path) -> None:
    """Pairs of tasks that ROUGE-L calls the same, and what Jaccard says of them."""
    rows = json.loads((data / "train/code_alpaca_2k.json").read_text())
    texts = sorted({row["instruction"] for row in rows})
    split = ["".join(c if c.isalnum() else " " for c in text.lower()).split() for text in texts]
    shingles = [shingles_of(text).of(0) for text in texts]
    bags = [Counter(each) for each in split]
    found = Counter[str]()
    thresholds = (0.4, 0.5, 0.6, 0.7)
    for a, b in itertools.combinations(range(len(texts)), 2):
        total = len(split[a]) + len(split[b])
        bound = 2 * sum((bags[a] & bags[b]).values()) / total if total else 0  # no common subsequence is longer
        same = bound > ROUGE and rouge_l(split[a], split[b]) > ROUGE
        jaccard = words.jaccard(shingles[a], shingles[b]) if bound > 0.4 else 0.0
        found["rouge"] += same
        for each in thresholds:
            found[f"jaccard {each}"] += jaccard >= each
            found[f"both {each}"] += same and jaccard >= each
    print(len(texts), "tasks;", found["rouge"], "pairs with ROUGE-L F >", ROUGE)
    for each in thresholds:
        print(f"Jaccard >= {each}: {found[f'jaccard {each}']} pairs, {found[f'both {each}']} of them the same")
    alike = Alike(0.6)
    kept = 0
    for number, text in enumerate(texts):
        if not alike.like(text)[0]:
            alike.add(str(number), text)
            kept += 1
    print("kept one by one at 0.6:", kept)


if __name__ == "__main__":
    measure_alike(Path(sys.argv[1]))
    measure_proofs(Path(sys.argv[1]))
