"""EvalPlus's sanitizer in our words: its own answers for a table of texts, and for many more where it is installed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import random
import time

import pytest

from codeup.benchmarks import nano
from codeup.evaluate.extract_evalplus import longest_run, sanitize
from codeup.languages import python

TABLE: dict[str, tuple[str, str]] = {
    # a text whose entry point is f, and what EvalPlus 0.3.1 makes of it
    "prose and fences go": (
        "Sure:\n```python\ndef f(x):\n    return x\n```\nDone, as asked.",
        "def f(x):\n    return x",
    ),
    "helpers that are reached stay": (
        "def f(x):\n    return g(x)\n\ndef g(x):\n    return h + x\n\nh = 1\n\ndef unused(x):\n    return x\n",
        "def f(x):\n    return g(x)\ndef g(x):\n    return h + x\nh = 1",
    ),
    "imports stay, used or not": (
        "import os\nfrom sys import path\ndef f(x):\n    return x\n",
        "import os\nfrom sys import path\ndef f(x):\n    return x",
    ),
    "calls, tests and main blocks go": (
        "def f(x):\n    return x\n\nprint(f(1))\nassert f(1) == 1\nif __name__ == '__main__':\n    f(2)\n",
        "def f(x):\n    return x",
    ),
    "a decorated entry point is lost": (
        "from functools import lru_cache\n\n@lru_cache(None)\ndef f(x):\n    return x\n",
        "from functools import lru_cache",
    ),
    "a decorated helper is lost": (
        "import functools\n@functools.cache\ndef g(x):\n    return x\n\ndef f(x):\n    return g(x)\n",
        "import functools\ndef f(x):\n    return g(x)",
    ),
    "a helper that only yields is lost": (
        "def g(x):\n    yield x\n\ndef f(x):\n    return list(g(x))\n",
        "def f(x):\n    return list(g(x))",
    ),
    "a helper that only prints is lost": (
        "def g(x):\n    print(x)\n\ndef f(x):\n    g(x)\n    return x\n",
        "def f(x):\n    g(x)\n    return x",
    ),
    "an import that may fail is lost": (
        "try:\n    import numpy as np\nexcept ImportError:\n    np = None\n\ndef f(x):\n    return np\n",
        "def f(x):\n    return np",
    ),
    "a future import is lost": (
        "from __future__ import annotations\nimport os\n\ndef f(x: Later):\n    return x\n",
        "import os\ndef f(x: Later):\n    return x",
    ),
    "names bound in pairs are lost": (
        "A, B = 1, 2\n\ndef f(x):\n    return A + x\n",
        "def f(x):\n    return A + x",
    ),
    "what is added to a name is lost": (
        "A = 1\nA += 1\n\ndef f(x):\n    return A + x\n",
        "A = 1\ndef f(x):\n    return A + x",
    ),
    "a loop that fills a table is lost": (
        "T = []\nfor i in range(9):\n    T.append(i)\n\ndef f(x):\n    return T[x]\n",
        "T = []\ndef f(x):\n    return T[x]",
    ),
    "a recursion limit is lost": (
        "import sys\nsys.setrecursionlimit(10**6)\n\ndef f(x):\n    return x\n",
        "import sys\ndef f(x):\n    return x",
    ),
    "a corrected second version is lost": (
        "def f(x):\n    return 0\n\ndef f(x):\n    return x\n",
        "def f(x):\n    return 0",
    ),
    "a second version wins where the first has no return": (
        "def f(x):\n    pass\n\ndef f(x):\n    return x\n",
        "def f(x):\n    return x",
    ),
    "a later assignment of the same name is lost": (
        "f: int = 3\nf = 4\n",
        "f: int = 3",
    ),
    "a class is kept with all in it": (
        "class A:\n    x = 1\n    def m(self):\n        pass\n\ndef f(x):\n    return A()\n",
        "class A:\n    x = 1\n    def m(self):\n        pass\ndef f(x):\n    return A()",
    ),
    "an async entry point stays": (
        "async def f(x):\n    return x\n",
        "async def f(x):\n    return x",
    ),
    "a return in an inner function counts": (
        "def f(x):\n    def g():\n        return 1\n    g()\n",
        "def f(x):\n    def g():\n        return 1\n    g()",
    ),
    "a lambda stays": (
        "f = lambda x: g(x)\ng = abs\n",
        "f = lambda x: g(x)\ng = abs",
    ),
    "names in an f-string are reached": (
        "def f(x):\n    return f'{g(x):{w}}'\n\ndef g(x):\n    return x\n\nw = 3\n",
        "def f(x):\n    return f'{g(x):{w}}'\ndef g(x):\n    return x\nw = 3",
    ),
    "attributes and arguments are reached": (
        "def f(x):\n    return x.g(w=1)\n\ng = 1\nw = 2\n",
        "def f(x):\n    return x.g(w=1)\ng = 1\nw = 2",
    ),
    "a pair bound to a name goes under that name": (
        "a, b = c\nc = 1\ndef f():\n    return c\n",
        "a, b = c\ndef f():\n    return c",
    ),
    "an item bound to a name goes under that name": (
        "t = {}\nt[0] = c\n\ndef f():\n    return t, c\n",
        "t = {}\nt[0] = c\ndef f():\n    return t, c",
    ),
    "a chain goes under its first name": (
        "x = y = z\ndef f():\n    return x, y\n",
        "x = y = z\ndef f():\n    return x, y",
    ),
    "bracketed targets have no name": (
        "(a) = 1\ndef f():\n    return a\n",
        "def f():\n    return a",
    ),
    "statements on one line are apart": (
        "import os; x = 1; y = x\ndef f():\n    return y\n",
        "import os\nx = 1\ny = x\ndef f():\n    return y",
    ),
    "one line": (
        "def f(x): return x",
        "def f(x): return x",
    ),
    "one line that is not code": (
        "I cannot help with that.",
        "I cannot help with that.",
    ),
    "one indented line": (
        "    import math\n    return math.pi\n",
        "import math",
    ),
    "nothing": (
        "",
        "",
    ),
    "only blank lines": (
        "\n\n",
        "",
    ),
    "the longest run wins": (
        "import os\nx = 1\n\nThen the rest:\ndef f(x):\n    return x\n",
        "import os",
    ),
    "the first of two equal runs wins": (
        "a = 1\nb = 2\nHere it is:\nc = 3\nf = 4\n",
        "a = 1\nb = 2",
    ),
    "prose that happens to parse": (
        "Yes\nNo\nMaybe\nthen: not\n",
        "Yes\nNo\nMaybe",
    ),
    "another name only": (
        "def solve(x):\n    return x\n",
        "def solve(x):\n    return x",
    ),
    "a body without its def": (
        "    y = 1\n    return y\n",
        "    y = 1",
    ),
    "a body in prose": (
        "Do this:\n    y = 1\n    return y\nDone, as asked.\n",
        "Do this:",
    ),
    "code cut in the middle": (
        "import os\n\ndef g(x):\n    return x\n\ndef f(x):\n    return (x +",
        "import os",
    ),
    "tabs and names that are not ASCII": (
        "ß = 'é'\ndef f(x):\n\treturn ß\n",
        "ß = 'é'\ndef f(x):\n\treturn ß",
    ),
    "Windows line ends": (
        "Text here:\r\ndef f(x):\r\n    y = x\r\n    return y\r\n",
        "def f(x):\r\n    y = x\r\n    return y",
    ),
    "global statements and match": (
        "def f(x):\n    match x:\n        case K(a=1):\n            return q\nclass K:\n    a = 1\nq = 1\n",
        "def f(x):\n    match x:\n        case K(a=1):\n            return q\nclass K:\n    a = 1\nq = 1",
    ),
    "only comments": (
        "# a\n# b\n",
        "# a\n# b",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_text_becomes_what_evalplus_makes_of_it(name: str) -> None:
    text, expected = TABLE[name]
    assert sanitize(text, "f").text == expected


LINES = [
    "def f(x):", "    return x", "    if x:", "        y = x", "class A:", "    def m(self):", "x = (", ")", "y = [1,",
    "]", '"""', "'''", "try:", "except ValueError:", "else:", "@cache", "f'{a b}'", "f'''{", "}'''", "text = 'abc",
    "Here is the code:", "```python", "```", "", "", "1. First", "x \\", "    ", "\t\treturn", "print x", "# note",
    "'\\N{no}'", "a = 1; b = 2",
]  # fmt: skip


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts spliced of lines of code, half statements and prose."""
    rng = random.Random(seed)
    return ["\n".join(rng.choices(LINES, k=rng.randint(1, 24))) for _ in range(count)]


def slow_longest_run(text: str) -> str:
    """Every pair of lines tried, by definition."""
    lines, best, found = text.split("\n"), 0, (0, 0)
    for start in range(len(lines)):
        for end in range(start + 1, len(lines)):
            run = lines[start : end + 1]
            size = sum(bool(line.strip()) for line in run)
            if size > best and python.parse("\n".join(run)) is not None:
                best, found = size, (start, end)
    return "\n".join(lines[found[0] : found[1] + 1])


def test_the_fast_search_finds_the_same_run_as_trying_all() -> None:
    for text in texts(250):
        assert longest_run(text).text == slow_longest_run(text), text


@pytest.mark.parametrize(
    "text",
    [
        "(\n" * 3000,
        "x = (1,\n" * 2000,
        "prose is here\n" * 4000,
        "'''\n" * 999,
        "if x:\n" * 2000,
        "f(\n)\nno no\n" * 900,
    ],
    ids=["parentheses", "calls", "prose", "quotes", "ifs", "short runs"],
)
def test_hostile_text_ends_within_the_bound(text: str) -> None:
    started = time.process_time()
    sanitize(text, "f")
    assert time.process_time() - started < 30


def test_a_search_that_was_cut_short_says_so() -> None:
    text = "no no\n" * 50 + "x = 1\ny = 2\n"
    assert not longest_run(text).limited and longest_run(text).text.startswith("x = 1")
    assert longest_run(text, budget=100).limited


def wrapped() -> list[tuple[str, str]]:
    """Reference solutions as chat models wrap them."""
    pairs = []
    for number, problem in enumerate(nano.load().problems):
        code, name = problem.prompt + problem.canonical_solution, problem.entry_point
        pairs += [
            (f"Sure! Here it is:\n```python\n{code}```\nIt works because it does.", name),
            (f"{code}\nif __name__ == '__main__':\n    print({name}(1))\n", name),
            (code[: len(code) * (number % 7 + 3) // 10], name),
            (f"from functools import lru_cache\nT, U = 1, 2\n@lru_cache\n{code}\ndef test():\n    {name}(1)\n", name),
        ]
    return pairs


@pytest.mark.skipif(importlib.util.find_spec("evalplus") is None, reason="EvalPlus is not installed")
def test_evalplus_itself_gives_the_same_programs() -> None:
    theirs = importlib.import_module("evalplus.sanitize").sanitize

    cases = wrapped() + [(text, "f") for text in texts(200, seed=1)]
    assert len(cases) >= 400
    for text, name in cases:
        try:
            expected = theirs(text, name)
        except (ValueError, UnicodeError):  # it stops at what its parser cannot take
            continue
        got = sanitize(text, name).text
        assert got == expected or tree(got) == tree(expected), text


def tree(code: str) -> str:
    """The program without its comments."""
    parsed = python.parse(code)
    return code if parsed is None else ast.dump(parsed)
