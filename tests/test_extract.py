"""From a chat answer to a program: every rule, on answers as models write them."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from codeup.evaluate import extract as extraction
from codeup.evaluate.extract import CAN_PASS, RULES, blocks, extract
from codeup.languages import python

GOOD = "def f(x):\n    return x + 1"


def answer(text: str) -> str:
    return dedent(text).strip("\n")


def same(code: str) -> tuple[str, str, str]:
    """A block whose code is taken as it is."""
    return f"```python\n{code}\n```", "fence", code


CASES: dict[str, tuple[str, str, str | None]] = {
    # what the model wrote, the rule, and the code (None: whatever the answer's code is)
    "a tagged block": (f"```python\n{GOOD}\n```", "fence", GOOD),
    "text around it": (f"Sure! Here it is:\n\n```python\n{GOOD}\n```\n\nIt adds one.", "fence", GOOD),
    "an untagged block": (f"```\n{GOOD}\n```", "fence", GOOD),
    "other spellings of the tag": (f"```Py\n{GOOD}\n```", "fence", GOOD),
    "attributes after the tag": (f'```python title="a.py"\n{GOOD}\n```', "fence", GOOD),
    "braces around the tag": (f"```{{.python}}\n{GOOD}\n```", "fence", GOOD),
    "tildes": (f"~~~python\n{GOOD}\n~~~", "fence", GOOD),
    "Windows line ends": (f"```python\r\n{GOOD}\r\n```".replace("\n", "\r\n").replace("\r\r", "\r"), "fence", GOOD),
    "an example call in a later block": (
        f"```python\n{GOOD}\n```\nUse it:\n```python\nprint(f(1))\n```", "fence", GOOD),
    "installing first": (f"```bash\npip install doctest\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "installing last": (f"```python\n{GOOD}\n```\nThen run\n```\npip install doctest\n```", "fence", GOOD),
    "the tagged block wins over an untagged one": (f"```\ndef f(x): ...\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "two versions: the first that has a body": (
        f"```python\n{GOOD}\n```\nOr shorter:\n```python\ndef f(x): return 1 + x\n```", "fence", GOOD),
    "the signature repeated, then the solution": (
        f"The task:\n```python\ndef f(x):\n    '''Add one.'''\n```\nSolution:\n```python\n{GOOD}\n```", "fence", GOOD),
    "a broken attempt, then a working one": (f"```python\ndef f(x:\n```\nOops.\n```python\n{GOOD}\n```", "fence", GOOD),
    "a helper shown first": (
        "```python\ndef g(x):\n    return x\n```\nthen\n```python\ndef f(x):\n    return g(x)\n```",
        "fence+earlier", "def g(x):\n    return x\n\ndef f(x):\n    return g(x)"),
    "an unrelated block first is left out": (f"```python\ndef g(x): pass\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "a block that is never closed": (f"```python\n{GOOD}", "fence-unclosed", GOOD),
    "a block never closed, then prose": (f"```python\n{GOOD}\n\nThis adds one.", "fence-unclosed", GOOD + "\n"),
    "a block in a list": (
        "1. Write:\n   ```python\n   def f(x):\n       return x + 1\n   ```", "fence", GOOD),
    "a block indented as a whole": ("```python\n    def f(x):\n        return x + 1\n```", "fence-dedented", GOOD),
    "a longer fence around a shorter one": (f"````python\n{GOOD}\n# ```\n````", "fence", GOOD + "\n# ```"),
    "a method of the same name is not the function": (
        "```python\nclass A:\n    def f(self): return 1\n```", "other-name", None),
    "an assignment defines it": same("f = lambda x: x + 1"),
    "a definition under if": ("```python\nif True:\n    def f(x): return x\n```", "fence", None),
    "no fence at all": (GOOD, "bare", GOOD),
    "no fence, prose before": (f"Here is the function:\n\n{GOOD}", "bare", GOOD),
    "no fence, prose after": (f"{GOOD}\n\nThis function adds one.", "bare", GOOD + "\n"),
    "no fence, imports kept": (f"Answer:\nimport math\n{GOOD}", "bare", f"import math\n{GOOD}"),
    "no fence, a decorator kept": (f"Answer:\n@cache\n{GOOD}", "bare", f"@cache\n{GOOD}"),
    "no fence, a stray space before the first line": (
        " def f(x):\n    return 1\n\nx = 2", "bare-dedented", "def f(x):\n    return 1\n\nx = 2"),
    "no fence, indented as a whole": ("    def f(x):\n        return x + 1", "bare-dedented", GOOD),
    "thinking, then an answer": (f"<think>maybe ```python\nnope\n```</think>\n```python\n{GOOD}\n```", "fence", GOOD),
    "thinking whose start was in the prompt": (f"I should add.\n</think>\n```python\n{GOOD}\n```", "fence", GOOD),
    "thinking that never ends": ("<think>Let me see. ```python\n" + GOOD, "unfinished-thinking", ""),
    "only the signature": ("```python\ndef f(x):\n    '''Add one.'''\n```", "stub", None),
    "only the signature, no fence": ("def f(x):\n    pass", "stub", None),
    "another name": ("```python\ndef add_one(x):\n    return x + 1\n```", "other-name", None),
    "another name, no fence": ("def add_one(x):\n    return x + 1", "other-name", None),
    "a call only": ("```python\nprint(f('Hello'))\n```", "other-name", None),
    "code cut in the middle": ("```python\ndef f(x):\n    return (x +", "broken", None),
    "a body without its def": ("```python\n    y = x + 1\n    return y\n```", "body-only", None),
    "a body without its def, no fence": ("    return x + 1", "body-only", None),
    "only prose": ("I cannot help with that.", "no-code", ""),
    "nothing": ("", "empty", ""),
    "white space": (" \n\t\n", "empty", ""),
    "an empty block": ("```python\n```", "no-code", None),
    # programs as models write them: kept as they are
    "a decorated entry point": same(f"from functools import lru_cache\n\n@lru_cache(None)\n{GOOD}"),
    "a helper before": same(f"def g(x):\n    return x\n\n{GOOD}"),
    "a helper after": same("def f(x):\n    return g(x)\n\ndef g(x):\n    return x"),
    "a class with methods": same(f"class A:\n    def m(self):\n        return 1\n\n{GOOD}"),
    "a helper that only yields": same("def g(x):\n    yield x\n\ndef f(x):\n    return list(g(x))"),
    "an entry point that only yields": same("def f(x):\n    yield x"),
    "an import that may fail": same(f"try:\n    import numpy\nexcept ImportError:\n    numpy = None\n{GOOD}"),
    "a definition under try": (
        "```python\ntry:\n    from m import f\nexcept ImportError:\n    def f(x): return x\n```", "fence",
        None),
    "a future import": same(f"from __future__ import annotations\n{GOOD}"),
    "names bound in pairs": same(f"A, B = 1, 2\n{GOOD}"),
    "a name that is added to": same(f"A = 1\nA += 1\n{GOOD}"),
    "a loop that fills a table": same(f"T = []\nfor i in range(9):\n    T.append(i)\n{GOOD}"),
    "a recursion limit": same(f"import sys\nsys.setrecursionlimit(10**6)\n{GOOD}"),
    "a corrected version in the same block": same(f"def f(x):\n    return x\n\n{GOOD}"),
    "an example call in the same block": same(f"{GOOD}\n\nprint(f(1))"),
    "tests in the same block": same(f"{GOOD}\n\nassert f(1) == 2"),
    "tests in the next block": (f"```python\n{GOOD}\n```\nTests:\n```python\nassert f(1) == 2\n```", "fence", GOOD),
    "tests in the block before": (f"```python\nassert f(1) == 2\n```\nthen\n```python\n{GOOD}\n```", "fence", GOOD),
    "a program that reads input": same(f"{GOOD}\n\nn = int(input())\nprint(f(n))"),
    "a main block": same(f"{GOOD}\n\nif __name__ == '__main__':\n    print(f(1))"),
    "several functions, the entry point in the middle": same("def a(): pass\ndef f(x): return 1\ndef b(): pass"),
    "an async entry point": same("async def f(x):\n    return x"),
    "a class is the entry point": ("```python\nclass f:\n    def __init__(self, x): self.x = x\n```", "fence", None),
    "bound with another name": same("def solve(x):\n    return x\n\nf = solve"),
    "names that are not ASCII": (
        "Voilà :\n```python\ndef f(größe):\n    return größe + 'é – 中'\n```", "fence",
        "def f(größe):\n    return größe + 'é – 中'"),
    "tabs": same("def f(x):\n\tif x:\n\t\treturn 1\n\treturn 2"),
    "old Mac line ends": (f"```python\n{GOOD}\n```".replace("\n", "\r"), "fence", GOOD),
    "a byte-order mark": (f"\ufeff```python\n{GOOD}\n```", "fence", GOOD),
    "no-break spaces as indentation": (f"```python\n{GOOD}\n```".replace("    ", "\xa0" * 4), "fence-dedented", GOOD),
    "no-break spaces in a text stay": same("def f(x):\n    return '\xa0'"),
    # fences in odd places
    "a fence inside a docstring": (
        "```python\ndef f(x):\n    '''Add.\n\n    ```\n    f(1)\n    ```\n    '''\n    return x\n```", "fence",
        "def f(x):\n    '''Add.\n\n    ```\n    f(1)\n    ```\n    '''\n    return x"),
    "a fence at the margin of a docstring": (
        "```python\ndef f(x):\n    '''Add.\n```\nf(1)\n```\n    '''\n    return x\n```\nDone.", "fence-nested",
        "def f(x):\n    '''Add.\n```\nf(1)\n```\n    '''\n    return x"),
    "a fence behind text": (f"Here it is: ```python\n{GOOD}\n```", "fence-inline", GOOD),
    "a fence closed behind code": (f"```python\n{GOOD}```\nThis adds one.", "fence-inline", GOOD),
    "a fence closed far to the right": (f"```python\n{GOOD}\n        ```\nThis adds one.", "fence-inline", GOOD),
    "a block in a bulleted list, closed at the margin": (
        "* Write\n  ```python\n  def f(x):\n      return x + 1\n```", "fence",
        GOOD),
    "a block in a list, indented by a tab": (
        "1. Write:\n\t```python\n\tdef f(x):\n\t\treturn x + 1\n\t```", "fence",
        "def f(x):\n\treturn x + 1"),
    "tildes around backquotes": (f"~~~\n{GOOD}\n# ```\n~~~", "fence", f"{GOOD}\n# ```"),
    "two blocks never closed": (f"```python\n{GOOD}\n\n```python\nprint(f(1))", "fence-unclosed", GOOD + "\n"),
    "a block never closed, cut in a second function": (
        f"```python\n{GOOD}\n\ndef g(x):\n    return (x +", "fence-unclosed",
        GOOD + "\n"),
    "an empty block first": (f"```python\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "a block tagged as text": (f"```text\n{GOOD}\n```", "bare", GOOD),
    "not implemented, then the solution": (
        f"```python\ndef f(x):\n    raise NotImplementedError\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "an async stub, then the solution": (f"```python\nasync def f(x): ...\n```\n```python\n{GOOD}\n```", "fence", GOOD),
    "a helper table filled in a loop, shown first": (
        "```python\nfor T in [[1]]: pass\n```\n```python\ndef f(x):\n    return T\n```", "fence+earlier",
        "for T in [[1]]: pass\n\ndef f(x):\n    return T"),
    # thinking
    "thinking under another name": (
        f"<thinking>\n```python\ndef f(x): return 0\n```\n</thinking>\n{GOOD}", "bare",
        f"\n{GOOD}"),
    "thinking twice": (f"<think>a</think><think>b</think>```python\n{GOOD}\n```", "fence", GOOD),
    "thinking under another name that never ends": (f"<thinking>\n```python\n{GOOD}\n```", "unfinished-thinking", ""),
    "channels": (
        f"<|channel|>analysis<|message|>def f(x): return 0<|end|><|start|>assistant<|channel|>final<|message|>"
        f"```python\n{GOOD}\n```", "fence", GOOD),
    "a channel that never comes to the answer": (f"<|channel|>analysis<|message|>{GOOD}", "unfinished-thinking", ""),
    # nothing that can pass
    "another language": ("```javascript\nfunction f(x) { return x + 1; }\n```", "other-language", ""),
    "another language, then ours": (
        f"```java\nint f(int x) {{ return x; }}\n```\n```python\n{GOOD}\n```", "fence",
        GOOD),
    "not implemented": ("```python\ndef f(x):\n    raise NotImplementedError('todo')\n```", "stub", None),
    "only a shell command": ("```bash\npip install f\n```", "other-language", ""),
    "a body without its def, decorated by prose": (
        "Fill in:\n\n```python\n    return x + 1\n```\nDone", "body-only",
        None),
    "prose that says def": ("I would def f(x) here, but I will not.", "no-code", ""),
    "an entry point that is only imported in a comment": ("```python\n# def f(x): return x\n```", "other-name", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_answer_is_read_by_its_rule(name: str) -> None:
    raw, rule, code = CASES[name]
    found = extract(raw, "f", python)
    assert found.rule == rule, found
    if code is not None:
        assert found.code.rstrip("\n") == code.rstrip("\n")
    assert rule in RULES


def test_a_program_that_can_pass_defines_the_function_and_parses() -> None:
    for raw, rule, _ in CASES.values():
        if rule.startswith(("fence", "bare")):
            tree = python.parse(extract(raw, "f", python).code)
            assert tree is not None and "f" in python.defined(tree)


@pytest.mark.parametrize(
    "text", ["```" * 2000, "`" * 5000, "def f(" * 2000, "(" * 20000, "\x00```python\ndef f(): pass\n"]
)
def test_hostile_text_is_read_without_an_exception(text: str) -> None:
    extract(text, "f", python)


@pytest.mark.parametrize(
    "unit",
    [
        "import g\n",
        "class g:\n  pass\n",
        "```\n",
        "```python\nf = 1\n```\n",
        "````python\n```\n",
        "~~~\n",
        "def f(:\n(",
    ],
)
def test_the_effort_for_a_hostile_answer_is_bounded(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = unit * (131_072 // len(unit)) + "f"
    language, closings, closes = Counting(), list[str](), extraction._closes

    def counted(line: str, *rest: Any, **more: Any) -> bool:
        closings.append(line)
        return closes(line, *rest, **more)

    monkeypatch.setattr(extraction, "_closes", counted)
    extract(text, "f", language)
    assert sum(language.read) < 4_300_000 and len(language.read) < 3_000
    assert len(closings) < 1_500_000  # 45,000 lines, read twice, and 100 openings with each of 8,192 later fences


class Counting:
    """Python's room; `read` holds how many characters each parse was given."""

    def __init__(self) -> None:
        self.read = list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(python, name)

    def parse(self, code: str) -> Any:
        self.read.append(len(code))
        return python.parse(code)

    def broken_from(self, code: str) -> int:
        self.read.append(len(code))
        return python.broken_from(code)


def test_a_fence_is_closed_only_by_its_own_kind() -> None:
    assert [(b.word, b.text, b.closed) for b in blocks("~~~py\n```\nx\n~~~\n```\ny")] == [
        ("py", "```\nx", True),
        ("", "y", False),
    ]


PROMPT = 'from typing import List\n\n\ndef poly(x):\n    return x\n\n\ndef f(xs: List[int]):\n    """Doc."""\n'


def test_a_chat_program_gets_the_imports_and_helpers_of_its_prompt() -> None:
    program = python.assemble(PROMPT, "f", "def f(xs: List[int]):\n    return poly(xs)\n")
    assert program.startswith("from typing import List\n") and "def poly" in program and "Doc." not in program


def test_the_answers_own_definitions_come_last_and_win() -> None:
    program = python.assemble(PROMPT, "f", "def poly(x):\n    return 7\n\ndef f(xs):\n    return poly(xs)\n")
    namespace: dict[str, object] = {}
    exec(program, namespace)  # our own text
    assert namespace["f"](1) == 7  # type: ignore[operator]


def test_a_future_import_stays_first() -> None:
    code = "# mine\nfrom __future__ import annotations\ndef f(xs): return poly(xs)\n"
    program = python.assemble(PROMPT, "f", code)
    assert program.startswith("# mine\nfrom __future__ import annotations\nfrom typing import List\n")
    namespace: dict[str, object] = {}
    exec(program, namespace)  # our own text
    assert namespace["f"](7) == 7  # type: ignore[operator]


@pytest.mark.parametrize("text", ["```python\n" * 20_000, "\\\n" * 60_000, "def f(x):\n" * 11_000, "```\nx\n" * 8_000])
def test_an_answer_without_end_is_read_with_bounded_effort(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    read: list[int] = []

    def counted(function: Callable[[str], object]) -> Callable[[str], object]:
        def reading(code: str) -> object:
            read.append(len(code))
            return function(code)

        return reading

    for name in ("parse", "broken_from"):
        monkeypatch.setattr(python, name, counted(getattr(python, name)))
    assert not extract(text, "f", python).rule.startswith(CAN_PASS)
    assert sum(read) < 25_000_000


def test_an_expression_deeper_than_the_stack_is_read() -> None:
    deep = "x = " + "1 + " * 1_500 + "1\n"
    assert extract(f"```python\n{deep}{GOOD}\n```", "f", python).rule == "fence"
    tree = python.parse(deep + "if x:\n    y = (z := 1)\n")
    assert tree is not None
    assert python.defined(tree) == {"x", "y", "z"}
