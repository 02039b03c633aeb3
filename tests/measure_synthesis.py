"""Numbers behind the filters of `codeup data synth`: python tests/measure_synthesis.py DATA (CODEUP_TEST_DATA's folder)

1. HumanEval's own solutions and tests through the proof: assertions read, solutions that pass, tests called weak: with
   all tests, the first five, the first three.
2. Code Alpaca's tasks, each with one to four words replaced: of the pairs with ROUGE-L F > 0.7 (Self-Instruct's rule),
   found by comparing all with all, how many a look-up finds.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from codeup.data import words
from codeup.sandbox.pool import Pool
from codeup.synth import checks, prove
from codeup.synth.alike import Alike, rouge_l
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


def measure_alike(data: Path) -> None:
    """Every edited task looked up among the others, and compared with all of them."""
    rows = json.loads((data / "train/code_alpaca_2k.json").read_text())
    texts = sorted({row["instruction"] for row in rows})
    draw = random.Random(0)
    vocabulary = [word for text in texts for word in text.split()]
    alike, started = Alike(ROUGE), time.process_time()
    for number, text in enumerate(texts):
        alike.add(str(number), text)
    every = [words.words([text], words.PROSE).of(0).tolist() for text in texts]
    print(f"{len(texts)} tasks kept in {time.process_time() - started:.1f} s of CPU time")
    pairs = found = refused = 0
    looked = brute = 0.0
    for text in draw.sample(texts, 500):
        edited = text.split()
        for _ in range(draw.randint(1, 4)):
            edited[draw.randrange(len(edited))] = draw.choice(vocabulary)
        own = words.words([" ".join(edited)], words.PROSE).of(0).tolist()
        started = time.process_time()
        name, _ = alike.like(" ".join(edited))
        looked += time.process_time() - started
        started = time.process_time()
        same = {str(place) for place, other in enumerate(every) if rouge_l(own, other) >= ROUGE}
        brute += time.process_time() - started
        pairs += bool(same)
        found += bool(same) and name in same
        refused += bool(name) and name not in same
    print(f"edited tasks like a kept one: {pairs} of 500; found {found}; wrongly {refused}")
    print(f"a look-up {2 * looked:.2f} ms, all with all {2 * brute:.1f} ms of CPU time")


if __name__ == "__main__":
    measure_alike(Path(sys.argv[1]))
    measure_proofs(Path(sys.argv[1]))
