"""The code in a chat answer where a piece of code is asked for, not a program: the first block, as it stands.

```python                  blocks labelled with the language, else unlabelled ones; the first that is not empty,
    result = df.iloc[0]    with its indentation                                       rule "fence"
```                        none: the text, cut as the benchmark cuts a completion     rule "bare"
"""

from __future__ import annotations

from types import ModuleType

from codeup.evaluate.extract import Extracted, blocks, without_thinking
from codeup.types import Problem


def extract(raw: str, problem: Problem, benchmark: ModuleType, language: ModuleType) -> Extracted:
    """The code in an answer, and the rule that found it."""
    text, rule = without_thinking(raw.replace("\r\n", "\n").lstrip("\ufeff"))
    if not text.strip():
        return Extracted("", rule or "empty")
    found = [block for block in blocks(text) if block.text.strip()]
    ours = [block for block in found if block.word in language.FENCES] or [b for b in found if not b.word]
    if ours:
        return Extracted(ours[0].text, "fence" if ours[0].closed else "fence-unclosed")
    return Extracted("", "other-language") if found else Extracted(_cut(text, problem, benchmark), "bare")


def _cut(text: str, problem: Problem, benchmark: ModuleType) -> str:
    """What stands between <code> and </code>, or the text up to where the benchmark's completions end."""
    _, tag, behind = text.partition("<code>")
    return str(benchmark.program_from_completion(problem, behind if tag else text))
