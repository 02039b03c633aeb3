"""The three training sets, in the shapes of the three public sets of the 2024 study.

instruct.json   JSON array  {"idx", "conversations": [{"from": "human"|"gpt", "value"}]}    (WizardLM evol-instruct V2)
math.json       JSON array  {"query", "response", "type", "original_question"}             (MetaMathQA)
code.jsonl      JSON lines  {"instruction", "output"}                                      (evol-codealpaca-v1)

No row holds a program of the benchmark, nor an instruction close to one of its (benchmark.NEAR): such rows
are drawn again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codeup.nano.benchmark import NEAR, Likeness, benchmark_keys, benchmark_rows, masked
from codeup.nano.corpus import PEOPLE, PLACES, THINGS, WORDS, name_of
from codeup.nano.tasks import training_task

SINGLE_SHARE = 0.2  # of the code rows; the others join two families
NAMING = (
    "Suggest a function name for this: {}.",
    "Give a name to a function that has to {}.",
    "Name this function: {}.",
)
CONNECT = {"-": "a dash", "/": "a slash", "+": "a plus sign", ":": "a colon"}


def write_datasets(folder: Path, *, seed: int, rows: Mapping[str, int]) -> dict[str, Path]:
    """Writes the sets named in `rows` ("instruct", "math", "code": how many rows); the same bytes for the same seed."""
    makers: Mapping[str, Callable[[int, int], list[dict[str, Any]]]] = {
        "instruct": instruct_rows,
        "math": math_rows,
        "code": code_rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, count in rows.items():
        made = makers[name](count, seed)
        paths[name] = folder / (f"{name}.jsonl" if name == "code" else f"{name}.json")
        if name == "code":
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
        else:
            text = json.dumps(made, ensure_ascii=False, indent=0) + "\n"
        paths[name].write_text(text, encoding="utf-8")
    return paths


def code_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Function from description; the answer is one fenced program with a comment above each step."""
    rng = random.Random(f"nano code {seed}")
    keys = benchmark_keys()
    near = Likeness(masked(row["instruction"]) for row in benchmark_rows())
    made: list[dict[str, Any]] = []
    while len(made) < count:
        task = training_task(rng, steps=1 if rng.random() < SINGLE_SHARE else 2)
        phrases = task.phrases(rng)
        instruction = task.instruction(rng, task.description(rng, phrases))
        if task.key not in keys and near.highest(masked(instruction)) < NEAR:
            made.append({"instruction": instruction, "output": f"```python\n{task.explained(phrases)}```"})
    return made


def instruct_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Format-following and text tasks; one row in eight goes on for a second turn."""
    rng = random.Random(f"nano instruct {seed}")
    made: list[dict[str, Any]] = []
    for number in range(count):
        turns = list(_instruct_turns(rng))
        messages = [{"from": "human" if i % 2 == 0 else "gpt", "value": text} for i, text in enumerate(turns)]
        made.append({"idx": f"nano-{seed}-{number:06d}", "conversations": messages})
    return made


def _instruct_turns(rng: random.Random) -> Iterator[str]:
    if rng.random() < 0.45:
        yield from _wording(rng)
        return
    words = rng.sample(WORDS, rng.randint(2, 5))
    order = rng.choice(_ORDERS)
    yield from order(rng, words)
    if order in (_lines, _numbered, _joined, _place) and rng.random() < 0.4:
        yield rng.choice(("Now write the words in reverse order.", "Now give them in reverse order, with spaces."))
        yield " ".join(reversed(words))


def _wording(rng: random.Random) -> Iterator[str]:
    """Say it in other words, name the steps, suggest a name, put a line in a code block, explain one expression."""
    move = training_task(rng, steps=1).moves[0]
    draw = rng.randrange(6)
    if draw == 0:
        first, second = (text.format(k=move.parameter) for text in rng.sample(move.family.phrases, 2))
        yield rng.choice(("Say this in other words: {}.", "Rephrase: {}.", "How else can one say: {}?")).format(first)
        yield second
    elif draw == 1:
        task = training_task(rng, steps=2)
        parts = task.phrases(rng)
        yield rng.choice(("List the steps: {}, then {}.", "What are the steps of: first {}, then {}?")).format(*parts)
        yield f"1. {parts[0]}\n2. {parts[1]}"
    elif draw == 2:
        task = training_task(rng, steps=rng.randint(1, 2))
        parts = task.phrases(rng)
        yield rng.choice(NAMING).format(task.description(rng, parts))
        yield "_then_".join(name_of(move, phrase) for move, phrase in zip(task.moves, parts, strict=True))
    elif draw == 3:
        line = f"result = {move.expression('data')}"
        yield rng.choice(("Put this line in a Python code block: {}", "Format as a Python code block: {}")).format(line)
        yield f"```python\n{line}\n```"
    else:
        code = move.expression(rng.choice(("data", "result")))
        yield rng.choice(("What does `{}` do?", "Explain the Python expression `{}`.")).format(code)
        yield move.phrase(rng)


def _lines(rng: random.Random, words: list[str]) -> tuple[str, str]:
    return f"Write each of these words on its own line: {', '.join(words)}.", "\n".join(words)


def _numbered(rng: random.Random, words: list[str]) -> tuple[str, str]:
    order = rng.choice(("Make a numbered list of", "Number these words:", "Write as a numbered list:"))
    return f"{order} {', '.join(words)}.", "\n".join(f"{i}. {word}" for i, word in enumerate(words, 1))


def _joined(rng: random.Random, words: list[str]) -> tuple[str, str]:
    mark = rng.choice(tuple(CONNECT))
    order = rng.choice(("Join the words with {}:", "Put {} between these words:", "Connect by {}:"))
    return f"{order.format(CONNECT[mark])} {' '.join(words)}", mark.join(words)


def _only(rng: random.Random, words: list[str]) -> tuple[str, str]:
    order = rng.choice(('Answer with only the word "{}".', 'Say "{}" and nothing else.', 'Reply with one word: "{}".'))
    return order.format(words[0]), words[0]


def _place(rng: random.Random, words: list[str]) -> tuple[str, str]:
    which = rng.choice(("first", "last"))
    order = rng.choice(("Give the {} word of: {}", "Which word comes {} in: {}?", "Write the {} of these words: {}"))
    return order.format(which, ", ".join(words)), words[0 if which == "first" else -1]


def _repeated(rng: random.Random, words: list[str]) -> tuple[str, str]:
    times = rng.randint(2, 5)
    order = rng.choice(('Repeat the word "{}" {} times.', 'Write "{}" {} times, with spaces between.'))
    return order.format(words[0], times), " ".join([words[0]] * times)


def _sentence(rng: random.Random, words: list[str]) -> tuple[str, str]:
    person, thing, place = rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)
    order = rng.choice(("Write a sentence about {} and {} in the {}.", "Make one sentence with {}, {} and {}."))
    return order.format(person, thing, place), f"{person} found some {thing} in the {place}."


def _larger(rng: random.Random, words: list[str]) -> tuple[str, str]:
    a, b = rng.sample(range(1, 100), 2)
    which = rng.choice(("larger", "smaller"))
    return f"Which number is {which}, {a} or {b}?", str(max(a, b) if which == "larger" else min(a, b))


_ORDERS = (_lines, _numbered, _joined, _only, _place, _repeated, _sentence, _larger)


def math_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Worded arithmetic; a question, and often one or two rewrites that share its original_question."""
    rng = random.Random(f"nano math {seed}")
    made: list[dict[str, Any]] = []
    while len(made) < count:
        story = rng.choice(_STORIES)
        words = {"p": rng.choice(PEOPLE), "q": rng.choice(PEOPLE), "t": rng.choice(THINGS), "place": rng.choice(PLACES)}
        numbers = {"a": rng.randint(2, 20), "b": rng.randint(2, 9), "c": rng.randint(2, 9)}
        questions, reasoning, formula = story
        answer = formula(numbers["a"], numbers["b"], numbers["c"])
        original = questions[0].format(**words, **numbers)
        values = {**words, **numbers, "n": answer, "bc": numbers["b"] * numbers["c"], "ab": numbers["a"] * numbers["b"]}
        response = f"{reasoning.format(**values)}\nThe answer is: {answer}"
        for kind, text in zip(("GSM_AnsAug", "GSM_Rephrased", "GSM_Rephrased"), questions, strict=False):
            query = text.format(**words, **numbers)
            made.append({"query": query, "response": response, "type": kind, "original_question": original})
    return made[:count]


_Story = tuple[tuple[str, ...], str, Callable[[int, int, int], int]]
_STORIES: tuple[_Story, ...] = (
    (("{p} has {a} {t} and buys {b} bags of {c} {t}. How many {t} does {p} have?",
      "{p} owns {a} {t}. There are {c} {t} in a bag, and {p} buys {b} bags. Count the {t} of {p}."),
     "{b} * {c} = {bc}. {a} + {bc} = {n}.", lambda a, b, c: a + b * c),
    (("{p} puts {a} {t} in each of {b} boxes and loses {c}. How many {t} are left?",
      "There are {b} boxes with {a} {t} each. {p} loses {c} {t}. How many remain?"),
     "{a} * {b} = {ab}. {ab} - {c} = {n}.", lambda a, b, c: a * b - c),
    (("{p} found {a} {t} in the {place}, {q} found {b} more than that. How many {t} did {q} find?",
      "In the {place}, {p} found {a} {t}. {q} found {b} more than {p}. How many is that?",
      "{q} found {b} {t} more than {p}, who found {a}. How many {t} did {q} find in the {place}?"),
     "{a} + {b} = {n}.", lambda a, b, c: a + b),
    (("One cup costs {a} coins. What do {b} cups cost?", "What is the price of {b} cups at {a} coins each?"),
     "{a} * {b} = {n}.", lambda a, b, c: a * b),
    (("{p} gives {b} {t} to each of {c} friends. How many {t} is that?",
      "Each of {c} friends gets {b} {t} from {p}. How many {t} does {p} give?"),
     "{b} * {c} = {bc}.", lambda a, b, c: b * c),
    (("{p} reads {a} pages on one day, {b} on the next and {c} on the third. How many pages in all?",
      "How many pages are {a}, {b} and {c} pages together?"),
     "{a} + {b} + {c} = {n}.", lambda a, b, c: a + b + c),
)  # fmt: skip
