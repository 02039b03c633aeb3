"""In which language the code of an answer is written: the fence's tag, else a first line `#!`, else how it looks.

    ```js …```                     ->  javascript   (by its tag)
    #!/usr/bin/env bash …          ->  bash         (by its first line)
    def f(x):\\n    return x        ->  python       (by how it looks; an answer without a fence that is code)

Looks are a few strong signs per language, the heaviest sum wins and too little says nothing: "" is an honest answer.
Short scripts and queries inside sentences are not found; C and C++, or JavaScript and TypeScript, are told apart only
where the code shows it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeup.data.fences import Piece, blocks
from codeup.data.needles import Needles
from codeup.types import Conversation

ALIASES = {
    "py": "python", "python3": "python", "py3": "python", "python2": "python", "ipython": "python", "pycon": "python",
    "js": "javascript", "node": "javascript", "jsx": "javascript", "mjs": "javascript", "nodejs": "javascript",
    "ts": "typescript", "tsx": "typescript", "c++": "cpp", "cc": "cpp", "cxx": "cpp", "hpp": "cpp", "h": "c",
    "c#": "csharp", "cs": "csharp", "c-sharp": "csharp", "golang": "go", "rs": "rust", "rb": "ruby", "sh": "bash",
    "shell": "bash", "zsh": "bash", "console": "bash", "shell-session": "bash", "ksh": "bash", "yml": "yaml",
    "htm": "html", "xhtml": "html", "kt": "kotlin", "ps1": "powershell", "pwsh": "powershell", "objective-c": "objc",
    "postgresql": "sql", "mysql": "sql", "sqlite": "sql", "tsql": "sql", "plsql": "sql", "hs": "haskell",
    "dockerfile": "docker", "make": "makefile", "vue": "html", "rscript": "r", "pl": "perl", "scss": "css",
}  # fmt: skip
"""Other spellings of a tag; a tag that is not here is its own name."""
NOT_CODE = frozenset({"text", "txt", "plaintext", "plain", "output", "markdown", "md", "log", "none", "diff", "csv"})
SHEBANGS = (
    ("python", "python"), ("node", "javascript"), ("bash", "bash"), ("zsh", "bash"), ("sh", "bash"), ("ruby", "ruby"),
    ("perl", "perl"), ("php", "php"), ("Rscript", "r"), ("lua", "lua"), ("awk", "awk"),
)  # fmt: skip
ENOUGH = 2
"""The weight from which looks decide."""
MOST_CHARACTERS = 2000
"""How much of a block is looked at."""


def _compiled(sign: str) -> re.Pattern[str]:
    """The sign, for a text with a line break put before it: `\\n` is found far faster than `^`."""
    return re.compile(rf"\n{sign[1:]}" if sign[0] == "^" else sign.replace(r"\A", r"\A\n"), re.MULTILINE)


# (language, a text that must be in it, weight, the sign; '' where the text is sign enough).
# The text is looked for first because that is cheap.
_SIGNS = [
    ("python", "def ", 2, r"^[ \t]*(?:async )?def \w+\(.*\)(?: *->.*)?:[ \t]*(?:#.*)?$"),
    ("python", "class ", 2, r"^class \w+(?:\([\w., =]*\))?:"),
    ("python", "import ", 2, r"^(?:from [\w.]+ import [\w*(]|import [\w.]+(?: as \w+)?[ \t]*$)"),
    ("python", "print(", 1, r"^[ \t]*print\(.*\)[ \t]*$"),
    ("python", ":", 2, r"^[ \t]*(?:for \w+(?:, ?\w+)* in|while|elif|if|with) [^{;\n]+:[ \t]*$"),
    ("python", " = ", 1, r"^\w+ = (?:\[.*\]|\{.*\}|[\w.]+\(.*\)|'[^']*'|\"[^\"]*\"|[\d.]+)[ \t]*$"),
    ("python", "lambda", 1, r"\blambda \w+(?:, ?\w+)*:"),
    ("javascript", "function", 2, r"function\*?\s*\w*\s*\([\w\s,={}\[\].$]*\)\s*\{"),
    ("javascript", "=> ", 2, r" => (?:(?<=\w => )|(?<=\w\) => ))[{(\w\[`'\"]"),
    ("javascript", "const ", 1, r"^[ \t]*const [\w{\[][^;:]*= "),
    ("javascript", "let ", 1, r"^[ \t]*(?:for \()?let \w+(?: =|;)"),
    ("javascript", "var ", 1, r"^[ \t]*var \w+ = .*;?[ \t]*$"),
    ("javascript", "console.log(", 3, ""),
    ("javascript", "document.", 2, r"document\.(?:getElement|querySelector|addEventListener|createElement|write)"),
    ("javascript", "require('", 2, ""),
    ("javascript", " === ", 2, ""),
    ("javascript", " !== ", 2, ""),
    ("typescript", "interface ", 3, r"^[ \t]*(?:export )?interface \w+(?: extends \w+)? \{\n[ \t]*\w+\??: "),
    ("typescript", ": string", 4, r": string\[?\]?[;,) ={]"),
    ("typescript", ": number", 4, r": number\[?\]?[;,) ={]"),
    ("java", "public ", 3, r"public (?:static |final |abstract )*(?:class|interface|enum|void|int|String|boolean) \w+"),
    ("java", "System.out.print", 4, ""),
    ("java", "import java", 4, r"^import javax?\.[\w.]+(?:\.\*)?;"),
    ("java", "String ", 1, r"String(?:\[\])? \w+ ="),
    ("csharp", "using System", 5, r"^using System[\w.]*;"),
    ("csharp", "Console.Write", 5, ""),
    ("csharp", "namespace ", 2, r"^namespace [\w.]+\s*[{;]"),
    ("csharp", "string ", 5, r"(?:public|private|static) (?:async )?(?:string|bool) \w+"),
    ("cpp", "std::", 4, ""),
    ("cpp", "#include", 5, r"#include *<(?:iostream|vector|string|map|algorithm|bits/stdc\+\+\.h|memory|set|queue)>"),
    ("cpp", "cout <<", 4, ""),
    ("cpp", "using namespace std;", 4, ""),
    ("cpp", "template", 3, r"^template *<"),
    ("c", "#include", 4, r"#include *[<\"][\w./]+\.h[>\"]"),
    ("c", "printf(", 1, r"^[ \t]*printf\(\""),
    ("c", "int main(", 1, ""),
    ("go", "func ", 3, r"^func (?:\(\w+ \*?\w+\) )?\w+\([^)\n]*\).*\{"),
    ("go", "package ", 3, r"^package \w+[ \t]*$"),
    ("go", ":=", 1, r"\b\w+(?:, \w+)* := "),
    ("go", "fmt.Print", 3, ""),
    ("rust", "fn ", 3, r"fn \w+(?:<[^>\n]*>)?\([^)\n]*\)(?: -> [^{\n]+)?\s*\{"),
    ("rust", "let mut ", 3, ""),
    ("rust", "println!(", 3, ""),
    ("ruby", "\nend", 3, r"^[ \t]*(?:def|class|module) \w[\w.]*[?!]?(?:\([^)\n]*\))?(?: < \w+)?[ \t]*$"),
    ("ruby", "puts ", 2, r"^[ \t]*puts "),
    ("ruby", " do |", 3, r" do \|\w+(?:, \w+)*\|"),
    ("php", "<?php", 6, ""),
    ("php", "$", 2, r"^[ \t]*\$\w+ = .*;[ \t]*$"),
    ("php", "$", 4, r"function \w*\((?:[^()\n]*, ?)?\??(?:array|bool|callable|float|int|mixed|string) &?\$\w"),
    ("php", "echo ", 1, r"^[ \t]*echo .*;[ \t]*$"),
    ("bash", "#!/", 4, r"\A#! ?/(?:usr/)?bin/(?:env )?(?:ba|z)?sh\b"),
    ("bash", "then", 3, r"if \[\[? .* \]\]?(?:; ?|\n[ \t]*)then"),
    ("bash", "done", 2, r"^[ \t]*(?:for|while) .*; ?do\b"),
    ("bash", "$", 2, r"\A(?:\$ )?(?:sudo|apt|pip|npm|git|cd|ls|grep|find|curl|docker|mkdir) [-\w./]"),
    ("sql", "SELECT", 4, r"SELECT\b[\s\S]{1,400}?\bFROM\b"),
    ("sql", "INSERT INTO ", 4, ""),
    ("sql", "CREATE ", 4, r"CREATE (?:TABLE|VIEW|INDEX|DATABASE)\b"),
    ("sql", "UPDATE ", 4, r"^UPDATE [\w.]+\s+SET\b"),
    ("sql", "DELETE FROM ", 4, ""),
    ("html", "<", 3, r"(?i)<(?:!doctype html|html\b|(?:div|form|table|body|head|ul|h1|input|button)\b[^>\n]*>)"),
    ("html", "</", 2, r"(?i)</(?:html|body|div|form|table|ul|h1|p|a|button|script)>"),
    ("css", "{", 3, r"\{\s*[a-z-]+: ?[^;{}\n]+;\s*[}a-z-]"),
    ("swift", "func ", 4, r"func \w+(?:<[^>\n]*>)?\((?:[^)\n]*: [^)\n]+)?\)(?: throws)?(?: -> [^\n{]+)? \{"),
    ("swift", "print(", 1, r"let \w+ = .*\n"),
    ("swift", "import ", 3, r"^import (?:UIKit|Foundation|SwiftUI)\b"),
    ("kotlin", "fun ", 4, r"fun \w+\([^)\n]*\)(?:: \w+)? *[{=]"),
    ("r", "<-", 3, r"^[ \t]*[\w.]+ <- "),
    ("perl", "my ", 3, r"^[ \t]*my [$@%]\w+ = "),
]  # fmt: skip
_NEEDLES = sorted({needle for _, needle, _, _ in _SIGNS})
_LANGUAGES = list(dict.fromkeys(language for language, _, _, _ in _SIGNS))
_OF_LANGUAGE = [
    [(_NEEDLES.index(needle), weight, _compiled(sign) if sign else None) for own, needle, weight, sign in _SIGNS
     if own == language] for language in _LANGUAGES
]  # fmt: skip
"""For each language its signs: (which needle, weight, the sign)."""
_ALSO = {_LANGUAGES.index(one): _LANGUAGES.index(other) for one, other in (("typescript", "javascript"), ("cpp", "c"))}
"""Whatever is a sign of JavaScript is one of TypeScript too, where there is one of its own; so with C and C++."""


def named(tag: str) -> str:
    """The language that a fence's tag means; '' for none or for one that says it is no code.

    >>> named("JS"), named("{.python"), named("text")
    ('javascript', 'python', '')
    """
    plain = tag.lower().strip("{}.:,`").removeprefix("language-")
    return "" if plain in NOT_CODE else ALIASES.get(plain, plain)


def looks_like(code: str) -> str:
    """The language that a piece of text without a tag is written in; '' where it is none, or cannot be told."""
    head = code[:MOST_CHARACTERS]
    return _heaviest([head], np.array([[needle in head for needle in _NEEDLES]]))[0]


def look_like(codes: Sequence[str]) -> list[str]:
    """The same for many pieces at once, which takes less time for each."""
    heads = [code[:MOST_CHARACTERS] for code in codes]
    return _heaviest(heads, _needles().within(heads))


@functools.cache
def _needles() -> Needles:
    return Needles(_NEEDLES)


def _heaviest(heads: Sequence[str], there: NDArray[np.bool_]) -> list[str]:
    """For each text the language with the heaviest signs; `there` (texts, needles) says which needles it holds.

    The languages that may weigh most are weighed first, and the others only as long as they may still win. That asks
    for 3 signs of a text where its needles allow 9.
    """
    most = there.astype(np.int16) @ _weights()  # not float: BLAS's threads would wait for the next by spinning
    for one, other in _ALSO.items():
        most[:, one] += most[:, other] * (most[:, one] > 0)
    found = [_told(head) if head.startswith("#!") else "" for head in heads]
    maybe = np.flatnonzero(most.max(axis=1, initial=0) >= ENOUGH)
    most = most[maybe]
    orders = (-most).argsort(axis=1, kind="stable")  # of equals the first of _LANGUAGES
    each = zip(maybe.tolist(), there[maybe].tolist(), most.tolist(), orders.tolist(), strict=True)
    for text, needles, may_weigh, order in each:
        if not heads[text].startswith("#!"):
            found[text] = _weighed(f"\n{heads[text]}", needles, may_weigh, order)
    return found


@functools.cache
def _weights() -> NDArray[np.int16]:
    """(needles, languages): what a needle may add to a language."""
    weights = np.zeros((len(_NEEDLES), len(_LANGUAGES)), np.int16)
    for language, signs in enumerate(_OF_LANGUAGE):
        for needle, weight, _ in signs:
            weights[needle, language] += weight
    return weights


def _told(head: str) -> str:
    first = head.split("\n", 1)[0]
    return next((language for word, language in SHEBANGS if word in first), "")


def _weighed(text: str, there: list[bool], most: list[int], order: list[int]) -> str:
    """The heaviest language, of equals the first of _LANGUAGES; '' where none weighs ENOUGH."""
    best, heaviest = len(most), 0
    for language in order:
        if most[language] < heaviest or most[language] < ENOUGH:
            break
        weight = _weight(text, there, language)
        if weight and language in _ALSO:
            weight += _weight(text, there, _ALSO[language])
        if weight > heaviest or (weight == heaviest and language < best):
            best, heaviest = language, weight
    return _LANGUAGES[best] if heaviest >= ENOUGH else ""


def _weight(text: str, there: list[bool], language: int) -> int:
    """The sum over a language's signs that are in a text."""
    found = 0
    for needle, weight, sign in _OF_LANGUAGE[language]:
        if there[needle] and (sign is None or sign.search(text)):
            found += weight
    return found


def of_text(text: str) -> list[tuple[str, str]]:
    """(language, code) of each fenced block; of a text without a fence that looks like code, the whole of it."""
    fenced = blocks(text)
    if not fenced:
        language = looks_like(text)
        return [(language, text)] if language else []
    return [(named(piece.tag) or looks_like(piece.code), piece.code) for piece in fenced if not _said_not(piece)]


def of_texts(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """The same for many texts at once."""
    fenced = [blocks(text) for text in texts]
    untold: list[str] = []
    for text, some in zip(texts, fenced, strict=True):
        if some:
            untold += [piece.code for piece in some if not _said_not(piece) and not named(piece.tag)]
        else:
            untold.append(text)
    looks = iter(look_like(untold))
    found: list[list[tuple[str, str]]] = []
    for text, some in zip(texts, fenced, strict=True):
        if some:
            found.append([(named(each.tag) or next(looks), each.code) for each in some if not _said_not(each)])
        else:
            found.append([(language, text)] if (language := next(looks)) else [])
    return found


def _said_not(piece: Piece) -> bool:
    """Whether a fence says that it holds no code."""
    return piece.tag.lower() in NOT_CODE


def of_answers(conversation: Conversation) -> Counter[str]:
    """Blocks of each language in what the model learns to say; those that cannot be told under ''."""
    answers = (turn.content for turn in conversation.messages if turn.role == "assistant")
    return Counter(language for answer in answers for language, _ in of_text(answer))
