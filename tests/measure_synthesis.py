"""Numbers behind the filters of `codeup data synth`: python tests/measure_synthesis.py DATA (CODEUP_TEST_DATA's folder)

1. HumanEval's own solutions and tests through the proof: assertions read, solutions that pass, tests called weak: with
   all tests, the first five, the first three.
2. Code Alpaca's tasks, each with one to four words replaced: of the pairs with ROUGE-L F > 0.7 (Self-Instruct's rule),
   found by comparing all with all, how many a look-up finds.
3. A scripted model that writes 150 tasks of which it spoils a known share: what the filters keep of each kind.
"""

from __future__ import annotations

import ast
import gzip
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from synth_endpoint import Scripted

from codeup.data import words
from codeup.evaluate import checks
from codeup.nano.benchmark import INPUTS
from codeup.nano.tasks import compile_program, training_task
from codeup.sandbox.pool import Pool
from codeup.synth import prove
from codeup.synth.alike import Alike, rouge_l
from codeup.synth.budget import Budget
from codeup.synth.cache import Cache
from codeup.synth.endpoint import Endpoint
from codeup.synth.make import alone, synthesize
from codeup.synth.settings import Settings

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


REQUESTS = 30
SPOILED = {
    "good": 0.5, "wrong program": 0.1, "wrong test": 0.05, "exits": 0.05, "never ends": 0.03,
    "same result in all tests": 0.05, "tests of no value": 0.05, "refusal": 0.02, "HumanEval": 0.15,
}  # fmt: skip


class Teacher:
    """A model that knows tasks made by rule and HumanEval's, and what it did to each."""

    def __init__(self, data: Path) -> None:
        self.kinds: dict[str, str] = {}
        self.humaneval = problems(data)

    def answer(self, body: dict[str, Any]) -> tuple[str, str]:
        """Five tasks by the request's seed."""
        parts = [self._task(random.Random(f"{body['seed']} {n}"), n) for n in range(1, 6)]
        return "\n\n".join(parts), "stop"

    def _task(self, draw: random.Random, number: int) -> str:
        kind = draw.choices(list(SPOILED), list(SPOILED.values()))[0]
        if kind == "HumanEval":
            program, tests, entry = draw.choice(self.humaneval)
            told = ast.get_docstring(ast.parse(program).body[-1]) or ""  # type: ignore[arg-type]
            instruction = f"Write {entry}_it. " + " ".join(told.split(">>>")[0].split())
            tests = "\n".join(line.strip() for line in tests.splitlines() if line.strip().startswith("assert"))
            program, tests = (text.replace(entry, f"{entry}_it") for text in (program, tests))
        else:
            task = training_task(draw, steps=2)
            program, name = task.program(), task.function
            instruction = task.instruction(draw, task.description(draw, task.phrases(draw)))
            function = compile_program(program, name)
            values = draw.sample(INPUTS[task.source], 7)
            asserts = [f"assert {name}({value!r}) == {function(value)!r}" for value in values]
            program, tests = self._spoil(kind, program, name, asserts)
        self.kinds[instruction.strip()] = kind
        solution = "I'm sorry, I can't do that." if kind == "refusal" else f"```python\n{program}\n```"
        sections = f"[Instruction]\n{instruction}\n\n[Solution]\n{solution}\n\n[Tests]\n```python\n{tests}\n```"
        return f"### Task {number}\n\n{sections}"

    @staticmethod
    def _spoil(kind: str, program: str, name: str, asserts: list[str]) -> tuple[str, str]:
        if kind == "wrong program":
            program = program.replace("return result", "return [result]")
        elif kind == "wrong test":
            asserts[3] = asserts[3].split(" == ")[0] + " == 'nonsense'"
        elif kind == "exits":
            program += "\nimport os\nos._exit(0)"
        elif kind == "never ends":
            program = program.replace("    return result", "    while True:\n        pass\n    return result")
        elif kind == "same result in all tests":
            asserts = [asserts[0].replace("assert ", "assert  ") + f" or {n} == {name}(1)" for n in range(4)]
        elif kind == "tests of no value":
            asserts = [f"{each.split(' == ')[0]} != 'x{n}'" for n, each in enumerate(asserts)]
        return program, "\n".join(asserts)


def measure_filters(data: Path) -> None:
    """The table of kinds and reasons in docs/synthesis.md."""
    teacher = Teacher(data)
    with tempfile.TemporaryDirectory() as name, Scripted(answer=teacher.answer) as served:
        folder = Path(name)
        (folder / "s.jsonl").write_text('{"instruction": "Reverse a text."}\n')
        against = {"humaneval": data / "benchmarks/HumanEval.jsonl.gz"}
        asked = Settings("self-instruct", folder / "s.jsonl", "script", 10_000, against=against)
        started = time.process_time()
        with alone(folder / "o"), Cache(folder / "o/cache.sqlite") as cache:
            endpoint = Endpoint(served.url, cache)
            manifest = synthesize(asked, folder / "o", endpoint, Budget(max_requests=REQUESTS), workers=2)
        print({name: manifest[name] for name in ("requested", "kept", "dropped")})
        seconds = json.loads((folder / "o/log.jsonl").read_text())["seconds"]
        print(f"own CPU time {time.process_time() - started:.1f} s, {seconds} s by the clock")
        table: dict[str, Counter[str]] = defaultdict(Counter)
        for file in ("rows", "dropped"):
            for line in (folder / f"o/{file}.jsonl").read_text().splitlines():
                row = json.loads(line)
                text = row["messages"][0]["content"] if file == "rows" else row["instruction"]
                table[teacher.kinds[text]][row.get("reason", "kept")] += 1
        for kind in SPOILED:
            print(f"{kind:<26}", dict(table[kind]))


if __name__ == "__main__":
    measure_alike(Path(sys.argv[1]))
    measure_filters(Path(sys.argv[1]))
    measure_proofs(Path(sys.argv[1]))
