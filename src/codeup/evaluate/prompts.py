"""Prompt styles: how a problem is put to a model, in our own way or as a published tool puts it.

    style         base form                              chat form
    default       what the benchmark's file says         what the benchmark's file says
    codeup-2024   the prompt stripped; of a docstring    the task in words, the answer begun with ```python
                  its bare text
    evalplus      the prompt stripped, and a newline     "Please provide ...", the answer begun with a sentence

A question is text, the beginning of the answer (prefill) and stop strings; it becomes token ids in generate.py, through
the one renderer. The exact texts are in docs/evaluation.md. Two shapes of problem are told apart by looking: a prompt
that is one docstring (MBPP+: a sentence and an assertion), and one that is code to continue (HumanEval).
Not reproduced: the second BOS that both tools put before Llama-3's prompts, and EvalPlus's budget of 768 tokens and the
study's of 1024, which are settings (`--max-new-tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from codeup.errors import UserError
from codeup.types import Problem

Form = Literal["base", "chat"]
STYLES = ("default", "codeup-2024", "evalplus")

# evalplus/provider/utility.py, version 0.3.1
EVALPLUS_ALWAYS = ("<|endoftext|>", "<|endofmask|>", "</s>", "\nif __name__", "\ndef main(", "\nprint(")
EVALPLUS_CODE = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
EVALPLUS_DOCSTRING = ('\n"""', "\nassert")
EVALPLUS_ASKS = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
EVALPLUS_BEGINS = (
    "Below is a Python script with a self-contained function that solves the problem and passes corresponding tests:"
)
# evaluation/text2code_vllm.py of the study: EvalPlus's stops for HumanEval and one more, whatever the benchmark.
STUDY_BASE = (*EVALPLUS_ALWAYS, *EVALPLUS_CODE, "\n# ")
FENCE_ENDS = ("\n```\n",)


@dataclass(frozen=True, slots=True)
class Question:
    """The text that is asked (code to continue, or the user's turn) and the text the answer is begun with.

    `suffix` is the code after a gap, where the answer belongs between both; None elsewhere.
    """

    text: str
    prefill: str = ""
    suffix: str | None = None


def ask(style: str, benchmark: ModuleType, problem: Problem, form: Form) -> Question:
    """How a style puts a problem. Raises UserError for an unknown style, and for gaps in any but the default."""
    check_style(style)
    if "suffix" in problem.extra:
        if style != "default":
            raise UserError(f"gaps to fill are not asked in the prompt style {style!r}", mend="use the style default")
        if form == "base":
            return Question(str(benchmark.base_prompt(problem)), suffix=str(problem.extra["suffix"]))
    prompt = problem.prompt.strip()
    if style != "default" and not prompt:
        raise UserError(f"these problems are not asked in the prompt style {style!r}", mend="use the style default")
    if style == "default":
        return Question(str(benchmark.base_prompt(problem) if form == "base" else benchmark.chat_instruction(problem)))
    if style == "evalplus":
        if form == "base":
            return Question(prompt + "\n")
        return Question(f"{EVALPLUS_ASKS}\n```\n{prompt}\n```\n", f"{EVALPLUS_BEGINS}\n```python\n")
    inner = _docstring(problem)
    if form == "base":
        return Question(prompt if inner is None else inner)
    if inner is None:
        return Question(f"Write a Python function to solve the following task:\n```python\n{prompt}\n```", "```python")
    sentence, _, assertion = inner.partition("assert")
    words = sentence.strip() if sentence.strip().endswith(".") else sentence.strip() + "."
    return Question(f"{words}\n\n```python\nassert{assertion}\n```", "```python")


def stops(style: str, benchmark: ModuleType | None, problems: Sequence[Problem], form: Form) -> tuple[str, ...]:
    """The stop strings of a style for a benchmark, whose problems are all of one shape."""
    check_style(style)
    if style == "default":
        return tuple(benchmark.BASE_STOPS) if form == "base" and benchmark is not None else ()
    if style == "codeup-2024":
        return STUDY_BASE if form == "base" else FENCE_ENDS
    more = EVALPLUS_DOCSTRING if problems and _docstring(problems[0]) is not None else EVALPLUS_CODE
    return (*EVALPLUS_ALWAYS, *(more if form == "base" else FENCE_ENDS))


def _docstring(problem: Problem) -> str | None:
    """The text of a prompt that is nothing but one docstring with an assertion in it, else None."""
    prompt = problem.prompt.strip()
    whole = len(prompt) > 6 and prompt.startswith('"""') and prompt.endswith('"""') and prompt.count('"""') == 2
    return prompt[3:-3].strip() if whole and "assert" in prompt else None


def check_style(style: str) -> None:
    """Raise UserError for a style that does not exist."""
    if style not in STYLES:
        raise UserError(f"no prompt style is named {style!r}", mend=f"use one of {', '.join(STYLES)}")
