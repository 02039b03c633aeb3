"""Whether code parses: Python with `ast`, eleven more languages with tree-sitter, each by its own small grammar.

    parses("python", "def f(x):\\n    return x")   True          parses("go", "func f( {")   False
    parses("cobol", "...")                          None: no grammar, nothing is said

A grammar accepts what its authors wrote down; a program that parses may still be wrong. Console sessions (`>>> x`) are
read by their input lines. Grammars other than Python's come with the extra `code`, one wheel each; nothing is fetched
when they are used. Nothing is compiled or run here.
"""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any

from codeup.data.code import parse
from codeup.errors import UserError, installs

# language: (module, the function in it that gives the grammar)
GRAMMARS = {
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "java": ("tree_sitter_java", "language"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "ruby": ("tree_sitter_ruby", "language"),
    "bash": ("tree_sitter_bash", "language"),
}
LANGUAGES = ("python", *GRAMMARS)
_PROMPTED = re.compile(r"^(?:>>>|\.\.\.) ?", re.MULTILINE)


def parses(language: str, code: str) -> bool | None:
    """Whether the whole of it is of the language's form; None for a language that there is no grammar of.

    Raises UserError where the grammar is not installed.
    """
    if language == "python":
        return _python(code)
    if language not in GRAMMARS:
        return None
    if language == "php" and "<?" not in code:
        code = f"<?php\n{code}"
    tree = parser(language).parse(code.encode("utf-8", "replace"))
    return not tree.root_node.has_error


def check_installed(languages: list[str]) -> None:
    """Raise UserError for a language without a grammar, or whose grammar is not installed."""
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        raise UserError(f"there is no grammar of {', '.join(unknown)}", mend=f"one of: {', '.join(LANGUAGES)}")
    for language in languages:
        if language != "python":
            parser(language)


def _python(code: str) -> bool:
    if parse(code) is not None:
        return True
    if code.lstrip().startswith(">>>"):
        lines = [line for line in code.splitlines() if _PROMPTED.match(line.lstrip())]
        return parse("\n".join(_PROMPTED.sub("", line.lstrip()) for line in lines)) is not None
    return False


@functools.cache
def parser(language: str) -> Any:
    module, function = GRAMMARS[language]
    try:
        tree_sitter = importlib.import_module("tree_sitter")
        grammar = getattr(importlib.import_module(module), function)()
    except ImportError:
        package = module.replace("_", "-")
        raise UserError(f"the grammar of {language} is not installed ({package})", mend=installs("code")) from None
    return tree_sitter.Parser(tree_sitter.Language(grammar))
