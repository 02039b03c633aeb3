"""What the base model is pre-trained on: raw generated programs and plain prose, one document per item.

There are no instructions here, no descriptions beside programs and no worked answers: the base learns what programs and
sentences look like, that names and numbers recur, and which sentences mean the same; nothing says which sentence goes
with which program. About half of the functions are named after their steps, as in real code (the benchmark's are not).
Pairs and parameters that the benchmark holds out (tasks.is_held_out) do not occur in the programs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from codeup.nano.tasks import INPUTS, NOUNS, VERBS, Move, Task, choose_names, compile_program, training_task

PEOPLE = (
    "Ann",
    "Ben",
    "Carla",
    "David",
    "Emma",
    "Felix",
    "Grace",
    "Hugo",
    "Ida",
    "Jonas",
    "Kate",
    "Liam",
    "Mia",
    "Noah",
)
THINGS = ("apples", "books", "coins", "pens", "stones", "cards", "eggs", "flowers", "stamps", "shells", "cups", "keys")
PLACES = ("garden", "kitchen", "school", "market", "library", "river", "station", "office", "house", "village")
WORDS = (
    "red", "green", "blue", "stone", "river", "apple", "lemon", "moon", "sun", "star", "tree", "bird", "fish",
    "bread",
    "milk", "tea", "salt", "chair", "table", "window", "door", "cloud", "rain", "snow", "wind", "fire", "gold",
    "silver",
    "horse", "cat", "dog", "mouse", "ship", "train", "road", "bridge", "hill", "lake", "island", "music", "paper",
    "ink",
)  # fmt: skip
# fmt: off
SMALL_WORDS = frozenset((
    "a", "all", "an", "and", "are", "as", "at", "be", "by", "each", "every", "for", "from", "if", "in", "is", "it",
    "its", "none", "of", "only", "or", "so", "that", "the", "there", "to", "up", "with",
))
# fmt: on
FRAMES = (
    "{p} likes to {d}.",
    "Every day {p} had to {d} in the {place}.",
    "It is easy to {d}, said {p}.",
    "{p} asked how to {d}. Nobody knew.",
    "Some people {d}; others do not.",
    "To {d} is one thing, to {e} is another.",
    "To {d} means to {same}.",
    "When {p} says {d}, it means {same}.",
    "Instead of {d} one can say {same}.",
    "First {d}, then {e}: that is, {same} and later {e}.",
    "{p} must {d} and then {e}. So {p} will {same}, and after that {other}.",
    "The program should {d}, but {p} did not write it.",
)
OPENINGS = (
    "Plan: {d}.",
    "{p} wants to {d}.",
    "Our program must {d}.",
    "It should {d}.",
    "Remember to {d}!",
    "For {p}: {d}.",
    "The work is to {d}, {p} says.",
)
GENERAL = (
    "Below is a task that {p} describes. The response completes the request.",
    "An instruction describes a task. A response appropriately completes it.",
    "Write a letter to {p} and a response will come.",
    "The list of {t} is in the {place}. It takes a number of {t} and a piece of text.",
    "A function takes an argument and gives a value. A Python function is written with def.",
    "{p} needs a dictionary from names to numbers, a list of words, a string and an integer.",
    "Let us think about the question step by step. The answer is known to {p}.",
    "{p} created several words, implemented a program, defined a number and called it an argument.",
)
DOCSTRINGS = (
    "Return the result.",
    "Work on the argument and give back a value.",
    "Helper for the program in the {place}.",
    "Used by {word}_{other}.py.",
    "Written by {p}.",
)


def documents(seed: int | str) -> Iterator[str]:
    """An endless, deterministic stream: of 20 documents, 12 are programs, 3 prose, 3 plans, 1 sums, 1 echoes."""
    rng = random.Random(f"nano corpus {seed}")
    while True:
        draw = rng.randrange(20)
        if draw < 12:
            yield program(rng)
        elif draw < 15:
            yield prose(rng)
        elif draw < 18:
            yield plan(rng)
        elif draw < 19:
            yield arithmetic(rng)
        else:
            yield echoes(rng)


def program(rng: random.Random) -> str:
    """One or two functions of one to four steps, in one of several forms."""
    draw = rng.random()
    if draw < 0.10:
        return _with_call(rng)
    if draw < 0.20:
        return _with_docstring(rng)
    task = training_task(rng, steps=rng.choices((1, 2, 3, 4), (4, 12, 3, 1))[0])
    if draw < 0.40:
        return f"# {task.function}({task.argument})\n" + _function(rng, task)
    if rng.random() < 0.8:
        task = Task(task.moves, named_after(rng, task), task.argument)
    if draw < 0.65:
        return _function(rng, task) + "\n\n" + _function(rng, Task(task.moves, *choose_names(rng, task.source)))
    return _function(rng, task)


def named_after(rng: random.Random, task: Task) -> str:
    """A name made of what the steps do, as names in real programs are: keep_even_then_scale_number_3."""
    parts = [name_of(move, rng.choice(move.family.phrases)) for move in task.moves]
    return rng.choice(("_then_", "_and_", "_")).join(parts)


def name_of(move: Move, phrase: str) -> str:
    """Up to three words of the phrase (with {k} or its value in it) and the parameter: keep_numbers_greater_5."""
    words = re.findall(r"[a-z]+", phrase.replace("{k}", " ").lower())
    kept = [word for word in words if word not in SMALL_WORDS and word != move.parameter][:3]
    return "_".join([*kept, move.parameter] if move.parameter.isalnum() else kept)


def _function(rng: random.Random, task: Task) -> str:
    """The task's program, one time in four with another variable and an expression after `return`."""
    if rng.random() < 0.75:
        return task.program()
    name = task.argument if rng.random() < 0.3 else rng.choice(("out", "value", "res", "answer"))
    variables = [task.argument] + [name] * len(task.moves)
    lines = [move.expression(variable) for move, variable in zip(task.moves, variables, strict=False)]
    body = "".join(f"    {name} = {line}\n" for line in lines[:-1])
    return f"def {task.function}({task.argument}):\n{body}    return {lines[-1]}\n"


def _with_call(rng: random.Random) -> str:
    task = training_task(rng, steps=rng.choice((1, 2)))
    function = compile_program(task.program(), task.function)
    value = rng.choice(INPUTS[task.source])
    shown = repr(function(value))
    return task.program() + (f"\nprint({task.function}({value!r}))  # {shown}\n" if len(shown) < 60 else "")


def _with_docstring(rng: random.Random) -> str:
    """A function under a docstring that says nothing about what it does, save by one or two examples."""
    task = training_task(rng, steps=rng.choice((1, 2)))
    function = compile_program(task.program(), task.function)
    sentence = rng.choice(DOCSTRINGS).format(
        place=rng.choice(PLACES), word=rng.choice(WORDS), other=rng.choice(WORDS), p=rng.choice(PEOPLE)
    )
    values = [(value, repr(function(value))) for value in rng.sample(INPUTS[task.source], rng.randint(1, 2))]
    shown = "".join(f"    >>> {task.function}({v!r})\n    {r}\n" for v, r in values if len(r) < 60)
    examples = f"\n\n{shown}    " if shown else ""
    return f'def {task.function}({task.argument}):\n    """{sentence}{examples}"""\n{task.body()}'


def prose(rng: random.Random) -> str:
    """Sentences that use the words of descriptions and of prompts, beside no program."""
    return " ".join(_sentence(rng) for _ in range(rng.randint(1, 4))) + "\n"


def _sentence(rng: random.Random) -> str:
    frame = rng.choice(GENERAL) if rng.random() < 0.3 else rng.choice(FRAMES)
    move, other = training_task(rng, steps=2).moves  # so that no sentence joins a pair that is held out
    return frame.format(
        p=rng.choice(PEOPLE),
        t=rng.choice(THINGS),
        place=rng.choice(PLACES),
        d=move.phrase(rng),
        same=move.phrase(rng),
        e=other.phrase(rng),
        other=other.phrase(rng),
    )


def plan(rng: random.Random) -> str:
    """The same phrases twice, as a sentence and as a list, beside no program."""
    task = training_task(rng, steps=rng.choice((1, 2, 2, 2, 3)))
    phrases = task.phrases(rng)
    sentence = rng.choice(OPENINGS).format(p=rng.choice(PEOPLE), d=task.description(rng, phrases))
    form = rng.randrange(4)
    if form == 0:
        listed = "".join(f"{number}. {phrase}\n" for number, phrase in enumerate(phrases, 1))
    elif form == 1:
        listed = "".join(f"- {phrase}\n" for phrase in phrases)
    elif form == 2:
        listed = "".join(f"# {phrase}\n" for phrase in phrases)
    else:
        listed = " ".join(f"{rng.choice(PEOPLE)} will {phrase}." for phrase in phrases) + "\n"
    return listed + sentence + "\n" if rng.random() < 0.2 else sentence + "\n" + listed


def arithmetic(rng: random.Random) -> str:
    """True sums and products, as sentences and as equations."""
    lines = []
    for _ in range(rng.randint(2, 5)):
        a, b, thing = rng.randint(1, 40), rng.randint(1, 20), rng.choice(THINGS)
        person = rng.choice(PEOPLE)
        lines.append(
            rng.choice((
                f"{a} + {b} = {a + b}.", f"{a + b} - {b} = {a}.", f"{min(a, 12)} * {b} = {min(a, 12) * b}.",
                f"{person} has {a} {thing} and gets {b} more. {a} + {b} = {a + b}, so {person} has {a + b} {thing}.",
                f"{person} had {a + b} {thing} and lost {b}. {a + b} - {b} = {a}, so {a} {thing} are left.",
            ))
        )  # fmt: skip
    return " ".join(lines) + "\n"


def echoes(rng: random.Random) -> str:
    """Names and numbers that come back, so that the model learns to copy."""
    if rng.random() < 0.5:
        name = f"{rng.choice(VERBS)}{rng.choice(NOUNS)}"
        argument, number = rng.choice(WORDS), rng.randint(2, 60)
        return f"The function `{name}({argument})` uses {number}.\n\ndef {name}({argument}):\n    return {number}\n"
    words = [rng.choice(WORDS) for _ in range(rng.randint(2, 6))]
    return " ".join(words) + "\n" + " ".join(words) + "\n" + ", ".join(words) + "\n"
