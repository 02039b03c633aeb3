"""What the model is asked, in our own words; the structure is that of the published methods.

    SELF_INSTRUCT    a few known tasks, then so many new ones, numbered        Wang et al. 2023, arXiv 2212.10560;
                                                                               for code: Code Alpaca, Chaudhary 2023
    EVOLVE           one task made harder in one of five ways for code         WizardCoder, Luo et al. 2023, 2306.08568
                     ... or a new, rarer one of the same kind ("breadth")      WizardLM, Xu et al. 2023, 2304.12244
    OSS_INSTRUCT     a random snippet of code, then a problem and a solution   Magicoder, Wei et al. 2023, 2312.02120
    ANSWER           a task, then its solution and its tests

That tests are asked for together with the solution, as plain assertions, is ours: evaluate/checks.py can then have the
sandbox prove them. A template is known by its sha256, which stands in every row that it led to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

INSTRUCTION, PROBLEM, SOLUTION, TESTS = "instruction", "problem", "solution", "tests"


@dataclass(frozen=True, slots=True)
class Template:
    """A text with {fields}, and the name it has in a row."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text before the fields are filled."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, **fields: str | int) -> str:
        """The prompt. Braces in the values stay as they are."""
        return self.text.format(**fields)


TESTS_FORMAT = """
[Tests]
```python
assert the_function(arguments) == the_result
```

Rules for the tests: between 5 and 10 lines, each one `assert` that calls the function with literal arguments and
compares the result with a literal. Cover ordinary inputs, edge cases, and inputs that a careless solution would get
wrong. No imports, no helpers, no random numbers, no reading of files."""

SOLUTION_FORMAT = """
[Solution]
A sentence or two on the idea, then the whole program:
```python
def the_function(...):
    ...
```
"""

_SELF_INSTRUCT = """You write exercises for a Python course. Here are {shown} exercises that the course already has:

{examples}

Write {asked} new exercises. Each must

1. be solved by one Python function, whose name, parameters and result the instruction states exactly;
2. need nothing but the standard library: no network, no files, no pictures, no input from a person, no randomness;
3. be different from the ones above and from each other in subject and in technique: vary between text, numbers, lists,
   dictionaries, recursion, dates, parsing, matrices, graphs, simulation, data cleaning;
4. be understandable by itself, in two to eight sentences, without naming a website or a course.

Use exactly this form for each, with nothing before, between or after:

### Task N

[Instruction]
What is to be written.
{answer_format}"""

_OSS_INSTRUCT = """Below is a piece of code from an open-source project. Let it inspire a good programming
problem. Take an idea, a data structure or a domain from it; do not ask about the piece itself, and do not mention it.

Code:
```
{snippet}
```

Write the problem and its solution in exactly this form, with nothing before or after:

[Problem]
A complete, self-contained description: everything that is needed to solve it, with the exact name, parameters and
result of the one Python function to write. Only the standard library is used; no network, files, input or randomness.
{answer_format}"""

_EVOLVE = """Rewrite a programming task into a new version of it.

How: {how}

The new version must still be solved by one Python function, state its name, parameters and result exactly, be
understandable by itself, need nothing but the standard library, and be at most {longer} words longer than the old one.
Reply with the new task only: no title, no solution, no remark about the rewriting.

The task:
{instruction}"""

_BREADTH = """Here is a programming task:
{instruction}

Invent a different one from the same field that people ask for more rarely, of about the same length and difficulty. It
must be solved by one Python function, state its name, parameters and result exactly, be understandable by itself, and
need nothing but the standard library. Reply with the new task only: no title, no solution, no remark."""

_ANSWER = """Solve this programming task in Python.

{instruction}

Reply in exactly this form, with nothing before or after:
{answer_format}"""


def _with(name: str, text: str, *, tests: bool) -> Template:
    """The template with the sections that an answer is to have."""
    form = SOLUTION_FORMAT + (TESTS_FORMAT if tests else "")
    return Template(name, text.replace("{answer_format}", form.replace("{", "{{").replace("}", "}}")))


def self_instruct(*, tests: bool) -> Template:
    """Fields: shown, examples, asked."""
    return _with("self-instruct", _SELF_INSTRUCT, tests=tests)


def oss_instruct(*, tests: bool) -> Template:
    """Field: snippet."""
    return _with("oss-instruct", _OSS_INSTRUCT, tests=tests)


def answer(*, tests: bool) -> Template:
    """Field: instruction."""
    return _with("answer", _ANSWER, tests=tests)


OPERATIONS = {
    "constraint": "add a requirement or a constraint to it that takes about ten more words to say.",
    "rarer": "replace a requirement that everybody meets by a more specific and less common one.",
    "steps": "if it can be solved in a step or two, make it need several steps of reasoning that build on each other.",
    "misleading code": "give a short piece of plausible but wrong code along with it, as a trap; say that it is wrong.",
    "complexity": "ask for a better time or space complexity than the obvious solution has, and name the bound.",
    "breadth": "",
}
"""The five ways of WizardCoder to evolve a task about code, and WizardLM's breadth."""
LONGER = {"misleading code": 80}


def evolve(operation: str) -> Template:
    """Field: instruction."""
    if operation == "breadth":
        return Template("evolve: breadth", _BREADTH)
    text = _EVOLVE.replace("{how}", OPERATIONS[operation]).replace("{longer}", str(LONGER.get(operation, 40)))
    return Template(f"evolve: {operation}", text)


LEAKS = ("the new version", "new task", "rewritten task", "given task", "the old one", "the task:",
         "new version of the task", "rewritten version", "the original task")  # fmt: skip
"""Words of our own prompts that a task does not hold by itself: with one of them it talks about its own making."""
