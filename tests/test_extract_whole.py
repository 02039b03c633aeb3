"""The program of a chat answer in languages that we have no parser for."""

from __future__ import annotations

import pytest

from codeup import plugins
from codeup.evaluate.extract_whole import extract

GOOD = "class Solution {\n    int addOne(int x) { return x + 1; }\n}"
CALL = "System.out.println(42);"
PYTHON = "def addOne(x):\n    return x + 1"

ANSWERS = {
    "a block": (f"Here:\n```java\n{GOOD}\n```\nIt adds one.", "fence", GOOD),
    "a block without a label": (f"```\n{GOOD}\n```", "fence", GOOD),
    "the block that names the function": (f"```java\n{CALL}\n```\n```java\n{GOOD}\n```", "fence", GOOD),
    "a label before none": (f"```\n{GOOD.replace('1', '2')}\n```\n```java\n{GOOD}\n```", "fence", GOOD),
    "a block that is not closed": (f"```java\n{GOOD}", "fence-unclosed", GOOD),
    "a fence closed behind code": (f"```java\n{GOOD}```\nIt adds one.", "fence-inline", GOOD),
    "a fence behind text": (f"Here it is: ```java\n{GOOD}\n```", "fence-inline", GOOD),
    "no block names the function": (f"```java\n{CALL}\n```", "other-name", CALL),
    "a block of another language": (f"```python\n{PYTHON}\n```", "other-language", ""),
    "a text without blocks": (GOOD, "bare", GOOD),
    "words": ("I cannot do that.", "no-code", ""),
    "an empty block": ("```java\n```", "no-code", ""),
    "nothing": (" \n", "empty", ""),
    "a thought before": (f"<think>```java\n{CALL}\n```</think>\n```java\n{GOOD}\n```", "fence", GOOD),
    "lines that end as on Windows": (f"```java\n{GOOD}\n```".replace("\n", "\r\n"), "fence", GOOD),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_the_program_of_an_answer_is_found(case: str) -> None:
    raw, rule, code = ANSWERS[case]
    found = extract(raw, "addOne", plugins.load("languages", "java"))
    assert (found.rule, found.code) == (rule, code)
