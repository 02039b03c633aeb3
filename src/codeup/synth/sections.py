"""Answers cut into tasks and sections, by headings that stand outside of code.

    ### Task 1                           {"task": 1, "sections": {"instruction": "Double x.",
    [Instruction]                                                 "solution": "```python\\n# Tests\\n…```",
    Double x.                                                     "tests": "```python\\nassert f(1) == 2\\n```"}}
    [Solution]
    ```python
    # Tests                              a comment inside a fence is no heading
    def f(x): return 2 * x
    ```
    [Tests]
    …

A heading may be dressed as Markdown (`## Solution:`, `**[Solution]**`). The last task of an answer that was cut off is
told by the caller, who knows why the answer ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_DRESS = r"(?:#{1,6}[ \t]*)?(?:\*\*|__)?[ \t]*\[?[ \t]*"
_UNDRESS = r"[ \t]*\]?[ \t]*:?(?:\*\*|__)?[ \t]*:?"
_TASK = re.compile(
    rf"[ \t]{{0,3}}{_DRESS}(?:task|exercise|problem)[ \t]*(?:no\.?|#)?[ \t]*(\d{{1,3}}){_UNDRESS}[ \t]*", re.I
)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)")


@dataclass(slots=True)
class Task:
    """One numbered task: its sections by name, in lower case; text before the first heading is under ''."""

    number: int
    sections: dict[str, str] = field(default_factory=dict)


def tasks(text: str, names: Sequence[str]) -> list[Task]:
    """All numbered tasks of an answer, in order; what stands before the first one belongs to none."""
    found: list[Task] = []
    lines: list[str] = []
    for line, code in _lines(text):
        match = None if code else _TASK.fullmatch(line)
        if match:
            if found:
                found[-1].sections = sections("\n".join(lines), names)
            found.append(Task(int(match[1])))
            lines = []
        else:
            lines.append(line)
    if found:
        found[-1].sections = sections("\n".join(lines), names)
    return found


def sections(text: str, names: Sequence[str]) -> dict[str, str]:
    """The sections with these names, stripped of blank lines around them. Of two with one name the first counts."""
    heading = re.compile(rf"[ \t]{{0,3}}{_DRESS}({'|'.join(map(re.escape, names))}){_UNDRESS}[ \t]*", re.I)
    found: dict[str, list[str]] = {"": []}
    current = found[""]
    for line, code in _lines(text):
        match = None if code else heading.fullmatch(line)
        if match:
            name = match[1].lower()
            current = []
            found.setdefault(name, current)
        else:
            current.append(line)
    return {name: "\n".join(lines).strip("\n").rstrip() for name, lines in found.items()}


def fenced(text: str) -> bool:
    """Whether every fence of a text is closed."""
    inside = False
    for _, code in _lines(text):
        inside = code
    return not inside or bool(re.search(r"(?m)^[ \t]*(?:`{3,}|~{3,})[ \t]*\Z", text.rstrip()))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each is part of a fenced block (its fences included)."""
    fence = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        match = _FENCE.match(line)
        if not fence:
            fence = match[1] if match else ""
            yield line, bool(fence)
            continue
        yield line, True
        if match and match[1][0] == fence[0] and len(match[1]) >= len(fence) and not match[2].strip():
            fence = ""
